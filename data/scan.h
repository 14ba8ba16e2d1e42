// A look at everything in a dataset before a long training, which must not meet bad pictures one by one.
#pragma once

#include "luxgrad/data/layout.h"

namespace lux {

/// A file of a dataset as it was found.
struct ScannedFile {
  std::string name;  ///< its path relative to the dataset
  int64_t bytes = 0;
  int64_t width = 0, height = 0;
  std::string sha256{};  ///< of its bytes
};

struct DatasetScan {
  PictureList pictures;            ///< the sound ones with their hashes, in the order of their names
  std::vector<ScannedFile> files;  ///< of these pictures, in the same order, references after their pictures
  std::vector<std::string> problems;  ///< sentences, each begins with the path of a file
  int64_t bad = 0;                    ///< pictures or pairs that are left out
  std::string found;                  ///< as of Dataset
};

/// Reads and decodes every picture of a dataset once, with all threads: finds files that cannot be read, are
/// cut or damaged, pictures with the bytes of an earlier one, pictures without partner and pairs of different
/// sizes. A pack is one file. Throws FileException as `find_dataset`.
DatasetScan scan_dataset(const std::string& path, const DatasetOptions& options = {},
                         const ImageLimits& limits = {});

}  // namespace lux
