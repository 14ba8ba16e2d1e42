// luxgrad enhance: the files it reads, writes, and leaves alone. The real binary runs as a child.
#include <cmath>

#include "luxgrad/kernels/cpu/isa.h"
#include "luxgrad/tensor/cuda.h"
#include "terminal.h"
#include "tool_workplace.h"

using namespace lux;

TEST_CASE("a wrong option of the network and a strength that is no number are usage") {
  const Workplace here;
  save_noise(here.path("dark.png"));
  const auto code = [&](const std::vector<std::string>& more) {
    std::vector<std::string> command = {"enhance", "-i", "dark.png", "-o", "out.png", "-n", "zero_dce"};
    command.insert(command.end(), more.begin(), more.end());
    return here.run(command).code;
  };
  CHECK(code({"-s", "nan"}) == 2);
  CHECK(code({"--option", "concat=foo"}) == 2);
  CHECK(code({"--option", "foo=bar"}) == 2);
  CHECK(code({"--scale-factor", "3"}) == 2);
  CHECK(code({}) == 0);
}

TEST_CASE("one picture: same size, silent, the same bytes for every number of threads") {
  const Workplace here;
  for (const auto& [width, height] : {std::pair{1, 1}, {37, 60}, {400, 3}, {3, 41}}) {
    save_noise(here.path("dark.png"), width, height);
    for (const char* model : {"zero_dce", "zero_dce_plus"}) {
      const ChildResult one =
          here.run({"enhance", "-i", "dark.png", "-o", "one.png", "-n", model, "-j", "1", "--overwrite"});
      const ChildResult five =
          here.run({"enhance", "dark.png", "-o", "five.png", "-n", model, "-j", "5", "--overwrite"});
      CHECK(one.code == 0);
      CHECK(one.out.empty());
      CHECK(one.err.empty());
      CHECK(five.code == 0);
      CHECK(slurp(here.path("one.png")) == slurp(here.path("five.png")));
      const Image image = load_image(here.path("one.png"));
      CHECK(image.width == width);
      CHECK(image.height == height);
    }
  }
}

TEST_CASE("precisions that are none here are usage; bf16 says how near it is, or that it is none") {
  const Workplace here;
  save_noise(here.path("dark.png"), 50, 40);
  const auto enhanced = [&](const char* precision, const std::string& output) {
    return here.run(
        {"enhance", "dark.png", "-n", "zero_dce_plus", "-g", "cpu", "--precision", precision, "-o", output});
  };
  for (const auto& [name, message] : {std::pair{"half", "expected exact, fp32, tf32 or bf16, got half"},
                                      {"tf32", "only CUDA devices have tf32"}}) {
    const ChildResult result = enhanced(name, "no.png");
    CHECK(result.code == 2);
    CHECK(contains(result.err, message));
  }
  const bool has_pairs = cpu::isa() != nullptr && cpu::isa()->pairs != nullptr;
  const ChildResult coarse = enhanced("bf16", "bf16.png");
  CHECK(coarse.code == 0);
  CHECK(contains(coarse.err, has_pairs ? " dB from exact on a probe picture" : "no products of bf16"));
  for (const char* const name : {"exact", "fp32"}) {
    const ChildResult result = enhanced(name, cat(name, ".png"));
    CHECK(result.code == 0);
    CHECK(result.err.empty());
  }
  const auto values = [&](const char* name) { return to_tensor(load_image(here.path(name))).to_vector(); };
  const std::vector<double> exact = values("exact.png");
  for (const auto& [name, most] : {std::pair{"fp32.png", 1}, {"bf16.png", 3}}) {
    const std::vector<double> other = values(name);
    for (size_t i = 0; i < exact.size(); ++i) CHECK(255 * std::fabs(other[i] - exact[i]) <= most + 0.01);
  }
}

