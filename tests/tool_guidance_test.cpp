// The tool with networks that are guided by more than the picture.
#include <doctest/doctest.h>

#include <fstream>

#include "luxgrad/models/registry.h"
#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/raw.h"
#include "luxgrad/training/checkpoint.h"
#include "tool_workplace.h"

using namespace lux;

namespace {

// A workplace with weights for reference_guided, that nobody trained; but luminance counts in them.
struct Guided : Workplace {
  Guided() {
    const std::unique_ptr<Model> model = make_model("reference_guided");
    model->init_(Generator(1));
    const Tensor dense = model->state_dict().at("decoder.dense.weight");
    for (int64_t i = 0; i < dense.numel(); ++i) dense.data<float>()[i] *= 100;
    save_weights(path("reference_guided.safetensors"), model->state_dict(), to_metadata(*model));
    save_noise(path("dark.png"));
    save_noise(path("bright.png"), 20, 30, 2);
    save_noise(path("other.png"), 8, 8, 3);
  }

  /// The bytes of the picture that these options make of dark.png.
  std::vector<uint8_t> made_with(std::vector<std::string> options) const {
    options.insert(options.begin(),
                   {"enhance", "dark.png", "-o", "out.png", "--overwrite", "-n", "reference_guided"});
    const ChildResult result = run(options);
    CHECK_MESSAGE(result.code == 0, result.err);
    return load_image(path("out.png")).samples;
  }

  int code_of(const std::string& look) const {
    std::ofstream(path("look.json")) << look;
    return run({"enhance", "dark.png", "-o", "never.png", "-n", "reference_guided", "--look", "look.json"})
        .code;
  }
};

}  // namespace

TEST_CASE("a look that was kept is as good as its reference") {
  const Guided here;
  const std::vector<uint8_t> neutral = here.made_with({});
  const std::vector<uint8_t> one = here.made_with({"--reference", "bright.png", "--save-look", "look.json"});
  CHECK(one != neutral);
  CHECK(here.made_with({"--look", "look.json"}) == one);
  const std::vector<uint8_t> both =
      here.made_with({"--reference", "bright.png", "other.png", "--save-look", "both.json"});
  CHECK(here.made_with({"--look", "both.json"}) == both);
  CHECK(here.made_with({"--look", "look.json", "--reference", "other.png"}) == both);
}

TEST_CASE("a look that is not finite is neither kept nor used") {
  const Guided here;
  const std::unique_ptr<Model> model = make_model("reference_guided");
  for (const auto& [name, weight] : model->state_dict()) fill_(weight, 1e30);
  save_weights(here.path("huge.safetensors"), model->state_dict(), to_metadata(*model));
  const ChildResult result = here.run({"enhance", "dark.png", "-o", "never.png", "-m", "huge.safetensors",
                                       "--reference", "bright.png", "--save-look", "never.json"});
  CHECK(result.code == 5);
  CHECK(contains(result.err, "bright.png: the network's result is not finite"));
  CHECK_FALSE(fs::exists(here.path("never.json")));
  CHECK_FALSE(fs::exists(here.path("never.png")));
}

TEST_CASE("options of the network are named by --help, and a look has as many numbers as they say") {
  const Guided here;
  const std::string help = here.run({"enhance", "--help"}).out;
  for (const char* const option : {"deconv_bias=false, true (reference_guided)", "conv5_act=true, false",
                                   "lum_dim=96, 1 to 511", "norm=batch, instance", "skip=true, false",
                                   "compat=2023, 2021 (mirnet_keras)", "concat=official, keras (zero_dce)"})
    CHECK_MESSAGE(help.find(option) != std::string::npos, option);
  const std::vector<uint8_t> wide = here.made_with({"--reference", "bright.png"});
  const std::vector<uint8_t> narrow =
      here.made_with({"--option", "lum_dim=8", "--reference", "bright.png", "--save-look", "narrow.json"});
  CHECK(narrow != wide);
  CHECK(here.made_with({"--option", "lum_dim=8", "--look", "narrow.json"}) == narrow);
  const ChildResult refused =
      here.run({"enhance", "dark.png", "-o", "never.png", "-n", "reference_guided", "--look", "narrow.json"});
  CHECK(refused.code == 3);
  CHECK(refused.err.find("expected looks of 96 finite numbers each") != std::string::npos);
}

