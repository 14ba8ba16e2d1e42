// data/layout.h: published datasets are recognised by the names of their folders, and say what they are.
#include "luxgrad/data/layout.h"

#include "error_of.h"
#include "listed_files.h"

using namespace lux;

namespace {

/// A folder with these files, and what is found there.
struct Tree {
  explicit Tree(const Names& files) { touch(root, files); }
  Dataset open(const std::string& below = "", const DatasetOptions& options = {}) const {
    return open_dataset(below.empty() ? root : root + "/" + below, options);
  }
  TemporaryFolder folder;
  std::string root = folder.path();
};

const DatasetOptions kEvaluation{.part = DatasetPart::evaluation};

}  // namespace

TEST_CASE("LOL v1 has a part for training and one for evaluation") {
  const Tree lol({"our485/low/10.png", "our485/low/2.png", "our485/high/10.png", "our485/high/2.png",
                  "eval15/low/1.png", "eval15/high/1.png"});
  const Dataset training = lol.open();
  CHECK(names_of(training.pictures) == Names{"10.png", "2.png"});
  CHECK(training.pictures[1].high == lol.root + "/our485/high/2.png");
  CHECK(training.found == "2 pairs of our485/low and our485/high (LOL v1)");
  const Dataset evaluation = lol.open("", kEvaluation);
  CHECK(names_of(evaluation.pictures) == Names{"1.png"});
  CHECK(evaluation.found == "1 pair of eval15/low and eval15/high (LOL v1)");
  CHECK(lol.open("our485").found == "2 pairs of low and high");
  CHECK(lol.open("our485", kEvaluation).found == "2 pairs of low and high");
  CHECK(has_references(lol.root));
}

TEST_CASE("parts and sides have other names, in any case") {
  const Tree tree({"Train/input/1.png", "Train/target/1.png", "Test/input/2.png", "Test/target/2.png"});
  CHECK(tree.open().found == "1 pair of Train/input and Train/target");
  CHECK(names_of(tree.open("", kEvaluation).pictures) == Names{"2.png"});
  const Tree other({"train/LOW/1.png", "train/HIGH/1.png", "eval/low/2.png", "eval/high/2.png"});
  CHECK(names_of(other.open().pictures) == Names{"1.png"});
  CHECK(names_of(other.open("", kEvaluation).pictures) == Names{"2.png"});
  const Tree pix({"low/1.png", "ground_truth/1.png"});
  CHECK(pix.open().found == "1 pair of low and ground_truth");
}

TEST_CASE("LOL v2 pairs numbers, and its two halves are two datasets") {
  const Tree lol({"Real_captured/Train/Low/low00001.png", "Real_captured/Train/Normal/normal00001.png",
                  "Real_captured/Test/Low/low00690.png", "Real_captured/Test/Normal/normal00690.png",
                  "Synthetic/Train/Low/r1.png", "Synthetic/Train/Normal/r1.png"});
  const Dataset real = lol.open("Real_captured");
  REQUIRE(real.pictures.size() == 1);
  CHECK(real.pictures[0].name == "low00001.png");
  CHECK(real.pictures[0].high == lol.root + "/Real_captured/Train/Normal/normal00001.png");
  CHECK(real.found == "1 pair of Train/Low and Train/Normal (LOL v2)");
  CHECK(names_of(lol.open("Real_captured", kEvaluation).pictures) == Names{"low00690.png"});
  CHECK(names_of(lol.open("Synthetic").pictures) == Names{"r1.png"});
  CHECK(error_of([&] { lol.open(); }) == lol.root + ": holds Real_captured and Synthetic; name one of them");
  CHECK(error_of([&] { lol.open("Synthetic", kEvaluation); }) ==
        lol.root + "/Synthetic: has no part for evaluation, only Train");
  CHECK(has_references(lol.root + "/Synthetic"));
}

TEST_CASE("a prefix is taken off a number only, and only the folder's own") {
  const Tree tree({"low/lowland.png", "high/lowland.png", "low/low1.png", "high/low1.png"});
  // high/low1 keeps its name, low/low1 is 1
  CHECK(error_of([&] { tree.open(); }) == "2 problems: " + tree.root + "/low/low1.png has no reference in " +
                                              tree.root + "/high; " + tree.root +
                                              "/high/low1.png has no dark picture in " + tree.root + "/low");
}

