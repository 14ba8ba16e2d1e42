#include "luxgrad/data/nut.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <string_view>

#include "luxgrad/data/byte_reader.h"

namespace lux {
namespace {

using enum FileErrorCode;

constexpr std::string_view kFileId{"nut/multimedia container\0", 25};
constexpr uint64_t kMainCode = 0x4E4D7A561F5F04ADu;
constexpr uint64_t kStreamCode = 0x4E5311405BF2F9DBu;
constexpr uint64_t kSyncpointCode = 0x4E4BE4ADEECA4569u;
constexpr uint64_t kIndexCode = 0x4E58DD672F23E64Eu;
constexpr uint64_t kNoteCode = 0x4E49AB68B596BA78u;

constexpr int64_t kMaxPacket = 1 << 20;
constexpr int64_t kLongPacket = 4096;  // from there on the length has a checksum of its own
constexpr size_t kMaxClocks = 16, kMaxPrefixes = 128, kMaxPrefix = 4096;
constexpr int64_t kLongestPrefixed = 4096;  // frames beyond have no prefix
constexpr int64_t kLatest = int64_t{1} << 60;

// Bits of a frame's flags.
constexpr uint64_t kKey = 1, kEndOfRelevance = 2, kCodedTime = 8, kStreamId = 16, kSizeMore = 32,
                   kChecksum = 64, kReserved = 128, kSideData = 256, kPrefix = 1024, kMatchTime = 2048,
                   kCodedFlags = 4096, kInvalid = 8192;

/// CRC-32 of NUT: polynomial 0x04C11DB7, the upper bit first, nothing inverted.
uint32_t checksum(std::span<const uint8_t> bytes) {
  uint32_t crc = 0;
  for (const uint8_t byte : bytes) {
    crc ^= uint32_t{byte} << 24;
    for (int bit = 0; bit < 8; ++bit) crc = (crc << 1) ^ ((crc >> 31) * 0x04C11DB7u);
  }
  return crc;
}

/// Numbers are groups of seven bits, the upper ones first; all but the last have the eighth bit set.
template <class NextByte>
uint64_t variable_number(NextByte&& next_byte) {
  uint64_t value = 0;
  for (int groups = 0; groups < 9; ++groups) {
    const uint8_t byte = next_byte();
    value = value << 7 | (byte & 127u);
    if (byte < 128) return value;
  }
  refuse(malformed, -1, "has a number that is too long in a NUT stream");
}

/// 0, 1, -1, 2, -2, … as 0, 1, 2, 3, 4, …
int64_t with_sign(uint64_t value) {
  const auto half = static_cast<int64_t>((value + 1) >> 1);
  return (value & 1) != 0 ? half : -half;
}

uint64_t big64(ByteSource& bytes, const char* what) {
  uint64_t value = 0;
  for (int i = 0; i < 8; ++i) value = value << 8 | bytes.u8(what);
  return value;
}

uint64_t number(ByteSource& bytes, const char* what) {
  return variable_number([&] { return bytes.u8(what); });
}

void append_number(std::vector<uint8_t>& bytes, uint64_t value) {
  int shift = 56;
  while (shift > 0 && value >> shift == 0) shift -= 7;
  for (; shift > 0; shift -= 7) bytes.push_back(static_cast<uint8_t>(128 | ((value >> shift) & 127)));
  bytes.push_back(static_cast<uint8_t>(value & 127));
}

void append_numbers(std::vector<uint8_t>& bytes, std::initializer_list<int64_t> values) {
  for (const int64_t value : values) append_number(bytes, static_cast<uint64_t>(value));
}

void append_signed(std::vector<uint8_t>& bytes, int64_t value) {
  append_number(bytes, static_cast<uint64_t>(value > 0 ? 2 * value - 1 : -2 * value));
}

void append_text(std::vector<uint8_t>& bytes, const std::string& text) {
  append_number(bytes, text.size());
  bytes.insert(bytes.end(), text.begin(), text.end());
}

void append_packet(std::vector<uint8_t>& bytes, uint64_t code, const std::vector<uint8_t>& content) {
  append_big32(bytes, static_cast<uint32_t>(code >> 32));
  append_big32(bytes, static_cast<uint32_t>(code));
  append_number(bytes, content.size() + 4);
  bytes.insert(bytes.end(), content.begin(), content.end());
  append_big32(bytes, checksum(content));
}

/// A number of a header as a size or a count. Refuses one beyond `most`.
int64_t at_most(uint64_t value, int64_t most, const char* what) {
  if (value > static_cast<uint64_t>(most))
    refuse(malformed, -1, "has ", value, " for ", what, " in a NUT stream");
  return static_cast<int64_t>(value);
}

}  // namespace

/// The fields of a header.
class NutFields {
 public:
  explicit NutFields(std::span<const uint8_t> bytes) : reader_(bytes) {}
  uint64_t u() {
    return variable_number([&] { return reader_.u8("a header"); });
  }
  int64_t s() { return with_sign(u()); }
  int64_t small(int64_t most, const char* what) { return at_most(u(), most, what); }
  std::span<const uint8_t> bytes(int64_t most, const char* what) {
    return reader_.take(static_cast<size_t>(small(most, what)), "a header");
  }

