// The whole path of a GPU without one: convolutions and products by a cuDNN and a cuBLAS that are not
// NVIDIA's (fake_cudnn.cpp), on the device that the CPU plays, whose memory is locked while nothing runs
// there, and for the tool with the tuned kernels in its slots (tuned_on_device.cpp). What nobody may do
// shows: the engines that are not allowed are off by 1000, and a kernel for the CPU only is refused.
#include <doctest/doctest.h>

#include "environment.h"
#include "fake_cudnn_on_device.h"
#include "luxgrad/kernels/conv2d.h"
#include "luxgrad/kernels/cuda/vendor.h"
#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/cuda_graph.h"
#include "luxgrad/tensor/emulated_gpu.h"
#include "same_bits.h"
#include "tool_workplace.h"

using namespace lux;

namespace {

constexpr Device kCuda{Device::Type::cuda, 0};

using Variables = std::map<std::string, std::string>;
const Variables kLaunchByLaunch = {{"LUX_CUDA_GRAPHS", "0"}};

ChildResult run(const Workplace& here, std::vector<std::string> arguments, Variables more = {}) {
  more.insert({{"LUX_CUDNN", LUX_FAKE_CUDNN}, {"LUX_CUBLAS", LUX_FAKE_CUDNN}});
  arguments.insert(arguments.end(), {"--device", "cuda:0"});
  return here.run(std::move(arguments), {.environment = std::move(more)});
}

/// The libraries in this process.
struct Started {
  EnvironmentVariable cudnn{"LUX_CUDNN", LUX_FAKE_CUDNN}, cublas{"LUX_CUBLAS", LUX_FAKE_CUDNN};
  Started() {
    REQUIRE(use_fake_cudnn_on_device());
    cuda::start_vendor_libraries({cuda::stream, cuda::synchronize});
  }
  ~Started() { cuda::stop_vendor_libraries(); }
};

Tensor noise_of(const Shape& shape, uint64_t seed) {
  Tensor tensor = empty(shape);
  Generator generator(seed);
  fill_uniform_(tensor, -1, 1, generator);
  return tensor.to(kCuda);
}

/// Three pictures of one size, the last of which goes by a graph if there are any.
void save_pictures(const Workplace& here, int64_t width, int64_t height) {
  for (int i = 0; i < 3; ++i)
    save_noise(here.path(cat("in/", i, ".png")), width, height, static_cast<uint64_t>(i));
}

}  // namespace

TEST_CASE("the libraries are there") {
  const Workplace here;
  const ChildResult result = run(here, {"info", "--json"});
  INFO(result.err);
  REQUIRE(result.code == 0);
  CHECK(nlohmann::json::parse(result.out)["cuda"]["libraries"] == "cuDNN 9.19.0, cuBLAS 12.1.2");
}

TEST_CASE("operators and networks have the numbers of the CPU") {
  const Workplace here;
  for (const char* precision : {"f32", "tf32", "bf16", "f16"}) {
    const std::string side = cat("cuda:0/", precision);
    for (const std::vector<std::string>& what : {std::vector<std::string>{"--filter", "conv|linear"},
                                                 {"-n", "zero_dce", "--size", "9x7"},
                                                 {"-n", "zero_dce_plus", "--size", "9x7"}}) {
      std::vector<std::string> command = {"parity", "--with", side};
      command.insert(command.end(), what.begin(), what.end());
      const ChildResult result =
          here.run(command, {.environment = {{"LUX_CUDNN", LUX_FAKE_CUDNN}, {"LUX_CUBLAS", LUX_FAKE_CUDNN}}});
      INFO(result.out, result.err);
      CHECK(result.code == 0);
    }
  }
}

TEST_CASE("pictures are enhanced to the same bits as graphs and launch by launch, near those of the CPU") {
  const Workplace here;
  save_pictures(here, 13, 9);
  REQUIRE(here.run({"enhance", "in", "-o", "cpu", "-g", "cpu"}).code == 0);
  for (const std::string precision : {"exact", "tf32", "bf16"}) {
    CAPTURE(precision);
    for (const bool graphs : {true, false}) {
      const ChildResult result =
          run(here, {"enhance", "in", "-o", precision + (graphs ? "" : "_single"), "--precision", precision},
              graphs ? Variables{} : kLaunchByLaunch);
      INFO(result.err);
      REQUIRE(result.code == 0);
      CHECK_FALSE(contains(result.err, "launch by launch"));
    }
    for (const std::string& name : here.files("cpu")) {
      CHECK(slurp(here.path(cat(precision, "/", name))) ==
            slurp(here.path(cat(precision, "_single/", name))));
      const Image image = load_image(here.path(cat(precision, "/", name))),
                  expected = load_image(here.path(cat("cpu/", name)));
      REQUIRE(image.samples.size() == expected.samples.size());
      int most = 0;
      for (size_t i = 0; i < image.samples.size(); ++i)
        most = std::max(most, std::abs(int{image.samples[i]} - int{expected.samples[i]}));
      CHECK(most <= (precision == "exact" ? 1 : 3));
    }
  }
}

