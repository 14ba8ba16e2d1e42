// kernels/cuda without a device: how libraries are found, and convolutions by a cuDNN that is not NVIDIA's
// (tests/fake_cudnn.cpp) and runs graphs by the definition, in host memory. The plain text is the oracle.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>

#include "environment.h"
#include "error_of.h"
#include "luxgrad/kernels/cuda/columns.h"
#include "luxgrad/kernels/cuda/convolver.h"
#include "luxgrad/kernels/cuda/matrix_products.h"
#include "luxgrad/kernels/cuda/shared_library.h"
#include "luxgrad/kernels/cuda/vendor.h"
#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/memory.h"
#include "luxgrad/tensor/random.h"
#include "luxgrad/tensor/raw.h"
#include "luxgrad/tools/autotune.h"
#include "luxgrad/tools/exit_code.h"
#include "same_bits.h"
#include "temporary_folder.h"

using namespace lux;
using namespace lux::cuda;
namespace fs = std::filesystem;

namespace {

/// No variable leads to a library, but those that a test sets afterwards.
struct NoLibraries {
  EnvironmentVariable cudnn{"LUX_CUDNN", nullptr}, path{"CUDA_PATH", nullptr}, home{"CUDA_HOME", nullptr},
      python{"LUX_PYTHON", nullptr}, venv{"VIRTUAL_ENV", nullptr}, conda{"CONDA_PREFIX", nullptr};
};

const LibraryName kNowhere{"cuFake", {"libluxgrad_fake_cudnn.so.9"}, "LUX_CUFAKE"};

CudnnApi fake_cudnn() {
  const EnvironmentVariable here("LUX_CUDNN", LUX_FAKE_CUDNN);
  return open_cudnn();
}

const CudnnApi& fake() {
  static const CudnnApi api = fake_cudnn();
  return api;
}

int handle_storage = 0;

std::unique_ptr<Convolver> make_convolver(const ConvolutionSettings& settings = {},
                                          Stopwatch stopwatch = nullptr) {
  return std::make_unique<Convolver>(
      ConvolutionDevice{.api = &fake(), .handle = &handle_storage, .json = "{}", .stopwatch = stopwatch},
      settings);
}

Tensor noise(const Shape& shape, uint64_t seed, DType dtype) {
  Tensor wide = empty(shape, {DType::f64, kCpu});
  Generator generator(seed);
  fill_uniform_(wide, -1, 1, generator);
  return wide.to(dtype);
}

/// One convolution with everything that its three passes read.
struct Example {
  Conv2dProblem problem;
  Tensors inputs;
  std::vector<int64_t> channels;
  Tensor weight, bias, gz;

  Example(const Conv2dProblem& s, const std::vector<int64_t>& parts, bool with_bias, DType dtype)
      : problem(s), channels(parts) {
    problem.dtype = dtype;
    uint64_t seed = 1;
    for (const int64_t part : parts) inputs.push_back(noise({s.N, s.H, s.W, part}, seed++, dtype));
    weight = noise({s.K, s.kH, s.kW, s.C / s.groups}, seed++, dtype);
    if (with_bias) bias = noise({s.K}, seed++, dtype);
    gz = noise({s.N, s.P, s.Q, s.K}, seed++, dtype);
  }
  Tensor y() const { return full({problem.N, problem.P, problem.Q, problem.K}, 77, gz.options()); }
  Tensors gx() const {
    Tensors all;
    for (const Tensor& input : inputs) all.push_back(full(input.shape(), 77, input.options()));
    return all;
  }
  Tensor gw() const { return full(weight.shape(), 77, weight.options()); }
};

const Conv2dKernels& plain() {
  const PlainKernels scope;
  return conv2d_kernels().pick(kCpu, Conv2dProblem{});
}

double difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const auto left = a.to_vector(), right = b.to_vector();
  double largest = 0, scale = 1;
  for (size_t i = 0; i < left.size(); ++i) {
    largest = std::fmax(largest, std::fabs(left[i] - right[i]));
    scale = std::fmax(scale, std::fabs(right[i]));
  }
  return largest / scale;
}

struct Row {
  const char* name;
  Conv2dProblem problem;
  std::vector<int64_t> channels;
  bool bias = true;
};

