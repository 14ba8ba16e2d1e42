// Films without flicker, and films as they happen.
#include "luxgrad/models/steady.h"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "error_of.h"
#include "failing_new.h"
#include "luxgrad/data/live_source.h"
#include "luxgrad/data/lut.h"
#include "luxgrad/models/curve_model.h"
#include "luxgrad/models/registry.h"
#include "luxgrad/tensor/memory.h"
#include "luxgrad/tensor/random.h"
#include "same_bits.h"

using namespace lux;

namespace {

/// A network of known moods: each look at a frame gives another brightness.
struct Moody : Model {
  std::string name() const override { return "moody"; }
  ModelConfig config() const override { return {}; }
  ModelTraits traits() const override { return {}; }
  void init_(const Generator& /*generator*/) override {}
  Tensor enhance(const Tensor& x, double /*strength*/) const override {
    Tensor bright = x.clone();
    const float gain = looks++ % 2 == 0 ? 2.0F : 2.4F;
    for (int64_t i = 0; i < bright.numel(); ++i) bright.data<float>()[i] *= gain;
    return bright;
  }
  mutable int looks = 0;
};

/// The same by curve parameters, of a picture that has to be wider by a multiple of four.
struct MoodyCurves : CurveModel {
  std::string name() const override { return "moody_curves"; }
  ModelConfig config() const override { return {}; }
  ModelTraits traits() const override { return {.size_multiple = 4}; }
  void init_(const Generator& /*generator*/) override {}
  Tensor curves(const Tensor& x) const override {
    return full({1, x.size(1), x.size(2), 24}, looks++ % 2 == 0 ? -0.3 : -0.4);
  }
  mutable int looks = 0;
};

Tensor scene(uint64_t seed, int64_t height = 36, int64_t width = 50) {
  Tensor picture = empty({1, height, width, 3});
  Generator generator{seed};
  fill_uniform_(picture, 0.05, 0.3, generator);
  // Large forms: a scene is more than noise.
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width * 3; ++x) {
      const bool lit = (seed % 2 == 0 ? y * 2 / height : x * 2 / (width * 3)) == 0;
      if (lit) picture.data<float>()[y * width * 3 + x] *= 0.2F;
    }
  }
  return picture;
}

/// Frames with numbers, as fast as they are asked for.
struct Counter : FrameSource {
  explicit Counter(int64_t count) : count(count) { shape.width = shape.height = 2; }
  const VideoFormat& format() const override { return shape; }
  Result<bool> next(VideoFrame& frame) override {
    if (given == count) {
      finished = true;
      return false;
    }
    frame.samples.assign(6, static_cast<uint8_t>(given));
    frame.time = given++;
    return true;
  }
  VideoFormat shape;
  int64_t count, given = 0;
  std::atomic<bool> finished{false};
};

}  // namespace

TEST_CASE("the flicker index is the mean change of blocks, and knows no cuts") {
  FlickerIndex index;
  CHECK(index.percent() == 0);
  index.add({0.2, 0.4}, true);
  CHECK(index.percent() == 0);
  index.add({0.3, 0.4}, false);  // |0.1| + 0 over 0.25 + 0.4
  CHECK(index.percent() == doctest::Approx(100 * 0.1 / 0.65));
  index.add({0.9, 0.9}, true);
  CHECK(index.percent() == doctest::Approx(100 * 0.1 / 0.65));
  const std::vector<double> light = block_light(full({1, 40, 70, 3}, 0.25));
  CHECK(light.size() == 32 * 18);
  for (const double block : light) CHECK(block == doctest::Approx(0.25));
  CHECK(block_light(full({1, 3, 2, 3}, 0.5)).size() == 6);
}

