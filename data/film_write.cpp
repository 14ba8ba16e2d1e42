#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string_view>
#include <thread>

#include "luxgrad/data/byte_stream.h"
#include "luxgrad/data/child.h"
#include "luxgrad/data/ffmpeg.h"
#include "luxgrad/data/file.h"
#include "luxgrad/data/nut.h"

namespace lux {
namespace {

using namespace ffmpeg;
using enum FileErrorCode;

struct Container {
  const char* extension;
  const char* muxer;
  const char* codec;
};
constexpr Container kContainers[] = {
    {".mp4", "mp4", "h264"},      {".m4v", "mp4", "h264"},  {".mov", "mov", "h264"},
    {".mkv", "matroska", "h264"}, {".webm", "webm", "vp9"}, {".ts", "mpegts", "h264"},
    {".avi", "avi", "h264"},
};

const Container* container_of(const std::string& path) {
  std::string extension = std::filesystem::path(path).extension();
  for (char& c : extension) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  for (const Container& container : kContainers) {
    if (extension == container.extension) return &container;
  }
  return nullptr;
}

/// The encoder and its options.
Words codec_words(const WriteFilmOptions& options, const Container& container, const VideoFormat& format) {
  const std::string codec = options.codec.empty() ? container.codec : options.codec;
  const bool h264 = codec == "h264", hevc = codec == "hevc", vp9 = codec == "vp9";
  Words words = {"-c:v:0", h264             ? "libx264"
                           : hevc           ? "libx265"
                           : vp9            ? "libvpx-vp9"
                           : codec == "av1" ? "libsvtav1"
                                            : codec};
  const int crf = options.crf >= 0 ? options.crf : h264 ? 18 : -1;
  if (crf >= 0) add(words, {"-crf:v:0", std::to_string(crf)});
  if (vp9) add(words, {"-b:v:0", "0"});
  if (hevc) add(words, {"-x265-params:v:0", "log-level=error"});
  if (hevc && std::string_view(container.muxer) != "matroska") add(words, {"-tag:v:0", "hvc1"});
  if (!options.preset.empty()) add(words, {"-preset:v:0", options.preset});
  // Encoders want even sides where colours are halved.
  if (format.chroma == Chroma::c420 && (format.width % 2 != 0 || format.height % 2 != 0))
    add(words, {"-pix_fmt:v:0", format.bits == 8 ? "yuv444p" : cat("yuv444p", format.bits, "le")});
  return words;
}

/// How subtitles of a kind are written: copied where the container takes them, else as its own kind of text;
/// empty where it takes none.
std::string subtitle_codec(const std::string& codec, const Container& container) {
  const std::string_view muxer = container.muxer;
  const bool text = codec == "subrip" || codec == "ass" || codec == "ssa" || codec == "webvtt" ||
                    codec == "mov_text" || codec == "text";
  if (muxer == "mp4" || muxer == "mov") return codec == "mov_text" ? "copy" : text ? "mov_text" : "";
  if (muxer == "matroska") return codec == "mov_text" ? "subrip" : "copy";
  if (muxer == "webm") return codec == "webvtt" ? "copy" : text ? "webvtt" : "";
  return muxer == "mpegts" && !text ? "copy" : "";
}

/// How sound of a kind is written: copied where the container takes it, else encoded as what players of the
/// container know.
std::string sound_codec(const std::string& codec, const Container& container) {
  struct Takes {
    std::string_view muxer;
    std::vector<std::string_view> codecs;  // pcm: of every kind
    const char* otherwise;
  };
  static const std::vector<Takes> kTakes = {
      {"mp4", {"aac", "mp3", "mp2", "ac3", "eac3", "opus", "flac", "alac", "vorbis", "dts"}, "aac"},
      {"mov", {"aac", "mp3", "mp2", "ac3", "eac3", "alac", "pcm"}, "aac"},
      {"webm", {"opus", "vorbis"}, "libopus"},
      {"mpegts", {"aac", "mp3", "mp2", "ac3", "eac3", "opus", "dts"}, "aac"},
      {"avi", {"aac", "mp3", "mp2", "ac3", "dts", "pcm"}, "ac3"},
  };
  for (const Takes& takes : kTakes) {
    if (takes.muxer != container.muxer) continue;
    const std::string_view kind = codec.starts_with("pcm_") ? "pcm" : std::string_view(codec);
    const bool taken = std::find(takes.codecs.begin(), takes.codecs.end(), kind) != takes.codecs.end();
    return taken ? "copy" : takes.otherwise;
  }
  return "copy";
}

/// Filters for the packets of subtitles of a part of a film, whose times are counted from its begin. One that
/// is under way at an end is shortened: a text from before the first picture would shift the film in .mkv,
/// one that outlasts the pictures would prolong it in .mp4. Where ffmpeg turns text into another kind it
/// loses the packet that `setts` holds back, and nothing else shortens: such texts are left out, but at the
/// end of Matroska, where ffmpeg 5.1 tells the filter another unit of time than that of the packet.
std::string cut_subtitles(const TimeRange& range, const Container& container, bool copied) {
  const std::string length = range.to ? seconds_text(*range.to - range.from) : "";
  const std::string_view muxer = container.muxer;
  if (!copied) {
    const bool drops_last = !length.empty() && (muxer == "mp4" || muxer == "mov");
    return cat("noise=drop=lt(pts\\,0)",
               drops_last ? cat("+gt((pts+duration)*tb\\,", length, "+0.001)") : "");
  }
  const std::string end = length.empty() ? "PTS+DURATION" : cat("min(PTS+DURATION\\,", length, "/TB)");
  return cat("noise=drop=lt(pts\\,0)*lte(pts+duration\\,0),",
             "setts=pts=max(PTS\\,0):dts=max(DTS\\,0):duration=", end, "-max(PTS\\,0)");
}

/// What is copied of the original, input 1 of the child; `left_out` names what the container cannot hold.
/// What is known of a stream must be asked for stream by stream, once it is for one.
Words companion_words(const FilmInfo& info, const Container& container, const TimeRange& range,
                      std::string& left_out) {
  Words words = {"-map_metadata", "1", "-map_chapters", "1"};
  int outputs = 0, subtitles = 0, sounds = 0;
  const auto describe = [&](int index) {
    add(words, {cat("-map_metadata:s:", outputs++), cat("1:s:", index)});
  };
  describe(info.stream);
  add(words, {"-metadata:s:v:0", "rotate="});  // pictures come upright already
  const bool matroska = std::string_view(container.muxer) == "matroska";
  const bool covers =
      matroska || std::string_view(container.muxer) == "mp4" || std::string_view(container.muxer) == "mov";
  for (const Companion& companion : info.companions) {
    const bool subtitle = companion.kind == "subtitle";
    const std::string codec = subtitle                    ? subtitle_codec(companion.codec, container)
                              : companion.kind == "audio" ? sound_codec(companion.codec, container)
                                                          : "copy";
    const bool kept = subtitle                    ? !codec.empty()
                      : companion.kind == "audio" ? true
                      : companion.kind == "video" ? covers
                                                  : matroska;  // attachments: fonts of subtitles
    if (!kept) {
      left_out += cat(left_out.empty() ? "" : ", ", companion.kind, " (", companion.codec, ")");
      continue;
    }
    add(words, {"-map", cat("1:", companion.index)});
    if (subtitle) {
      add(words, {cat("-c:s:", subtitles), codec});
      if (!range.whole())
        add(words, {cat("-bsf:s:", subtitles), cut_subtitles(range, container, codec == "copy")});
      ++subtitles;
    }
    if (companion.kind == "audio") {
      add(words, {cat("-c:a:", sounds), codec});
      // Opus knows the usual places of loudspeakers only.
      if (codec == "libopus")
        add(words,
            {cat("-filter:a:", sounds), "aformat=channel_layouts=mono|stereo|3.0|quad|5.0|5.1|6.1|7.1"});
      ++sounds;
    }
    describe(companion.index);
  }
  return words;
}

/// Addresses for the child: those for the stranger's film, and what an encoder takes for the frames that it
/// looks ahead and for its threads.
int64_t writer_memory(const VideoFormat& format) {
  constexpr int64_t kFrames = 400, kThread = 192 << 20;
  return kMemory + kFrames * format.frame_bytes() + kThread * std::thread::hardware_concurrency();
}

class FilmSink final : public FrameSink {
 public:
  FilmSink(std::string path, const VideoFormat& format, const WriteFilmOptions& options, std::string original,
           FilmInfo info, const TimeRange& range)
      : path_(std::move(path)),
        format_(format),
        options_(options),
        original_(std::move(original)),
        info_(std::move(info)),
        range_(range),
        file_(NewFile::create(path_).value()) {
    if (!original_.empty()) companions_ = companion_words(info_, *container_of(path_), range_, left_out_);
  }

