#include "luxgrad/data/dataset.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>

#include "luxgrad/data/file.h"
#include "luxgrad/data/image.h"
#include "luxgrad/data/picture_pack.h"
#include "luxgrad/data/sha256.h"

namespace lux {
namespace {

namespace fs = std::filesystem;

using Faults = std::vector<FileError>;

/// Appends the relative paths of what has a picture's name under `folder / below`, and the folders that
/// cannot be listed. A link to a folder leads nowhere; with a picture's name it is a bad picture, as a
/// dangling one.
void collect(const fs::path& folder, const fs::path& below, bool recursive, std::vector<std::string>& found,
             Faults& faults) {
  try {
    for (const fs::directory_entry& entry : fs::directory_iterator(folder / below)) {
      const fs::path name = entry.path().filename();
      if (name.native().starts_with('.')) continue;
      std::error_code unknown;
      if (entry.is_directory(unknown) && !entry.is_symlink(unknown)) {
        if (recursive) collect(folder, below / name, recursive, found, faults);
      } else if (image_format_of(name.native())) {
        found.push_back((below / name).native());
      }
    }
  } catch (const fs::filesystem_error& error) {
    const bool missing = error.code() == std::errc::no_such_file_or_directory;
    faults.push_back({missing ? FileErrorCode::missing : FileErrorCode::unreadable,
                      below.empty() ? folder : folder / below, -1,
                      cat("cannot be listed: ", error.code().message())});
  }
}

/// Faults are folders below that cannot be listed. Throws FileException for the folder itself.
std::vector<std::string> relative_images(const std::string& folder, bool recursive, Faults& faults) {
  std::vector<std::string> found;
  collect(folder, {}, recursive, found, faults);
  if (!faults.empty() && faults.back().file == folder) throw FileException(faults.back());
  std::sort(found.begin(), found.end());
  return found;
}

/// `relative_images`, faults as sentences.
std::vector<std::string> images_in(const std::string& folder, bool recursive,
                                   std::vector<std::string>& problems) {
  Faults faults;
  std::vector<std::string> found = relative_images(folder, recursive, faults);
  for (const FileError& fault : faults) problems.push_back(fault.message());
  return found;
}

std::string inside(const std::string& folder, const std::string& name) { return fs::path(folder) / name; }

/// The stem by which files of two folders find each other: `low00001` in Low and `normal00001` in Normal are
/// 00001.
std::string key_of(const std::string& folder, const std::string& name) {
  const fs::path path = fs::path(name).replace_extension();
  const std::string side = lower_case(fs::path(folder).filename().native()), stem = path.filename();
  const bool numbered = lower_case(stem).starts_with(side) && stem.size() > side.size() &&
                        std::isdigit(static_cast<unsigned char>(stem[side.size()])) != 0;
  return numbered ? path.parent_path() / stem.substr(side.size()) : path;
}

/// Relative paths by their key. Reports those that two files have.
std::map<std::string, std::string> by_key(const std::string& folder, std::vector<std::string>& problems) {
  std::map<std::string, std::string> keys;
  for (const std::string& name : images_in(folder, true, problems)) {
    const auto [place, is_new] = keys.emplace(key_of(folder, name), name);
    if (!is_new) problems.push_back(cat(inside(folder, name), " and ", place->second, " have the same name"));
  }
  return keys;
}

/// The picture of a file, [1, H, W, 3]; only that of the bytes with this hash where there is one.
Tensor picture_of(const std::string& path, const std::string& hash, const ImageLimits& limits) {
  if (hash.empty()) return to_tensor(load_image(path, limits));
  const std::vector<uint8_t> bytes = read_file(path, limits.decode_bytes).value();
  if (sha256(bytes) != hash) {
    throw FileException(
        {FileErrorCode::mismatch, path, -1, "was replaced or changed since the dataset was looked at"});
  }
  return to_tensor(decode_image(bytes, limits).in_file(path).value());
}

}  // namespace

std::string lower_case(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

std::vector<std::string> list_images(const std::string& folder, bool recursive) {
  Faults faults;
  std::vector<std::string> paths = list_images(folder, recursive, faults);
  if (!faults.empty()) throw FileException(faults.front());
  return paths;
}

std::vector<std::string> list_images(const std::string& folder, bool recursive, Faults& faults) {
  std::vector<std::string> paths = relative_images(folder, recursive, faults);
  for (std::string& path : paths) path = inside(folder, path);
  std::erase_if(paths, [](const std::string& path) {
    std::error_code unknown;  // a link that dangles is no file
    return !fs::is_regular_file(path, unknown);
  });
  return paths;
}

PictureListing list_alone(const std::string& folder, bool recursive) {
  PictureListing listing;
  for (const std::string& name : images_in(folder, recursive, listing.problems))
    listing.pictures.push_back({name, inside(folder, name), ""});
  return listing;
}

PictureList unpaired_folder(const std::string& folder) {
  PictureList pictures = sound(list_alone(folder));
  if (pictures.empty()) throw FileException({FileErrorCode::missing, folder, -1, "has no pictures"});
  return pictures;
}

PictureListing match_pairs(const std::string& low, const std::string& high) {
  PictureListing listing;
  auto references = by_key(high, listing.problems);
  for (const auto& [key, name] : by_key(low, listing.problems)) {
    const auto reference = references.find(key);
    if (reference == references.end()) {
      listing.problems.push_back(cat(inside(low, name), " has no reference in ", high));
    } else {
      listing.pictures.push_back({name, inside(low, name), inside(high, reference->second)});
      references.erase(reference);
    }
  }
  for (const auto& [key, name] : references)
    listing.problems.push_back(cat(inside(high, name), " has no dark picture in ", low));
  sort_by_name(listing.pictures);
  return listing;
}

void sort_by_name(PictureList& pictures) {
  std::sort(pictures.begin(), pictures.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
}

PictureList sound(PictureListing listing) {
  const std::vector<std::string>& problems = listing.problems;
  if (problems.empty()) return std::move(listing.pictures);
  std::string text = cat(problems.size(), problems.size() == 1 ? " problem: " : " problems: ", problems[0]);
  for (size_t i = 1; i < problems.size(); ++i) text += "; " + problems[i];
  throw FileException({FileErrorCode::mismatch, "", -1, text});
}

PictureList paired_folder(const std::string& low, const std::string& high) {
  PictureList pictures = sound(match_pairs(low, high));
  if (pictures.empty()) throw FileException({FileErrorCode::missing, low, -1, "has no pictures"});
  return pictures;
}

std::string sha256_of(const PictureList& pictures) {
  std::map<std::string, std::string> known;  // an archive, or a reference of several pictures, is read once
  std::string lines;
  for (const PicturePaths& paths : pictures) {
    for (const std::string& path : {paths.low, paths.high}) {
      if (path.empty()) continue;
      std::string& hash = known[path];
      if (hash.empty()) hash = sha256(read_file(path).value());
      lines += cat(hash, " ", paths.name, "\n");
    }
  }
  return sha256(bytes_of(lines));
}

PicturePair read_pair(const PicturePaths& paths, const ImageLimits& limits) {
  if (paths.pack != nullptr)
    return {paths.pack->low(paths.index), paths.high.empty() ? Tensor() : paths.pack->high(paths.index)};
  PicturePair pair{picture_of(paths.low, paths.low_sha256, limits), {}};
  if (paths.high.empty()) return pair;
  pair.high = picture_of(paths.high, paths.high_sha256, limits);
  if (pair.low.shape() == pair.high.shape()) return pair;
  const auto size_of = [](const Tensor& picture) { return cat(picture.size(2), " x ", picture.size(1)); };
  throw FileException({FileErrorCode::mismatch, paths.low, -1,
                       cat("is ", size_of(pair.low), ", its reference ", size_of(pair.high))});
}

}  // namespace lux