TEST_CASE("a network that bf16 would spoil runs in fp32, and says so") {
  if (cpu::isa() == nullptr || cpu::isa()->pairs == nullptr) {
    MESSAGE("skipped: this processor has no products of bf16");
    return;
  }
  const Workplace here;
  save_wild(here.path("wild.safetensors"));
  save_noise(here.path("dark.png"), 50, 40);
  const auto enhanced = [&](const char* precision, const char* output) {
    return here.run({"enhance", "dark.png", "-m", "wild.safetensors", "-g", "cpu", "--precision", precision,
                     "-o", output});
  };
  const ChildResult result = enhanced("bf16", "bf16.png");
  CHECK(result.code == 0);
  CHECK(contains(result.err, "; fp32 it is"));
  CHECK(enhanced("fp32", "fp32.png").code == 0);
  CHECK(slurp(here.path("bf16.png")) == slurp(here.path("fp32.png")));
}

TEST_CASE("a picture whose result is not finite in bf16 is done again in f32, and said to be") {
  std::vector<std::string> devices;
  if (cpu::isa() != nullptr && cpu::isa()->pairs != nullptr) devices.emplace_back("cpu");
  if (cuda::absence().empty()) devices.emplace_back("cuda:0");
  if (devices.empty()) MESSAGE("skipped: this processor has no products of bf16");
  const Workplace here;
  save_near_the_edge(here.path("edge.safetensors"));
  for (const char* const name : {"in/0.png", "in/2.png"}) save_noise(here.path(name), 50, 40);
  Image white = noise(50, 40);
  std::fill(white.samples.begin(), white.samples.end(), uint8_t{255});
  save_image(here.path("in/1.png"), white);
  for (const std::string& device : devices) {
    for (const std::vector<std::string>& how :
         {std::vector<std::string>(), {"--augment"}, {"--save-curves", "curves", "--overwrite"}}) {
      CAPTURE(device);
      const auto enhanced = [&](const char* precision, const std::string& input) {
        std::vector<std::string> command = {
            "enhance",     input,     "-m", "edge.safetensors",  "-g",         device,
            "--precision", precision, "-o", cat(precision, "/"), "--overwrite"};
        command.insert(command.end(), how.begin(), how.end());
        return here.run(command);
      };
      const ChildResult result = enhanced("bf16", "in");
      INFO(result.err);
      CHECK(result.code == 0);
      const std::string said = "1.png: done in exact f32, for the network's result is not finite in bf16\n";
      CHECK(contains(result.err, said));
      CHECK(result.err.find("not finite") == result.err.rfind("not finite"));
      CHECK(enhanced("exact", "in/1.png").code == 0);
      CHECK(slurp(here.path("bf16/1.png")) == slurp(here.path("exact/1.png")));
      const std::string after = slurp(here.path("bf16/2.png"));
      CHECK(after == slurp(here.path("bf16/0.png")));  // as before it
    }
  }
}

TEST_CASE("alpha and 16 bits are kept, and strength 0 changes nothing") {
  const Workplace here;
  const Image before = noise(10, 8, 4, 16);
  save_image(here.path("in/deep.png"), before);
  CHECK(here.run({"enhance", "-i", "in/deep.png", "-o", "same.png", "-s", "0"}).code == 0);
  CHECK(load_image(here.path("same.png")).samples == before.samples);
  CHECK(here.run({"enhance", "-i", "in/deep.png", "-o", "bright.png"}).code == 0);
  const Image after = load_image(here.path("bright.png"));
  CHECK(after.bits == 16);
  REQUIRE(after.channels == 4);
  CHECK(after.samples != before.samples);
  for (size_t pixel = 0; pixel < 80; ++pixel) {
    CHECK(after.samples[pixel * 8 + 6] == before.samples[pixel * 8 + 6]);
    CHECK(after.samples[pixel * 8 + 7] == before.samples[pixel * 8 + 7]);
  }
  CHECK(here.run({"enhance", "-i", "in/deep.png", "-o", "both.png", "--compare"}).code == 0);
  CHECK(load_image(here.path("both.png")).width == 21);
}