const std::vector<Row> kRows = {
    {"aligned",
     {.N = 2, .H = 5, .W = 4, .C = 8, .P = 5, .Q = 4, .K = 16, .kH = 3, .kW = 3, .top = 1, .left = 1},
     {8}},
    {"without a bias",
     {.N = 1, .H = 5, .W = 4, .C = 8, .P = 3, .Q = 2, .K = 8, .kH = 3, .kW = 3},
     {8},
     false},
    {"relu",
     {.N = 1,
      .H = 5,
      .W = 4,
      .C = 8,
      .P = 3,
      .Q = 2,
      .K = 8,
      .kH = 3,
      .kW = 3,
      .activation = Activation::relu},
     {8}},
    {"relu without a bias",
     {.N = 1,
      .H = 5,
      .W = 4,
      .C = 8,
      .P = 3,
      .Q = 2,
      .K = 8,
      .kH = 3,
      .kW = 3,
      .activation = Activation::relu},
     {8},
     false},
    {"tanh",
     {.N = 1,
      .H = 5,
      .W = 4,
      .C = 8,
      .P = 3,
      .Q = 2,
      .K = 8,
      .kH = 3,
      .kW = 3,
      .activation = Activation::tanh},
     {8}},
    {"leaky_relu",
     {.N = 1,
      .H = 5,
      .W = 4,
      .C = 8,
      .P = 3,
      .Q = 2,
      .K = 8,
      .kH = 3,
      .kW = 3,
      .activation = Activation::leaky_relu,
      .slope = 0.2},
     {8}},
    {"three channels to one",
     {.N = 1, .H = 6, .W = 7, .C = 3, .P = 6, .Q = 7, .K = 1, .kH = 3, .kW = 3, .top = 1, .left = 1},
     {3}},
    {"narrow, with sigmoid",
     {.N = 2,
      .H = 3,
      .W = 7,
      .C = 3,
      .P = 3,
      .Q = 7,
      .K = 3,
      .kH = 1,
      .kW = 1,
      .activation = Activation::sigmoid},
     {3}},
    {"two inputs",
     {.N = 2, .H = 5, .W = 4, .C = 16, .P = 5, .Q = 4, .K = 8, .kH = 3, .kW = 3, .top = 1, .left = 1},
     {8, 8}},
    {"two inputs, relu",
     {.N = 2,
      .H = 5,
      .W = 4,
      .C = 24,
      .P = 5,
      .Q = 4,
      .K = 8,
      .kH = 3,
      .kW = 3,
      .top = 1,
      .left = 1,
      .activation = Activation::relu},
     {8, 16}},
    {"three inputs, tanh, without a bias",
     {.N = 1,
      .H = 5,
      .W = 4,
      .C = 32,
      .P = 5,
      .Q = 4,
      .K = 8,
      .kH = 1,
      .kW = 1,
      .activation = Activation::tanh},
     {8, 16, 8},
     false},
    {"three inputs, narrow",
     {.N = 2, .H = 5, .W = 4, .C = 9, .P = 5, .Q = 4, .K = 5, .kH = 3, .kW = 3, .top = 1, .left = 1},
     {3, 5, 1}},
    {"stride 2, zeros at the end",
     {.N = 1, .H = 6, .W = 8, .C = 8, .P = 3, .Q = 4, .K = 8, .kH = 3, .kW = 3, .stride = 2},
     {8}},
    {"stride 3, unequal zeros",
     {.N = 1,
      .H = 5,
      .W = 9,
      .C = 3,
      .P = 2,
      .Q = 4,
      .K = 4,
      .kH = 4,
      .kW = 2,
      .stride = 3,
      .top = 3,
      .left = 1},
     {3}},
    {"groups",
     {.N = 1,
      .H = 5,
      .W = 4,
      .C = 6,
      .P = 5,
      .Q = 4,
      .K = 4,
      .kH = 3,
      .kW = 3,
      .top = 1,
      .left = 1,
      .groups = 2},
     {6}},
    {"depthwise, two inputs",
     {.N = 1,
      .H = 5,
      .W = 4,
      .C = 5,
      .P = 5,
      .Q = 4,
      .K = 5,
      .kH = 3,
      .kW = 3,
      .top = 1,
      .left = 1,
      .groups = 5},
     {2, 3}},
    {"linear", {.N = 1, .H = 1, .W = 7, .C = 12, .P = 1, .Q = 7, .K = 10, .kH = 1, .kW = 1}, {12}},
};

double bound(DType dtype) { return dtype == DType::f32 ? 2e-6 : dtype == DType::bf16 ? 0.02 : 0.003; }

}  // namespace

TEST_CASE("a library that is not there is one sentence, and outcome 5") {
  const NoLibraries none;
  const EnvironmentVariable no_toolkit("CUDA_PATH", "/nowhere");
  CHECK(error_of([] { SharedLibrary::open(kNowhere); }) ==
        "cuFake: expected libluxgrad_fake_cudnn.so.9 where the loader looks, in a CUDA toolkit (CUDA_PATH), "
        "in a "
        "Python environment (LUX_PYTHON) or where LUX_CUFAKE says, found none");
  try {
    SharedLibrary::open(kNowhere);
  } catch (...) {
    CHECK(failure_of(std::current_exception()).code == ExitCode::stopped);
  }
  const EnvironmentVariable named("LUX_CUFAKE", "/nowhere/libcudnn.so.9");
  CHECK(error_of([] { SharedLibrary::open(kNowhere); }) ==
        "cuFake: expected libluxgrad_fake_cudnn.so.9 where LUX_CUFAKE says, got /nowhere/libcudnn.so.9");
}

TEST_CASE("a file that is no library is named with the loader's reason") {
  const NoLibraries none;
  const TemporaryFolder scratch;
  const fs::path lib = scratch.path() / "lib64";
  fs::create_directory(lib);
  std::ofstream(lib / kNowhere.files[0]) << "no ELF";
  const EnvironmentVariable toolkit("CUDA_PATH", scratch.path().c_str());
  const std::string said = error_of([] { SharedLibrary::open(kNowhere); });
  CHECK(said.find("found none: ") != std::string::npos);
  CHECK(said.find((lib / kNowhere.files[0]).string()) != std::string::npos);
}

