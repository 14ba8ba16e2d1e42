// Frames as streams: colours there and back, Y4M and NUT as readers of hostile bytes.
#include "luxgrad/data/video.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "error_of.h"
#include "luxgrad/data/byte_stream.h"
#include "luxgrad/data/nut.h"
#include "luxgrad/data/y4m.h"
#include "luxgrad/tensor/random.h"

using namespace lux;

namespace {

using Bytes = std::vector<uint8_t>;

Bytes bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

VideoFormat format_of(int64_t width, int64_t height, Chroma chroma = Chroma::c420, int bits = 8) {
  VideoFormat format;
  format.width = width;
  format.height = height;
  format.chroma = chroma;
  format.bits = bits;
  return format;
}

VideoFrame noise_frame(const VideoFormat& format, int64_t time, uint64_t seed = 1) {
  VideoFrame frame;
  frame.time = time;
  frame.samples.resize(static_cast<size_t>(format.frame_bytes()));
  Generator generator{seed};
  for (uint8_t& sample : frame.samples) sample = static_cast<uint8_t>(generator.below(256));
  return frame;
}

/// Why a stream of Y4M is refused, and how many frames came before; "" where it is not.
std::pair<std::string, int> y4m_refusal(const Bytes& bytes) {
  ByteSource source{std::span<const uint8_t>(bytes)};
  const Result<VideoFormat> format = read_y4m_header(source);
  if (!format) return {format.error().reason, 0};
  VideoFrame frame;
  for (int frames = 0;; ++frames) {
    const Result<bool> more = read_y4m_frame(source, format.value(), frames, frame);
    if (!more) return {more.error().reason, frames};
    if (!more.value()) return {"", frames};
  }
}

Bytes y4m_stream(const VideoFormat& format, int frames) {
  Bytes stream = bytes_of(y4m_header(format));
  for (int i = 0; i < frames; ++i) {
    const Bytes mark = bytes_of("FRAME\n"), samples = noise_frame(format, i).samples;
    stream.insert(stream.end(), mark.begin(), mark.end());
    stream.insert(stream.end(), samples.begin(), samples.end());
  }
  return stream;
}

Bytes nut_stream(const VideoFormat& format, const std::vector<int64_t>& times) {
  Bytes stream = nut_header(format);
  for (const int64_t time : times) {
    const Bytes head = nut_frame_header(format, time), samples = noise_frame(format, time).samples;
    stream.insert(stream.end(), head.begin(), head.end());
    stream.insert(stream.end(), samples.begin(), samples.end());
  }
  return stream;
}

/// The frames of a NUT stream, or why it is refused.
Result<std::vector<VideoFrame>> nut_frames(const Bytes& bytes, const VideoFormat& format) {
  ByteSource source{std::span<const uint8_t>(bytes)};
  Result<NutReader> reader = NutReader::open(source, format);
  if (!reader) return reader.error();
  std::vector<VideoFrame> frames;
  for (VideoFrame frame;;) {
    const Result<bool> more = reader->next(source, frame);
    if (!more) return more.error();
    if (!more.value()) return frames;
    frames.push_back(frame);
  }
}

}  // namespace

TEST_CASE("colours of frames: known values, both ranges, every matrix") {
  struct Known {
    ColorMatrix matrix;
    bool full;
    std::array<int, 3> sample;     // Y', Cb, Cr
    std::array<double, 3> values;  // R, G, B
  };
  // Black, white, and the primaries by the definitions of BT.601, BT.709 and BT.2020.
  for (const Known& known : {Known{ColorMatrix::bt601, false, {16, 128, 128}, {0, 0, 0}},
                             {ColorMatrix::bt601, false, {235, 128, 128}, {1, 1, 1}},
                             {ColorMatrix::bt601, false, {81, 90, 240}, {1, 0, 0}},
                             {ColorMatrix::bt709, false, {63, 102, 240}, {1, 0, 0}},
                             {ColorMatrix::bt709, false, {32, 240, 118}, {0, 0, 1}},
                             {ColorMatrix::bt2020, false, {74, 97, 240}, {1, 0, 0}},
                             {ColorMatrix::bt601, true, {76, 85, 255}, {1, 0, 0}},
                             {ColorMatrix::bt601, true, {255, 128, 128}, {1, 1, 1}}}) {
    VideoFormat format = format_of(2, 2);
    format.matrix = known.matrix;
    format.full_range = known.full;
    VideoFrame frame;
    const auto byte = [&](size_t i) { return static_cast<uint8_t>(known.sample[i]); };
    frame.samples = {byte(0), byte(0), byte(0), byte(0), byte(1), byte(2)};
    const std::vector<double> picture = to_tensor(frame, format).to_vector();
    for (size_t i = 0; i < 12; ++i) CHECK(std::abs(picture[i] - known.values[i % 3]) < 0.012);
    VideoFrame back;
    from_tensor(from_vector(std::vector<double>(picture.begin(), picture.end()), {1, 2, 2, 3}), format, back);
    for (size_t i = 0; i < 6; ++i) CHECK(std::abs(back.samples[i] - frame.samples[i]) <= 1);
  }
}

