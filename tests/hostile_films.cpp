#include "hostile_films.h"

#include <algorithm>
#include <array>

#include "luxgrad/data/byte_reader.h"
#include "luxgrad/data/nut.h"
#include "luxgrad/data/y4m.h"

namespace hostile {
namespace {

using namespace lux;

constexpr ImageLimits kFrames{.pixels = 1 << 20};
constexpr Chroma kChromas[] = {Chroma::mono, Chroma::c420, Chroma::c422, Chroma::c444};
constexpr uint64_t kNutCodes[] = {0x4E4D7A561F5F04ADu, 0x4E5311405BF2F9DBu, 0x4E4BE4ADEECA4569u};

using Frames = std::vector<VideoFrame>;

void append(Bytes& bytes, std::span<const uint8_t> more) {
  bytes.insert(bytes.end(), more.begin(), more.end());
}
void append(Bytes& bytes, std::string_view text) { bytes.insert(bytes.end(), text.begin(), text.end()); }

/// A small frame of every form, by turns.
VideoFormat format_of(int64_t width, int64_t height, size_t index) {
  VideoFormat format;
  format.width = width;
  format.height = height;
  format.chroma = kChromas[index % 4];
  format.bits = index / 4 % 2 == 0 ? 8 : 10;
  format.full_range = index % 3 == 0;
  return format;
}

Bytes samples_of(const VideoFormat& format, uint64_t seed) {
  Bytes samples(static_cast<size_t>(format.frame_bytes()));
  Generator random(seed, "frames");
  for (uint8_t& sample : samples) sample = static_cast<uint8_t>(random.next());
  return samples;
}

Bytes y4m_of(const VideoFormat& format, const Frames& frames) {
  Bytes stream;
  append(stream, y4m_header(format));
  for (const VideoFrame& frame : frames) {
    append(stream, "FRAME\n");
    append(stream, frame.samples);
  }
  return stream;
}

Bytes nut_of(const VideoFormat& format, const Frames& frames) {
  Bytes stream = nut_header(format);
  for (const VideoFrame& frame : frames) {
    append(stream, nut_frame_header(format, frame.time));
    append(stream, frame.samples);
  }
  return stream;
}

void append_numbers(Bytes& bytes, std::initializer_list<uint64_t> values) {
  for (const uint64_t value : values) {
    for (int shift = 56; shift > 0; shift -= 7) {
      if (value >> shift != 0) bytes.push_back(static_cast<uint8_t>(128 | ((value >> shift) & 127)));
    }
    bytes.push_back(static_cast<uint8_t>(value & 127));
  }
}

uint32_t nut_checksum(std::span<const uint8_t> bytes) {
  uint32_t crc = 0;
  for (const uint8_t byte : bytes) {
    crc ^= uint32_t{byte} << 24;
    for (int bit = 0; bit < 8; ++bit) crc = (crc << 1) ^ ((crc >> 31) * 0x04C11DB7u);
  }
  return crc;
}

void append_packet(Bytes& bytes, uint64_t code, const Bytes& content) {
  append_big32(bytes, static_cast<uint32_t>(code >> 32));
  append_big32(bytes, static_cast<uint32_t>(code));
  append_numbers(bytes, {content.size() + 4});
  append(bytes, content);
  append_big32(bytes, nut_checksum(content));
}

/// What our own writer never makes: two clocks, a prefix of frames, times as steps or by their lower bits,
/// fields to be passed over.
Bytes foreign_nut(const VideoFormat& format, size_t frames) {
  constexpr uint64_t kKey = 1, kCodedTime = 8, kStreamId = 16, kSizeMore = 32, kChecksum = 64,
                     kReserved = 128, kCodedFlags = 4096;
  Bytes main, stream, bytes;
  append_numbers(main, {3, 1, 65536, 2, 1, 25, 1, 90000});
  append_numbers(main, {kKey | kSizeMore, 8, 1, 1, 0, 0, 0, 1, 0, 1});         // the next time; prefix 1
  append_numbers(main, {kKey | kSizeMore | kCodedTime, 6, 0, 1, 0, 0, 0, 1});  // prefix 1 stays
  append_numbers(main, {kKey | kSizeMore | kStreamId | kReserved | kCodedFlags | kChecksum, 8, 0, 1, 0, 0, 0,
                        253, 0, 0});
  append_numbers(main, {1, 3});  // prefixes: 0 is empty
  append(main, "pre");
  append_numbers(main, {0});
  append(bytes, std::string_view("nut/multimedia container\0", 25));
  append_packet(bytes, kNutCodes[0], main);
  append_numbers(stream, {0, 0, 4});
  append(stream, nut_fourcc(format));
  append_numbers(stream, {1, 7, 1000, 0, 0, 2, 9, 9, static_cast<uint64_t>(format.width),
                          static_cast<uint64_t>(format.height), 4, 3, 0});
  append_packet(bytes, kNutCodes[1], stream);
  Bytes sync;
  append_numbers(sync, {201, 0});
  append_packet(bytes, kNutCodes[2], sync);
  const auto size = static_cast<uint64_t>(format.frame_bytes());
  for (size_t i = 0; i < frames; ++i) {
    const Bytes samples = samples_of(format, i);
    const size_t kind = i % 3;
    bytes.push_back(static_cast<uint8_t>(kind));
    if (kind == 0) append_numbers(bytes, {size});
    if (kind == 1) append_numbers(bytes, {(101 + 10 * i) % 128, size});
    if (kind == 2) append_numbers(bytes, {kCodedTime, 0, 128 + 400 * i, size, 2, 5, 5, 0, 0, 0, 0});
    if (kind < 2) append(bytes, std::span<const uint8_t>(samples).subspan(3));
    if (kind == 2) append(bytes, samples);
  }
  return bytes;
}

/// All frames of a stream, of which there has to be one.
template <class Next>
Frames all_frames(const Next& next) {
  Frames frames;
  for (VideoFrame frame; next(frame).value();) frames.push_back(frame);
  if (frames.empty()) refuse(FileErrorCode::truncated, -1, "has no frame");
  return frames;
}

struct Stream {
  VideoFormat format;
  Frames frames;
};

Result<Stream> read_y4m(std::span<const uint8_t> bytes) {
  return attempt([&] {
    ByteSource source(bytes);
    const VideoFormat format = read_y4m_header(source, kFrames).value();
    int64_t number = 0;
    return Stream{format, all_frames([&](VideoFrame& frame) {
                    return read_y4m_frame(source, format, number++, frame);
                  })};
  });
}

/// As whichever form of 6 x 4 pixels it is.
Result<Stream> read_nut(std::span<const uint8_t> bytes) {
  for (size_t form = 0;; ++form) {
    Result<Stream> stream = attempt([&] {
      ByteSource source(bytes);
      NutReader reader = NutReader::open(source, format_of(6, 4, form)).value();
      Frames frames = all_frames([&](VideoFrame& frame) { return reader.next(source, frame); });
      return Stream{reader.format(), std::move(frames)};
    });
    if (form == 7 || stream || stream.error().code != FileErrorCode::mismatch) return stream;
  }
}

/// Clocks are written in lowest terms.
bool same(const Rational& a, const Rational& b) { return a.num * b.den == b.num * a.den; }

bool same(const Stream& a, const Stream& b) {
  return a.format.sample_aspect == b.format.sample_aspect && same(a.format.time_base, b.format.time_base) &&
         a.format.width == b.format.width && a.format.height == b.format.height &&
         a.format.chroma == b.format.chroma && a.format.bits == b.format.bits &&
         std::equal(a.frames.begin(), a.frames.end(), b.frames.begin(), b.frames.end(),
                    [](const VideoFrame& x, const VideoFrame& y) {
                      return x.samples == y.samples && x.time == y.time;
                    });
}

/// The sentence of a refusal is the same twice, or so are the frames; `written` makes a file of them again.
void prove(Result<Stream> (*read)(std::span<const uint8_t>),
           Bytes (*written)(const VideoFormat&, const Frames&), std::span<const uint8_t> bytes) {
  const Result<Stream> first = read(bytes), second = read(bytes);
  check(static_cast<bool>(first) == static_cast<bool>(second), "read once, refused once");
  if (!first) {
    const std::string sentence = first.error().message();
    check(!first.error().reason.empty() && sentence.size() <= 1500, "refused in ", sentence.size(),
          " characters");
    check(sentence == second.error().message(), "refused in two ways: ", sentence);
    return;
  }
  check(same(first.value(), second.value()), "two readings differ");
  const auto& [format, frames] = first.value();
  for (const VideoFrame& frame : frames) {
    check(frame.samples.size() == static_cast<size_t>(format.frame_bytes()), "a frame cut short");
    if (frame.time < 0) return;  // which nobody writes
  }
  check(same(read(written(format, frames)).value(), first.value()), "does not read as written");
}

std::string reason_of(const Result<Stream>& stream) { return stream ? "" : stream.error().reason; }

/// Where the starting code of a packet stands.
bool packet_at(const Bytes& stream, size_t at) {
  if (at + 8 > stream.size() || stream[at] != 'N') return false;
  const uint64_t code = uint64_t{big32(stream.data() + at)} << 32 | big32(stream.data() + at + 4);
  return std::find(std::begin(kNutCodes), std::end(kNutCodes), code) != std::end(kNutCodes);
}

}  // namespace

std::vector<Bytes> y4m_samples() {
  std::vector<Bytes> streams;
  for (size_t i = 0; i < 32; ++i) {
    VideoFormat format = format_of(static_cast<int64_t>(1 + i % 9), static_cast<int64_t>(1 + i % 5), i);
    format.rate = i % 2 == 0 ? Rational{30000, 1001} : Rational{12, 1};
    format.time_base = {format.rate.den, format.rate.num};
    if (i % 5 == 0) format.sample_aspect = {static_cast<int64_t>(i) + 1, 3};
    streams.push_back(y4m_of(format, {{samples_of(format, i), 0}}));
  }
  Bytes foreign;
  append(foreign, "YUV4MPEG2 H2  W2 F0:0 A0:0 Ib C420paldv XYSCSS=420PALDV\nFRAME Ixyz\nabcdef");
  streams.push_back(std::move(foreign));
  return streams;
}

std::vector<Bytes> nut_samples() {
  std::vector<Bytes> streams;
  for (size_t i = 0; i < 32; ++i) {
    VideoFormat format = format_of(6, 4, i);
    format.time_base = i % 2 == 0 ? Rational{1, 90000} : Rational{1001, 30000};
    if (i % 5 == 0) format.sample_aspect = {static_cast<int64_t>(i) + 1, 3};
    streams.push_back(i % 4 == 3 ? foreign_nut(format, 1)
                                 : nut_of(format, {{samples_of(format, i), static_cast<int64_t>(i * 3003)}}));
  }
  return streams;
}

std::vector<Piece> y4m_pieces(const Bytes& stream) {
  constexpr size_t kHead = 256;
  std::vector<Piece> pieces = {{0, 0}};
  for (size_t at = 0; at < stream.size(); ++at) {
    const bool space = at < kHead && (stream[at] == ' ' || stream[at] == '\n');
    if (!space && at + 1 < stream.size()) continue;
    pieces.back().end = at + 1;
    if (at + 1 < stream.size()) pieces.push_back({at + 1, at + 1});
  }
  return pieces;
}

std::vector<Piece> nut_pieces(const Bytes& stream) {
  constexpr size_t kFields = 96;  // behind each starting code, a field about every second byte
  std::vector<Piece> pieces = {{0, 0}};
  size_t fields_end = 0;
  for (size_t at = 1; at < stream.size(); ++at) {
    if (packet_at(stream, at)) fields_end = at + 8 + kFields;
    if (!packet_at(stream, at) && (at >= fields_end || at % 2 != 0)) continue;
    pieces.back().end = at;
    pieces.push_back({at, at});
  }
  pieces.back().end = stream.size();
  return pieces;
}

void repair_nut(Bytes& stream) {
  for (size_t at = 0; at + 9 < stream.size(); ++at) {
    if (!packet_at(stream, at)) continue;
    size_t content = at + 8, length = 0;
    while (content + 1 < stream.size() && stream[content] >= 128)
      length = length << 7 | (stream[content++] & 127u);
    length = length << 7 | stream[content++];
    if (length < 4 || length > stream.size() - content) continue;
    const uint32_t crc = nut_checksum(std::span<const uint8_t>(stream).subspan(content, length - 4));
    for (size_t i = 0; i < 4; ++i)
      stream[content + length - 4 + i] = static_cast<uint8_t>(crc >> (24 - 8 * i));
  }
}

std::string refuse_y4m(std::span<const uint8_t> bytes) { return reason_of(read_y4m(bytes)); }
std::string refuse_nut(std::span<const uint8_t> bytes) { return reason_of(read_nut(bytes)); }
void prove_y4m(std::span<const uint8_t> bytes) { prove(read_y4m, y4m_of, bytes); }
void prove_nut(std::span<const uint8_t> bytes) { prove(read_nut, nut_of, bytes); }

}  // namespace hostile
