// safetensors: named tensors and a string map in one file, the native format of weights and checkpoints.
//
// Eight bytes give the length of a JSON header, then come the header and the tensors' bytes. Reading is
// strict: every byte of the file belongs to the header or to exactly one tensor, so that a file means one
// thing only.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "luxgrad/data/file.h"
#include "luxgrad/data/result.h"
#include "luxgrad/tensor/tensor.h"

namespace lux {

struct TensorFile {
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;
};

struct SafetensorsLimits {
  int64_t header_bytes = int64_t{16} << 20;
  int64_t tensors = 100'000;
};

/// Tensors of dtype F32, F64, BF16, F16, U8 and I64, rank 0 to 8, copied into memory of their own. Refuses
/// whatever the format does not allow, and duplicate keys, holes, overlaps and bytes beyond the last tensor.
Result<TensorFile> parse_safetensors(std::span<const uint8_t> bytes, const SafetensorsLimits& limits = {});

/// The bytes of a file that every reader of the format takes; the same content gives the same bytes. Wider
/// elements stand first, so every tensor is aligned to its element. Throws Error for names that are not UTF-8
/// or reserved.
std::vector<uint8_t> serialize_safetensors(const TensorFile& content);
/// The same in pieces, one after another, without a copy of the tensors. Returns how many bytes there were.
int64_t serialize_safetensors(const TensorFile& content, ByteSink sink);

/// `parse_safetensors` of a file. Throws FileException.
TensorFile load_safetensors(const std::string& path, const SafetensorsLimits& limits = {});

/// Writes atomically (data/file.h). Throws FileException, and Error as `serialize_safetensors`.
void save_safetensors(const std::string& path, const TensorFile& content);

}  // namespace lux
