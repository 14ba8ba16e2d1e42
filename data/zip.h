// The strict subset of ZIP that numpy and PyTorch write: every byte belongs to one entry, the directory or
// the end record, and local headers agree with the directory, so that no two readers can see different
// content.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "luxgrad/data/result.h"

namespace lux {

struct ZipLimits {
  int64_t entries = 10'000;
  int64_t total_bytes = int64_t{1} << 30;  ///< sum of the sizes after decompression
};

struct ZipEntry {
  std::string name;  ///< relative, without `..` and backslashes, at most 255 bytes
  bool deflated = false;
  uint32_t crc = 0;
  int64_t size = 0;                     ///< bytes after decompression
  std::span<const uint8_t> compressed;  ///< within the bytes of the archive
  int64_t offset = 0;                   ///< of `compressed` in the archive
};

/// The entries in their order in the archive. Refuses encryption, several disks, comments,
/// holes, overlaps, duplicate names, sizes that deflate cannot reach (1032:1), and zip64 numbers beyond those
/// of the end record, which have to be the same.
Result<std::vector<ZipEntry>> parse_zip(std::span<const uint8_t> bytes, const ZipLimits& limits = {});

/// The content of an entry, its size and CRC-32 checked.
Result<std::vector<uint8_t>> extract(const ZipEntry& entry);
/// The same in its place in the archive. Refuses a deflated entry.
Result<std::span<const uint8_t>> stored_content(const ZipEntry& entry);

}  // namespace lux
