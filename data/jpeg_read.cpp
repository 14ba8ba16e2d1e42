// Walks over all segments of a JPEG before stb may see it: sizes, tables, scans, and enough data behind them.
#include <algorithm>
#include <bitset>
#include <string_view>

#include "luxgrad/data/byte_reader.h"
#include "luxgrad/data/jpeg.h"
#include "luxgrad/data/stb.h"

namespace lux {
namespace {

using enum FileErrorCode;

enum Marker : uint8_t {
  kBaseline = 0xC0,  // SOF0; SOF1 is extended sequential, SOF2 progressive
  kProgressive = 0xC2,
  kHuffmanTables = 0xC4,
  kArithmeticTables = 0xCC,
  kFirstRestart = 0xD0,
  kLastRestart = 0xD7,
  kStart = 0xD8,
  kEnd = 0xD9,
  kScan = 0xDA,
  kQuantizationTables = 0xDB,
  kRestartInterval = 0xDD,
};

bool starts_with(std::span<const uint8_t> bytes, std::string_view name) {
  return bytes.size() >= name.size() && std::equal(name.begin(), name.end(), bytes.begin());
}

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct Component {
  uint8_t id;
  int h, v;  // sampling factors
  uint8_t quantization;
  int64_t blocks = 0;  // of 8x8 samples, without those that only fill up an interleaved scan
  bool scanned = false;
};

struct IccPart {
  uint8_t number, count;
  std::span<const uint8_t> bytes;
};

/// Walks over a JPEG from its first to its last marker without decoding anything.
class JpegWalk {
 public:
  JpegWalk(std::span<const uint8_t> bytes, const ImageLimits& limits) : reader_(bytes), limits_(limits) {}

  void run() {
    reader_.take(2, "the start marker");
    for (;;) {
      const uint8_t marker = next_marker();
      if (marker == kEnd) break;
      const size_t length = reader_.big16("a segment");
      if (length < 2) refuse(malformed, reader_.offset() - 2, "has a JPEG segment of impossible length");
      segment_offset_ = reader_.offset();
      segment(marker, reader_.take(length - 2, "a segment"));
      if (marker == kScan) skip_entropy_coded_data();
    }
    check_complete();
  }

  int64_t width() const { return width_; }
  int64_t height() const { return height_; }
  int channels() const { return static_cast<int>(components_.size()); }
  /// That stb keeps until the picture is made of them.
  int64_t plane_bytes() const { return plane_bytes_; }
  std::vector<uint8_t> exif() const { return {exif_.begin(), exif_.end()}; }
  std::vector<uint8_t> icc() const;

 private:
  uint8_t next_marker() {
    // Some writers pad segments: bytes up to the next marker are skipped, as decoders do.
    for (;;) {
      while (reader_.u8("the JPEG, before its end marker") != 0xFF) {
      }
      uint8_t code = 0xFF;
      while (code == 0xFF) code = reader_.u8("the JPEG, before its end marker");
      if (code != 0) return code;
    }
  }

  void segment(uint8_t marker, std::span<const uint8_t> data);
  void frame(uint8_t marker, std::span<const uint8_t> data);
  void huffman_tables(std::span<const uint8_t> data);
  void quantization_tables(std::span<const uint8_t> data);
  void scan(std::span<const uint8_t> data);
  void skip_entropy_coded_data();
  void check_complete() const;
  [[noreturn]] void damaged(const char* what) const {
    refuse(malformed, segment_offset_, "is a damaged JPEG: ", what);
  }