TEST_CASE("a library is found by its variable, in a toolkit, and in a Python environment") {
  const NoLibraries none;
  const TemporaryFolder scratch;
  const auto place = [&](const std::string& folder) {
    const fs::path where = scratch.path() / folder;
    fs::create_directories(where);
    const fs::path file = where / kNowhere.files[0];
    fs::copy_file(LUX_FAKE_CUDNN, file);
    return file;
  };
  const auto finds = [&](const char* variable, const fs::path& value, const fs::path& file) {
    const EnvironmentVariable set(variable, value.c_str());
    return SharedLibrary::open(kNowhere).path() == file;
  };
  const fs::path root = scratch.path();
  const fs::path file = place("own");
  CHECK(finds("LUX_CUFAKE", file, file));
  CHECK(finds("LUX_CUFAKE", root / "folder", place("folder")));
  CHECK(finds("CUDA_PATH", root / "toolkit", place("toolkit/lib64")));
  CHECK(finds("CUDA_HOME", root / "older", place("older/lib")));
  CHECK(finds("VIRTUAL_ENV", root / "venv", place("venv/lib/python3.12/site-packages/nvidia/cudnn/lib")));
  CHECK(finds("CONDA_PREFIX", root / "conda", place("conda/lib/python3.9/site-packages/nvidia/cu13/lib")));
  CHECK(finds("CONDA_PREFIX", root / "other_conda", place("other_conda/lib")));
  CHECK(finds("LUX_PYTHON", root / "site-packages", place("site-packages/nvidia/cudnn/lib")));

  // One that fits another library is looked for beside that first.
  const EnvironmentVariable toolkit("CUDA_PATH", (root / "toolkit").c_str());
  LibraryName fitting = kNowhere;
  fitting.companion = root / "venv/lib/python3.12/site-packages/nvidia/other/lib/libother.so.9";
  CHECK(SharedLibrary::open(fitting).path() ==
        root / "venv/lib/python3.12/site-packages/nvidia/cudnn/lib" / kNowhere.files[0]);
  fitting.companion = root / "folder/libother.so.9";
  CHECK(SharedLibrary::open(fitting).path() == root / "folder" / kNowhere.files[0]);
  fitting.companion = "libother.so.9";
  CHECK(SharedLibrary::open(fitting).path() == root / "toolkit/lib64" / kNowhere.files[0]);
}

TEST_CASE("versions that do not fit, and libraries without its functions, are refused") {
  const NoLibraries none;
  {
    const EnvironmentVariable old("LUX_CUDNN", LUX_OLD_CUDNN);
    CHECK(error_of([] { open_cudnn(); }) ==
          cat("cuDNN: expected version 9.8.0 or a later 9, got 9.1.0 from ", LUX_OLD_CUDNN));
  }
  const EnvironmentVariable other("LUX_CUDNN", "libm.so.6");
  CHECK(error_of([] { open_cudnn(); }).starts_with("cuDNN: expected cudnnGetVersion in "));
  CHECK(cudnn_version_text(91900) == "9.19.0");
  CHECK(cudnn_version_text(8907) == "8.9.7");
}

TEST_CASE("all passes agree with the plain text") {
  const auto tuned = make_convolver();
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    for (const Row& row : kRows) {
      CAPTURE(row.name);
      CAPTURE(name_of(dtype));
      const Example e(row.problem, row.channels, row.bias, dtype);
      const Tensor y = e.y(), expected = e.y();
      REQUIRE(tuned->forward(e.problem, e.inputs, e.weight, e.bias, y));
      plain().forward(e.problem, e.inputs, e.weight, e.bias, expected);
      CHECK(difference(y, expected) < bound(dtype));

      const Tensors gx = e.gx(), expected_gx = e.gx();
      REQUIRE(tuned->input_gradient(e.problem, e.gz, e.weight, e.channels, gx));
      plain().input_gradient(e.problem, e.gz, e.weight, e.channels, expected_gx);
      for (size_t m = 0; m < gx.size(); ++m) CHECK(difference(gx[m], expected_gx[m]) < bound(dtype));

      const Tensor gw = e.gw(), expected_gw = e.gw();
      REQUIRE(tuned->weight_gradient(e.problem, e.inputs, e.gz, gw));
      plain().weight_gradient(e.problem, e.inputs, e.gz, expected_gw);
      CHECK(difference(gw, expected_gw) < bound(dtype));
    }
  }
}

