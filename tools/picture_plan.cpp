#include "luxgrad/tools/picture_plan.h"

#include <algorithm>
#include <set>

#include "luxgrad/models/curve_model.h"
#include "luxgrad/tensor/text.h"
#include "luxgrad/tools/exit_code.h"
#include "luxgrad/tools/measure.h"

namespace lux {
namespace {

// What the network takes beside its plan: an eighth more, for rounding and cache of the allocator, and for
// the weights that are kept in the form of the kernels.
int64_t with_slack(int64_t planned) { return planned / 8 * 9; }
int64_t without_slack(int64_t bytes) { return bytes / 9 * 8; }

}  // namespace

std::shared_ptr<const Enhancer> SharedPlans::of(int64_t height, int64_t width,
                                                const EnhanceOptions& options) {
  constexpr size_t kSizes = 4;  // upright and lying ones of two cameras
  const std::lock_guard lock(mutex_);
  const auto one = std::find_if(latest_.begin(), latest_.end(),
                                [&](const auto& plan) { return plan->serves(height, width, options); });
  std::shared_ptr<const Enhancer> plan =
      one != latest_.end() ? *one : std::make_shared<const Enhancer>(model_, height, width, options);
  if (one != latest_.end()) latest_.erase(one);
  latest_.push_front(plan);
  if (latest_.size() > kSizes) latest_.pop_back();
  return plan;
}

void PicturePlan::measure(const ImageCost& cost) {
  cost_ = cost;
  bytes_ = {.reading = cost.decoding, .waiting = cost.bytes, .writing = 2 * bytes_of_result()};
  bytes_.most = std::max({bytes_around_network(), bytes_.reading, bytes_.writing});
}

void PicturePlan::find() {
  memory_ = 0;
  if (options_.memory == 0 && options_.tile == 0) return find_network();
  const int64_t room = options_.memory - options_.program;
  const int64_t shared = room - options_.files;
  // From the least to the most; for a picture alone they are the same, and planned once.
  for (const int64_t part : std::set{shared / options_.together, shared, room}) {
    find_within(part);
    if (bytes_.most <= part && reduction_ == 0) break;
  }
  need_ = std::max(options_.loading, options_.program + bytes_.most);
  if (options_.memory > 0 && need_ > options_.memory)
    throw CommandError(ExitCode::exhausted,
                       cat(file_, ": ", need_sentence(), ", --memory allows ", megabytes(options_.memory)));
}

// What is around the network is taken off `room` first. A written file needs no more than the photo that is
// gone by then.
void PicturePlan::find_within(int64_t room) {
  const int64_t around = bytes_around_network();
  const bool limited = model_.device() == kCpu || options_.memory_asked;  // else it is the host's
  memory_ = options_.memory > 0 && limited ? std::max<int64_t>(1, without_slack(room - around)) : 0;
  find_network();
  // Otherwise a whole picture, and what it takes would be found out on the device, in its memory.
  const EnhancePlan plan = limited || options_.tile > 0 ? upright_->plan() : EnhancePlan();
  int64_t network = limited ? plan.bytes : 0;
  if (turned_ && limited) network = std::max(network, turned_->plan().bytes);
  // Before and after the network there are two photos while one is turned.
  const int64_t turning = options_.augment && !options_.compared ? cost_.bytes : 0;
  bytes_.most = std::max({around + std::max(with_slack(network), turning), bytes_.reading, bytes_.writing});
  if (curves_) {  // before the result, one of the maps is packed at a time
    const int64_t rows = limited ? curves_->plan().bytes : 0;
    bytes_.most = std::max(bytes_.most, cost_.bytes + map_bytes() + std::max(with_slack(rows), 3 * pixels()));
  }
  reduction_ = plan.reduction;
}

void PicturePlan::find_network() {
  found_in_ = precision();
  try {
    upright_ = plans_.of(cost_.height, cost_.width, how());
  } catch (const Error& error) {
    throw CommandError(ExitCode::refused, cat(file_, ": ", error.what()));
  }
  if (options_.augment) turned_ = plans_.of(cost_.width, cost_.height, how());
  if (!curves_wanted_) return;
  // Maps are kept beside the photo, which has no result yet.
  EnhanceOptions options = how();
  const int64_t more = map_bytes() - cost_.bytes;
  if (options.memory > 0) options.memory = std::max<int64_t>(1, options.memory - without_slack(more));
  curves_ = std::make_unique<const Enhancer>(
      Enhancer::of_curves(dynamic_cast<const CurveModel&>(model_), cost_.height, cost_.width, options));
}

void PicturePlan::follow_precision() {
  if (found_in_ != precision()) find_network();
}

bool PicturePlan::halve() {
  const auto less = in_half_the_memory(model_, cost_.height, cost_.width, how());
  if (!less) return false;
  memory_ = less->memory;
  find_network();
  reduction_ = upright_->plan().reduction;
  return true;
}

void PicturePlan::end_curves() {
  curves_wanted_ = false;
  curves_ = nullptr;
}

void PicturePlan::drop() {
  upright_ = turned_ = nullptr;
  curves_ = nullptr;
}

EnhanceOptions PicturePlan::how() const {
  // What a device has no memory for is better done on the CPU than approximately.
  const bool asked = options_.tile > 0 || options_.memory_asked;
  return {.strength = options_.strength,
          .memory = memory_,
          .tile = options_.tile,
          .approximate = !options_.exact && (asked || model_.device() == kCpu)};
}

int64_t PicturePlan::map_bytes() const {
  return int64_t{3} * dynamic_cast<const CurveModel&>(model_).maps() * pixels();
}

int64_t PicturePlan::bytes_of_result() const {
  const int64_t channels = cost_.channels % 2 == 0 ? 4 : 3;
  return pixels() * channels * cost_.bits / 8;
}

// Photo and result in bytes, and as tensors where they are such: the picture, its result, what becomes of it.
// Or the sum of eight results, where the result takes the place of the photo.
int64_t PicturePlan::bytes_around_network() const {
  const bool sum = options_.augment && !options_.compared;
  const int64_t tensors = options_.compared ? 3 : sum ? 1 : 0, result = bytes_of_result();
  return (sum ? std::max(cost_.bytes, result) : cost_.bytes + result) +
         tensors * pixels() * 3 * static_cast<int64_t>(sizeof(float));
}

std::string PicturePlan::need_sentence() const {
  return cat(model_.name(), " needs about ", megabytes(need_), " for ", cost_.width, " x ", cost_.height,
             " pixels");
}

}  // namespace lux
