// Moving pictures as a stream: frames come one by one from a source and go one by one to a sink, each with
// its own time, so that a film of any length needs the memory of a few frames.
//
// A frame stays in the form that films are stored in: a plane of brightness and two of colour, which may have
// fewer samples (Y'CbCr). Times are ticks of a rational clock from end to end: no frame rate is ever rounded.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "luxgrad/data/image_limits.h"
#include "luxgrad/data/result.h"
#include "luxgrad/tensor/tensor.h"

namespace lux {

struct Rational {
  int64_t num = 0, den = 1;
  double value() const { return den == 0 ? 0 : static_cast<double>(num) / static_cast<double>(den); }
  bool operator==(const Rational&) const = default;
};

/// How many colour samples there are: as many as pixels, half of them in a row, or half in rows and columns.
enum class Chroma : uint8_t { mono, c420, c422, c444 };

/// How colour differences were made of red, green and blue.
enum class ColorMatrix : uint8_t { bt601, bt709, bt2020 };

struct VideoFormat {
  int64_t width = 0, height = 0;
  Chroma chroma = Chroma::c420;
  int bits = 8;             ///< per sample, 8 to 16; more than 8 are two bytes, the low one first
  bool full_range = false;  ///< black to white is 0 to 255 instead of 16 to 235
  ColorMatrix matrix = ColorMatrix::bt601;
  Rational time_base{1, 25};     ///< seconds per tick
  Rational rate{25, 1};          ///< nominal frames per second
  Rational sample_aspect{1, 1};  ///< width to height of a pixel

  int planes() const { return chroma == Chroma::mono ? 1 : 3; }
  int sample_bytes() const { return bits > 8 ? 2 : 1; }
  int64_t plane_width(int plane) const;
  int64_t plane_height(int plane) const;
  int64_t plane_bytes(int plane) const { return plane_width(plane) * plane_height(plane) * sample_bytes(); }
  int64_t frame_bytes() const;
};

struct VideoFrame {
  std::vector<uint8_t> samples;  ///< plane after plane, without gaps
  int64_t time = 0;              ///< in ticks
};

/// Refuses a format beyond the limits, or with numbers that make no sense.
void check_video_format(const VideoFormat& format, const ImageLimits& limits = {});

class FrameSource {
 public:
  FrameSource() = default;
  virtual ~FrameSource() = default;
  FrameSource(const FrameSource&) = delete;
  FrameSource& operator=(const FrameSource&) = delete;

  virtual const VideoFormat& format() const = 0;
  /// Frames there will be, -1 where that is not known; an estimate.
  virtual int64_t expected_frames() const { return -1; }
  /// The next frame into `frame`, whose memory is used again; false at the end.
  virtual Result<bool> next(VideoFrame& frame) = 0;
  /// What went wrong without ending the stream; empty if nothing did.
  virtual std::string complaint() const { return {}; }
};

class FrameSink {
 public:
  FrameSink() = default;
  virtual ~FrameSink() = default;
  FrameSink(const FrameSink&) = delete;
  FrameSink& operator=(const FrameSink&) = delete;

  /// Times must grow from frame to frame.
  virtual Result<bool> write(const VideoFrame& frame) = 0;
  /// Completes what was written. `cut_short`: more was meant to come, and what would accompany it is left
  /// out.
  virtual Result<bool> finish(bool cut_short) = 0;
  /// What the output lacks though nothing failed; empty if nothing.
  virtual std::string complaint() const { return {}; }
};

/// Colours of a frame as [1, H, W, 3] f32 in [0, 1]; a colour sample counts for every pixel that it covers.
Tensor to_tensor(const VideoFrame& frame, const VideoFormat& format);

/// The frame of a [1, H, W, 3] tensor, rounded; a colour sample is the mean over the pixels that it covers.
/// Values are clamped to [0, 1], NaN is 0. Throws Error for another shape.
void from_tensor(const Tensor& picture, const VideoFormat& format, VideoFrame& frame);

}  // namespace lux
