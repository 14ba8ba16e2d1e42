// data/dataset.h: folders are listed in the order of names, pairs are matched by name, and every problem is
// listed.
#include "luxgrad/data/dataset.h"

#include <doctest/doctest.h>

#include "listed_files.h"
#include "luxgrad/data/layout.h"

using namespace lux;

TEST_CASE("pictures are listed by extension in the order of their names") {
  const TemporaryFolder folder;
  const std::string root = folder.path();
  touch(root, {"b.png", "a.JPG", "10.bmp", "9.ppm", "sub/z.jpeg", "sub.png", "notes.txt", ".hidden.png",
               ".git/c.png", "-dash é\n.png"});
  fs::create_directory(folder.path() / "x.png");
  fs::create_symlink(folder.path() / "none", folder.path() / "broken.png");
  fs::create_symlink(folder.path(), folder.path() / "loop");
  CHECK(list_images(root) == Names{root + "/-dash é\n.png", root + "/10.bmp", root + "/9.ppm",
                                   root + "/a.JPG", root + "/b.png", root + "/sub.png"});
  CHECK(names_of(unpaired_folder(root)) ==
        Names{"-dash é\n.png", "10.bmp", "9.ppm", "a.JPG", "b.png", "broken.png", "sub.png", "sub/z.jpeg"});
  CHECK(unpaired_folder(root).back() == PicturePaths{"sub/z.jpeg", root + "/sub/z.jpeg", ""});
}

TEST_CASE("folders that cannot be listed or are empty are named") {
  const TemporaryFolder folder;
  const std::string root = folder.path();
  CHECK_THROWS_WITH_AS(list_images(root + "/none"),
                       (root + "/none: cannot be listed: No such file or directory").c_str(), FileException);
  touch(root, {"a.png"});
  CHECK_THROWS_WITH_AS(list_images(root + "/a.png"),
                       (root + "/a.png: cannot be listed: Not a directory").c_str(), FileException);
  fs::create_directory(folder.path() / "empty");
  CHECK_THROWS_WITH_AS(unpaired_folder(root + "/empty"), (root + "/empty: has no pictures").c_str(),
                       FileException);
}

TEST_CASE("pairs are matched by name without extension") {
  const TemporaryFolder folder;
  const std::string root = folder.path();
  touch(root, {"low/b.png", "low/a.png", "low/day/c.jpg", "high/a.jpg", "high/b.png", "high/day/c.jpg"});
  const PictureList pictures = open_dataset(root).pictures;
  REQUIRE(pictures.size() == 3);
  CHECK(pictures[0] == PicturePaths{"a.png", root + "/low/a.png", root + "/high/a.jpg"});
  CHECK(names_of(pictures) == Names{"a.png", "b.png", "day/c.jpg"});
  fs::remove_all(folder.path() / "high");
  CHECK(names_of(open_dataset(root).pictures) == Names{"low/a.png", "low/b.png", "low/day/c.jpg"});
}

TEST_CASE("every picture without partner is listed") {
  const TemporaryFolder folder;
  const std::string root = folder.path(), low = root + "/low", high = root + "/high";
  touch(root, {"low/1.png", "low/2.png", "low/2.jpg", "low/3.png", "high/2.png", "high/4.png"});
  const std::string expected = "4 problems: " + low + "/2.png and 2.jpg have the same name; " + low +
                               "/1.png has no reference in " + high + "; " + low +
                               "/3.png has no reference in " + high + "; " + high +
                               "/4.png has no dark picture in " + low;
  CHECK_THROWS_WITH_AS(paired_folder(low, high), expected.c_str(), FileException);
}
