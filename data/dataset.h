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

/// One SHA-256 for all pictures of a list, in its order: of the lines `SHA-256 of the file's bytes, space,
/// name`, references after their pictures. Throws FileException.
std::string sha256_of(const PictureList& pictures);

/// Whether the folder has subfolders low and high: pictures and their references.
bool has_references(const std::string& folder);

/// `paired_folder(folder/low, folder/high)` where both exist, else `unpaired_folder(folder)`.
PictureList open_dataset(const std::string& folder);

/// A file of a dataset as it was found.
struct ScannedFile {
  std::string name;  ///< its path relative to the dataset
  int64_t bytes = 0;
  int64_t width = 0, height = 0;
  std::string sha256{};  ///< of its bytes
};

/// What a look at everything in a dataset found.
struct DatasetScan {
  PictureList pictures;            ///< the sound ones, in the order of their names
  std::vector<ScannedFile> files;  ///< of these pictures, in the same order, references after their pictures
  std::vector<std::string> problems;  ///< sentences, each begins with the path of a file
  int64_t bad = 0;                    ///< pictures or pairs that are left out
};

/// Reads and decodes every picture of a folder once, with all threads, so that a long training does not meet
/// bad ones one by one: files that cannot be read, are cut or damaged, pictures with the bytes of an earlier
/// one, and, with `references` and where there are folders low and high, pictures without partner and pairs
/// of different sizes. Throws FileException for a folder without pictures.
DatasetScan scan_dataset(const std::string& folder, bool references, const ImageLimits& limits = {});

/// The first and the last part of a list; the last one holds `validation` elements, as Keras splits before it
/// shuffles. Throws Error when there are fewer.
std::pair<PictureList, PictureList> split_dataset(const PictureList& pictures, int64_t validation);

}  // namespace lux
