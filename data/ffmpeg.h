// The programs ffmpeg and ffprobe as children: the words of their command lines, and what their failures
// mean. Inside data/ only.
#pragma once

#include <string>
#include <vector>

#include "luxgrad/data/child.h"
#include "luxgrad/data/film.h"

namespace lux::ffmpeg {

using Words = std::vector<std::string>;

inline constexpr int64_t kMemory = int64_t{4} << 30;  ///< addresses of a child that reads a stranger's file

void add(Words& words, Words more);

/// `-i` of a file that came from outside, behind the lists of what it may be and name, and the size of
/// frames.
Words guarded_input(const std::string& path);
/// The part of a film that is wanted; stands before its -i.
Words range_words(const TimeRange& range);
/// The end of a part, in seconds: half a millisecond and a little before `to`. Chapters count milliseconds,
/// and one that begins at the end itself belongs to what follows.
double last_moment(double from, double to);
/// Seconds with microseconds.
std::string seconds_text(double seconds);
std::string ratio_text(const Rational& ratio);

/// A child for the file that needs it. FileErrorCode::unsupported where the program is missing. Throws
/// OutOfMemory, and std::system_error where the system has no descriptors or processes left; both name the
/// file.
Result<Child> start(const std::string& path, const ChildSpec& spec);
/// The first of what a child complained of, without `[webp @ 0x55d0e49d1340] `: the part of ffmpeg that
/// speaks, and an address, which differs each time.
std::string complaint_of(const Child& child);
/// What is wrong with a file, from what the child complained of. Throws OutOfMemory where this program has
/// less than a child may take.
FileError refused(const std::string& path, const std::string& complaint, const char* kind = "a film");
/// Why a child that has ended with `code` wrote no file. Throws OutOfMemory like `refused`.
FileError not_encoded(const std::string& path, const Child& child, int code);

}  // namespace lux::ffmpeg
