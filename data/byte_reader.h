// A cursor over the bytes of a file. Every read is checked; reading past the end leaves the parser with a
// sentence instead of a value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "luxgrad/data/result.h"

namespace lux {

inline uint16_t big16(const uint8_t* p) { return static_cast<uint16_t>(p[0] << 8 | p[1]); }
inline uint16_t little16(const uint8_t* p) { return static_cast<uint16_t>(p[1] << 8 | p[0]); }
inline uint32_t big32(const uint8_t* p) { return uint32_t{big16(p)} << 16 | big16(p + 2); }
inline uint32_t little32(const uint8_t* p) { return uint32_t{little16(p + 2)} << 16 | little16(p); }

inline void append_big32(std::vector<uint8_t>& bytes, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<uint8_t>(value >> shift));
}
inline void append_little16(std::vector<uint8_t>& bytes, uint32_t value) {
  for (int shift = 0; shift < 16; shift += 8) bytes.push_back(static_cast<uint8_t>(value >> shift));
}
inline void append_little32(std::vector<uint8_t>& bytes, uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<uint8_t>(value >> shift));
}
inline void append_little64(std::vector<uint8_t>& bytes, uint64_t value) {
  for (int shift = 0; shift < 64; shift += 8) bytes.push_back(static_cast<uint8_t>(value >> shift));
}

class ByteReader {
 public:
  /// `base` is where `bytes` begin in their file; offsets in errors count from there.
  explicit ByteReader(std::span<const uint8_t> bytes, int64_t base = 0) : bytes_(bytes), base_(base) {}

  int64_t offset() const { return base_ + static_cast<int64_t>(next_); }
  size_t remaining() const { return bytes_.size() - next_; }

  /// The next `count` bytes. Refuses when fewer are left; `what` names them: "the header".
  std::span<const uint8_t> take(size_t count, const char* what) {
    if (count > remaining()) refuse(FileErrorCode::truncated, offset(), "ends inside ", what);
    next_ += count;
    return bytes_.subspan(next_ - count, count);
  }
  /// What `take` has not passed yet.
  std::span<const uint8_t> rest() const { return bytes_.subspan(next_); }
  uint8_t u8(const char* what) { return take(1, what)[0]; }
  uint16_t big16(const char* what) { return lux::big16(take(2, what).data()); }
  uint32_t big32(const char* what) { return lux::big32(take(4, what).data()); }

 private:
  std::span<const uint8_t> bytes_;
  int64_t base_;
  size_t next_ = 0;
};

}  // namespace lux
