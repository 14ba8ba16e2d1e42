// The scan before a training: every unreadable, damaged, repeated or mismatched picture is listed, left out
// on request, and what is learned from is known by its hashes.
#include <sys/stat.h>

#include "luxgrad/data/file.h"
#include "luxgrad/data/sha256.h"
#include "luxgrad/training/checkpoint.h"
#include "luxgrad/training/manifest.h"
#include "luxgrad/training/trainer.h"
#include "scopes.h"
#include "tool_workplace.h"

using namespace lux;

namespace {

/// A hundred sound pairs, and a bad one of every kind.
class Collection : public Workplace {
 public:
  explicit Collection(bool damaged) {
    for (const char* const part : {"low", "high"}) fs::create_directories(path(cat("data/", part)));
    for (uint64_t i = 0; i < 100; ++i) add(cat(100 + i), 34, 33, i);
    if (damaged) damage();
  }

  void add(const std::string& name, int64_t width, int64_t height, uint64_t seed) const {
    save_noise(low(name), width, height, seed);
    save_noise(high(name), width, height, seed + 1000);
  }

  std::string low(const std::string& name) const { return path("data/low/" + name + ".png"); }
  std::string high(const std::string& name) const { return path("data/high/" + name + ".png"); }

  /// The sentences that must come, in this order.
  std::vector<std::string> complaints() const {
    return {low("bad_alone") + " has no reference in " + path("data/high"),
            high("bad_orphan") + " has no dark picture in " + path("data/low"),
            low("100_repeated") + " has the same content as " + low("100"),
            low("150_empty") + ": is empty",
            high("160_cut") + ": ",
            low("170_text") + ": is not a picture that can be read, expected JPEG, PNG, BMP or PNM",
            high("170_text") + ": is empty",
            low("180_other") + " is 34 x 33, its reference 33 x 34",
            low("190_link") + ": cannot be opened: No such file or directory",
            high("191_pipe") + ": is a named pipe, expected a regular file"};
  }
  static constexpr int64_t kBad = 9;  // pairs

 private:
  void damage() const {
    for (const char* const name : {"bad_alone", "bad_orphan", "100_repeated", "150_empty", "160_cut",
                                   "170_text", "190_link", "191_pipe"})
      add(name, 34, 33, std::hash<std::string>{}(name));
    fs::remove(high("bad_alone"));
    fs::remove(low("bad_orphan"));
    fs::copy_file(low("100"), low("100_repeated"), fs::copy_options::overwrite_existing);
    spill(low("150_empty"), "");
    fs::resize_file(high("160_cut"), fs::file_size(high("160_cut")) / 2);
    spill(low("170_text"), "no picture");
    spill(high("170_text"), "");
    fs::remove(low("190_link"));
    fs::create_symlink("nowhere.png", low("190_link"));
    fs::remove(high("191_pipe"));
    REQUIRE(mkfifo(high("191_pipe").c_str(), 0600) == 0);
    save_noise(low("180_other"), 34, 33, 5001);
    save_noise(high("180_other"), 33, 34, 5002);
  }
};

std::vector<std::string> training(const std::string& run, const std::vector<std::string>& more = {}) {
  std::vector<std::string> command = {
      "train", "zero_dce_plus", "--data", "data",  "--recipe", "official", "--size", "32", "--batch",
      "8",     "--progress",    "none",   "--run", run,        "--steps",  "2"};
  command.insert(command.end(), more.begin(), more.end());
  return command;
}

/// Replaces a file as soon as the dataset was looked at.
struct Forger : TrainListener {
  Forger(std::string path, uint64_t seed) : path(std::move(path)), seed(seed) {}
  void on_start(const Facts&, int64_t, int64_t) override { save_noise(path, 34, 33, seed); }

  std::string path;
  uint64_t seed;
};

/// The lines that begin with one of the pictures' paths.
std::vector<std::string> complaints_in(const std::string& text) {
  std::vector<std::string> found;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("data/")) found.push_back(line);
  return found;
}

}  // namespace

