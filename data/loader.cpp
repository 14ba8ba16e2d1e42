#include "luxgrad/data/loader.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <numeric>
#include <system_error>
#include <thread>

#include "luxgrad/tensor/blocked_signals.h"
#include "luxgrad/tensor/thread_pool.h"

namespace lux {
namespace {

constexpr size_t kAhead = 2;  // finished batches that wait

using Pair = PicturePair;  // without the dimension of the batch

Tensor without_batch(const Tensor& picture) {
  return picture.with_shape({picture.size(1), picture.size(2), picture.size(3)});
}

Tensor shrunk_to(const Tensor& photo, int64_t longest) {
  const int64_t side = std::max(photo.size(0), photo.size(1));
  if (side <= longest) return photo;
  const auto scaled = [&](int64_t n) { return std::max<int64_t>(1, (n * longest + side / 2) / side); };
  return resize_image(photo, scaled(photo.size(0)), scaled(photo.size(1)), {.mode = Interpolation::area});
}

// Order of epoch `epoch`, keyed by (seed, epoch): a Fisher-Yates shuffle, or draws with replacement.
std::vector<int64_t> order_of(int64_t count, const LoaderOptions& options, int64_t epoch) {
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  Generator generator = Generator(options.seed, "order").fork(static_cast<uint64_t>(epoch));
  if (options.replacement) {
    for (int64_t& item : order) item = static_cast<int64_t>(generator.below(order.size()));
    return order;
  }
  if (!options.shuffle) return order;
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[generator.below(i)]);
  return order;
}

Tensor turned(const Tensor& picture, int64_t turns, bool flipped) {
  const Tensor rotated = rotate90(picture, turns);
  return flipped ? flip_left_right(rotated) : rotated;
}

// first·share + second·(1 − share)
Tensor blend(const Tensor& first, const Tensor& second, double share) {
  Tensor result = empty(first.shape());
  const auto *x = first.data<float>(), *y = second.data<float>();
  auto* z = result.data<float>();
  const auto part = static_cast<float>(share);
  for (int64_t i = 0; i < first.numel(); ++i) z[i] = part * x[i] + (1 - part) * y[i];
  return result;
}

Tensor brightened(const Tensor& picture, double gain) {
  Tensor result = empty(picture.shape());
  for (int64_t i = 0; i < picture.numel(); ++i)
    result.data<float>()[i] = std::clamp(static_cast<float>(gain) * picture.data<float>()[i], 0.0f, 1.0f);
  return result;
}

Tensor stack(const std::vector<Tensor>& pictures) {
  const Shape& one = pictures[0].shape();
  for (const Tensor& picture : pictures) {
    check(picture.shape() == one, "loader: whole pictures in a batch have one size, got ", one, " and ",
          picture.shape(), "; choose squares of them with a size");
  }
  Tensor batch = empty({static_cast<int64_t>(pictures.size()), one[0], one[1], one[2]});
  auto* to = batch.data<float>();
  for (const Tensor& picture : pictures) {
    std::memcpy(to, picture.data<float>(), static_cast<size_t>(picture.numel()) * sizeof(float));
    to += picture.numel();
  }
  return batch;
}

}  // namespace

// Prepares batches on a thread of its own. The public class only asks it.
class Loader::Worker {
 public:
  Worker(PictureList pictures, const LoaderOptions& options);
  ~Worker() { stop(); }

  int64_t batches_per_epoch() const;
  void seek(int64_t epoch, int64_t index);
  Batch next();
  Batch sample() const;

 private:
  int64_t samples_per_epoch() const { return static_cast<int64_t>(pictures_.size()) * repeats(); }
  bool squares() const { return options_.random_squares || options_.relight; }
  int64_t repeats() const { return squares() ? options_.repeats : 1; }

