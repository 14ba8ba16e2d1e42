#include "luxgrad/data/y4m.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "luxgrad/data/file.h"

namespace lux {
namespace {

using enum FileErrorCode;

constexpr size_t kMaxLine = 1024;
constexpr std::string_view kMagic = "YUV4MPEG2", kFrame = "FRAME";

/// A line without its end.
std::string read_line(ByteSource& bytes, const char* what) {
  std::string line;
  for (;;) {
    const auto c = static_cast<char>(bytes.u8(what));
    if (c == '\n') return line;
    if (line.size() == kMaxLine) refuse(malformed, bytes.offset(), "has a line that is too long in ", what);
    line += c;
  }
}

/// The whole of `text` as a number.
int64_t number_from(std::string_view text, const char* what) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    refuse(malformed, -1, "has ", in_quotes(std::string(text)), " for ", what);
  return value;
}

/// `30000:1001`; nothing where that is 0:0, which means unknown.
bool ratio_from(std::string_view text, const char* what, Rational& ratio) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos)
    refuse(malformed, -1, "has ", in_quotes(std::string(text)), " for ", what);
  const Rational read{number_from(text.substr(0, colon), what), number_from(text.substr(colon + 1), what)};
  if (read.num == 0 || read.den == 0) return false;
  if (std::min(read.num, read.den) < 0 || std::max(read.num, read.den) > INT32_MAX)
    refuse(malformed, -1, "has ", in_quotes(std::string(text)), " for ", what);
  ratio = read;
  return true;
}

/// `420jpeg`, `422`, `444p10`, `mono`, …
void chroma_from(std::string_view text, VideoFormat& format) {
  const std::string whole(text);
  for (const std::string_view siting : {"420jpeg", "420mpeg2", "420paldv"}) {
    if (text == siting) text = "420";
  }
  size_t known = 3;
  if (text.starts_with("mono")) {
    format.chroma = Chroma::mono;
    known = 4;
  } else if (text.starts_with("420")) {
    format.chroma = Chroma::c420;
  } else if (text.starts_with("422")) {
    format.chroma = Chroma::c422;
  } else if (text.starts_with("444")) {
    format.chroma = Chroma::c444;
  } else {
    known = 0;
  }
  std::string_view depth = text.substr(known);
  if (depth.starts_with('p')) depth.remove_prefix(1);
  format.bits = 8;
  if (known > 0 && depth.empty()) return;
  constexpr std::string_view kDepths[] = {"9", "10", "12", "14", "16"};
  for (const std::string_view bits : kDepths) {
    if (known == 0 || depth != bits) continue;
    format.bits = static_cast<int>(number_from(bits, "bits"));
    return;
  }
  refuse(unsupported, -1, "has the colour space ", in_quotes(whole), ", expected mono, 420, 422 or 444");
}

void parameter_from(std::string_view word, VideoFormat& format) {
  const std::string_view value = word.substr(1);
  switch (word[0]) {
    case 'W':
      format.width = number_from(value, "width");
      break;
    case 'H':
      format.height = number_from(value, "height");
      break;
    case 'F':
      ratio_from(value, "frame rate", format.rate);
      break;
    case 'A':
      ratio_from(value, "aspect of a pixel", format.sample_aspect);
      break;
    case 'C':
      chroma_from(value, format);
      break;
    case 'X':
      if (value == "COLORRANGE=FULL") format.full_range = true;
      break;
    default:  // I: interlacing; what is not known changes nothing
      break;
  }
}

class Source final : public FrameSource {
 public:
  Source(int descriptor, std::string name, const std::atomic<bool>* stop)
      : descriptor_(descriptor), name_(std::move(name)), bytes_(descriptor, stop) {}
  ~Source() override {
    if (descriptor_ != STDIN_FILENO) close(descriptor_);
  }
  void read_header() { format_ = read_y4m_header(bytes_).in_file(name_).value(); }
  const VideoFormat& format() const override { return format_; }
  Result<bool> next(VideoFrame& frame) override {
    auto read = read_y4m_frame(bytes_, format_, number_, frame).in_file(name_);
    ++number_;
    return read;
  }

