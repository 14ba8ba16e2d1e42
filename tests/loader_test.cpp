// data/loader and data/relight: batches are a function of seed, epoch and position; dark copies follow the
// camera model.
#include "luxgrad/data/loader.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include "luxgrad/data/image.h"
#include "luxgrad/data/layout.h"
#include "luxgrad/kernels/concat.h"
#include "luxgrad/kernels/reductions.h"
#include "luxgrad/tensor/memory.h"
#include "luxgrad/tensor/raw.h"
#include "luxgrad/tensor/thread_pool.h"
#include "same_bits.h"
#include "temporary_folder.h"

using namespace lux;

namespace {

Tensor photo_of(uint64_t seed, int64_t height, int64_t width) {
  Generator generator(seed, "photo");
  Tensor photo = empty({1, height, width, 3});
  fill_uniform_(photo, 0, 1, generator);
  return photo;
}

// A folder of `count` random pictures.
struct Folder {
  explicit Folder(int count) {
    for (int i = 0; i < count; ++i) {
      save_image(cat(path, "/", i, ".png"), from_tensor(photo_of(static_cast<uint64_t>(i), 20 + i, 24)));
    }
  }
  TemporaryFolder temporary;
  std::string path = temporary.path();
};

// Pairs whose reference is the picture's negative, so that every pixel knows its partner.
struct PairFolder {
  PairFolder() {
    for (const char* part : {"/low", "/high"}) std::filesystem::create_directory(path + part);
    for (uint64_t i = 0; i < 4; ++i) {
      Image image = from_tensor(photo_of(i, 18, 30));
      save_image(cat(path, "/low/", i, ".png"), image);
      for (uint8_t& sample : image.samples) sample = static_cast<uint8_t>(255 - sample);
      save_image(cat(path, "/high/", i, ".png"), image);
    }
  }
  TemporaryFolder temporary;
  std::string path = temporary.path();
};

LoaderOptions small_options(bool relight) {
  LoaderOptions options{.batch_size = 3, .size = 16, .seed = 7};
  if (relight) options.relight = RelightOptions{};
  return options;
}

}  // namespace

TEST_CASE("every picture comes once in an epoch, in an order that depends on seed and epoch") {
  const Folder folder(7);
  Loader loader(unpaired_folder(folder.path), small_options(false));
  CHECK(loader.batches_per_epoch() == 3);
  std::vector<std::vector<std::string>> epochs(2);
  for (auto& names : epochs) {
    for (int i = 0; i < 3; ++i) {
      const Batch batch = loader.next();
      CHECK(batch.low.shape() == Shape{i < 2 ? 3 : 1, 16, 16, 3});
      CHECK_FALSE(batch.high.defined());
      names.insert(names.end(), batch.names.begin(), batch.names.end());
    }
  }
  CHECK(epochs[0] != epochs[1]);
  for (auto& names : epochs) {
    std::sort(names.begin(), names.end());
    CHECK(names == std::vector<std::string>{"0.png", "1.png", "2.png", "3.png", "4.png", "5.png", "6.png"});
  }
}

TEST_CASE("a batch is the same after seeking, with any number of threads, and without cache") {
  const Folder folder(7);
  for (const bool relight : {false, true}) {
    const LoaderOptions options = small_options(relight);
    Loader straight(unpaired_folder(folder.path), options);
    for (int i = 0; i < 4; ++i) straight.next();
    const Batch expected = straight.next();  // epoch 1, batch 1
    CHECK(expected.epoch == 1);
    CHECK(expected.index == 1);
    CHECK(expected.high.defined() == relight);
    for (const int threads : {1, 3}) {
      set_num_threads(threads);
      LoaderOptions other = options;
      if (threads == 3) other.cache_bytes = 0;
      Loader sought(unpaired_folder(folder.path), other);
      sought.next();
      sought.seek(1, 1);
      const Batch batch = sought.next();
      CHECK(batch.names == expected.names);
      CHECK(same_bits(batch.low, expected.low));
      if (relight) CHECK(same_bits(batch.high, expected.high));
    }
  }
  set_num_threads(2);
}

