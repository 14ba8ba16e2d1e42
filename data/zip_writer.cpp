#include "luxgrad/data/zip_writer.h"

#include <zlib.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "luxgrad/data/byte_reader.h"

namespace lux {
namespace {

constexpr int64_t kMost = std::numeric_limits<uint32_t>::max() - 1;  // the last value says "see zip64"
constexpr uint32_t kVersion = 20, kDeflated = 8, kFirstOf1980 = 33;  // the earliest date there is
constexpr int64_t kLocalCrc = 14;                                    // its place in a local header
constexpr size_t kTogether = size_t{1} << 20;                        // bytes that go into a file at once

}  // namespace

// Checksum and length after compression are known at the end of an entry, and written back into its header
// then, so that no descriptor has to follow.
struct ZipWriter::Entry {
  std::string name;
  int64_t header = 0;  // where its local header begins
  int64_t size = 0;    // of its content
  int64_t written = 0;
  uint32_t crc = 0, compressed = 0;

  int64_t data() const { return header + 30 + static_cast<int64_t>(name.size()); }

  /// The fields that both headers share, from the flags to the length of the name.
  void append_common(std::vector<uint8_t>& bytes) const {
    for (const uint32_t field : {0u, kDeflated, 0u, kFirstOf1980}) append_little16(bytes, field);
    for (const uint32_t field : {crc, compressed, static_cast<uint32_t>(size)}) append_little32(bytes, field);
    append_little16(bytes, static_cast<uint32_t>(name.size()));
    append_little16(bytes, 0);  // no extra field
  }
};

ZipWriter::ZipWriter(NewFile* file) : file_(file) {}
ZipWriter::~ZipWriter() = default;

void ZipWriter::begin(const std::string& name, int64_t size) {
  end_entry();
  check(size >= 0 && size <= kMost, "zip: expected an entry of at most ", kMost, " bytes, got ", size);
  Entry& entry = entries_.emplace_back();
  entry.name = name;
  entry.header = length();
  entry.size = size;
  append_little32(bytes_, 0x04034b50);
  append_little16(bytes_, kVersion);
  entry.append_common(bytes_);
  bytes_.insert(bytes_.end(), name.begin(), name.end());
  deflater_ = std::make_unique<Deflater>(DeflateForm::raw, bytes_);
}

void ZipWriter::write(std::span<const uint8_t> piece) {
  Entry& entry = entries_.back();
  entry.crc = static_cast<uint32_t>(crc32_z(entry.crc, piece.data(), piece.size()));
  entry.written += static_cast<int64_t>(piece.size());
  deflater_->write(piece);
  if (bytes_.size() >= kTogether) pass_on();
}

void ZipWriter::pass_on() {
  if (file_ == nullptr) return;
  file_->append(bytes_);
  before_ = length();
  bytes_.clear();
}

void ZipWriter::end_entry() {
  if (deflater_ == nullptr) return;
  deflater_->finish();
  deflater_.reset();
  Entry& entry = entries_.back();
  check(entry.written == entry.size, "zip: expected ", entry.size, " bytes of ", entry.name, ", got ",
        entry.written);
  check(length() <= kMost, "zip: the archive takes more than ", kMost, " bytes");
  entry.compressed = static_cast<uint32_t>(length() - entry.data());
  std::vector<uint8_t> fields;
  for (const uint32_t field : {entry.crc, entry.compressed}) append_little32(fields, field);
  pass_on();
  if (file_ == nullptr)
    std::copy(fields.begin(), fields.end(), bytes_.begin() + entry.header + kLocalCrc);
  else
    file_->overwrite(entry.header + kLocalCrc, fields);
}

std::vector<uint8_t> ZipWriter::finish() {
  end_entry();
  const auto directory = static_cast<uint32_t>(length());
  for (const Entry& entry : entries_) {
    append_little32(bytes_, 0x02014b50);
    append_little16(bytes_, kVersion);
    append_little16(bytes_, kVersion);
    entry.append_common(bytes_);
    for (int field = 0; field < 3; ++field) append_little16(bytes_, 0);  // no comment, first disk, no text
    append_little32(bytes_, 0);
    append_little32(bytes_, static_cast<uint32_t>(entry.header));
    bytes_.insert(bytes_.end(), entry.name.begin(), entry.name.end());
  }
  const uint32_t bytes = static_cast<uint32_t>(length()) - directory;
  append_little32(bytes_, 0x06054b50);
  append_little32(bytes_, 0);  // one disk
  for (int field = 0; field < 2; ++field) append_little16(bytes_, static_cast<uint32_t>(entries_.size()));
  append_little32(bytes_, bytes);
  append_little32(bytes_, directory);
  append_little16(bytes_, 0);
  pass_on();
  return std::move(bytes_);
}

}  // namespace lux
