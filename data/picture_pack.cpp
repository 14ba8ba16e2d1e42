#include "luxgrad/data/picture_pack.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "luxgrad/data/file.h"
#include "luxgrad/data/npy.h"
#include "luxgrad/data/transforms.h"
#include "luxgrad/data/zip_writer.h"

namespace lux {
namespace {

constexpr const char *kReferences = "arr_0", *kDark = "arr_1";
constexpr ZipLimits kLimits{.entries = 2, .total_bytes = int64_t{4} << 30};

Tensor picture(const Tensor& all, int64_t index) {
  check(index >= 0 && index < all.size(0), "picture_pack: there is no picture ", index, " of ", all.size(0));
  Tensor one = empty({1, all.size(1), all.size(2), all.size(3)});
  auto* const to = one.data<float>();
  const int64_t n = one.numel();
  if (all.dtype() == DType::u8) {
    const uint8_t* const from = all.data<uint8_t>() + index * n;
    std::transform(from, from + n, to, [](uint8_t v) { return static_cast<float>(v) / 255; });
  } else {
    const float* const from = all.data<float>() + index * n;
    std::transform(from, from + n, to, [](float v) { return v / 255; });
  }
  return one;
}

/// The values as bytes where all are whole, else as f32. Refuses values outside 0 … 255, and NaN.
Tensor compact(const Tensor& any) {
  if (any.dtype() == DType::u8) return any;
  Tensor values = any.to(DType::f32);
  const auto* const begin = values.data<float>();
  const auto* const end = begin + values.numel();
  if (!std::all_of(begin, end, [](float v) { return v >= 0 && v <= 255; }))
    refuse(FileErrorCode::malformed, -1, "has values outside 0 to 255");
  if (!std::all_of(begin, end, [](float v) { return v == std::floor(v); })) return values;
  Tensor bytes = empty(values.shape(), {DType::u8, kCpu});
  std::transform(begin, end, bytes.data<uint8_t>(), [](float v) { return static_cast<uint8_t>(v); });
  return bytes;
}

Tensor pictures_in(const std::map<std::string, Tensor>& arrays, const std::string& name) {
  const auto found = arrays.find(name);
  if (found == arrays.end()) refuse(FileErrorCode::malformed, -1, "has no array ", name);
  const Shape& shape = found->second.shape();
  if (shape.rank() != 4 || shape[3] != 3 || shape.numel() == 0)
    refuse(FileErrorCode::malformed, -1, name, ": expected pictures [N, H, W, 3], got ", shape);
  const auto levels = attempt([&] { return compact(found->second); });
  if (!levels) refuse(levels.error().code, -1, name, ": ", levels.error().reason);
  return levels.value();
}

/// Eight-bit values 0 … 255 of a picture [1, H, W, 3] in [0, 1], resized.
std::vector<uint8_t> levels_of(const Tensor& photo, int64_t height, int64_t width) {
  const Tensor small = resize_image(photo, height, width, {.mode = Interpolation::nearest});
  std::vector<uint8_t> levels(static_cast<size_t>(small.numel()));
  std::transform(small.data<float>(), small.data<float>() + small.numel(), levels.begin(),
                 [](float v) { return static_cast<uint8_t>(std::floor(v * 255 + 0.5f)); });
  return levels;
}

void write_as_floats(ZipWriter& archive, const std::vector<uint8_t>& levels) {
  const std::vector<float> values(levels.begin(), levels.end());
  archive.write({reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float)});
}

}  // namespace

Tensor PicturePack::low(int64_t index) const { return picture(low_, index); }
Tensor PicturePack::high(int64_t index) const { return picture(high_, index); }

Result<PicturePack> parse_picture_pack(std::span<const uint8_t> bytes) {
  return attempt([&] {
    const auto arrays = parse_npz(bytes, kLimits).value();
    const Tensor high = pictures_in(arrays, kReferences), low = pictures_in(arrays, kDark);
    if (high.shape() != low.shape()) {
      refuse(FileErrorCode::mismatch, -1, "has dark pictures ", low.shape(), ", references ", high.shape());
    }
    return PicturePack(low, high);
  });
}

int64_t save_picture_pack(const std::string& path, const PictureList& pairs, int64_t height, int64_t width,
                          FunctionRef<void(const std::string&)> each) {
  check(!pairs.empty(), "pack: expected at least one pair of pictures");
  const Shape shape{static_cast<int64_t>(pairs.size()), height, width, 3};
  const std::vector<uint8_t> header = npy_header(shape);
  const int64_t bytes = static_cast<int64_t>(header.size()) + shape.numel() * int64_t{sizeof(float)};
  check(2 * bytes <= kLimits.total_bytes, "pack: expected at most ", kLimits.total_bytes,
        " bytes of pictures, got ", 2 * bytes);
  ZipWriter archive;
  archive.begin(cat(kReferences, ".npy"), bytes);
  archive.write(header);
  std::vector<std::vector<uint8_t>> dark;
  for (const PicturePaths& paths : pairs) {
    each(paths.name);
    const PicturePair pair = read_pair(paths);
    check(pair.high.defined(), "pack: expected a reference for ", paths.name);
    write_as_floats(archive, levels_of(pair.high, height, width));
    dark.push_back(levels_of(pair.low, height, width));
  }
  archive.begin(cat(kDark, ".npy"), bytes);
  archive.write(header);
  for (const std::vector<uint8_t>& levels : dark) write_as_floats(archive, levels);
  return write_file_atomically(path, archive.finish()).value();
}

}  // namespace lux
