// luxgrad train as a person uses it: a run, an interruption, a resume, and what goes wrong. The real binary
// runs as a child.
#include <sys/stat.h>

#include "luxgrad/kernels/cpu/isa.h"
#include "luxgrad/models/registry.h"
#include "luxgrad/models/vgg16.h"
#include "luxgrad/training/checkpoint.h"
#include "tool_workplace.h"

using namespace lux;

namespace {

/// Four noise pictures in `photos`.
void make_photos(const Workplace& here) {
  fs::create_directory(here.path("photos"));
  for (uint64_t i = 1; i <= 4; ++i) save_noise(here.path(cat("photos/", i, ".png")), 40, 36, i);
}

/// As many pairs in `pairs`, named from 1 on.
void make_pairs(const Workplace& here, uint64_t count) {
  for (const char* const side : {"pairs/low", "pairs/high"}) {
    fs::create_directories(here.path(side));
    for (uint64_t i = 1; i <= count; ++i)
      save_noise(here.path(cat(side, "/", i, ".png")), 40, 36, i + (side[6] == 'h' ? 10 : 0));
  }
}

std::vector<std::string> training(std::vector<std::string> more) {
  std::vector<std::string> command = {"train",  "zero_dce", "--data",  "photos", "--recipe",   "official",
                                      "--size", "32",       "--batch", "2",      "--progress", "none"};
  command.insert(command.end(), more.begin(), more.end());
  return command;
}

/// The network's parameters in the checkpoint that a run names.
std::map<std::string, std::vector<double>> weights_of(const Workplace& here, const ChildResult& run) {
  const Checkpoint checkpoint = read_checkpoint(here.path(run.out.substr(0, run.out.find('\n')))).value();
  std::map<std::string, std::vector<double>> values;
  for (const auto& [name, tensor] : checkpoint.weights) values[name] = tensor.to_vector();
  return values;
}

}  // namespace

TEST_CASE("a run leaves weights that enhance accepts") {
  const Workplace here;
  make_photos(here);
  const ChildResult run = here.run(training({"--run", "run", "--steps", "3"}));
  INFO(run.err);
  REQUIRE(run.code == 0);
  const std::string checkpoint = run.out.substr(0, run.out.find('\n'));
  CHECK(fs::exists(here.path(checkpoint)));
  CHECK(lines_of(slurp(here.path("run/log.jsonl"))) == 3);
  CHECK(contains(slurp(here.path("run/config.toml")), "official"));
  CHECK(here.run({"enhance", "-i", "photos/1.png", "-o", "bright.png", "-m", checkpoint}).code == 0);
}

TEST_CASE("a resumed run ends with the bits of an uninterrupted one") {
  const Workplace here;
  make_photos(here);
  const ChildResult whole = here.run(training({"--run", "whole", "--steps", "5"}));
  const ChildResult part = here.run(training({"--run", "part", "--steps", "2"}));
  const ChildResult rest = here.run(training({"--run", "part", "--steps", "5", "--resume", "-j", "1"}));
  INFO(whole.err, part.err, rest.err);
  REQUIRE(whole.code == 0);
  REQUIRE(part.code == 0);
  REQUIRE(rest.code == 0);
  CHECK(weights_of(here, whole) == weights_of(here, rest));
}

TEST_CASE("a run begins with the weights it is given, and is resumed with none but these") {
  const Workplace here;
  make_photos(here);
  const ChildResult first = here.run(training({"--run", "first", "--steps", "3"}));
  REQUIRE(first.code == 0);
  const std::string checkpoint = first.out.substr(0, first.out.find('\n'));
  const auto second = [&](std::vector<std::string> more) {
    std::vector<std::string> command = training({"--run", "second", "--lr", "1e-30"});
    command.insert(command.end(), more.begin(), more.end());
    return here.run(command);
  };
  const ChildResult still = second({"--weights", checkpoint, "--steps", "1"});
  INFO(still.err);
  REQUIRE(still.code == 0);
  CHECK(weights_of(here, still) == weights_of(here, first));  // a rate of 1e-30 moves none of them
  CHECK(second({"--steps", "2", "--resume"}).code == 4);
  CHECK(second({"--weights", checkpoint, "--steps", "2", "--resume"}).code == 0);
  CHECK(here.run({"train", "unet", "--data", "photos", "--run", "third", "-m", checkpoint}).code == 4);
}