TEST_CASE("what is no look is refused, and no picture is written") {
  const Guided here;
  CHECK(here.code_of("no json") == 3);
  CHECK(here.code_of("[]") == 3);
  CHECK(here.code_of(R"({"model": 3, "looks": [[]]})") == 3);
  CHECK(here.code_of(R"({"model": "reference_guided", "looks": []})") == 3);
  CHECK(here.code_of(R"({"model": "reference_guided", "looks": [[1, 2, 3]]})") == 3);
  std::string numbers = "1e300";
  for (int i = 1; i < 96; ++i) numbers += ",1";
  CHECK(here.code_of(R"({"model": "reference_guided", "looks": [[)" + numbers + "]]}") == 3);
  CHECK(here.run({"enhance", "dark.png", "-o", "never.png", "-n", "reference_guided", "--reference",
                  "absent.png"})
            .code == 3);
  CHECK(
      here.run({"enhance", "dark.png", "-o", "never.png", "-n", "reference_guided", "--save-look", "l.json"})
          .code == 2);
  CHECK(here.run({"enhance", "dark.png", "-o", "never.png", "--reference", "bright.png"}).code == 2);
  CHECK(here.run({"enhance", "dark.png", "-o", "never.png", "--bn", "running"}).code == 2);
  CHECK_FALSE(fs::exists(here.path("never.png")));
}

TEST_CASE("evaluate says with which statistics, artefact and options a network was measured") {
  const Workplace here;
  for (const char* folder : {"low", "high"}) {
    fs::create_directory(here.path(folder));
    save_noise(here.path(cat(folder, "/1.png")), 20, 16, *folder == 'h' ? 10 : 0);
  }
  const std::unique_ptr<Model> model = make_model("gan");
  model->init_(Generator(1));
  save_weights(here.path("gan.safetensors"), model->state_dict(), to_metadata(*model));
  const auto measured = [&](const std::string& name, std::vector<std::string> more) {
    more.insert(more.begin(),
                {"evaluate", "-n", name, "--low", "low", "--high", "high", "--csv", "scores.csv"});
    const ChildResult table = here.run(more);
    INFO(table.err);
    REQUIRE(table.code == 0);
    more.insert(more.end(), {"--json"});
    nlohmann::json record = nlohmann::json::parse(here.run(more).out);
    const std::string method = record["method"];
    CHECK(table.out.starts_with(method + ", weights "));
    CHECK(contains(slurp(here.path("scores.csv")), method));
    return record;
  };
  const nlohmann::json published = measured("gan", {"--bn", "running", "--compat", "published"});
  CHECK(published["method"] == "gan (running statistics, published)");
  CHECK(published["options"] == nlohmann::json{{"bn", "running"}, {"compat", "published"}});
  const nlohmann::json plain = measured("gan", {});
  CHECK(plain["method"] == "gan (batch statistics)");
  CHECK(plain["options"] == nlohmann::json{{"bn", "batch"}, {"compat", "none"}});
  CHECK(measured("zero_dce", {})["method"] == "zero_dce");
  const nlohmann::json coarse = measured("zero_dce_plus", {"--scale-factor", "4"});
  CHECK(coarse["method"] == "zero_dce_plus (scale_factor=4)");
  CHECK(coarse["options"]["scale_factor"] == "4");
}

