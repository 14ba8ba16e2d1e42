// tensor/cuda.h without a device: a driver made of host memory, which fails when it is told to.
#include "luxgrad/tensor/cuda.h"

#include <doctest/doctest.h>

#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "error_of.h"
#include "gpu.h"
#include "luxgrad/kernels/cuda/floor.h"
#include "luxgrad/kernels/cuda/vendor.h"
#include "luxgrad/kernels/slots.h"
#include "luxgrad/tensor/cuda_copies.h"
#include "luxgrad/tensor/cuda_graph.h"
#include "luxgrad/tensor/cuda_recording.h"
#include "luxgrad/tensor/operator_scope.h"
#include "luxgrad/tensor/parallel.h"
#include "luxgrad/tensor/raw.h"

using namespace lux;

namespace {

constexpr int kNoDriver = 35, kExhausted = 2, kRefused = 9, kFault = 700;
constexpr Device kCuda{Device::Type::cuda, 0};

// What the driver was asked for, and what it shall answer.
struct Copy {
  void* to;
  const void* from;
  size_t bytes;
};
struct Fake {
  std::map<void*, std::vector<char>> blocks;
  int starts = 0, trims = 0, waits = 0, copies = 0, clock = 0, events = 0;
  int start_error = 0, allocations_to_fail = 0, allocation_error = 0, launch_error = 0, wait_error = 0,
      record_error = 0;
  bool has_host_memory = true;

  bool records = false, broken = false;  // a graph, which something has made worthless
  std::vector<Copy> recorded;
  std::map<const void*, std::vector<char>> host_blocks;
  int graphs = 0, launches = 0, end_error = 0, graph_error = 0;
  bool torn = false;  // a graph was released before it was done

