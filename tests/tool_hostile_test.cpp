// luxgrad and names and paths that mean harm: what is no picture is refused without waiting for it, nothing
// outside the output folder changes, and no byte that drives a terminal gets out.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <map>
#include <set>

#include "tool_workplace.h"

using namespace lux;

namespace {

/// Everything below a folder: links by where they lead, files by content, the rest by kind.
std::map<std::string, std::string> tree(const std::string& root) {
  std::map<std::string, std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const std::string path = entry.path();
    found[path] = entry.is_symlink()        ? cat("-> ", fs::read_symlink(path).native())
                  : entry.is_regular_file() ? slurp(path)
                                            : cat(static_cast<int>(entry.status().type()));
  }
  return found;
}

/// The first byte that drives a terminal, or is no UTF-8; "" where there is none. Lines may end.
std::string first_control(std::string text) {
  text.erase(std::remove(text.begin(), text.end(), '\n'), text.end());
  const std::string safe = printable(text);
  if (safe == text) return "";
  const auto at = std::mismatch(text.begin(), text.end(), safe.begin(), safe.end()).first - text.begin();
  return cat("byte ", static_cast<int>(static_cast<uint8_t>(text[static_cast<size_t>(at)])), " before ",
             safe.substr(static_cast<size_t>(at), 100));
}

void link(const Workplace& here, const std::string& target, const std::string& name) {
  fs::create_symlink(target, here.path(name));
}

void make_pipe(const std::string& path) { REQUIRE(mkfifo(path.c_str(), 0600) == 0); }

void make_socket(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  REQUIRE(path.size() < sizeof address.sun_path);
  std::copy(path.begin(), path.end(), address.sun_path);
  const int descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
  REQUIRE(bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  close(descriptor);
}

/// One name for every byte that a name may hold.
std::vector<std::string> names_of_all_bytes() {
  std::vector<std::string> names;
  for (int byte = 1; byte < 256; ++byte) {
    if (byte != '/') names.push_back(cat("x", std::string(1, static_cast<char>(byte)), "y.png"));
  }
  return names;
}

}  // namespace

TEST_CASE("inputs that are no files are refused in a sentence, without waiting for them") {
  const Workplace here;
  save_noise(here.path("whole.png"));
  make_pipe(here.path("pipe.png"));
  make_socket(here.path("socket.png"));
  link(here, "loop.png", "loop.png");
  link(here, "round.png", "about.png");
  link(here, "about.png", "round.png");
  link(here, "nowhere.png", "dangling.png");
  link(here, "pipe.png", "to_pipe.png");
  link(here, "/dev/zero", "zero.png");
  fs::create_directory(here.path("folder.png"));
  const auto before = tree(here.path(""));
  const std::string names[] = {
      "pipe.png", "socket.png", "loop.png", "about.png", "dangling.png", "to_pipe.png", "zero.png",
      "folder.png", "whole.png/", "whole.png/whole.png", "whole.png/../whole.png", "/dev/zero", "/dev/full",
      "/dev/null", "/dev/tty", "/proc/self/mem", "/proc/self/environ", "/dev/stdin/x.png", "..", "/",
      std::string(256, 'n') + ".png", std::string(5000, 'n') + ".png", "gone\x1b]0;title\a\r.png",
      // NOLINTNEXTLINE(bugprone-suspicious-missing-comma): ends the number
      "gone\xc2\x9b"
      "31m.png",
      "gone\xff.png", "\n", " "};
  for (const std::string& name : names) {
    const ChildResult result = here.run({"enhance", "-o", "out.png", "--", name});
    INFO(name, ": ", result.err);
    CHECK(result.code == 3);
    CHECK(result.out.empty());
    CHECK(contains(result.err, printable(name)));
    CHECK(lines_of(result.err) == 1);
    CHECK(first_control(result.err) == "");
    CHECK(tree(here.path("")) == before);
  }
}

TEST_CASE("among the pictures of a folder, what is no file is left out") {
  const Workplace here;
  save_noise(here.path("in/a.png"));
  make_pipe(here.path("in/pipe.png"));
  make_socket(here.path("in/socket.png"));
  link(here, "loop.png", "in/loop.png");
  link(here, "gone.png", "in/gone.png");
  link(here, "/dev/zero", "in/zero.png");
  link(here, "..", "in/up");
  fs::create_directory(here.path("in/folder.png"));
  const ChildResult result = here.run({"enhance", "-i", "in", "-o", "out", "--recursive"});
  CHECK(result.code == 0);
  CHECK(result.err.empty());
  CHECK(here.files("out") == std::vector<std::string>{"a.png"});
}