TEST_CASE("where chance decides once, the sample is the first square of every epoch") {
  const Folder folder(4);
  for (const bool relight : {false, true}) {
    LoaderOptions options = small_options(relight);
    options.random_squares = !relight;
    options.shuffle = options.every_epoch = false;
    Loader loader(unpaired_folder(folder.path), options);
    loader.seek(2, 0);
    const Batch sample = loader.sample(), batch = loader.next();
    CHECK(sample.names[0] == batch.names[0]);
    const auto first = [](const Tensor& pictures) {
      std::vector<double> values = pictures.to_vector();
      values.resize(16 * 16 * 3);
      return values;
    };
    CHECK(sample.low.to_vector() == first(batch.low));
    if (relight) CHECK(sample.high.to_vector() == first(batch.high));
  }
}

TEST_CASE("without shuffling the order is that of the names, and the last batch can be left out") {
  const Folder folder(7);
  LoaderOptions options = small_options(false);
  options.shuffle = false;
  options.drop_last = true;
  Loader loader(unpaired_folder(folder.path), options);
  CHECK(loader.batches_per_epoch() == 2);
  CHECK(loader.next().names == std::vector<std::string>{"0.png", "1.png", "2.png"});
  CHECK(loader.next().names == std::vector<std::string>{"3.png", "4.png", "5.png"});
  CHECK(loader.next().epoch == 1);
  CHECK(loader.sample().names == std::vector<std::string>{"0.png"});
  CHECK(same_bits(loader.sample().low, loader.sample().low));
}

TEST_CASE("an unreadable picture surfaces in next(), and wrong options at once") {
  const Folder folder(3);
  std::filesystem::resize_file(folder.path + "/1.png", 40);
  Loader loader(unpaired_folder(folder.path), small_options(false));
  CHECK_THROWS_AS(loader.next(), FileException);
  LoaderOptions options = small_options(false);
  options.drop_last = true;
  options.batch_size = 4;
  CHECK_THROWS_WITH_AS(Loader(unpaired_folder(folder.path), options),
                       "loader: expected at least 4 pictures for one batch, got 3", Error);
}

TEST_CASE("pairs stay pairs, whole and as random squares") {
  const PairFolder folder;
  for (const bool squares : {false, true}) {
    LoaderOptions options = small_options(false);
    options.random_squares = squares;
    options.repeats = 3;
    Loader loader(open_dataset(folder.path).pictures, options);
    CHECK(loader.batches_per_epoch() == (squares ? 4 : 2));
    Tensor first;
    for (int i = 0; i < 4; ++i) {
      const Batch batch = loader.next();
      const auto low = batch.low.to_vector(), high = batch.high.to_vector();
      double worst = 0;
      for (size_t k = 0; k < low.size(); ++k) worst = std::max(worst, std::fabs(low[k] + high[k] - 1));
      CHECK(worst < 1e-6);
      if (i == 0) first = batch.low;
      if (i > 0) CHECK_FALSE(same_bits(batch.low, first));
    }
    loader.seek(0, 0);
    CHECK(same_bits(loader.next().low, first));
  }
}

TEST_CASE("pictures smaller than a square are enlarged, pairs of different sizes refused") {
  const PairFolder folder;
  LoaderOptions options = small_options(false);
  options.random_squares = true;
  options.size = 40;
  CHECK(Loader(open_dataset(folder.path).pictures, options).next().high.shape() == Shape{3, 40, 40, 3});
  save_image(folder.path + "/high/2.png", from_tensor(photo_of(2, 19, 30)));
  for (const bool squares : {false, true}) {
    options.random_squares = squares;
    options.shuffle = false;
    Loader loader(open_dataset(folder.path).pictures, options);
    const std::string reason = folder.path + "/low/2.png: is 30 x 18, its reference 30 x 19";
    CHECK_THROWS_WITH_AS(loader.next(), reason.c_str(), FileException);
    CHECK_THROWS_WITH_AS(loader.next(), reason.c_str(), FileException);
  }
}

