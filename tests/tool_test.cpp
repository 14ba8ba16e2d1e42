// The tool as scripts see it: command line, streams, exit codes. The real binary runs as a child.
#include <fstream>

#include "luxgrad/data/file.h"
#include "luxgrad/data/sha256.h"
#include "luxgrad/kernels/cpu/isa.h"
#include "luxgrad/layers/init.h"
#include "luxgrad/models/lpips.h"
#include "luxgrad/tensor/cuda.h"
#include "tool_workplace.h"

using namespace lux;

TEST_CASE("help begins with a line to copy, on standard output") {
  const Workplace here;
  for (const char* command : {"enhance", "video", "lut", "evaluate", "train", "pack", "gradcheck", "parity",
                              "info", "verify", "convert", "bench", "completion", "man"}) {
    const ChildResult help = here.run({command, "--help"});
    CHECK(help.code == 0);
    CHECK(help.err.empty());
    CHECK(help.out.starts_with(cat("luxgrad ", command, " ")));
  }
  CHECK(here.run({"--help"}).out.starts_with("luxgrad enhance "));
  CHECK(here.run({"--version"}).code == 0);
}

// CrispASR#355: the program did not start where CUDA was not installed.
TEST_CASE("no library of a GPU is needed to start") {
  const Workplace here;
  const ChildResult libraries = here.run({"--help"}, {.environment = {{"LD_TRACE_LOADED_OBJECTS", "1"}}});
  CHECK(libraries.code == 0);
  CHECK(contains(libraries.out, "libc.so"));  // as ldd lists them
  for (const char* vendor : {"libcud", "libcublas", "libnv"}) CHECK_FALSE(contains(libraries.out, vendor));
}

TEST_CASE("a wrong command line is answered with what was meant") {
  const Workplace here;
  const ChildResult nothing = here.run({});
  CHECK(nothing.code == 2);
  CHECK(nothing.out.empty());
  const auto answers = [&](std::vector<std::string> arguments, const std::string& part) {
    const ChildResult result = here.run(std::move(arguments));
    INFO(result.err);
    return result.code == 2 && result.out.empty() && contains(result.err, part) && lines_of(result.err) == 1;
  };
  CHECK(answers({"enhnace"}, "did you mean enhance?"));
  CHECK(answers({"enhance", "-i", "a.png", "--ouptut", "b.png"}, "did you mean --output?"));
  CHECK(answers({"enhance", "a.png", "-o", "b.png", "--strenth=0.5"}, "did you mean --strength?"));
  CHECK(answers({"enhance", "-i", "a.png", "-o", "b.png", "-s", "1.5"}, "--strength"));
  CHECK(answers({"enhance", "-i", "a.png", "-o", "b.png", "-n", "zero_dec"}, "did you mean zero_dce?"));
  CHECK(answers({"enhance", "-i", "a.png"}, "-o"));
  CHECK(answers({"enhance", "-o", "a.png"}, "-i"));
  CHECK(answers({"enhance", "-i", "a.png", "-o", "b.gif"}, "b.gif"));
  CHECK(answers({"enhance", "-i", "a.png", "-o", "b.png", "-f", "gif"}, "gif"));
  CHECK(answers({"enhance", "-i", "a.png", "-o", "b.png", "-j", "0"}, "--threads"));
}

TEST_CASE("weights: corrupt gives 3, not fitting 4, overflowing 5, and the nearest place wins") {
  const Workplace here;
  save_noise(here.path("dark.png"));
  const std::string good = slurp(here.path("zero_dce.safetensors"));
  spill(here.path("cut.safetensors"), good.substr(0, good.size() - 1));
  spill(here.path("empty.safetensors"), "");
  const auto code = [&](std::vector<std::string> more, ChildOptions options = {}) {
    more.insert(more.begin(), {"enhance", "-i", "dark.png", "-o", "out.png", "--overwrite"});
    const ChildResult result = here.run(std::move(more), std::move(options));
    if (result.code != 4) CHECK(lines_of(result.err) == (result.code == 0 ? 0 : 1));
    return result.code;
  };
  CHECK(code({"-m", "cut.safetensors"}) == 3);
  CHECK(code({"-m", "empty.safetensors"}) == 3);
  CHECK(code({"-m", "absent.safetensors"}) == 3);
  CHECK(code({"-m", "dark.png"}) == 3);
  CHECK(code({"-n", "zero_dce", "-m", "zero_dce_plus.safetensors"}) == 4);
  TensorFile file = load_safetensors(here.path("zero_dce.safetensors"));
  file.tensors.erase(file.tensors.begin());
  save_safetensors(here.path("missing.safetensors"), file);
  CHECK(code({"-m", "missing.safetensors"}) == 4);
  file = load_safetensors(here.path("zero_dce.safetensors"));
  for (auto& [name, tensor] : file.tensors) tensor = full(tensor.shape(), 3e38, tensor.options());
  save_safetensors(here.path("huge.safetensors"), file);
  CHECK(code({"-m", "huge.safetensors"}) == 5);
  CHECK(code({"-m", "huge.safetensors", "-x"}) == 5);
  CHECK_FALSE(fs::exists(here.path("out.png")));
  const ChildResult table = here.run({"lut", "-i", "dark.png", "-o", "look.cube", "-m", "huge.safetensors"});
  CHECK(table.code == 5);
  CHECK(contains(table.err, "dark.png: the network's result is not finite"));
  CHECK_FALSE(fs::exists(here.path("look.cube")));
  CHECK(code({"-m", "zero_dce_plus.safetensors"}) == 0);

  fs::create_directories(here.path("data/luxgrad"));
  spill(here.path("data/luxgrad/zero_dce.safetensors"), "broken");
  CHECK(code({}, {.environment = {{"LUX_MODELS", ""}, {"XDG_DATA_HOME", here.path("data")}}}) == 3);
  CHECK(code({}, {.environment = {{"XDG_DATA_HOME", here.path("data")}}}) == 0);
}

