#include "luxgrad/data/dataset.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "luxgrad/data/image.h"
#include "luxgrad/tensor/thread_pool.h"

namespace lux {
namespace {

namespace fs = std::filesystem;

/// Appends the relative paths of the pictures under `folder / below`.
void collect(const fs::path& folder, const fs::path& below, bool recursive, std::vector<std::string>& found) {
  for (const fs::directory_entry& entry : fs::directory_iterator(folder / below)) {
    const fs::path name = entry.path().filename();
    if (name.native().starts_with(".")) continue;
    std::error_code unknown;  // a broken link is neither file nor folder
    if (entry.is_directory(unknown)) {
      if (recursive && !entry.is_symlink(unknown)) collect(folder, below / name, recursive, found);
    } else if (entry.is_regular_file(unknown) && image_format_of(name.native())) {
      found.push_back((below / name).native());
    }
  }
}

std::vector<std::string> relative_images(const std::string& folder, bool recursive) {
  std::vector<std::string> found;
  try {
    collect(folder, {}, recursive, found);
  } catch (const fs::filesystem_error& error) {
    const bool missing = error.code() == std::errc::no_such_file_or_directory;
    throw FileException({missing ? FileErrorCode::missing : FileErrorCode::unreadable, folder, -1,
                         cat("cannot be listed: ", error.code().message())});
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::string inside(const std::string& folder, const std::string& name) { return fs::path(folder) / name; }

/// Throws a FileException that lists the problems, if there are any.
void report(const std::string& folder, const std::vector<std::string>& problems) {
  if (problems.empty()) return;
  std::string text = cat(problems.size(), problems.size() == 1 ? " problem: " : " problems: ", problems[0]);
  for (size_t i = 1; i < problems.size(); ++i) text += "; " + problems[i];
  throw FileException({FileErrorCode::mismatch, folder, -1, text});
}

/// Relative paths by their name without extension. Reports names that occur twice.
std::map<std::string, std::string> by_stem(const std::string& folder, std::vector<std::string>& problems) {
  std::map<std::string, std::string> stems;
  for (const std::string& name : relative_images(folder, true)) {
    const auto [place, is_new] = stems.emplace(fs::path(name).replace_extension().native(), name);
    if (!is_new) problems.push_back(cat(inside(folder, name), " and ", place->second, " have the same name"));
  }
  return stems;
}

/// Empty, or what is wrong with one element.
std::string problem_of(const PicturePaths& paths, const ImageLimits& limits) {
  try {
    const Image low = load_image(paths.low, limits);
    if (paths.high.empty()) return "";
    const Image high = load_image(paths.high, limits);
    if (low.width == high.width && low.height == high.height) return "";
    return cat(paths.low, " is ", low.width, " x ", low.height, ", its reference ", high.width, " x ",
               high.height);
  } catch (const FileException& unreadable) {
    return unreadable.what();
  }
}

}  // namespace

std::vector<std::string> list_images(const std::string& folder, bool recursive) {
  std::vector<std::string> paths = relative_images(folder, recursive);
  for (std::string& path : paths) path = inside(folder, path);
  return paths;
}

PictureList unpaired_folder(const std::string& folder) {
  PictureList pictures;
  for (const std::string& name : relative_images(folder, true))
    pictures.push_back({name, inside(folder, name), ""});
  if (pictures.empty()) throw FileException({FileErrorCode::missing, folder, -1, "has no pictures"});
  return pictures;
}

PictureList paired_folder(const std::string& low, const std::string& high) {
  std::vector<std::string> problems;
  auto references = by_stem(high, problems);
  PictureList pictures;
  for (const auto& [stem, name] : by_stem(low, problems)) {
    const auto reference = references.find(stem);
    if (reference == references.end()) {
      problems.push_back(cat(inside(low, name), " has no reference in ", high));
    } else {
      pictures.push_back({name, inside(low, name), inside(high, reference->second)});
      references.erase(reference);
    }
  }
  for (const auto& [stem, name] : references) {
    problems.push_back(cat(inside(high, name), " has no dark picture in ", low));
  }
  report("", problems);
  if (pictures.empty()) throw FileException({FileErrorCode::missing, low, -1, "has no pictures"});
  std::sort(pictures.begin(), pictures.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return pictures;
}

PictureList open_dataset(const std::string& folder) {
  const std::string low = inside(folder, "low"), high = inside(folder, "high");
  std::error_code unknown;
  const bool paired = fs::is_directory(low, unknown) && fs::is_directory(high, unknown);
  return paired ? paired_folder(low, high) : unpaired_folder(folder);
}

void check_dataset(const PictureList& pictures, const ImageLimits& limits) {
  std::vector<std::string> problems(pictures.size());
  run_chunks(static_cast<int64_t>(pictures.size()), [&](int64_t i) {
    problems[static_cast<size_t>(i)] = problem_of(pictures[static_cast<size_t>(i)], limits);
  });
  std::erase(problems, "");
  report("", problems);
}

std::pair<PictureList, PictureList> split_dataset(const PictureList& pictures, int64_t validation) {
  const auto size = static_cast<int64_t>(pictures.size());
  check(validation >= 0 && validation <= size, "split_dataset: expected a validation part of 0 to ", size,
        " pictures, got ", validation);
  const auto middle = pictures.end() - validation;
  return {PictureList(pictures.begin(), middle), PictureList(middle, pictures.end())};
}

}  // namespace lux
