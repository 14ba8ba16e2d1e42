// Bytes that come one after the other from a pipe or a file, and go to one: what streams are parsed from.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "luxgrad/data/result.h"

namespace lux {

/// Reads ahead as far as bytes are there, and no further. Every read is checked; one beyond the end leaves
/// the parser with a sentence (data/result.h).
class ByteSource {
 public:
  /// `stop`, where there is one, ends the stream as soon as it becomes true, even while nothing comes.
  explicit ByteSource(int descriptor, const std::atomic<bool>* stop = nullptr);
  /// Bytes in memory.
  explicit ByteSource(std::span<const uint8_t> bytes);

  /// Bytes passed so far.
  int64_t offset() const { return offset_; }
  /// Whether nothing more comes. Waits for what comes.
  bool at_end();
  /// The next byte, which stays. Refuses at the end.
  uint8_t peek(const char* what);
  uint8_t u8(const char* what);
  void read(std::span<uint8_t> to, const char* what);
  /// `count` bytes behind those that `to` holds. Its memory grows as they come: those that were only promised
  /// cost none.
  void append(std::vector<uint8_t>& to, int64_t count, const char* what);
  void skip(int64_t count, const char* what);

 private:
  size_t some(std::span<uint8_t> to);
  void need(const char* what);

  int descriptor_ = -1;
  const std::atomic<bool>* stop_ = nullptr;
  std::vector<uint8_t> buffer_;
  std::span<const uint8_t> ahead_;  // read and not passed yet
  int64_t offset_ = 0;
};

/// Writes all of `bytes`. An error has the code `unwritable`, and where the reader left, the reason
/// `has no reader any more`.
Result<bool> write_bytes(int descriptor, std::span<const uint8_t> bytes);

/// Whether an error is that of a reader who left.
bool reader_left(const FileError& error);

}  // namespace lux
