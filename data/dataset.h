// Folders of pictures as lists: for training without references, and in pairs matched by name. The order is
// that of the names, so it is the same on every system.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "luxgrad/data/image_limits.h"

namespace lux {

/// The pictures of a folder by extension, sorted by their path relative to it, as `folder/path`. Hidden files
/// and folders are left out. Throws FileException when the folder cannot be listed.
std::vector<std::string> list_images(const std::string& folder, bool recursive = false);

/// One element of a dataset: a picture, or a dark one and its reference.
struct PicturePaths {
  std::string name;  ///< for logs and results: the path relative to the folder
  std::string low;
  std::string high;  ///< empty without reference

  bool operator==(const PicturePaths&) const = default;
};
using PictureList = std::vector<PicturePaths>;

/// All pictures of a folder and its subfolders, without references. Throws FileException for an empty folder.
PictureList unpaired_folder(const std::string& folder);

/// The pictures of `low` and their references in `high`, matched by relative path without extension. Throws
/// one FileException that lists every picture without partner and every ambiguous one.
PictureList paired_folder(const std::string& low, const std::string& high);

/// `paired_folder(folder/low, folder/high)` where both exist, else `unpaired_folder(folder)`.
PictureList open_dataset(const std::string& folder);

/// Decodes everything once. Throws one FileException that lists every unreadable picture and every pair of
/// different sizes, so that a long training does not meet them one by one.
void check_dataset(const PictureList& pictures, const ImageLimits& limits = {});

/// The first and the last part of a list; the last one holds `validation` elements, as Keras splits before it
/// shuffles. Throws Error when there are fewer.
std::pair<PictureList, PictureList> split_dataset(const PictureList& pictures, int64_t validation);

}  // namespace lux