TEST_CASE("every bad picture is listed once, and the others keep their order") {
  const Collection whole(false), damaged(true);
  const DatasetScan sound = scan_dataset(whole.path("data"));
  CHECK(sound.problems.empty());
  CHECK(sound.bad == 0);
  REQUIRE(sound.pictures.size() == 100);
  REQUIRE(sound.files.size() == 200);
  CHECK(sound.files[1].name == "high/100.png");
  CHECK(sound.files[1].width == 34);
  CHECK(sound.files[1].height == 33);
  CHECK(sound.files[1].bytes == static_cast<int64_t>(fs::file_size(whole.high("100"))));
  CHECK(sound.files[1].sha256 == sha256(read_file(whole.high("100")).value()));
  for (const int threads : {1, 2, 5}) {
    const Threads now(threads);
    const DatasetScan scan = scan_dataset(damaged.path("data"));
    CHECK(scan.bad == Collection::kBad);
    CHECK(manifest_of(scan.files) == manifest_of(sound.files));
    const std::vector<std::string> expected = damaged.complaints();
    REQUIRE(scan.problems.size() == expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      CAPTURE(scan.problems[i]);
      CHECK(scan.problems[i].starts_with(expected[i]));
    }
  }
}

TEST_CASE(
    "training lists all of them and does not begin; on request it does, as if they had not been there") {
  const Collection whole(false), damaged(true);
  for (const std::vector<std::string>& few : {std::vector<std::string>{}, {"--skip-bad", "8.2"}}) {
    const ChildResult refused = damaged.run(training("run", few));
    CAPTURE(refused.err);
    CHECK(refused.code == 3);
    CHECK(complaints_in(refused.err).size() == damaged.complaints().size());
    CHECK(contains(refused.err,
                   "data: 9 of 109 pictures are bad, as listed; --skip-bad 9 trains without them"));
    CHECK_FALSE(fs::exists(damaged.path("run")));
  }
  const ChildResult skipped = damaged.run(training("run", {"--skip-bad", "9"})),
                    without = whole.run(training("run"));
  CAPTURE(skipped.err);
  CHECK(skipped.code == 0);
  CHECK(without.code == 0);
  CHECK(complaints_in(skipped.err).size() == damaged.complaints().size());
  CHECK(contains(skipped.err, "training goes on without 9 of 109 pictures\n"));
  CHECK(slurp(damaged.path("run/manifest.jsonl")) == slurp(whole.path("run/manifest.jsonl")));
  const auto last = [](const Collection& here) {
    Checkpoint checkpoint = read_checkpoint(here.path(cat("run/checkpoints/", checkpoint_name(2)))).value();
    checkpoint.progress.jsonl_bytes = checkpoint.progress.csv_bytes = 0;  // times have more or fewer digits
    return serialize_checkpoint(checkpoint);
  };
  CHECK(last(damaged) == last(whole));
}