  // Whether streams do nothing until somebody waits for them, as slow ones would.
  bool lazy = false;
  int made_streams = 0;
  struct Stream {
    std::deque<std::function<void()>> waiting;
    size_t put = 0, done = 0;
  };
  std::map<void*, Stream> streams;
};
Fake fake;

struct FakeEvent {
  void* stream;
  size_t put;
  int time;
};
struct FakeGraph {
  std::vector<Copy> copies;
  int running = 0;
};

void put(void* stream, std::function<void()> work) {
  if (!fake.lazy) return work();
  fake.streams[stream].waiting.push_back(std::move(work));
  ++fake.streams[stream].put;
}

void finish(void* stream, size_t put) {
  Fake::Stream& s = fake.streams[stream];
  while (s.done < put) {
    const std::function<void()> work = std::move(s.waiting.front());
    s.waiting.pop_front();
    ++s.done;
    work();
  }
}

// Whether a graph is recorded, which no other request of its stream may interrupt.
bool interrupts(void* stream) {
  const bool yes = fake.records && stream == &fake;
  return fake.broken = fake.broken || yes, yes;
}

// As CUDA does it, what fails is also reported by whoever asks for the error of a launch.
int failed(int error) { return fake.launch_error = error; }

const cuda::Driver kFake = {
    .start = [](void** stream) -> int {
      ++fake.starts;
      *stream = &fake;
      return fake.start_error;
    },
    .text_of =
        [](int error) {
          return error == kNoDriver    ? "no driver"
                 : error == kExhausted ? "out of memory"
                 : error == kFault     ? "an illegal memory access was encountered"
                                       : "invalid argument";
        },
    .allocate = [](void** data, size_t bytes, void* stream) -> int {
      if (interrupts(stream)) return kRefused;
      if (fake.allocation_error != 0) return failed(std::exchange(fake.allocation_error, 0));
      if (fake.allocations_to_fail > 0 && fake.allocations_to_fail-- > 0) return failed(kExhausted);
      std::vector<char> block(bytes);
      *data = block.data();
      fake.blocks[*data] = std::move(block);
      return 0;
    },
    .release = [](void* data, void* stream) -> int {
      if (interrupts(stream) || !fake.blocks.contains(data)) return kRefused;
      return put(stream, [data] { fake.blocks.erase(data); }), 0;
    },
    .trim = []() -> int { return ++fake.trims, 0; },
    .copy = [](void* to, const void* from, size_t bytes, void* stream) -> int {
      ++fake.copies;
      if (fake.records && stream == &fake)
        fake.recorded.push_back({to, from, bytes});
      else
        put(stream, [=] { std::memcpy(to, from, bytes); });
      return 0;
    },
    .synchronize = [](void* stream) -> int {
      if (interrupts(stream)) return kRefused;
      finish(stream, fake.streams[stream].put);
      return ++fake.waits, fake.wait_error;
    },
    .last_error = []() -> int { return std::exchange(fake.launch_error, 0); },
    .out_of_memory = kExhausted,
    .is_fault = [](int error) { return error == kFault; },
    .allocate_host = [](void** data, size_t bytes) -> int {
      if (!fake.has_host_memory) return failed(kExhausted);
      std::vector<char> block(bytes);
      *data = block.data();
      fake.host_blocks[*data] = std::move(block);
      return 0;
    },
    .release_host = [](void* data) -> int { return fake.host_blocks.erase(data) == 1 ? 0 : kRefused; },
    .make_stream = [](void** stream) -> int {
      static char names[2];
      *stream = &names[fake.made_streams++];
      return 0;
    },
    .make_event = [](void** event) -> int { return *event = new FakeEvent{}, ++fake.events, 0; },
    .record_event = [](void* event, void* stream) -> int {
      if (fake.record_error != 0) return failed(fake.record_error);
      *static_cast<FakeEvent*>(event) = {stream, fake.streams[stream].put, ++fake.clock};
      return 0;
    },
    .wait_on_stream = [](void* event, void* stream) -> int {
      put(stream, [e = *static_cast<FakeEvent*>(event)] { finish(e.stream, e.put); });
      return 0;
    },
    .wait_for_event = [](void* event) -> int {
      const FakeEvent e = *static_cast<FakeEvent*>(event);
      return finish(e.stream, e.put), fake.wait_error;
    },
    .release_event = [](void* event) -> int {
      return delete static_cast<FakeEvent*>(event), --fake.events, 0;
    },
    .between = [](float* milliseconds, void* earlier, void* later) -> int {
      const int passed = static_cast<FakeEvent*>(later)->time - static_cast<FakeEvent*>(earlier)->time;
      return *milliseconds = static_cast<float>(passed), 0;
    },
    .begin_capture = [](void*) -> int {
      fake.recorded.clear();
      fake.broken = false;
      fake.records = true;
      return 0;
    },
    .end_capture = [](void** graph, void*) -> int {
      fake.records = false;
      if (fake.broken || fake.end_error != 0) return kRefused;
      ++fake.graphs;
      *graph = new FakeGraph{fake.recorded};
      return 0;
    },
    .launch_graph = [](void* graph, void* stream) -> int {
      if (fake.graph_error != 0) return failed(fake.graph_error);
      ++fake.launches;
      auto* const made = static_cast<FakeGraph*>(graph);
      ++made->running;
      put(stream, [made] {
        for (const Copy& c : made->copies) std::memcpy(c.to, c.from, c.bytes);
        --made->running;
      });
      return 0;
    },
    .release_graph = [](void* graph) -> int {
      --fake.graphs;
      const auto* const made = static_cast<FakeGraph*>(graph);
      if (made->running > 0) return fake.torn = true, kRefused;
      return delete made, 0;
    },
};

// While it lives, the device is the fake one.
struct FakeDevice {
  FakeDevice() {
    fake = {};
    cuda::set_driver(&kFake);
  }
  ~FakeDevice() { cuda::set_driver(cuda::runtime()); }
};

cuda::Upload upload_of(const Tensor& picture) { return {picture.raw(), picture.shape(), picture.dtype()}; }

// The first `n` floats that come back.
std::vector<double> arrived(const cuda::Download& download, int64_t n) {
  const auto* const values = static_cast<const float*>(download.arrived());
  return {values, values + n};
}

}  // namespace

TEST_CASE("without a driver there is no device, and one sentence says so") {
  const FakeDevice device;
  fake.start_error = kNoDriver;
  CHECK(cuda::absence() == "there is no CUDA device that can be used: no driver");
  CHECK(error_of([] {
          zeros({2}, {DType::f32, kCuda});
        }) == "cuda: there is no CUDA device that can be used: no driver");
  CHECK(fake.starts == 1);  // asked once
  cuda::set_driver(nullptr);
  CHECK(cuda::absence() == "this build has no CUDA backend");
  CHECK(error_of([] { empty({2}, {DType::f32, kCuda}); }) == "cuda: this build has no CUDA backend");
}

TEST_CASE("only the first device is used") {
  const FakeDevice device;
  CHECK(error_of([] {
          empty({2}, {DType::f32, {Device::Type::cuda, 1}});
        }) == "cuda: expected device cuda:0, got index 1");
}

