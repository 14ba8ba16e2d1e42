// What `info` and `bench` measure of the machine and of the process.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "luxgrad/models/enhance.h"

namespace lux {

/// The picture that memory and speed are stated for.
inline constexpr int64_t kStatedWidth = 1200, kStatedHeight = 900;

/// How the command `enhance` runs networks: under some limit, and so without the forms of the weights that
/// kernels keep.
inline constexpr EnhanceOptions kAsCommand{.memory = std::numeric_limits<int64_t>::max()};

/// What convolves here: the instruction set of the tiles, v2, v3, v4 (of x86-64), v4+bf16, v4+amx or base,
/// else eigen or plain.
std::string instruction_set();

/// Bytes of this process in memory now, and their highest value since `reset_peak_resident`. -1 where the
/// system does not say.
int64_t resident_bytes();
int64_t peak_resident_bytes();
/// The most address space that the process ever had, which `ulimit -v` limits.
int64_t peak_address_bytes();
void reset_peak_resident();

/// Bytes that this machine, or the cgroup of this process, has free for it. -1 where the system does not say.
int64_t available_bytes();

/// What `measure_peak` is expected to find of kAsCommand, whatever the machine: what the network holds in the
/// order in which the command `enhance` runs it, the pictures and the parameters, and an eighth more for
/// workspaces, rounding and the cache of the allocator.
int64_t predicted_peak(const Model& model, int64_t height, int64_t width);

/// Bytes by which the process grows at most while `model` enhances [pictures, height, width, 3], these and
/// the parameters included, nothing else. On a GPU: the most that is in use of its memory.
int64_t measure_peak(const Model& model, int64_t height, int64_t width, const EnhanceOptions& options = {},
                     int64_t pictures = 1);

/// A picture [n, height, width, 3] of dark noise.
Tensor noise_picture(int64_t n, int64_t height, int64_t width);

/// Megabytes (10^6 bytes) with one decimal.
std::string megabytes(int64_t bytes);

}  // namespace lux
