// The tool where memory ends: under limits of all sizes, and with allocations that fail.
#include "films.h"

using namespace lux;

namespace {

ChildOptions limited(rlim_t megabytes) { return {.address_bytes = megabytes << 20}; }

/// Four small pictures in a folder photos, and how to train on them in a run folder.
class Photos : public Workplace {
 public:
  Photos() {
    fs::create_directory(path("photos"));
    for (uint64_t i = 1; i <= 4; ++i) save_noise(path(cat("photos/", i, ".png")), 40, 36, i);
  }
  ChildResult train(const std::string& model, const std::string& run_folder, const std::string& size,
                    const std::string& batch, rlim_t megabytes) const {
    return run({"train", model, "--data", "photos", "--size", size, "--batch", batch, "--progress", "none",
                "--run", run_folder, "--steps", "1"},
               limited(megabytes));
  }
};

/// Checks that a picture was enhanced, or is named in a sentence with what it needs.
void done_or_refused(const ChildResult& result) {
  CAPTURE(result.err);
  CHECK((result.code == 0 || result.code == 6));
  if (result.code == 0) return;
  const bool tried_again = contains(result.err, ": memory ran out; done with less at a time, ");
  CHECK(lines_of(result.err) == (tried_again ? 2 : 1));
  CHECK((contains(result.err, " dark.") || contains(result.err, " bright.") ||
         contains(result.err, " large.")));
  CHECK((contains(result.err, " needs at least ") || contains(result.err, " are needed")));
}

}  // namespace

TEST_CASE("the tool under every limit of memory is done, or ends with its own code and what it needs") {
  if (!limits_hold()) return;
  const Photos here;
  save_noise(here.path("dark.png"), 5000, 120);  // a wide row is more than the least limit has room for
  int done = 0, refused = 0;
  for (rlim_t megabytes = 64; megabytes <= 2048; megabytes += 64) {
    CAPTURE(megabytes);
    const ChildResult result =
        here.run({"enhance", "-i", "dark.png", "-o", "bright.png", "--overwrite", "-j2"}, limited(megabytes));
    done_or_refused(result);
    ++(result.code == 0 ? done : refused);
    if (megabytes % 256 != 64) continue;
    const ChildResult trained = here.train("zero_dce", cat("run_", megabytes), "32", "2", megabytes);
    CAPTURE(trained.err);
    CHECK((trained.code == 0 || trained.code == 6));
    CHECK(contains(trained.err, "zero_dce needs about ") == (trained.code == 6));
  }
  CHECK(done >= 20);
  MESSAGE(refused, " limits refused a picture, ", done, " were enough");
}

TEST_CASE(
    "whichever stage of a picture finds no memory, its file is named, and its size where that is known") {
  if (!limits_hold()) return;
  const Workplace here;
  const bool ffmpeg = here.run({"-version"}, {}, "/usr/bin/ffmpeg").code == 0;
  if (!ffmpeg) MESSAGE("skipped: WebP, without ffmpeg");
  const auto enhanced = [&](const std::string& format, rlim_t megabytes) {
    return here.run({"enhance", "-i", "dark." + format, "-o", "bright." + format, "-j1", "--overwrite",
                     "--progress", "none"},
                    limited(megabytes));
  };
  Image black;
  black.allocate(1500, 1000, 3, 8);
  for (const std::string format : {"jpg", "png", "bmp", "webp"}) {
    if (format == "webp" && !ffmpeg) continue;
    save_image(here.path("dark." + format), black);
    for (const unsigned megabytes : {28u, 32u, 40u, 48u, 128u, 200u}) {
      if ((megabytes > 48) != (format == "webp")) continue;
      CAPTURE(format);
      CAPTURE(megabytes);
      done_or_refused(enhanced(format, megabytes));
    }
  }
  black.allocate(6000, 4000, 3, 8);
  for (const std::string format : {"jpg", "png"}) {
    save_image(here.path("dark." + format), black);
    CHECK(contains(enhanced(format, 64).err,
                   cat("dark.", format,
                       ": no memory left for a picture of 6000 x 4000 pixels, which needs at least 72000000 "
                       "bytes; more than ")));
  }
}

