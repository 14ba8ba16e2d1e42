// luxgrad convert, and weights of other programs in the commands that take weights.
#include "luxgrad/data/file.h"
#include "luxgrad/data/npy.h"
#include "luxgrad/data/tensor_file.h"
#include "pth_file.h"
#include "same_bits.h"
#include "tool_workplace.h"

using namespace lux;

namespace {

void write(const std::string& path, const std::vector<uint8_t>& bytes) {
  (void)write_file_atomically(path, bytes).value();
}

State ours(const Workplace& here, const std::string& model = "zero_dce") {
  return load_safetensors(here.path(model + ".safetensors")).tensors;
}

/// The workplace's weights as PyTorch has them.
State theirs(const Workplace& here, const std::string& model = "zero_dce") {
  State state;
  for (const auto& [name, tensor] : ours(here, model)) state[name] = pth::torch_layout(tensor, false);
  return state;
}

bool equal(const State& a, const State& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.first == y.first && same_bits(x.second, y.second);
  });
}

}  // namespace

TEST_CASE("weights of every kind become safetensors and .npz with the same bits, and verify") {
  const Workplace here;
  for (const std::string model : {"zero_dce", "zero_dce_plus"}) {
    const State state = ours(here, model);
    write(here.path("archive"), pth::state_file(theirs(here, model)));
    write(here.path("stream"), pth::state_file(theirs(here, model), pth::Container::stream));
    write(here.path("arrays"), serialize_npz(state));
    write(here.path("plain"), serialize_safetensors({state, {}}));
    for (const char* input : {"archive", "stream", "arrays", "plain"}) {
      for (const char* output : {"out.safetensors", "out.npz"}) {
        const ChildResult result = here.run({"convert", input, output, "--verify", "--overwrite"});
        CAPTURE(input);
        INFO(result.err);
        CHECK(result.code == 0);
        CHECK(result.out.empty());
        CHECK(contains(result.err, "reads back bit by bit, and enhances a picture to the same bits"));
        CHECK(equal(load_tensor_file(here.path(output)).tensors, state));
      }
    }
    CHECK(load_safetensors(here.path("out.safetensors")).metadata.at("model") == model);
  }
}

TEST_CASE("the network's options and the facts of the file are kept") {
  const Workplace here;
  TensorFile file = load_safetensors(here.path("zero_dce_plus.safetensors"));
  file.metadata["trained_on"] = "photos";
  file.metadata["model.scale_factor"] = "4";
  save_safetensors(here.path("in.safetensors"), file);
  CHECK(here.run({"convert", "in.safetensors", "out.safetensors"}).code == 0);
  TensorFile out = load_safetensors(here.path("out.safetensors"));
  CHECK(out.metadata.at("trained_on") == "photos");
  CHECK(out.metadata.at("model.scale_factor") == "4");
  CHECK(here.run({"verify", "out.safetensors"}).code == 0);
  CHECK(here.run({"convert", "out.safetensors", "again.safetensors", "--scale-factor", "2"}).code == 0);
  CHECK(load_safetensors(here.path("again.safetensors")).metadata.at("model.scale_factor") == "2");
  const ChildResult arrays = here.run({"convert", "in.safetensors", "out.npz", "--verify"});
  CHECK(arrays.code == 0);
  CHECK(contains(arrays.err, "does not say which options"));
}

TEST_CASE("a checkpoint of a run becomes weights") {
  const Workplace here;
  save_noise(here.path("in/a.png"), 33, 33);
  REQUIRE(here.run({"train", "zero_dce", "--data", "in", "--run", "run", "--steps", "1", "--size", "32",
                    "--batch", "1"})
              .code == 0);
  CHECK(
      here.run({"convert", "run/checkpoints/step_00000001.safetensors", "w.safetensors", "--verify"}).code ==
      0);
  CHECK(load_safetensors(here.path("w.safetensors")).tensors.size() == 14);
}

