// Files of named tensors of any kind that luxgrad reads, told apart by their content.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "luxgrad/data/result.h"
#include "luxgrad/data/safetensors.h"

namespace lux {

/// Reads safetensors, NumPy's .npz and PyTorch's .pth (data/pth.h has its names), whatever the file is
/// called. Arrays keep the layout of the file.
Result<TensorFile> parse_tensor_file(std::span<const uint8_t> bytes);

/// `parse_tensor_file` of a file. Throws FileException.
TensorFile load_tensor_file(const std::string& path);

/// Whether a file of this name is taken for one of tensors where pictures are expected as well: .safetensors,
/// .npz, .pth, .pt.
bool has_tensor_file_name(std::string_view path);

}  // namespace lux