// ffmpeg has hundreds of sentences for a want of memory; a sound file is not bad for any of them.
TEST_CASE("whatever ffmpeg says under a limit of memory, it counts as one, and its file is named") {
  if (!limits_hold() || without_ffmpeg()) return;
  const Workplace here;
  for (const char* name : {"in.webp", "in.tif", "in.png"}) save_noise(here.path(name), 1500, 1000);
  make_film(here, "in.mp4", "25", "0.2", {"-an"}, kDark, "640x480");
  const std::pair<std::string, std::string> works[] = {
      {"in.webp", "o.png"}, {"in.tif", "o.png"}, {"in.png", "o.webp"}, {"in.mp4", "o.mp4"}};
  for (const auto& [input, output] : works) {
    int refused = 0;
    for (const rlim_t megabytes : {28u, 32u, 100u, 280u, 300u, 320u, 440u, 512u}) {
      CAPTURE(input);
      CAPTURE(megabytes);
      const ChildResult result = here.run({input == "in.mp4" ? "video" : "enhance", "-i", input, "-o", output,
                                           "-s", "0", "--overwrite", "--progress", "none"},
                                          limited(megabytes));
      CAPTURE(result.err);
      REQUIRE((result.code == 0 || result.code == 6));
      if (result.code == 0) continue;
      ++refused;
      CHECK((contains(result.err, input + ": ") || contains(result.err, output + ": ")));
      CHECK((contains(result.err, "memory") || contains(result.err, "Resource temporarily unavailable")));
    }
    CHECK(refused >= 3);
  }
}

TEST_CASE("threads that take all memory are no reason for another error") {
  if (!limits_hold()) return;
  const Workplace here;
  save_noise(here.path("dark.png"), 64, 64);
  for (const auto& [threads, megabytes] :
       {std::pair<int, rlim_t>{8, 64}, {16, 128}, {64, 512}, {256, 1024}}) {
    CAPTURE(threads);
    done_or_refused(
        here.run({"enhance", "-i", "dark.png", "-o", "bright.png", "--overwrite", "-j", cat(threads)},
                 limited(megabytes)));
  }
}

TEST_CASE("a training that finds no memory says what it needs, as far as that can be found out") {
  if (!limits_hold()) return;
  const Photos here;
  const auto refusal_of = [&](const char* model, rlim_t megabytes) {
    const ChildResult result = here.train(model, cat(model, megabytes), "256", "8", megabytes);
    CHECK(result.code == 6);
    return result.err;
  };
  CHECK(contains(refusal_of("zero_dce", 256), "MB for a step on 8 pictures of 256 x 256 pixels"));
  CHECK(contains(refusal_of("gan", 128), "gan needs 376.7 MB for weights, gradients and moments alone"));
  CHECK(contains(refusal_of("gan", 48), "gan needs more for its weights alone"));
}

TEST_CASE("what a picture is said to need is no more than what is enough for it") {
  if (!limits_hold()) return;
  const Workplace here;
  save_noise(here.path("large.png"), 1500, 1000);
  const auto enhanced = [&](rlim_t megabytes) {
    return here.run({"enhance", "-i", "large.png", "-o", "bright.png", "--overwrite"}, limited(megabytes));
  };
  CHECK(enhanced(512).code == 0);
  int told = 0;  // some limits leave no room to find out what the network needs
  for (rlim_t limit = 30; limit <= 44; ++limit) {
    CAPTURE(limit);
    const ChildResult few = enhanced(limit);
    done_or_refused(few);
    const std::string before = "zero_dce needs at least ";
    if (!contains(few.err, before)) continue;
    ++told;
    const double megabytes = std::stod(few.err.substr(few.err.rfind(before) + before.size()));
    CHECK(megabytes > static_cast<double>(limit));
    CHECK(megabytes < 512);
  }
  CHECK(told >= 2);
}

TEST_CASE("a command that finds no memory says how much was not enough") {
  if (!limits_hold()) return;
  const Workplace here;
  for (const char* const part : {"pairs", "pairs/low", "pairs/high"}) fs::create_directory(here.path(part));
  for (const char* const part : {"low", "high"})
    save_noise(here.path(cat("pairs/", part, "/a.png")), 1600, 1200);
  const std::vector<std::vector<std::string>> commands = {
      {"evaluate", "--data", "pairs"},
      {"lut", "-i", "pairs/low/a.png", "-o", "a.cube"},
      {"pack", "pairs/low", "pairs/high", "-o", "pack.npz"},
      {"info", "zero_dce", "--size", "1600x1200", "--memory"},
      {"bench", "-n", "zero_dce", "--repeat", "1"}};
  for (const auto& command : commands) {
    CAPTURE(command[0]);
    const ChildResult result = here.run(command, limited(64));
    CAPTURE(result.err);
    CHECK(result.code == 6);
    const std::string before = "; more than ";
    REQUIRE(contains(result.err, before));
    CHECK(contains(result.err, " MB are needed"));
    const double megabytes = std::stod(result.err.substr(result.err.find(before) + before.size()));
    CHECK(megabytes > 10);
    CHECK(megabytes <= 64 * 1.048576);
  }
}