TEST_CASE("commands take checkpoints of PyTorch as they take weights") {
  const Workplace here;
  save_noise(here.path("dark.png"));
  write(here.path("official.pth"), pth::state_file(theirs(here, "zero_dce_plus")));
  CHECK(here.run({"enhance", "dark.png", "-o", "a.png", "-m", "official.pth"}).code == 0);
  CHECK(here.run({"enhance", "dark.png", "-o", "b.png", "-m", "zero_dce_plus.safetensors"}).code == 0);
  CHECK(slurp(here.path("a.png")) == slurp(here.path("b.png")));
  CHECK(contains(here.run({"info", "official.pth"}).out, "e_conv1.depth_conv.weight [3, 1, 3, 3] f32"));
  CHECK(contains(here.run({"verify", "official.pth"}).out, "ok       official.pth: 28 tensors"));
}

TEST_CASE("a line for each tensor that does not fit, and no output") {
  const Workplace here;
  State state = theirs(here);
  state.erase("e_conv2.bias");
  state["e_conv3.weight"] = zeros({32, 31, 3, 3});
  state["more.weight\x1b[2J"] = zeros({5});
  write(here.path("bad.npz"), serialize_npz(state));
  const ChildResult result = here.run({"convert", "bad.npz", "out.safetensors"});
  INFO(result.err);
  CHECK(result.code == 4);
  CHECK(lines_of(result.err) == 4);
  CHECK(contains(result.err, "\n  e_conv2.bias: missing, expected [32]\n"));
  CHECK(contains(result.err, "\n  e_conv3.weight: expected [32, 3, 3, 32], got [32, 3, 3, 31]\n"));
  CHECK(contains(result.err, "\n  more.weight\\x1b[2J: unexpected, got [5]\n"));
  const ChildResult other = here.run({"convert", "zero_dce.safetensors", "out.safetensors", "-n", "unet"});
  CHECK(other.code == 4);
  write(here.path("official.pth"), pth::state_file(theirs(here)));
  const ChildResult wrong = here.run({"convert", "official.pth", "out.safetensors", "-n", "zero_dce_plus"});
  CHECK(wrong.code == 4);
  CHECK(lines_of(wrong.err) == 43);
  write(here.path("unknown.pth"), pth::state_file({{"conv.weight", zeros({1})}}));
  const ChildResult unknown = here.run({"convert", "unknown.pth", "out.safetensors"});
  CHECK(unknown.code == 4);
  CHECK(contains(unknown.err, "the weights are of no model known here; -n names one"));
  CHECK_FALSE(fs::exists(here.path("out.safetensors")));
}

TEST_CASE("files that are refused give 3, wrong usage 2, outputs that cannot be written 6") {
  const Workplace here;
  const auto attack = pth::zip_file(
      pth::dict(
          {{pth::text("w"), pth::call(pth::global("posix", "system"), pth::text("touch owned") + "\x85")}}),
      {});
  write(here.path("attack.pth"), attack);
  const ChildResult refused = here.run({"convert", "attack.pth", "out.safetensors"});
  CHECK(refused.code == 3);
  CHECK(lines_of(refused.err) == 1);
  CHECK(contains(refused.err, "attack.pth: asks for \"posix.system\""));
  CHECK(here.run({"enhance", "x.png", "-o", "y.png", "-m", "attack.pth"}).code == 3);
  CHECK_FALSE(fs::exists(here.path("owned")));
  CHECK(here.run({"convert", "absent.pth", "out.safetensors"}).code == 3);

  CHECK(here.run({"convert", "zero_dce.safetensors"}).code == 2);
  CHECK(here.run({"convert", "zero_dce.safetensors", "out.pth"}).code == 2);
  CHECK(here.run({"convert", "zero_dce.safetensors", "zero_dce.safetensors", "--overwrite"}).code == 2);
  CHECK(here.run({"convert", "zero_dce.safetensors", "out.npz", "-n", "zero_dec"}).code == 2);
  spill(here.path("kept.npz"), "mine");
  const ChildResult kept = here.run({"convert", "zero_dce.safetensors", "kept.npz"});
  CHECK(kept.code == 2);
  CHECK(contains(kept.err, "kept.npz: exists; --overwrite replaces it"));
  CHECK(slurp(here.path("kept.npz")) == "mine");
  CHECK(here.run({"convert", "zero_dce.safetensors", "absent/out.npz"}).code == 6);
}