TEST_CASE("bytes on the device are counted and given back") {
  const FakeDevice device;
  {
    const Tensor x = empty({1000}, {DType::f32, kCuda});
    const Tensor nothing = empty({0}, {DType::f32, kCuda});
    CHECK(cuda::memory_stats().live == 4000);
    CHECK(fake.blocks.size() == 2);
  }
  CHECK(cuda::memory_stats().live == 0);
  CHECK(cuda::memory_stats().peak == 4000);
  CHECK(cuda::memory_stats().allocations == 2);
  CHECK(fake.blocks.empty());
  cuda::reset_memory_peak();
  CHECK(cuda::memory_stats().peak == 0);
}

TEST_CASE("a device without memory gives back what its pool keeps, then says so") {
  const FakeDevice device;
  fake.allocations_to_fail = 1;
  const Tensor x = empty({10}, {DType::f32, kCuda});
  CHECK(fake.trims == 1);
  CHECK(fake.waits == 1);  // what was freed is free once its work is done
  fake.allocations_to_fail = 2;
  CHECK_THROWS_AS(empty({5}, {DType::f32, kCuda}), OutOfMemory);
  fake.allocations_to_fail = 2;
  CHECK(error_of([] {
          empty({5}, {DType::f32, kCuda});
        }) == "cuda: the device has no 20 bytes left (40 in use): out of memory");
  CHECK(cuda::memory_stats().live == 40);
  const Tensor y = empty({5}, {DType::f32, kCuda});  // and goes on
}

TEST_CASE("the cap and the failures that tests ask for") {
  const FakeDevice device;
  cuda::set_memory_cap(100);
  const Tensor x = empty({20}, {DType::f32, kCuda});
  CHECK(error_of([] {
          empty({6}, {DType::f32, kCuda});
        }) == "cuda: 24 bytes more than the 80 in use on the device would exceed the cap of 100");
  const Tensor y = empty({5}, {DType::f32, kCuda});
  cuda::set_memory_cap(0);
  cuda::fail_allocation(2);
  const Tensor z = empty({1}, {DType::f32, kCuda});
  CHECK_THROWS_AS(empty({1}, {DType::f32, kCuda}), OutOfMemory);
  cuda::trim_memory();
  CHECK(fake.trims == 1);
}

TEST_CASE("tensors travel to the device and back, converted on the host") {
  const FakeDevice device;
  const Tensor x = from_vector({1, -2, 0.5}, {3});
  const Tensor there = x.to(kCuda);
  CHECK(there.device() == kCuda);
  CHECK(there.to(kCuda).storage() == there.storage());
  CHECK(there.to_vector() == x.to_vector());
  const Tensor half = from_vector({1, -2, 0.5}, {3}, {DType::bf16, kCuda});
  CHECK(half.dtype() == DType::bf16);
  CHECK(half.to_vector() == x.to_vector());
  const uint64_t version = there.storage()->version();
  copy_(there, full({3}, 7));
  CHECK(there.storage()->version() > version);
  CHECK(there.to_vector() == std::vector<double>{7, 7, 7});
  const Tensor wide = empty({3}, {DType::f64, kCpu});
  copy_(wide, half);
  CHECK(wide.to_vector() == x.to_vector());
}

TEST_CASE("memory of the host may be used again when it has been copied, whenever the device reads it") {
  const FakeDevice device;
  fake.lazy = true;
  const Tensor x = from_vector({1, -2, 0.5}, {3});
  const Tensor there = x.to(kCuda);
  fill_(x, 7);
  CHECK(there.to_vector() == std::vector<double>{1, -2, 0.5});
}

TEST_CASE("errors of the device say what luxgrad was doing") {
  const FakeDevice device;
  const Tensor x = full({3}, 1).to(kCuda);
  fake.wait_error = kRefused;
  CHECK(error_of([&] { x.to(kCpu); }) == "cuda: copying 12 bytes from device to host: invalid argument");
  CHECK(error_of([] { cuda::synchronize(); }) == "cuda: waiting for the device: invalid argument");
  fake.launch_error = kRefused;
  CHECK(error_of([] { cuda::check_launch("lux::Relu", 12); }) ==
        "cuda: running lux::Relu for 12 elements: invalid argument");
  CHECK_NOTHROW(cuda::check_launch("lux::Relu", 12));
}