TEST_CASE("a network is trained to the same bits as graphs and launch by launch") {
  const Workplace here;
  save_pictures(here, 13, 11);
  for (const std::string precision : {"exact", "bf16"}) {
    CAPTURE(precision);
    for (const bool graphs : {true, false}) {
      const ChildResult result =
          run(here,
              {"train", "zero_dce", "--data", "in", "--run", precision + (graphs ? "" : "_single"), "--steps",
               "3", "--size", "11", "--batch", "1", "--precision", precision},
              graphs ? Variables{} : kLaunchByLaunch);
      INFO(result.out, result.err);
      REQUIRE(result.code == 0);
      CHECK_FALSE(contains(result.err, "launch by launch"));
    }
    const auto state = [&](const std::string& folder) {
      return load_safetensors(here.path(folder + "/checkpoints/step_00000003.safetensors")).tensors;
    };
    const State expected = state(precision + "_single");
    CHECK(expected.size() > 14);  // weights, biases and their moments
    for (const auto& [name, tensor] : state(precision)) CHECK(same_bits(tensor, expected.at(name)));
  }
}

TEST_CASE("--autotune finds engines that may be used, which the next run takes") {
  const Workplace here;
  save_pictures(here, 5, 3);
  const Variables cache = {{"XDG_CACHE_HOME", here.path("cache")}};
  const auto enhanced = [&](const char* folder, bool autotune) {
    std::vector<std::string> command = {"enhance", "in", "-o", folder};
    if (autotune) command.emplace_back("--autotune");
    const ChildResult result = run(here, command, cache);
    INFO(result.err);
    REQUIRE(result.code == 0);
    CHECK_FALSE(contains(result.err, "launch by launch"));
    for (const std::string& name : here.files("in"))
      if (autotune) CHECK(slurp(here.path(cat(folder, "/", name))) == slurp(here.path(cat("plain/", name))));
    return slurp(here.path("cache/luxgrad/plans"));
  };
  CHECK(enhanced("plain", false).empty());
  const std::string found = enhanced("first", true);
  CHECK(std::count(found.begin(), found.end(), '\n') > 5);
  CHECK(enhanced("second", true) == found);
}

TEST_CASE("a picture that the device has too little memory for is enhanced with less at a time") {
  const Workplace here;
  save_noise(here.path("in/tall.png"), 24, 56);
  const auto enhanced = [&](const char* folder, const char* memory) {
    const ChildResult result = run(here, {"enhance", "in", "-o", folder}, {{"LUX_EMULATED_MEMORY", memory}});
    INFO(result.err);
    REQUIRE(result.code == 0);
    CHECK_FALSE(contains(result.err, "on the CPU"));
    return contains(result.err, "memory ran out; done with less at a time");
  };
  CHECK_FALSE(enhanced("whole", "1000000000"));
  CHECK(enhanced("less", "1200000"));
  CHECK(slurp(here.path("less/tall.png")) == slurp(here.path("whole/tall.png")));
}

// Convolutions of ever other sizes let the plans of a graph be forgotten while it is used.
TEST_CASE("a graph keeps the plans that it launches") {
  const Started started;
  const Tensor weight = noise_of({8, 3, 3, 8}, 1), x = noise_of({1, 5, 4, 8}, 2);
  const auto convolved = [&](const Tensor& from) { return conv2d(from, weight, Tensor(), {.padding = 1}); };
  const Tensor expected = convolved(x).to(kCpu);
  cuda::Graphs graphs;
  const auto run = [&] {
    return graphs.run("conv", {x}, {weight}, [&](const Tensors& in) -> Tensors { return {convolved(in[0])}; })
        .at(0)
        .to(kCpu);
  };
  for (int i = 0; i < 3; ++i) CHECK(same_bits(run(), expected));
  CHECK(graphs.size() == 1);
  const Tensor dot = noise_of({1, 2, 1, 8}, 3), mixed = noise_of({8, 1, 1, 8}, 4);
  for (int64_t stride = 2; stride < 2100; ++stride) conv2d(dot, mixed, Tensor(), {.stride = stride});
  CHECK(same_bits(run(), expected));
  CHECK(emulated_gpu::overruns() == 0);
}
