// A writer of PyTorch's checkpoints for tests, in the words of pickle: every function gives the opcodes of
// one value, so tests can write programs that PyTorch never would.
#pragma once

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "luxgrad/layers/module.h"
#include "zip_archive.h"

namespace pth {

using Bytes = std::vector<uint8_t>;

inline std::string little(uint64_t value, size_t width) {
  std::string bytes;
  for (size_t b = 0; b < width; ++b) bytes += static_cast<char>(value >> (8 * b));
  return bytes;
}
inline std::string text(const std::string& content) { return "X" + little(content.size(), 4) + content; }
inline std::string integer(int64_t value) {
  if (value >= 0 && value < 256) return "K" + little(static_cast<uint64_t>(value), 1);
  return "\x8a\x08" + little(static_cast<uint64_t>(value), 8);
}
inline std::string global(const std::string& module, const std::string& name) {
  return lux::cat("c", module, "\n", name, "\n");
}
inline std::string tuple(const std::vector<std::string>& items) {
  std::string program = "(";
  for (const std::string& item : items) program += item;
  return program + "t";
}
inline std::string integers(const std::vector<int64_t>& values) {
  std::vector<std::string> items;
  for (const int64_t value : values) items.push_back(integer(value));
  return tuple(items);
}
inline std::string call(const std::string& function, const std::string& arguments) {
  return function + arguments + "R";
}
inline std::string ordered_dict() { return call(global("collections", "OrderedDict"), ")"); }
/// A dictionary; keys and values are programs.
inline std::string dict(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string program = "}(";
  for (const auto& [key, value] : items) program += key + value;
  return program + "u";
}

/// `type`: such as "Float".
inline std::string storage(const std::string& type, const std::string& key, int64_t numel,
                           const std::string& view = "") {
  std::vector<std::string> parts = {text("storage"), global("torch", type + "Storage"), text(key),
                                    text("cpu"), integer(numel)};
  if (!view.empty()) parts.push_back(view);
  return tuple(parts) + "Q";
}
inline std::string tensor(const std::string& storage, int64_t offset, const std::vector<int64_t>& sizes,
                          const std::vector<int64_t>& strides) {
  return call(global("torch._utils", "_rebuild_tensor_v2"),
              tuple({storage, integer(offset), integers(sizes), integers(strides), "\x89", ordered_dict()}));
}
inline std::string pickle(const std::string& value) { return "\x80\x02" + value + "."; }

using Storages = std::vector<std::pair<std::string, std::string>>;  // key, bytes

/// The container of PyTorch 1.6 and later; `more` entries follow.
inline ZipArchive archive(const std::string& program, const Storages& storages,
                          const std::vector<ZipItem>& more = {}) {
  constexpr uint16_t kFlags = 0x808;  // sizes behind the data, names in UTF-8
  std::vector<ZipItem> items = {{"root/data.pkl", program, false, kFlags}};
  for (const auto& [key, bytes] : storages) items.push_back({"root/data/" + key, bytes, false, kFlags});
  items.push_back({"root/version", "3\n", false, kFlags});
  items.insert(items.end(), more.begin(), more.end());
  return {items.data(), items.size()};
}
inline Bytes zip_file(const std::string& value, const Storages& storages) {
  return archive(pickle(value), storages).with_zip64_record();
}

inline std::string legacy_head() {
  return pickle("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19") + pickle("M\xe9\x03");
}
inline std::string system_info(const std::string& little_endian = "\x88") {
  return pickle(dict({{text("protocol_version"), integer(1001)}, {text("little_endian"), little_endian}}));
}
/// The older container; `widths` are the bytes of an element of each storage.
inline Bytes legacy_file(const std::string& value, const Storages& storages,
                         const std::vector<size_t>& widths, const std::string& system = system_info()) {
  std::string keys = "](", data;
  for (size_t i = 0; i < storages.size(); ++i) {
    keys += text(storages[i].first);
    data += little(storages[i].second.size() / widths[i], 8) + storages[i].second;
  }
  const std::string file = legacy_head() + system + pickle(value) + pickle(keys + "e") + data;
  return {file.begin(), file.end()};
}

// --- A file for most tests: one storage of six numbers, seen by tensors ---

inline std::string floats(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}
inline const Storages kSix = {{"0", floats({0, 1, 2, 3, 4, 5})}};
inline std::string six(int64_t offset, const std::vector<int64_t>& sizes,
                       const std::vector<int64_t>& strides) {
  return tensor(storage("Float", "0", 6), offset, sizes, strides);
}
/// The archive of one value, `w`.
inline Bytes file_of(const std::string& value) { return zip_file(dict({{text("w"), value}}), kSix); }

/// [out, kH, kW, in] as PyTorch has it: [out, in, kH, kW], or [in, out, kH, kW] for a transposed convolution.
/// Written the other way round than the code under test: it scatters.
inline lux::Tensor torch_layout(const lux::Tensor& ours, bool transposed) {
  if (ours.shape().rank() != 4) return ours;
  const int64_t O = ours.size(0), H = ours.size(1), W = ours.size(2), I = ours.size(3);
  const lux::Tensor theirs = lux::empty(transposed ? lux::Shape{I, O, H, W} : lux::Shape{O, I, H, W});
  const float* source = ours.data<float>();
  for (int64_t o = 0; o < O; ++o) {
    for (int64_t h = 0; h < H; ++h) {
      for (int64_t w = 0; w < W; ++w) {
        for (int64_t i = 0; i < I; ++i)
          theirs.data<float>()[((transposed ? i * O + o : o * I + i) * H + h) * W + w] = *source++;
      }
    }
  }
  return theirs;
}

enum class Container { archive, stream };

/// A state of f32 tensors as PyTorch would have written it.
inline Bytes state_file(const lux::State& state, Container container = Container::archive) {
  std::vector<std::pair<std::string, std::string>> items;
  Storages storages;
  for (const auto& [name, tensor] : state) {
    const std::string key = lux::cat(storages.size());
    std::vector<int64_t> sizes(tensor.shape().begin(), tensor.shape().end()), strides(sizes.size(), 1);
    for (size_t d = sizes.size(); d-- > 1;) strides[d - 1] = strides[d] * sizes[d];
    items.emplace_back(text(name), pth::tensor(storage("Float", key, tensor.numel()), 0, sizes, strides));
    const auto* const data = static_cast<const char*>(tensor.raw());
    storages.emplace_back(key, std::string(data, static_cast<size_t>(tensor.numel()) * sizeof(float)));
  }
  return container == Container::archive
             ? zip_file(dict(items), storages)
             : legacy_file(dict(items), storages, std::vector<size_t>(storages.size(), sizeof(float)));
}

}  // namespace pth