TEST_CASE("outputs that are no files are left alone, also with --overwrite") {
  const Workplace here;
  save_noise(here.path("dark.png"));
  make_pipe(here.path("pipe.png"));
  make_socket(here.path("socket.png"));
  link(here, "pipe.png", "to_pipe.png");
  link(here, "/dev/full", "full.png");
  fs::create_directory(here.path("locked"));
  fs::permissions(here.path("locked"), fs::perms::owner_read | fs::perms::owner_exec);
  const auto before = tree(here.path(""));
  for (const std::string& name :
       {std::string("pipe.png"), std::string("socket.png"), std::string("to_pipe.png"),
        std::string("full.png"), std::string("locked/x.png"), std::string("dark.png/x.png"),
        std::string("gone/x.png"), std::string(256, 'n') + ".png", std::string("/proc/x.png"),
        std::string("pipe.png/..")}) {
    const ChildResult result =
        here.run({"enhance", "-i", "dark.png", "-o", name, "-f", "png", "--overwrite"}, {.obedient = true});
    INFO(name, ": ", result.err);
    CHECK((result.code == 2 || result.code == 6));
    CHECK(lines_of(result.err) == 1);
    CHECK(first_control(result.err) == "");
    CHECK(tree(here.path("")) == before);
  }
}

TEST_CASE("a link at the output's place is replaced, and what it leads to is not touched") {
  const Workplace here;
  save_noise(here.path("dark.png"));
  spill(here.path("precious"), "precious");
  link(here, "precious", "link.png");
  link(here, "nowhere.png", "dangling.png");
  link(here, "loop.png", "loop.png");
  for (const char* name : {"link.png", "dangling.png", "loop.png"}) {
    CHECK(here.run({"enhance", "-i", "dark.png", "-o", name}).code == 2);
    CHECK(fs::is_symlink(here.path(name)));
    CHECK(here.run({"enhance", "-i", "dark.png", "-o", name, "--overwrite"}).code == 0);
    CHECK_FALSE(fs::is_symlink(here.path(name)));
    CHECK(load_image(here.path(name)).width == 12);
  }
  CHECK(slurp(here.path("precious")) == "precious");
  CHECK_FALSE(fs::exists(here.path("nowhere.png")));
}

TEST_CASE("no input leads out of the output folder") {
  const Workplace here;
  fs::create_directories(here.path("in/deep"));
  fs::create_directories(here.path("out"));
  fs::create_directory(here.path("outside"));
  save_noise(here.path("outside/x.png"));
  save_noise(here.path("in/...png"));
  save_noise(here.path("in/....png"));
  save_noise(here.path("in/a\\..\\..\\x.png"));
  save_noise(here.path("in/deep/x.png"));
  link(here, "../outside", "out/deep");
  const auto before = tree(here.path("outside"));
  const auto inputs = tree(here.path("in"));
  for (const std::string& name :
       {std::string("{name}.{ext}"), std::string("{name}"), std::string(".{name}")}) {
    for (const std::string& input : {std::string("in"), std::string("in/*"), std::string("in/...png"),
                                     std::string("in/deep/../...png"), std::string("in/../outside/x.png")}) {
      const ChildResult result = here.run({"enhance", "-i", input, "-o", "out/", "--output-template", name,
                                           "--recursive", "--overwrite", "-f", "png"});
      INFO(input, " as ", name, ": ", result.err);
      CHECK(result.code <= 6);
      CHECK(tree(here.path("outside")) == before);
      CHECK(tree(here.path("in")) == inputs);
    }
  }
  CHECK(fs::is_symlink(here.path("out/deep")));
  CHECK(here.run({"enhance", "-i", "in", "-o", "out", "--output-template", "../{name}.png"}).code == 2);
  for (const auto& entry : fs::directory_iterator(here.path(""))) CHECK(entry.path().extension() != ".png");
}

