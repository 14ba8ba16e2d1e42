#include "luxgrad/data/split.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>

#include "luxgrad/data/file.h"
#include "luxgrad/tensor/random.h"

namespace lux {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kListBytes = int64_t{16} << 20;

std::vector<std::string> lines_of(const std::string& path) {
  const std::vector<uint8_t> bytes = read_file(path, kListBytes).value();
  std::istringstream text(std::string(bytes.begin(), bytes.end()));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) {
    line.erase(line.find_last_not_of(" \t\r") + 1);
    if (!line.empty() && line[0] != '#') lines.push_back(line);
  }
  if (lines.empty()) throw FileException({FileErrorCode::malformed, path, -1, "names no picture"});
  return lines;
}

/// All by which a list may name a picture.
std::set<std::string> names_for(const std::string& name) {
  std::set<std::string> names{name, fs::path(name).replace_extension()};
  for (fs::path above = fs::path(name).parent_path(); !above.empty(); above = above.parent_path())
    names.insert(above);
  return names;
}

/// For every picture the first name of all that share its reference.
std::vector<std::string> scenes_of(const PictureList& pictures) {
  const auto alone = [](const PicturePaths& paths) { return paths.high.empty() || paths.pack != nullptr; };
  std::map<std::string, std::string> first;
  for (const PicturePaths& paths : pictures) {
    if (alone(paths)) continue;
    std::string& name = first.emplace(paths.high, paths.name).first->second;
    name = std::min(name, paths.name);
  }
  std::vector<std::string> scenes;
  for (const PicturePaths& paths : pictures)
    scenes.push_back(alone(paths) ? paths.name : first.at(paths.high));
  return scenes;
}

}  // namespace

PictureListing select_named(const PictureList& pictures, const std::string& path) {
  std::map<std::string, bool> wanted;  // and whether there is one
  for (const std::string& line : lines_of(path)) wanted[line] = false;
  PictureListing listing;
  for (const PicturePaths& paths : pictures) {
    bool named = false;
    for (const std::string& name : names_for(paths.name)) {
      const auto found = wanted.find(name);
      if (found != wanted.end()) named = found->second = true;
    }
    if (named) listing.pictures.push_back(paths);
  }
  for (const auto& [name, there] : wanted)
    if (!there) listing.problems.push_back(cat(path, ": there is no picture ", in_quotes(name)));
  return listing;
}

std::pair<PictureList, PictureList> split_dataset(const PictureList& pictures, int64_t validation) {
  const auto size = static_cast<int64_t>(pictures.size());
  check(validation >= 0 && validation <= size, "split_dataset: expected a validation part of 0 to ", size,
        " pictures, got ", validation);
  const auto middle = pictures.end() - validation;
  return {PictureList(pictures.begin(), middle), PictureList(middle, pictures.end())};
}

std::pair<PictureList, PictureList> split_by_name(const PictureList& pictures, int64_t validation,
                                                  uint64_t seed) {
  const auto size = static_cast<int64_t>(pictures.size());
  check(validation >= 0 && validation <= size, "split_by_name: expected a validation part of 0 to ", size,
        " pictures, got ", validation);
  const std::vector<std::string> scenes = scenes_of(pictures);
  std::map<std::string, int64_t> sizes;
  for (const std::string& scene : scenes) ++sizes[scene];
  std::set<std::pair<double, std::string>> drawn;  // in the order of their numbers
  for (const auto& [scene, count] : sizes) drawn.emplace(Generator(seed, scene).uniform(), scene);
  std::set<std::string> chosen;
  int64_t taken = 0;
  for (const auto& [number, scene] : drawn) {
    if (taken >= validation) break;
    taken += sizes[scene];
    chosen.insert(scene);
  }
  std::pair<PictureList, PictureList> parts;
  for (size_t i = 0; i < pictures.size(); ++i)
    (chosen.contains(scenes[i]) ? parts.second : parts.first).push_back(pictures[i]);
  return parts;
}

int64_t validation_size(double wanted, int64_t pictures) {
  const bool share = wanted >= 0 && wanted < 1;
  const auto most = static_cast<double>(pictures);
  check(share || (wanted >= 1 && wanted <= most && wanted == std::floor(wanted)),
        "validation: expected a share below 1 or a number of at most ", pictures, " pictures, got ", wanted);
  if (!share) return static_cast<int64_t>(wanted);
  return wanted == 0 ? 0 : std::max<int64_t>(1, static_cast<int64_t>(std::llround(wanted * most)));
}

}  // namespace lux