  void start();
  void stop();
  void produce(int64_t epoch, int64_t index);
  void set_next_after(const Batch& batch);
  Generator chance_of(int64_t epoch) const {
    return Generator(options_.seed, "samples").fork(static_cast<uint64_t>(options_.every_epoch ? epoch : 0));
  }
  Batch make_batch(int64_t epoch, int64_t index, const std::vector<int64_t>& order);
  Pair drawn_from(const Pair& source, Generator generator) const;
  Pair square_of(const Pair& source, Generator& generator) const;
  Pair turned_by(const Pair& source, Generator& generator) const;
  void light_patch(Pair& pair, Generator& generator) const;
  static void mix(const MixUp& mix, std::vector<Tensor>& low, std::vector<Tensor>& high, Generator generator);
  const Pair& prepared(int64_t picture, Pair& scratch);
  Pair read(const PicturePaths& paths) const;
  Pair prepare(const PicturePaths& paths) const;

  const PictureList pictures_;
  const LoaderOptions options_;
  std::map<int64_t, Pair> cache_;  // touched by the thread only
  int64_t cached_bytes_ = 0;

  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Batch> ready_;
  std::exception_ptr error_;
  std::atomic<bool> stopping_ = false;
  int64_t epoch_ = 0, index_ = 0;  // of the batch that `next` gives
};

Loader::Worker::Worker(PictureList pictures, const LoaderOptions& options)
    : pictures_(std::move(pictures)), options_(options) {
  check(!pictures_.empty(), "loader: expected at least one picture");
  check(options_.batch_size >= 1 && options_.size >= (squares() ? 1 : 0) && options_.repeats >= 1,
        "loader: expected batch, size and repeats of at least 1, got ", options_.batch_size, ", ",
        options_.size, ", ", options_.repeats);
  check(batches_per_epoch() >= 1, "loader: expected at least ", options_.batch_size,
        " pictures for one batch, got ", samples_per_epoch());
}

int64_t Loader::Worker::batches_per_epoch() const {
  return (samples_per_epoch() + (options_.drop_last ? 0 : options_.batch_size - 1)) / options_.batch_size;
}

// Where the system has no thread, there is none.
void Loader::Worker::start() {
  const BlockedSignals blocked;
  try {
    thread_ = std::thread([this, epoch = epoch_, index = index_] {
      try {
        produce(epoch, index);
      } catch (...) {
        const std::lock_guard lock(mutex_);
        error_ = std::current_exception();
        changed_.notify_all();
      }
    });
  } catch (const std::system_error&) {
  }
}

void Loader::Worker::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  stopping_ = false;
  ready_.clear();
  error_ = nullptr;
}

void Loader::Worker::seek(int64_t epoch, int64_t index) {
  check(epoch >= 0 && index >= 0 && index < batches_per_epoch(), "loader: there is no batch ", index,
        " in epoch ", epoch);
  stop();
  epoch_ = epoch;
  index_ = index;
}

Batch Loader::Worker::next() {
  if (!thread_.joinable()) start();
  if (!thread_.joinable()) {
    Batch batch = make_batch(epoch_, index_, order_of(samples_per_epoch(), options_, epoch_));
    set_next_after(batch);
    return batch;
  }
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !ready_.empty() || error_ != nullptr; });
  if (ready_.empty()) std::rethrow_exception(error_);
  Batch batch = std::move(ready_.front());
  ready_.pop_front();
  changed_.notify_all();
  set_next_after(batch);
  return batch;
}

void Loader::Worker::set_next_after(const Batch& batch) {
  index_ = batch.index + 1 < batches_per_epoch() ? batch.index + 1 : 0;
  epoch_ = index_ == 0 ? batch.epoch + 1 : batch.epoch;
}

void Loader::Worker::produce(int64_t epoch, int64_t index) {
  for (;; ++epoch, index = 0) {
    const auto order = order_of(samples_per_epoch(), options_, epoch);
    for (; index < batches_per_epoch(); ++index) {
      // As a task of its own, so that what it calls runs in place and leaves the pool to the training.
      Batch batch;
      run_chunks(1, [&](int64_t) { batch = make_batch(epoch, index, order); });
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || ready_.size() < kAhead; });
      if (stopping_) return;
      ready_.push_back(std::move(batch));
      changed_.notify_all();
    }
  }
}

