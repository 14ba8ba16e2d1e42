#include "luxgrad/data/zip.h"

#include <zlib.h>

#include <cstring>
#include <set>

namespace lux {
namespace {

constexpr uint32_t kLocalSignature = 0x04034b50, kCentralSignature = 0x02014b50, kEndSignature = 0x06054b50;
constexpr uint32_t kDescriptorSignature = 0x08074b50;
constexpr uint32_t kZip64Signature = 0x06064b50, kLocatorSignature = 0x07064b50;
constexpr int64_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22, kZip64Bytes = 56, kLocatorBytes = 20;
constexpr uint32_t kElsewhere = 0xffffffff;  // "see the zip64 field"
constexpr unsigned kEncrypted = 1, kDescriptor = 8,
                   kAllowedFlags = 0x80e;  // deflate level, descriptor, UTF-8
constexpr int64_t kDeflateRatio = 1032;
constexpr int64_t kNameBytes = 255;  // messages repeat names

template <class... Parts>
[[noreturn]] void malformed(int64_t offset, const Parts&... parts) {
  refuse(FileErrorCode::malformed, offset, parts...);
}

/// Little-endian numbers at checked positions.
class Reader {
 public:
  explicit Reader(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  int64_t size() const { return static_cast<int64_t>(bytes_.size()); }
  std::span<const uint8_t> part(int64_t offset, int64_t length) const {
    if (offset < 0 || length < 0 || offset > size() || length > size() - offset) {
      refuse(FileErrorCode::truncated, size(), "the archive ends inside an entry or its directory");
    }
    return bytes_.subspan(static_cast<size_t>(offset), static_cast<size_t>(length));
  }
  uint64_t number(int64_t offset, int64_t width) const {
    uint64_t value = 0;
    std::memcpy(&value, part(offset, width).data(), static_cast<size_t>(width));
    return value;
  }
  uint32_t u16(int64_t offset) const { return static_cast<uint32_t>(number(offset, 2)); }
  uint32_t u32(int64_t offset) const { return static_cast<uint32_t>(number(offset, 4)); }
  std::string text(int64_t offset, int64_t length) const {
    const auto bytes = part(offset, length);
    return {bytes.begin(), bytes.end()};
  }

 private:
  std::span<const uint8_t> bytes_;
};

/// What a header says about its entry; local and central ones must say the same.
struct Header {
  uint32_t flags = 0, method = 0, crc = 0, compressed = 0, size = 0;
  std::string name;
};

void check_name(const std::string& name, int64_t offset) {
  const std::string inside = "/" + name + "/";
  if (name.empty() || name[0] == '/' || name.find('\\') != std::string::npos ||
      name.find('\0') != std::string::npos || inside.find("/../") != std::string::npos) {
    malformed(offset, "an entry has the unsafe name \"", name, "\"");
  }
}

struct Directory {
  int64_t begin = 0, end = 0, entries = 0;
};

/// Where the directory ends: at the end record, or at the zip64 record and its locator that PyTorch puts
/// before it. They have to repeat the numbers of the end record.
int64_t directory_end(const Reader& reader, int64_t end) {
  const int64_t locator = end - kLocatorBytes, record = locator - kZip64Bytes;
  if (record < 0 || reader.u32(locator) != kLocatorSignature) return end;
  const bool agrees =
      reader.u32(locator + 4) == 0 && reader.u32(locator + 16) == 1 &&
      reader.number(locator + 8, 8) == static_cast<uint64_t>(record) &&
      reader.u32(record) == kZip64Signature && reader.number(record + 4, 8) == kZip64Bytes - 12 &&
      reader.number(record + 16, 8) == 0 && reader.number(record + 24, 8) == reader.u16(end + 10) &&
      reader.number(record + 32, 8) == reader.u16(end + 10) &&
      reader.number(record + 40, 8) == reader.u32(end + 12) &&
      reader.number(record + 48, 8) == reader.u32(end + 16);
  if (!agrees) malformed(locator, "the zip64 record and the end record disagree");
  return record;
}

Directory find_directory(const Reader& reader) {
  const int64_t end = reader.size() - kEndBytes;
  if (end < 0 || reader.u32(end) != kEndSignature) {
    malformed(-1, "is no ZIP archive, or has bytes behind its end");
  }
  if (reader.u16(end + 20) != 0) malformed(end + 20, "the end of the archive announces a comment");
  if (reader.u16(end + 4) != 0 || reader.u16(end + 6) != 0 || reader.u16(end + 8) != reader.u16(end + 10)) {
    malformed(end + 4, "the archive spans several disks");
  }
  const int64_t entries = reader.u16(end + 10), bytes = reader.u32(end + 12), begin = reader.u32(end + 16);
  if (entries == 0xffff || bytes == kElsewhere || begin == kElsewhere) {
    refuse(FileErrorCode::unsupported, end, "has a zip64 directory");
  }
  const int64_t directory_ends = directory_end(reader, end);
  if (begin + bytes != directory_ends)
    malformed(end + 12, "the directory does not end where the end record begins");
  return {begin, directory_ends, entries};
}

Header read_central(const Reader& reader, int64_t at, int64_t& next, int64_t& local) {
  if (reader.u32(at) != kCentralSignature) malformed(at, "expected an entry of the directory");
  const int64_t name = reader.u16(at + 28), extra = reader.u16(at + 30), comment = reader.u16(at + 32);
  if (reader.u16(at + 34) != 0) malformed(at + 34, "the archive spans several disks");
  if (name > kNameBytes) {
    refuse(FileErrorCode::too_large, at + 28, "an entry has a name of ", name, " bytes, at most ", kNameBytes,
           " are read");
  }
  next = at + kCentralBytes + name + extra + comment;
  local = reader.u32(at + 42);
  Header header{reader.u16(at + 8),  reader.u16(at + 10), reader.u32(at + 16),
                reader.u32(at + 20), reader.u32(at + 24), reader.text(at + kCentralBytes, name)};
  check_name(header.name, at + kCentralBytes);
  if ((header.flags & kEncrypted) != 0)
    refuse(FileErrorCode::unsupported, at + 8, "entry ", header.name, " is encrypted");
  if ((header.flags & ~kAllowedFlags) != 0) {
    refuse(FileErrorCode::unsupported, at + 8, "entry ", header.name, " has unknown flags");
  }
  if (header.method != 0 && header.method != Z_DEFLATED) {
    refuse(FileErrorCode::unsupported, at + 10, "entry ", header.name, " is compressed by method ",
           header.method, ", expected 0 (stored) or 8 (deflate)");
  }
  if (header.compressed == kElsewhere || header.size == kElsewhere || local == kElsewhere) {
    refuse(FileErrorCode::unsupported, at + 20, "entry ", header.name, " has zip64 sizes");
  }
  return header;
}

/// Whether the zip64 field among a local header's extras says the sizes of the directory.
bool zip64_field_agrees(const Reader& reader, int64_t at, int64_t end, const Header& central) {
  while (at + 4 <= end) {
    const int64_t id = reader.u16(at), length = reader.u16(at + 2);
    if (id == 1) {
      return length == 16 && at + 20 <= end && reader.number(at + 4, 8) == central.size &&
             reader.number(at + 12, 8) == central.compressed;
    }
    at += 4 + length;
  }
  return false;
}

/// Checks a local header against the directory and returns where its data begin.
int64_t check_local(const Reader& reader, int64_t at, const Header& central) {
  if (reader.u32(at) != kLocalSignature) malformed(at, "expected entry ", central.name);
  const int64_t name = reader.u16(at + 26), data = at + kLocalBytes + name + reader.u16(at + 28);
  const uint32_t crc = reader.u32(at + 14), compressed = reader.u32(at + 18), size = reader.u32(at + 22);
  const bool later = (central.flags & kDescriptor) != 0;  // the true numbers follow the data
  const bool same_numbers = crc == central.crc && compressed == central.compressed && size == central.size;
  const bool no_numbers = later && crc == 0 && compressed == 0 && size == 0;
  const bool wide_numbers =
      compressed == kElsewhere && size == kElsewhere &&
      (later ? crc == 0
             : crc == central.crc && zip64_field_agrees(reader, at + kLocalBytes + name, data, central));
  if (reader.u16(at + 6) != central.flags || reader.u16(at + 8) != central.method ||
      reader.text(at + kLocalBytes, name) != central.name || !(same_numbers || no_numbers || wide_numbers)) {
    malformed(at, "entry ", central.name, " and the directory disagree");
  }
  return data;
}

/// Where the entry ends whose data end at `at`: there, or behind a descriptor with or without signature, with
/// sizes of four or eight bytes. `next` is where the following entry begins.
int64_t skip_descriptor(const Reader& reader, int64_t at, int64_t next, const Header& central) {
  for (const int64_t signature : {4, 0}) {
    for (const int64_t width : {4, 8}) {
      const int64_t length = signature + 4 + 2 * width;
      if (next - at != length || (signature != 0 && reader.u32(at) != kDescriptorSignature)) continue;
      const int64_t crc = at + signature;
      if (reader.u32(crc) == central.crc && reader.number(crc + 4, width) == central.compressed &&
          reader.number(crc + 4 + width, width) == central.size) {
        return next;
      }
    }
  }
  malformed(at, "the descriptor behind entry ", central.name, " and the directory disagree");
}

std::vector<ZipEntry> parse(std::span<const uint8_t> bytes, const ZipLimits& limits) {
  const Reader reader(bytes);
  const Directory directory = find_directory(reader);
  if (directory.entries > limits.entries) {
    refuse(FileErrorCode::too_large, -1, "has ", directory.entries, " entries, at most ", limits.entries,
           " are read");
  }
  struct Place {
    Header header;
    int64_t local;
  };
  std::vector<Place> places;
  int64_t at = directory.begin;
  for (int64_t i = 0; i < directory.entries; ++i) {
    int64_t next = 0, local = 0;
    Header header = read_central(reader, at, next, local);
    places.push_back({std::move(header), local});
    at = next;
  }
  if (at != directory.end) malformed(at, "the directory and its number of entries disagree");

  std::vector<ZipEntry> entries;
  std::set<std::string> names;
  int64_t position = 0, total = 0;
  for (size_t i = 0; i < places.size(); ++i) {
    const auto& [header, local] = places[i];
    if (local != position) malformed(local, "entry ", header.name, " overlaps another one or leaves a hole");
    if (!names.insert(header.name).second) malformed(local, "has two entries named ", header.name);
    const bool deflated = header.method == Z_DEFLATED;
    if (deflated ? header.size > kDeflateRatio * header.compressed : header.size != header.compressed) {
      malformed(local, "entry ", header.name, " cannot have ", header.size, " bytes in ", header.compressed);
    }
    total += header.size;
    if (total > limits.total_bytes) {
      refuse(FileErrorCode::too_large, local, "holds more than ", limits.total_bytes, " bytes");
    }
    const int64_t data = check_local(reader, local, header);
    entries.push_back(
        {header.name, deflated, header.crc, header.size, reader.part(data, header.compressed), data});
    position = data + header.compressed;
    if ((header.flags & kDescriptor) != 0) {
      position = skip_descriptor(reader, position,
                                 i + 1 < places.size() ? places[i + 1].local : directory.begin, header);
    }
  }
  if (position != directory.begin) malformed(position, "has a hole or an overlap before its directory");
  return entries;
}

std::vector<uint8_t> inflate_entry(const ZipEntry& entry) {
  std::vector<uint8_t> content(static_cast<size_t>(entry.size) +
                               1);  // a byte more, to notice a longer stream
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) throw OutOfMemory("zip: no memory to inflate");
  stream.next_in = const_cast<Bytef*>(entry.compressed.data());
  stream.avail_in = static_cast<uInt>(entry.compressed.size());
  stream.next_out = content.data();
  stream.avail_out = static_cast<uInt>(content.size());
  const int status = inflate(&stream, Z_FINISH);
  const auto written = static_cast<int64_t>(stream.total_out);
  const bool all_read = stream.avail_in == 0;
  inflateEnd(&stream);
  if (status != Z_STREAM_END || !all_read || written != entry.size) {
    malformed(entry.offset, "entry ", entry.name, " does not inflate to its ", entry.size, " bytes");
  }
  content.pop_back();
  return content;
}

void check_crc(const ZipEntry& entry, std::span<const uint8_t> content) {
  if (crc32_z(0, content.data(), content.size()) != entry.crc)
    malformed(entry.offset, "entry ", entry.name, " is damaged: its checksum is wrong");
}

}  // namespace

Result<std::vector<ZipEntry>> parse_zip(std::span<const uint8_t> bytes, const ZipLimits& limits) {
  return attempt([&] { return parse(bytes, limits); });
}

Result<std::vector<uint8_t>> extract(const ZipEntry& entry) {
  return attempt([&] {
    auto content = entry.deflated ? inflate_entry(entry)
                                  : std::vector<uint8_t>(entry.compressed.begin(), entry.compressed.end());
    check_crc(entry, content);
    return content;
  });
}

Result<std::span<const uint8_t>> stored_content(const ZipEntry& entry) {
  return attempt([&] {
    if (entry.deflated)
      refuse(FileErrorCode::unsupported, entry.offset, "entry ", entry.name,
             " is compressed, expected stored");
    check_crc(entry, entry.compressed);
    return entry.compressed;
  });
}

}  // namespace lux
