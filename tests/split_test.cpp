// data/split.h: parts of a dataset depend on what they should depend on, and on nothing else.
#include "luxgrad/data/split.h"

#include <algorithm>
#include <limits>
#include <set>

#include "error_of.h"
#include "listed_files.h"

using namespace lux;

namespace {

PictureList numbered(int count, const std::string& folder = "a") {
  PictureList pictures;
  for (int i = 0; i < count; ++i) {
    const std::string name = cat(100 + i, ".png");
    pictures.push_back({name, folder + "/low/" + name, folder + "/high/" + name});
  }
  return pictures;
}

Names validation_of(const PictureList& pictures, int64_t size, uint64_t seed = 0) {
  return names_of(split_by_name(pictures, size, seed).second);
}

/// Three exposures each of `scenes` scenes.
PictureList exposures(int scenes) {
  PictureList pictures;
  for (int scene = 0; scene < scenes; ++scene) {
    for (int i = 1; i <= 3; ++i)
      pictures.push_back(
          {cat(scene, "/", i, ".png"), cat("d/", scene, "/", i, ".png"), cat("d/Label/", scene, ".png")});
  }
  return pictures;
}

}  // namespace

TEST_CASE("the validation part is the end of the list") {
  const PictureList pictures{{"a", "a", ""}, {"b", "b", ""}, {"c", "c", ""}};
  const auto [train, validation] = split_dataset(pictures, 1);
  CHECK(names_of(train) == Names{"a", "b"});
  CHECK(names_of(validation) == Names{"c"});
  CHECK(split_dataset(pictures, 0).second.empty());
  CHECK(error_of([&] { split_dataset(pictures, 4); }) ==
        "split_dataset: expected a validation part of 0 to 3 pictures, got 4");
}

TEST_CASE("a split by name has the size that was asked for, whole and disjoint, in the order of the list") {
  const PictureList pictures = numbered(40);
  for (const int64_t size : {0, 1, 13, 40}) {
    const auto [train, validation] = split_by_name(pictures, size, 3);
    CHECK(validation.size() == static_cast<size_t>(size));
    CHECK(std::is_sorted(train.begin(), train.end(), [](auto& a, auto& b) { return a.name < b.name; }));
    Names all = names_of(train);
    const Names second = names_of(validation);
    CHECK(std::is_sorted(second.begin(), second.end()));
    all.insert(all.end(), second.begin(), second.end());
    std::sort(all.begin(), all.end());
    CHECK(all == names_of(pictures));
  }
  CHECK(error_of([&] { split_by_name(pictures, 41, 0); }) ==
        "split_by_name: expected a validation part of 0 to 40 pictures, got 41");
}

TEST_CASE("a split by name depends on names and seed, not on order or place") {
  const PictureList pictures = numbered(40);
  const Names chosen = validation_of(pictures, 10);
  PictureList reversed = pictures;
  std::reverse(reversed.begin(), reversed.end());
  Names from_reversed = validation_of(reversed, 10);
  std::sort(from_reversed.begin(), from_reversed.end());
  CHECK(from_reversed == chosen);
  CHECK(validation_of(numbered(40, "elsewhere"), 10) == chosen);
  CHECK(validation_of(pictures, 10, 1) != chosen);
  const Names last{"130.png", "131.png", "132.png", "133.png", "134.png",
                   "135.png", "136.png", "137.png", "138.png", "139.png"};
  CHECK(chosen != last);
  // A larger part holds the smaller one, and a picture that is taken away moves at most one other.
  const Names larger = validation_of(pictures, 20);
  CHECK(std::includes(larger.begin(), larger.end(), chosen.begin(), chosen.end()));
  PictureList fewer = pictures;
  fewer.erase(fewer.begin() + 7);
  const Names after = validation_of(fewer, 10);
  Names same;
  std::set_intersection(after.begin(), after.end(), chosen.begin(), chosen.end(), std::back_inserter(same));
  CHECK(same.size() >= 9);
}

TEST_CASE("pictures of one reference stay on one side, wherever the folder lies") {
  const PictureList pictures = exposures(8);
  const auto [train, validation] = split_by_name(pictures, 7, 5);
  CHECK(validation.size() == 9);  // whole scenes
  std::set<std::string> left, right;
  for (const PicturePaths& paths : train) left.insert(paths.high);
  for (const PicturePaths& paths : validation) right.insert(paths.high);
  for (const std::string& scene : right) CHECK_FALSE(left.contains(scene));
  PictureList moved = pictures;
  for (PicturePaths& paths : moved) paths.high.insert(0, "elsewhere/");
  CHECK(validation_of(moved, 7, 5) == names_of(validation));
}

TEST_CASE("a validation part is a share or a number") {
  CHECK(validation_size(0, 40) == 0);
  CHECK(validation_size(0.1, 40) == 4);
  CHECK(validation_size(0.1, 36) == 4);
  CHECK(validation_size(0.01, 5) == 1);
  CHECK(validation_size(1, 40) == 1);
  CHECK(validation_size(40, 40) == 40);
  for (const double wrong : {-1.0, -0.1, 1.5, 41.0, std::numeric_limits<double>::quiet_NaN()}) {
    CAPTURE(wrong);
    CHECK(error_of([&] {
            validation_size(wrong, 40);
          }).starts_with("validation: expected a share below 1 or a number of at most 40 pictures, got "));
  }
}

TEST_CASE("a list names pictures by name, without extension, or by their folder") {
  const TemporaryFolder folder;
  const std::string list = folder.path() / "list";
  const std::string text = "1/2\n3\n5/3.png";
  REQUIRE(write_file_atomically(list, {reinterpret_cast<const uint8_t*>(text.data()), text.size()}));
  const PictureListing named = select_named(exposures(6), list);
  CHECK(named.problems.empty());
  CHECK(names_of(named.pictures) == Names{"1/2.png", "3/1.png", "3/2.png", "3/3.png", "5/3.png"});
}
