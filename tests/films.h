// Tiny films for the tests of `luxgrad video`, made and looked at by ffmpeg where that is installed.
#pragma once

#include <doctest/doctest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "tool_workplace.h"

/// Where a program is; empty where it is not installed.
inline std::string program_path(const std::string& name) {
  const char* const path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string candidate = folder + "/" + name;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return "";
}

/// Says so where the rest of a test must be skipped.
inline bool without_ffmpeg() {
  const bool missing = program_path("ffmpeg").empty() || program_path("ffprobe").empty();
  if (missing) MESSAGE("skipped: needs ffmpeg (Debian: apt-get install ffmpeg)");
  return missing;
}

/// Standard output of a program that must succeed.
inline std::string output_of(const Workplace& here, const std::string& program,
                             std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"-v", "error"});
  const ChildResult result = here.run(arguments, {}, program_path(program));
  INFO(program, " ", arguments.back(), ": ", result.err);
  REQUIRE(result.code == 0);
  return result.out;
}

/// Dark, and with colours so pale that no conversion cuts them off.
inline const char* const kDark = "lutyuv=y=val/4+40:u=112+val/8:v=112+val/8";

/// A dark film of test pictures, 48x32, and a tone; `more` are ffmpeg's words behind the inputs.
inline void make_film(const Workplace& here, const std::string& name, const std::string& rate,
                      const std::string& seconds, const std::vector<std::string>& more = {},
                      const std::string& filter = kDark, const std::string& size = "48x32") {
  std::vector<std::string> words = {
      "-f",  "lavfi", "-i", "testsrc2=s=" + size + ":r=" + rate + ":d=" + seconds,
      "-f",  "lavfi", "-i", "sine=d=" + seconds,
      "-vf", filter};
  words.insert(words.end(), more.begin(), more.end());
  const std::vector<std::string> last = {"-c:v",     "libx264", "-preset", "ultrafast",
                                         "-pix_fmt", "yuv420p", "-y",      name};
  words.insert(words.end(), last.begin(), last.end());
  output_of(here, "ffmpeg", words);
}

/// Times of the frames, in seconds from the start of the film.
inline std::vector<double> frame_times(const Workplace& here, const std::string& name) {
  std::istringstream lines(
      output_of(here, "ffprobe",
                {"-select_streams", "v:0", "-show_entries", "packet=pts_time", "-of", "csv=p=0", name}));
  std::vector<double> times;
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty()) times.push_back(std::atof(line.c_str()));
  }
  std::sort(times.begin(), times.end());
  return times;
}

/// All that ffprobe says.
inline nlohmann::json facts_of(const Workplace& here, const std::string& name) {
  return nlohmann::json::parse(
      output_of(here, "ffprobe", {"-show_streams", "-show_format", "-show_chapters", "-of", "json", name}));
}

/// Seconds that the pictures last.
inline double picture_seconds(const Workplace& here, const std::string& name) {
  return std::atof(output_of(here, "ffprobe",
                             {"-select_streams", "v:0", "-show_entries", "stream=duration:format=duration",
                              "-of", "default=nk=1:nw=1", name})
                       .c_str());
}

/// A hash of the packets of all streams of a kind, as they are stored: a for sound, s for subtitles.
inline std::string packets_hash(const Workplace& here, const std::string& name, const std::string& kind) {
  return output_of(here, "ffmpeg",
                   {"-i", name, "-map", "0:" + kind, "-c", "copy", "-f", "streamhash", "-hash", "md5", "-"});
}

/// The film as one Y4M stream.
inline std::string y4m_of(const Workplace& here, const std::string& name) {
  output_of(here, "ffmpeg", {"-i", name, "-map", "0:v:0", "-pix_fmt", "yuv420p", "-y", "decoded.y4m"});
  return slurp(here.path("decoded.y4m"));
}

/// Runs the tool, with `disk/NAME` as its output, on a disk of its own with so many KiB left beside the file
/// `old` of that name, or no file where that is empty. Exit code 50 where the disk holds anything else
/// afterwards, 52 where no file system may be mounted.
inline ChildResult run_on_full_disk(const Workplace& here, const std::string& command,
                                    const std::string& name, int kilobytes, const std::string& old = "") {
  fs::create_directories(here.path("disk"));
  const std::string output = "disk/" + name;
  const std::string before = old.empty() ? "" : "cp " + old + " " + output + "; ";
  const std::string same = old.empty() ? "[ ! -e " + output + " ]" : "cmp -s " + old + " " + output;
  const std::string script =
      lux::cat("mount -t tmpfs -o size=1m none disk || exit 52; ", before, "head -c ", kilobytes,
               "k /dev/zero >disk/room; cat /dev/zero >disk/filler 2>/dev/null; "
               "rm disk/room; ",
               LUX_TOOL, " ", command, " -o ", output, " --overwrite; code=$?; ", "rm disk/filler; ", same,
               " || exit 50; rm -f ", output, "; [ -z \"$(ls -A disk)\" ] || exit 50; exit $code");
  return here.run({"-m", "/bin/sh", "-c", script}, {}, program_path("unshare"));
}

/// Says so where no file system may be mounted.
inline bool without_mounts(const Workplace& here) {
  const bool missing =
      program_path("unshare").empty() ||
      here.run({"-m", "/bin/sh", "-c", "mount -t tmpfs none in"}, {}, program_path("unshare")).code != 0;
  if (missing) MESSAGE("skipped: no file system may be mounted here");
  return missing;
}