TEST_CASE("products of matrices agree with the plain text") {
  const NoLibraries none;
  {
    const EnvironmentVariable old("LUX_CUBLAS", LUX_OLD_CUDNN);
    CHECK(open_cublas().library.path() == LUX_OLD_CUDNN);
  }
  const EnvironmentVariable here("LUX_CUBLAS", LUX_FAKE_CUDNN);
  const CublasApi api = open_cublas();
  MatrixProducts products(api, &handle_storage);
  const Activation sigmoid = Activation::sigmoid;
  const std::vector<Row> rows = {
      {"linear", {.N = 1, .H = 1, .W = 7, .C = 12, .P = 1, .Q = 7, .K = 10, .kH = 1, .kW = 1}, {12}},
      {"attention",
       {.N = 3, .H = 1, .W = 1, .C = 9, .P = 1, .Q = 1, .K = 2, .kH = 1, .kW = 1, .activation = sigmoid},
       {4, 5},
       false}};
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    for (const Row& row : rows) {
      CAPTURE(row.name);
      CAPTURE(name_of(dtype));
      const Example e(row.problem, row.channels, row.bias, dtype);
      REQUIRE(is_product(e.problem));
      const Tensor y = e.y(), expected = e.y();
      products.forward(e.problem, e.inputs, e.weight, e.bias, y);
      plain().forward(e.problem, e.inputs, e.weight, e.bias, expected);
      CHECK(difference(y, expected) < bound(dtype));
      const Tensors gx = e.gx(), expected_gx = e.gx();
      products.input_gradient(e.problem, e.gz, e.weight, e.channels, gx);
      plain().input_gradient(e.problem, e.gz, e.weight, e.channels, expected_gx);
      for (size_t m = 0; m < gx.size(); ++m) CHECK(difference(gx[m], expected_gx[m]) < bound(dtype));
      const Tensor gw = e.gw(), expected_gw = e.gw();
      products.weight_gradient(e.problem, e.inputs, e.gz, gw);
      plain().weight_gradient(e.problem, e.inputs, e.gz, expected_gw);
      CHECK(difference(gw, expected_gw) < bound(dtype));
    }
  }
  const Example e(rows[0].problem, rows[0].channels, false, DType::f32);
  const Tensor exact = e.y(), fast = e.y();
  products.forward(e.problem, e.inputs, e.weight, e.bias, exact);
  Conv2dProblem coarse = e.problem;
  coarse.precision = Precision::tf32;
  products.forward(coarse, e.inputs, e.weight, e.bias, fast);
  CHECK(difference(fast, exact) > 1e-5);
  CHECK(difference(fast, exact) < 1e-2);
  CHECK(error_of([&] { MatrixProducts(api, nullptr); }) ==
        "cuBLAS: asking for sums in f32 failed with status 1");
  int given_back = 0;
  const MatrixProducts late(api, &given_back);
  given_back = -1;
  CHECK(error_of([&] { late.forward(e.problem, e.inputs, e.weight, e.bias, exact); }) ==
        "cuBLAS: a product of [7, 12] and [12, 10] failed with status 7");
  Conv2dProblem picture = rows[0].problem;
  picture.N = 2;
  CHECK_FALSE(is_product(picture));
}

TEST_CASE("several inputs are convolved without a concatenation, and their gradients have the bits of one") {
  const auto tuned = make_convolver();
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Example e(
        {.N = 2, .H = 40, .W = 50, .C = 32, .P = 40, .Q = 50, .K = 8, .kH = 3, .kW = 3, .top = 1, .left = 1},
        {8, 16, 8}, false, dtype);
    Tensor together = empty({2, 40, 50, 32}, e.gz.options());
    int64_t first = 0;
    for (const Tensor& input : e.inputs) {
      const int64_t own = input.size(3);
      copy_columns({input, 0, own}, {together, first, 32}, own);
      first += own;
    }
    const Tensor gw = e.gw(), expected_gw = e.gw(), expected_gx = full(together.shape(), 77, e.gz.options());
    const Tensors gx = e.gx();
    REQUIRE(tuned->weight_gradient(e.problem, {together}, e.gz, expected_gw));
    REQUIRE(tuned->input_gradient(e.problem, e.gz, e.weight, {32}, {expected_gx}));
    const Tensor y = e.y();
    memory::reset_peak();
    const int64_t live = memory::stats().live;
    REQUIRE(tuned->forward(e.problem, e.inputs, e.weight, e.bias, y));
    CHECK(memory::stats().peak - live < 3 * y.storage()->bytes());  // two sums, not four times as much
    memory::reset_peak();
    REQUIRE(tuned->weight_gradient(e.problem, e.inputs, e.gz, gw));
    REQUIRE(tuned->input_gradient(e.problem, e.gz, e.weight, e.channels, gx));
    CHECK(memory::stats().peak - live < together.storage()->bytes() / 4);
    CHECK(same_bits(gw, expected_gw));
    first = 0;
    for (size_t m = 0; m < gx.size(); first += e.channels[m++]) {
      const Tensor expected = e.gx()[m];
      copy_columns({expected_gx, first, 32}, {expected, 0, e.channels[m]}, e.channels[m]);
      CHECK(same_bits(gx[m], expected));
    }
  }
}

TEST_CASE("of several inputs' gradients only those are made that are wanted") {
  const Example e(kRows[11].problem, kRows[11].channels, true, DType::bf16);
  Tensors gx = e.gx();
  const Tensors all = e.gx();
  gx[1] = {};
  const auto tuned = make_convolver();
  REQUIRE(tuned->input_gradient(e.problem, e.gz, e.weight, e.channels, gx));
  REQUIRE(tuned->input_gradient(e.problem, e.gz, e.weight, e.channels, all));
  CHECK(same_bits(gx[0], all[0]));
  CHECK(same_bits(gx[2], all[2]));
}

namespace {

/// The same values in bytes that begin 8 beyond a multiple of 16.
Tensor shifted(const Tensor& tensor) {
  const int64_t bytes = tensor.storage()->bytes();
  const auto whole = std::make_shared<Storage>(bytes + 8, kCpu);
  const Tensor part(whole, tensor.shape(), tensor.dtype(), 8);
  copy_(part, tensor);
  return part;
}

}  // namespace