TEST_CASE("outputs are not replaced silently, inputs never") {
  const Workplace here;
  save_noise(here.path("dark.png"));
  spill(here.path("out.png"), "precious");
  const std::string input = slurp(here.path("dark.png"));

  const ChildResult refused = here.run({"enhance", "-i", "dark.png", "-o", "out.png"});
  CHECK(refused.code == 2);
  CHECK(contains(refused.err, "--overwrite"));
  save_noise(here.path("other.png"), 3, 3, 5);
  const std::string whole = slurp(here.path("other.png"));
  spill(here.path("out.png"), whole);
  CHECK(here.run({"enhance", "-i", "dark.png", "-o", "out.png", "--skip-existing"}).code == 0);
  CHECK(slurp(here.path("out.png")) == whole);
  CHECK(here.run({"enhance", "-i", "dark.png", "-o", "out.png", "--overwrite"}).code == 0);
  CHECK(load_image(here.path("out.png")).width == 12);

  fs::create_symlink(here.path("dark.png"), here.path("link.png"));
  fs::create_hard_link(here.path("dark.png"), here.path("hard.png"));
  for (const char* output : {"dark.png", "./in/../dark.png", "link.png", "hard.png", "."}) {
    CHECK(here.run({"enhance", "-i", "dark.png", "-o", output, "--overwrite"}).code == 2);
    CHECK(slurp(here.path("dark.png")) == input);
  }
}

TEST_CASE("progress on a terminal is one line, drawn again after each picture and wiped at the end") {
  const Workplace here;
  for (const char* name : {"in/a.png", "in/b\x1b[31m.png", "in/c.png"}) save_noise(here.path(name));
  spill(here.path("in/broken.png"), "no picture");
  const auto drawn = [&](const std::map<std::string, std::string>& environment, const char* progress) {
    const Terminal terminal;
    ChildOptions options{.terminal = terminal.path(), .environment = environment};
    options.environment.try_emplace("TERM", "xterm");
    CHECK(
        here.run({"enhance", "-i", "in", "-o", "out", "--overwrite", "--progress", progress}, options).code ==
        1);
    return terminal.drawn();
  };
  const std::string wipe = "\r\033[K";
  const std::string bar = drawn({}, "bar");
  CAPTURE(printable(bar));
  size_t at = 0;
  for (const char* part : {"[........................] 0/4  in/a.png needs about ", " MB\r\033[K",
                           "[######..................] 1/4, ", " left  in/a.png",
                           "[############............] 2/4, ", "\033[31merror:\033[0m ", "in/broken.png",
                           "] 3/4, ", "[########################] 4/4, 0 s left  in/c.png"}) {
    CAPTURE(part);
    at = bar.find(part, at);
    REQUIRE(at != std::string::npos);
  }
  CHECK(bar.ends_with(wipe + "luxgrad: 3 of 4 pictures done\r\n"));
  CHECK_FALSE(contains(bar, "b\x1b"));
  for (size_t begin = bar.find("\033[K["); begin != std::string::npos; begin = bar.find("\033[K[", begin + 1))
    CHECK(bar.find('\r', begin) - begin <= wipe.size() - 1 + 79);

  CHECK(contains(drawn({{"NO_COLOR", "1"}}, "bar"), " error: "));
  for (const std::string& plain : {drawn({{"TERM", "dumb"}}, "bar"), drawn({{"NO_COLOR", "1"}}, "none")}) {
    CHECK(contains(plain, "luxgrad: error: "));
    CHECK_FALSE(contains(plain, "\033"));
  }
}

