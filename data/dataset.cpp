#include "luxgrad/data/dataset.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <map>

#include "luxgrad/data/file.h"
#include "luxgrad/data/image.h"
#include "luxgrad/data/sha256.h"
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

/// The pairs of two folders by name, sorted. Reports files without partner or with a name that occurs twice.
PictureList matched(const std::string& low, const std::string& high, std::vector<std::string>& problems) {
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
  std::sort(pictures.begin(), pictures.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return pictures;
}

/// One element of a dataset after a look at it.
struct Scanned {
  std::vector<ScannedFile> files;
  std::vector<std::string> problems;
};

Scanned scanned(const PicturePaths& paths, const std::string& folder, const ImageLimits& limits) {
  Scanned result;
  for (const std::string& path : {paths.low, paths.high}) {
    if (path.empty()) continue;
    try {
      const std::vector<uint8_t> bytes = read_file(path, limits.decode_bytes).value();
      const Image image = decode_image(bytes, limits).in_file(path).value();
      result.files.push_back({fs::path(path).lexically_relative(folder), static_cast<int64_t>(bytes.size()),
                              image.width, image.height, sha256(bytes)});
    } catch (const FileException& unreadable) {
      result.problems.emplace_back(unreadable.what());
    }
  }
  if (result.files.size() < 2) return result;
  const ScannedFile &low = result.files[0], &high = result.files[1];
  if (low.width != high.width || low.height != high.height) {
    result.problems.push_back(cat(paths.low, " is ", low.width, " x ", low.height, ", its reference ",
                                  high.width, " x ", high.height));
  }
  return result;
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
  PictureList pictures = matched(low, high, problems);
  report("", problems);
  if (pictures.empty()) throw FileException({FileErrorCode::missing, low, -1, "has no pictures"});
  return pictures;
}

std::string sha256_of(const PictureList& pictures) {
  std::string lines;
  for (const PicturePaths& paths : pictures) {
    for (const std::string& path : {paths.low, paths.high})
      if (!path.empty()) lines += cat(sha256(read_file(path).value()), " ", paths.name, "\n");
  }
  return sha256({reinterpret_cast<const uint8_t*>(lines.data()), lines.size()});
}

bool has_references(const std::string& folder) {
  std::error_code unknown;
  return fs::is_directory(inside(folder, "low"), unknown) &&
         fs::is_directory(inside(folder, "high"), unknown);
}

PictureList open_dataset(const std::string& folder) {
  return has_references(folder) ? paired_folder(inside(folder, "low"), inside(folder, "high"))
                                : unpaired_folder(folder);
}

DatasetScan scan_dataset(const std::string& folder, bool references, const ImageLimits& limits) {
  DatasetScan scan;
  const PictureList pictures = references && has_references(folder)
                                   ? matched(inside(folder, "low"), inside(folder, "high"), scan.problems)
                                   : unpaired_folder(folder);
  scan.bad = static_cast<int64_t>(scan.problems.size());
  std::vector<Scanned> all(pictures.size());
  run_chunks(static_cast<int64_t>(pictures.size()), [&](int64_t i) {
    all[static_cast<size_t>(i)] = scanned(pictures[static_cast<size_t>(i)], folder, limits);
  });
  std::map<std::string, std::string> first;  // the picture that has this content, by its hash
  for (size_t i = 0; i < pictures.size(); ++i) {
    Scanned& now = all[i];
    if (now.problems.empty()) {
      const auto [same, is_new] = first.emplace(now.files[0].sha256, pictures[i].low);
      if (!is_new) now.problems.push_back(cat(pictures[i].low, " has the same content as ", same->second));
    }
    if (now.problems.empty()) {
      scan.pictures.push_back(pictures[i]);
      std::move(now.files.begin(), now.files.end(), std::back_inserter(scan.files));
    } else {
      ++scan.bad;
      std::move(now.problems.begin(), now.problems.end(), std::back_inserter(scan.problems));
    }
  }
  return scan;
}

std::pair<PictureList, PictureList> split_dataset(const PictureList& pictures, int64_t validation) {
  const auto size = static_cast<int64_t>(pictures.size());
  check(validation >= 0 && validation <= size, "split_dataset: expected a validation part of 0 to ", size,
        " pictures, got ", validation);
  const auto middle = pictures.end() - validation;
  return {PictureList(pictures.begin(), middle), PictureList(middle, pictures.end())};
}

}  // namespace lux