TEST_CASE("a cut is another scene, or light that is switched; noise, motion and flicker are none") {
  const auto light = [](const Tensor& picture) { return block_light(picture); };
  const std::vector<double> one = light(scene(1)), again = light(scene(3)), other = light(scene(2));
  CHECK_FALSE(is_cut(one, one));
  CHECK_FALSE(is_cut(one, again));  // the same forms, other noise
  CHECK(is_cut(one, other));
  std::vector<double> dimmer = one, brighter = one, moved = one;
  for (double& value : dimmer) value *= 0.7;
  for (double& value : brighter) value *= 3;
  std::rotate(moved.begin(), moved.begin() + 1, moved.end());
  CHECK_FALSE(is_cut(one, dimmer));
  CHECK(is_cut(one, brighter));
  CHECK_FALSE(is_cut(one, moved));
  CHECK_FALSE(is_cut(std::vector<double>(6, 0.0), std::vector<double>(6, 0.001)));
}

TEST_CASE("flicker of a network becomes small, of curves and of exposures") {
  for (const bool curves : {false, true}) {
    std::unique_ptr<Model> model;
    if (curves)
      model = std::make_unique<MoodyCurves>();
    else
      model = std::make_unique<Moody>();
    SteadyEnhancer steady(*model, 0.9);
    for (int i = 0; i < 30; ++i) {
      const Tensor bright = steady.next(scene(1));
      CHECK(bright.shape() == Shape({1, 36, 50, 3}));
    }
    const FlickerReport report = steady.report();
    CHECK(report.scenes == 1);
    CHECK(report.input == 0);
    CHECK(report.before > 5);
    CHECK(report.after < 0.25 * report.before);
  }
}

TEST_CASE("a static clip stays static, a cut does not bleed, no smoothing is the network") {
  const std::unique_ptr<Model> steady_models[] = {std::make_unique<Moody>(), std::make_unique<MoodyCurves>()};
  for (const auto& model : steady_models) {
    const auto calm = [&] {  // every look the same
      if (auto* moody = dynamic_cast<Moody*>(model.get())) moody->looks = 0;
      if (auto* moody = dynamic_cast<MoodyCurves*>(model.get())) moody->looks = 0;
    };
    calm();
    SteadyEnhancer steady(*model, 0.8);
    const Tensor first = steady.next(scene(1));
    for (int i = 0; i < 5; ++i) {
      calm();
      CHECK(same_bits(steady.next(scene(1)), first));
    }
    for (int i = 0; i < 3; ++i) steady.next(scene(1));  // moods
    calm();
    const Tensor alone = enhance(*model, scene(2));
    calm();
    CHECK(same_bits(steady.next(scene(2)), alone));
    CHECK(steady.report().scenes == 2);

    SteadyEnhancer plain(*model, 0);
    for (uint64_t seed = 1; seed < 4; ++seed) {
      calm();
      const Tensor expected = enhance(*model, scene(seed));
      calm();
      CHECK(same_bits(plain.next(scene(seed)), expected));
    }
  }
  const Moody moody;
  CHECK(error_of([&] { SteadyEnhancer(moody, 1.0); }) ==
        "steady: expected a smoothing from 0 to below 1, got 1");
}

TEST_CASE("a film takes no more memory the longer it is") {
  const MoodyCurves model;
  SteadyEnhancer steady(model, 0.8);
  memory::Stats warm;
  for (int i = 0; i < 300; ++i) {
    steady.next(scene(1, 12, 16));
    if (i == 20) warm = memory::stats();
  }
  CHECK(memory::stats().reserved == warm.reserved);
  CHECK(memory::stats().live == warm.live);
}

// Every page that the system gives is a fault when it is first written to.
TEST_CASE("a film that is warm takes no pages from the system any more") {
  const auto faults = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
  };
  const MoodyCurves model;
  SteadyEnhancer steady(model, 0.8);
  const Tensor frame = scene(1, 120, 132);
  memory::set_slack(100);  // as the command does
  for (int i = 0; i < 10; ++i) steady.next(frame);
  const long before = faults();
  for (int i = 0; i < 20; ++i) steady.next(frame);
  const long taken = faults() - before;
  MESSAGE(taken << " pages in 20 frames");
  CHECK(taken < 20);
  memory::set_slack(memory::kSlack);
}