TEST_CASE("what has a picture's name and is no file, and a folder that cannot be listed, is listed") {
  const Workplace here;
  for (const char* const folder :
       {"data/deep/closed", "pairs/low", "pairs/high", "sice/Label", "sice/1", "sice/2"})
    fs::create_directories(here.path(folder));
  for (uint64_t i = 0; i < 10; ++i) save_noise(here.path(cat("data/", i, ".png")), 34, 33, i);
  spill(here.path("data/empty.png"), "");
  fs::create_symlink("nowhere", here.path("data/dangling.png"));
  fs::create_symlink("loop.png", here.path("data/loop.png"));
  fs::create_directory_symlink(".", here.path("data/folder.png"));
  fs::create_directory_symlink(".", here.path("data/folder"));  // has no picture's name
  REQUIRE(mkfifo(here.path("data/pipe.png").c_str(), 0600) == 0);
  save_noise(here.path("data/deep/closed/hidden.png"), 34, 33, 99);
  fs::permissions(here.path("data/deep/closed"), fs::perms::none);
  const std::vector<std::string> expected{
      "data/deep/closed: cannot be listed: Permission denied",
      "data/dangling.png: cannot be opened: No such file or directory",
      "data/empty.png: is empty (at byte 0)",
      "data/folder.png: is a directory, expected a regular file",
      "data/loop.png: cannot be opened: Too many levels of symbolic links",
      "data/pipe.png: is a named pipe, expected a regular file"};
  const ChildResult refused = here.run(training("run"), {.obedient = true});
  CHECK(refused.code == 3);
  CHECK(complaints_in(refused.err) == expected);
  CHECK(contains(refused.err, "6 of 16 pictures are bad, as listed; --skip-bad 38 trains without them\n"));
  const ChildResult skipped = here.run(training("run", {"--skip-bad", "38"}), {.obedient = true});
  CHECK(skipped.code == 0);
  CHECK(complaints_in(skipped.err) == expected);
  CHECK(lines_of(slurp(here.path("run/manifest.jsonl"))) == 10);
  fs::permissions(here.path("data/deep/closed"), fs::perms::owner_all);

  // A pair that dangles on both sides does not vanish.
  for (const char* const part : {"low", "high"}) {
    save_noise(here.path(cat("pairs/", part, "/1.png")), 34, 33, std::hash<std::string>{}(part));
    fs::create_symlink("nowhere", here.path(cat("pairs/", part, "/2.png")));
  }
  const DatasetScan pairs = scan_dataset(here.path("pairs"));
  CHECK(pairs.pictures.size() == 1);
  CHECK(pairs.bad == 1);
  CHECK(pairs.problems ==
        std::vector<std::string>{
            here.path("pairs/low/2.png") + ": cannot be opened: No such file or directory",
            here.path("pairs/high/2.png") + ": cannot be opened: No such file or directory"});

  for (const int scene : {1, 2}) {
    save_noise(here.path(cat("sice/Label/", scene, ".png")), 34, 33, 100);
    for (uint64_t i = 1; i <= 4; ++i) save_noise(here.path(cat("sice/", scene, "/", i, ".png")), 34, 33, i);
  }
  fs::permissions(here.path("sice/2"), fs::perms::none);
  std::vector<std::string> scenes = training("none", {"--dry-run"});
  scenes[3] = "sice";
  scenes[5] = "default";
  const ChildResult closed = here.run(scenes, {.obedient = true});
  CHECK(closed.code == 3);
  CHECK(contains(closed.err, "sice/2: cannot be listed: Permission denied\n"));
  CHECK(contains(closed.err, "1 of 3 pictures are bad"));
  fs::permissions(here.path("sice/2"), fs::perms::owner_all);
}

TEST_CASE("a picture that may not be read is listed") {
  const Collection here(false);
  fs::permissions(here.low("142"), fs::perms::none);
  const ChildResult result = here.run(training("run"), {.obedient = true});
  CHECK(result.code == 3);
  CHECK(complaints_in(result.err) ==
        std::vector<std::string>{"data/low/142.png: cannot be opened: Permission denied"});
  CHECK(contains(result.err, "1 of 100 pictures are bad"));
}

TEST_CASE("folders without one good picture are refused, whatever may be skipped") {
  const Workplace here;
  fs::create_directory(here.path("data"));
  CHECK(here.run(training("run", {"--skip-bad", "100"})).code == 3);
  spill(here.path("data/1.png"), "no picture");
  const ChildResult result = here.run(training("run", {"--skip-bad", "100"}));
  CHECK(result.code == 3);
  CHECK(contains(result.err, "1 of 1 pictures are bad, as listed\n"));
}

TEST_CASE("names that are no UTF-8 are trained on, resumed, known again and shown") {
  const Collection here(false);
  const std::string data = "dd\xff";
  fs::create_directory(here.path(data));
  for (const char* const name : {"a\xff", "a\xfe", "b\x1b"})
    save_noise(here.path(cat(data, "/", name, ".png")), 34, 33, std::hash<std::string>{}(name));
  const auto train = [&](const std::string& run, const std::vector<std::string>& more,
                         const char* steps = "2") {
    std::vector<std::string> command = training(run, more);
    command[3] = data;
    command[15] = steps;
    command[9] = "1";  // the batch
    return here.run(command);
  };
  CHECK(train("run\xff", {}).code == 0);
  CHECK(contains(slurp(here.path("run\xff/config.toml")), "data = \"dd\\\\xff\"\n"));
  std::vector<std::string> names;
  for (const nlohmann::json& line : json_lines(slurp(here.path("run\xff/manifest.jsonl"))))
    names.push_back(line["file"]);
  CHECK(names == std::vector<std::string>{"a\\xfe.png", "a\\xff.png", "b\\x1b.png"});
  CHECK(train("run\xff", {"--resume"}).code == 0);

  const ChildResult ruined = train("ruined", {"--lr", "1e30"}, "9");
  CHECK(ruined.code == 5);
  CHECK(contains(ruined.err, "what the step worked with: ruined/not_finite.safetensors\n"));
  const Facts facts = load_weights(here.path("ruined/not_finite.safetensors")).metadata;
  CHECK(std::find(names.begin(), names.end(), facts.at("pictures").substr(0, 9)) != names.end());

  fs::rename(here.path(data + "/a\xff.png"), here.path(data + "/a\xfd.png"));
  const ChildResult other = train("run\xff", {"--resume"});
  CHECK(other.code == 4);
  CHECK(contains(other.err, "a\\xff.png is gone, a\\xfd.png is new\n"));
}