TEST_CASE("an artefact of the network is one for the weights that are read, and no option contradicts it") {
  const Workplace here;
  make_pairs(here, 4);
  const std::unique_ptr<Model> model = make_model("mirnet_keras", {{"compat", "2021"}});
  model->init_(Generator(1));
  save_safetensors(here.path("2021.safetensors"), {model->state_dict(), {}});  // which says nothing of itself
  const auto refusal = [&](std::vector<std::string> more) {  // of too many pictures, after all else
    std::vector<std::string> command = {"train",        "mirnet_keras", "--data",   "pairs", "--dry-run",
                                        "--validation", "100",          "--compat", "2021"};
    command.insert(command.end(), more.begin(), more.end());
    const ChildResult result = here.run(command);
    CHECK(result.code == 2);
    return result.err;
  };
  CHECK(contains(refusal({"-m", "2021.safetensors"}), "--validation"));
  CHECK(contains(refusal({"--option", "compat=2021"}), "--validation"));
  CHECK(contains(refusal({"--option", "compat=2023"}),
                 "--compat 2021 is a network with compat=2021, --option compat=2023 another"));
}

TEST_CASE("weights that do not fit the training are refused with their file and a line for each tensor") {
  const Workplace here;
  make_photos(here);
  make_pairs(here, 2);
  const auto refusal = [&](const std::vector<std::string>& command) {
    const ChildResult result = here.run(command);
    INFO(result.err);
    CHECK(result.code == 4);
    return result.err;
  };
  const std::unique_ptr<Model> model = make_model("reference_guided", {{"deconv_bias", "true"}});
  save_weights(here.path("other.safetensors"), model->state_dict(), to_metadata(*model));
  const std::string biases = refusal({"train", "reference_guided", "--data", "pairs", "--size", "16",
                                      "--batch", "1", "--dry-run", "-m", "other.safetensors"});
  CHECK(contains(biases, "other.safetensors: load_state_dict: the weights do not fit the network:\n"));
  CHECK(contains(biases, ".bias: unexpected, got [128]\n"));

  REQUIRE(here.run(training({"--run", "run", "--steps", "1"})).code == 0);
  const std::string path = "run/checkpoints/" + checkpoint_name(1);
  Checkpoint torn = read_checkpoint(here.path(path)).value();
  torn.weights.erase("e_conv2.bias");
  torn.weights.erase("e_conv3.bias");
  save_checkpoint(here.path(path), torn);
  const std::string missing = refusal(training({"--run", "run", "--steps", "2", "--resume"}));
  CHECK(contains(missing, path + ": load_state_dict: the weights do not fit the network:\n"));
  CHECK(contains(missing,
                 "\n  e_conv2.bias: missing, expected [32]\n  e_conv3.bias: missing, expected [32]\n"));
}

TEST_CASE("twenty processes with other addresses, heaps and numbers of threads make the same weights") {
  const Workplace here;
  make_photos(here);
  std::vector<uint8_t> first;
  for (int i = 0; i < 20; ++i) {
    const std::string run = cat("run_", i);
    // The environment moves the stack, the padding the heap; fresh memory is filled with another byte each
    // time.
    const ChildResult result =
        here.run(training({"--run", run, "--steps", "3"}),
                 {.environment = {{"LUX_THREADS", cat(1 + i % 5)},
                                  {"PADDING", std::string(static_cast<size_t>(997 * i), 'x')},
                                  {"MALLOC_TOP_PAD_", cat(4099 * i)},
                                  {"MALLOC_PERTURB_", cat(13 * i)}}});
    INFO(result.err);
    REQUIRE(result.code == 0);
    Checkpoint checkpoint =
        read_checkpoint(here.path(run + "/checkpoints/step_00000003.safetensors")).value();
    checkpoint.progress.jsonl_bytes = checkpoint.progress.csv_bytes = 0;  // times have more or fewer digits
    if (i == 0) first = serialize_checkpoint(checkpoint);
    CHECK(serialize_checkpoint(checkpoint) == first);
  }
}