// A frame's plan takes a few pieces; bands of rows, and tasks of convolutions, thousands here, take none.
TEST_CASE("a film that is warm asks for few pieces of memory, however large its frames") {
  for (const char* const name : {"zero_dce", "zero_dce_plus"}) {
    const std::unique_ptr<Model> model = make_model(name);
    model->init_(Generator{1});
    memory::set_slack(100);
    int64_t pieces[2] = {};
    for (const int64_t twice : {0, 1}) {
      SteadyEnhancer steady(*model, 0.8);
      const Tensor frame = scene(1, twice != 0 ? 512 : 256, 384);
      for (int i = 0; i < 5; ++i) steady.next(frame);
      constexpr int64_t kMany = 1'000'000;
      heap::countdown = kMany;
      steady.next(frame);
      pieces[twice] = kMany - heap::countdown.exchange(0);
    }
    MESSAGE(std::string(name) << ": " << pieces[0] << " pieces for a frame, " << pieces[1]
                              << " for twice as many rows");
    CHECK(pieces[0] < 60);
    CHECK(pieces[1] == pieces[0]);
    memory::set_slack(memory::kSlack);
  }
}

TEST_CASE("live: late frames are dropped and counted, in order, and the newest is never lost") {
  auto counter = std::make_unique<Counter>(100);
  const Counter& source = *counter;
  LiveSource live(std::move(counter), 0);
  while (!source.finished) std::this_thread::yield();
  VideoFrame frame;
  std::vector<int64_t> times;
  while (live.next(frame).value()) {
    CHECK(frame.samples[0] == static_cast<uint8_t>(frame.time));
    times.push_back(frame.time);
  }
  REQUIRE_FALSE(times.empty());
  CHECK(times.back() == 99);
  CHECK(std::is_sorted(times.begin(), times.end()));
  CHECK(static_cast<int64_t>(times.size()) + live.dropped() == 100);
  CHECK(times.size() < 5);  // there is room for three, and they are old
}

TEST_CASE("live: whoever is fast enough gets every frame, and may leave early") {
  LiveSource live(std::make_unique<Counter>(3), 1e7);
  VideoFrame frame;
  for (int64_t i = 0; i < 3; ++i) {
    REQUIRE(live.next(frame).value());
    CHECK(frame.time == i);
  }
  CHECK_FALSE(live.next(frame).value());
  CHECK(live.dropped() == 0);
  const LiveSource left(std::make_unique<Counter>(1'000'000'000), 1);
}

TEST_CASE("a table of colours reproduces what it was fitted to") {
  Tensor before = scene(1, 60, 80);
  Tensor after = empty(before.shape());
  for (int64_t i = 0; i < before.numel(); i += 3) {
    const float r = before.data<float>()[i], g = before.data<float>()[i + 1], b = before.data<float>()[i + 2];
    after.data<float>()[i] = std::sqrt(r);
    after.data<float>()[i + 1] = std::sqrt(g) * 0.9F;
    after.data<float>()[i + 2] = std::sqrt(b) * (0.8F + 0.2F * r);
  }
  const ColorLut lut = fit_lut(before, after, 33);
  double sum = 0;
  for (int64_t i = 0; i < before.numel(); i += 3) {
    const float* const from = before.data<float>() + i;
    const auto color = lut.at({from[0], from[1], from[2]});
    for (size_t c = 0; c < 3; ++c)
      sum += static_cast<double>(std::abs(color[c] - after.data<float>()[i + static_cast<int64_t>(c)]));
  }
  CHECK(sum / static_cast<double>(before.numel()) < 0.005);
  // Colours that the photo lacks follow those that it has.
  CHECK(lut.at({0, 0, 0})[0] < lut.at({0.1F, 0.1F, 0.1F})[0]);
  CHECK(lut.at({1, 1, 1})[0] > lut.at({0.3F, 0.3F, 0.3F})[0]);
  const std::string text = cube_text(fit_lut(before, after, 2), "a \"look\"\n");
  CHECK(text.starts_with("TITLE \"a 'look'\\x0a\"\nLUT_3D_SIZE 2\n"));
  CHECK(std::count(text.begin(), text.end(), '\n') == 2 + 8);
  CHECK(error_of([&] { fit_lut(before, before, 1); }) == "fit_lut: expected a size from 2 to 129, got 1");
}