TEST_CASE("darken divides the light by a power of two and adds the noise of the camera") {
  RelightOptions options{.dark_share = 1, .dark_stops = {3, 3}, .white_balance = 0};
  options.shot_variance[0] = options.shot_variance[1] = 1e-4;
  options.read_deviation[0] = options.read_deviation[1] = 1e-3;
  const Tensor photo = full({128, 128, 3}, 0.7);
  Generator generator(1);
  const Tensor dark = darken(photo, options, generator);
  double sum = 0, squares = 0;
  for (const double value : dark.to_vector()) {
    CHECK(std::fabs(value * 255 - std::round(value * 255)) < 1e-4);
    sum += srgb_to_linear(value);
    squares += srgb_to_linear(value) * srgb_to_linear(value);
  }
  const auto n = static_cast<double>(dark.numel());
  const double light = srgb_to_linear(0.7) / 8, mean = sum / n, variance = squares / n - mean * mean;
  CHECK(mean == doctest::Approx(light).epsilon(0.01));
  const double step =
      2.4 / 1.055 * std::pow((linear_to_srgb(light) + 0.055) / 1.055, 1.4) / 255;  // one level, in light
  CHECK(variance == doctest::Approx(1e-4 * light + 1e-6 + step * step / 12).epsilon(0.05));
}

TEST_CASE("darken can deepen shadows by a power of the light") {
  RelightOptions options{.dark_share = 0, .dim_stops = {1, 1}, .gamma = {2, 2}, .white_balance = 0};
  options.shot_variance[0] = options.shot_variance[1] = options.read_deviation[0] =
      options.read_deviation[1] = 1e-12;
  const double photo = linear_to_srgb(0.5);
  const auto seen = [&](const RelightOptions& with, uint64_t seed) {
    Generator generator(seed);
    return darken(full({4, 4, 3}, photo), with, generator).to_vector();
  };
  CHECK(srgb_to_linear(seen(options, 1)[0]) == doctest::Approx(0.5 * 0.5 / 2).epsilon(0.02));
  options.gamma[1] = 3;
  CHECK(seen(options, 1) != seen(options, 2));
}

// Weights are reproduced by the numbers that their training drew.
TEST_CASE("darken draws its numbers in the order that it always did") {
  const RelightOptions options;
  const double photo = 0.9;
  Generator generator(5), replayed(5);
  const std::vector<double> dark = darken(full({2, 2, 3}, photo), options, generator).to_vector();
  const auto& stops = replayed.uniform() < options.dark_share ? options.dark_stops : options.dim_stops;
  const double exposure = std::exp2(-replayed.uniform(stops[0], stops[1]));
  double gain[3];
  for (double& g : gain) g = exposure * (1 + options.white_balance * replayed.normal());
  const double shot = options.shot_variance[0] *
                      std::pow(options.shot_variance[1] / options.shot_variance[0], replayed.uniform());
  const double read = options.read_deviation[0] *
                      std::pow(options.read_deviation[1] / options.read_deviation[0], replayed.uniform());
  for (size_t i = 0; i < dark.size(); ++i) {
    const double light = gain[i % 3] * srgb_to_linear(photo);
    const double seen = light + std::sqrt(shot * light + read * read) * replayed.normal();
    CHECK(std::fabs(255 * dark[i] - 255 * linear_to_srgb(std::clamp(seen, 0.0, 1.0))) <= 0.5 + 1e-4);
  }
  CHECK(generator.position == replayed.position);
}

TEST_CASE("deepen makes shadows black, keeps white and hues") {
  const Tensor photo = from_vector({0.1, 0.05, 0.02, 0.6, 0.3, 0.15, 1, 1, 1}, {1, 3, 3});
  const auto deep = deepen(photo, 0.2).to_vector();
  for (size_t c = 0; c < 3; ++c) CHECK(deep[c] == 0);
  CHECK(deep[3] == doctest::Approx(0.5).epsilon(1e-6));
  CHECK(deep[4] == doctest::Approx(0.25).epsilon(1e-6));
  CHECK(deep[8] == doctest::Approx(1).epsilon(1e-6));
  CHECK(same_bits(deepen(photo, 0), photo));
  CHECK_THROWS_WITH_AS(deepen(photo, 1), "deepen: expected a black in [0, 1), got 1", Error);
}

