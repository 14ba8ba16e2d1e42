#include "luxgrad/data/ffmpeg.h"

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <iterator>

namespace lux::ffmpeg {
namespace {

// Names of ffmpeg's demuxers: containers and raw streams. Playlists and scripts (hls, dash, concat, sdp,
// image2) are not among them, for they name other files.
constexpr const char* kFormats =
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,flv,ogg,asf,nut,yuv4mpegpipe,mxf,"
    "wtv,"
    "h264,hevc,ivf,rm,dv,obu,gif,apng";

/// Whether the child found no memory because this program is limited to less than a child may have.
bool lacks_memory(const std::string& complaint) {
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur >= static_cast<rlim_t>(kMemory)) return false;
  constexpr const char* kWords[] = {"Cannot allocate memory", "failed to map segment", "get_buffer() failed",
                                    "Resource temporarily unavailable"};
  return std::any_of(std::begin(kWords), std::end(kWords),
                     [&](const char* words) { return complaint.find(words) != std::string::npos; });
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
  if (range.to) add(words, {"-to", seconds_text(*range.to)});
  return words;
}

std::string seconds_text(double seconds) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.6f", seconds);
  return text.data();
}

std::string ratio_text(const Rational& ratio) { return cat(ratio.num, "/", ratio.den); }

FileError needs_program(const std::string& path, const FileError& error) {
  if (error.code != FileErrorCode::missing) return error;
  return {FileErrorCode::unsupported, path, -1,
          cat("needs the program ", error.file, ", which is not installed (Debian: apt-get install ffmpeg)")};
}

FileError refused(const std::string& path, const std::string& complaint, const char* kind) {
  const auto error = [&](const std::string& reason) {
    return FileError{FileErrorCode::unsupported, path, -1, reason};
  };
  if (complaint.find("whitelist") != std::string::npos)
    return error("is of a kind that is not read; lists of other files never are");
  if (lacks_memory(complaint)) throw OutOfMemory(cat(path, ": no memory left for ffmpeg, which reads it"));
  if (complaint.empty()) return error(cat("cannot be read as ", kind));
  std::string text = complaint;
  for (const std::string& name : {cat("file:", path, ": "), cat(path, ": ")}) {
    if (const size_t at = text.find(name); at != std::string::npos) text.erase(at, name.size());
  }
  return error(cat("cannot be read as ", kind, ": ", text));
}

}  // namespace lux::ffmpeg