TEST_CASE("progress is never wider than the terminal, whatever the name") {
  const Workplace here;
  for (const char* name : {"in/a.png", "in/a name that is longer than a narrow window is wide.png"})
    save_noise(here.path(name));
  const std::string wipe = "\r\033[K";
  for (const int columns : {0, 20, 50, 300}) {
    CAPTURE(columns);
    const Terminal terminal(columns);
    const ChildOptions options{.terminal = terminal.path(), .environment = {{"TERM", "xterm"}}};
    CHECK(here.run({"enhance", "-i", "in", "-o", "out", "--overwrite"}, options).code == 0);
    const std::string drawn = terminal.drawn();
    size_t widest = 0;
    for (size_t begin = 0, end = 0; begin < drawn.size(); begin = end + wipe.size()) {
      end = std::min(drawn.find(wipe, begin), drawn.size());
      widest = std::max(widest, end - begin);
    }
    CHECK(contains(drawn, "window is wide.png") == (columns == 300));
    if (columns != 300) CHECK(widest == (columns == 0 ? 79 : static_cast<size_t>(columns) - 1));
  }
}

TEST_CASE("five pictures with a corrupt third: four results, exit code 1") {
  const Workplace here;
  std::vector<std::string> command = {"enhance", "-o", "out", "--json", "-i"};
  for (int i = 1; i <= 5; ++i) {
    const std::string name = cat("in/", i, ".png");
    save_noise(here.path(name), 12, 9, static_cast<uint64_t>(i));
    command.push_back(name);
  }
  const std::string third = slurp(here.path("in/3.png"));
  spill(here.path("in/3.png"), third.substr(0, third.size() / 2));
  fs::create_directory(here.path("out"));

  for (const bool as_folder : {false, true}) {
    if (as_folder) command = {"enhance", "-o", "out", "--json", "--overwrite", "-i", "in"};
    const ChildResult result = here.run(command);
    CHECK(result.code == 1);
    CHECK(contains(result.err, "in/3.png"));
    CHECK(here.files("out") == std::vector<std::string>{"1.png", "2.png", "4.png", "5.png"});
    const std::vector<nlohmann::json> lines = json_lines(result.out);
    REQUIRE(lines.size() == 5);
    for (size_t i = 0; i < 5; ++i) {
      CHECK(lines[i]["input"] == cat("in/", i + 1, ".png"));
      CHECK(lines[i]["status"] == (i == 2 ? "failed" : "ok"));
    }
    CHECK(lines[2]["code"] == 3);
    CHECK(contains(lines[2]["error"], "in/3.png"));
  }
}

TEST_CASE("photos of a folder are enhanced side by side as far as memory allows, and are the same") {
  const Workplace here;
  for (uint64_t i = 1; i <= 9; ++i) save_noise(here.path(cat("in/", i, ".png")), 300, 200, i);
  const auto most_said = [&](const std::string& out, std::vector<std::string> options) {
    options.insert(options.begin(), {"enhance", "in", "--json", "-o", out});
    const ChildResult result = here.run(options);
    INFO(result.err);
    CHECK(result.code == 0);
    const std::vector<nlohmann::json> lines = json_lines(result.out);
    REQUIRE(lines.size() == 9);
    int64_t most = 0;
    for (size_t i = 0; i < 9; ++i) {
      CHECK(lines[i]["input"] == cat("in/", i + 1, ".png"));
      most = std::max(most, lines[i]["memory_estimate"].get<int64_t>());
    }
    return most;
  };
  const int64_t one = most_said("one", {"-j", "1"});
  const int64_t limit = one + (int64_t{2} << 20);  // photos that wait are more
  CHECK(most_said("three", {"-j", "3"}) > limit);
  CHECK(most_said("limited", {"-j", "3", "--memory", cat(limit)}) <= limit);
  for (const std::string& name : here.files("one")) {
    for (const char* const other : {"three/", "limited/"})
      CHECK(slurp(here.path(other + name)) == slurp(here.path("one/" + name)));
  }
}

