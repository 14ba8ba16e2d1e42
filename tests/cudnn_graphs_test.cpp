// Every convolution of every model against NVIDIA's cuDNN, without a device: engines are asked for by the
// descriptions of three, and the plans are finalised. Prints engine, workspace and notes of each
// (ctest --preset release -R cudnn_graphs -V). Skips where no cuDNN is found (tools/cudnn.sh fetches one).
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/cuda/convolver.h"
#include "luxgrad/models/gan.h"
#include "luxgrad/models/registry.h"
#include "luxgrad/models/vgg16.h"
#include "luxgrad/tensor/raw.h"

using namespace lux;
using namespace lux::cuda;

namespace {

/// What cuDNN asks of a device, from NVIDIA's tables of compute capabilities and products.
struct DeviceRow {
  const char* name;
  int capability, processors, blocks, threads;
  int64_t shared, l2, memory;
};
const std::vector<DeviceRow> kDevices = {
    {"sm_80", 80, 108, 32, 2048, 166912, int64_t{40} << 20, int64_t{40} << 30},   // A100
    {"sm_89", 89, 58, 24, 1536, 101376, int64_t{48} << 20, int64_t{24} << 30},    // L4
    {"sm_90", 90, 132, 32, 2048, 232448, int64_t{60} << 20, int64_t{141} << 30},  // H200
};

std::string json_of(const DeviceRow& d) {
  return cat(
      "{\"deviceVer\":", d.capability * 10, ",\"driverVer\":13000,\"cudaDeviceId\":0,\"deviceName\":\"",
      d.name, "\",\"multiProcessorCount\":", d.processors,
      ",\"maxGridSize\":[2147483647,65535,65535],\"maxBlockSize\":[1024,1024,64],\"regsPerBlock\":65536,"
      "\"warpSize\":32,\"maxSharedMemoryPerBlock\":49152,\"maxSharedMemoryPerBlockOptin\":",
      d.shared,
      ",\"reservedSharedMemoryPerBlock\":1024,\"maxRegistersPerSM\":65536,\"maxCtasPerSM\":", d.blocks,
      ",\"maxThreadsPerBlock\":1024,\"maxThreadsPerSM\":", d.threads,
      ",\"pciDeviceId\":0,\"isTccDriver\":0,\"supportCoopLaunch\":1,\"smClockRateKHz\":1500000,"
      "\"memClockRateKHz\":3000000,\"l2CacheSize\":",
      d.l2, ",\"totalGlobalMem\":", d.memory, "}");
}

/// The version whose plans are known here, and which plans without a driver.
constexpr size_t kKnownVersion = 91900;

/// Null where there is no cuDNN that plans without a device, with the reason printed.
const CudnnApi* library() {
  static const std::optional<CudnnApi> opened = []() -> std::optional<CudnnApi> {
    try {
      return open_cudnn();
    } catch (const DeviceUnavailable& why) {
      MESSAGE("skipped: " << std::string(why.what()));
      return std::nullopt;
    }
  }();
  if (!opened || opened->version() == kKnownVersion) return opened ? &*opened : nullptr;
  try {
    device_from_json(*opened, json_of(kDevices[0]));
  } catch (const Error& why) {  // newer ones load their compiler, and that the driver
    MESSAGE("skipped: cuDNN " << cudnn_version_text(opened->version())
                              << " does not plan here: " << std::string(why.what()));
    return nullptr;
  }
  return &*opened;
}

// 1. The convolutions of the models: run once on a small picture, by kernels that only take notes.

std::map<std::string, Conv2dProblem>* notes = nullptr;
std::set<std::string> parts;  // keys of those that are one input of several

// Pictures four times as wide and high, batches of two, and of those that differ in their sizes only one.
void take_note(Conv2dProblem s, bool is_part = false) {
  const bool picture = s.H > 1 || s.W > 1;
  s.N *= 2;
  if (picture) {
    const auto grown = [&](int64_t& size, int64_t& outputs) {
      const int64_t zeros = (outputs - 1) * s.stride + (&size == &s.H ? s.kH : s.kW) - size;
      size *= 4;
      outputs = (size + zeros - (&size == &s.H ? s.kH : s.kW)) / s.stride + 1;
    };
    grown(s.H, s.P);
    grown(s.W, s.Q);
  }
  const bool relu = s.activation == Activation::relu;
  const std::string key = cat(s.C, " ", s.K, " ", s.kH, " ", s.kW, " ", s.stride, " ", s.top, " ", s.groups,
                              " ", relu ? "relu" : "", picture ? "" : "1x1");
  if (is_part) parts.insert(key);
  notes->try_emplace(key, s);
}

bool takes_note(const Conv2dProblem& s) {
  if (notes != nullptr) take_note(s);
  return notes != nullptr;
}
// Several inputs may go one after the other.
void no_forward(const Conv2dProblem& s, const Tensors& inputs, const Tensor&, const Tensor&,
                const Tensor& y) {
  for (const Tensor& input : inputs) {
    Conv2dProblem part = s;
    part.C = input.size(3);
    if (s.groups == 1 && part.C < s.C) take_note(part, true);
  }
  fill_(y, 0);
}
void no_gradient(const Conv2dProblem&, const Tensor&, const Tensor&, const std::vector<int64_t>&,
                 const Tensors& gx) {
  for (const Tensor& g : gx) fill_(g, 0);
}

const std::map<std::string, Conv2dProblem>& problems() {
  static const std::map<std::string, Conv2dProblem> all = [] {
    std::map<std::string, Conv2dProblem> found;
    conv2d_kernels().set(Device::Type::cpu, {"notes", takes_note, no_forward, no_gradient, nullptr});
    notes = &found;
    const NoGrad inference;
    const Tensor x = zeros({1, 64, 64, 3});
    for (const std::string& name : model_names()) {
      const auto model = make_model(name);
      model->init_(Generator(1));
      model->enhance(x, 1);
    }
    const Gan gan;
    gan.discriminator(x, x, {});
    const Vgg16 vgg(Vgg16::Tap::relu4_3);
    vgg(x);
    notes = nullptr;
    return found;
  }();
  return all;
}

// 2. What plans must be like, and the exceptions.

int64_t bytes_of(const Conv2dProblem& s, int64_t elements) {
  return elements * static_cast<int64_t>(size_of(s.dtype));
}

/// Plans for bf16 on sm_80 and sm_90 whose workspace holds a copy of a picture, as cuDNN 9.19 makes them.
/// Besides these, every one in groups that are not single channels: cuDNN copies each group.
const std::set<std::string> kCopies = {
    "sm_80 weight_gradient bf16 2x128x128x120 > 128x128x8 k1x1 s1 p0,0,0,0 g1",
    "sm_90 forward bf16 2x64x64x184 > 64x64x8 k1x1 s1 p0,0,0,0 g1",
    "sm_90 weight_gradient bf16 2x128x128x32 > 128x128x192 k3x3 s1 p1,1,1,1 g1",
    "sm_90 input_gradient bf16 2x256x256x32 > 128x128x64 k2x2 s2 p0,0,0,0 g1",
};

/// Engines that split their sums over blocks keep partial sums in the workspace, which are no copies.
bool splits_sums(const Engine& engine) {
  const bool copies = engine.index == 40;  // those of kCopies
  return !copies &&
         (engine.name.find(" k0=") != std::string::npos || engine.name.find(" k17=") != std::string::npos);
}

/// Whether the workspace is large enough for the smaller picture in another layout.
bool holds_a_picture(const GraphRequest& request, const ReadyPlan& ready) {
  const Conv2dProblem& s = request.problem;
  const int64_t smaller = std::min(s.H * s.W * s.C, s.P * s.Q * s.K) * s.N;
  return ready.plan.workspace() >= bytes_of(s, smaller) && !splits_sums(ready.engine);
}

struct Mode {
  const char* name;
  DType dtype;
  Precision precision;
};
const std::vector<Mode> kModes = {{"f32", DType::f32, Precision::exact},
                                  {"tf32", DType::f32, Precision::tf32},
                                  {"bf16", DType::bf16, Precision::exact}};

std::string notes_of(const Engine& engine) {
  return cat(engine.numerical & kNondeterministic ? "nondeterministic" : "deterministic",
             engine.numerical & kTensorCore ? ", tensor cores" : "",
             engine.numerical & kWinograd ? ", Winograd" : "", engine.numerical & kFft ? ", FFT" : "");
}

/// The request that `forward` would run, or the gradient's.
GraphRequest request_of(Convolver& planner, const Conv2dProblem& problem, Pass pass) {
  if (pass != Pass::forward) return planner.request(problem, pass);
  const std::vector<GraphRequest> requests = planner.forward_requests(problem, true);
  for (const GraphRequest& request : requests)
    if (planner.plan(request) != nullptr) return request;
  return requests.back();
}

}  // namespace