Batch Loader::Worker::make_batch(int64_t epoch, int64_t index, const std::vector<int64_t>& order) {
  const Generator samples = chance_of(epoch);
  Batch batch;
  batch.epoch = epoch;
  batch.index = index;
  std::vector<Tensor> low, high;
  const int64_t begin = index * options_.batch_size,
                end = std::min(begin + options_.batch_size, samples_per_epoch());
  for (int64_t i = begin; i < end; ++i) {
    if (stopping_) return {};
    const int64_t item = order[static_cast<size_t>(i)], picture = item / repeats();
    Pair scratch;
    Pair pair = drawn_from(prepared(picture, scratch), samples.fork(static_cast<uint64_t>(item)));
    low.push_back(std::move(pair.low));
    if (pair.high.defined()) high.push_back(std::move(pair.high));
    batch.names.push_back(pictures_[static_cast<size_t>(picture)].name);
  }
  if (options_.mix_up && epoch >= options_.mix_up->first_epoch)
    mix(*options_.mix_up, low, high,
        Generator(options_.seed, "mix")
            .fork(static_cast<uint64_t>(epoch))
            .fork(static_cast<uint64_t>(index)));
  batch.low = stack(low);
  if (!high.empty()) batch.high = stack(high);
  return batch;
}

// What chance makes of a prepared picture.
Pair Loader::Worker::drawn_from(const Pair& source, Generator generator) const {
  Pair pair = squares() ? square_of(source, generator) : turned_by(source, generator);
  if (options_.relight) {
    const RelightOptions& relight = *options_.relight;
    const bool deep = generator.uniform() < relight.deep_share;
    const Tensor right = deep ? deepen(pair.low, generator.uniform(0, relight.black)) : pair.low;
    return {darken(right, relight, generator), right};
  }
  if (options_.patch > 0 && pair.high.defined()) light_patch(pair, generator);
  if (options_.gain)
    pair.low = brightened(pair.low, generator.uniform(options_.gain->low, options_.gain->high));
  return pair;
}

Pair Loader::Worker::square_of(const Pair& source, Generator& generator) const {
  const int64_t side = options_.size;
  const auto offset = [&](int64_t n) {
    return static_cast<int64_t>(generator.below(static_cast<uint64_t>(n - side + 1)));
  };
  const int64_t top = offset(source.low.size(0)), left = offset(source.low.size(1));
  const auto square = [&](const Tensor& picture) { return crop(picture, top, left, side, side); };
  return turned_by({square(source.low), source.high.defined() ? square(source.high) : Tensor()}, generator);
}

Pair Loader::Worker::turned_by(const Pair& source, Generator& generator) const {
  if (options_.turns == Turns::none) return source;
  const bool all = options_.turns == Turns::all;
  const auto turns =
      all ? static_cast<int64_t>(generator.below(4)) : 2 * static_cast<int64_t>(generator.below(2));
  const bool flipped = generator.below(2) == 1;
  return {turned(source.low, turns, flipped),
          source.high.defined() ? turned(source.high, turns, flipped) : Tensor()};
}

void Loader::Worker::light_patch(Pair& pair, Generator& generator) const {
  const int64_t height = pair.low.size(0), width = pair.low.size(1);
  const int64_t side = std::min({options_.patch, height, width});
  const auto top = static_cast<int64_t>(generator.below(static_cast<uint64_t>(height - side + 1)));
  const auto left = static_cast<int64_t>(generator.below(static_cast<uint64_t>(width - side + 1)));
  const auto share = static_cast<float>(generator.uniform());
  pair.low = pair.low.clone();
  auto* low = pair.low.data<float>();
  const auto* high = pair.high.data<float>();
  for (int64_t row = top; row < top + side; ++row) {
    for (int64_t i = 3 * (row * width + left); i < 3 * (row * width + left + side); ++i)
      low[i] = share * low[i] + (1 - share) * high[i];
  }
}