  std::string complaint() const override {
    return left_out_.empty() ? "" : cat(path_, ": has no place for ", left_out_, ", which is left out");
  }

  Result<bool> write(const VideoFrame& frame) override {
    if (!child_) {
      Result<Child> child = start(path_, {.arguments = command(frame.time),
                                          .input = true,
                                          .output = true,
                                          .memory_bytes = writer_memory(format_)});
      if (!child) return child.error();
      child_.emplace(std::move(*child));
      if (!write_bytes(child_->input(), nut_header(format_))) return failure(*child_);
    }
    const std::vector<uint8_t> head = nut_frame_header(format_, frame.time);
    if (!write_bytes(child_->input(), head) || !write_bytes(child_->input(), frame.samples))
      return failure(*child_);
    return true;
  }

  Result<bool> finish(bool cut_short) override {
    if (!child_) return FileError{unwritable, path_, -1, "is not written: there was no frame"};
    if (cut_short) {
      // A signal makes it give up before it has begun the film (it says so, see `command`), and end the film
      // afterwards. Without a signal it would go on with the sound of what is missing.
      child_->settle();
      child_->interrupt();
    }
    child_->close_input();
    const int code = child_->wait();
    constexpr int kInterrupted = 255;
    if (code != 0 && !(cut_short && code == kInterrupted)) return not_encoded(path_, *child_, code);
    if (const std::string reason = loss(*child_); !reason.empty())
      return FileError{unwritable, path_, -1, cat("cannot be written: ", reason)};
    return file_.keep();
  }

