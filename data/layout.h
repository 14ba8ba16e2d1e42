// Datasets as they are published: which folders hold dark pictures, which their references, which part is for
// training. Found by the names of folders, whatever their case:
//
//     low/ high/                                   pairs by name; also Low/ Normal/, input/ target/
//     our485/{low,high}  eval15/{low,high}         LOL v1; also {Train,Test} or {train,eval} of any pairs
//     Train/{Low,Normal}  Test/{Low,Normal}        LOL v2, in Real_captured/ and in Synthetic/
//     Label/7.JPG  7/1.JPG  7/2.JPG …              SICE: exposures of scene 7 from dark to bright; also
//                                                  Dataset_Part1/ (training) and Dataset_Part2/
//     pairs.npz                                    a pack of pictures (data/picture_pack.h)
//     anything else                                pictures without references
#pragma once

#include <string>

#include "luxgrad/data/dataset.h"

namespace lux {

enum class DatasetPart : uint8_t { training, evaluation };

struct DatasetOptions {
  bool references = true;                    ///< false: all pictures of the folder, alone
  DatasetPart part = DatasetPart::training;  ///< where the layout has both
  /// Of SICE: also the bright exposures. Else the darker half, 3 of 7 and 4 of 9.
  bool all_exposures = false;
  std::string names{};  ///< a file of names (data/split.h): only these pictures
};

struct Dataset {
  PictureList pictures;
  std::vector<std::string> problems;  ///< as of PictureListing
  std::string found;  ///< what it is, for people: `485 pairs of our485/low and our485/high (LOL v1)`
};

/// Lists a folder or a pack. Throws FileException for what cannot be listed, is empty, or has no such part.
Dataset find_dataset(const std::string& path, const DatasetOptions& options = {});

/// The same, and throws one FileException that lists all problems where there are any.
Dataset open_dataset(const std::string& path, const DatasetOptions& options = {});

/// Whether the layout has references. False for what is not there.
bool has_references(const std::string& path);

}  // namespace lux
