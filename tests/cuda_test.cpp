// tensor/cuda.h without a device: a driver made of host memory, which fails when it is told to.
#include "luxgrad/tensor/cuda.h"

#include <doctest/doctest.h>

#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "error_of.h"
#include "luxgrad/kernels/cuda/floor.h"
#include "luxgrad/kernels/slots.h"
#include "luxgrad/tensor/parallel.h"
#include "luxgrad/tensor/raw.h"

using namespace lux;

namespace {

constexpr int kNoDriver = 35, kExhausted = 2, kFault = 700;
constexpr Device kCuda{Device::Type::cuda, 0};

// What the driver was asked for, and what it shall answer.
struct Fake {
  std::map<void*, std::vector<char>> blocks;
  int starts = 0, trims = 0, waits = 0, copies = 0, clock = 0, marks = 0;
  int start_error = 0, allocations_to_fail = 0, launch_error = 0, wait_error = 0;
};
Fake fake;

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
                                       : "an illegal memory access was encountered";
        },
    .allocate = [](void** data, size_t bytes, void*) -> int {
      if (fake.allocations_to_fail > 0 && fake.allocations_to_fail-- > 0) return kExhausted;
      std::vector<char> block(bytes);
      *data = block.data();
      fake.blocks[*data] = std::move(block);
      return 0;
    },
    .release = [](void* data, void*) -> int { return fake.blocks.erase(data) == 1 ? 0 : kFault; },
    .trim = []() -> int { return ++fake.trims, 0; },
    .copy = [](void* to, const void* from, size_t bytes, void*) -> int {
      ++fake.copies;
      std::memcpy(to, from, bytes);
      return 0;
    },
    .synchronize = [](void*) -> int { return ++fake.waits, fake.wait_error; },
    .last_error = []() -> int { return std::exchange(fake.launch_error, 0); },
    .mark = [](void** mark, void*) -> int { return *mark = new int(++fake.clock), ++fake.marks, 0; },
    .forget = [](void* mark) -> int { return delete static_cast<int*>(mark), --fake.marks, 0; },
    .between = [](float* milliseconds, void* earlier, void* later) -> int {
      *milliseconds = static_cast<float>(*static_cast<int*>(later) - *static_cast<int*>(earlier));
      return fake.wait_error;
    },
    .out_of_memory = kExhausted,
};

// While it lives, the device is the fake one.
struct FakeDevice {
  FakeDevice() {
    fake = {};
    cuda::set_driver(&kFake);
  }
  ~FakeDevice() { cuda::set_driver(cuda::runtime()); }
};

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
  const int waits = fake.waits;
  CHECK(zeros({4}).to(kCuda).numel() == 4);
  CHECK(fake.waits == waits);  // an upload waits for nothing
}

TEST_CASE("errors of the device say what luxgrad was doing") {
  const FakeDevice device;
  const Tensor x = full({3}, 1).to(kCuda);
  fake.wait_error = kFault;
  CHECK(error_of([&] { x.to(kCpu); }) ==
        "cuda: copying 12 bytes from device to host: an illegal memory access was encountered");
  CHECK(error_of([] { cuda::synchronize(); }) ==
        "cuda: waiting for the device: an illegal memory access was encountered");
  fake.launch_error = kFault;
  CHECK(error_of([] { cuda::check_launch("lux::Relu", 12); }) ==
        "cuda: running lux::Relu for 12 elements: an illegal memory access was encountered");
  CHECK_NOTHROW(cuda::check_launch("lux::Relu", 12));
}

TEST_CASE("a kernel that was compiled for the CPU refuses the device") {
  const FakeDevice device;
  struct Nothing {
    void operator()(int64_t) const {}
  };
  CHECK(error_of([] { parallel_for(kCuda, 3, Nothing{}); }) ==
        "cuda: this kernel was built for the CPU only");
}

TEST_CASE("marks of the stream tell what the device took, and are given back") {
  const FakeDevice device;
  {
    const cuda::Mark first;
    cuda::Mark second, third(std::move(second));
    CHECK(third.milliseconds_since(first) == 1);
    fake.wait_error = kFault;
    CHECK(error_of([&] { third.milliseconds_since(first); }) ==
          "cuda: timing the device: an illegal memory access was encountered");
  }
  CHECK(fake.marks == 0);
}

TEST_CASE("a meter times slots from what they say until their kernels are called") {
  const FakeDevice device;
  const cuda::FloorMeter meter(cuda::FloorMeter::taken);
  cuda::must_move("curve", 100);
  cuda::end_of_slot();
  for (const int bytes : {1, 2, 3}) cuda::must_move("adam", bytes);  // one slot, which says so three times
  cuda::end_of_slot();
  const cuda::Mark kernels_of_nobody;
  cuda::end_of_slot();
  cuda::must_move("curve", 100);
  cuda::end_of_slot();
  CHECK(meter.moved().at("curve").milliseconds == 2);
  CHECK(meter.moved().at("curve").calls == 2);
  CHECK(meter.moved().at("adam").milliseconds == 1);
  CHECK(meter.moved().at("adam").bytes == 6);
}
