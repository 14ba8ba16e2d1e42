// YUV4MPEG2, the plain stream of raw frames that video programs pipe to each other (mjpegtools' yuv4mpeg(5)):
// one line says size, rate and form, then each frame is the line FRAME and its planes. Needs no other
// program.
#pragma once

#include "luxgrad/data/byte_stream.h"
#include "luxgrad/data/video.h"

namespace lux {

/// Reads the header line. Unknown rates are 25 per second, as elsewhere; the matrix, which the format cannot
/// say, is BT.709 from 720 lines on, else BT.601.
Result<VideoFormat> read_y4m_header(ByteSource& bytes, const ImageLimits& limits = {});

/// Reads a frame; its time is `number` ticks. False at the end.
Result<bool> read_y4m_frame(ByteSource& bytes, const VideoFormat& format, int64_t number, VideoFrame& frame);

/// The header line of a stream of this format.
std::string y4m_header(const VideoFormat& format);

/// A file, or standard input for "-". Throws FileException. `stop` as for ByteSource.
std::unique_ptr<FrameSource> open_y4m(const std::string& path, const std::atomic<bool>* stop = nullptr);

/// Writes to a file beside `path`, which gets its name at the end, or to standard output for "-". Times are
/// not written: a frame follows the other at the nominal rate. Throws FileException.
std::unique_ptr<FrameSink> create_y4m(const std::string& path, const VideoFormat& format);

}  // namespace lux
