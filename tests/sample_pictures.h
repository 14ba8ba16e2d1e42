// Small pictures and hand-made PNG files for the tests of data/image.h, and the shared files where present.
#pragma once

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "luxgrad/data/byte_reader.h"
#include "luxgrad/data/file.h"
#include "luxgrad/data/image.h"
#include "luxgrad/tensor/random.h"

namespace samples {

using Bytes = std::vector<uint8_t>;

/// Smooth colours with a little noise, different for every size and kind.
inline lux::Image picture(int64_t width, int64_t height, int channels, int bits) {
  lux::Image image;
  image.allocate(width, height, channels, bits);
  uint32_t noise = static_cast<uint32_t>(width * 131 + height * 17 + channels * 5 + bits);
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (int64_t c = 0; c < channels; ++c) {
        noise = noise * 1664525u + 1013904223u;
        const int64_t smooth = (x * (c + 2) + y * (4 - c)) * image.max_value() / (6 * (width + height));
        const auto sample =
            static_cast<uint16_t>(smooth + (noise >> 30) * static_cast<uint32_t>(bits == 16 ? 97 : 1));
        const int64_t i = x * channels + c;
        if (bits == 16)
          std::memcpy(image.row(y) + 2 * i, &sample, 2);
        else
          image.row(y)[i] = static_cast<uint8_t>(sample);
      }
    }
  }
  return image;
}

/// A TIFF block with an orientation among other tags.
inline Bytes exif(int orientation, bool big_endian = false) {
  Bytes bytes = big_endian ? Bytes{'M', 'M', 0, 42, 0, 0, 0, 8} : Bytes{'I', 'I', 42, 0, 8, 0, 0, 0};
  const auto number = [&](uint32_t value, int width) {
    for (int i = 0; i < width; ++i)
      bytes.push_back(static_cast<uint8_t>(value >> 8 * (big_endian ? width - 1 - i : i)));
  };
  number(2, 2);
  for (const auto& [tag, value] : {std::pair{0x10F, 77}, std::pair{0x112, orientation}}) {
    number(static_cast<uint32_t>(tag), 2);
    number(3, 2);
    number(1, 4);
    number(static_cast<uint32_t>(value), 2);
    number(0, 2);
  }
  number(0, 4);
  return bytes;
}

inline void append_png_chunk(Bytes& png, std::string_view type, const Bytes& data) {
  lux::append_big32(png, static_cast<uint32_t>(data.size()));
  Bytes checked(type.begin(), type.end());
  checked.insert(checked.end(), data.begin(), data.end());
  png.insert(png.end(), checked.begin(), checked.end());
  lux::append_big32(png, static_cast<uint32_t>(crc32(0, checked.data(), static_cast<uInt>(checked.size()))));
}

inline Bytes deflated(const Bytes& raw) {
  uLongf length = compressBound(raw.size());
  Bytes stream(length);
  compress(stream.data(), &length, raw.data(), raw.size());
  stream.resize(length);
  return stream;
}

struct PngParts {
  uint32_t width = 1, height = 1;
  uint8_t bits = 8, color = 0, interlace = 0;
  std::vector<std::pair<std::string, Bytes>> before_data = {};  // more chunks
  Bytes raw = {};                                               // rows with their filter bytes
};

inline Bytes png_file(const PngParts& parts) {
  Bytes png = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  Bytes header;
  lux::append_big32(header, parts.width);
  lux::append_big32(header, parts.height);
  for (const uint8_t byte : {parts.bits, parts.color, uint8_t{0}, uint8_t{0}, parts.interlace})
    header.push_back(byte);
  append_png_chunk(png, "IHDR", header);
  for (const auto& [type, data] : parts.before_data) append_png_chunk(png, type, data);
  append_png_chunk(png, "IDAT", deflated(parts.raw));
  append_png_chunk(png, "IEND", {});
  return png;
}

/// Files below ../shared/data/formats/`folder` with this extension, sorted; empty where that is absent.
inline std::vector<std::string> shared_files(const std::string& folder, const std::string& extension) {
  const std::filesystem::path root =
      std::filesystem::path(LUX_SOURCE_DIR) / "../shared/data/formats" / folder;
  std::vector<std::string> files;
  if (!std::filesystem::is_directory(root)) return files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    if (entry.path().extension() == extension) files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// Why `bytes` are refused; empty if they are not.
inline std::string refusal(const Bytes& bytes, const lux::ImageLimits& limits = {}) {
  const auto result = lux::decode_image(bytes, limits);
  return result ? "" : result.error().reason;
}

inline bool same_pixels(const lux::Image& a, const lux::Image& b) {
  return a.width == b.width && a.height == b.height && a.channels == b.channels && a.bits == b.bits &&
         a.samples == b.samples;
}

}  // namespace samples