TEST_CASE("what fails in an operator names the innermost one and the shapes that it reads") {
  const FakeDevice device;
  const Tensor x = empty({1, 2, 3, 4}), missing;
  const Tensors weights = {empty({4}), empty({2, 4})};
  const auto launch = [] {
    fake.launch_error = kRefused;
    return error_of([] { cuda::check_launch("lux::Relu", 12); });
  };
  const OperatorScope outer("outer", x, weights, missing);
  {
    const OperatorScope scope(OperatorScope::Gradient{}, "relu", x);
    CHECK(launch() == "cuda: running lux::Relu for 12 elements, in grad relu [1, 2, 3, 4]: invalid argument");
  }
  CHECK(launch() ==
        "cuda: running lux::Relu for 12 elements, in outer [1, 2, 3, 4] [4] [2, 4]: invalid argument");
  fake.allocations_to_fail = 2;
  CHECK(error_of([] {
          empty({5}, {DType::f32, kCuda});
        }) ==
        "cuda: the device has no 20 bytes left (0 in use), in outer [1, 2, 3, 4] [4] [2, 4]: out of memory");
}

TEST_CASE(
    "the fault of a kernel may be an earlier one's, and where launches are awaited names its operator") {
  const FakeDevice device;
  const std::string fault = "an illegal memory access was encountered";
  const std::string advice = "; an earlier kernel may have done it, and LUX_CUDA_BLOCKING=1 says which";
  const Tensor x = empty({2, 3});
  const OperatorScope scope("relu", x);
  const auto launch = [] { return error_of([] { cuda::check_launch("lux::Relu", 6); }); };
  const std::string of_the_launch = "cuda: running lux::Relu for 6 elements, in relu [2, 3]: ";
  fake.launch_error = kFault;
  CHECK(launch() == of_the_launch + fault + advice);
  fake.wait_error = kFault;
  CHECK(error_of([] { cuda::synchronize(); }) == "cuda: waiting for the device: " + fault + advice);
  fake.allocation_error = kFault;
  CHECK(error_of([] {
          empty({5}, {DType::f32, kCuda});
        }) == "cuda: allocating 20 bytes, in relu [2, 3]: " + fault + advice);
  CHECK(launch() == "no error");  // its launch is well

  const Blocking blocking;
  CHECK(launch() == of_the_launch + fault);
  fake.wait_error = 0;
  CHECK(launch() == "no error");
}

TEST_CASE("a kernel that was compiled for the CPU refuses the device") {
  const FakeDevice device;
  struct Nothing {
    void operator()(int64_t) const {}
  };
  CHECK(error_of([] { parallel_for(kCuda, 3, Nothing{}); }) ==
        "cuda: this kernel was built for the CPU only");
}

TEST_CASE("what failed is said once, and not again of the next kernel") {
  const FakeDevice device;
  fake.has_host_memory = false;
  CHECK_THROWS_AS(cuda::Staging{10}, OutOfMemory);
  CHECK_NOTHROW(cuda::check_launch("lux::Relu", 12));
  fake.record_error = kRefused;
  CHECK(error_of([] { cuda::Event(); }) == "cuda: marking the stream: invalid argument");
  CHECK_NOTHROW(cuda::check_launch("lux::Relu", 12));
  CHECK(fake.events == 0);
}

TEST_CASE("events of the stream tell what the device took, and are given back") {
  const FakeDevice device;
  {
    const cuda::Event first;
    cuda::Event second, third(std::move(second));
    CHECK(third.milliseconds_since(first) == 1);
    fake.wait_error = kRefused;
    CHECK(error_of([&] { third.milliseconds_since(first); }) ==
          "cuda: waiting for the device: invalid argument");
  }
  CHECK(fake.events == 0);
}

TEST_CASE("a meter times slots from what they say until their kernels are called") {
  const FakeDevice device;
  const cuda::FloorMeter meter(cuda::FloorMeter::taken);
  cuda::must_move("curve", 100);
  cuda::end_of_slot();
  for (const int bytes : {1, 2, 3}) cuda::must_move("adam", bytes);  // one slot, which says so three times
  cuda::end_of_slot();
  const cuda::Event kernels_of_nobody;
  cuda::end_of_slot();
  cuda::must_move("curve", 100);
  cuda::end_of_slot();
  CHECK(meter.moved().at("curve").milliseconds == 2);
  CHECK(meter.moved().at("curve").calls == 2);
  CHECK(meter.moved().at("adam").milliseconds == 1);
  CHECK(meter.moved().at("adam").bytes == 6);
}

