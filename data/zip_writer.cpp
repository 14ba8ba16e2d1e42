#include "luxgrad/data/zip_writer.h"

#include <zlib.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "luxgrad/data/byte_reader.h"

namespace lux {
namespace {

constexpr uint32_t kElsewhere = std::numeric_limits<uint32_t>::max();  // "see the zip64 field"
constexpr uint32_t kVersion = 20, kZip64Version = 45;
constexpr uint32_t kDeflated = 8, kFirstOf1980 = 33;  // the earliest date there is
constexpr size_t kTogether = size_t{1} << 20;         // bytes that go into a file at once

uint32_t narrowed(int64_t number, bool wide) { return wide ? kElsewhere : static_cast<uint32_t>(number); }

}  // namespace

// Checksum and length after compression are known at the end of an entry, and written into its header then,
// so that no descriptor has to follow.
struct ZipWriter::Entry {
  std::string name;
  int64_t header = 0, data = 0;    // where its local header begins, and what it is compressed to
  int64_t size = 0;                // of its content
  bool wide = false, far = false;  // whether its sizes, and its place, stand in a zip64 field
  int64_t written = 0, compressed = 0;
  uint32_t crc = 0;

  std::vector<uint8_t> local_header() const {
    const Numbers zip64 = wide ? Numbers{size, compressed} : Numbers{};
    std::vector<uint8_t> bytes;
    append_little32(bytes, 0x04034b50);
    append_common(bytes, zip64);
    bytes.insert(bytes.end(), name.begin(), name.end());
    append_zip64(bytes, zip64);
    return bytes;
  }

  std::vector<uint8_t> central_header() const {
    Numbers zip64 = wide ? Numbers{size, compressed} : Numbers{};
    if (far) zip64.push_back(header);
    std::vector<uint8_t> bytes;
    append_little32(bytes, 0x02014b50);
    append_little16(bytes, version());
    append_common(bytes, zip64);
    for (int field = 0; field < 3; ++field) append_little16(bytes, 0);  // no comment, first disk, no text
    append_little32(bytes, 0);
    append_little32(bytes, narrowed(header, far));
    bytes.insert(bytes.end(), name.begin(), name.end());
    append_zip64(bytes, zip64);
    return bytes;
  }

 private:
  using Numbers = std::vector<int64_t>;

  uint32_t version() const { return wide || far ? kZip64Version : kVersion; }

  /// The fields that both headers share, from the version to the length of the zip64 field.
  void append_common(std::vector<uint8_t>& bytes, const Numbers& zip64) const {
    for (const uint32_t field : {version(), 0u, kDeflated, 0u, kFirstOf1980}) append_little16(bytes, field);
    append_little32(bytes, crc);
    append_little32(bytes, narrowed(compressed, wide));
    append_little32(bytes, narrowed(size, wide));
    append_little16(bytes, static_cast<uint32_t>(name.size()));
    append_little16(bytes, static_cast<uint32_t>(zip64.empty() ? 0 : 4 + 8 * zip64.size()));
  }

  static void append_zip64(std::vector<uint8_t>& bytes, const Numbers& zip64) {
    if (zip64.empty()) return;
    append_little16(bytes, 1);
    append_little16(bytes, static_cast<uint32_t>(8 * zip64.size()));
    for (const int64_t number : zip64) append_little64(bytes, static_cast<uint64_t>(number));
  }
};

ZipWriter::ZipWriter(NewFile* file, int64_t narrow) : file_(file), narrow_(narrow) {}
ZipWriter::~ZipWriter() = default;

void ZipWriter::begin(const std::string& name, int64_t size) {
  end_entry();
  Entry& entry = entries_.emplace_back();
  entry.name = name;
  entry.header = length();
  entry.size = size;
  entry.wide = size > narrow_;
  entry.far = entry.header > narrow_;
  const std::vector<uint8_t> header = entry.local_header();
  bytes_.insert(bytes_.end(), header.begin(), header.end());
  entry.data = length();
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
  entry.compressed = length() - entry.data;
  const std::vector<uint8_t> header = entry.local_header();
  pass_on();
  if (file_ == nullptr)
    std::copy(header.begin(), header.end(), bytes_.begin() + entry.header);
  else
    file_->overwrite(entry.header, header);
}

std::vector<uint8_t> ZipWriter::finish() {
  end_entry();
  const int64_t directory = length();
  for (const Entry& entry : entries_) {
    const std::vector<uint8_t> header = entry.central_header();
    bytes_.insert(bytes_.end(), header.begin(), header.end());
  }
  append_end(directory);
  pass_on();
  return std::move(bytes_);
}

void ZipWriter::append_end(int64_t directory) {
  const int64_t end = length();
  const auto bytes = static_cast<uint64_t>(end - directory), place = static_cast<uint64_t>(directory);
  const bool far = directory > narrow_;
  if (far) {
    append_little32(bytes_, 0x06064b50);
    append_little64(bytes_, 44);  // bytes of this record behind here
    for (int field = 0; field < 2; ++field) append_little16(bytes_, kZip64Version);
    append_little64(bytes_, 0);  // one disk
    for (const uint64_t number : {entries_.size(), entries_.size(), bytes, place})
      append_little64(bytes_, number);
    append_little32(bytes_, 0x07064b50);  // where that record is
    append_little32(bytes_, 0);
    append_little64(bytes_, static_cast<uint64_t>(end));
    append_little32(bytes_, 1);
  }
  append_little32(bytes_, 0x06054b50);
  append_little32(bytes_, 0);  // one disk
  for (int field = 0; field < 2; ++field) append_little16(bytes_, static_cast<uint32_t>(entries_.size()));
  append_little32(bytes_, static_cast<uint32_t>(bytes));
  append_little32(bytes_, narrowed(directory, far));
  append_little16(bytes_, 0);
}

}  // namespace lux
