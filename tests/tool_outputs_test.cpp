// What luxgrad enhance, lut and video write beside results: curves, pages, looks, tables. None of it replaces
// what the command reads, or, unasked, what is there. The real binary runs as a child.
#include "tool_workplace.h"

using namespace lux;

namespace {

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("nothing that is written beside results replaces an input, however it is named") {
  const Workplace here;
  const std::unique_ptr<Model> guided = make_model("reference_guided");
  guided->init_(Generator{7});
  save_safetensors(here.path("reference_guided.safetensors"), {guided->state_dict(), to_metadata(*guided)});
  save_noise(here.path("dark.png"));
  const std::string bytes = slurp(here.path("dark.png"));
  const auto named = [&](const std::string& name) { spill(here.path(name), bytes); };
  const auto refused = [&](const std::string& input, const Names& command) {
    for (const bool overwrite : {false, true}) {
      Names all = command;
      if (overwrite) all.emplace_back("--overwrite");
      const ChildResult result = here.run(all);
      INFO(input, ": ", result.err);
      CHECK(result.code == 2);
      CHECK(contains(result.err, "is an input, and inputs are never overwritten"));
      CHECK(slurp(here.path(input)) == bytes);
      CHECK_FALSE(fs::exists(here.path("y.png")));
    }
  };
  named("x.png_curve_1.png");
  refused("x.png_curve_1.png", {"enhance", "x.png_curve_1.png", "-o", "y/x.png", "--save-curves", "."});
  fs::create_symlink(here.path("dark.png"), here.path("y.png_curve_8.png"));
  fs::create_hard_link(here.path("dark.png"), here.path("z.png_curves.npz"));
  refused("dark.png", {"enhance", "dark.png", "-o", "y.png", "--save-curves", "in/.."});
  refused("dark.png", {"enhance", "dark.png", "-o", "z.png", "--save-curves", "."});
  named("page.html");
  fs::create_symlink(here.path("page.html"), here.path("link.html"));
  refused("page.html", {"enhance", "page.html", "-o", "y.png", "--compare", "page.html"});
  refused("page.html", {"enhance", "page.html", "-o", "y.png", "--compare", "link.html"});
  named("photo.cube");
  refused("photo.cube", {"lut", "-i", "photo.cube", "-o", "photo.cube"});
  fs::create_symlink(here.path("dark.png"), here.path("link.cube"));
  refused("dark.png", {"lut", "-i", "dark.png", "-o", "link.cube"});
  named("bright.png");
  const Names guide = {"-n", "reference_guided", "--reference", "bright.png"};
  const auto with_guide = [&](Names command) {
    command.insert(command.end(), guide.begin(), guide.end());
    return command;
  };
  refused("bright.png", with_guide({"enhance", "dark.png", "-o", "bright.png"}));
  refused("bright.png", with_guide({"enhance", "dark.png", "-o", "y.png", "--save-look", "bright.png"}));
  refused("dark.png", with_guide({"enhance", "dark.png", "-o", "y.png", "--save-look", "dark.png"}));
  refused("bright.png", with_guide({"lut", "dark.png", "-o", "y.cube", "--save-look", "bright.png"}));
  named("film.y4m");
  refused("film.y4m", {"video", "-i", "film.y4m", "-o", "film.y4m"});
  refused("film.y4m", with_guide({"video", "-i", "film.y4m", "-o", "y.y4m", "--save-look", "film.y4m"}));
  const std::string weights = slurp(here.path("zero_dce.safetensors"));
  CHECK(here.run({"enhance", "dark.png", "-o", "zero_dce.safetensors", "-f", "png", "--overwrite", "-m",
                  "zero_dce.safetensors"})
            .code == 2);
  CHECK(slurp(here.path("zero_dce.safetensors")) == weights);
}

TEST_CASE("what exists beside results is replaced on request only") {
  const Workplace here;
  save_noise(here.path("dark.png"));
  spill(here.path("page.html"), "precious");
  fs::create_directory(here.path("curves"));
  spill(here.path("curves/y.png_curve_3.png"), "precious");
  const auto enhance = [&](Names more) {
    more.insert(more.begin(), {"enhance", "dark.png", "-o", "y.png"});
    return here.run(more).code;
  };
  CHECK(enhance({"--compare", "page.html"}) == 2);
  CHECK(slurp(here.path("page.html")) == "precious");
  CHECK(enhance({"--save-curves", "curves"}) == 2);
  CHECK(here.files("curves") == Names{"y.png_curve_3.png"});
  CHECK_FALSE(fs::exists(here.path("y.png")));
  // Left where existing outputs are left, while the rest is made.
  CHECK(enhance({"--save-curves", "curves", "--skip-existing", "--compare", "page.html"}) == 0);
  CHECK(here.files("curves").size() == 9);
  CHECK(slurp(here.path("curves/y.png_curve_3.png")) == "precious");
  CHECK(slurp(here.path("page.html")) == "precious");
  CHECK(enhance({"--save-curves", "curves", "--overwrite", "--compare", "page.html"}) == 0);
  CHECK(load_image(here.path("curves/y.png_curve_3.png")).width == 12);
  CHECK(contains(slurp(here.path("page.html")), "type=\"range\""));
  CHECK(here.run({"enhance", "dark.png", "-f", "png", "-o", "same.html", "--compare", "./same.html"}).code ==
        2);
  CHECK(here.run({"enhance", "--watch", "absent", "-o", "out", "--compare", "page.html"}).code == 2);
}

TEST_CASE("a folder that is missing is said before the work, not after it") {
  const Workplace here;
  spill(here.path("bad.png"), "no picture");  // which would be the first thing to say of the work
  save_noise(here.path("dark.png"));
  const auto refused = [&](const std::string& output, const Names& command) {
    const ChildResult result = here.run(command);
    CHECK(result.code == 6);
    CHECK(result.out == "");
    CHECK(result.err == cat("luxgrad: error: ", output, "\n"));
  };
  refused("none/x.png: cannot be created: No such file or directory",
          {"enhance", "bad.png", "-o", "none/x.png"});
  refused("bad.png/x.png: cannot be created: Not a directory", {"enhance", "bad.png", "-o", "bad.png/x.png"});
  refused("none/x.html: cannot be created: No such file or directory",
          {"enhance", "bad.png", "-o", "x.png", "--compare", "none/x.html"});
  refused("none/x.cube: cannot be created: No such file or directory",
          {"lut", "bad.png", "-o", "none/x.cube"});
  refused("none/x.npz: cannot be created: No such file or directory",
          {"pack", "nowhere", "nowhere", "-o", "none/x.npz"});
  fs::create_directory(here.path("pairs"));
  fs::rename(here.path("dark.png"), here.path("pairs/dark.png"));
  refused("none/x.csv: cannot be created: No such file or directory",
          {"evaluate", "--low", "pairs", "--high", "pairs", "--csv", "none/x.csv"});
}

TEST_CASE("curves of pictures with one name stay apart, and are no inputs of the next run") {
  const Workplace here;
  fs::create_directories(here.path("in/deep"));
  save_noise(here.path("in/a.png"));
  save_noise(here.path("in/a.bmp"), 7, 6);
  save_noise(here.path("in/deep/a.png"), 5, 4);
  const Names command = {"enhance", "-i", "in", "-o", "out", "--recursive", "--save-curves", "in/curves"};
  CHECK(here.run(command).code == 0);
  CHECK(here.files("in/curves").size() == 27);
  CHECK(load_image(here.path("in/curves/a.png_curve_1.png")).width == 12);
  CHECK(load_image(here.path("in/curves/a.bmp_curve_1.png")).width == 7);
  CHECK(load_image(here.path("in/curves/deep/a.png_curve_1.png")).width == 5);
  Names again = command;
  again.emplace_back("--overwrite");
  CHECK(here.run(again).code == 0);
  CHECK(here.files("out") == Names{"a.bmp", "a.png", "deep/a.png"});
  fs::remove_all(here.path("in/curves/deep"));
  fs::create_directories(here.path("elsewhere"));
  fs::create_directory_symlink(here.path("elsewhere"), here.path("in/curves/deep"));
  CHECK(here.run(again).code == 1);
  CHECK(here.files("elsewhere").empty());
}

TEST_CASE("a signal in the middle of a folder says how far the work has come") {
  const Workplace here;
  fs::create_directory(here.path("in"));
  save_noise(here.path("in/a.png"), 8, 8);
  for (const char* name : {"in/b.png", "in/c.png"}) save_noise(here.path(name), 1500, 1000);
  const std::string log = here.path("log");
  const ChildResult result = here.run({"enhance", "in", "-o", "out/", "--json", "-j", "1"},
                                      {.output = log, .interruption = {.file = log}});
  INFO(result.err);
  CHECK(result.code == 128 + SIGINT);
  CHECK(contains(result.err,
                 "luxgrad: stopped: 1 of 3 pictures are done, and --skip-existing goes on from there\n"));
}

TEST_CASE("a signal ends the work at once, and leaves no part of a file") {
  const Workplace here;
  save_noise(here.path("large.png"), 1500, 1000);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    CAPTURE(signal);
    const std::string out = cat("out_", signal);
    fs::create_directory(here.path(out));
    const ChildResult result = here.run({"enhance", "large.png", "-o", out + "/"},
                                        {.interruption = {.file = here.path(out), .signals = {signal}}});
    CHECK(result.code == 128 + signal);
    for (const std::string& name : here.files(out)) {  // it may have come too late
      CHECK(name == "large.png");
      CHECK(load_image(here.path(cat(out, "/", name))).width == 1500);
    }
  }
}
