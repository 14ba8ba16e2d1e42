// NUT, the container of raw frames with exact times, in which frames go to and come from a child `ffmpeg`:
// the part of it that one stream of raw pictures needs (https://ffmpeg.org/~michael/nut.txt, version 3).
//
// A file is packets, which begin with the letter N, and frames, which begin with a byte that looks up in a
// table what follows. Times are integers of a rational clock, so that variable frame rates pass as they are.
#pragma once

#include <array>

#include "luxgrad/data/byte_stream.h"
#include "luxgrad/data/video.h"

namespace lux {

/// The four letters that say how the samples of a frame lie, `I420` for example. Throws Error for bits that
/// NUT has no letters for.
std::array<uint8_t, 4> nut_fourcc(const VideoFormat& format);

class NutReader {
 public:
  /// Reads the headers. `format` says what is expected of the frames; its clock and pixel aspect become those
  /// of the stream. Refuses other sizes and other forms.
  static Result<NutReader> open(ByteSource& bytes, const VideoFormat& format);

  const VideoFormat& format() const { return format_; }
  /// False at the end.
  Result<bool> next(ByteSource& bytes, VideoFrame& frame);

 private:
  struct FrameCode {
    uint64_t flags = 0;
    int64_t time_step = 0, size_factor = 1, size = 0, reserved = 0;
    size_t prefix = 0;
  };

  void read_packet(ByteSource& bytes);
  void read_main_header(std::span<const uint8_t> header);
  void read_frame_codes(class NutFields& fields);
  void read_prefixes(class NutFields& fields);
  void read_stream_header(std::span<const uint8_t> header);
  bool read_frame(ByteSource& bytes, VideoFrame& frame);
  int64_t time_from(uint64_t coded) const;

  VideoFormat format_;
  bool has_main_ = false, has_stream_ = false;
  std::array<FrameCode, 256> codes_{};
  std::vector<Rational> clocks_;
  std::vector<std::vector<uint8_t>> prefixes_{{}};  // bytes that small frames begin with and do not repeat
  int time_bits_ = 0;                               // times may be written without their upper bits
  int64_t last_time_ = 0;
};

/// The headers of a stream of this format.
std::vector<uint8_t> nut_header(const VideoFormat& format);

/// What stands before the samples of a frame.
std::vector<uint8_t> nut_frame_header(const VideoFormat& format, int64_t time);

}  // namespace lux
