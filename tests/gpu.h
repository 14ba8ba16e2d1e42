// The GPU for tests that want one.
#pragma once

#include <string>

#include "luxgrad/kernels/cuda/vendor.h"
#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/cuda_graph.h"

namespace lux {

inline constexpr Device kGpu{Device::Type::cuda, 0};

/// While it lives, everything runs launch by launch.
struct NoGraphs {
  NoGraphs() : before(cuda::set_graphs_wanted(false)) {}
  ~NoGraphs() { cuda::set_graphs_wanted(before); }
  NoGraphs(const NoGraphs&) = delete;
  NoGraphs& operator=(const NoGraphs&) = delete;
  bool before;
};

/// While it lives, every launch is awaited.
struct Blocking {
  Blocking() : before(cuda::set_blocking(true)) {}
  ~Blocking() { cuda::set_blocking(before); }
  Blocking(const Blocking&) = delete;
  Blocking& operator=(const Blocking&) = delete;
  bool before;
};

/// Why there is none, as one sentence; empty where there is one, with NVIDIA's libraries if they reach it.
/// The first call starts it.
inline std::string absence_of_gpu() {
  static const std::string absence = [] {
    std::string text = cuda::absence();
    if (!cuda::has_libraries()) return text;
    try {
      cuda::start_vendor_libraries({cuda::stream, cuda::synchronize});
    } catch (const Error& error) {
      text = error.what();
    }
    return text;
  }();
  return absence;
}

}  // namespace lux