TEST_CASE("expose brightens towards a mean, keeps hue, and leaves bright photos alone") {
  const Tensor dim = full({2, 2, 3}, 0.3), bright = full({2, 2, 3}, 0.8);
  CHECK(expose(dim, 0.48).to_vector()[0] > 0.4);
  CHECK(expose(bright, 0.48).to_vector()[0] == doctest::Approx(0.8).epsilon(1e-6));
  const Tensor colour = from_vector({0.4, 0.2, 0.1}, {1, 1, 3});
  const auto before = colour.to_vector(), after = expose(colour, 0.48).to_vector();
  CHECK(srgb_to_linear(after[1]) / srgb_to_linear(after[0]) ==
        doctest::Approx(srgb_to_linear(before[1]) / srgb_to_linear(before[0])).epsilon(1e-5));
  CHECK_THROWS_WITH_AS(expose(zeros({4, 4}), 0.5),
                       "expose: expected an f32 picture [H, W, 3], got f32 [4, 4]", Error);
}

TEST_CASE("whole pictures are turned and not resized, and must be of one size") {
  const PairFolder pairs;
  LoaderOptions options{.batch_size = 4, .size = 0, .turns = Turns::flips, .seed = 3};
  Loader loader(open_dataset(pairs.path).pictures, options);
  bool turned = false;
  for (int epoch = 0; epoch < 4; ++epoch) {
    const Batch batch = loader.next();
    CHECK(batch.low.shape() == Shape{4, 18, 30, 3});
    for (int64_t i = 0; i < 4; ++i) {
      const Tensor low = narrow(batch.low, 0, i, 1).with_shape({18, 30, 3});
      const auto index = static_cast<uint64_t>(std::stoul(batch.names[static_cast<size_t>(i)]));
      const Tensor source = photo_of(index, 18, 30).with_shape({18, 30, 3});
      const Tensor ways[] = {source, flip_left_right(source), flip_up_down(source),
                             flip_left_right(flip_up_down(source))};
      const auto fits = [&](const Tensor& way) {
        double largest = 0;
        for (int64_t k = 0; k < way.numel(); ++k)
          largest = std::max(largest, std::abs(double{way.data<float>()[k]} - double{low.data<float>()[k]}));
        return largest <= 0.51 / 255;
      };
      CHECK(std::count_if(std::begin(ways), std::end(ways), fits) == 1);
      turned = turned || !fits(source);
    }
  }
  CHECK(turned);
  options.turns = Turns::all;  // quarters make other sizes of pictures that are not square
  options.batch_size = 4;
  Loader mixed(open_dataset(pairs.path).pictures, options);
  CHECK_THROWS_AS(
      [&] {
        for (int epoch = 0; epoch < 8; ++epoch) mixed.next();
      }(),
      Error);
}

TEST_CASE("a patch of each dark picture gets some of its reference's light") {
  const PairFolder pairs;
  LoaderOptions options{.batch_size = 4, .size = 0, .shuffle = false, .turns = Turns::none, .seed = 3};
  const Batch plain = Loader(open_dataset(pairs.path).pictures, options).next();
  options.patch = 7;
  const Batch lit = Loader(open_dataset(pairs.path).pictures, options).next();
  CHECK(same_bits(lit.high, plain.high));
  for (int64_t i = 0; i < 4; ++i) {
    int64_t changed = 0;
    std::set<int64_t> shares;  // in thousandths
    for (int64_t k = i * 18 * 30 * 3; k < (i + 1) * 18 * 30 * 3; ++k) {
      const double before = plain.low.data<float>()[k], after = lit.low.data<float>()[k],
                   high = plain.high.data<float>()[k];
      if (before == after) continue;
      ++changed;
      if (std::abs(high - before) > 0.2)
        shares.insert(std::lround(1000 * (after - before) / (high - before)));
    }
    CHECK(changed <= 7 * 7 * 3);
    CHECK(changed > 7 * 7 * 2);
    CHECK(shares.size() <= 2);  // one, but for rounding
  }
}

