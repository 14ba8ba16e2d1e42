#include "luxgrad/data/tensor_file.h"

#include <algorithm>
#include <array>

#include "luxgrad/data/file.h"
#include "luxgrad/data/npy.h"
#include "luxgrad/data/pth.h"

namespace lux {
namespace {

constexpr std::string_view kZip = "PK", kHdf5 = "\x89HDF\r\n\x1a\n";

// Of Keras' files, and of what its archives hold.
constexpr const char* kFromKeras =
    "in Python, numpy.savez(NEW, **{w.path: w.numpy() for w in model.weights}) makes an .npz of a Keras "
    "model";

/// A message of protocol buffers that begins with a version (field 1) and who made it, what it is for, or a
/// graph (fields 2 to 8): so ONNX does. Safetensors have a brace where its text begins.
bool is_onnx(std::string_view text) {
  constexpr size_t kHead = 9;
  constexpr unsigned char kVersion = 1 << 3, kLatest = 64, kBytes = 2;
  if (text.size() < kHead || text[8] == '{') return false;
  const auto version = static_cast<unsigned char>(text[1]), next = static_cast<unsigned char>(text[2]);
  const int field = next >> 3;
  return text[0] == kVersion && version > 0 && version < kLatest && (next & 7) == kBytes && field >= 2 &&
         field <= 8;
}

/// Archives of NumPy hold .npy alone, those of PyTorch hold none. Throws for those of Keras.
bool is_npz(std::span<const uint8_t> bytes) {
  const auto entries = parse_zip(bytes).value();
  for (const ZipEntry& entry : entries) {
    if (entry.name.ends_with("model.weights.h5"))
      refuse(FileErrorCode::unsupported, 0, "is an archive of Keras with HDF5 inside; ", kFromKeras);
  }
  return entries.empty() || entries.front().name.ends_with(".npy");
}

}  // namespace

Result<TensorFile> parse_tensor_file(std::span<const uint8_t> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (is_legacy_pth(bytes)) return parse_pth(bytes);
  return attempt([&]() -> TensorFile {
    if (text.starts_with(kHdf5)) refuse(FileErrorCode::unsupported, 0, "is HDF5; ", kFromKeras);
    if (is_onnx(text)) {
      refuse(FileErrorCode::unsupported, 0,
             "is ONNX; in Python, numpy.savez(NEW, **{t.name: onnx.numpy_helper.to_array(t) for t in "
             "onnx.load(OLD).graph.initializer}) makes an .npz of its weights");
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