TEST_CASE("a photo that fits alone fits into a folder, which keeps the limit, too") {
  const Workplace here;
  save_noise(here.path("in/0.jpg"), 900, 700);
  for (int i = 1; i < 8; ++i) fs::copy(here.path("in/0.jpg"), here.path(cat("in/", i, ".jpg")));
  const std::string refused = here.run({"enhance", "in/0.jpg", "-o", "no.png", "--memory", "1M"}).err;
  const std::string before = "zero_dce needs about ";
  const double least = std::stod(refused.substr(refused.find(before) + before.size())) * 1e6;
  const int64_t limit = static_cast<int64_t>(least) + (8 << 20);  // the others take more while they wait
  CHECK(here.run({"enhance", "in/0.jpg", "-o", "one.png", "--memory", cat(limit)}).code == 0);
  for (const int more : {0, 24 << 20}) {
    CAPTURE(more);
    const ChildResult folder = here.run({"enhance", "in", "-o", "out/", "-f", "png", "-j", "1:1:1",
                                         "--overwrite", "--json", "--memory", cat(limit + more)});
    INFO(folder.err);
    CHECK(folder.code == 0);
    for (const nlohmann::json& line : json_lines(folder.out)) {
      CHECK(line["memory_estimate"].get<int64_t>() <= limit + more);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
      CHECK(line["memory"].get<double>() <= 1.15 * static_cast<double>(limit + more));
#endif
    }
    for (const std::string& name : here.files("out"))
      CHECK(slurp(here.path("out/" + name)) == slurp(here.path("one.png")));
    CHECK(here.files("out").size() == 8);
  }
}

TEST_CASE("one refused input: one sentence with its name, exit code 3, nothing written") {
  const Workplace here;
  save_noise(here.path("whole.png"), 40, 30);
  save_noise(here.path("whole.jpg"), 40, 30);
  save_noise(here.path("whole.bmp"), 40, 30);
  spill(here.path("empty.png"), "");
  spill(here.path("text.png"), "this is no picture");
  fs::create_directory(here.path("x.png"));
  for (const char* kind : {"png", "jpg", "bmp"}) {
    const std::string whole = slurp(here.path(cat("whole.", kind)));
    spill(here.path(cat("cut.", kind)), whole.substr(0, whole.size() - 20));
  }
  std::string bomb = slurp(here.path("whole.bmp")).substr(0, 54);
  bomb.replace(18, 8, std::string("\x20\x4e\0\0\x20\x4e\0\0", 8));  // 20000 x 20000
  spill(here.path("bomb.bmp"), bomb);
  for (const char* name : {"empty.png", "text.png", "x.png", "cut.png", "cut.jpg", "cut.bmp", "bomb.bmp",
                           "absent.png", "absent*.png", ""}) {
    const ChildResult result = here.run({"enhance", "-i", name, "-o", "out.png"});
    INFO(name, ": ", result.err);
    CHECK(result.code == 3);
    CHECK(result.out.empty());
    CHECK(contains(result.err, name));
    CHECK(lines_of(result.err) == 1);
    CHECK_FALSE(fs::exists(here.path("out.png")));
  }
}

TEST_CASE("any file name will do") {
  const Workplace here;
  const std::vector<std::string> names = {"a b.png",    "qu\"o'te.png",    "new\nline.png",
                                          "ümläut.png", "bad\xff\xfe.png", "-dash.png",
                                          "[a].png",    "esc\x1b[31m.png"};
  for (const std::string& name : names) {
    save_noise(here.path("in/" + name));
    const ChildResult one = here.run({"enhance", "-o", "../out/", "--", name}, {.folder = here.path("in")});
    INFO(name, one.err);
    CHECK(one.code == 0);
  }
  CHECK(here.files("out").size() == names.size());
  CHECK(here.run({"enhance", "--input=-dash.png", "-o", "../2.png"}, {.folder = here.path("in")}).code == 0);
  fs::create_directory(here.path("[photos]"));
  save_noise(here.path("[photos]/a.png"));
  CHECK(here.run({"enhance", "-i", "[photos]", "-o", "bracket"}).code == 0);
  const ChildResult all = here.run({"enhance", "-i", "in", "-o", "all", "--json"});
  CHECK(all.code == 0);
  CHECK(here.files("all") == here.files("in"));
  CHECK(json_lines(all.out).size() == names.size());
  const ChildResult none = here.run({"enhance", "-i", "gone\x1b[31m\n.png", "-o", "x.png"});
  CHECK(contains(none.err, "gone\\x1b[31m\\x0a.png"));
  CHECK(lines_of(none.err) == 1);
}

