// PyTorch's checkpoints, read only: the way in for weights that were trained with it.
//
// A .pth is a pickle that describes tensors and the bytes that they lie in: either a ZIP archive with one
// entry per storage (PyTorch 1.6 and later) or one stream, pickles first and storages behind them. Both go
// through the closed evaluator of data/pickle.h, and there is no other way.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "luxgrad/data/pickle.h"
#include "luxgrad/data/safetensors.h"
#include "luxgrad/data/zip.h"

namespace lux {

struct PthLimits {
  PickleLimits pickle{};
  ZipLimits zip{.total_bytes = int64_t{4} << 30};
  int64_t tensors = 100'000;
  int64_t depth = 64;        ///< of dictionaries and lists in each other
  int64_t values = 300'000;  ///< looked at in search of tensors
  int64_t name_bytes = 1024;
  int64_t bytes_per_byte = 8;  ///< what all tensors may take, as a multiple of the file's length
};

/// Whether these are the first bytes of the older container.
bool is_legacy_pth(std::span<const uint8_t> bytes);

/// All tensors below the dictionary that the file holds. A tensor is named by the keys that lead to it, with
/// `/` between them: `conv1.weight`, or `state_dict/conv1.weight` where the weights stand beside other
/// things. The types are those of `parse_npy`, and bfloat16; layouts are PyTorch's. Refuses TorchScript, and
/// any pickle that asks for more than tensors need.
Result<TensorFile> parse_pth(std::span<const uint8_t> bytes, const PthLimits& limits = {});

}  // namespace lux