TEST_CASE("frames of every form and odd sizes come back as they were") {
  for (const Chroma chroma : {Chroma::mono, Chroma::c420, Chroma::c422, Chroma::c444}) {
    for (const int bits : {8, 10, 16}) {
      for (const auto& [width, height] : {std::pair{1, 1}, {2, 2}, {7, 5}, {16, 9}}) {
        const VideoFormat format = format_of(width, height, chroma, bits);
        // Muted colours, which have values of red, green and blue inside of [0, 1]: every sample within a
        // sixteenth of the middle.
        VideoFrame frame = noise_frame(format, 0);
        for (size_t i = 0; i < frame.samples.size(); ++i) {
          if (bits == 8 || (bits == 16 && i % 2 == 1)) {
            frame.samples[i] = static_cast<uint8_t>(120 + frame.samples[i] % 16);
          } else if (bits == 10) {
            frame.samples[i] = static_cast<uint8_t>(i % 2 == 1 ? 2 : frame.samples[i] % 64);
          }
        }
        VideoFrame back;
        from_tensor(to_tensor(frame, format), format, back);
        INFO(width, "x", height, ", ", bits, " bits, chroma ", static_cast<int>(chroma));
        REQUIRE(back.samples.size() == frame.samples.size());
        int64_t worst = 0;
        const auto step = static_cast<size_t>(format.sample_bytes());
        for (size_t i = 0; i < frame.samples.size(); i += step) {
          const auto value = [&](const Bytes& samples) {
            return step == 1 ? int64_t{samples[i]} : samples[i] | int64_t{samples[i + 1]} << 8;
          };
          worst = std::max(worst, std::abs(value(frame.samples) - value(back.samples)));
        }
        CHECK(worst <= (bits == 16 ? 2 : 0));
      }
    }
  }
}

TEST_CASE("a frame that does not fit its format is an error") {
  const VideoFormat format = format_of(4, 4);
  VideoFrame frame;
  CHECK(error_of([&] { to_tensor(frame, format); }) == "to_tensor: expected a frame of 24 bytes, got 0");
  CHECK(error_of([&] {
          from_tensor(zeros({1, 4, 5, 3}), format, frame);
        }) == "from_tensor: expected [1, 4, 4, 3], got [1, 4, 5, 3]");
}

TEST_CASE("Y4M: what is written is read") {
  for (const Chroma chroma : {Chroma::mono, Chroma::c420, Chroma::c422, Chroma::c444}) {
    for (const int bits : {8, 10}) {
      VideoFormat format = format_of(5, 3, chroma, bits);
      format.rate = {30000, 1001};
      format.sample_aspect = {4, 3};
      format.full_range = bits == 8;
      const Bytes stream = y4m_stream(format, 3);
      CHECK(y4m_refusal(stream) == std::pair<std::string, int>("", 3));
      ByteSource source{std::span<const uint8_t>(stream)};
      const VideoFormat read = read_y4m_header(source).value();
      CHECK(read.width == 5);
      CHECK(read.height == 3);
      CHECK(read.chroma == chroma);
      CHECK(read.bits == bits);
      CHECK(read.rate == format.rate);
      CHECK(read.time_base == Rational{1001, 30000});
      CHECK(read.sample_aspect == format.sample_aspect);
      CHECK(read.full_range == format.full_range);
      VideoFrame frame;
      CHECK(read_y4m_frame(source, read, 0, frame).value());
      CHECK(frame.samples == noise_frame(format, 0).samples);
    }
  }
}

TEST_CASE("Y4M: parameters of others, and what is refused") {
  const auto head = [](const std::string& line) {
    const Bytes bytes = bytes_of(line + "\n");
    ByteSource source{std::span<const uint8_t>(bytes)};
    const Result<VideoFormat> format = read_y4m_header(source);
    return format ? cat(format.value().width, "x", format.value().height, " ", format.value().rate.num, ":",
                        format.value().rate.den)
                  : format.error().reason;
  };
  CHECK(head("YUV4MPEG2 W8 H6") == "8x6 25:1");
  CHECK(head("YUV4MPEG2 H6  W8 F0:0 A0:0 Ib C420paldv XYSCSS=420PALDV Zunknown") == "8x6 25:1");
  CHECK(head("YUV4MPEG2 W8 H6 F24000:1001 C444p12") == "8x6 24000:1001");
  CHECK(head("YUV4MPEG2 H6") == "declares 0 x 6 pixels");
  CHECK(head("YUV4MPEG2 W-8 H6") == "declares -8 x 6 pixels");
  CHECK(head("YUV4MPEG2 W99999999999999999999 H6") == "has \"99999999999999999999\" for width");
  CHECK(head("YUV4MPEG2 W8x H6") == "has \"8x\" for width");
  CHECK(head("YUV4MPEG2 W20000 H6") == "is 20000 x 6 pixels, expected at most 16384 on a side");
  CHECK(head("YUV4MPEG2 W8 H6 A1:-1") == "has \"1:-1\" for aspect of a pixel");
  CHECK(head("YUV4MPEG2 W8 H6 F25") == "has \"25\" for frame rate");
  CHECK(head("YUV4MPEG2 W8 H6 F-1:1") == "has \"-1:1\" for frame rate");
  CHECK(head("YUV4MPEG2 W8 H6 F1:9999999999") == "has \"1:9999999999\" for frame rate");
  CHECK(head("YUV4MPEG2 W8 H6 C411") == "has the colour space \"411\", expected mono, 420, 422 or 444");
  CHECK(head("YUV4MPEG2 W8 H6 C444alpha") ==
        "has the colour space \"444alpha\", expected mono, 420, 422 or 444");
  CHECK(head("YUV4MPEG2 W8 H6 C420p7") == "has the colour space \"420p7\", expected mono, 420, 422 or 444");
  CHECK(head("YUV4MPEG2 W8 H6 " + std::string(2000, 'X')) == "has a line that is too long in the header");
  CHECK(head("YUV4MPEG") == "is no YUV4MPEG2 stream");
  CHECK(y4m_refusal({}).first == "is empty");
  const VideoFormat format = format_of(4, 4);
  Bytes stream = y4m_stream(format, 2);
  stream[stream.size() - static_cast<size_t>(format.frame_bytes()) - 6] = 'G';
  CHECK(y4m_refusal(stream) == std::pair<std::string, int>("has no frame where one should begin", 1));
}