TEST_CASE("where one allocation fails, a picture is done with less at a time, and is the same") {
  if (!limits_hold()) return;
  const Workplace here;
  save_noise(here.path("dark.png"), 200, 120);
  const auto enhanced = [&](int64_t failing, const std::string& lasting) {
    return here.run({"enhance", "-i", "dark.png", "-o", "bright.png", "--overwrite"},
                    {.environment = {{"LD_PRELOAD", LUX_NO_MEMORY},
                                     {"LUX_FAILING_ALLOCATION", cat(failing)},
                                     {"LUX_FAILURES_LAST", lasting}}});
  };
  int64_t beyond = 1, within = 0;  // the last allocation
  while (enhanced(beyond, "1").code != 0) within = std::exchange(beyond, 2 * beyond);
  while (beyond - within > 8) {
    const int64_t middle = (within + beyond) / 2;
    (enhanced(middle, "1").code == 0 ? beyond : within) = middle;
  }
  const std::string expected = slurp(here.path("bright.png"));
  int smaller = 0, refused = 0;
  for (int64_t k = 1; k < beyond; k += 3) {  // few of which are at work
    CAPTURE(k);
    fs::remove(here.path("bright.png"));
    const ChildResult result = enhanced(k, "0");
    CAPTURE(result.err);
    REQUIRE((result.code == 0 || result.code == 6));
    refused += result.code == 6 ? 1 : 0;
    if (result.code == 0) CHECK(slurp(here.path("bright.png")) == expected);
    smaller += contains(result.err, "dark.png: memory ran out; done with less at a time, ") ? 1 : 0;
  }
  CHECK(smaller > 5);
  CHECK(refused > 5);
}

TEST_CASE("the tool without any memory from some allocation on still says so") {
  if (!limits_hold()) return;
  const Workplace here;
  save_noise(here.path("dark.png"));
  save_noise(here.path("in/a.png"));
  save_noise(here.path("in/b.png"));
  const std::pair<std::vector<std::string>, int> commands[] = {
      {{"--version"}, 7},  // the first ones fail before main
      {{"info", "zero_dce"}, 101},
      {{"enhance", "-i", "dark.png", "-o", "bright.png", "--overwrite"}, 53},
      {{"enhance", "-i", "in", "-o", "out/", "--overwrite"}, 53}};
  for (const auto& [command, stride] : commands) {
    int refused = 0;
    for (int64_t k = 1;; k += stride) {
      CAPTURE(command);
      CAPTURE(k);
      const ChildResult result = here.run(command, {.environment = {{"LD_PRELOAD", LUX_NO_MEMORY},
                                                                    {"LUX_FAILING_ALLOCATION", cat(k)},
                                                                    {"LUX_FAILURES_LAST", "1"}}});
      CAPTURE(result.err);
      if (result.code == 0) break;
      ++refused;
      REQUIRE(result.code == 6);
      CHECK(contains(result.err, "luxgrad: error: "));
    }
    CHECK(refused > 5);
  }
}

TEST_CASE("from 16 MB on no limit is so low that a command ends without a sentence") {
  if (!limits_hold()) return;
  const Workplace here;
  save_noise(here.path("dark.png"));
  const std::vector<std::vector<std::string>> commands = {
      {"--version"},
      {"--help"},
      {"info"},
      {"info", "zero_dce"},
      {"--wrong"},
      {"enhance", "--wrong"},
      {"enhance", "-i", "dark.png", "-o", "bright.png", "--overwrite"}};
  for (const auto& command : commands) {
    const int sound = contains(command.back(), "wrong") ? 2 : 0;
    for (rlim_t kilobytes = 16 << 10; kilobytes < 40 << 10; kilobytes += 1 << 10) {
      CAPTURE(command);
      CAPTURE(kilobytes);
      const ChildResult result = here.run(command, {.address_bytes = kilobytes << 10});
      CAPTURE(result.err);
      CHECK((result.code == sound || result.code == 6));
      if (result.code == 6) CHECK(result.err.starts_with("luxgrad: error: "));
    }
  }
}
