// Films of every format, read and written by the program `ffmpeg` as a child. It is needed at run time only,
// and only here; where it is missing, one sentence says so.
//
// Nothing of a film but its pictures passes through this program: sound, subtitles, chapters and what is
// known about it are copied by the child that encodes, straight from the first file. A film is hostile like
// any other file: it is opened by name as a file, never as an address; formats that name other files are not
// on the list of those allowed; and the children may not use memory or time without end.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "luxgrad/data/video.h"

namespace lux {

/// A part of a film, in seconds from its start.
struct TimeRange {
  double from = 0;
  std::optional<double> to;
  bool whole() const { return from == 0 && !to; }
};

/// A stream of a film other than its pictures that a copy should keep.
struct Companion {
  int index = 0;
  std::string kind;   ///< audio, subtitle, attachment, or video for a cover
  std::string codec;  ///< as ffprobe names it
};

/// What a file says about the film in it.
struct FilmInfo {
  VideoFormat format;  ///< of the frames as they are shown: upright
  int stream = 0;      ///< index of the pictures
  double seconds = 0;  ///< 0 where not known
  int64_t frames = 0;
  std::string color_primaries, color_transfer, color_space;  ///< as ffprobe names them; empty where not known
  bool convert_colors = false;  ///< the pictures are stored as red, green and blue
  std::vector<Companion> companions;
};

/// Asks ffprobe. FileErrorCode::unsupported where that is missing, or the file is no film.
Result<FilmInfo> probe_film(const std::string& path);

struct ReadFilmOptions {
  TimeRange range{};
  bool constant_rate = false;  ///< repeat and leave out frames so that they come at the nominal rate
  const std::atomic<bool>* stop = nullptr;  ///< ends the stream once it is true
};

/// The pictures of a film, their times counted from the start of the range. Throws FileException.
std::unique_ptr<FrameSource> open_film(const std::string& path, const FilmInfo& info,
                                       const ReadFilmOptions& options = {});

struct WriteFilmOptions {
  std::string codec{};   ///< h264, hevc, av1, vp9 or an encoder of ffmpeg; empty: what suits the container
  std::string preset{};  ///< of the encoder; empty: its own
  int crf = -1;          ///< constant quality; -1: 18 for h264, else the encoder's own
};

/// The containers that films are written to, by the extension of their files: `mp4 m4v mov mkv webm ts avi`.
bool is_film_name(const std::string& path);

/// Writes a film. `original` names the file whose sound and so on is copied, of the same range; nothing is
/// where that is empty. The film gets its name when it is whole: not where the disk
/// took less than all of it. Throws FileException.
std::unique_ptr<FrameSink> create_film(const std::string& path, const VideoFormat& format,
                                       const WriteFilmOptions& options, const std::string& original = {},
                                       const FilmInfo& info = {}, const TimeRange& range = {});

}  // namespace lux
