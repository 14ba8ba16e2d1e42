// How a program has the work of fake_cudnn.cpp done by a device that it plays.
#pragma once

#include <functional>

struct FakeDevice {
  /// Puts work on a stream; false, with nothing done, where the device has no such stream. The work is done
  /// as often as a graph runs that was recorded meanwhile.
  bool (*launch)(void* stream, std::function<void()> work);
  /// Whether an address is one of its memory.
  bool (*holds)(const void* address);
};

/// What the library exports under `kUseFakeDevice`. From then on the work touches memory only when it is
/// launched, by the addresses that were given; the plan is not copied, as cuDNN's kernels belong to theirs.
using UseFakeDevice = void (*)(const FakeDevice& device);
inline constexpr const char* kUseFakeDevice = "luxUseFakeDevice";
