// A writer of small ZIP archives for tests, which remembers where its headers stand so that tests can damage
// them.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

struct ZipItem {
  std::string name, content;
  bool deflated = false;
  uint16_t flags = 0;  ///< with bit 3 the local header is zeroed and a descriptor follows
};

struct ZipArchive {
  std::vector<uint8_t> bytes;
  std::vector<size_t> local, central;  ///< where the headers of each entry begin
  size_t end = 0;                      ///< where the end record begins

  ZipArchive(const ZipItem* items, size_t count) {
    std::vector<std::string> packed;
    for (size_t i = 0; i < count; ++i) {
      const ZipItem& item = items[i];
      packed.push_back(item.deflated ? deflate_text(item.content) : item.content);
      local.push_back(bytes.size());
      const bool later = (item.flags & 8) != 0;
      put(4, 0x04034b50);
      put(2, 20);
      put(2, item.flags);
      put(2, item.deflated ? 8 : 0);
      put(4, 0);
      put(4, later ? 0 : crc_of(item.content));
      put(4, later ? 0 : packed.back().size());
      put(4, later ? 0 : item.content.size());
      put(2, item.name.size());
      put(2, 0);
      text(item.name + packed.back());
      if (later) {
        put(4, 0x08074b50);
        put(4, crc_of(item.content));
        put(4, packed.back().size());
        put(4, item.content.size());
      }
    }
    const size_t begin = bytes.size();
    for (size_t i = 0; i < count; ++i) {
      const ZipItem& item = items[i];
      central.push_back(bytes.size());
      put(4, 0x02014b50);
      put(2, 20);
      put(2, 20);
      put(2, item.flags);
      put(2, item.deflated ? 8 : 0);
      put(4, 0);
      put(4, crc_of(item.content));
      put(4, packed[i].size());
      put(4, item.content.size());
      put(2, item.name.size());
      for (int field = 0; field < 4; ++field) put(2, 0);
      put(4, 0);
      put(4, local[i]);
      text(item.name);
    }
    end = bytes.size();
    put(4, 0x06054b50);
    put(4, 0);
    put(2, count);
    put(2, count);
    put(4, end - begin);
    put(4, begin);
    put(2, 0);
  }

  /// A copy with the `width` bytes at `offset` replaced.
  std::vector<uint8_t> with(size_t offset, size_t width, uint64_t value) const {
    auto copy = bytes;
    for (size_t b = 0; b < width; ++b) copy.at(offset + b) = static_cast<uint8_t>(value >> (8 * b));
    return copy;
  }

  /// A copy with a zip64 record and its locator before the end record, as PyTorch writes them.
  std::vector<uint8_t> with_zip64_record() const {
    ZipArchive copy = *this;
    copy.bytes.resize(end);
    const auto number = [&](size_t offset, size_t width) {
      uint64_t value = 0;
      for (size_t b = width; b-- > 0;) value = value << 8 | bytes[end + offset + b];
      return value;
    };
    copy.put(4, 0x06064b50);
    copy.put(8, 44);
    copy.put(4, 0x2d031e);  // versions
    copy.put(8, 0);
    copy.put(8, number(10, 2));
    copy.put(8, number(10, 2));
    copy.put(8, number(12, 4));
    copy.put(8, number(16, 4));
    copy.put(4, 0x07064b50);
    copy.put(4, 0);
    copy.put(8, end);
    copy.put(4, 1);
    copy.bytes.insert(copy.bytes.end(), bytes.begin() + static_cast<std::ptrdiff_t>(end), bytes.end());
    return copy.bytes;
  }

  static uint32_t crc_of(const std::string& content) {
    return static_cast<uint32_t>(
        crc32(0, reinterpret_cast<const Bytef*>(content.data()), static_cast<uInt>(content.size())));
  }

 private:
  void put(size_t width, uint64_t value) {
    for (size_t b = 0; b < width; ++b) bytes.push_back(static_cast<uint8_t>(value >> (8 * b)));
  }
  void text(const std::string& content) { bytes.insert(bytes.end(), content.begin(), content.end()); }

  static std::string deflate_text(const std::string& content) {
    z_stream stream{};
    deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
    std::string packed(deflateBound(&stream, static_cast<uLong>(content.size())), '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
    stream.avail_in = static_cast<uInt>(content.size());
    stream.next_out = reinterpret_cast<Bytef*>(packed.data());
    stream.avail_out = static_cast<uInt>(packed.size());
    deflate(&stream, Z_FINISH);
    packed.resize(stream.total_out);
    deflateEnd(&stream);
    return packed;
  }
};

inline ZipArchive zip_archive(std::initializer_list<ZipItem> items) { return {items.begin(), items.size()}; }