TEST_CASE("an output that cannot be written gives 6, with nothing half-written") {
  const Workplace here;
  save_noise(here.path("dark.png"), 120, 90);
  fs::create_directory(here.path("out"));
  CHECK(here.run({"enhance", "-i", "dark.png", "-o", "absent/out.png"}).code == 6);
  CHECK(here.run({"enhance", "-i", "dark.png", "-o", "/dev/full", "-f", "png", "--overwrite"}).code == 6);
  CHECK(here.run({"enhance", "-i", "dark.png", "-o", "-"}, {.output = "/dev/full"}).code == 6);
  CHECK(here.run({"info"}, {.output = "/dev/full"}).code == 6);
  for (int i = 0; i < 8; ++i) save_noise(here.path(cat("in/", i, ".png")), 40, 30);
  const ChildResult lines =
      here.run({"enhance", "-i", "in", "-o", "many/", "--json"}, {.output = "/dev/full"});
  CHECK(lines.code == 6);
  CHECK(lines.err == "luxgrad: error: standard output: No space left on device\n");
  const ChildResult full = here.run({"enhance", "-i", "dark.png", "-o", "out/b.png"}, {.file_bytes = 4096});
  CHECK(full.code == 6);
  CHECK(contains(full.err, "out/b.png"));
  CHECK(here.files("out").empty());
}

TEST_CASE("out of memory gives 6") {
#ifdef __SANITIZE_ADDRESS__
  MESSAGE("skipped: the address sanitizer needs the address space that this test takes away");
#else
  const Workplace here;
  Image large;
  large.allocate(3000, 2000, 3, 8);
  save_image(here.path("large.bmp"), large);
  const ChildResult result =
      here.run({"enhance", "-i", "large.bmp", "-o", "out.bmp"}, {.address_bytes = rlim_t{64} << 20});
  INFO(result.err);
  CHECK(result.code == 6);
  CHECK(lines_of(result.err) == 1);
  CHECK_FALSE(fs::exists(here.path("out.bmp")));
#endif
}

TEST_CASE("standard input and output carry pictures") {
  const Workplace here;
  save_noise(here.path("dark.png"));
  CHECK(here.run({"enhance", "-i", "dark.png", "-o", "file.png"}).code == 0);
  const ChildResult piped =
      here.run({"enhance", "-i", "-", "-o", "-", "--json"}, {.input = here.path("dark.png")});
  CHECK(piped.code == 0);
  CHECK(piped.out == slurp(here.path("file.png")));
  REQUIRE(json_lines(piped.err).size() == 1);
  CHECK(json_lines(piped.err)[0]["status"] == "ok");
  CHECK(here.run({"enhance", "-i", "-", "-o", "-"}).code == 3);
  CHECK(here.run({"enhance", "-i", "dark.png", "dark.png", "-o", "-"}).code == 2);
}

TEST_CASE("a standard input without end is refused at the limit of the size of a file") {
  const Workplace here;
  const ChildResult result = here.run({"enhance", "-i", "-", "-o", "out.png"}, {.input = "/dev/zero"});
  CHECK(result.code == 3);
  CHECK(result.err == "luxgrad: error: standard input: is larger than the limit of 536870912 bytes\n");
  CHECK_FALSE(fs::exists(here.path("out.png")));
}

TEST_CASE("closed standard streams do not leak into files") {
  const Workplace here;
  save_noise(here.path("dark.png"));
  const ChildResult result =
      here.run({"enhance", "-i", "dark.png", "absent.png", "-o", "out", "--json"}, {.closed = {0, 1, 2}});
  CHECK(result.code == 1);
  CHECK(load_image(here.path("out/dark.png")).width == 12);
}

TEST_CASE("info tells what is there") {
  const Workplace here;
  save_noise(here.path("dark.png"));
  const ChildResult program = here.run({"info", "--json"});
  REQUIRE(program.code == 0);
  const nlohmann::json all = nlohmann::json::parse(program.out);
  CHECK(all["models"].size() == models().size());
  for (const nlohmann::json& model : all["models"]) {
    if (model["name"] != "zero_dce") continue;
    CHECK(model["parameters"] == 79416);
    CHECK(model["weights"]["source"] == here.path("zero_dce.safetensors"));
  }
  CHECK(contains(here.run({"info"}).out, "79416"));
  const nlohmann::json unet = nlohmann::json::parse(here.run({"info", "unet", "--json"}).out);
  CHECK(unet["memory_band"] > 0);
  CHECK(unet["memory_bytes"] < unet["memory_optimum_bytes"]);
  CHECK(contains(here.run({"info", "unet"}).out,
                 cat(" for 1200x900, ", unet["memory_band"].get<int64_t>(), " rows at a time\n")));
  const nlohmann::json picture = nlohmann::json::parse(here.run({"info", "dark.png", "--json"}).out);
  CHECK(picture["width"] == 12);
  const nlohmann::json weights =
      nlohmann::json::parse(here.run({"info", "zero_dce.safetensors", "--json"}).out);
  CHECK(weights["numbers"] == 79416);
  CHECK(here.run({"info", "absent.png"}).code == 3);
  CHECK(here.run({"info", "absent.png", "dark.png"}).code == 1);
}

TEST_CASE("verify names what is damaged in a run, and what is good") {
  const Workplace here;
  for (int64_t index = 0; index < 3; ++index)
    save_noise(here.path(cat("in/", index, ".png")), 33, 33, static_cast<uint64_t>(index));
  const std::vector<std::string> train = {"train",   "zero_dce", "--data", "in", "--run",   "run",
                                          "--steps", "3",        "--size", "32", "--batch", "1"};
  CHECK(here.run(train).code == 0);
  ChildResult result = here.run({"verify", "run", "in/0.png"});
  CHECK(result.code == 0);
  CHECK(contains(result.out, "ok       in/0.png: picture, 33x33\n"));
  CHECK(contains(result.err, " good, 0 damaged"));
  const std::string newest = here.path("run/checkpoints/step_00000003.safetensors");
  std::string bytes = slurp(newest);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  spill(newest, bytes);
  result = here.run({"verify", "--json", "run"});
  CHECK(result.code == 1);
  int64_t damaged = 0;
  for (const auto& line : json_lines(result.out)) {
    if (line.at("ok").get<bool>()) continue;
    ++damaged;
    CHECK(contains(line.at("file").get<std::string>(), "step_00000003.safetensors"));
    CAPTURE(line.dump());
    CHECK(contains(line.at("error").get<std::string>(), "checksum"));
  }
  CHECK(damaged == 1);
  CHECK(here.run({"verify", newest}).code == 3);
  CHECK(here.run({"verify", "absent"}).code == 3);
  fs::create_directory(here.path("empty.safetensors"));
  result = here.run({"verify", "run", "empty.safetensors"});
  CHECK(result.code == 3);
  CHECK(result.err == "luxgrad: error: empty.safetensors: holds no weights, checkpoints or pictures\n");
  spill(here.path("film.mp4"), std::string("\0\0\0\x18"
                                           "ftypmp42",
                                           12));
  CHECK(here.run({"verify", "film.mp4", "in/0.png"}).code == 0);
  CHECK(here.run({"verify", "film.mp4"}).code == 3);
}

