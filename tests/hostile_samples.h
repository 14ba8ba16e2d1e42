// Small valid files of every format that luxgrad reads, made here, the rare variants among them: what the
// tests damage and the fuzzers start from.
#pragma once

#include "mutate.h"

namespace hostile {

/// The shared pictures up to this size are among the samples where they are present.
inline constexpr size_t kSmallFile = 20'000;

// At least 30 files each.
std::vector<Bytes> jpeg_samples();
std::vector<Bytes> png_samples();
std::vector<Bytes> bmp_samples();
std::vector<Bytes> pnm_samples();
std::vector<Bytes> safetensors_samples();
std::vector<Bytes> npy_samples();
std::vector<Bytes> npz_samples();
std::vector<Bytes> pth_samples();
std::vector<Bytes> legacy_pth_samples();
std::vector<Bytes> checkpoint_samples();
/// Their pictures are noise: luxgrad looks at what stands beside them.
std::vector<Bytes> webp_samples();
std::vector<Bytes> config_samples();

/// A gray progressive JPEG of one block with many scans.
Bytes progressive_jpeg(int scans);

}  // namespace hostile