TEST_CASE("an interrupted run saves, says how to go on, and goes on") {
  const Workplace here;
  make_photos(here);
  const std::vector<std::string> endless = training({"--run", "run", "--steps", "1000000"});
  const ChildResult stopped = here.run(endless, {.interruption = {.file = here.path("run/log.jsonl")}});
  INFO(stopped.err);
  CHECK(stopped.code == 128 + SIGINT);
  CHECK(contains(stopped.err, "--resume"));
  const int64_t steps = lines_of(slurp(here.path("run/log.jsonl")));
  const ChildResult resumed = here.run(training({"--run", "run", "--steps", cat(steps + 2), "--resume"}));
  INFO(resumed.err);
  CHECK(resumed.code == 0);
  CHECK(lines_of(slurp(here.path("run/log.jsonl"))) == steps + 2);
}

TEST_CASE("a run leaves a report that needs nothing else") {
  const Workplace here;
  make_photos(here);
  REQUIRE(here.run(training({"--run", "run", "--steps", "4"})).code == 0);
  const std::string html = slurp(here.path("run/report.html"));
  CHECK(contains(html, "<h3>total</h3>"));
  CHECK(contains(html, "<polyline points=\"0,"));
  CHECK(contains(html, "<tr><td>recipe</td>"));
  CHECK(contains(html, "4 steps"));
  CHECK_FALSE(contains(html, "http"));
}

TEST_CASE("--dry-run plans and writes nothing; --config gives options that the command line overrides") {
  const Workplace here;
  make_photos(here);
  spill(here.path("plan.toml"), "epochs = 3\nbatch = 2\n");
  const auto planned = [&](std::vector<std::string> more) {
    std::vector<std::string> command = {"train", "zero_dce", "--data",   "photos",   "--size",
                                        "32",    "--recipe", "official", "--dry-run"};
    command.insert(command.end(), more.begin(), more.end());
    return here.run(command);
  };
  const ChildResult result = planned({"--config", "plan.toml"});
  CHECK(result.code == 0);
  CHECK(contains(result.out, "batch = 2\n"));
  CHECK(contains(result.out, "e_conv1.weight [32, 3, 3, 3]\n"));
  CHECK(contains(result.out, "\n79416 parameters, "));
  CHECK(contains(result.out, " of pictures in the loader\n"));
  CHECK_FALSE(fs::exists(here.path("run")));
  CHECK(contains(planned({"--config", "plan.toml", "--batch", "3"}).out, "batch = 3\n"));
  spill(here.path("plan.toml"), "epoch = 3\n");
  CHECK(planned({"--config", "plan.toml"}).code == 2);
  CHECK(planned({"--config", "absent.toml"}).code == 2);
  const ChildResult refused = planned({"--recompute"});
  CHECK(refused.code == 2);
  CHECK(contains(refused.err, "--recompute: zero_dce has no blocks worth it"));
}

TEST_CASE("a network that bf16 would spoil is trained in fp32, which is said; another says how near it is") {
  if (cpu::isa() == nullptr || cpu::isa()->pairs == nullptr) {
    MESSAGE("skipped: this processor has no products of bf16");
    return;
  }
  const Workplace here;
  make_photos(here);
  save_wild(here.path("wild.safetensors"));
  const auto planned = [&](std::vector<std::string> more) {
    std::vector<std::string> command = {"train", "zero_dce_plus", "--data",   "photos",      "--size",
                                        "32",    "--batch",       "1",        "--precision", "bf16",
                                        "-g",    "cpu",           "--dry-run"};
    command.insert(command.end(), more.begin(), more.end());
    return here.run(command);
  };
  const ChildResult near = planned({}), wild = planned({"-m", "wild.safetensors"});
  INFO(near.err, wild.err);
  CHECK(near.code == 0);
  CHECK(contains(near.err, "note: bf16 is "));
  CHECK(contains(near.out, "precision = bf16\n"));
  CHECK(wild.code == 0);
  CHECK(contains(wild.err, "; fp32 it is\n"));
  CHECK_FALSE(contains(wild.out, "precision = "));
}

