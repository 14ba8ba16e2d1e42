// NumPy's files: .npy holds one array, .npz a ZIP archive of them. The way in and out for weights that other
// programs know as arrays, and for packs of pictures.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "luxgrad/data/result.h"
#include "luxgrad/data/zip.h"
#include "luxgrad/tensor/tensor.h"

namespace lux {

/// An array of format version 1 to 3, rank 0 to 8, either byte order, C or Fortran order (turned into C
/// order). float16, float32, float64, uint8 and int64 keep their type; bool becomes u8, the other integers up
/// to 32 bits i64. Refuses everything else, and bytes beyond the array.
Result<Tensor> parse_npy(std::span<const uint8_t> bytes);

/// The arrays of an archive, stored or deflated, by name without `.npy`. `limits.total_bytes` holds for what
/// they take in memory, too.
Result<std::map<std::string, Tensor>> parse_npz(std::span<const uint8_t> bytes, const ZipLimits& limits = {});

/// What stands before the elements of an array in C order: format version 1, little-endian, a multiple of 64
/// bytes. Throws Error for bfloat16, which NumPy does not have.
std::vector<uint8_t> npy_header(const Shape& shape, DType dtype = DType::f32);

/// `parse_npy` of a file. Throws FileException.
Tensor load_npy(const std::string& path);
/// `parse_npz` of a file. Throws FileException.
std::map<std::string, Tensor> load_npz(const std::string& path, const ZipLimits& limits = {});

/// The bytes of an archive of arrays, deflated. Throws Error as `npy_header` and `ZipWriter` do.
std::vector<uint8_t> serialize_npz(const std::map<std::string, Tensor>& arrays);

}  // namespace lux
