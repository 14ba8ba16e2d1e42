// Weights in the form that a kernel wants them in, made once and kept beside the weights until these change
// or go: a network that runs rows at a time, or many small pictures, asks for them again and again.
#pragma once

#include <array>

#include "luxgrad/tensor/function_ref.h"
#include "luxgrad/tensor/tensor.h"

namespace lux {

/// Says what was made: its kind, then the sizes and strides that it depends on.
using DerivedKey = std::array<int64_t, 12>;
enum DerivedKind : int64_t {
  kWinogradPoints,
  kFixedPoints,
  kTilePacking,
  kSplitPacking,
  kSinglePacking,
  kDepthwisePacking,
  kExchanged
};

/// While it lives, weights that kernels derive for this thread are kept: for inference, which asks for them
/// again and again. Training writes its weights before it would ask twice.
class KeepDerivedWeights {
 public:
  static constexpr int64_t kEverySize = int64_t{1} << 62;

  /// For calls that make at most so many pixels per channel. Of 8192 on the packing is 2 % of a convolution,
  /// and the memory is better spent on the pictures, unless they are many of one size.
  explicit KeepDerivedWeights(int64_t pixels = int64_t{1} << 13);
  ~KeepDerivedWeights();
  KeepDerivedWeights(const KeepDerivedWeights&) = delete;
  KeepDerivedWeights& operator=(const KeepDerivedWeights&) = delete;

 private:
  int64_t before_;
};

/// Whether a KeepDerivedWeights lives that is for calls that make `pixels` outputs per channel.
bool worth_keeping(int64_t pixels);

/// `make()`, which depends on `weight` and `key` only. With `keep` it is kept beside the bytes of `weight`,
/// and goes once they are written in place; what would exceed the cap of the process is made again at every
/// call, as evicting would let networks larger than the cap find nothing at all. Thread-safe; where `make`
/// throws, nothing has changed.
Tensor derived_weights(const Tensor& weight, const DerivedKey& key, bool keep, FunctionRef<Tensor()> make);

/// Bytes kept at present, which count among the live ones of `memory::stats`.
int64_t derived_weight_bytes();
/// Their cap, 64 MiB at the start. Returns the one before.
int64_t set_derived_weight_cap(int64_t bytes);

}  // namespace lux