namespace {

Tensor copied(const Tensor& x) {
  Tensor y = empty(x.shape(), x.options());
  cuda::copy(y.raw(), kCuda, x.raw(), kCuda, 4 * x.numel());
  return y;
}

// Work with memory that comes and goes: (x, weight) joined twice.
Tensor joined(const Tensor& x, const Tensor& weight) {
  Tensor first = copied(copied(x));
  const Tensor second = copied(weight);
  const Tensor constant = from_vector({0.5}, {1}, {DType::f32, kCuda});
  Tensor all = empty({x.numel() + weight.numel() + 1}, x.options());
  auto* const target = all.data<float>();
  cuda::copy(target, kCuda, first.raw(), kCuda, 4 * x.numel());
  first = {};
  cuda::copy(target + x.numel(), kCuda, second.raw(), kCuda, 4 * weight.numel());
  cuda::copy(target + x.numel() + weight.numel(), kCuda, constant.raw(), kCuda, 4);
  return copied(all);
}

// Runs `joined` on x, which is on the host.
std::vector<double> run_joined(cuda::Graphs& graphs, const Tensor& x, const Tensor& weight) {
  return graphs
      .run("joined", {x}, {weight}, [&](const Tensors& in) -> Tensors { return {joined(in[0], weight)}; })[0]
      .to_vector();
}

}  // namespace

TEST_CASE("work is measured, then recorded, then launched, with the same bits") {
  const FakeDevice device;
  {
    const Tensor weight = from_vector({7, 8}, {2}, {DType::f32, kCuda});
    cuda::Graphs graphs;
    for (int run = 0; run < 4; ++run) {
      const double r = run;
      const std::vector<double> expected{r, -r, 7, 8 + r, 0.5};
      copy_(weight, from_vector({7, 8 + r}, {2}));  // in place, as an optimiser does
      CHECK(run_joined(graphs, from_vector({r, -r}, {2}), weight) == expected);
      CHECK(graphs.size() == (run == 0 ? 0 : 1));
      CHECK(fake.launches == run);
    }
    CHECK(fake.graphs == 1);
    graphs.clear();
    CHECK(fake.graphs == 0);
    CHECK(fake.host_blocks.empty());
    CHECK(cuda::take_graph_notice().empty());
  }
  CHECK(cuda::memory_stats().live == 0);
  CHECK(fake.blocks.empty());
}

TEST_CASE("each shape has a graph, those used last stay, and other weights begin anew") {
  const FakeDevice device;
  Tensor weight = from_vector({1}, {1}, {DType::f32, kCuda});
  cuda::Graphs graphs(2);
  const auto run = [&](int64_t size) {
    const auto n = static_cast<double>(size);
    std::vector<double> expected(static_cast<size_t>(size), n);
    expected.push_back(weight.to_vector()[0]);
    expected.push_back(0.5);
    CHECK(run_joined(graphs, full({size}, n), weight) == expected);
    return fake.launches;
  };
  for (const int64_t size : {1, 2, 1, 2}) run(size);
  CHECK(graphs.size() == 2);
  CHECK(run(2) == 3);
  CHECK(run(1) == 4);
  run(3);  // in the place of 2
  CHECK(graphs.size() == 1);
  CHECK(run(1) == 5);
  CHECK(run(2) == 5);
  weight = from_vector({9}, {1}, {DType::f32, kCuda});
  CHECK(run(1) == 5);
  CHECK(run(1) == 6);
  cuda::set_graphs_wanted(false);
  CHECK(run(1) == 6);
  cuda::set_graphs_wanted(true);
  CHECK(run(1) == 7);
}

TEST_CASE("work that looks at the device is not recorded, and runs as ever") {
  const FakeDevice device;
  cuda::Graphs graphs;
  (void)cuda::take_graph_notice();
  for (const bool waits : {false, true}) {
    int runs = 0;
    for (int run = 0; run < 4; ++run) {
      const Tensors y = graphs.run(waits ? "waits" : "reads", {full({2}, run)}, {}, [&](const Tensors& in) {
        ++runs;
        if (waits) cuda::synchronize();
        return Tensors{full({1}, waits ? run : in[0].to_vector()[0])};
      });
      CHECK(y[0].item() == run);
    }
    CHECK(runs == 5);  // once in vain
    CHECK(graphs.size() == 0);
    CHECK(fake.launches == 0);
  }
  CHECK_FALSE(fake.records);
  const int waits_before = fake.waits;
  cuda::synchronize();
  CHECK(fake.waits == waits_before + 1);
}

