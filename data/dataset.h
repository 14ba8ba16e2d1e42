// Datasets as lists of pictures, alone or in pairs. The order is that of the names, so it is the same on
// every system; layouts of published datasets are found in `data/layout.h`.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "luxgrad/data/image_limits.h"
#include "luxgrad/data/result.h"
#include "luxgrad/tensor/tensor.h"

namespace lux {

/// The pictures of a folder by extension, sorted by their path relative to it, as `folder/path`. Hidden files
/// and folders, and what is no regular file, are left out. Throws FileException when the folder, or one below
/// that is asked for, cannot be listed.
std::vector<std::string> list_images(const std::string& folder, bool recursive = false);
/// The same, which puts folders below that cannot be listed into `faults`.
std::vector<std::string> list_images(const std::string& folder, bool recursive,
                                     std::vector<FileError>& faults);

class PicturePack;

/// One element of a dataset: a picture, or a dark one and its reference.
struct PicturePaths {
  std::string name;  ///< for logs and results: the path relative to the folder
  std::string low;
  std::string high;                           ///< empty without reference
  std::shared_ptr<const PicturePack> pack{};  ///< where both are picture `index` of the archive `low`
  int64_t index = 0;
  std::string low_sha256{}, high_sha256{};  ///< of the files' bytes as a scan found them; empty: any

  bool operator==(const PicturePaths&) const = default;
};
using PictureList = std::vector<PicturePaths>;

/// Pictures, and sentences about those that are missing or in doubt; each begins with the path of a file.
struct PictureListing {
  PictureList pictures;
  std::vector<std::string> problems;
};

/// All pictures of a folder and its subfolders, without references; also what has a picture's name and is no
/// regular file, which reading refuses. Problems are subfolders that cannot be listed. Throws FileException
/// where the folder itself cannot.
PictureListing list_alone(const std::string& folder, bool recursive = true);

/// The pictures of `low` and their references in `high`, matched by relative path without extension, where
/// `low7` in a folder Low finds `normal7` in a folder Normal. Problems are pictures without partner,
/// ambiguous ones, and subfolders that cannot be listed.
PictureListing match_pairs(const std::string& low, const std::string& high);

/// The pictures of a listing. Throws one FileException that lists all problems where there are any.
PictureList sound(PictureListing listing);

/// `sound(match_pairs(low, high))`. Throws FileException for empty folders, too.
PictureList paired_folder(const std::string& low, const std::string& high);

/// `sound(list_alone(folder))`. Throws FileException for an empty folder, too.
PictureList unpaired_folder(const std::string& folder);

void sort_by_name(PictureList& pictures);

/// The text with A to Z as a to z: how names of folders are compared.
std::string lower_case(std::string text);

/// One SHA-256 for all pictures of a list, in its order: of the lines `SHA-256 of the file's bytes, space,
/// name`, references after their pictures. Throws FileException.
std::string sha256_of(const PictureList& pictures);

/// A dark picture and its reference, [1, H, W, 3] f32 in [0, 1]; `high` is undefined without one.
struct PicturePair {
  Tensor low, high;
};

/// Reads an element. Throws FileException for unreadable files, for those that have other bytes than a scan
/// found, and for a reference of another size.
PicturePair read_pair(const PicturePaths& paths, const ImageLimits& limits = {});

}  // namespace lux
