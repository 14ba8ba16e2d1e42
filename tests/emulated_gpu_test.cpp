// Every operator on a GPU that the CPU plays (tensor/emulated_gpu.h): the drivers and kernels that nvcc
// compiles for the device, with the launches, teams and sums of the device. Results and gradients are the
// bits of the plain kernels on the CPU; nothing writes beyond its buffers; nothing but kernels and copies
// touches device memory.
#include "luxgrad/tensor/emulated_gpu.h"

#include <doctest/doctest.h>

#include "error_of.h"
#include "gpu.h"
#include "luxgrad/autograd/engine.h"
#include "luxgrad/autograd/op_case.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/kernel_table.h"
#include "luxgrad/kernels/reductions.h"
#include "luxgrad/kernels/reshape.h"
#include "luxgrad/models/enhance.h"
#include "luxgrad/models/mirnet_v2.h"
#include "luxgrad/models/reference_guided.h"
#include "luxgrad/models/registry.h"
#include "luxgrad/models/unet.h"
#include "luxgrad/models/zero_dce.h"
#include "luxgrad/models/zero_dce_plus.h"
#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/cuda_graph.h"
#include "luxgrad/tensor/random.h"
#include "luxgrad/training/recipe.h"
#include "luxgrad/training/stepper.h"
#include "same_bits.h"

using namespace lux;

namespace {

constexpr Device kCuda{Device::Type::cuda, 0};

// The result and the gradients of the inputs, undefined where not asked for, on the CPU.
Tensors run_on(Device device, const OpCase& row, DType dtype) {
  const Tensors x = leaves(row.inputs, draw(row.inputs, dtype), device);
  const PlainKernels plain;
  const Tensor y = row.run(x);
  CHECK(y.device() == device);
  const Tensor gy = empty(y.shape(), {dtype, kCpu});
  Generator generator(1, "gradient of the result");
  fill_uniform_(gy, -1, 1, generator);
  backward(y, gy.to(device));
  Tensors all = {y.detach().to(kCpu)};
  for (const Tensor& leaf : x) all.push_back(leaf.grad().defined() ? leaf.grad().to(kCpu) : Tensor());
  return all;
}

}  // namespace

TEST_CASE("every row has the bits of the CPU on the device") {
  int64_t compared = 0;
  for (const OpCase& row : op_cases()) {
    if (row.op().starts_with("model ")) continue;  // made of these operators
    if (row.op() == "conv2d_repeated") continue;   // made of others there than on the CPU
    for (const DType dtype : {DType::f32, DType::bf16, DType::f16, DType::f64}) {
      if (!row.options.half && dtype != DType::f32) continue;
      CAPTURE(row.name);
      CAPTURE(std::string(name_of(dtype)));
      const int64_t launches = emulated_gpu::launches(), overruns = emulated_gpu::overruns();
      const Tensors expected = run_on(kCpu, row, dtype), actual = run_on(kCuda, row, dtype);
      for (size_t i = 0; i < expected.size(); ++i) {
        CAPTURE(i);
        REQUIRE(actual[i].defined() == expected[i].defined());
        if (expected[i].defined()) CHECK(same_bits(actual[i], expected[i]));
      }
      CHECK((row.op() == "reshape" || emulated_gpu::launches() > launches));
      CHECK(emulated_gpu::overruns() == overruns);
      ++compared;
    }
  }
  CHECK(compared >= 300);
  CHECK(cuda::memory_stats().live == 0);
}

namespace {

std::unique_ptr<Model> network_on(Device device) {
  std::unique_ptr<Model> model = make_model("zero_dce");
  model->init_(Generator{1});
  model->to(device);
  return model;
}

Tensor noise(const Shape& shape) {
  Tensor picture = empty(shape);
  Generator generator(1, "picture");
  fill_uniform_(picture, 0, 0.3, generator);
  return picture;
}

}  // namespace

