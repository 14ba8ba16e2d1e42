#include "luxgrad/kernels/derived_weights.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <utility>

namespace lux {
namespace {

thread_local int64_t most_pixels = 0;  // of a call whose weights are kept
std::atomic<int64_t> kept_bytes{0}, cap{int64_t{64} << 20};

struct Kept final : Derived {
  struct Entry {
    DerivedKey key;
    Tensor made;
  };

  ~Kept() override {
    for (const Entry& entry : entries) kept_bytes -= entry.made.storage()->bytes();
  }
  std::vector<Entry> entries;  // a few: forward and gradient, of one or two kernels
};

// Held while the entries of any storage are read or added to, never while weights are made.
std::mutex& guard() {
  static std::mutex mutex;
  return mutex;
}

const Tensor* find(Storage& weights, const DerivedKey& key) {
  const auto* const kept = dynamic_cast<const Kept*>(weights.derived().get());
  if (kept == nullptr) return nullptr;
  for (const Kept::Entry& entry : kept->entries) {
    if (entry.key == key) return &entry.made;
  }
  return nullptr;
}

void add(Storage& weights, const DerivedKey& key, const Tensor& made) {
  const int64_t bytes = made.storage()->bytes();
  if (kept_bytes + bytes > cap) return;
  if (weights.derived() == nullptr) weights.derived() = std::make_unique<Kept>();
  auto* const kept = dynamic_cast<Kept*>(weights.derived().get());
  if (kept == nullptr) return;  // something else is kept beside them
  kept->entries.push_back({key, made});
  kept_bytes += bytes;
}

}  // namespace

KeepDerivedWeights::KeepDerivedWeights(int64_t pixels)
    : before_(std::exchange(most_pixels, std::max(most_pixels, pixels))) {}
KeepDerivedWeights::~KeepDerivedWeights() { most_pixels = before_; }

bool worth_keeping(int64_t pixels) { return pixels <= most_pixels; }

Tensor derived_weights(const Tensor& weight, const DerivedKey& key, bool keep, FunctionRef<Tensor()> make) {
  if (!keep || weight.offset() != 0) return make();  // rows of something do not stay
  Storage& weights = *weight.storage();
  {
    const std::lock_guard lock(guard());
    if (const Tensor* const made = find(weights, key)) return *made;
  }
  Tensor made = make();
  const std::lock_guard lock(guard());
  if (const Tensor* const theirs = find(weights, key)) return *theirs;  // another thread was faster
  add(weights, key, made);
  return made;
}

int64_t derived_weight_bytes() { return kept_bytes; }
int64_t set_derived_weight_cap(int64_t bytes) { return cap.exchange(bytes); }

}  // namespace lux
