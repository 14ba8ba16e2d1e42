#include "luxgrad/data/tensor_file.h"

#include <algorithm>
#include <array>

#include "luxgrad/data/file.h"
#include "luxgrad/data/npy.h"
#include "luxgrad/data/pth.h"

namespace lux {
namespace {

constexpr std::string_view kZip = "PK", kHdf5 = "\x89HDF\r\n\x1a\n";

/// Archives of NumPy hold .npy alone, those of PyTorch hold none.
bool is_npz(std::span<const uint8_t> bytes) {
  const auto entries = parse_zip(bytes).value();
  return entries.empty() || entries.front().name.ends_with(".npy");
}

}  // namespace

Result<TensorFile> parse_tensor_file(std::span<const uint8_t> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (is_legacy_pth(bytes)) return parse_pth(bytes);
  return attempt([&]() -> TensorFile {
    if (text.starts_with(kHdf5)) {
      refuse(FileErrorCode::unsupported, 0,
             "is HDF5; in Python, numpy.savez(NEW, **{w.path: w.numpy() for w in model.weights}) makes an "
             ".npz of "
             "a Keras model");
    }
    if (!text.starts_with(kZip)) return parse_safetensors(bytes).value();
    if (is_npz(bytes)) return {parse_npz(bytes).value(), {}};
    return parse_pth(bytes).value();
  });
}

TensorFile load_tensor_file(const std::string& path) {
  const auto bytes = read_file(path).value();
  return parse_tensor_file(bytes).in_file(path).value();
}

bool has_tensor_file_name(std::string_view path) {
  constexpr std::array<std::string_view, 4> kEndings = {".safetensors", ".npz", ".pth", ".pt"};
  return std::any_of(kEndings.begin(), kEndings.end(), [&](auto ending) { return path.ends_with(ending); });
}

}  // namespace lux