TEST_CASE("a device that is not there is one sentence and gives 5; auto is the CPU") {
  const Workplace here;
  save_noise(here.path("dark.png"));
  CHECK(here.run({"enhance", "-i", "dark.png", "-o", "out.png", "-g", "cpu"}).code == 0);
  CHECK(here.run({"enhance", "-i", "dark.png", "-o", "auto.png"}).code == 0);
  CHECK(here.run({"enhance", "-i", "dark.png", "-o", "out.png", "-g", "cuda:1"}).code == 2);
  const std::string absence = cuda::absence();
  if (absence.empty()) {
    MESSAGE("the rest is skipped: there is a CUDA device");
    return;
  }
  CHECK(slurp(here.path("auto.png")) == slurp(here.path("out.png")));
  const std::vector<std::vector<std::string>> commands = {
      {"enhance", "-i", "dark.png", "-o", "no.png"},
      {"train", "zero_dce", "--data", ".", "--run", "run"},
      {"evaluate", "--low", ".", "--high", "."},
      {"video", "-i", "a.y4m", "-o", "b.y4m"},
      {"bench", "-n", "zero_dce"},
      {"gradcheck"}};
  for (std::vector<std::string> command : commands) {
    CAPTURE(command[0]);
    command.insert(command.end(), {"-g", "cuda:0"});
    const ChildResult result = here.run(command);
    CHECK(result.code == 5);
    CHECK(result.out.empty());
    CHECK(contains(result.err, cat("--device cuda:0: ", absence, "; use cpu\n")));
    CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
  }
  const nlohmann::json about = nlohmann::json::parse(here.run({"info", "--json"}).out);
  CHECK(about["devices"] == nlohmann::json({"cpu"}));
  CHECK(about["no_cuda"] == absence);
  CHECK(contains(here.run({"info"}).out, "cuda:0     " + absence));
}

TEST_CASE("a picture that the device has too little memory for is enhanced there, with less at a time") {
  if (!cuda::absence().empty() || cuda::is_real()) {
    MESSAGE("skipped: only a device that the CPU plays can be given so little");
    return;
  }
  const Workplace here;  // of pictures that are tall, so that parts of them need much less
  for (const char* name : {"a.png", "b.png"}) save_image(here.path(name), noise(64, 128));
  save_image(here.path("small.png"), noise(8, 8));
  const std::string said = "memory ran out; done with less at a time";
  const auto enhanced = [&](const char* folder, std::vector<std::string> more, const char* memory) {
    more.insert(more.begin(), {"enhance", "a.png", "b.png", "small.png", "-o", folder, "-g", "cuda:0"});
    more.emplace_back("--overwrite");
    const ChildResult result = here.run(more, {.environment = {{"LUX_EMULATED_MEMORY", memory}}});
    INFO(result.err);
    CHECK(result.code == 0);
    CHECK_FALSE(contains(result.err, "on the CPU"));
    return result.err;
  };
  CHECK_FALSE(contains(enhanced("whole", {}, "1000000000"), said));
  const auto same = [&](const char* folder) {
    for (const char* name : {"a.png", "b.png", "small.png"})
      CHECK(slurp(here.path(cat(folder, "/", name))) == slurp(here.path(cat("whole/", name))));
  };
  for (const bool as_tensors : {false, true}) {
    std::vector<std::string> more;
    if (as_tensors) more.emplace_back("--compare");
    const std::string err = enhanced(as_tensors ? "both" : "less", more, "3000000");
    for (const char* name : {"a.png", "b.png", "small.png"})
      CHECK(contains(err, cat(name, ": ", said)) == (name != std::string("small.png")));
  }
  same("less");
  enhanced("tiles", {"-t", "16"}, "3000000");
  same("tiles");
  CHECK(contains(enhanced("asked", {"--memory", "2G"}, "1000000000"), "zero_dce needs about "));
  same("asked");
}

TEST_CASE("a picture that the device has no memory for is enhanced on the CPU") {
  if (!cuda::absence().empty() || cuda::is_real()) {
    MESSAGE("skipped: only a device that the CPU plays can be given so little");
    return;
  }
  const Workplace here;
  for (const char* name : {"a.png", "b.png"}) save_image(here.path(name), noise(64, 48));
  save_image(here.path("small.png"), noise(8, 8));
  const ChildOptions little{.environment = {{"LUX_EMULATED_MEMORY", "700000"}}};
  for (const bool as_tensors : {false, true}) {
    for (const char* device : {"cpu", "cuda:0"}) {
      std::vector<std::string> command = {"enhance", "a.png", "b.png", "small.png",  "-o",
                                          device,    "-g",    device,  "--overwrite"};
      if (as_tensors) command.emplace_back("--compare");
      const ChildResult result = here.run(command, little);
      INFO(result.err);
      CHECK(result.code == 0);
      for (const char* name : {"a.png", "b.png", "small.png"}) {
        const bool moved = std::string(device) == "cuda:0" && name != std::string("small.png");
        CHECK(contains(result.err, cat(name, ": done on the CPU, for cuda: the device has no ")) == moved);
      }
    }
    CHECK(slurp(here.path("cuda:0/a.png")) == slurp(here.path("cpu/a.png")));
    CHECK(slurp(here.path("cuda:0/b.png")) == slurp(here.path("cpu/b.png")));
  }
}