TEST_CASE("what work copies while it is measured has arrived when it is looked at") {
  const FakeDevice device;
  fake.lazy = true;
  cuda::Graphs graphs;
  const Tensor x = full({2}, 3).to(kCuda);
  double seen = 0;
  graphs.run("looks", {x}, {}, [&](const Tensors& in) {
    Tensor constant = full({1}, 4);
    const Tensor there = constant.to(kCuda);
    fill_(constant, 7);
    seen = in[0].to_vector()[0];
    return Tensors{there};
  });
  CHECK(seen == 3);
  (void)cuda::take_graph_notice();
}

TEST_CASE("a graph that cannot be launched is named, with the shapes of its inputs") {
  const FakeDevice device;
  const Tensor weight = from_vector({1}, {1}, {DType::f32, kCuda});
  cuda::Graphs graphs;
  for (int run = 0; run < 2; ++run) run_joined(graphs, full({3}, 1), weight);
  fake.graph_error = kRefused;
  CHECK(error_of([&] { run_joined(graphs, full({3}, 1), weight); }) ==
        "cuda: launching the graph of joined f32[3]: invalid argument");
}

TEST_CASE("where launches are awaited nothing runs as a graph") {
  const FakeDevice device;
  const Tensor weight = from_vector({1}, {1}, {DType::f32, kCuda});
  cuda::Graphs graphs;
  for (int run = 0; run < 2; ++run) run_joined(graphs, full({3}, 1), weight);
  const Blocking blocking;
  const int launches = fake.launches;
  CHECK(run_joined(graphs, full({3}, 2), weight) == std::vector<double>{2, 2, 2, 1, 0.5});
  CHECK(fake.launches == launches);
}

TEST_CASE("what the driver does not record runs launch by launch") {
  const FakeDevice device;
  const Tensor weight = from_vector({1}, {1}, {DType::f32, kCuda});
  cuda::Graphs graphs;
  fake.end_error = kRefused;
  for (int run = 0; run < 3; ++run) CHECK(run_joined(graphs, full({1}, run), weight)[0] == run);
  CHECK(graphs.size() == 0);
  CHECK(fake.graphs == 0);
}

TEST_CASE("whichever allocation of a recording fails, the work runs as ever and nothing is lost") {
  const FakeDevice device;
  const Tensor weight = from_vector({1}, {1}, {DType::f32, kCuda});
  const int64_t live = cuda::memory_stats().live;
  int64_t failures = 0;
  for (bool recorded = false; !recorded; failures += recorded ? 0 : 1) {
    cuda::Graphs graphs;
    run_joined(graphs, full({3}, 1), weight);
    cuda::fail_allocation(failures + 1);
    CHECK(run_joined(graphs, full({3}, 2), weight) == std::vector<double>{2, 2, 2, 1, 0.5});
    cuda::fail_allocation(0);
    recorded = graphs.size() == 1;
    graphs.clear();
    CHECK(cuda::memory_stats().live == live);
  }
  CHECK(failures == 8);  // the input, the graph's memory, six tensors
  CHECK(fake.graphs == 0);
  CHECK(fake.host_blocks.empty());
}

TEST_CASE("where memory is short, graphs give theirs back first") {
  const FakeDevice device;
  const Tensor weight = from_vector({1}, {1}, {DType::f32, kCuda});
  cuda::Graphs graphs;
  for (int run = 0; run < 2; ++run) run_joined(graphs, full({1000}, run), weight);
  REQUIRE(graphs.size() == 1);
  const int64_t kept = cuda::memory_stats().live - 4;
  CHECK(kept > 4000);
  cuda::set_memory_cap(kept + 100);
  const Tensor large = empty({500}, {DType::f32, kCuda});
  CHECK(graphs.size() == 0);
  CHECK(cuda::memory_stats().live == 2004);
  CHECK_THROWS_AS(empty({5000}, {DType::f32, kCuda}), OutOfMemory);
}