  ByteReader reader_;
  const ImageLimits& limits_;
  int64_t segment_offset_ = 0;
  int64_t width_ = 0, height_ = 0;
  int64_t plane_bytes_ = 0;
  int64_t mcus_ = 0;  // minimum coded units: what an interleaved scan repeats
  std::vector<Component> components_;
  bool progressive_ = false;
  int scans_ = 0;
  int64_t entropy_bytes_ = 0;
  int64_t restart_interval_ = 0;   // in units of MCUs, 0 for none
  int64_t restarts_expected_ = 0;  // in the present scan
  std::bitset<4> quantization_, dc_tables_, ac_tables_;
  std::span<const uint8_t> exif_;
  std::vector<IccPart> icc_;
};

void JpegWalk::segment(uint8_t marker, std::span<const uint8_t> data) {
  const bool is_frame = marker >= 0xC0 && marker <= 0xCF && marker != kHuffmanTables && marker != 0xC8 &&
                        marker != kArithmeticTables;
  if (is_frame) return frame(marker, data);
  if (marker == kHuffmanTables) return huffman_tables(data);
  if (marker == kQuantizationTables) return quantization_tables(data);
  if (marker == kScan) return scan(data);
  if (marker == kRestartInterval) {
    if (data.size() != 2) damaged("restart interval");
    restart_interval_ = big16(data.data());
  } else if (marker == kJpegExif && starts_with(data, kJpegExifName) && exif_.empty()) {
    exif_ = data.subspan(kJpegExifName.size());
  } else if (marker == kJpegIcc && starts_with(data, kJpegIccName) && data.size() > kJpegIccName.size() + 2) {
    icc_.push_back(
        {data[kJpegIccName.size()], data[kJpegIccName.size() + 1], data.subspan(kJpegIccName.size() + 2)});
  }
}

void JpegWalk::frame(uint8_t marker, std::span<const uint8_t> data) {
  if (marker > kProgressive)
    refuse(unsupported, segment_offset_,
           marker >= 0xC9 ? "is an arithmetic-coded JPEG" : "is a lossless JPEG",
           ", expected one with Huffman coding, baseline or progressive");
  if (!components_.empty()) damaged("two frame headers");
  if (data.size() < 6 || data.size() != 6 + size_t{3} * data[5]) damaged("frame header");
  if (data[0] != 8) refuse(unsupported, segment_offset_, "is a JPEG of ", int{data[0]}, " bits, expected 8");
  if (data[5] == 4)
    refuse(unsupported, segment_offset_, "is a CMYK JPEG, expected gray or colour (YCbCr, RGB)");
  if (data[5] != 1 && data[5] != 3)
    refuse(unsupported, segment_offset_, "is a JPEG of ", int{data[5]}, " components, expected 1 or 3");
  progressive_ = marker == kProgressive;
  height_ = big16(data.data() + 1);
  width_ = big16(data.data() + 3);
  check_image_size(width_, height_, data[5], limits_);

  int h_max = 1, v_max = 1;
  for (const uint8_t* c = data.data() + 6; c != data.data() + data.size(); c += 3) {
    const Component component{c[0], c[1] >> 4, c[1] & 15, c[2]};
    if (component.h < 1 || component.h > 4 || component.v < 1 || component.v > 4 ||
        component.quantization > 3)
      damaged("frame header");
    h_max = std::max(h_max, component.h);
    v_max = std::max(v_max, component.v);
    components_.push_back(component);
  }
  mcus_ = divide_up(width_, int64_t{8} * h_max) * divide_up(height_, int64_t{8} * v_max);
  int64_t samples = 0;
  for (Component& c : components_) {
    // stb repeats whole samples; with a fraction it would read past its planes.
    if (h_max % c.h != 0 || v_max % c.v != 0)
      refuse(unsupported, segment_offset_, "is a JPEG with fractional chroma subsampling");
    c.blocks = divide_up(divide_up(width_ * c.h, h_max), 8) * divide_up(divide_up(height_ * c.v, v_max), 8);
    samples += mcus_ * 64 * c.h * c.v;
  }
  plane_bytes_ = samples * (progressive_ ? 3 : 1);
  const int64_t needed = plane_bytes_ + width_ * height_ * channels();
  if (needed > limits_.decode_bytes)
    refuse(too_large, segment_offset_, "needs ", needed >> 20, " MiB to decode, expected at most ",
           limits_.decode_bytes >> 20, " MiB");
}

void JpegWalk::huffman_tables(std::span<const uint8_t> data) {
  while (!data.empty()) {
    if (data.size() < 17 || data[0] >> 4 > 1 || (data[0] & 15) > 3) damaged("Huffman table");
    // A prefix code of lengths l exists when the sum of 2^-l is at most 1 (Kraft).
    int64_t symbols = 0, used = 0;
    for (int length = 1; length <= 16; ++length) {
      symbols += data[static_cast<size_t>(length)];
      used += int64_t{data[static_cast<size_t>(length)]} << (16 - length);
    }
    if (symbols > 256 || used > 1 << 16 || data.size() < 17 + static_cast<size_t>(symbols))
      damaged("Huffman table");
    (data[0] >> 4 == 0 ? dc_tables_ : ac_tables_).set(data[0] & 15);
    data = data.subspan(17 + static_cast<size_t>(symbols));
  }
}

void JpegWalk::quantization_tables(std::span<const uint8_t> data) {
  while (!data.empty()) {
    const int precision = data[0] >> 4, index = data[0] & 15;
    const size_t length = 1 + 64 * (size_t{1} + static_cast<size_t>(precision));
    if (precision > 1 || index > 3 || data.size() < length) damaged("quantization table");
    quantization_.set(static_cast<size_t>(index));
    data = data.subspan(length);
  }
}

void JpegWalk::scan(std::span<const uint8_t> data) {
  if (components_.empty()) damaged("a scan before the frame header");
  const size_t count = data.empty() ? 0 : data[0];
  if (count < 1 || count > components_.size() || data.size() != 4 + 2 * count) damaged("scan header");
  if (++scans_ > limits_.progressive_scans)
    refuse(too_large, segment_offset_, "has more than ", limits_.progressive_scans, " scans");
  const int first = data[1 + 2 * count], last = data[2 + 2 * count], refines = data[3 + 2 * count] >> 4;
  if (first > last || last > 63 || (progressive_ ? first == 0 && last != 0 : first != 0 || last != 63))
    damaged("scan header");

  int64_t mcus = mcus_;
  for (size_t i = 0; i < count; ++i) {
    const uint8_t id = data[1 + 2 * i], tables = data[2 + 2 * i];
    const auto found =
        std::find_if(components_.begin(), components_.end(), [id](const Component& c) { return c.id == id; });
    if (found == components_.end()) damaged("a scan of an unknown component");
    if (tables >> 4 > 3 || (tables & 15) > 3) damaged("scan header");
    const bool needs_dc = first == 0 && refines == 0, needs_ac = last > 0;
    if ((needs_dc && !dc_tables_[tables >> 4]) || (needs_ac && !ac_tables_[tables & 15]))
      damaged("a scan without its Huffman table");
    if (!quantization_[found->quantization]) damaged("a scan without its quantization table");
    found->scanned = found->scanned || needs_dc;
    if (count == 1) mcus = found->blocks;
  }
  restarts_expected_ = restart_interval_ > 0 ? divide_up(mcus, restart_interval_) - 1 : 0;
}

/// Leaves the reader before the marker that ends the scan.
void JpegWalk::skip_entropy_coded_data() {
  const int64_t begin = reader_.offset();
  int64_t restarts = 0;
  std::span<const uint8_t> rest = reader_.rest();
  size_t at = 0;
  for (;; ++at) {
    at = static_cast<size_t>(std::find(rest.begin() + static_cast<std::ptrdiff_t>(at), rest.end(), 0xFF) -
                             rest.begin());
    while (at + 1 < rest.size() && rest[at + 1] == 0xFF) ++at;
    if (at + 1 >= rest.size())
      refuse(truncated, begin, "ends inside the picture, before the JPEG's end marker");
    const uint8_t code = rest[at + 1];
    if (code >= kFirstRestart && code <= kLastRestart)
      ++restarts;
    else if (code != 0)
      break;
  }
  reader_.take(at, "a scan");
  entropy_bytes_ += static_cast<int64_t>(at);
  if (restarts < restarts_expected_)
    refuse(truncated, begin, "is a damaged JPEG: ", restarts, " restart markers, expected ",
           restarts_expected_);
}

void JpegWalk::check_complete() const {
  if (components_.empty()) damaged("no picture before the end marker");
  int64_t blocks = 0;
  for (const Component& c : components_) {
    if (!c.scanned) damaged("a component without a scan");
    blocks += c.blocks;
  }
  // Every block takes a bit at least for its mean, and in sequential mode another for the end of the block.
  const int64_t needed = divide_up(blocks * (progressive_ ? 1 : 2), 8);
  if (entropy_bytes_ < needed)
    refuse(truncated, reader_.offset(), "has ", entropy_bytes_, " bytes of JPEG data for ", width_, " x ",
           height_, " pixels, expected at least ", needed);
}

std::vector<uint8_t> JpegWalk::icc() const {
  std::vector<uint8_t> profile;
  for (size_t number = 1; number <= icc_.size(); ++number) {
    const auto part =
        std::find_if(icc_.begin(), icc_.end(), [&](const IccPart& p) { return p.number == number; });
    if (part == icc_.end() || part->count != icc_.size()) return {};  // parts are missing: no profile
    profile.insert(profile.end(), part->bytes.begin(), part->bytes.end());
  }
  return profile;
}

}  // namespace

Image read_jpeg(std::span<const uint8_t> bytes, const ImageLimits& limits) {
  JpegWalk walk(bytes, limits);
  walk.run();
  Image image;
  image.width = walk.width();
  image.height = walk.height();
  image.channels = walk.channels();
  image.exif = walk.exif();
  image.icc = walk.icc();
  // First the planes and the picture, then that and its copy.
  announce(limits, image, bytes, std::max(walk.plane_bytes(), image.width * image.height * image.channels));
  try {
    image.samples = stb_read_jpeg(bytes, limits.decode_bytes);
  } catch (const std::bad_alloc&) {
    no_memory_for(image.width, image.height, image.channels);
  }
  return image;
}

}  // namespace lux
