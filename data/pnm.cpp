#include "luxgrad/data/pnm.h"

#include <algorithm>
#include <cstring>

#include "luxgrad/data/byte_reader.h"

namespace lux {
namespace {

using enum FileErrorCode;

bool is_space(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

/// The next byte that is neither white space nor part of a comment.
uint8_t next_character(ByteReader& reader, const char* what) {
  for (;;) {
    uint8_t c = reader.u8(what);
    while (c == '#') {
      while (c != '\n' && c != '\r') c = reader.u8(what);
    }
    if (!is_space(c)) return c;
  }
}

/// A decimal number and the one white-space byte behind it, without which a cut "255" could pass for "25".
int64_t read_number(ByteReader& reader, const char* what) {
  int64_t value = 0;
  uint8_t c = next_character(reader, what);
  if (!is_digit(c)) refuse(malformed, reader.offset() - 1, "is a damaged PNM: expected a number in ", what);
  for (; is_digit(c); c = reader.u8(what)) value = std::min<int64_t>(10 * value + (c - '0'), INT32_MAX);
  if (!is_space(c)) refuse(malformed, reader.offset() - 1, "is a damaged PNM: expected a space in ", what);
  return value;
}

/// Reads the samples one after the other, whatever the variant.
class SampleReader {
 public:
  SampleReader(ByteReader& reader, char variant, int64_t maximum)
      : reader_(reader), variant_(variant), maximum_(maximum) {}

  int64_t next() {
    constexpr const char* kWhat = "the picture";
    int64_t sample = 0;
    if (variant_ == '1') {
      const uint8_t c = next_character(reader_, kWhat);
      if (c != '0' && c != '1') refuse(malformed, reader_.offset() - 1, "is a damaged PBM: expected 0 or 1");
      sample = c == '0' ? 1 : 0;  // 1 is black
    } else if (variant_ == '4') {
      if (bit_ < 0) {
        byte_ = reader_.u8(kWhat);
        bit_ = 7;
      }
      sample = (byte_ >> bit_-- & 1) == 0 ? 1 : 0;
    } else if (variant_ < '4') {
      sample = read_number(reader_, kWhat);
    } else {
      sample = maximum_ > 255 ? reader_.big16(kWhat) : reader_.u8(kWhat);
    }
    if (sample > maximum_)
      refuse(malformed, reader_.offset(), "is a damaged PNM: a sample of ", sample, ", expected at most ",
             maximum_);
    return sample;
  }
  void end_row() { bit_ = -1; }

 private:
  ByteReader& reader_;
  char variant_;
  int64_t maximum_;
  uint8_t byte_ = 0;
  int bit_ = -1;
};

}  // namespace

Image read_pnm(std::span<const uint8_t> bytes, const ImageLimits& limits) {
  ByteReader reader(bytes);
  const char variant = static_cast<char>(reader.take(2, "the header")[1]);
  const bool bitmap = variant == '1' || variant == '4', text = variant < '4';
  const int channels = variant == '3' || variant == '6' ? 3 : 1;
  const int64_t width = read_number(reader, "the header"), height = read_number(reader, "the header");
  const int64_t maximum = bitmap ? 1 : read_number(reader, "the header");
  if (maximum < 1 || maximum > 65535)
    refuse(malformed, reader.offset(), "is a damaged PNM: maximum ", maximum, ", expected 1 to 65535");
  const int bits = maximum > 255 ? 16 : 8;
  check_image_size(width, height, channels * bits / 8, limits);
  // As text a sample takes a character, and where it is a number a space.
  const int64_t row_bytes =
      bitmap ? (text ? width : (width + 7) / 8) : width * channels * (text ? 2 : bits / 8);
  if (static_cast<int64_t>(reader.remaining()) < row_bytes * height)
    refuse(truncated, static_cast<int64_t>(bytes.size()), "has ", reader.remaining(),
           " bytes of PNM data for ", width, " x ", height, " pixels, expected ", text ? "at least " : "",
           row_bytes * height);

  Image image{.width = width, .height = height, .channels = channels, .bits = bits};
  announce(limits, image, bytes, 0);
  image.allocate(width, height, channels, bits);
  if (!text && maximum == 255) {
    const auto raster = reader.take(image.samples.size(), "the picture");
    std::copy(raster.begin(), raster.end(), image.samples.begin());
    return image;
  }
  SampleReader samples(reader, variant, maximum);
  const int64_t full = image.max_value();
  for (int64_t y = 0; y < height; ++y, samples.end_row()) {
    uint8_t* to = image.row(y);
    for (int64_t x = 0; x < width * channels; ++x) {
      const int64_t value = (samples.next() * full + maximum / 2) / maximum;
      if (bits == 16) {
        const auto wide = static_cast<uint16_t>(value);
        std::memcpy(to + 2 * x, &wide, 2);
      } else {
        to[x] = static_cast<uint8_t>(value);
      }
    }
  }
  return image;
}

std::vector<uint8_t> write_pnm(const Image& image) {
  const std::string header = cat(image.colors() == 1 ? "P5\n" : "P6\n", image.width, " ", image.height, "\n",
                                 image.max_value(), "\n");
  std::vector<uint8_t> bytes(header.begin(), header.end());
  const auto colors = static_cast<size_t>(image.colors());
  const uint8_t* const end = image.samples.data() + image.samples.size();
  for (const uint8_t* pixel = image.samples.data(); pixel != end; pixel += image.pixel_bytes()) {
    for (size_t c = 0; c < colors; ++c) {
      if (image.bits == 8) {
        bytes.push_back(pixel[c]);
        continue;
      }
      uint16_t sample;
      std::memcpy(&sample, pixel + 2 * c, 2);
      bytes.push_back(static_cast<uint8_t>(sample >> 8));
      bytes.push_back(static_cast<uint8_t>(sample & 255));
    }
  }
  return bytes;
}

}  // namespace lux