TEST_CASE("folders, globs and templates") {
  const Workplace here;
  fs::create_directories(here.path("in/deep/er"));
  save_noise(here.path("in/a.png"));
  save_noise(here.path("in/b.jpg"));
  save_noise(here.path("in/deep/er/c.bmp"));
  spill(here.path("in/notes.txt"), "no picture");
  using Names = std::vector<std::string>;
  CHECK(here.run({"enhance", "-i", "in", "-o", "flat"}).code == 0);
  CHECK(here.files("flat") == Names{"a.png", "b.jpg"});
  CHECK(here.run({"enhance", "-i", "in", "-o", "deep", "--recursive", "-f", "png"}).code == 0);
  CHECK(here.files("deep") == Names{"a.png", "b.png", "deep/er/c.png"});
  CHECK(here.run({"enhance", "-i", "in/*.png", "-o", "glob", "--output-template", "{name}-bright.{ext}"})
            .code == 0);
  CHECK(here.files("glob") == Names{"a-bright.png"});
  for (int twice = 0; twice < 2; ++twice)
    CHECK(here.run({"enhance", "-i", "in", "-o", "in/out", "--recursive", "--skip-existing"}).code == 0);
  CHECK(here.files("in/out") == Names{"a.png", "b.jpg", "deep/er/c.bmp"});
  // Gray comes out in colour, so a PGM gets another name.
  fs::create_directories(here.path("gray"));
  spill(here.path("gray/g.pgm"), "P5 2 1 255 \x10\x20");
  CHECK(here.run({"enhance", "-i", "gray", "-o", "colour"}).code == 0);
  CHECK(here.files("colour") == Names{"g.ppm"});
  // Two inputs that want the same output: the first has it.
  save_noise(here.path("in/deep/a.png"), 5, 5);
  const ChildResult clash = here.run({"enhance", "-i", "in/a.png", "in/deep/a.png", "-o", "clash"});
  CHECK(clash.code == 1);
  CHECK(contains(clash.err, "clash/a.png"));
  CHECK(load_image(here.path("clash/a.png")).width == 12);
}

TEST_CASE("a folder that cannot be listed is one bad picture among many") {
  const Workplace here;
  save_noise(here.path("in/a.png"), 12, 8);
  for (const char* const folder : {"closed", "in/closed"}) {
    fs::create_directory(here.path(folder));
    fs::permissions(here.path(folder), fs::perms::none);
  }
  const ChildResult result =
      here.run({"enhance", "closed", "in", "-o", "out", "--recursive"}, {.obedient = true});
  for (const char* const folder : {"closed", "in/closed"})
    fs::permissions(here.path(folder), fs::perms::owner_all);
  INFO(result.err);
  CHECK(result.code == 1);
  CHECK(contains(result.err, " closed: cannot be listed: Permission denied\n"));
  CHECK(contains(result.err, " in/closed: cannot be listed: Permission denied\n"));
  CHECK(fs::exists(here.path("out/a.png")));
}

TEST_CASE("several pictures are not written into one name, nor by a template that is not understood") {
  const Workplace here;
  for (const char* const name : {"a.png", "b.png"}) save_noise(here.path(name), 12, 8);
  const ChildResult one = here.run({"enhance", "a.png", "b.png", "-o", "both.jpg"});
  CHECK(one.code == 2);
  CHECK(contains(one.err, "both.jpg: is the name of a picture; several need a folder, both.jpg/ for one"));
  CHECK_FALSE(fs::exists(here.path("both.jpg")));
  CHECK(here.run({"enhance", "a.png", "b.png", "-o", "both.jpg/"}).code == 0);
  const ChildResult unknown =
      here.run({"enhance", "a.png", "b.png", "-o", "out", "--output-template", "{name}_{width}.{ext}"});
  CHECK(unknown.code == 2);
  CHECK(contains(unknown.err, "expected {name} and {ext}, got {name}_{width}.{ext}"));
}