TEST_CASE(
    "a library that finds no memory beside the pool is called again when that gave back what it keeps") {
  const auto calls_of = [](int refusals) {
    int calls = 0;
    const int answer = cuda::with_room(7, [&] { return calls++ < refusals ? 7 : 0; });
    CHECK(answer == (refusals > 1 ? 7 : 0));
    return calls;
  };
  CHECK(calls_of(1) == 2);  // nor needs it a device
  const FakeDevice device;
  cuda::synchronize();
  CHECK(calls_of(0) == 1);
  CHECK(fake.trims == 0);
  CHECK(calls_of(1) == 2);
  CHECK(fake.trims == 1);
  CHECK(calls_of(2) == 2);
  CHECK(fake.trims == 2);
  CHECK(cuda::with_room(7, [] { return 8; }) == 8);
  CHECK(fake.trims == 2);
  cuda::Graphs graphs;
  std::vector<int> calls;
  for (int run = 0; run < 2; ++run) {
    graphs.run("short of memory", {full({1}, 1)}, {}, [&](const Tensors& x) {
      int& own = calls.emplace_back(0);
      if (cuda::with_room(7, [&] { return own++ == 0 ? 7 : 0; }) != 0) throw cuda::OutOfDeviceMemory("none");
      return x;
    });
  }
  CHECK(calls == std::vector<int>{2, 1, 2});  // a recording is given up
  (void)cuda::take_graph_notice();
  const Tensor weight = from_vector({1}, {1}, {DType::f32, kCuda});
  for (int run = 0; run < 2; ++run) run_joined(graphs, full({3}, 1), weight);
  CHECK(graphs.size() == 1);
  int last = 0;
  CHECK(cuda::with_room(7, [&] { return last++ < 2 ? 7 : 0; }) == 0);
  CHECK(graphs.size() == 0);
}

TEST_CASE("graphs are forgotten before the libraries whose kernels they launch are stopped") {
  const FakeDevice device;
  const Tensor weight = from_vector({1}, {1}, {DType::f32, kCuda});
  cuda::Graphs graphs;
  for (int run = 0; run < 2; ++run) run_joined(graphs, full({3}, run), weight);
  REQUIRE(graphs.size() == 1);
  cuda::stop_vendor_libraries();
  CHECK(graphs.size() == 0);
  CHECK(run_joined(graphs, full({3}, 2), weight) == std::vector<double>{2, 2, 2, 1, 0.5});
}

TEST_CASE("graphs that make room for a copy are done by then") {
  const FakeDevice device;
  fake.lazy = true;
  const Tensor weight = from_vector({1}, {1}, {DType::f32, kCuda});
  cuda::Graphs graphs;
  for (int run = 0; run < 2; ++run) run_joined(graphs, full({1000}, run), weight);
  const auto work = [&](const Tensors& in) -> Tensors { return {joined(in[0], weight)}; };
  graphs.run("joined", {full({1000}, 2)}, {weight}, work);
  cuda::set_memory_cap(cuda::memory_stats().live + 100);
  const cuda::Upload upload = upload_of(full({500}, 1));
  CHECK(graphs.size() == 0);
  CHECK_FALSE(fake.torn);
}

TEST_CASE("a recording is not disturbed by copies of other threads, though these find no memory or fail") {
  const FakeDevice device;
  (void)cuda::take_graph_notice();
  cuda::Graphs graphs;
  const Tensor picture = full({4}, 1);
  for (int run = 0; run < 2; ++run) {
    const Tensors y = graphs.run("copies", {full({2}, run)}, {}, [&](const Tensors& in) -> Tensors {
      std::thread loader([&] {
        fake.allocations_to_fail = 1;
        const cuda::Upload upload = upload_of(picture);
        fake.record_error = kRefused;
        CHECK_THROWS_AS(upload_of(picture), Error);
        fake.record_error = 0;
      });
      loader.join();
      return {copied(in[0])};
    });
    CHECK(y[0].to_vector() == std::vector<double>(2, run));
  }
  CHECK(fake.trims == 2);
  CHECK(graphs.size() == 1);
}

TEST_CASE("a graph that finds no memory of the host for its constants runs launch by launch") {
  const FakeDevice device;
  const Tensor weight = from_vector({1}, {1}, {DType::f32, kCuda});
  cuda::Graphs graphs;
  run_joined(graphs, full({3}, 1), weight);
  fake.has_host_memory = false;
  CHECK(run_joined(graphs, full({3}, 2), weight) == std::vector<double>{2, 2, 2, 1, 0.5});
  CHECK(graphs.size() == 0);
  CHECK_NOTHROW(cuda::check_launch("lux::Relu", 12));
}