TEST_CASE("Y4M: every cut inside a frame is noticed, and no damaged byte does harm") {
  const Bytes whole = y4m_stream(format_of(4, 2, Chroma::c422), 2);
  const size_t frame = 16 + 6, header = whole.size() - 2 * frame;
  for (size_t length = 0; length < whole.size(); ++length) {
    const auto [reason, frames] =
        y4m_refusal(Bytes(whole.begin(), whole.begin() + static_cast<int64_t>(length)));
    const bool between = length == header || length == header + frame;
    CHECK((reason.empty() == between));
    CHECK(frames == (length < header + frame ? 0 : 1));
  }
  Generator generator{3};
  for (int i = 0; i < 20000; ++i) {
    Bytes damaged = whole;
    for (int flips = 0; flips < 3; ++flips)
      damaged[static_cast<size_t>(generator.below(static_cast<uint32_t>(header + 8)))] =
          static_cast<uint8_t>(generator.below(256));
    (void)y4m_refusal(damaged);
  }
}

TEST_CASE("NUT: frames and times that are written are read, whatever the form") {
  for (const Chroma chroma : {Chroma::mono, Chroma::c420, Chroma::c422, Chroma::c444}) {
    for (const int bits : {8, 10}) {
      VideoFormat format = format_of(6, 4, chroma, bits);
      format.time_base = {1, 90000};
      format.sample_aspect = {16, 15};
      const std::vector<int64_t> times = {0, 3003, 3004, 1'000'000'000'000};
      const auto frames = nut_frames(nut_stream(format, times), format);
      REQUIRE(frames);
      REQUIRE(frames.value().size() == 4);
      for (size_t i = 0; i < 4; ++i) {
        CHECK(frames.value()[i].time == times[i]);
        CHECK(frames.value()[i].samples == noise_frame(format, times[i]).samples);
      }
    }
  }
}

TEST_CASE("NUT: another size or form than expected, cuts and damage are refused") {
  const VideoFormat format = format_of(6, 4);
  const Bytes whole = nut_stream(format, {0, 1});
  CHECK(nut_frames(whole, format_of(6, 5)).error().reason == "has frames of 6 x 4 pixels, expected 6 x 5");
  CHECK(nut_frames(whole, format_of(6, 4, Chroma::c444)).error().reason ==
        "has frames of another form than was asked for");
  CHECK(nut_frames(bytes_of("no film at all, but text"), format).error().reason == "is no NUT stream");
  for (const int64_t size : {format.frame_bytes() - 1, format.frame_bytes() + 1}) {
    Bytes other = nut_header(format);
    other.insert(other.end(), {0, 1, static_cast<uint8_t>(size), 0, 0, 0, 0});
    other.insert(other.end(), static_cast<size_t>(size), 7);
    CHECK(nut_frames(other, format).error().reason ==
          cat("has a frame of ", size, " bytes, expected ", format.frame_bytes()));
  }
  int accepted = 0;
  for (size_t length = 0; length < whole.size(); ++length)
    accepted +=
        nut_frames(Bytes(whole.begin(), whole.begin() + static_cast<int64_t>(length)), format) ? 1 : 0;
  // Behind the headers, behind the note on the rate, behind the first syncpoint, behind a frame, behind the
  // second syncpoint.
  CHECK(accepted == 5);
  Generator generator{5};
  for (int i = 0; i < 20000; ++i) {
    Bytes damaged = whole;
    for (int flips = 0; flips < 2; ++flips)
      damaged[static_cast<size_t>(generator.below(static_cast<uint32_t>(damaged.size())))] =
          static_cast<uint8_t>(generator.below(256));
    (void)nut_frames(damaged, format);
  }
}
