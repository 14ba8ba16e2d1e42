#include "luxgrad/data/layout.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>

#include "luxgrad/data/file.h"
#include "luxgrad/data/picture_pack.h"
#include "luxgrad/data/split.h"

namespace lux {
namespace {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

const Names kLow{"low", "input"}, kHigh{"high", "normal", "target", "ground_truth", "gt"}, kLabel{"label"};
const Names kTraining{"our485", "train", "dataset_part1"};
const Names kEvaluation{"eval15", "test", "eval", "val", "dataset_part2"};
const Names kLolV2{"real_captured", "synthetic"};

Names subfolders(const fs::path& folder) {
  Names names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code unknown;
    const std::string name = entry->path().filename();
    if (!name.starts_with('.') && entry->is_directory(unknown)) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// The first of the wanted names that is there, in the case that it has there.
std::optional<std::string> find(const Names& there, const Names& wanted) {
  for (const std::string& name : wanted) {
    for (const std::string& candidate : there)
      if (lower_case(candidate) == name) return candidate;
  }
  return std::nullopt;
}

/// What a folder is, by the names in it.
struct Place {
  enum class Kind { pack, pairs, exposures, alone } kind = Kind::alone;
  fs::path folder{};
  std::string part{};         ///< with a slash, for people
  std::string low{}, high{};  ///< folders of pairs; `high` of the labels of exposures
};

Place look_at(const fs::path& folder) {
  const Names there = subfolders(folder);
  const auto low = find(there, kLow), high = find(there, kHigh), label = find(there, kLabel);
  if (low && high) return {Place::Kind::pairs, folder, "", *low, *high};
  if (label && there.size() > 1) return {Place::Kind::exposures, folder, "", "", *label};
  return {Place::Kind::alone, folder};
}

/// The place below `path` that holds the pictures of this part. Throws FileException.
Place recognise(const fs::path& path, DatasetPart part) {
  std::error_code unknown;
  if (lower_case(path.extension()) == ".npz" && !fs::is_directory(path, unknown))
    return {Place::Kind::pack, path};
  Place here = look_at(path);
  if (here.kind != Place::Kind::alone) return here;
  const Names there = subfolders(path);
  const auto refuse_path = [&](const std::string& reason) {
    throw FileException({FileErrorCode::unsupported, path, -1, reason});
  };
  std::map<DatasetPart, std::string> parts;
  for (const auto& [which, names] :
       {std::pair(DatasetPart::training, kTraining), std::pair(DatasetPart::evaluation, kEvaluation)}) {
    const auto name = find(there, names);
    if (name && look_at(path / *name).kind != Place::Kind::alone) parts[which] = *name;
  }
  if (!parts.empty()) {
    if (!parts.contains(part)) {
      refuse_path(cat("has no part for ", part == DatasetPart::training ? "training" : "evaluation",
                      ", only ", parts.begin()->second));
    }
    Place place = look_at(path / parts[part]);
    place.part = parts[part] + "/";
    return place;
  }
  const auto real = find(there, {kLolV2[0]}), synthetic = find(there, {kLolV2[1]});
  if (real && synthetic) refuse_path(cat("holds ", *real, " and ", *synthetic, "; name one of them"));
  return here;
}

std::string counted(size_t n, const char* one) { return cat(n, " ", one, n == 1 ? "" : "s"); }

/// The number of an exposure is the name of its file; other names stand in the order of their letters.
bool darker(const fs::path& a, const fs::path& b) {
  const std::string left = a.stem(), right = b.stem();
  const auto number = [](const std::string& text) {
    return text.find_first_not_of("0123456789") == std::string::npos;
  };
  if (number(left) && number(right) && left.size() != right.size()) return left.size() < right.size();
  return left < right;
}

/// The pictures of a scene; a folder that cannot be listed is a problem.
Names pictures_of(const std::string& scene, std::vector<std::string>& problems) {
  try {
    Names names;
    for (const PicturePaths& picture : list_alone(scene, false).pictures) names.push_back(picture.low);
    return names;
  } catch (const FileException& closed) {
    problems.emplace_back(closed.what());
    return {};
  }
}

PictureListing exposures(const Place& place, bool all, size_t& scenes) {
  PictureListing listing;
  const fs::path label_folder = place.folder / place.high;
  std::map<std::string, std::string> labels;
  for (const std::string& label : list_images(label_folder)) {
    const auto [same, is_new] = labels.emplace(fs::path(label).stem(), label);
    if (!is_new) listing.problems.push_back(cat(label, " and ", same->second, " are labels of one scene"));
  }
  scenes = 0;
  for (const std::string& scene : subfolders(place.folder)) {
    if (scene == place.high) continue;
    const size_t known = listing.problems.size();
    Names pictures = pictures_of(place.folder / scene, listing.problems);
    const auto label = labels.find(scene);
    if (pictures.empty()) {
      if (listing.problems.size() > known && label != labels.end()) labels.erase(label);  // said once
      continue;
    }
    if (label == labels.end()) {
      listing.problems.push_back(
          cat((place.folder / scene).native(), " has no label in ", label_folder.native()));
      continue;
    }
    std::sort(pictures.begin(), pictures.end(), darker);
    if (!all) pictures.resize(std::max<size_t>(1, pictures.size() / 2));
    for (const std::string& picture : pictures)
      listing.pictures.push_back({fs::path(scene) / fs::path(picture).filename(), picture, label->second});
    labels.erase(label);
    ++scenes;
  }
  for (const auto& [scene, label] : labels)
    listing.problems.push_back(cat(label, " has no exposures in ", (place.folder / scene).native()));
  sort_by_name(listing.pictures);
  return listing;
}

Dataset opened_pack(const std::string& path) {
  const auto pack =
      std::make_shared<const PicturePack>(parse_picture_pack(read_file(path).value()).in_file(path).value());
  Dataset dataset;
  const auto digits = std::to_string(pack->size() - 1).size();
  for (int64_t i = 0; i < pack->size(); ++i) {
    std::string number = std::to_string(i);
    number.insert(0, digits - number.size(), '0');  // so that names have the order of the pictures
    dataset.pictures.push_back({number, path, path, pack, i});
  }
  dataset.found = cat(counted(dataset.pictures.size(), "pair"), " of ", pack->width(), " x ", pack->height(),
                      " in ", fs::path(path).filename().native());
  return dataset;
}

Dataset opened_pairs(const Place& place) {
  PictureListing listing = match_pairs(place.folder / place.low, place.folder / place.high);
  std::string text = cat(counted(listing.pictures.size(), "pair"), " of ", place.part, place.low, " and ",
                         place.part, place.high);
  const std::string part = lower_case(place.part);
  if (part == "our485/" || part == "eval15/") text += " (LOL v1)";
  if (lower_case(place.high) == "normal") text += " (LOL v2)";
  return {std::move(listing.pictures), std::move(listing.problems), text};
}

Dataset opened_exposures(const Place& place, bool all) {
  size_t scenes = 0;
  PictureListing listing = exposures(place, all, scenes);
  const std::string text =
      cat(counted(listing.pictures.size(), all ? "exposure" : "dark exposure"), " of ",
          counted(scenes, "scene"), place.part.empty() ? "" : cat(" in ", place.part), " with labels (SICE)");
  return {std::move(listing.pictures), std::move(listing.problems), text};
}

Dataset opened_folder(const std::string& folder) {
  PictureListing listing = list_alone(folder);
  Dataset dataset{std::move(listing.pictures), std::move(listing.problems), {}};
  dataset.found = counted(dataset.pictures.size(), "picture") + " without references";
  return dataset;
}

Dataset opened(const Place& place, const DatasetOptions& options) {
  switch (place.kind) {
    case Place::Kind::pack:
      return opened_pack(place.folder);
    case Place::Kind::pairs:
      return opened_pairs(place);
    case Place::Kind::exposures:
      return opened_exposures(place, options.all_exposures);
    default:
      return opened_folder(place.folder);
  }
}

}  // namespace

Dataset find_dataset(const std::string& path, const DatasetOptions& options) {
  const Place place = options.references ? recognise(path, options.part) : Place{.folder = path};
  Dataset dataset = opened(place, options);
  if (dataset.pictures.empty() && dataset.problems.empty())
    throw FileException({FileErrorCode::missing, path, -1, "has no pictures"});
  if (!options.names.empty()) {
    PictureListing named = select_named(dataset.pictures, options.names);
    dataset.found += cat(", ", named.pictures.size(), " of them named in ", options.names);
    dataset.pictures = std::move(named.pictures);
    dataset.problems.insert(dataset.problems.end(), named.problems.begin(), named.problems.end());
  }
  return dataset;
}

Dataset open_dataset(const std::string& path, const DatasetOptions& options) {
  Dataset dataset = find_dataset(path, options);
  dataset.pictures = sound({std::move(dataset.pictures), dataset.problems});
  return dataset;
}

bool has_references(const std::string& path) {
  for (const DatasetPart part : {DatasetPart::training, DatasetPart::evaluation}) {
    try {
      if (recognise(path, part).kind != Place::Kind::alone) return true;
    } catch (const FileException&) {  // the other part only, or two datasets
    }
  }
  return false;
}

}  // namespace lux