 private:
  /// Why the disk does not hold all that ffmpeg wrote; empty where it does. Its exit code is 0 where the last
  /// bytes were not taken, but then its last words are about the file. Other complaints are about faults of
  /// the original.
  std::string loss(const Child& child) const {
    const std::string words = child.last_complaint(), &name = file_.temporary();
    if (const size_t at = words.find(name); at != std::string::npos)
      return words.substr(std::min(words.size(), at + name.size() + 2));
    return lseek(file_.descriptor(), 0, SEEK_END) > 0 ? "" : "nothing of it came to the disk";
  }

  FileError failure(Child& child) {
    child.close_input();
    const int code = child.wait();
    return not_encoded(path_, child, code);
  }

  Words command(int64_t first_time) const {
    const Container& container = *container_of(path_);
    // Inputs are shifted to begin at 0; the pictures go back to where they were.
    const double begin = static_cast<double>(first_time) * format_.time_base.value();
    Words words = {"ffmpeg", "-hide_banner", "-nostdin", "-v", "error", "-y"};
    // Its first line of progress comes as soon as all is open and the head of the film is written; no other
    // until the end.
    add(words, {"-progress", "pipe:1", "-stats_period", "1000000"});
    add(words, {"-color_range", format_.full_range ? "pc" : "tv"});
    if (!info_.color_space.empty()) add(words, {"-colorspace", info_.color_space});
    if (!info_.color_primaries.empty()) add(words, {"-color_primaries", info_.color_primaries});
    if (!info_.color_transfer.empty()) add(words, {"-color_trc", info_.color_transfer});
    add(words, {"-itsoffset", seconds_text(begin), "-protocol_whitelist", "pipe", "-f", "nut",
                "-fpsprobesize", "0", "-i", "pipe:0"});
    if (!original_.empty()) {
      add(words, range_words(range_));
      add(words, guarded_input(original_));
    }
    add(words, {"-map", "0:v:0"});
    add(words, {"-c", "copy"});
    if (!original_.empty()) add(words, companions_);
    add(words, codec_words(options_, container, format_));
    const bool avi = std::string_view(container.muxer) == "avi";
    if (avi) {  // which knows no times, but a rate
      add(words, {"-fps_mode:v:0", "cfr", "-r:v:0", ratio_text(format_.rate)});
    } else {
      add(words, {"-fps_mode:v:0", "passthrough", "-enc_time_base:v:0", ratio_text(format_.time_base)});
    }
    // Sound from before the begin would shift what has no times; AAC of .mp4 begins with what nobody hears.
    if (!original_.empty() && (range_.from > 0 || avi)) add(words, {"-copypriorss:a", "0"});
    // The inputs end there already, but their chapters do not.
    if (!original_.empty() && range_.to)
      add(words, {"-t", seconds_text(last_moment(range_.from, *range_.to) - range_.from)});
    add(words, {"-f", container.muxer, cat("file:", file_.temporary())});
    return words;
  }

  std::string path_;
  VideoFormat format_;
  WriteFilmOptions options_;
  std::string original_;
  FilmInfo info_;
  TimeRange range_;
  NewFile file_;
  Words companions_;
  std::string left_out_;
  std::optional<Child> child_;
};

}  // namespace

bool is_film_name(const std::string& path) { return container_of(path) != nullptr; }

std::unique_ptr<FrameSink> create_film(const std::string& path, const VideoFormat& format,
                                       const WriteFilmOptions& options, const std::string& original,
                                       const FilmInfo& info, const TimeRange& range) {
  if (container_of(path) == nullptr)
    throw FileException(
        {unwritable, path, -1, "has no extension of a film, expected .mp4, .mov, .mkv, .webm, .ts or .avi"});
  return std::make_unique<FilmSink>(path, format, options, original, info, range);
}

}  // namespace lux