TEST_CASE(
    "whichever kernel goes wrong, a network says so, and where launches are awaited in which operator") {
  const std::string advice = "; an earlier kernel may have done it, and LUX_CUDA_BLOCKING=1 says which";
  const auto sentence = [](int64_t countdown) {
    cuda::set_driver(cuda::runtime());  // as a process that begins
    const std::unique_ptr<Model> model = network_on(kCuda);
    const Tensor picture = noise({1, 6, 5, 3});
    emulated_gpu::fail_kernel(countdown);
    const std::string text = error_of([&] { enhance(*model, picture, {.order = EnhanceOptions::whole}); });
    emulated_gpu::fail_kernel(0);
    return text;
  };
  int64_t kernel = 1;
  for (;; ++kernel) {
    CAPTURE(kernel);
    const std::string late = sentence(kernel);
    const Blocking blocking;
    const std::string at_once = sentence(kernel);
    REQUIRE((late == "no error") == (at_once == "no error"));
    if (late == "no error") break;
    CHECK(late ==
          "cuda: copying 360 bytes from device to host: an illegal memory access was encountered" + advice);
    CHECK(at_once.starts_with("cuda: running "));
    CHECK(at_once.ends_with(": an illegal memory access was encountered"));
    CHECK(at_once.find(kernel == 1 ? ", in conv2d [1, 6, 5, 3] [32, 3, 3, 3] [32]: " : ", in ") !=
          at_once.npos);
  }
  CHECK(kernel > 8);  // seven convolutions and the curve
  cuda::set_driver(cuda::runtime());
}

TEST_CASE("a photo that is enhanced on the device has the bits of the CPU") {
  const PlainKernels plain;
  const Tensor picture = noise({1, 13, 18, 3});
  const EnhanceOptions whole{.order = EnhanceOptions::whole};
  const Tensor expected = enhance(*network_on(kCpu), picture, whole);
  const std::unique_ptr<Model> model = network_on(kCuda);
  CHECK(model->device() == kCuda);
  CHECK(same_bits(enhance(*model, picture, whole), expected));
  CHECK(same_bits(enhance(*model, picture), expected));  // in whatever order
}

TEST_CASE("a photo that passes the device in bands and tiles has the bits of the whole") {
  const PlainKernels plain;
  const NoGraphs launches_only;  // which keep memory of their own
  const Tensor picture = noise({1, 70, 53, 3});
  const std::unique_ptr<Model> models[] = {
      std::make_unique<ZeroDce>(), std::make_unique<ZeroDcePlus>(), std::make_unique<Unet>(4),
      std::make_unique<ReferenceGuided>(ReferenceGuidedOptions{.width = 4})};
  for (const std::unique_ptr<Model>& model : models) {
    CAPTURE(model->name());
    model->init_(Generator{1});
    model->to(kCuda);
    const Tensor expected = enhance(*model, picture, {.order = EnhanceOptions::whole});
    const int64_t live = cuda::memory_stats().live;
    const int64_t least = enhance_plan(*model, 70, 53, {.memory = 1}).bytes;
    for (const EnhanceOptions& options :
         {EnhanceOptions{.order = EnhanceOptions::by_rows}, {.memory = least}, {.tile = 16}}) {
      CHECK(same_bits(enhance(*model, picture, options), expected));
      CHECK(same_bits(enhance(*model, picture.to(kCuda), options).to(kCpu), expected));
      CHECK(cuda::memory_stats().live == live);
    }
  }
}

TEST_CASE("a network that looks at the whole photo runs square by square on the device as on the CPU") {
  const PlainKernels plain;
  const Tensor picture = noise({1, 40, 36, 3});
  const EnhanceOptions squares{.tile = 16, .approximate = true, .reduction = 2};
  MirnetV2 model(16, 1);
  model.init_(Generator{1});
  const Tensor expected = enhance(model, picture, squares);
  model.to(kCuda);
  CHECK(same_bits(enhance(model, picture, squares), expected));
}

TEST_CASE("a device with too little memory for a photo has enough for a part of it") {
  const PlainKernels plain;
  const std::unique_ptr<Model> model = network_on(kCuda);
  const Tensor picture = noise({1, 120, 40, 3}), expected = enhance(*model, picture);
  model->to(kCpu);  // and its graphs go
  model->to(kCuda);
  cuda::set_memory_cap(cuda::memory_stats().live + (int64_t{2} << 20));
  CHECK_THROWS_AS(enhance(*model, picture), OutOfMemory);
  const auto less = in_half_the_memory(*model, 120, 40, {});
  REQUIRE(less.has_value());
  CHECK(same_bits(enhance(*model, picture, *less), expected));
  cuda::set_memory_cap(0);
}