TEST_CASE("rows of a picture that begin where graphs must not are copied") {
  const Example e(kRows[0].problem, kRows[0].channels, true, DType::f32);
  const auto tuned = make_convolver();
  const Tensors x = {shifted(e.inputs[0])};
  const Tensor w = shifted(e.weight), gz = shifted(e.gz);
  const Tensor y = e.y(), there = shifted(y);
  REQUIRE(tuned->forward(e.problem, e.inputs, e.weight, e.bias, y));
  REQUIRE(tuned->forward(e.problem, x, w, e.bias, there));
  CHECK(same_bits(there, y));
  const Tensor gx = e.gx()[0], gx_there = shifted(gx);
  REQUIRE(tuned->input_gradient(e.problem, e.gz, e.weight, e.channels, {gx}));
  REQUIRE(tuned->input_gradient(e.problem, gz, w, e.channels, {gx_there}));
  CHECK(same_bits(gx_there, gx));
  const Tensor gw = e.gw(), gw_there = shifted(gw);
  REQUIRE(tuned->weight_gradient(e.problem, e.inputs, e.gz, gw));
  REQUIRE(tuned->weight_gradient(e.problem, x, gz, gw_there));
  CHECK(same_bits(gw_there, gw));
}

TEST_CASE("engines: deterministic, of the math mode, within the workspace, in cuDNN's order") {
  const GraphRequest exact = make_convolver()->request(
      {.N = 1, .H = 8, .W = 8, .C = 8, .P = 8, .Q = 8, .K = 8, .kH = 1, .kW = 1}, Pass::forward);
  CHECK(make_convolver()->plan(exact)->engine.name == "e3 k2=1");
  CHECK(make_convolver({.most_workspace = int64_t{2} << 30})->plan(exact)->engine.name == "e9");
  CHECK(make_convolver({.most_workspace = 8})->plan(exact)->engine.name == "e0");
  GraphRequest request = exact;
  request.math = MathMode::tf32;
  CHECK(make_convolver()->plan(request)->engine.name == "e5");
  request = exact;
  request.problem.dtype = DType::bf16;
  CHECK(make_convolver()->plan(request)->engine.name == "e5");
  request = exact;
  request.problem.dtype = DType::f64;
  CHECK(make_convolver()->plan(request) == nullptr);
}

TEST_CASE("what no engine runs is left to the caller") {
  const Example e({.N = 1, .H = 8, .W = 8, .C = 8, .P = 3, .Q = 8, .K = 8, .kH = 6, .kW = 1}, {8}, true,
                  DType::f32);
  const Tensor y = e.y();
  const auto tuned = make_convolver();
  CHECK_FALSE(tuned->forward(e.problem, e.inputs, e.weight, e.bias, y));
  CHECK_FALSE(tuned->input_gradient(e.problem, e.gz, e.weight, e.channels, e.gx()));
  CHECK_FALSE(tuned->weight_gradient(e.problem, e.inputs, e.gz, e.gw()));
  CHECK(same_bits(y, e.y()));
  CHECK(tuned->hash().empty());
}

TEST_CASE("the hash is of the plans that ran, whichever were made") {
  const Example e(kRows[0].problem, kRows[0].channels, true, DType::f32);
  const auto planner = make_convolver(), direct = make_convolver();
  for (const Pass pass : {Pass::forward, Pass::input_gradient})
    REQUIRE(planner->plan(planner->request(e.problem, pass)) != nullptr);
  CHECK(planner->hash().empty());
  REQUIRE(planner->forward(e.problem, e.inputs, e.weight, e.bias, e.y()));
  REQUIRE(direct->forward(e.problem, e.inputs, e.weight, e.bias, e.y()));
  CHECK(planner->hash().size() == 16);
  CHECK(planner->hash() == direct->hash());
  REQUIRE(planner->weight_gradient(e.problem, e.inputs, e.gz, e.gw()));
  CHECK(planner->hash() != direct->hash());
}

TEST_CASE("a plan without a device does not run, and says so") {
  Convolver planner({.api = &fake(), .json = "{}"});
  const Example e(kRows[0].problem, kRows[0].channels, true, DType::f32);
  CHECK(error_of([&] { planner.forward(e.problem, e.inputs, e.weight, e.bias, e.y()); }) ==
        "cuDNN: expected a device to run on, got only its description");
  CHECK(error_of([] { Convolver({.api = &fake(), .json = "none"}); }) ==
        "cuDNN: reading the description of a device failed: CUDNN_STATUS_BAD_PARAM: this is no JSON");
}

namespace {

// The fake clock: what runs by `e3 k2=2` writes the same as by k2=1, so engines are told apart by their turn.
int turn = 0;
double by_turn(FunctionRef<void()> work) {
  work();
  return turn++ / 5 == 1 ? 1.0 : 2.0;  // five timings each: the second candidate is the fastest
}

double equally_fast(FunctionRef<void()> work) {
  work();
  ++turn;
  return 1;
}

}  // namespace