TEST_CASE("results of a graph outlive it, and memory that it lets go of is given back after the recording") {
  const FakeDevice device;
  {
    Tensor held = full({5}, 1).to(kCuda), y;
    {
      cuda::Graphs graphs;
      for (int run = 0; run < 3; ++run) {
        y = graphs.run("lets go", {full({2}, run)}, {}, [&](const Tensors& in) {
          held = copied(in[0]);  // in the place of what was there before
          return Tensors{copied(held)};
        })[0];
      }
      CHECK(graphs.size() == 1);
    }
    CHECK(y.to_vector() == std::vector<double>{2, 2});
  }
  CHECK(cuda::memory_stats().live == 0);
  CHECK(fake.blocks.empty());
}

TEST_CASE("places in a graph's memory are reused, and as tight as they come") {
  cuda::Layout layout;
  const int64_t a = layout.take(1), b = layout.take(300), c = layout.take(0);
  CHECK(a == 0);
  CHECK(b == 256);
  CHECK(c == 768);
  layout.give(b);
  CHECK(layout.take(200) == 256);
  CHECK(layout.take(300) == 1024);
  CHECK(layout.take(256) == 512);
  CHECK(layout.most() == 1024 + 512);
}

TEST_CASE("pictures travel beside the device's own stream, and whoever needs them waits") {
  const FakeDevice device;
  fake.lazy = true;
  {
    const Tensor picture = full({1, 4, 4, 3}, 1);
    cuda::Upload first = upload_of(picture);
    fill_(picture, 2);  // which the host may reuse
    cuda::Upload second = upload_of(picture);
    Tensor result = copied(first.arrived());
    CHECK(fake.waits == 0);
    cuda::Download back(result);
    result = copied(second.arrived());
    cuda::Download also_back(result);
    result = {};
    CHECK(fake.streams[&fake].done == 0);  // nobody has waited yet
    CHECK(arrived(also_back, 48) == std::vector<double>(48, 2));
    CHECK(arrived(back, 48) == std::vector<double>(48, 1));
    CHECK(fake.made_streams == 2);
    const cuda::Upload unused = upload_of(picture);
  }
  cuda::synchronize();
  CHECK(cuda::memory_stats().live == 0);
  const size_t buffers = fake.host_blocks.size();
  CHECK(buffers <= 5);  // two pairs at a time, and one
  { const cuda::Upload again = upload_of(full({1, 4, 4, 3}, 3)); }
  CHECK(fake.host_blocks.size() == buffers);  // there is one of this size
  cuda::forget_staging();
  CHECK(fake.host_blocks.empty());
}

TEST_CASE("a picture that finds no memory is nowhere, and one that is lost on the way is an error") {
  const FakeDevice device;
  const Tensor picture = full({1, 2, 2, 3}, 1);
  cuda::fail_allocation(1);
  CHECK_THROWS_AS(upload_of(picture), OutOfMemory);
  cuda::Upload upload = upload_of(picture);
  const cuda::Download download(upload.arrived());
  fake.wait_error = kRefused;
  CHECK(error_of([&] { download.arrived(); }) == "cuda: waiting for the device: invalid argument");
  fake.wait_error = 0;
  CHECK(arrived(download, 12) == std::vector<double>(12, 1));
}

TEST_CASE("a result that nobody wants any more leaves its memory to nobody before it has come") {
  const FakeDevice device;
  fake.lazy = true;
  cuda::Upload first = upload_of(full({6}, 1));
  const Tensor there = first.arrived();
  { const cuda::Download dropped(there); }
  cuda::Upload next = upload_of(full({6}, 5));  // in the pinned memory of the one that was dropped
  CHECK(arrived(cuda::Download(there), 6) == std::vector<double>(6, 1));
  CHECK(arrived(cuda::Download(next.arrived()), 6) == std::vector<double>(6, 5));
}

TEST_CASE("a photo that is on its way to the device leaves its memory to nobody before it has come") {
  const FakeDevice device;
  fake.lazy = true;
  Tensor there;
  {
    cuda::Upload first = upload_of(full({6}, 1));
    there = first.arrived();
  }
  cuda::Upload next = upload_of(full({6}, 5));  // in the pinned memory of the first
  CHECK(arrived(cuda::Download(there), 6) == std::vector<double>(6, 1));
  CHECK(arrived(cuda::Download(next.arrived()), 6) == std::vector<double>(6, 5));
}