TEST_CASE("every byte that a name may hold: right outputs, and a terminal never sees one that drives it") {
  const Workplace here;
  const std::vector<std::string> names = names_of_all_bytes();
  for (const std::string& name : names) save_noise(here.path("in/" + name), 2, 1);
  const ChildResult good = here.run({"enhance", "-i", "in", "-o", "out", "--json", "--progress", "json"});
  CHECK(good.code == 0);
  CHECK(here.files("out") == here.files("in"));
  CHECK(json_lines(good.out).size() == names.size());
  const std::vector<nlohmann::json> progress = json_lines(good.err);
  CHECK(progress.size() == 2 * names.size());  // before the work and behind it
  CHECK(progress.front().at("memory_estimate") > 5e6);
  CHECK(first_control(good.out) == "");
  CHECK(first_control(good.err) == "");

  for (const std::vector<std::string>& option :
       {std::vector<std::string>{"--memory", "2G"}, {"--verify-tiles"}}) {
    std::vector<std::string> command = {"enhance", "-i",          "in",         "-o",
                                        "out",     "--overwrite", "--progress", "none"};
    command.insert(command.end(), option.begin(), option.end());
    const ChildResult noted = here.run(command);
    CHECK(noted.code == 0);
    CHECK(lines_of(noted.err) == static_cast<int64_t>(names.size()));
    CHECK(first_control(noted.err) == "");
  }
  fs::create_directory(here.path("photos"));
  save_noise(here.path("photos/a.png"), 33, 33);
  const ChildResult trained = here.run({"train", "zero_dce", "--data", "photos", "--run", "r\x1b[31mY\x07",
                                        "--steps", "1", "--size", "32", "--batch", "1"});
  INFO(trained.err);
  CHECK(trained.code == 0);
  CHECK(contains(trained.out, "r\\x1b[31mY\\x07/"));
  CHECK(first_control(trained.out) == "");
  CHECK(first_control(trained.err) == "");

  for (const std::string& name : names) spill(here.path("in/" + name), "no picture");
  const ChildResult bad = here.run({"enhance", "-i", "in", "-o", "bad", "--json"});
  CHECK(bad.code == 1);
  CHECK_FALSE(fs::exists(here.path("bad")));
  CHECK(json_lines(bad.out).size() == names.size());
  CHECK(lines_of(bad.err) == static_cast<int64_t>(names.size()) + 1);
  CHECK(first_control(bad.out) == "");
  CHECK(first_control(bad.err) == "");

  for (const char* form : {"", "--json"}) {
    const ChildResult verified = here.run({"verify", "in", form});
    CHECK(first_control(verified.out) == "");
    CHECK(first_control(verified.err) == "");
  }
  const ChildResult scanned = here.run({"train", "zero_dce", "--data", "in", "--run", "run"});
  CHECK(scanned.code == 3);
  CHECK(first_control(scanned.out) == "");
  CHECK(first_control(scanned.err) == "");
}

TEST_CASE("what a weight file says about itself reaches no terminal as it is") {
  const Workplace here;
  const std::string drive =
      "\x1b]0;title\x07\n\x7f\xc2\x9b"
      "31m";
  save_noise(here.path("dark.png"));
  TensorFile file;
  file.tensors["weight" + drive] = zeros({2});
  file.metadata["key" + drive] = "value" + drive;
  for (const char* model : {"zero_dce", "none\x1b[31m"}) {
    file.metadata["model"] = model;
    save_safetensors(here.path("w.safetensors"), file);
    for (const std::vector<std::string>& command :
         {std::vector<std::string>{"info", "w.safetensors"},
          {"info", "--json", "w.safetensors"},
          {"verify", "w.safetensors"},
          {"enhance", "-i", "dark.png", "-o", "x.png", "-m", "w.safetensors"},
          {"train", "zero_dce", "--data", "in", "--run", "run", "--resume"}}) {
      const ChildResult result = here.run(command);
      INFO(command[0], ": ", result.err);
      CHECK(first_control(result.out) == "");
      CHECK(first_control(result.err) == "");
    }
  }
}

TEST_CASE("every option that is a number refuses what is none, whatever it is for") {
  const Workplace here;
  const std::set<std::string> numbers = {"N",  "S",  "RATE", "W",    "PERCENT",
                                         "DB", "MS", "SIZE", "TIME", "N|FILE"};
  const std::set<std::string> below_zero = {"--min-psnr", "--min-ssim"};
  const char* const too_large = "18446744073709551616";  // 2^64, which a clamp would make 2^64 - 1
  const std::set<std::string> real = {"--min-psnr", "--min-ssim", "--lr", "--lr-end", "--validation"};
  int options = 0;
  for (const char* command : {"enhance", "video", "lut", "evaluate", "train", "bench", "info"}) {
    std::istringstream help(here.run({command, "--help"}).out);
    for (std::string line; std::getline(help, line);) {
      std::istringstream words(line);
      std::string names, kind;
      words >> names >> kind;
      if (!names.starts_with('-') || numbers.count(kind) == 0) continue;
      const std::string name = names.substr(names.find("--"));
      ++options;
      for (const std::string text : {"nan", "-nan", "inf", "-inf", "1e999", "-1", "five", too_large}) {
        if (text == too_large && real.count(name) > 0) continue;
        if (text == "-1" && below_zero.count(name) > 0) continue;
        if (text == "five" && kind == "N|FILE") continue;
        std::vector<std::string> arguments = {command, cat(name, "=", text)};
        const std::string all = command;
        if (all == "enhance" || all == "video") arguments.insert(arguments.end(), {"-i", "x", "-o", "y.mp4"});
        if (all == "train")
          arguments.insert(arguments.begin() + 1, {"zero_dce", "--data", "x", "--run", "y"});
        const ChildResult result = here.run(arguments);
        INFO(all, " ", name, "=", text, ": ", result.err);
        CHECK(result.code == 2);
        CHECK(lines_of(result.err) == 1);
        CHECK(contains(result.err, name));
      }
    }
  }
  CHECK(options >= 30);
}