TEST_CASE("autotuning runs the allowed engines, writes the fastest into the book, and only once") {
  const Example e(kRows[0].problem, kRows[0].channels, true, DType::f32);
  const Tensor y = e.y(), expected = e.y();
  turn = 0;
  const auto tuned = make_convolver({.autotune = true}, by_turn);
  REQUIRE(tuned->forward(e.problem, e.inputs, e.weight, e.bias, y));
  CHECK(turn == 15);  // e3, e3, e0
  plain().forward(e.problem, e.inputs, e.weight, e.bias, expected);
  CHECK(difference(y, expected) < bound(DType::f32));
  const std::string key = tuned->forward_requests(e.problem, true)[0].key();
  CHECK(key == "forward f32 2x5x4x8 > 5x4x16 k3x3 s1 p1,1,1,1 g1 bias");
  const std::string book = tuned->book().text();
  CHECK(book.ends_with(cat("\ncudnn 91900 device ", hash_text("{}"), " ", key, " = e3 k2=2\n")));
  REQUIRE(tuned->forward(e.problem, e.inputs, e.weight, e.bias, y));
  CHECK(turn == 15);

  turn = 0;
  const auto ties = make_convolver({.autotune = true}, equally_fast);
  REQUIRE(ties->forward(e.problem, e.inputs, e.weight, e.bias, y));
  CHECK(ties->book().text().ends_with(" = e3 k2=1\n"));

  const auto later = make_convolver({.autotune = true}, by_turn);
  later->set_book(PlanBook::read(book));
  turn = 0;
  REQUIRE(later->forward(e.problem, e.inputs, e.weight, e.bias, y));
  CHECK(turn == 0);
  CHECK(later->plan(later->forward_requests(e.problem, true)[0])->engine.name == "e3 k2=2");
  CHECK(later->hash() == tuned->hash());
  const auto untuned = make_convolver();
  REQUIRE(untuned->forward(e.problem, e.inputs, e.weight, e.bias, y));
  CHECK(untuned->hash() != tuned->hash());
  CHECK(untuned->hash() == ties->hash());
}

namespace {

constexpr int kDoesNotRun = 3000, kDeviceAllocationFailed = 4004;
int graphs_asked = 0, failures_left = 0, failure = kDoesNotRun;
int plans_refused = 0, products_refused = 0;  // for want of memory
CudnnDescriptor newest_plan = nullptr;

/// The fake, which counts the graphs that engines are asked for and fails to make or run some plans.
const CudnnApi& watched() {
  static const CudnnApi api = [] {
    CudnnApi all = fake_cudnn();
    all.get_attribute = [](CudnnDescriptor descriptor, CudnnAttribute attribute, CudnnType type, int64_t most,
                           int64_t* count, void* values) {
      if (attribute == CudnnAttribute::heuristics_results && most == 0) ++graphs_asked;
      return fake().get_attribute(descriptor, attribute, type, most, count, values);
    };
    all.create_descriptor = [](CudnnKind kind, CudnnDescriptor* descriptor) {
      const int status = fake().create_descriptor(kind, descriptor);
      if (kind == CudnnKind::plan) newest_plan = *descriptor;
      return status;
    };
    all.finalize = [](CudnnDescriptor descriptor) {
      const bool refused = descriptor == newest_plan && plans_refused > 0 && plans_refused-- > 0;
      return refused ? kDeviceAllocationFailed : fake().finalize(descriptor);
    };
    all.execute = [](CudnnHandle handle, CudnnDescriptor plan, CudnnDescriptor pack) {
      return failures_left > 0 && failures_left-- > 0 ? failure : fake().execute(handle, plan, pack);
    };
    return all;
  }();
  return api;
}

ConvolutionDevice watched_device() {
  return {.api = &watched(), .handle = &handle_storage, .json = "{}", .stopwatch = equally_fast};
}

}  // namespace

TEST_CASE("autotuning asks once where no engine fits the workspace") {
  const Example e(kRows[0].problem, kRows[0].channels, true, DType::f32);
  Convolver tuned(watched_device(), {.autotune = true, .most_workspace = -1});
  turn = 0;
  REQUIRE(tuned.forward(e.problem, e.inputs, e.weight, e.bias, e.y()));
  graphs_asked = 0;
  const Tensor y = e.y(), expected = e.y();
  REQUIRE(tuned.forward(e.problem, e.inputs, e.weight, e.bias, y));
  CHECK(graphs_asked == 0);
  CHECK(turn == 0);
  CHECK(tuned.book().empty());
  plain().forward(e.problem, e.inputs, e.weight, e.bias, expected);
  CHECK(difference(y, expected) < bound(DType::f32));
}

TEST_CASE("autotuning passes an engine over that does not run") {
  const Example e(kRows[0].problem, kRows[0].channels, true, DType::f32);
  Convolver tuned(watched_device(), {.autotune = true});
  turn = 0;
  failures_left = 1;
  REQUIRE(tuned.forward(e.problem, e.inputs, e.weight, e.bias, e.y()));
  CHECK(failures_left == 0);
  CHECK(turn == 10);  // e3 and e0; the first e3 failed
  CHECK(tuned.book().text().ends_with(" = e3 k2=2\n"));

  Convolver lost(watched_device(), {.autotune = true});
  failures_left = 1000;
  CHECK(error_of([&] {
          lost.forward(e.problem, e.inputs, e.weight, e.bias, e.y());
        }).starts_with("cuDNN: running a plan failed: "));
  failures_left = 0;
  CHECK(lost.book().empty());
  CHECK(lost.hash().empty());
}