TEST_CASE("--dry-run measures the step, and not the pictures that the loader keeps") {
  const Workplace here;
  const auto tensors_on = [&](int count) {
    fs::create_directory(here.path(std::to_string(count)));
    for (int i = 0; i < count; ++i)
      save_noise(here.path(cat(count, "/", i, ".png")), 300, 300, static_cast<uint64_t>(i));
    const std::string out = here.run({"train", "zero_dce", "--data", std::to_string(count), "--size", "32",
                                      "--squares", "1", "--batch", "2", "--threads", "1", "--dry-run"})
                                .out;
    const size_t from = out.find("tensors of ");
    REQUIRE(from != std::string::npos);
    return out.substr(from, out.find(';', from) - from);
  };
  CHECK(tensors_on(2) == tensors_on(12));
}

TEST_CASE("a file of options is a small text without tables; what is none is refused in a sentence") {
  const Workplace here;
  make_photos(here);
  REQUIRE(mkfifo(here.path("pipe.toml").c_str(), 0600) == 0);
  const auto refusal = [&](const std::string& file) {
    const ChildResult result = here.run({"train", "zero_dce", "--dry-run", "--config", file});
    INFO(file, ": ", result.err);
    CHECK(result.code == 2);
    CHECK(result.out.empty());
    CHECK(lines_of(result.err) == 1);
    return result.err;
  };
  CHECK(contains(refusal("absent.toml"), "absent.toml: "));
  for (const char* name : {"pipe.toml", "/dev/zero", "/dev/tty", "/proc/self/mem", "in"})
    CHECK(contains(refusal(name), cat(name, ": ")));
  const auto refused_text = [&](const std::string& text) {
    spill(here.path("plan.toml"), text);
    return refusal("plan.toml");
  };
  std::string deep = "[a";
  for (int level = 1; level < 20'000; ++level) deep += ".a";
  const std::pair<std::string, std::string> texts[] = {
      {deep + "]\nlr = 1\n", "line 1: expected name = value, not a [table]"},
      {"# options\ndata = \"photos\n", "line 2: a quote is not closed"},
      {"lr = 1\nepoch = 3\n", "line 2: unknown option epoch"},
      {"help = true\n", "line 1: unknown option help"},
      {"config = \"plan.toml\"\n", "line 1: unknown option config"},
      {"\nlr = fast\n", "line 2: "},
      {"lr = nan\n", "line 1: "},
      {"recompute = maybe\n", "line 1: "},
      {"option = []\n", "line 1: option has no value"},
      {"batch = [1, 2]\n", "line 1: "},
      {"resume = [true, false]\n", "line 1: resume: expected one value, got 2"},
      {"epochs = 3\nsteps = 5\n", "--steps"},
      {std::string(1 << 20, '#') + "\n", "larger than"},
      {"data = \"\x1b[2J\"\n", "line 1: is no printable UTF-8 text"},
  };
  for (const auto& [text, reason] : texts) CHECK(contains(refused_text(text), reason));
  spill(here.path("plan.toml"),
        "model = zero_dce\nsize = 32  # pixels\ndata = 'photos'\n\n"
        "option = [  # of the network\n  \"concat=keras\",\n]\nrecipe = \"keras\"\nbatch = 2\n"
        "dry-run = true\nresume = false\r\n");
  const ChildResult planned = here.run({"train", "--config", "plan.toml"});
  INFO(planned.err);
  CHECK(planned.code == 0);
  CHECK(contains(planned.out, "concat = keras\n"));
  CHECK(contains(planned.out, "size = 32\n"));
  spill(here.path("plan.toml"), "epochs = 3\nsize = 32\ndata = 'photos'\n");
  const ChildResult stepped =
      here.run({"train", "zero_dce", "--dry-run", "--config", "plan.toml", "--steps", "5", "--size", "16"});
  INFO(stepped.err);
  CHECK(stepped.code == 0);
  CHECK(contains(stepped.out, "steps = 5\n"));
  CHECK(contains(stepped.out, "size = 16\n"));
}

TEST_CASE("folders low and high are trained on as pairs, others are made dark") {
  const Workplace here;
  make_photos(here);
  make_pairs(here, 2);
  REQUIRE(
      here.run({"train", "zero_dce", "--data", "pairs", "--run", "paired", "--steps", "1", "--size", "32"})
          .code == 0);
  const std::string paired = slurp(here.path("paired/config.toml"));
  CHECK(contains(paired, "pictures = 2\n"));
  CHECK(contains(paired, "squares.repeats = 8\n"));
  CHECK_FALSE(contains(paired, "relight"));
  REQUIRE(here.run({"train", "zero_dce", "--data", "photos", "--run", "dark", "--steps", "1", "--size", "32"})
              .code == 0);
  CHECK(contains(slurp(here.path("dark/config.toml")), "relight.deep_share = "));
  CHECK_FALSE(contains(slurp(here.path("dark/config.toml")), "relight.gamma"));
  REQUIRE(here.run({"train", "unet", "--data", "photos", "--run", "drawn", "--steps", "1", "--size", "16",
                    "--batch", "2", "--squares", "2"})
              .code == 0);
  const std::string drawn = slurp(here.path("drawn/config.toml"));
  CHECK(contains(drawn, "relight.repeats = 2\n"));
  CHECK(contains(drawn, "relight.gamma = \"1 to 1.5\"\n"));
  CHECK(contains(drawn, "turns = \"none\""));
  const ChildResult guided =
      here.run({"train", "reference_guided", "--data", "photos", "--batch", "1", "--dry-run"});
  CHECK(contains(guided.out, "size = 128\n"));
  CHECK_FALSE(contains(guided.out, "patch"));
}

TEST_CASE("squares, turns, patches, the end of the rate and listed validation change a published recipe") {
  const Workplace here;
  make_pairs(here, 4);
  spill(here.path("names.txt"), "2\n3.png\n");
  const auto planned = [&](std::vector<std::string> more) {
    std::vector<std::string> command = {"train", "unet", "--data", "pairs", "--size", "16", "--dry-run"};
    command.insert(command.end(), more.begin(), more.end());
    return here.run(command);
  };
  const ChildResult result =
      planned({"--squares", "3", "--turns", "flips", "--patch", "5", "--lr", "0.01", "--lr-end", "0.0001",
               "--epochs", "2", "--batch", "2", "--validation", "names.txt"});
  INFO(result.err);
  REQUIRE(result.code == 0);
  for (const char* fact : {"squares.repeats = 3\n", "turns = flips\n", "patch = 5\n", "adam.lr = 0.01\n",
                           "adam.lr_end = 1e-04\n", "steps = 6\n", "validation = listed"})
    CHECK_MESSAGE(contains(result.out, fact), std::string(fact));
  CHECK_FALSE(contains(planned({"--turns", "all"}).out, "squares.repeats"));
  spill(here.path("names.txt"), "5\n");
  CHECK(planned({"--validation", "names.txt"}).code == 3);
  CHECK(planned({"--validation", "absent.txt"}).code == 3);
  CHECK(planned({"--validation", "-1"}).code == 2);
  CHECK(planned({"--turns", "some"}).code == 2);
  CHECK(here.run({"train", "reference_guided", "--data", "pairs", "--squares", "2", "--dry-run"}).code == 2);
}

TEST_CASE("--perceptual adds what VGG16 sees to the loss, or says why not") {
  const Workplace here;
  make_pairs(here, 2);
  Vgg16 trunk;
  save_safetensors(here.path("vgg16.safetensors"), {trunk.state_dict(), {}});
  const auto run = [&](std::vector<std::string> more, const std::string& model = "unet") {
    std::vector<std::string> command = {"train",   model, "--data", "pairs", "--run",   "run",
                                        "--steps", "1",   "--size", "16",    "--batch", "2"};
    command.insert(command.end(), more.begin(), more.end());
    return here.run(command);
  };
  const auto refused = [&](const ChildResult& result, int code, const std::string& text) {
    INFO(result.err);
    CHECK(result.code == code);
    CHECK(contains(result.err, text));
  };
  const std::vector<std::string> weight = {"--perceptual-weight", "0.1"};
  const auto with = [&](const std::string& file) {
    std::vector<std::string> all = weight;
    all.insert(all.end(), {"--perceptual", file});
    return all;
  };
  refused(run(weight), 2, "go together");
  refused(run({"--perceptual", "vgg16.safetensors"}), 2, "go together");
  refused(run(with("vgg16.safetensors"), "zero_dce"), 2, "takes no such term");
  refused(run(with("absent.pth")), 3, "absent.pth");
  refused(run(with("zero_dce.safetensors")), 4, "features.0.bias: missing, expected [64]");
  CHECK_FALSE(fs::exists(here.path("run")));
  const ChildResult trained = run(with("vgg16.safetensors"));
  INFO(trained.err);
  CHECK(trained.code == 0);
  CHECK(contains(slurp(here.path("run/config.toml")), "weight.perceptual"));
  CHECK(contains(slurp(here.path("run/log.jsonl")), "perceptual"));
}

TEST_CASE("what cannot be trained is refused with the right code") {
  const Workplace here;
  make_photos(here);
  const auto code = [&](const std::vector<std::string>& arguments) {
    const ChildResult result = here.run(arguments);
    INFO(result.err);
    CHECK(contains(result.err, "error"));
    return result.code;
  };
  CHECK(code({"train"}) == 2);
  CHECK(code({"train", "zero_dce", "--run", "run"}) == 2);
  CHECK(code({"train", "zero_dec", "--data", "photos", "--run", "run"}) == 2);
  CHECK(code(training({"--run", "run", "--recipe", "secret"})) == 2);
  CHECK(code(training({"--run", "run", "--steps", "1", "--epochs", "1"})) == 2);
  CHECK(code({"train", "zero_dce", "--data", "photos", "--run", "run", "--size", "10"}) == 2);
  CHECK(code({"train", "zero_dce_plus", "--data", "photos", "--run", "run", "--scale-factor", "4", "--size",
              "66"}) == 2);
  CHECK(code({"train", "zero_dce", "--data", "photos", "--run", "run", "--seed", "-1"}) == 2);
  CHECK_FALSE(fs::exists(here.path("run")));
  for (const char* const many : {"1e300", "18446744073709551616", "6", "1.5"}) {
    for (const char* const how : {"--run=run", "--dry-run"}) {
      const ChildResult refused = here.run(training({how, "--steps", "1", "--validation", many}));
      INFO(refused.err);
      CHECK(refused.code == 2);
      CHECK(
          contains(refused.err, "--validation: expected a share below 1 or a number of at most 4 pictures"));
    }
  }
  CHECK_FALSE(fs::exists(here.path("run")));
  CHECK(code({"train", "zero_dce", "--data", "absent", "--run", "run"}) == 3);
  spill(here.path("photos/5.png"), "no picture");
  CHECK(code(training({"--run", "run", "--steps", "1"})) == 3);
  fs::remove(here.path("photos/5.png"));
  spill(here.path("file"), "");
  CHECK(code(training({"--run", "file/run", "--steps", "1"})) == 6);
  REQUIRE(here.run(training({"--run", "run", "--steps", "1"})).code == 0);
  CHECK(code(training({"--run", "run", "--steps", "1"})) == 4);
  CHECK(code(training({"--run", "run", "--steps", "2", "--seed", "1", "--resume"})) == 4);
}