TEST_CASE("evaluate has a row for each reference, for the pictures' own, and for a look") {
  const Guided here;
  for (const char* folder : {"low", "high"}) {
    fs::create_directory(here.path(folder));
    for (uint64_t i = 1; i <= 2; ++i)
      save_noise(here.path(cat(folder, "/", i, ".png")), 20, 16, i + (*folder == 'h' ? 10 : 0));
  }
  const auto scores = [&](std::vector<std::string> more) {
    more.insert(more.begin(),
                {"evaluate", "-n", "reference_guided", "--low", "low", "--high", "high", "--json"});
    const ChildResult result = here.run(more);
    INFO(result.err);
    REQUIRE(result.code == 0);
    return nlohmann::json::parse(result.out);
  };
  const nlohmann::json neutral = scores({});
  CHECK(neutral["method"] == "reference_guided (neutral look)");
  CHECK_FALSE(neutral.contains("guides"));
  here.made_with({"--reference", "bright.png", "--save-look", "look.json"});
  const nlohmann::json all =
      scores({"--reference", "own", "bright.png", "--look", "look.json", "--baseline", "gamma"});
  CHECK(all["model"] == "reference_guided");
  CHECK(all["method"] == "reference_guided (own references)");
  CHECK(all["baselines"].size() == 1);
  const nlohmann::json& fixed = all["guides"]["reference_guided (bright.png)"];
  CHECK(fixed["psnr"] == all["guides"]["reference_guided (look.json)"]["psnr"]);
  CHECK(fixed["psnr"] != all["psnr"]);
  CHECK(all["psnr"] != neutral["psnr"]);
  // Its own references one by one are what `own` means.
  fs::remove(here.path("low/2.png"));
  fs::remove(here.path("high/2.png"));
  const nlohmann::json one = scores({"--reference", "high/1.png", "own"});
  CHECK(one["psnr"] == one["guides"]["reference_guided (own references)"]["psnr"]);
  CHECK(here.run({"evaluate", "--low", "low", "--high", "high", "--reference", "own"}).code == 2);
  CHECK(here.run({"evaluate", "--low", "low", "--high", "high", "--bn", "running"}).code == 2);
}

TEST_CASE("evaluate says once why a device runs a network launch by launch") {
  if (!cuda::absence().empty()) {
    MESSAGE("skipped: there is no device");
    return;
  }
  const Workplace here;
  for (const char* folder : {"low", "high"}) {
    fs::create_directory(here.path(folder));
    for (const char* name : {"1", "2", "3"}) save_noise(here.path(cat(folder, "/", name, ".png")), 12, 12);
  }
  const std::unique_ptr<Model> model = make_model("gan");
  model->init_(Generator(1));
  save_weights(here.path("gan.safetensors"), model->state_dict(), to_metadata(*model));
  const ChildResult result = here.run(
      {"evaluate", "-n", "gan", "--low", "low", "--high", "high", "--compat", "published", "-g", "cuda:0"});
  INFO(result.err);
  CHECK(result.code == 0);
  const std::string said =
      "runs launch by launch, not as a CUDA graph, because the work reads from the device\n";
  CHECK(contains(result.err, said));
  CHECK(result.err.find(said) == result.err.rfind(said));
}

TEST_CASE("references guide a network that a device stores as bf16") {
  if (!cuda::absence().empty()) {
    MESSAGE("skipped: there is no device");
    return;
  }
  const Guided here;
  here.made_with({"--reference", "bright.png", "--save-look", "look.json"});
  for (const std::vector<std::string>& look :
       {std::vector<std::string>{}, {"--reference", "bright.png"}, {"--look", "look.json"}}) {
    std::vector<std::string> command = {"enhance", "dark.png",         "-o", "out.png", "--overwrite",
                                        "-n",      "reference_guided", "-g", "cuda:0",  "--precision",
                                        "bf16"};
    command.insert(command.end(), look.begin(), look.end());
    const ChildResult result = here.run(command);
    INFO(result.err);
    CHECK(result.code == 0);
  }
}