TEST_CASE("only gradcheck needs kernels of float64 on a device") {
  if (!cuda::absence().empty() || cuda::is_real()) {
    MESSAGE("skipped: only the device that the CPU plays can be without them and be here");
    return;
  }
  const Workplace here;
  save_image(here.path("a.png"), noise(16, 16));
  fs::create_directory(here.path("photos"));
  save_image(here.path("photos/a.png"), noise(16, 16));
  const ChildOptions without{.environment = {{"LUX_EMULATED_F64", "0"}}};
  const std::vector<std::vector<std::string>> others = {
      {"enhance", "a.png", "-o", "b.png", "-g", "cuda:0"},
      {"train", "zero_dce", "--data", "photos", "--run", "run", "--steps", "2", "--size", "16", "--batch",
       "1", "-g", "cuda:0"},
      {"parity", "--with", "cuda:0", "--filter", "^(cast|relu)"},
      {"bench", "-n", "zero_dce", "--size", "24x16", "--photo", "--only", "inference", "--repeat", "1", "-g",
       "cuda:0"}};
  for (const std::vector<std::string>& arguments : others) {
    const ChildResult result = here.run(arguments, without);
    INFO(result.err);
    CHECK(result.code == 0);
  }
  const ChildResult gradients = here.run({"gradcheck", "--filter", "^relu", "-g", "cuda:0"}, without);
  CHECK(gradients.code != 0);
  CHECK(contains(gradients.err + gradients.out, "this build has no f64 kernels"));
}

TEST_CASE(
    "a kernel that goes wrong on the device is one sentence, and where launches are awaited the operator's") {
  if (!cuda::absence().empty() || cuda::is_real()) {
    MESSAGE("skipped: only a device that the CPU plays goes wrong when it is told to");
    return;
  }
  const Workplace here;
  save_image(here.path("a.png"), noise(8, 8));
  const auto said = [&](const char* blocking) {
    const ChildResult result =
        here.run({"enhance", "a.png", "-o", "b.png", "-g", "cuda:0"},
                 {.environment = {{"LUX_EMULATED_FAULT", "3"}, {"LUX_CUDA_BLOCKING", blocking}}});
    CHECK(result.code == 3);
    CHECK_FALSE(fs::exists(here.path("b.png")));
    return result.err;
  };
  const std::string fault = ": an illegal memory access was encountered";
  const std::string unplaced = said("0"), placed = said("1");
  INFO(unplaced);
  INFO(placed);
  CHECK(contains(unplaced,
                 fault + "; an earlier kernel may have done it, and LUX_CUDA_BLOCKING=1 says which\n"));
  CHECK(contains(placed, " elements, in conv2d [1, 8, 8, 32] [32, 3, 3, 32] [32]" + fault + "\n"));
}

TEST_CASE("a network that the device has no memory for runs on the CPU") {
  if (!cuda::absence().empty() || cuda::is_real()) {
    MESSAGE("skipped: only a device that the CPU plays can be given so little");
    return;
  }
  const Workplace here;
  save_noise(here.path("in.png"), 16, 12);
  const auto enhanced = [&](const std::string& name, const char* device) {
    const ChildResult result = here.run({"enhance", "in.png", "-o", name, "-g", device},
                                        {.environment = {{"LUX_EMULATED_MEMORY", "100000"}}});
    INFO(result.err);
    CHECK(result.code == 0);
    CHECK(contains(result.err, "zero_dce.safetensors: runs on the CPU, for cuda: the device has no ") ==
          (device != std::string("cpu")));
    return slurp(here.path(name));
  };
  CHECK(enhanced("played.png", "cuda:0") == enhanced("own.png", "cpu"));
}

TEST_CASE("evaluate measures what the device has no memory for all the same, and train says what it needs") {
  if (!cuda::absence().empty() || cuda::is_real()) {
    MESSAGE("skipped: only a device that the CPU plays can be given so little");
    return;
  }
  const Workplace here;
  for (const char* folder : {"low", "high"}) {
    fs::create_directory(here.path(folder));
    save_noise(here.path(cat(folder, "/large.png")), 64, 48);
    save_noise(here.path(cat(folder, "/small.png")), 16, 12, 2);
  }
  const auto measured = [&](const std::string& csv, const char* device, const char* memory) {
    const ChildResult result =
        here.run({"evaluate", "--low", "low", "--high", "high", "--csv", csv, "-g", device},
                 {.environment = {{"LUX_EMULATED_MEMORY", memory}}});
    CHECK(result.code == 0);
    CHECK_FALSE(contains(result.err, "small.png"));
    return result.err;
  };
  const auto said = [](const char* how) {
    return cat("large.png: done ", how, ", for cuda: the device has no ");
  };
  CHECK_FALSE(contains(measured("cpu.csv", "cpu", "700000"), "large.png"));
  CHECK(contains(measured("cuda:0.csv", "cuda:0", "700000"), said("on the CPU")));
  CHECK_FALSE(contains(measured("whole.csv", "cuda:0", "1000000000"), "large.png"));
  CHECK(contains(measured("less.csv", "cuda:0", "1500000"), said("with less at a time")));
  const auto line_of = [&](const char* file) {
    const std::string text = slurp(here.path(file));
    const size_t at = text.find("large.png");
    return text.substr(at, text.find('\n', at) - at);
  };
  CHECK(line_of("cpu.csv") == line_of("cuda:0.csv"));
  CHECK(line_of("less.csv") == line_of("whole.csv"));

  const ChildResult train = here.run({"train", "zero_dce", "--data", "low", "--run", "run", "--steps", "1",
                                      "--batch", "1", "--size", "32", "-g", "cuda:0"},
                                     {.environment = {{"LUX_EMULATED_MEMORY", "1500000"}}});
  CHECK(train.code == 6);
  CHECK(contains(train.err, "cuda: the device has no "));
  CHECK_FALSE(contains(train.err, "more than "));  // of the host's memory, which did not end
  CHECK(contains(train.err, "zero_dce needs about "));
}