TEST_CASE("mixed pictures and references are blends with one share, from the stated epoch on") {
  const PairFolder pairs;
  LoaderOptions options{.batch_size = 4, .size = 0, .shuffle = false, .turns = Turns::none, .seed = 5};
  const Batch plain = Loader(open_dataset(pairs.path).pictures, options).next();
  options.mix_up = MixUp{.beta = 1.2, .first_epoch = 1};
  Loader loader(open_dataset(pairs.path).pictures, options);
  CHECK(same_bits(loader.next().low, plain.low));
  const Batch mixed = loader.next();
  CHECK_FALSE(same_bits(mixed.low, plain.low));
  // References are the pictures' negatives, and so are their blends.
  for (int64_t k = 0; k < mixed.low.numel(); ++k)
    REQUIRE(mixed.low.data<float>()[k] + mixed.high.data<float>()[k] == doctest::Approx(1).epsilon(1e-5));
  // Every picture went to exactly one other, so the sum over the batch stays.
  double before = 0, after = 0;
  for (int64_t k = 0; k < mixed.low.numel(); ++k) {
    before += plain.low.data<float>()[k];
    after += mixed.low.data<float>()[k];
  }
  CHECK(after == doctest::Approx(before).epsilon(1e-5));
  loader.seek(1, 0);
  CHECK(same_bits(loader.next().low, mixed.low));
  int64_t unmixed = 0;
  options.mix_up = MixUp{.beta = 1.2, .or_not = true};
  Loader sometimes(open_dataset(pairs.path).pictures, options);
  for (int i = 0; i < 40; ++i) unmixed += same_bits(sometimes.next().low, plain.low) ? 1 : 0;
  CHECK(unmixed > 8);
  CHECK(unmixed < 32);
}

TEST_CASE("with replacement some pictures come twice and others not") {
  const Folder folder(7);
  LoaderOptions options = small_options(false);
  options.replacement = true;
  Loader loader(unpaired_folder(folder.path), options);
  std::map<std::string, int> seen;
  for (int i = 0; i < 30; ++i) {
    for (const std::string& name : loader.next().names) ++seen[name];
  }
  CHECK(seen.size() == 7);
  CHECK(std::any_of(seen.begin(), seen.end(), [](const auto& item) { return item.second != 10; }));
}

TEST_CASE("resized pictures are turned when asked for, and the dark one alone gets another brightness") {
  const PairFolder folder;
  LoaderOptions options{.batch_size = 4, .size = 16, .shuffle = false, .seed = 3};
  const PictureList pairs = open_dataset(folder.path).pictures;
  const Batch plain = Loader(pairs, options).next();
  options.turns = Turns::all;
  const Batch turned = Loader(pairs, options).next();
  CHECK_FALSE(same_bits(turned.low, plain.low));
  CHECK(sum(turned.low).item() == doctest::Approx(sum(plain.low).item()).epsilon(1e-6));
  for (int64_t i = 0; i < turned.low.numel(); ++i)
    REQUIRE(turned.low.data<float>()[i] + turned.high.data<float>()[i] == doctest::Approx(1).epsilon(1e-6));
  options.turns = Turns::none;
  options.gain = Gain{0.8, 1.2};
  Loader loader(pairs, options);
  const Batch first = loader.next(), second = loader.next();
  CHECK(same_bits(first.high, plain.high));
  std::set<float> gains;
  for (int64_t n = 0; n < 4; ++n) {
    float gain = 0;
    for (int64_t i = n * 768; i < (n + 1) * 768; ++i) {
      const float before = plain.low.data<float>()[i], after = first.low.data<float>()[i];
      if (gain == 0) gain = after / before;
      REQUIRE(after == doctest::Approx(std::min(1.0f, gain * before)).epsilon(1e-5));
    }
    CHECK(gain >= 0.8f);
    CHECK(gain <= 1.2f);
    gains.insert(gain);
  }
  CHECK(gains.size() == 4);
  CHECK_FALSE(same_bits(second.low, first.low));
}

TEST_CASE("what a loader holds is bounded") {
  const PairFolder folder;
  const LoaderOptions options{.batch_size = 2, .size = 0, .turns = Turns::flips};
  const int64_t before = memory::stats().live;
  Loader loader(open_dataset(folder.path).pictures, options);
  const int64_t batch = 2 * loader.next().low.storage()->bytes();
  const auto pairs = static_cast<int64_t>(open_dataset(folder.path).pictures.size());
  const int64_t prepared = pairs * batch / options.batch_size;
  memory::reset_peak();
  for (int64_t i = 0; i < 4 * loader.batches_per_epoch(); ++i) loader.next();
  CHECK(memory::stats().peak - before <= loader_bytes(options, prepared, batch) + batch);
}