 private:
  int descriptor_;
  std::string name_;
  ByteSource bytes_;
  VideoFormat format_;
  int64_t number_ = 0;
};

class Sink final : public FrameSink {
 public:
  Sink(std::string name, const VideoFormat& format) : name_(std::move(name)) {
    if (name_ != "-") file_.emplace(NewFile::create(name_).value());
    const std::string header = y4m_header(format);
    put(bytes_of(header)).value();
  }
  Result<bool> write(const VideoFrame& frame) override {
    static constexpr uint8_t kLine[] = {'F', 'R', 'A', 'M', 'E', '\n'};
    auto written = put(kLine);
    return written ? put(frame.samples) : written;
  }
  Result<bool> finish(bool /*cut_short*/) override { return file_ ? file_->keep() : Result<bool>(true); }

 private:
  Result<bool> put(std::span<const uint8_t> bytes) {
    return write_bytes(file_ ? file_->descriptor() : STDOUT_FILENO, bytes)
        .in_file(file_ ? name_ : "standard output");
  }

  std::string name_;
  std::optional<NewFile> file_;
};

}  // namespace

Result<VideoFormat> read_y4m_header(ByteSource& bytes, const ImageLimits& limits) {
  return attempt([&] {
    if (bytes.at_end()) refuse(truncated, 0, "is empty");
    for (const char expected : kMagic) {  // before a line is looked for in what may be anything
      if (bytes.u8("the header") != static_cast<uint8_t>(expected))
        refuse(unsupported, 0, "is no YUV4MPEG2 stream");
    }
    const std::string line = read_line(bytes, "the header");
    VideoFormat format;
    for (size_t begin = 0; begin < line.size();) {
      const size_t end = std::min(line.find(' ', begin), line.size());
      if (end > begin) parameter_from(std::string_view(line).substr(begin, end - begin), format);
      begin = end + 1;
    }
    format.time_base = {format.rate.den, format.rate.num};
    if (format.height >= 720) format.matrix = ColorMatrix::bt709;
    check_video_format(format, limits);
    return format;
  });
}

Result<bool> read_y4m_frame(ByteSource& bytes, const VideoFormat& format, int64_t number, VideoFrame& frame) {
  return attempt([&] {
    if (bytes.at_end()) return false;
    const int64_t begin = bytes.offset();
    const std::string line = read_line(bytes, "the head of a frame");
    if (line != kFrame && !line.starts_with("FRAME "))
      refuse(malformed, begin, "has no frame where one should begin");
    frame.samples.clear();
    bytes.append(frame.samples, format.frame_bytes(), "a frame");
    frame.time = number;
    return true;
  });
}

std::string y4m_header(const VideoFormat& format) {
  std::string chroma;
  switch (format.chroma) {
    case Chroma::mono:
      chroma = "mono";
      break;
    case Chroma::c420:
      chroma = format.bits == 8 ? "420jpeg" : "420p";
      break;
    case Chroma::c422:
      chroma = format.bits == 8 ? "422" : "422p";
      break;
    case Chroma::c444:
      chroma = format.bits == 8 ? "444" : "444p";
      break;
  }
  if (format.bits > 8) chroma += std::to_string(format.bits);
  return cat(kMagic, " W", format.width, " H", format.height, " F", format.rate.num, ":", format.rate.den,
             " Ip A", format.sample_aspect.num, ":", format.sample_aspect.den, " C", chroma,
             " XCOLORRANGE=", format.full_range ? "FULL" : "LIMITED", "\n");
}

std::unique_ptr<FrameSource> open_y4m(const std::string& path, const std::atomic<bool>* stop) {
  const int descriptor = path == "-" ? STDIN_FILENO : open_for_reading(path).value();
  auto source = std::make_unique<Source>(descriptor, path == "-" ? "standard input" : path, stop);
  source->read_header();
  return source;
}

std::unique_ptr<FrameSink> create_y4m(const std::string& path, const VideoFormat& format) {
  return std::make_unique<Sink>(path, format);
}

}  // namespace lux