 private:
  ByteReader reader_;
};

std::array<uint8_t, 4> nut_fourcc(const VideoFormat& format) {
  const auto letters = [](const char* text) {
    return std::array<uint8_t, 4>{static_cast<uint8_t>(text[0]), static_cast<uint8_t>(text[1]),
                                  static_cast<uint8_t>(text[2]), static_cast<uint8_t>(text[3])};
  };
  const auto bits = static_cast<uint8_t>(format.bits);
  switch (format.chroma) {
    case Chroma::mono:
      return bits == 8 ? letters("Y800") : std::array<uint8_t, 4>{'Y', '1', 0, bits};
    case Chroma::c420:
      return bits == 8 ? letters("I420") : std::array<uint8_t, 4>{'Y', '3', 11, bits};
    case Chroma::c422:
      return bits == 8 ? letters("422P") : std::array<uint8_t, 4>{'Y', '3', 10, bits};
    case Chroma::c444:
      break;
  }
  return bits == 8 ? letters("444P") : std::array<uint8_t, 4>{'Y', '3', 0, bits};
}

Result<NutReader> NutReader::open(ByteSource& bytes, const VideoFormat& format) {
  return attempt([&] {
    NutReader reader;
    reader.format_ = format;
    for (const char expected : kFileId) {
      if (bytes.u8("the header") != static_cast<uint8_t>(expected)) refuse(malformed, 0, "is no NUT stream");
    }
    // Headers end where the first syncpoint begins.
    while (!reader.has_stream_) {
      if (bytes.peek("the headers") != 'N')
        refuse(malformed, bytes.offset(), "has a frame before its headers");
      reader.read_packet(bytes);
    }
    check_video_format(reader.format_);
    return reader;
  });
}

Result<bool> NutReader::next(ByteSource& bytes, VideoFrame& frame) {
  return attempt([&] {
    while (!bytes.at_end()) {
      if (bytes.peek("a frame") == 'N') {
        read_packet(bytes);
      } else if (read_frame(bytes, frame)) {
        return true;
      }
    }
    return false;
  });
}

void NutReader::read_packet(ByteSource& bytes) {
  const int64_t begin = bytes.offset();
  const uint64_t code = big64(bytes, "a packet");
  const int64_t length = at_most(number(bytes, "a packet"), kMaxPacket, "the length of a packet");
  if (length > kLongPacket) bytes.skip(4, "a packet");
  if (length < 4) refuse(malformed, begin, "has a packet of ", length, " bytes");
  std::vector<uint8_t> content;
  bytes.append(content, length, "a packet");
  const std::span<const uint8_t> fields = std::span<const uint8_t>(content).first(content.size() - 4);
  if (checksum(fields) != big32(content.data() + fields.size()))
    refuse(malformed, begin, "has a packet whose checksum is wrong");
  if (code == kMainCode) {
    read_main_header(fields);
  } else if (code == kStreamCode) {
    read_stream_header(fields);
  } else if (code == kSyncpointCode && has_stream_) {
    // The time of all streams, in units of the clock that its remainder names; here there is one.
    last_time_ = at_most(NutFields(fields).u() / clocks_.size(), kLatest, "a time");
  } else if (code != kSyncpointCode && code != kIndexCode && code != kNoteCode) {
    refuse(malformed, begin, "has a packet of an unknown kind");  // the others are of no use here
  }
}

void NutReader::read_main_header(std::span<const uint8_t> header) {
  if (has_main_) return;  // repeated in long streams
  NutFields fields(header);
  if (const uint64_t version = fields.u(); version != 3) refuse(unsupported, -1, "is NUT version ", version);
  if (fields.u() != 1) refuse(unsupported, -1, "has several NUT streams, expected one");
  fields.u();  // largest distance of syncpoints
  const int64_t clocks = fields.small(kMaxClocks, "the number of clocks");
  if (clocks == 0) refuse(malformed, -1, "has no clock in a NUT stream");
  for (int64_t i = 0; i < clocks; ++i) {
    const int64_t num = fields.small(INT32_MAX, "a clock");
    clocks_.push_back({num, fields.small(INT32_MAX, "a clock")});
  }
  read_frame_codes(fields);
  read_prefixes(fields);
  has_main_ = true;
}

void NutReader::read_frame_codes(NutFields& fields) {
  FrameCode code;
  for (size_t i = 0; i < codes_.size();) {
    code.flags = fields.u();
    const int64_t given = fields.small(64, "the fields of a frame code");
    if (given > 0) code.time_step = fields.s();
    if (given > 1) code.size_factor = fields.small(INT32_MAX, "a factor of sizes");
    if (given > 2) fields.u();  // the stream, of which there is one
    code.size = given > 3 ? fields.small(INT32_MAX, "a size") : 0;
    code.reserved = given > 4 ? fields.small(INT32_MAX, "reserved fields") : 0;
    int64_t count = given > 5 ? fields.small(256, "a count of frame codes") : code.size_factor - code.size;
    if (given > 6) fields.s();  // the distance of a time that matches
    if (given > 7) code.prefix = static_cast<size_t>(fields.small(kMaxPrefixes, "the prefix of a frame"));
    for (int64_t j = 8; j < given; ++j) fields.u();
    if (count <= 0 || count > 256) refuse(malformed, -1, "has ", count, " for a count of frame codes");
    const int64_t first_size = code.size;
    for (; count > 0 && i < codes_.size(); ++i) {
      codes_[i] = code;
      if (i == 'N') {
        codes_[i].flags = kInvalid;
        continue;
      }
      ++code.size;
      --count;
    }
    code.size = first_size;
  }
}

void NutReader::read_prefixes(NutFields& fields) {
  const int64_t count = fields.small(kMaxPrefixes - 1, "the number of prefixes");
  for (int64_t i = 0; i < count; ++i) {
    const auto prefix = fields.bytes(kMaxPrefix, "the length of a prefix");
    prefixes_.emplace_back(prefix.begin(), prefix.end());
  }
}

void NutReader::read_stream_header(std::span<const uint8_t> header) {
  if (!has_main_) refuse(malformed, -1, "has a NUT stream before its main header");
  if (has_stream_) return;
  NutFields fields(header);
  if (fields.u() != 0 || fields.u() != 0) refuse(unsupported, -1, "has a NUT stream that is no video");
  const auto fourcc = fields.bytes(4, "the letters of a codec");
  const std::array<uint8_t, 4> expected = nut_fourcc(format_);
  if (!std::equal(fourcc.begin(), fourcc.end(), expected.begin(), expected.end()))
    refuse(mismatch, -1, "has frames of another form than was asked for");
  const int64_t clock = fields.small(static_cast<int64_t>(clocks_.size()) - 1, "the clock of a stream");
  time_bits_ = static_cast<int>(fields.small(32, "the lower bits of times"));
  fields.u();  // largest distance of times
  fields.u();  // decode delay
  fields.u();  // flags
  fields.bytes(kMaxPacket, "the length of what a codec needs");
  const int64_t width = fields.small(INT32_MAX, "width"), height = fields.small(INT32_MAX, "height");
  if (width != format_.width || height != format_.height)
    refuse(mismatch, -1, "has frames of ", width, " x ", height, " pixels, expected ", format_.width, " x ",
           format_.height);
  const Rational aspect{fields.small(INT32_MAX, "aspect"), fields.small(INT32_MAX, "aspect")};
  if (aspect.num > 0 && aspect.den > 0) format_.sample_aspect = aspect;
  format_.time_base = clocks_[static_cast<size_t>(clock)];
  has_stream_ = true;
}

int64_t NutReader::time_from(uint64_t coded) const {
  const uint64_t most = uint64_t{1} << time_bits_;
  if (coded >= most) return at_most(coded - most, kLatest, "a time");
  // The lower bits: of the times that end in them, the one around the last.
  const auto mask = static_cast<int64_t>(most - 1);
  const int64_t delta = last_time_ - mask / 2;
  return ((static_cast<int64_t>(coded) - delta) & mask) + delta;
}

/// False for the mark that no more frames come.
bool NutReader::read_frame(ByteSource& bytes, VideoFrame& frame) {
  constexpr const char* kWhat = "the head of a frame";
  const int64_t begin = bytes.offset();
  const FrameCode& code = codes_[bytes.u8(kWhat)];
  uint64_t flags = code.flags;
  if ((flags & kCodedFlags) != 0) flags ^= number(bytes, kWhat);
  if ((flags & kInvalid) != 0) refuse(malformed, begin, "has a frame with a code that is not used");
  if ((flags & kStreamId) != 0 && number(bytes, kWhat) != 0)
    refuse(malformed, begin, "has a frame of no stream");
  const int64_t time =
      (flags & kCodedTime) != 0 ? time_from(number(bytes, kWhat)) : last_time_ + code.time_step;
  int64_t size = code.size;
  if ((flags & kSizeMore) != 0)
    size += code.size_factor * at_most(number(bytes, kWhat), int64_t{1} << 31, "the size of a frame");
  if ((flags & kMatchTime) != 0) number(bytes, kWhat);
  size_t prefix = code.prefix;
  if ((flags & kPrefix) != 0)
    prefix = static_cast<size_t>(at_most(number(bytes, kWhat), kMaxPrefixes, "the prefix of a frame"));
  int64_t reserved = code.reserved;
  if ((flags & kReserved) != 0) reserved = at_most(number(bytes, kWhat), 64, "reserved fields");
  for (; reserved > 0; --reserved) number(bytes, kWhat);
  if ((flags & kChecksum) != 0) bytes.skip(4, kWhat);
  if ((flags & kSideData) != 0) refuse(unsupported, begin, "has a frame with side data");
  if ((flags & kEndOfRelevance) != 0) return false;
  if (size > kLongestPrefixed) prefix = 0;
  if (prefix >= prefixes_.size()) refuse(malformed, begin, "has a frame with an unknown prefix");
  const std::vector<uint8_t>& head = prefixes_[prefix];
  // A frame of any other size than declared would be read as something that it is not.
  if (size != format_.frame_bytes() || static_cast<int64_t>(head.size()) > size)
    refuse(malformed, begin, "has a frame of ", size, " bytes, expected ", format_.frame_bytes());
  if (std::abs(time) > kLatest) refuse(malformed, begin, "has a frame at time ", time);
  frame.samples = head;
  bytes.append(frame.samples, size - static_cast<int64_t>(head.size()), "a frame");
  frame.time = last_time_ = time;
  return true;
}

std::vector<uint8_t> nut_header(const VideoFormat& format) {
  std::vector<uint8_t> bytes(kFileId.begin(), kFileId.end());
  std::vector<uint8_t> header;
  // Version, streams, distance of syncpoints, one clock.
  const int64_t common = std::gcd(format.time_base.num, format.time_base.den);
  append_numbers(header, {3, 1, 65536, 1, format.time_base.num / common, format.time_base.den / common});
  // All 256 frame codes are one: a key frame with its time, size and checksum written out.
  append_numbers(header, {kKey | kCodedTime | kSizeMore | kChecksum, 6});
  append_signed(header, 0);
  append_numbers(header, {1, 0, 0, 0, 255});
  append_numbers(header, {0, 0});  // no prefixes; flags
  append_packet(bytes, kMainCode, header);

  std::vector<uint8_t> stream;
  append_numbers(stream, {0, 0, 4});
  const std::array<uint8_t, 4> fourcc = nut_fourcc(format);
  stream.insert(stream.end(), fourcc.begin(), fourcc.end());
  constexpr int64_t kLargestStep = int64_t{1} << 40;
  append_numbers(stream, {0, 0, kLargestStep, 0, 0, 0, format.width, format.height, format.sample_aspect.num,
                          format.sample_aspect.den, 0});
  append_packet(bytes, kStreamCode, stream);

  // NUT knows no frame rate; ffmpeg writes it as a note, and without one looks at 20 frames to guess it.
  std::vector<uint8_t> note;
  append_numbers(note, {1, 0, 0, 0, 1});  // of the first stream, no chapter; one note
  append_text(note, "r_frame_rate");
  append_signed(note, -1);  // a text
  append_text(note, cat(format.rate.num, "/", format.rate.den));
  append_packet(bytes, kNoteCode, note);
  return bytes;
}

std::vector<uint8_t> nut_frame_header(const VideoFormat& format, int64_t time) {
  std::vector<uint8_t> bytes, sync;
  append_numbers(sync, {time, 0});  // every frame may be begun with
  append_packet(bytes, kSyncpointCode, sync);
  std::vector<uint8_t> head = {0};
  append_number(head, static_cast<uint64_t>(time) + 1);  // 1 << 0 lower bits: the whole time follows
  append_number(head, static_cast<uint64_t>(format.frame_bytes()));
  append_big32(head, checksum(head));
  bytes.insert(bytes.end(), head.begin(), head.end());
  return bytes;
}

}  // namespace lux