TEST_CASE("training steps on the device move every weight to the bits of the CPU") {
  const PlainKernels plain;
  const Recipe recipe = make_recipe("zero_dce", recipe_names("zero_dce").front());
  const int64_t side = std::max<int64_t>(16, recipe.objective->smallest_size());
  State weights[2], moments[2];
  std::vector<std::pair<std::string, double>> losses[2];
  for (const Device device : {kCpu, kCuda}) {
    const std::unique_ptr<Model> model = network_on(device);
    model->requires_grad_();
    Stepper stepper(recipe, *model);
    const size_t on = device == kCpu ? 0 : 1;
    for (int step = 0; step < 2; ++step) {
      const StepOutcome outcome = stepper.step({noise({2, side, side, 3})}, 1e-3);
      CHECK(outcome.failed < 0);
      losses[on] = outcome.losses;
    }
    weights[on] = model->state_dict();
    moments[on] = stepper.state_dict();
  }
  CHECK(losses[0] == losses[1]);
  for (const auto& [name, expected] : weights[0])
    CHECK_MESSAGE(same_bits(weights[1].at(name).to(kCpu), expected), name);
  for (const auto& [name, expected] : moments[0])
    CHECK_MESSAGE(same_bits(moments[1].at(name).to(kCpu), expected), name);
}

TEST_CASE("the third picture of a size, and the third step, are graphs") {
  const std::unique_ptr<Model> model = network_on(kCuda);
  for (int64_t run = 0; run < 3; ++run) {
    const int64_t graphs = emulated_gpu::graph_launches();
    enhance(*model, noise({1, 8, 9, 3}));
    CHECK(emulated_gpu::graph_launches() - graphs == (run == 0 ? 0 : 1));
  }
  const Recipe recipe = make_recipe("zero_dce", recipe_names("zero_dce").front());
  model->requires_grad_();
  Stepper stepper(recipe, *model);
  const int64_t side = std::max<int64_t>(16, recipe.objective->smallest_size());
  for (int64_t run = 0; run < 3; ++run) {
    const int64_t graphs = emulated_gpu::graph_launches(), launches = emulated_gpu::launches();
    (void)stepper.step({noise({1, side, side, 3})}, 1e-3);
    CHECK(emulated_gpu::graph_launches() - graphs == (run == 0 ? 0 : 1));
    CHECK(emulated_gpu::launches() - launches > 100);
  }
  CHECK(cuda::take_graph_notice().empty());
  CHECK(emulated_gpu::overruns() == 0);
}

namespace {

/// A network that looks at what it has made.
struct Curious : Model {
  Parameter gain{*this, "gain", {1}};
  std::string name() const override { return "curious"; }
  ModelConfig config() const override { return {}; }
  ModelTraits traits() const override { return {.global = true}; }
  void init_(const Generator& /*generator*/) override {}
  Tensor enhance(const Tensor& x, double /*strength*/) const override {
    return x * mean(reshape(x, {1, x.numel()})).item();
  }
};

}  // namespace

TEST_CASE("a network that looks at its result runs without a graph, which is said once") {
  Curious model;
  model.to(kCuda);
  const int64_t graphs = emulated_gpu::graph_launches();
  const Tensor picture = noise({1, 4, 4, 3}), first = enhance(model, picture);
  for (int run = 0; run < 3; ++run) CHECK(same_bits(enhance(model, picture), first));
  CHECK(emulated_gpu::graph_launches() == graphs);
  CHECK(cuda::take_graph_notice() ==
        "cuda:0: runs launch by launch, not as a CUDA graph, because the work reads from the device");
  CHECK(cuda::take_graph_notice().empty());
}

TEST_CASE("gradients of the device agree with finite differences on it") {
  for (const OpCase& row : op_cases()) {
    if (row.op() != "softmax" && row.op() != "curve_iterations") continue;
    const GradcheckResult result = gradcheck(row, kCuda);
    CHECK_MESSAGE(result.passed, result.message());
  }
}

TEST_CASE("a device without memory is an error, and everything is given back") {
  const std::unique_ptr<Model> model = network_on(kCuda);
  const int64_t live = cuda::memory_stats().live;
  int64_t failures = 0;
  for (bool done = false; !done; failures += done ? 0 : 1) {
    cuda::fail_allocation(failures + 1);
    try {
      enhance(*model, noise({1, 8, 8, 3}));
      done = true;
    } catch (const OutOfMemory&) {
    }
    CHECK(cuda::memory_stats().live == live);
  }
  cuda::fail_allocation(0);
  CHECK(failures >= 8);  // seven layers and the curve
}
