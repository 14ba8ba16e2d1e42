#include "luxgrad/autograd/saved_map.h"

namespace lux {
namespace {

constexpr int64_t kFewChannels = 8;

thread_local bool narrow = false;

// Beside the bytes of a map, for the others that keep it: lives as long as one of them has it.
struct NarrowCopy final : Derived {
  explicit NarrowCopy(std::weak_ptr<Storage> copy) : copy(std::move(copy)) {}
  std::weak_ptr<Storage> copy;
};

bool is_narrowed(const Tensor& map) {
  if (!narrow || !map.defined() || map.dtype() != DType::f32 || map.device() != kCpu || map.offset() != 0)
    return false;
  const Shape& s = map.shape();
  return s.rank() == 4 && s[1] * s[2] > 1 && s[3] >= kFewChannels;
}

Tensor kept_form(const Tensor& map) {
  if (!is_narrowed(map)) return map;
  std::unique_ptr<Derived>& derived = map.storage()->derived();
  const auto* const known = dynamic_cast<const NarrowCopy*>(derived.get());
  if (known != nullptr) {
    if (std::shared_ptr<Storage> copy = known->copy.lock())
      return {std::move(copy), map.shape(), DType::bf16};
  }
  Tensor copy = map.to(DType::bf16);
  if (known != nullptr || derived == nullptr) derived = std::make_unique<NarrowCopy>(copy.storage());
  return copy;
}

}  // namespace

NarrowMaps::NarrowMaps(bool on) : before_(narrow) { narrow = narrow || on; }
NarrowMaps::~NarrowMaps() { narrow = before_; }

SavedMap::SavedMap(const Tensor& map) : kept_(kept_form(map)), dtype_(map.dtype()) {}

Tensor SavedMap::get() const {
  const Tensor& kept = kept_.get();
  return kept.defined() ? kept.to(dtype_) : kept;
}

}  // namespace lux