TEST_CASE("a folder whose photos travel beside the work of the device has the bits of the CPU") {
  if (!cuda::absence().empty() || cuda::is_real()) {
    MESSAGE("skipped: only a device that the CPU plays has the bits of the CPU");
    return;
  }
  const Workplace here;
  std::filesystem::create_directory(here.path("dark"));
  for (int i = 0; i < 7; ++i)
    save_image(here.path(cat("dark/", i, ".png")),
               noise(12 + 4 * (i % 2), 10, 1 + (i + 2) % 4, i < 4 ? 8 : 16, static_cast<uint64_t>(i)));
  std::ofstream(here.path("dark/broken.png")) << "no picture";
  const ChildOptions plain{.environment = {{"LUX_KERNELS", "plain"}}};
  for (const char* device : {"cpu", "cuda:0"}) {
    const ChildResult result = here.run({"enhance", "dark", "-o", device, "-g", device}, plain);
    INFO(result.err);
    CHECK(result.code == 1);  // but for the broken one
  }
  for (int i = 0; i < 7; ++i)
    CHECK(slurp(here.path(cat("cuda:0/", i, ".png"))) == slurp(here.path(cat("cpu/", i, ".png"))));

  TensorFile file = load_safetensors(here.path("zero_dce.safetensors"));
  for (auto& [name, tensor] : file.tensors) {
    tensor = full(tensor.shape(), 3e38, tensor.options());
    for (int64_t i = 0; i < tensor.numel(); i += 2) tensor.data<float>()[i] = -3e38F;  // inf - inf
  }
  save_safetensors(here.path("huge.safetensors"), file);
  const ChildResult huge =
      here.run({"enhance", "dark/0.png", "-o", "never.png", "-m", "huge.safetensors", "-g", "cuda:0"}, plain);
  CHECK(huge.code == 5);
  CHECK(contains(huge.err, "dark/0.png: the network's result is not finite"));
  CHECK_FALSE(fs::exists(here.path("never.png")));
}

TEST_CASE("parity prints a line per operator, and names the first beyond its bound") {
  const Workplace here;
  const ChildResult rows = here.run({"parity", "--with", "cpu", "--against", "cpu/f32/plain"});
  INFO(rows.out, rows.err);
  CHECK(rows.code == 0);
  CHECK(contains(rows.out, "  conv2d, relu\n"));
  CHECK(contains(rows.out, "\nall within their bounds\n"));

  const std::vector<std::string> network = {"parity",   "-n",     "zero_dce", "--with",
                                            "cpu/bf16", "--size", "24x16"};
  CHECK(here.run(network).code == 0);
  std::vector<std::string> strict = network;
  strict.insert(strict.end(), {"--bound", "1e-5"});
  const ChildResult beyond = here.run(strict);
  CHECK(beyond.code == 7);
  CHECK(contains(beyond.out, "first beyond its bound: conv2d [1, 16, 24, 32], operator 1 of "));
  strict.push_back("--json");
  int64_t passed = 0;
  const auto lines = json_lines(here.run(strict).out);
  for (const nlohmann::json& line : lines) {
    CHECK(line["bound"] == 1e-5);
    passed += line["passed"].get<bool>() ? 1 : 0;
  }
  CHECK(lines.size() == 2);  // convolutions, and curves
  CHECK(passed == 0);

  TensorFile file = load_safetensors(here.path("zero_dce.safetensors"));
  for (auto& [name, tensor] : file.tensors) tensor = full(tensor.shape(), 1e30, tensor.options());
  save_safetensors(here.path("huge.safetensors"), file);
  const ChildResult overflown = here.run({"parity", "-m", "huge.safetensors", "--with", "cpu/f32"});
  CHECK(overflown.code == 7);
  CHECK(contains(overflown.out, "first beyond its bound: "));

  for (const char* side : {"cpu/f8", "cpu/tf32", "cpu/f32/tuned", "gpu"})
    CHECK(here.run({"parity", "--with", side}).code == 2);
  for (const auto& [option, value] :
       {std::pair{"-n", "bogus"}, {"--filter", "no such case"}, {"--filter", "("}}) {
    const ChildResult refused = here.run({"parity", option, value});
    CHECK(refused.code == 2);
    CHECK(refused.out.empty());
  }
}

TEST_CASE("parity compares what both sides ran where a device takes another way through a layer") {
  if (!cuda::absence().empty()) {
    MESSAGE("skipped: no device here, not even one that the CPU plays");
    return;
  }
  const Workplace here;
  const ChildResult result =
      here.run({"parity", "-n", "unet", "--with", "cuda:0/f32", "--against", "cpu/f64", "--size", "16x16"});
  INFO(result.out, result.err);
  CHECK(result.code == 0);
  CHECK(contains(result.err, "operators that only one side ran"));
  CHECK(contains(result.out, "  sigmoid\n"));  // behind that layer
}

#ifdef LUX_TUNED_TOOL
TEST_CASE("with tuned kernels a device has the numbers of the CPU") {
  const Workplace here;
  for (const char* precision : {"f32", "bf16"}) {
    CAPTURE(std::string(precision));
    const std::string side = cat("cuda:0/", precision);
    for (const std::vector<std::string>& what :
         {std::vector<std::string>{}, {"-n", "zero_dce", "--size", "24x16"}}) {
      std::vector<std::string> command = {"parity", "--with", side};
      command.insert(command.end(), what.begin(), what.end());
      const ChildResult result = here.run(command, {}, LUX_TUNED_TOOL);
      INFO(result.out, result.err);
      CHECK(result.code == 0);
    }
  }
}
#endif

TEST_CASE("parity finds gradients of half precision that are not finite") {
  const Workplace here;
  TensorFile file = load_safetensors(here.path("zero_dce.safetensors"));
  for (auto& [name, tensor] : file.tensors) tensor = full(tensor.shape(), 0.5, tensor.options());
  save_safetensors(here.path("steep.safetensors"), file);
  const ChildResult result = here.run({"parity", "-m", "steep.safetensors", "--with", "cpu/f16", "--against",
                                       "cpu/f32", "--size", "16x16", "--json"});
  INFO(result.out, result.err);
  CHECK(result.code == 7);
  for (const nlohmann::json& line : json_lines(result.out)) CHECK(line["gradient_bound"] == 2);
}

