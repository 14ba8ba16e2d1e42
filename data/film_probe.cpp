#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "luxgrad/data/child.h"
#include "luxgrad/data/ffmpeg.h"
#include "luxgrad/data/file.h"

namespace lux {
namespace {

using json = nlohmann::json;
using enum FileErrorCode;
using namespace ffmpeg;

constexpr int64_t kProbeSeconds = 60;
constexpr size_t kMaxProbe = 4 << 20;
constexpr size_t kMaxCompanions = 64;

/// All that the child says, up to a limit.
Result<std::string> output_of(const ChildSpec& spec, const std::string& path) {
  Result<Child> child = start(path, spec);
  if (!child) return child.error();
  std::string text;
  std::array<char, 8192> part{};
  for (ssize_t got = 1; got > 0 && text.size() <= kMaxProbe;) {
    got = read(child->output(), part.data(), part.size());
    if (got > 0) text.append(part.data(), static_cast<size_t>(got));
  }
  if (text.size() > kMaxProbe) return FileError{too_large, path, -1, "says too much about itself"};
  if (child->wait() != 0) return refused(path, complaint_of(*child));
  return text;
}

std::string text_at(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

int64_t number_at(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) return 0;
  if (found->is_number_integer()) return found->get<int64_t>();
  const std::string text = text_at(object, key);
  int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

double seconds_at(const json& object, const char* key) {
  const std::string text = text_at(object, key);
  double value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value > 0 && value < 1e9 ? value : 0;
}

/// `30000/1001` or `1:1`; 0 where that is no ratio.
Rational ratio_at(const json& object, const char* key) {
  const std::string text = text_at(object, key);
  const char* const end = text.data() + text.size();
  Rational ratio;
  const auto [middle, error] = std::from_chars(text.data(), end, ratio.num);
  if (error != std::errc() || middle == end ||
      std::from_chars(middle + 1, end, ratio.den).ec != std::errc() || ratio.den <= 0)
    return {0, 1};
  return ratio;
}

/// Quarter turns that the player makes.
int quarter_turns(const json& stream) {
  if (!stream.contains("side_data_list") || !stream["side_data_list"].is_array()) return 0;
  for (const json& entry : stream["side_data_list"]) {
    if (entry.is_object() && entry.contains("rotation"))
      return static_cast<int>(number_at(entry, "rotation") / 90);
  }
  return 0;
}

/// Words that may stand in a command line as they are.
std::string plain_word(const std::string& word) {
  const bool plain = word.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-_") == std::string::npos;
  return plain && word != "unknown" && word != "reserved" ? word : "";
}

/// The form in which frames of `stored` pixels pass: 4:2:0, 4:2:2, 4:4:4 or gray, of 8, 10 or 12 bits.
void set_pixels(const std::string& stored, VideoFormat& format) {
  const auto has = [&](const char* part) { return stored.find(part) != std::string::npos; };
  format.bits = 8;
  for (const int bits : {9, 10, 12, 14, 16}) {
    if (has(cat("p", bits).c_str()) || has(cat("gray", bits).c_str()) || has(cat("p0", bits).c_str()))
      format.bits = bits <= 10 ? 10 : 12;
  }
  if (stored.starts_with("gray") || stored.starts_with("mono")) {
    format.chroma = Chroma::mono;
    format.full_range = true;  // as ffmpeg has gray
    return;
  }
  format.chroma = has("420") || has("nv12") || has("nv21") || has("p010") || has("410") || has("411")
                      ? Chroma::c420
                  : has("422") || has("p210") ? Chroma::c422
                                              : Chroma::c444;
}

void set_colors(const json& stream, FilmInfo& info) {
  info.color_primaries = plain_word(text_at(stream, "color_primaries"));
  info.color_transfer = plain_word(text_at(stream, "color_transfer"));
  info.color_space = plain_word(text_at(stream, "color_space"));
  const std::string stored = text_at(stream, "pix_fmt");
  info.convert_colors = stored.starts_with("gbr") || stored.find("rgb") != std::string::npos ||
                        stored.find("bgr") != std::string::npos || stored == "pal8" ||
                        info.color_space == "gbr";
  if (info.convert_colors) info.color_space = "bt709";
  VideoFormat& format = info.format;
  format.matrix = info.color_space == "bt709"                        ? ColorMatrix::bt709
                  : info.color_space.starts_with("bt2020")           ? ColorMatrix::bt2020
                  : info.color_space.empty() && format.height >= 720 ? ColorMatrix::bt709
                                                                     : ColorMatrix::bt601;
}

FilmInfo film_from(const json& film) {
  FilmInfo info;
  const json* pictures = nullptr;
  const json streams = film.value("streams", json::array());
  for (const json& stream : streams) {
    if (!stream.is_object()) continue;
    const std::string kind = text_at(stream, "codec_type");
    const auto index = static_cast<int>(number_at(stream, "index"));
    const bool cover = stream.contains("disposition") && stream["disposition"].is_object() &&
                       number_at(stream["disposition"], "attached_pic") != 0;
    if (kind == "video" && !cover && pictures == nullptr) {
      pictures = &stream;
      info.stream = index;
    } else if ((kind == "audio" || kind == "subtitle" || kind == "attachment" || cover) &&
               info.companions.size() < kMaxCompanions) {
      info.companions.push_back({index, kind, text_at(stream, "codec_name")});
    }
  }
  if (pictures == nullptr) refuse(unsupported, -1, "has no moving pictures in it");
  VideoFormat& format = info.format;
  format.width = number_at(*pictures, "width");
  format.height = number_at(*pictures, "height");
  if (quarter_turns(*pictures) % 2 != 0) std::swap(format.width, format.height);
  set_pixels(text_at(*pictures, "pix_fmt"), format);
  format.time_base = ratio_at(*pictures, "time_base");
  const Rational average = ratio_at(*pictures, "avg_frame_rate"),
                 finest = ratio_at(*pictures, "r_frame_rate");
  // Where frames come at odd times, the finest rate may be that of the clock.
  format.rate =
      finest.num > 0 && (average.num == 0 || finest.value() < 2 * average.value()) ? finest : average;
  if (format.rate.num == 0) format.rate = {25, 1};
  set_colors(*pictures, info);
  check_video_format(format);
  info.seconds = seconds_at(*pictures, "duration");
  if (info.seconds == 0 && film.contains("format") && film["format"].is_object())
    info.seconds = seconds_at(film["format"], "duration");
  info.frames = std::max<int64_t>(0, number_at(*pictures, "nb_frames"));
  if (info.frames == 0) info.frames = std::llround(info.seconds * format.rate.value());
  return info;
}

}  // namespace

Result<FilmInfo> probe_film(const std::string& path) {
  if (path.find("://") != std::string::npos && !std::filesystem::exists(path))
    return FileError{unsupported, path, -1, "is an address; films are read from files only"};
  const Result<int> opened = open_for_reading(path);
  if (!opened) return opened.error();
  close(opened.value());
  Words words = {"ffprobe", "-v", "error"};
  add(words, guarded_input(path));
  add(words, {"-show_streams", "-show_format", "-of", "json"});
  const Result<std::string> text = output_of(
      {.arguments = words, .output = true, .memory_bytes = kMemory, .cpu_seconds = kProbeSeconds}, path);
  if (!text) return text.error();
  const json film = json::parse(text.value(), nullptr, false);
  if (!film.is_object()) return FileError{malformed, path, -1, "cannot be read as a film"};
  return attempt([&] { return film_from(film); }).in_file(path);
}

}  // namespace lux
