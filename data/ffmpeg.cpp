#include "luxgrad/data/ffmpeg.h"

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <system_error>

namespace lux::ffmpeg {
namespace {

// Names of ffmpeg's demuxers: containers and raw streams. Playlists and scripts (hls, dash, concat, sdp,
// image2) are not among them, for they name other files.
constexpr const char* kFormats =
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,flv,ogg,asf,nut,yuv4mpegpipe,mxf,"
    "wtv,"
    "h264,hevc,ivf,rm,dv,obu,gif,apng";

/// Throws OutOfMemory where this program is limited to less than a child may have. What a child then says is
/// of no use: it may lack memory anywhere, and has hundreds of sentences for that.
void check_means(const std::string& path, const std::string& complaint) {
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur >= static_cast<rlim_t>(kMemory)) return;
  throw OutOfMemory(cat(path, ": ffmpeg failed under a limit of ", limit.rlim_cur >> 20, " MiB of memory",
                        complaint.empty() ? "" : ": ", complaint));
}

}  // namespace

void add(Words& words, Words more) {
  words.insert(words.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

Words guarded_input(const std::string& path) {
  return {"-max_pixels",
          std::to_string(ImageLimits{}.pixels),
          "-protocol_whitelist",
          "file",
          "-format_whitelist",
          kFormats,
          "-i",
          cat("file:", path)};
}

Words range_words(const TimeRange& range) {
  Words words;
  if (range.from > 0) add(words, {"-ss", seconds_text(range.from)});
  if (range.to) add(words, {"-to", seconds_text(last_moment(range.from, *range.to))});
  return words;
}

double last_moment(double from, double to) {
  constexpr double kLess = 0.0006;
  return std::max(to - kLess, from + kLess);
}

std::string seconds_text(double seconds) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.6f", seconds);
  return text.data();
}

std::string ratio_text(const Rational& ratio) { return cat(ratio.num, "/", ratio.den); }

Result<Child> start(const std::string& path, const ChildSpec& spec) {
  try {
    Result<Child> child = Child::start(spec);
    if (child) return child;
    const FileError& error = child.error();
    return FileError{FileErrorCode::unsupported, path, -1,
                     error.code == FileErrorCode::missing
                         ? cat("needs the program ", error.file,
                               ", which is not installed (Debian: apt-get install ffmpeg)")
                         : cat("needs the program ", error.file, ", which ", error.reason)};
  } catch (const OutOfMemory& error) {
    throw OutOfMemory(cat(path, ": ", error.what()));
  } catch (const std::system_error& error) {
    throw std::system_error(error.code(), cat(path, ": ", spec.arguments.front(), " cannot be started"));
  }
}

std::string complaint_of(const Child& child) {
  std::string text = child.first_complaint();
  while (text.starts_with('[')) {
    const size_t at = text.find(" @ 0x"), end = text.find("] ");
    if (end == std::string::npos || at > end) break;
    text.erase(0, end + 2);
  }
  return text;
}

FileError refused(const std::string& path, const std::string& complaint, const char* kind) {
  const auto error = [&](const std::string& reason) {
    return FileError{FileErrorCode::unsupported, path, -1, reason};
  };
  if (complaint.find("whitelist") != std::string::npos)
    return error("is of a kind that is not read; lists of other files never are");
  check_means(path, complaint);
  if (complaint.empty()) return error(cat("cannot be read as ", kind));
  std::string text = complaint;
  for (const std::string& name : {cat("file:", path, ": "), cat(path, ": ")}) {
    if (const size_t at = text.find(name); at != std::string::npos) text.erase(at, name.size());
  }
  return error(cat("cannot be read as ", kind, ": ", text));
}

FileError not_encoded(const std::string& path, const Child& child, int code) {
  std::string reason = complaint_of(child);
  check_means(path, reason);
  if (reason.empty())
    reason = code > 128 ? cat("signal ", code - 128, " ended ffmpeg: ", strsignal(code - 128))
                        : "ffmpeg ended before its work did";
  return {FileErrorCode::unwritable, path, -1, cat("cannot be encoded: ", reason)};
}

}  // namespace lux::ffmpeg
