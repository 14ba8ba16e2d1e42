// What the logs of a long run cost: they are read piece by piece, and drawn with a bounded number of points.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>

#include "child_process.h"
#include "failing_new.h"
#include "luxgrad/data/file.h"
#include "luxgrad/training/report.h"
#include "temporary_folder.h"

using namespace lux;

namespace {

/// The most bytes that f held at a time.
template <class F>
int64_t peak_of(const F& f) {
  const int64_t before = heap::bytes;
  heap::peak = before;
  f();
  return heap::peak - before;
}

std::string lines(int64_t from, int64_t to) {
  std::string text;
  for (int64_t step = from; step <= to; ++step) text += cat("1,", step, ",", 1000 - step % 100, ",0\n");
  return text;
}

/// Of the curve of that name.
int64_t points_in(const std::string& page, const std::string& name) {
  const size_t begin = page.find("points=\"", page.find(cat("<h3>", name, "</h3>")));
  return std::count(page.begin() + static_cast<std::ptrdiff_t>(begin),
                    page.begin() + static_cast<std::ptrdiff_t>(page.find("\"/>", begin)), ',');
}

}  // namespace

TEST_CASE("a report goes on reading where it stopped") {
  const TemporaryFolder folder;
  const std::string log = folder.path() / "log.csv";
  Report report(folder.path());
  CHECK(report.page({}).find(" steps</p>") == std::string::npos);
  spill(log, "epoch,step,total,skipped\n" + lines(1, 5) + "1,6,9");  // a kill cut it off
  const std::string first = report.page({{"seed", "7"}});
  CHECK(first.find("<p>5 steps</p>") != std::string::npos);
  CHECK(first.find("<td>seed</td><td>7</td>") != std::string::npos);
  CHECK(points_in(first, "total") == 5);
  CHECK(first.find("<h3>step</h3>") == std::string::npos);
  REQUIRE(append_to_file(log, "94,0\n" + lines(7, 8) + "no line of this log\n"));
  const std::string second = report.page({});
  CHECK(points_in(second, "total") == 8);
  CHECK(second == Report(folder.path()).page({}));
}

TEST_CASE("a report shows the first and the last sample, by number") {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder.path() / "samples");
  for (const char* const epoch : {"001", "999", "1000"})
    spill(folder.path() / "samples" / cat("epoch_", epoch, ".png"), epoch);
  const std::string page = Report(folder.path()).page({});
  CHECK(page.find("epoch_001.png") < page.find("epoch_1000.png"));
  CHECK(page.find("epoch_1000.png") != std::string::npos);
  CHECK(page.find("epoch_999.png") == std::string::npos);
}

TEST_CASE("a report costs no more the longer the log is") {
  const TemporaryFolder folder;
  const std::string log = folder.path() / "log.csv";
  spill(log, "epoch,step,total,skipped\n" + lines(1, 200'000));
  Report report(folder.path());
  std::string page;
  CHECK(peak_of([&] { page = report.page({}); }) < (1 << 20));
  CHECK(page.find("<p>200000 steps</p>") != std::string::npos);
  CHECK(points_in(page, "total") > 400);
  CHECK(points_in(page, "total") <= 800);
  CHECK(page.find("→") != std::string::npos);  // means of hundreds of lines are all about the same
  REQUIRE(append_to_file(log, lines(200'001, 200'010)));
  CHECK(peak_of([&] { page = report.page({}); }) < (1 << 20));
  CHECK(page.find("<p>200010 steps</p>") != std::string::npos);
}

TEST_CASE("the lines of a long log are kept without being held") {
  const TemporaryFolder folder;
  const std::string path = folder.path() / "log";
  const std::string text = lines(1, 500'000);
  spill(path, text + "cut");
  const auto length = static_cast<int64_t>(text.size());
  CHECK(peak_of([&] { CHECK(keep_lines(path, length + 3).value() == length); }) < (1 << 20));
  CHECK(slurp(path) == text);
  std::string read;
  const auto take = [&](std::span<const uint8_t> piece) {
    CHECK(piece.size() <= size_t{64} << 10);
    read.append(piece.begin(), piece.end());
  };
  CHECK(read_pieces(path, 16, 100'016, take).value() == 100'000);
  CHECK(read == text.substr(16, 100'000));
  CHECK(read_pieces(path, length - 5, length + 5, take).value() == 5);
  CHECK(read_pieces(path + "?", 0, 1, take).error().code == FileErrorCode::missing);
}