TEST_CASE("gradcheck prints a line per case") {
  const Workplace here;
  const ChildResult result = here.run({"gradcheck", "--filter", "^(relu|conv2d, bias)"});
  INFO(result.out, result.err);
  CHECK(result.code == 0);
  CHECK(contains(result.out, "relu: ok"));
  CHECK(contains(result.out, " passed, 0 failed"));
  for (const nlohmann::json& line :
       json_lines(here.run({"gradcheck", "--filter", "[ts]igmoid", "--json"}).out))
    CHECK(line["passed"] == true);
  CHECK(here.run({"gradcheck", "--filter", "no such case"}).code == 2);
  CHECK(here.run({"gradcheck", "--filter", "("}).code == 2);
}

TEST_CASE("gradcheck names the case that is wrong, and gives 7") {
  const Workplace here;
  const ChildResult result = here.run({"gradcheck", "--filter", "^(relu|wrong)"}, {}, LUX_WRONG_TOOL);
  CHECK(result.code == 7);
  CHECK(contains(result.out, "relu: ok"));
  CHECK(contains(result.out, "wrong on purpose: FAILED, input 0 index"));
  CHECK(contains(result.out, " passed, 1 failed"));
  CHECK(here.run({"gradcheck", "--filter", "^relu"}, {}, LUX_WRONG_TOOL).code == 0);
}

TEST_CASE("kernels and instruction sets that nobody has give 2") {
  const Workplace here;
  for (const char* const name : {"LUX_KERNELS", "LUX_ISA"}) {
    const ChildResult result =
        here.run({"gradcheck", "--filter", "^tanh"}, {.environment = {{name, "fastest"}}});
    CHECK(result.code == 2);
    CHECK(contains(result.err, cat(name, ": expected ")));
    CHECK(contains(result.err, ", got fastest"));
    CHECK(here.run({"gradcheck", "--filter", "^tanh"}, {.environment = {{name, ""}}}).code == 0);
  }
}

TEST_CASE("a number of threads that is none gives 2") {
  const Workplace here;
  for (const char* threads : {"0", "257", "abc", "3x", "-1", "99999999999999999999"}) {
    const ChildResult result =
        here.run({"gradcheck", "--filter", "^tanh"}, {.environment = {{"LUX_THREADS", threads}}});
    CHECK(result.code == 2);
    CHECK(contains(result.err, cat("LUX_THREADS: expected 1 to 256, got ", threads)));
    CHECK(here.run({"gradcheck", "--filter", "^tanh", "-j", threads}).code == 2);
  }
  for (const char* threads : {"1", "256", ""}) {
    CHECK(here.run({"gradcheck", "--filter", "^tanh"}, {.environment = {{"LUX_THREADS", threads}}}).code ==
          0);
  }
}

TEST_CASE("bench times the pictures that it is asked for") {
  const Workplace here;
  const auto bench = [&](const char* size, const char* crop) {
    return here.run({"bench", "-n", "zero_dce", "--size", size, "--batch", "3", "--crop", crop, "--repeat",
                     "1", "--json"});
  };
  const ChildResult result = bench("20x18", "32");
  INFO(result.err);
  REQUIRE(result.code == 0);
  const nlohmann::json report = nlohmann::json::parse(result.out);
  CHECK(report["width"] == 20);
  CHECK(report["height"] == 18);
  CHECK(report["training_batch"] == 3);
  CHECK(report["training_size"] == 32);
  CHECK(report["forward_ms"] > 0);
  CHECK(report["images_per_second"] == doctest::Approx(3000 / report["forward_ms"].get<double>()));
  CHECK(bench("20", "32").code == 2);
  CHECK(bench("20x18", "8").code == 2);
}

TEST_CASE("bench tries a precision on each network first") {
  if (cpu::isa() == nullptr || cpu::isa()->pairs == nullptr) {
    MESSAGE("skipped: this processor has no products of bf16");
    return;
  }
  const Workplace here;
  const ChildResult result = here.run({"bench", "-n", "zero_dce", "--size", "32x32", "--only", "inference",
                                       "--repeat", "1", "--precision", "bf16", "-g", "cpu", "--json"});
  CHECK(result.code == 0);
  CHECK(contains(result.err, " dB from exact on a probe picture"));
  CHECK(nlohmann::json::parse(result.out)["precision"] == "bf16");
}

TEST_CASE("bench states the memory of the pictures that it is asked for") {
  const Workplace here;
  const auto bench = [&](const char* batch) {
    return nlohmann::json::parse(here.run({"bench", "-n", "zero_dce", "--size", "400x300", "--batch", batch,
                                           "--only", "inference", "--repeat", "1", "--json"})
                                     .out);
  };
  constexpr int64_t kParameters = 79416 * 4, kPicture = 400 * 300 * 3 * 4;
  const nlohmann::json one = bench("1"), eight = bench("8");
  const auto optimum = [](const nlohmann::json& report) {
    return report["memory_optimum_bytes"].get<int64_t>();
  };
  CHECK(optimum(eight) - kParameters == 8 * (optimum(one) - kParameters));
  // They run one after the other, but are all there, and their results.
  const int64_t more = eight["memory_peak_bytes"].get<int64_t>() - one["memory_peak_bytes"].get<int64_t>();
  CHECK(more > 7 * 2 * kPicture * 9 / 10);
  CHECK(more < 7 * 2 * kPicture * 11 / 10 + (1 << 20));
}