TEST_CASE("a limit of memory is kept, or refused with what is needed") {
  if (!limits_hold()) return;
  const Workplace here;
  save_noise(here.path("in.png"), 300, 200);
  CHECK(here.run({"enhance", "in.png", "-o", "plain.bmp"}).code == 0);
  const ChildResult narrow = here.run({"enhance", "in.png", "-o", "narrow.bmp", "--memory", "30M"});
  INFO(narrow.err);
  CHECK(narrow.code == 0);
  CHECK(contains(narrow.err, "in.png: zero_dce needs about "));
  CHECK(slurp(here.path("narrow.bmp")) == slurp(here.path("plain.bmp")));
  const ChildResult refused = here.run({"enhance", "in.png", "-o", "no.bmp", "--memory", "1M"});
  CHECK(refused.code == 6);
  CHECK(contains(refused.err, "for 300 x 200 pixels, --memory allows 1.0 MB"));
  CHECK_FALSE(fs::exists(here.path("no.bmp")));
  for (const char* const wrong :
       {"much", "G", "", "0", "-1G", "nan", "1Q", "1GG", "1iB", "1e9", "99999P", "0.1"}) {
    const ChildResult result = here.run({"enhance", "in.png", "-o", "no.bmp", "--memory", wrong});
    CHECK(result.code == 2);
    CHECK(result.err == cat("luxgrad: error: --memory: expected a size like 2G or 500M, got ", wrong,
                            "; see luxgrad enhance --help\n"));
  }
  for (const char* const megabyte : {"1M", "1mb", "1 MiB", "1024K", "1048576", "0.0009765625G"}) {
    const ChildResult result = here.run({"enhance", "in.png", "-o", "no.bmp", "--memory", megabyte});
    CHECK(result.code == 6);
    CHECK(contains(result.err, "--memory allows 1.0 MB"));
  }
}

TEST_CASE("tiles are as large as one says, the same picture, and measured on request") {
  const Workplace here;
  save_noise(here.path("in.png"), 150, 90);
  REQUIRE(here.run({"enhance", "in.png", "-o", "plain.bmp"}).code == 0);
  const ChildResult tiles = here.run({"enhance", "in.png", "-o", "tiles.bmp", "-t", "32", "--verify-tiles"});
  INFO(tiles.err);
  CHECK(tiles.code == 0);
  CHECK(contains(tiles.err, "in.png: tile by tile differs from the whole by at most 0, 0 on average"));
  CHECK(slurp(here.path("tiles.bmp")) == slurp(here.path("plain.bmp")));
}

TEST_CASE("--verify-tiles looks at a part that the tiles cut, and says where they do not") {
  const Workplace here;
  save_noise(here.path("in.png"), 400, 310);
  const ChildResult large = here.run({"enhance", "in.png", "-o", "a.bmp", "-t", "300", "--verify-tiles"});
  INFO(large.err);
  CHECK(large.code == 0);
  CHECK(contains(large.err, "(400 x 310 pixels in the middle, tiles of 300)"));
  const ChildResult one = here.run({"enhance", "in.png", "-o", "b.bmp", "-t", "4000", "--verify-tiles"});
  CHECK(one.code == 0);
  CHECK(contains(one.err, "in.png: is one tile, so there is nothing to verify"));
}

