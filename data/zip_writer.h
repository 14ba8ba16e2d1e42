// Writes ZIP archives that `parse_zip` reads: every entry deflated and fed piece by piece, since a pack of
// pictures is larger than what should lie in memory. The same content gives the same bytes.
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
  ZipWriter() : ZipWriter(nullptr) {}
  /// Into a file, which must outlive this and is the caller's to keep; a piece at a time is in memory. Then
  /// `write` and `finish` throw FileException, too.
  explicit ZipWriter(NewFile& file) : ZipWriter(&file) {}
  ~ZipWriter();
  ZipWriter(const ZipWriter&) = delete;
  ZipWriter& operator=(const ZipWriter&) = delete;

  /// Ends the entry before, and begins one of `size` bytes. Throws Error where an archive without zip64 has
  /// no place for it.
  void begin(const std::string& name, int64_t size);
  /// More of the entry's content.
  void write(std::span<const uint8_t> piece);
  /// The bytes of the whole archive, none where they went into a file. Throws Error where an entry has another length than it began with.
  std::vector<uint8_t> finish();

 private:
  struct Entry;
  explicit ZipWriter(NewFile* file);
  int64_t length() const { return before_ + static_cast<int64_t>(bytes_.size()); }
  void pass_on();
  void end_entry();

  NewFile* file_;
  int64_t before_ = 0;          // bytes that went into the file
  std::vector<uint8_t> bytes_;  // behind them
  std::vector<Entry> entries_;
  std::unique_ptr<Deflater> deflater_;
};

}  // namespace lux