TEST_CASE("SICE: the darker half of the exposures of every scene, with its label") {
  const Tree sice({"Dataset_Part1/1/1.JPG", "Dataset_Part1/1/2.JPG", "Dataset_Part1/1/3.JPG",
                   "Dataset_Part1/1/4.JPG", "Dataset_Part1/1/5.JPG", "Dataset_Part1/1/6.JPG",
                   "Dataset_Part1/1/7.JPG", "Dataset_Part1/10/2.JPG", "Dataset_Part1/10/11.JPG",
                   "Dataset_Part1/2/1.png", "Dataset_Part1/Label/1.JPG", "Dataset_Part1/Label/10.PNG",
                   "Dataset_Part1/Label/2.JPG", "Dataset_Part2/5/1.JPG", "Dataset_Part2/Label/5.JPG"});
  const Dataset part = sice.open();
  CHECK(names_of(part.pictures) == Names{"1/1.JPG", "1/2.JPG", "1/3.JPG", "10/2.JPG", "2/1.png"});
  for (const PicturePaths& paths : part.pictures) {
    const std::string scene = paths.name.substr(0, paths.name.find('/'));
    CHECK(fs::path(paths.high).stem() == scene);
    CHECK(fs::path(paths.high).parent_path() == sice.root + "/Dataset_Part1/Label");
  }
  CHECK(part.found == "5 dark exposures of 3 scenes in Dataset_Part1/ with labels (SICE)");
  CHECK(sice.open("", {.all_exposures = true}).pictures.size() == 10);
  CHECK(names_of(sice.open("", kEvaluation).pictures) == Names{"5/1.JPG"});
  CHECK(sice.open("Dataset_Part2").found == "1 dark exposure of 1 scene with labels (SICE)");
}

TEST_CASE("SICE: scenes without label, labels without scene, two labels of one are listed") {
  const Tree sice({"1/1.JPG", "2/1.JPG", "Label/1.JPG", "Label/1.PNG", "Label/3.JPG"});
  CHECK(error_of([&] { sice.open(); }) == "3 problems: " + sice.root + "/Label/1.PNG and " + sice.root +
                                              "/Label/1.JPG are labels of one scene; " + sice.root +
                                              "/2 has no label in " + sice.root + "/Label; " + sice.root +
                                              "/Label/3.JPG has no exposures in " + sice.root + "/3");
}

TEST_CASE("anything else is pictures without references") {
  const Tree tree({"train/a.png", "test/b.png", "c.png"});
  CHECK(names_of(tree.open().pictures) == Names{"c.png", "test/b.png", "train/a.png"});
  CHECK(tree.open().found == "3 pictures without references");
  CHECK_FALSE(has_references(tree.root));
  CHECK_FALSE(has_references(tree.root + "/absent"));
  const Tree pairs({"low/a.png", "high/a.png"});
  CHECK(pairs.open("", {.references = false}).found == "2 pictures without references");
  const Tree nothing({"low/a.txt", "high/a.txt"});
  CHECK(error_of([&] { nothing.open(); }) == nothing.root + ": has no pictures");
}

TEST_CASE("a list of names keeps these pictures only, and what it names must be there") {
  const Tree tree({"low/1.png", "low/2.png", "low/3.png", "high/1.png", "high/2.png", "high/3.png"});
  const std::string list = tree.root + "/list.txt";
  const auto write = [&](const std::string& text) {
    REQUIRE(write_file_atomically(list, {reinterpret_cast<const uint8_t*>(text.data()), text.size()}));
  };
  write("3.png\n# not this: 2\n\n1\r\n");
  const Dataset some = tree.open("", {.names = list});
  CHECK(names_of(some.pictures) == Names{"1.png", "3.png"});
  CHECK(some.found == "3 pairs of low and high, 2 of them named in " + list);
  write("3.png\n4\n");
  CHECK(error_of([&] { tree.open("", {.names = list}); }) ==
        "1 problem: " + list + ": there is no picture \"4\"");
  CHECK(error_of([&] { tree.open("", {.names = list + "x"}); }).starts_with(list + "x: cannot be opened"));
}