TEST_CASE("a library without memory is asked once more, and then it is the device that has none") {
  const Example e(kRows[0].problem, kRows[0].channels, true, DType::f32);
  const Tensor expected = e.y();
  plain().forward(e.problem, e.inputs, e.weight, e.bias, expected);
  failure = kDeviceAllocationFailed;
  for (int* const refusals : {&failures_left, &plans_refused}) {
    Convolver convolver(watched_device());
    const Tensor y = e.y();
    const auto forward = [&] { return convolver.forward(e.problem, e.inputs, e.weight, e.bias, y); };
    *refusals = 2;
    CHECK_THROWS_AS(forward(), OutOfDeviceMemory);
    CHECK(*refusals == 0);
    *refusals = 1;
    REQUIRE(forward());
    CHECK(difference(y, expected) < bound(DType::f32));
    CHECK(convolver.plan(convolver.forward_requests(e.problem, true)[0])->engine.name == "e3 k2=1");
  }
  failure = kDoesNotRun;

  const EnvironmentVariable here("LUX_CUBLAS", LUX_FAKE_CUDNN);
  static const CublasApi own = open_cublas();
  CublasApi api = own;
  api.gemm = [](CublasHandle handle, int op_a, int op_b, int m, int n, int k, const void* alpha,
                const void* a, int a_type, int a_stride, const void* b, int b_type, int b_stride,
                const void* beta, void* c, int c_type, int c_stride, int compute_type, int algorithm) {
    if (products_refused > 0 && products_refused-- > 0) return kCublasAllocationFailed;
    return own.gemm(handle, op_a, op_b, m, n, k, alpha, a, a_type, a_stride, b, b_type, b_stride, beta, c,
                    c_type, c_stride, compute_type, algorithm);
  };
  const MatrixProducts products(api, &handle_storage);
  const Example linear(kRows.back().problem, kRows.back().channels, true, DType::f32);
  const auto multiply = [&] {
    products.forward(linear.problem, linear.inputs, linear.weight, linear.bias, linear.y());
  };
  products_refused = 2;
  CHECK_THROWS_AS(multiply(), OutOfDeviceMemory);
  products_refused = 1;
  multiply();
  CHECK(products_refused == 0);
}

TEST_CASE("a book cannot choose what is forbidden, unknown, or of another device") {
  const GraphRequest request = make_convolver()->request(
      {.N = 1, .H = 8, .W = 8, .C = 8, .P = 8, .Q = 8, .K = 8, .kH = 1, .kW = 1}, Pass::forward);
  const std::string place = cat("cudnn 91900 device ", hash_text("{}"), " ");
  const auto chosen = [&](const std::string& key, const std::string& engine) {
    PlanBook book;
    book.set(key, engine);
    const auto tuned = make_convolver();
    tuned->set_book(book);
    return tuned->plan(request)->engine.name;
  };
  CHECK(chosen(place + request.key(), "e0") == "e0");
  for (const char* engine : {"e7", "e5", "e4", "e6", "e8", "e3 k2=3", "none"})
    CHECK(chosen(place + request.key(), engine) == "e3 k2=1");
  CHECK(chosen(cat("cudnn 91901 device ", hash_text("{}"), " ", request.key()), "e0") == "e3 k2=1");
  CHECK(chosen(cat("cudnn 91900 device ", hash_text("{ }"), " ", request.key()), "e0") == "e3 k2=1");
}

TEST_CASE("a book reads back, and every damaged one is refused or still sound") {
  PlanBook book;
  for (const char* key : {"a 1", "b 2", "c 3"}) book.set(key, "e3 k2=1");
  const std::string text = book.text();
  CHECK(PlanBook::read(text).text() == text);
  CHECK(PlanBook::read(PlanBook().text()).empty());
  for (size_t cut = 0; cut < text.size(); ++cut) CHECK_THROWS_AS(PlanBook::read(text.substr(0, cut)), Error);
  for (size_t at = 0; at < text.size(); ++at) {
    for (const char byte : {'\0', '\n', 'z', '\xff'}) {
      std::string damaged = text;
      damaged[at] = byte;
      if (damaged != text) CHECK_THROWS_AS(PlanBook::read(damaged), Error);
    }
  }
  const auto sealed = [](const std::string& lines) {
    return error_of([&] { PlanBook::read(cat("luxgrad plans 1 ", hash_text(lines), "\n", lines)); });
  };
  CHECK(sealed("a = b\n") == "no error");
  CHECK(sealed("b = b\na = b\n") == "plans: line 3: the lines are out of order");
  CHECK(sealed("a = b\na = c\n") == "plans: line 3: the lines are out of order");
  CHECK(sealed("a = b") == "plans: line 2: the end is missing");
  for (const std::string& line :
       {std::string("a=b"), std::string(" = b"), std::string("a = "), std::string("A = b"),
        std::string("a\x1b = b"), std::string(500, 'a') + " = b"})
    CHECK(sealed(line + "\n") == "plans: line 2: expected `graph = engine`");
  CHECK(error_of([] { PlanBook::read(std::string(size_t{2} << 20, 'x')); }) ==
        "plans: line 1: expected at most 1 MiB");
  CHECK(error_of([] { PlanBook::read("luxgrad plans 2 0000000000000000\n"); }) ==
        "plans: line 1: this is no book of plans");
}

namespace {

const DeviceStream kStream = {.stream = []() -> void* { return nullptr; }, .synchronize = [] {}};

/// Started with the fake libraries, and stopped.
struct Started {
  EnvironmentVariable cudnn{"LUX_CUDNN", LUX_FAKE_CUDNN}, cublas{"LUX_CUBLAS", LUX_FAKE_CUDNN};
  Started() { start_vendor_libraries(kStream); }
  ~Started() { stop_vendor_libraries(); }
};

}  // namespace

