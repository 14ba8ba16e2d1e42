#include <algorithm>
#include <cmath>

#include "luxgrad/data/byte_stream.h"
#include "luxgrad/data/child.h"
#include "luxgrad/data/ffmpeg.h"
#include "luxgrad/data/nut.h"

namespace lux {
namespace {

using namespace ffmpeg;

/// ffmpeg's name of a form.
std::string pixel_name(const VideoFormat& format) {
  const std::string depth = format.bits == 8 ? "" : cat(format.bits, "le");
  switch (format.chroma) {
    case Chroma::mono:
      return cat("gray", depth);
    case Chroma::c420:
      return cat("yuv420p", depth);
    case Chroma::c422:
      return cat("yuv422p", depth);
    case Chroma::c444:
      break;
  }
  return cat("yuv444p", depth);
}

class Film final : public FrameSource {
 public:
  Film(std::string path, const FilmInfo& info, const ReadFilmOptions& options, Child child)
      : path_(std::move(path)),
        child_(std::move(child)),
        bytes_(child_.output(), options.stop),
        stop_(options.stop),
        reader_(opened(info.format)),
        frames_(info.frames) {
    const TimeRange& range = options.range;
    if (!range.whole() && info.seconds > 0) {
      const double seconds = std::min(range.to.value_or(info.seconds), info.seconds) - range.from;
      frames_ = std::llround(std::max(0.0, seconds) * info.format.rate.value());
    }
  }

  const VideoFormat& format() const override { return reader_.format(); }
  int64_t expected_frames() const override { return frames_ > 0 ? frames_ : -1; }
  std::string complaint() const override { return complaint_; }

  Result<bool> next(VideoFrame& frame) override {
    Result<bool> read = reader_.next(bytes_, frame);
    if (!read) return stopped() ? std::move(read).in_file(path_) : cause_of(read.error());
    if (!*read) return end();
    // Damaged films may have frames at the time of others; every frame needs its own.
    frame.time = last_ = std::max<int64_t>(frame.time, last_ + 1);
    return true;
  }

 private:
  NutReader opened(const VideoFormat& format) {
    Result<NutReader> reader = NutReader::open(bytes_, format);
    if (reader) return std::move(*reader);
    if (stopped()) throw FileException(reader.error());  // and nobody waits for the child
    throw FileException(cause_of(reader.error()));
  }

  bool stopped() const { return stop_ != nullptr && *stop_; }

  /// What the child says is nearer to the cause of an error of its stream.
  FileError cause_of(FileError error) {
    child_.close_output();
    const bool failed = child_.wait() != 0 || child_.complaints() > 0;
    if (failed) error = refused(path_, complaint_of(child_));
    error.file = path_;
    return error;
  }

  Result<bool> end() {
    if (stopped()) return false;
    const int code = child_.wait();
    if (code != 0) return refused(path_, complaint_of(child_));
    if (child_.complaints() > 0)
      complaint_ =
          cat(path_, ": ", child_.complaints(), " faults while reading; the first: ", complaint_of(child_));
    return false;
  }

  std::string path_;
  Child child_;
  ByteSource bytes_;
  const std::atomic<bool>* stop_;
  NutReader reader_;
  int64_t frames_;
  std::string complaint_;
  int64_t last_ = -1;
};

}  // namespace

std::unique_ptr<FrameSource> open_film(const std::string& path, const FilmInfo& info,
                                       const ReadFilmOptions& options) {
  Words words = {"ffmpeg", "-hide_banner", "-nostdin", "-v", "error", "-threads", "4"};
  add(words, range_words(options.range));
  add(words, guarded_input(path));
  const VideoFormat& format = info.format;
  // A size that changes on the way would not fit the stream; a full range of values is made the usual one.
  std::string filter = cat("scale=w=", format.width, ":h=", format.height,
                           ":flags=bicubic+accurate_rnd:out_range=", format.full_range ? "pc" : "tv");
  if (info.convert_colors) filter += ":out_color_matrix=bt709";
  add(words, {"-map", cat("0:", info.stream), "-vf", cat(filter, ",format=", pixel_name(format)), "-c:v",
              "rawvideo"});
  if (options.constant_rate) {
    add(words, {"-fps_mode", "cfr", "-r", ratio_text(format.rate)});
  } else {
    add(words, {"-fps_mode", "passthrough", "-enc_time_base", ratio_text(format.time_base)});
  }
  add(words, {"-f", "nut", "pipe:1"});
  Child child = start(path, {.arguments = words, .output = true, .memory_bytes = kMemory}).value();
  return std::make_unique<Film>(path, info, options, std::move(child));
}

}  // namespace lux