TEST_CASE("bench times a device by its own clock, with its memory, and what its operators take") {
  if (!cuda::absence().empty() || cuda::is_real()) {
    MESSAGE("skipped: on a GPU gpu_check.sh does it");
    return;
  }
  const Workplace here;
  const std::vector<std::string> command = {"bench",  "-n",    "zero_dce", "-g", "cuda:0",
                                            "--size", "24x16", "--repeat", "1",  "--operators"};
  std::vector<std::string> all = command, inference = command;
  all.insert(all.end(), {"--crop", "16", "--batch", "1", "--json"});
  const ChildResult result = here.run(all);
  INFO(result.err);
  REQUIRE(result.code == 0);
  CHECK(contains(result.err, "roofs of cuda:0: products in fp32 "));
  const nlohmann::json report = nlohmann::json::parse(result.out);
  for (const char* key :
       {"forward_ms", "images_per_second", "training_step_ms", "training_images_per_second"})
    CHECK(report[key] > 0);
  // The parameters, and maps of 32 channels; the step has gradients and moments, too.
  CHECK(report["memory_peak_bytes"] > 4 * 79416 + 2 * 24 * 16 * 32 * 4);
  CHECK(report["training_memory_peak_bytes"] > 16 * 79416);
  double ms = 0;
  for (const nlohmann::json& row : report["operators"]) ms += row["ms"].get<double>();
  CHECK(ms > 0);
  CHECK(report["forward_kernels"].is_array());  // empty: there are no tuned kernels of such a device
  CHECK(report["training_kernels"].is_array());
  inference.insert(inference.end(), {"--only", "inference"});
  const ChildResult text = here.run(inference);
  CHECK(text.code == 0);
  CHECK(contains(text.out, " pictures per second\n"));
}

TEST_CASE("bench enhances bytes into bytes, on a device by the way of a folder's photos, too") {
  const Workplace here;
  const auto bench = [&](const char* device) {
    return nlohmann::json::parse(here.run({"bench", "-n", "zero_dce", "--size", "24x16", "--photo", "--only",
                                           "inference", "--repeat", "1", "--device", device, "--json"})
                                     .out);
  };
  const nlohmann::json on_cpu = bench("cpu");
  CHECK(on_cpu.value("forward_ms", 0.0) > 0);
  CHECK_FALSE(on_cpu.contains("in_turn_ms"));
  if (!cuda::absence().empty() || cuda::is_real()) {
    MESSAGE("skipped: on a GPU gpu_check.sh does it");
    return;
  }
  const nlohmann::json on_device = bench("cuda:0");
  CHECK(on_device.value("forward_ms", 0.0) > 0);
  CHECK(on_device.value("in_turn_ms", 0.0) > 0);
}

TEST_CASE("bench lists what the operators of an inference take, and times only what it is asked for") {
  const Workplace here;
  const ChildResult result = here.run({"bench", "-n", "zero_dce", "--size", "40x32", "--only", "inference",
                                       "--operators", "--repeat", "1", "--json"});
  INFO(result.err);
  REQUIRE(result.code == 0);
  CHECK(result.err.find("GFLOP/s") != std::string::npos);
  const nlohmann::json report = nlohmann::json::parse(result.out);
  CHECK(report.count("training_step_ms") == 0);
  double flops = 0;
  int64_t convolutions = 0;
  for (const nlohmann::json& row : report["operators"]) {
    flops += row["flops"].get<double>();
    CHECK(row["ms"] > 0);
    CHECK(row["bytes"] > 0);
    if (row["operator"].get<std::string>().starts_with("conv2d")) convolutions += row["calls"].get<int64_t>();
  }
  CHECK(convolutions == 7);
  // Two for each weight at each pixel; the 216 biases are no products.
  CHECK(flops == 2.0 * (79416 - 216) * 40 * 32);
  const ChildResult step = here.run({"bench", "-n", "zero_dce", "--only", "step", "--batch", "1", "--crop",
                                     "32", "--repeat", "1", "--json"});
  REQUIRE(step.code == 0);
  CHECK(nlohmann::json::parse(step.out).count("forward_ms") == 0);
  CHECK(here.run({"bench", "-n", "zero_dce", "--only", "both"}).code == 2);
}

TEST_CASE("evaluate compares with references") {
  const Workplace here;
  for (const char* folder : {"low", "high", "odd"}) fs::create_directory(here.path(folder));
  for (int i = 0; i < 3; ++i) {
    save_noise(here.path(cat("low/", i, ".png")), 20, 16, 1);
    save_noise(here.path(cat("high/", i, ".png")), 20, 16, 2);
  }
  save_noise(here.path("odd/0.png"), 20, 16, 2);
  const std::vector<std::string> command = {"evaluate", "-n", "zero_dce", "--low", "low", "--high"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), command.begin(), command.end());
    return here.run(more);
  };
  const ChildResult result = with({"high", "--json", "--csv", "scores.csv"});
  REQUIRE(result.code == 0);
  const nlohmann::json scores = nlohmann::json::parse(result.out);
  for (const char* key : {"psnr", "ssim", "psnr_uint8", "psnr_gt_mean", "mae"}) {
    CHECK(scores[key].is_number());
    CHECK(scores["interval"][key][0] == scores[key]);  // three times the same pair
  }
  CHECK(scores["images"] == 3);
  CHECK(scores["device"] == "cpu");
  CHECK(scores["weights_sha256"] == sha256(read_file(here.path("zero_dce.safetensors")).value()));
  CHECK(scores["data_sha256"].get<std::string>().size() == 64);
  CHECK(lines_of(slurp(here.path("scores.csv"))) == 5);
  CHECK_FALSE(scores.contains("baselines"));
  const std::string table = with({"high"}).out;
  for (const char* line : {"\nRGB, GT mean  ", "\nY, 8 bits  ", "95 % interval"})
    CHECK(contains(table, line));
  const nlohmann::json others =
      nlohmann::json::parse(with({"high", "--json", "--baseline", "gamma", "identity"}).out)["baselines"];
  CHECK(others.size() == 2);
  CHECK(others["gamma"]["psnr"] != others["identity"]["psnr"]);
  CHECK(contains(with({"high", "--baseline", "all"}).out, "\nauto_contrast  "));
  CHECK(with({"high", "--baseline", "magic"}).code == 2);
  CHECK(with({"high", "--min-psnr", "99"}).code == 7);
  CHECK(with({"odd"}).code == 3);
  CHECK(with({"absent"}).code == 3);
  CHECK(here.run({"evaluate", "--low", "low"}).code == 2);
  spill(here.path("names.txt"), "0\n2.png\n");
  CHECK(nlohmann::json::parse(with({"high", "--list", "names.txt", "--json"}).out)["images"] == 2);
  spill(here.path("names.txt"), "7\n");
  CHECK(with({"high", "--list", "names.txt"}).code == 3);
  TensorFile file = load_safetensors(here.path("zero_dce.safetensors"));
  for (auto& [name, tensor] : file.tensors) tensor = full(tensor.shape(), 1e30, tensor.options());
  save_safetensors(here.path("huge.safetensors"), file);
  for (const char* const form : {"--json", "--min-psnr=99", "--min-ssim=0.99"}) {
    const ChildResult overflown = with({"high", "-m", "huge.safetensors", "--csv", "none.csv", form});
    CHECK(overflown.code == 5);
    CHECK(overflown.out.empty());
    CHECK(contains(overflown.err, "0.png: the network's result is not finite"));
  }
  CHECK_FALSE(fs::exists(here.path("none.csv")));
  const std::string before = slurp(here.path("low/0.png"));
  CHECK(with({"high", "--csv", "low/0.png"}).code == 2);
  CHECK(slurp(here.path("low/0.png")) == before);
}