TEST_CASE("a list that names no picture is refused, also where it would only validate") {
  const Collection here(false);
  for (const char* const text : {"", "# 100.png\n"}) {
    spill(here.path("names.txt"), text);
    for (const char* const option : {"--list", "--validation"}) {
      for (const char* const more : {"--skip-bad=100", "--dry-run"}) {
        const ChildResult refused = here.run(training("run", {option, "names.txt", more}));
        CAPTURE(option);
        CHECK(refused.code == 3);
        CHECK(contains(refused.err, "names.txt: names no picture\n"));
        CHECK_FALSE(fs::exists(here.path("run")));
      }
    }
  }
}

TEST_CASE("the manifest is one JSON object per file, and a resumed run must find the same files") {
  const Collection here(false);
  REQUIRE(here.run(training("run")).code == 0);
  const std::string manifest = slurp(here.path("run/manifest.jsonl"));
  const std::vector<nlohmann::json> lines = json_lines(manifest);
  REQUIRE(lines.size() == 200);
  CHECK(lines[2]["file"] == "low/101.png");
  CHECK(lines[2]["bytes"] == fs::file_size(here.low("101")));
  CHECK(lines[2]["width"] == 34);
  CHECK(lines[2]["sha256"] == sha256(read_file(here.low("101")).value()));

  const auto resumed = [&] { return here.run(training("run", {"--resume"})); };
  CHECK(resumed().code == 0);
  fs::rename(here.path("data"), here.path("moved"));
  std::vector<std::string> elsewhere = training("run", {"--resume"});
  elsewhere[3] = "moved";
  CHECK(here.run(elsewhere).code == 0);
  fs::rename(here.path("moved"), here.path("data"));

  save_noise(here.low("103"), 34, 33, 9077);
  fs::remove(here.low("104"));
  fs::remove(here.high("104"));
  here.add("new", 34, 33, 9078);
  const ChildResult other = resumed();
  CHECK(other.code == 4);
  CHECK(contains(other.err,
                 "the pictures are not those that the run began with: high/104.png is gone, "
                 "low/103.png has other content, low/104.png is gone, high/new.png is new, "
                 "low/new.png is new\n"));
  CHECK(slurp(here.path("run/manifest.jsonl")) == manifest);
  spill(here.path("run/manifest.jsonl"), "[1]\nnull\n");
  const ChildResult unknown = resumed();
  CHECK(unknown.code == 4);
  CHECK(contains(unknown.err, "manifest.jsonl is missing or changed"));
}

TEST_CASE("a picture that is replaced after the scan is not read, and not trained on") {
  const Collection here(false);
  const DatasetScan scan = scan_dataset(here.path("data"));
  const PicturePaths& third = scan.pictures[3];
  CHECK(third.low_sha256 == scan.files[6].sha256);
  CHECK(third.high_sha256 == scan.files[7].sha256);
  for (const std::string& path : {here.low("103"), here.high("103")}) {
    CHECK_NOTHROW(read_pair(third));
    const std::string before = slurp(path);
    save_noise(path, 34, 33, 9077);
    const std::string sentence = path + ": was replaced or changed since the dataset was looked at";
    CHECK_THROWS_WITH_AS(read_pair(third), sentence.c_str(), FileException);
    spill(path, before);
  }
  for (const std::string& path : {here.low("150"), here.high("150")}) {
    const std::string before = slurp(path);
    TrainOptions options;
    options.model = "zero_dce_plus";
    options.recipe = make_recipe("zero_dce_plus", "official");
    options.recipe.size = 32;
    options.data = here.path("data");
    options.run = here.path("run");
    options.steps = 13;
    fs::remove_all(options.run);
    Forger forger(path, 9077);
    CHECK_THROWS_AS(train(options, forger), FileException);
    CHECK_FALSE(fs::is_empty(options.run + "/checkpoints"));
    spill(path, before);
    options.resume = true;
    TrainListener nobody;
    CHECK(train(options, nobody).finished);
  }
}
