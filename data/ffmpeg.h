// The programs ffmpeg and ffprobe as children: the words of their command lines, and what their failures
// mean. Inside data/ only.
#pragma once

#include <string>
#include <vector>

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
/// Seconds with microseconds.
std::string seconds_text(double seconds);
std::string ratio_text(const Rational& ratio);

/// The error for a child that could not be started, for the file that needs it.
FileError needs_program(const std::string& path, const FileError& error);
/// What is wrong with a file, from what the child complained of. Throws OutOfMemory where that is memory, and
/// this program has less than a child may take.
FileError refused(const std::string& path, const std::string& complaint, const char* kind = "a film");

}  // namespace lux::ffmpeg