TEST_CASE("evaluate measures LPIPS with the networks that it is given") {
  const Workplace here;
  for (const char* folder : {"low", "high"}) fs::create_directory(here.path(folder));
  save_noise(here.path("low/0.png"), 40, 33, 1);
  save_noise(here.path("high/0.png"), 40, 33, 2);
  Trunk trunk(alexnet_convs());
  init_fan_in_uniform_(trunk, Generator(3));
  save_safetensors(here.path("alexnet.safetensors"), {trunk.state_dict(), {}});
  State weights;
  for (const int64_t channels : {64, 192, 384, 256, 256})
    weights[cat("lin", weights.size(), ".model.1.weight")] = full({1, channels, 1, 1}, 0.5);
  save_safetensors(here.path("lin.safetensors"), {weights, {}});
  const auto with = [&](const std::string& first, const std::string& second, const std::string& how) {
    return here.run({"evaluate", "-n", "zero_dce", "--low", "low", "--high", "high", "--baseline", "identity",
                     "--lpips", first, second, how});
  };
  const ChildResult result = with("alexnet.safetensors", "lin.safetensors", "--json");
  INFO(result.err);
  REQUIRE(result.code == 0);
  const nlohmann::json scores = nlohmann::json::parse(result.out);
  const Tensor low = to_tensor(load_image(here.path("low/0.png"))),
               high = to_tensor(load_image(here.path("high/0.png")));
  CHECK(scores["baselines"]["identity"]["lpips"] == Lpips(trunk.state_dict(), weights)(low, high));
  CHECK(scores["lpips"] > 0);
  CHECK(scores["lpips_uint8"] != scores["lpips"]);
  CHECK(scores["lpips_network"]["name"] == "AlexNet");
  CHECK(scores["lpips_network"]["trunk_sha256"] ==
        sha256(read_file(here.path("alexnet.safetensors")).value()));
  CHECK(contains(with("alexnet.safetensors", "lin.safetensors", "--progress=none").out, "MAE     LPIPS\n"));
  CHECK(with("absent.pth", "lin.safetensors", "--json").code == 3);
  const ChildResult mixed = with("zero_dce.safetensors", "lin.safetensors", "--json");
  CHECK(mixed.code == 4);
  CHECK(contains(mixed.err, "features.0.bias: missing, expected [64]"));
}

TEST_CASE("pack makes an archive that evaluate and train take like the folders") {
  const Workplace here;
  for (uint64_t i = 0; i < 3; ++i) {
    for (const char* side : {"lol/our485/low", "lol/our485/high", "lol/eval15/low", "lol/eval15/high"}) {
      fs::create_directories(here.path(side));
      save_noise(here.path(cat(side, "/", i, ".png")), 40, 36,
                 i + std::string(side).size() + (side[4] == 'o' ? 100 : 0));
    }
  }
  const std::vector<std::string> packing = {"pack",   "lol/eval15/low", "lol/eval15/high", "-o", "pairs.npz",
                                            "--size", "40x36"};
  const ChildResult packed = here.run(packing);
  CHECK(packed.code == 0);
  CHECK(packed.out.starts_with("pairs.npz: 3 pairs of 40x36, "));
  CHECK(here.run(packing).code == 2);  // it exists now
  const auto measured = [&](std::vector<std::string> data) {
    data.insert(data.begin(), {"evaluate", "-n", "zero_dce", "--json"});
    const ChildResult result = here.run(data);
    INFO(result.err);
    REQUIRE(result.code == 0);
    return nlohmann::json::parse(result.out)["psnr"].get<double>();
  };
  const double folders = measured({"--low", "lol/eval15/low", "--high", "lol/eval15/high"});
  CHECK(measured({"--data", "pairs.npz"}) == folders);
  CHECK(measured({"--data", "lol"}) == folders);
  CHECK(measured({"--data", "lol/our485"}) != folders);
  CHECK(here.run({"evaluate", "--data", "lol", "--low", "lol/our485/low"}).code == 2);

  const auto weights_of = [&](const std::string& data, const std::string& run) {
    const ChildResult result = here.run(
        {"train", "zero_dce", "--data", data, "--run", run, "--steps", "2", "--size", "32", "--batch", "2"});
    INFO(result.err);
    REQUIRE(result.code == 0);
    return load_safetensors(here.path(result.out.substr(0, result.out.find('\n'))))
        .tensors.at("e_conv1.weight");
  };
  CHECK(weights_of("pairs.npz", "packed").to_vector() == weights_of("lol/eval15", "folders").to_vector());

  for (const char* const wrong : {"0x5", "5", "5x", "x5", "5x5x5", "-1x5", "99999x1", "5 x5"}) {
    CAPTURE(wrong);
    CHECK(here.run({"pack", "lol/eval15/low", "lol/eval15/high", "-o", "o.npz", "--size", wrong}).code == 2);
  }
  CHECK(here.run({"pack", "lol/eval15/low", "lol/eval15/high", "-o", "o.zip"}).code == 2);
  CHECK(here.run({"pack", "lol/eval15/low"}).code == 2);
  CHECK(here.run({"pack", "lol/eval15/low", "absent", "-o", "o.npz"}).code == 3);
  CHECK_FALSE(fs::exists(here.path("o.npz")));
}
