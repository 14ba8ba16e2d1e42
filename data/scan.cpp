#include "luxgrad/data/scan.h"

#include <filesystem>
#include <iterator>
#include <map>

#include "luxgrad/data/file.h"
#include "luxgrad/data/image.h"
#include "luxgrad/data/picture_pack.h"
#include "luxgrad/data/sha256.h"
#include "luxgrad/tensor/thread_pool.h"

namespace lux {
namespace {

namespace fs = std::filesystem;

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

/// A pack was looked at when it was opened: it is one file, and all of its pictures are sound.
void add_pack(const PicturePaths& first, DatasetScan& scan) {
  const std::vector<uint8_t> bytes = read_file(first.low).value();
  scan.files.push_back({fs::path(first.low).filename(), static_cast<int64_t>(bytes.size()),
                        first.pack->width(), first.pack->height(), sha256(bytes)});
}

}  // namespace

DatasetScan scan_dataset(const std::string& path, const DatasetOptions& options, const ImageLimits& limits) {
  Dataset dataset = find_dataset(path, options);
  DatasetScan scan;
  scan.problems = std::move(dataset.problems);
  scan.found = std::move(dataset.found);
  scan.bad = static_cast<int64_t>(scan.problems.size());
  const PictureList& pictures = dataset.pictures;
  if (!pictures.empty() && pictures[0].pack != nullptr) {
    add_pack(pictures[0], scan);
    scan.pictures = pictures;
    return scan;
  }
  std::vector<Scanned> all(pictures.size());
  run_chunks(static_cast<int64_t>(pictures.size()), [&](int64_t i) {
    all[static_cast<size_t>(i)] = scanned(pictures[static_cast<size_t>(i)], path, limits);
  });
  std::map<std::string, std::string> first;  // the picture that has this content, by its hash
  for (size_t i = 0; i < pictures.size(); ++i) {
    Scanned& now = all[i];
    if (now.problems.empty()) {
      const auto [same, is_new] = first.emplace(now.files[0].sha256, pictures[i].low);
      if (!is_new) now.problems.push_back(cat(pictures[i].low, " has the same content as ", same->second));
    }
    if (now.problems.empty()) {
      PicturePaths& picture = scan.pictures.emplace_back(pictures[i]);
      picture.low_sha256 = now.files[0].sha256;
      if (now.files.size() == 2) picture.high_sha256 = now.files[1].sha256;
      std::move(now.files.begin(), now.files.end(), std::back_inserter(scan.files));
    } else {
      ++scan.bad;
      std::move(now.problems.begin(), now.problems.end(), std::back_inserter(scan.problems));
    }
  }
  return scan;
}

}  // namespace lux
