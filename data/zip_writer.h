// Writes ZIP archives: every entry deflated and fed piece by piece, since a pack of pictures is larger than
// what should lie in memory. The same content gives the same bytes. Numbers beyond 4 GB go into zip64 fields,
// which NumPy reads; what has none `parse_zip` reads, too.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "luxgrad/data/deflate.h"
#include "luxgrad/data/file.h"

namespace lux {

class ZipWriter {
 public:
  /// What deflate makes of so many bytes has a length of 32 bits, too.
  static constexpr int64_t kNarrow = 4'000'000'000;

  ZipWriter() : ZipWriter(nullptr, kNarrow) {}
  /// Into a file, which must outlive this and is the caller's to keep; a piece at a time is in memory. Then
  /// `write` and `finish` throw FileException, too. Sizes and places beyond `narrow` go into zip64 fields.
  explicit ZipWriter(NewFile& file, int64_t narrow = kNarrow) : ZipWriter(&file, narrow) {}
  ~ZipWriter();
  ZipWriter(const ZipWriter&) = delete;
  ZipWriter& operator=(const ZipWriter&) = delete;

  /// Ends the entry before, and begins one of `size` bytes.
  void begin(const std::string& name, int64_t size);
  /// More of the entry's content.
  void write(std::span<const uint8_t> piece);
  /// The bytes of the whole archive, none where they went into a file. Throws Error where an entry has
  /// another length than it began with.
  std::vector<uint8_t> finish();

 private:
  struct Entry;
  ZipWriter(NewFile* file, int64_t narrow);
  int64_t length() const { return before_ + static_cast<int64_t>(bytes_.size()); }
  void pass_on();
  void end_entry();
  void append_end(int64_t directory);

  NewFile* file_;
  int64_t narrow_;
  int64_t before_ = 0;          // bytes that went into the file
  std::vector<uint8_t> bytes_;  // behind them
  std::vector<Entry> entries_;
  std::unique_ptr<Deflater> deflater_;
};

}  // namespace lux