// Each picture with another of the batch, its reference likewise.
void Loader::Worker::mix(const MixUp& mix, std::vector<Tensor>& low, std::vector<Tensor>& high,
                         Generator generator) {
  if (mix.or_not && generator.below(2) == 0) return;
  std::vector<size_t> partner(low.size());
  std::iota(partner.begin(), partner.end(), size_t{0});
  for (size_t i = partner.size(); i > 1; --i) std::swap(partner[i - 1], partner[generator.below(i)]);
  const std::vector<Tensor> old_low = low, old_high = high;
  double share = generator.beta(mix.beta);
  for (size_t i = 0; i < low.size(); ++i) {
    if (mix.each && i > 0) share = generator.beta(mix.beta);
    low[i] = blend(old_low[i], old_low[partner[i]], share);
    if (!high.empty()) high[i] = blend(old_high[i], old_high[partner[i]], share);
  }
}

Batch Loader::Worker::sample() const {
  const Generator chance = options_.every_epoch ? Generator(options_.seed, "sample") : chance_of(0).fork(0);
  const Pair pair = drawn_from(prepare(pictures_[0]), chance);
  Batch batch;
  batch.low = stack({pair.low});
  if (pair.high.defined()) batch.high = stack({pair.high});
  batch.names = {pictures_[0].name};
  return batch;
}

const Pair& Loader::Worker::prepared(int64_t picture, Pair& scratch) {
  if (const auto found = cache_.find(picture); found != cache_.end()) return found->second;
  scratch = prepare(pictures_[static_cast<size_t>(picture)]);
  const int64_t bytes = 4 * (scratch.low.numel() + (scratch.high.defined() ? scratch.high.numel() : 0));
  if (cached_bytes_ + bytes > options_.cache_bytes) return scratch;
  cached_bytes_ += bytes;
  return cache_.emplace(picture, std::move(scratch)).first->second;
}

Pair Loader::Worker::read(const PicturePaths& paths) const {
  PicturePaths wanted = paths;
  if (options_.relight) wanted.high.clear();
  Pair pair = read_pair(wanted, options_.limits);
  pair.low = without_batch(pair.low);
  if (pair.high.defined()) pair.high = without_batch(pair.high);
  return pair;
}

Pair Loader::Worker::prepare(const PicturePaths& paths) const {
  Pair pair = read(paths);
  const auto resize = [&pair](int64_t height, int64_t width, const ResizeImageOptions& options) {
    pair.low = resize_image(pair.low, height, width, options);
    if (pair.high.defined()) pair.high = resize_image(pair.high, height, width, options);
  };
  if (options_.size == 0) return pair;
  if (!squares()) {
    resize(options_.size, options_.size, options_.resize);
    return pair;
  }
  if (options_.relight) pair.low = shrunk_to(pair.low, std::max(options_.longest_side, options_.size));
  const int64_t height = pair.low.size(0), width = pair.low.size(1), shortest = std::min(height, width);
  if (shortest < options_.size) {
    const auto scaled = [&](int64_t n) { return (n * options_.size + shortest - 1) / shortest; };
    resize(scaled(height), scaled(width), {});
  }
  if (options_.relight) pair.low = expose(pair.low, options_.exposure);
  return pair;
}

// A batch in the making is there twice: as pictures, and as one tensor.
int64_t loader_bytes(const LoaderOptions& options, int64_t prepared, int64_t batch) {
  return std::min(options.cache_bytes, prepared) + (static_cast<int64_t>(kAhead) + 2) * batch;
}

Loader::Loader(PictureList pictures, const LoaderOptions& options)
    : worker_(std::make_unique<Worker>(std::move(pictures), options)) {}
Loader::~Loader() = default;
int64_t Loader::batches_per_epoch() const { return worker_->batches_per_epoch(); }
void Loader::seek(int64_t epoch, int64_t index) { worker_->seek(epoch, index); }
Batch Loader::next() { return worker_->next(); }
Batch Loader::sample() const { return worker_->sample(); }

}  // namespace lux