TEST_CASE("a network that looks at the whole picture is approximated where memory asks for it, and says so") {
  if (!limits_hold()) return;
  const Workplace here;
  const std::unique_ptr<Model> model = make_model("mirnet_v2");
  model->init_(Generator{7});
  save_safetensors(here.path("mirnet_v2.safetensors"), {model->state_dict(), to_metadata(*model)});
  save_noise(here.path("in.png"), 230, 200);
  const auto enhanced = [&](std::vector<std::string> more) {
    std::vector<std::string> command = {"enhance",  "in.png", "-n",          "mirnet_v2",
                                        "--memory", "110M",   "--overwrite", "-o"};
    command.insert(command.end(), more.begin(), more.end());
    return here.run(command);
  };
  const ChildResult near = enhanced({"near.png", "--json"});
  INFO(near.err);
  CHECK(near.code == 0);
  CHECK(contains(near.err, "in.png: approximate, with statistics of a copy "));
  CHECK(contains(near.out, "\"approximate\":true"));
  CHECK(load_image(here.path("near.png")).width == 230);
  const ChildResult exact = enhanced({"exact.png", "--exact"});
  INFO(exact.err);
  CHECK(exact.code == 6);
  CHECK(contains(exact.err, "mirnet_v2 needs about "));
  CHECK_FALSE(fs::exists(here.path("exact.png")));
}

TEST_CASE("what a picture is said to need is what the program takes, within 15 percent") {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  MESSAGE("skipped: sanitizers keep what was freed, and shadows of all");
#else
  const Workplace here;
  save_noise(here.path("in.png"), 900, 500);
  save_noise(here.path("in/0.png"), 900, 500);
  for (int i = 1; i < 12; ++i) fs::copy(here.path("in/0.png"), here.path(cat("in/", i, ".png")));
  save_noise(here.path("small.png"), 60, 40);
  fs::create_directory(here.path("few"));
  for (const char* const name : {"few/1.png", "few/2.png", "few/3.png"}) save_noise(here.path(name), 60, 40);
  fs::create_directory(here.path("photos"));
  save_noise(here.path("photos/0.jpg"), 1500, 1000);
  for (int i = 1; i < 5; ++i) fs::copy(here.path("photos/0.jpg"), here.path(cat("photos/", i, ".jpg")));
  fs::create_directory(here.path("mixed"));
  for (int i = 0; i < 9; ++i)
    fs::copy(here.path(i == 6 ? "in.png" : "small.png"), here.path(cat("mixed/", i, ".png")));
  const auto large = make_model("reference_guided");
  large->init_(Generator{7});
  save_safetensors(here.path("reference_guided.safetensors"), {large->state_dict(), to_metadata(*large)});
  const std::vector<std::string> kWays[] = {
      {"in.png", "-o", "out.png"},        {"in.png", "-o", "out.bmp"},
      {"in.png", "-o", "x.png", "-x"},    {"in.png", "-o", "c.png", "--save-curves", "curves"},
      {"in", "-o", "out", "-j", "4:2:4"}, {"photos", "-o", "photos_out", "-j", "2"},
      {"small.png", "-o", "s.png"},       {"few", "-o", "few_out"},
      {"mixed", "-o", "mixed_out"},       {"small.png", "-o", "r.png", "-n", "reference_guided"}};
  for (std::vector<std::string> way : kWays) {
    const std::string what = cat(way[2], way.size() > 3 ? way[3] : "");
    way.insert(way.begin(), {"enhance", "--memory", "2G", "--json"});
    const ChildResult result = here.run(way);
    REQUIRE(result.code == 0);
    double said = 0, took = 0;
    size_t at = 0;
    for (const auto& line : json_lines(result.out)) {
      const double megabytes = line["memory_estimate"].get<double>() / 1e6;
      const std::string before = " needs about ";
      at = result.err.find(before, at) + before.size();
      CHECK(std::abs(megabytes - std::stod(result.err.substr(at))) < 0.1);
      said = std::max(said, megabytes);
      took = line["memory"].get<double>() / 1e6;
    }
    MESSAGE(what << ": said " << said << " MB, took " << took);
    if (way.back() == "-x") CHECK(took < 75);      // the sum of eight results is the one tensor of that size
    if (way.back() == "curves") CHECK(took < 75);  // of curves no more than a byte for each
    CHECK(took <= 1.15 * said);
    CHECK(said <= 1.15 * took);
  }
#endif
}