TEST_CASE("every graph of every model has a deterministic plan for every device and math mode") {
  if (library() == nullptr) return;
  // All of them with LUX_ALL_DEVICES; else every graph once, on one of the devices in one of the modes.
  const bool all = std::getenv("LUX_ALL_DEVICES") != nullptr;
  const size_t version = library()->version(), every = all ? 1 : kDevices.size() * kModes.size();
  std::printf("cuDNN %s from %s, %zu convolutions\n", cudnn_version_text(version).c_str(),
              library()->library.path().c_str(), problems().size());
  CHECK(problems().size() > 60);
  std::set<std::string> copies;
  size_t graphs = 0, number = 0;
  for (const DeviceRow& device : kDevices) {
    for (const Mode& mode : kModes) {
      Convolver planner({.api = library(), .json = json_of(device)});
      size_t turn = number++;
      for (auto [key, problem] : problems()) {
        problem.dtype = mode.dtype;
        problem.precision = mode.precision;
        for (const Pass pass : {Pass::forward, Pass::input_gradient, Pass::weight_gradient}) {
          if (turn++ % every != 0) continue;
          const bool as_they_are = shown_channels(problem, problem.C) == problem.C &&
                                   shown_channels(problem, problem.K) == problem.K;
          if (pass == Pass::forward && parts.contains(key) && as_they_are) {  // onto sums of before
            INFO(device.name << " " << mode.name << " " << key);
            const auto requests = planner.forward_requests(problem, true, true);
            CHECK(std::any_of(requests.begin(), requests.end(),
                              [&](const GraphRequest& onto) { return planner.plan(onto) != nullptr; }));
          }
          const GraphRequest request = request_of(planner, problem, pass);
          const auto ready = planner.plan(request);
          INFO(device.name << " " << mode.name << " " << request.key());
          CHECK(ready != nullptr);
          if (ready == nullptr) continue;
          ++graphs;
          std::printf("%s %s %-78s %-28s %8.2f MiB  %s\n", device.name, mode.name, request.key().c_str(),
                      ready->engine.name.c_str(), static_cast<double>(ready->plan.workspace()) / (1 << 20),
                      notes_of(ready->engine).c_str());
          CHECK((ready->engine.numerical & kNondeterministic) == 0);
          CHECK(ready->plan.workspace() <= ConvolutionSettings{}.most_workspace);
          const bool listed = request.problem.groups > 1 && request.problem.groups < request.problem.C;
          if (mode.dtype == DType::bf16 && device.capability != 89 && !listed &&
              holds_a_picture(request, *ready))
            copies.insert(cat(device.name, " ", request.key()));
        }
      }
    }
  }
  for (const std::string& copy : copies) {
    std::printf("copies a picture: %s\n", copy.c_str());
    if (version == kKnownVersion) CHECK_MESSAGE(kCopies.count(copy) == 1, copy);
  }
  if (all && version == kKnownVersion) CHECK(copies.size() == kCopies.size());
  CHECK(graphs == problems().size() * 3 * (all ? kDevices.size() * kModes.size() : 1));
}