TEST_CASE(
    "the slots take what the libraries run once these have started, and leave the rest to the plain text") {
  KernelTable<Conv2dKernels> table(plain());
  add_vendor(table, Device::Type::cpu);
  const Conv2dProblem picture = kRows[0].problem, row = kRows.back().problem;
  const auto name = [&](const Conv2dProblem& s) { return std::string(table.pick(kCpu, s).name); };
  CHECK(name(picture) == "plain");
  CHECK(convolution_plans_hash().empty());
  CHECK(error_of([] { convolution_plans(); }) == "cuDNN: expected start_vendor_libraries before its use");
  {
    const Started started;
    CHECK(vendor_versions() == "cuDNN 9.19.0, cuBLAS 12.1.2");
    CHECK(name(picture) == "cudnn");
    CHECK(name(row) == "cublas");
    Conv2dProblem other = picture;
    other.dtype = DType::f64;
    CHECK(name(other) == "plain");
    CHECK(std::string(conv2d_kernels().pick({Device::Type::cuda, 0}, picture).name) == "cudnn");

    Conv2dProblem unknown = {.N = 1, .H = 8, .W = 8, .C = 8, .P = 3, .Q = 8, .K = 8, .kH = 6, .kW = 1};
    for (const Conv2dProblem& s : {picture, row, unknown}) {
      const Example e(s, {s.C}, true, DType::f32);
      const Conv2dKernels& kernels = table.pick(kCpu, e.problem);
      const Tensor y = e.y(), expected = e.y(), gw = e.gw(), expected_gw = e.gw();
      const Tensors gx = e.gx(), expected_gx = e.gx();
      kernels.forward(e.problem, e.inputs, e.weight, e.bias, y);
      kernels.input_gradient(e.problem, e.gz, e.weight, e.channels, gx);
      kernels.weight_gradient(e.problem, e.inputs, e.gz, gw);
      plain().forward(e.problem, e.inputs, e.weight, e.bias, expected);
      plain().input_gradient(e.problem, e.gz, e.weight, e.channels, expected_gx);
      plain().weight_gradient(e.problem, e.inputs, e.gz, expected_gw);
      CHECK(difference(y, expected) < bound(DType::f32));
      CHECK(difference(gx[0], expected_gx[0]) < bound(DType::f32));
      CHECK(difference(gw, expected_gw) < bound(DType::f32));
    }
    const std::string hash = convolution_plans_hash();
    CHECK(hash.size() == 16);
    set_convolution_settings({.autotune = true});
    Conv2dProblem coarse = picture;
    coarse.precision = Precision::tf32;
    const Example e(coarse, {picture.C}, true, DType::f32);
    table.pick(kCpu, e.problem).forward(e.problem, e.inputs, e.weight, e.bias, e.y());
    CHECK_FALSE(convolution_plans().empty());
    CHECK(convolution_plans_hash() != hash);
  }
  CHECK(name(picture) == "plain");
  CHECK(vendor_versions().empty());
}

TEST_CASE("--autotune keeps what it finds, uses it the next time, and survives whatever the file became") {
  const TemporaryFolder folder;
  const EnvironmentVariable cache("XDG_CACHE_HOME", folder.path().c_str());
  const fs::path file = folder.path() / "luxgrad/plans";
  CHECK(plans_path() == file);
  KernelTable<Conv2dKernels> table(plain());
  add_vendor(table, Device::Type::cpu);
  const auto text = [&] {
    std::ifstream stream(file);
    return std::string(std::istreambuf_iterator<char>(stream), {});
  };
  const auto run = [&](const Row& row, bool autotune) {  // a process of its own
    const Started started;
    const Autotuning autotuning({.autotune = autotune});
    const Example e(row.problem, row.channels, row.bias, DType::f32);
    table.pick(kCpu, e.problem).forward(e.problem, e.inputs, e.weight, e.bias, e.y());
    return convolution_plans();
  };
  run(kRows[0], false);
  CHECK_FALSE(fs::exists(file));
  const std::string first = run(kRows[0], true).text();
  CHECK(text() == first);

  // What the file says is believed where it is allowed, and runs of other graphs add to it.
  PlanBook other;
  const std::string line = first.substr(first.find('\n') + 1), key = line.substr(0, line.find(" = "));
  other.set(key, "e0");
  std::ofstream(file) << other.text();
  CHECK(*run(kRows[0], true).find(key) == "e0");
  CHECK(text() == other.text());
  const PlanBook both = run(kRows[1], true);
  CHECK(*both.find(key) == "e0");
  CHECK(both.text() == text());
  CHECK(both.text().size() > other.text().size());

  std::ofstream(file) << "rubbish";
  CHECK(run(kRows[0], true).find(key) != nullptr);
  CHECK(PlanBook::read(text()).find(key) != nullptr);
  fs::remove_all(folder.path() / "luxgrad");
  std::ofstream(folder.path() / "luxgrad") << "a file where a folder is wanted";
  CHECK_NOTHROW(run(kRows[0], true));
  const EnvironmentVariable nowhere("XDG_CACHE_HOME", nullptr), homeless("HOME", nullptr);
  CHECK(plans_path().empty());
  CHECK_NOTHROW(run(kRows[0], true));
}

TEST_CASE("without a library nothing is started") {
  const NoLibraries none;
  const EnvironmentVariable cudnn("LUX_CUDNN", LUX_FAKE_CUDNN), cublas("LUX_CUBLAS", "/nowhere");
  CHECK(error_of([] { start_vendor_libraries(kStream); }) ==
        "cuBLAS: expected libcublas.so.13 where LUX_CUBLAS says, got /nowhere");
  CHECK_FALSE(vendor_libraries_started());
}
