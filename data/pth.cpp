#include "luxgrad/data/pth.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <set>

#include "luxgrad/data/torch_values.h"

namespace lux {
namespace {

using Kind = PickleValue::Kind;
using Bytes = std::span<const uint8_t>;

static_assert(std::endian::native == std::endian::little, "storages are read as they lie in memory");

template <class... Parts>
[[noreturn]] void malformed(int64_t offset, const Parts&... parts) {
  refuse(FileErrorCode::malformed, offset, parts...);
}

// --- Tensors ---------------------------------------------------------------------------------------------

/// Storages by key, within the bytes of the file.
using Storages = std::map<std::string_view, Bytes>;

/// Calls f(position in the storage) for every element in C order.
template <class F>
void each_element(const TorchTensor& tensor, const Shape& shape, const F& f) {
  std::array<int64_t, Shape::kMaxRank> index{};
  int64_t position = tensor.first;
  for (int64_t i = 0; i < shape.numel(); ++i) {
    f(position);
    for (size_t d = tensor.sizes.size(); d-- > 0;) {
      position += tensor.strides[d];
      if (++index[d] < tensor.sizes[d]) break;
      position -= tensor.strides[d] * tensor.sizes[d];
      index[d] = 0;
    }
  }
}

Tensor to_tensor(const TorchTensor& described, const Storages& storages) {
  const StorageType& type = described.storage.type;
  const Shape shape(described.sizes.data(), described.sizes.data() + described.sizes.size());
  const Tensor tensor = empty(shape, {type.kept, kCpu});
  const uint8_t* const data = storages.at(described.storage.key).data();
  auto* target = static_cast<uint8_t*>(tensor.raw());
  const auto width = static_cast<size_t>(type.bytes), kept = size_of(type.kept);
  each_element(described, shape, [&](int64_t position) {
    uint64_t bits = 0;
    std::memcpy(&bits, data + static_cast<size_t>(position) * width, width);
    if (type.widen != nullptr) bits = static_cast<uint64_t>(type.widen(bits));
    std::memcpy(target, &bits, kept);
    target += kept;
  });
  return tensor;
}

/// Finds the tensors below a value. The same value may be met twice, so all of it is counted.
class Collector {
 public:
  Collector(const Storages& storages, int64_t bytes, const PthLimits& limits)
      : storages_(storages), bytes_left_(bytes), limits_(limits) {}

  std::map<std::string, Tensor> tensors;

  void visit(const PickleValue& value, const std::string& name, int64_t depth) {
    if (++visited_ > limits_.values)
      refuse(FileErrorCode::too_large, value.offset, "nests more than ", limits_.values, " values");
    if (depth > limits_.depth)
      refuse(FileErrorCode::too_large, value.offset, "nests values more than ", limits_.depth, " deep");
    if (value.kind == Kind::tensor) return add(value, name);
    if (value.kind == Kind::list || value.kind == Kind::tuple) {
      for (size_t i = 0; i < value.items.size(); ++i) visit(*value.items[i], below(name, cat(i)), depth + 1);
    }
    if (value.kind != Kind::dict) return;
    std::set<std::pair<int64_t, std::string_view>> keys;
    for (size_t i = 0; i < value.items.size(); i += 2) {
      const PickleValue& key = *value.items[i];
      if (!keys.emplace(key.number, key.text).second)
        malformed(key.offset, "a dictionary has the key ", in_quotes(text_of(key)), " twice");
      visit(*value.items[i + 1], below(name, text_of(key)), depth + 1);
    }
  }

 private:
  static std::string text_of(const PickleValue& key) {
    return key.kind == Kind::text ? std::string(key.text) : cat(key.number);
  }
  /// Names are made for tensors only, and no longer than they may be.
  std::string below(const std::string& name, const std::string& key) const {
    const std::string text = name.empty() ? key : name + "/" + key;
    return text.substr(0, static_cast<size_t>(limits_.name_bytes) + 1);
  }
  void add(const PickleValue& value, const std::string& name) {
    const TorchTensor described = torch_tensor(value, value.offset);
    if (static_cast<int64_t>(tensors.size()) == limits_.tensors)
      refuse(FileErrorCode::too_large, value.offset, "has more than ", limits_.tensors, " tensors");
    if (static_cast<int64_t>(name.size()) > limits_.name_bytes)
      refuse(FileErrorCode::too_large, value.offset, "has a tensor with a name of more than ",
             limits_.name_bytes, " bytes");
    if (name.empty() || printable(name) != name)
      refuse(FileErrorCode::unsupported, value.offset, "has a tensor with the name ", in_quotes(name),
             ", expected printable UTF-8");
    int64_t bytes = static_cast<int64_t>(size_of(described.storage.type.kept));
    for (const int64_t size : described.sizes) bytes *= size;
    if (bytes > bytes_left_)
      refuse(FileErrorCode::too_large, value.offset, "repeats its elements until they take more than ",
             limits_.bytes_per_byte, " times its length");
    bytes_left_ -= bytes;
    if (!tensors.emplace(name, to_tensor(described, storages_)).second)
      malformed(value.offset, "has two tensors named ", in_quotes(name));
  }

  const Storages& storages_;
  int64_t bytes_left_;
  const PthLimits& limits_;
  int64_t visited_ = 0;
};

/// The tensors of an evaluated pickle whose storages are exactly those of the file.
TensorFile collect(const Pickle& pickle, const Storages& storages, size_t file_bytes,
                   const PthLimits& limits) {
  for (const auto& [key, id] : pickle.storages) {
    const TorchStorage storage = torch_storage(*id, id->offset);
    if (!storages.contains(key)) malformed(id->offset, "has no storage ", std::string(key));
    const auto bytes = static_cast<int64_t>(storages.at(key).size());
    if (bytes != storage.numel * storage.type.bytes) {
      malformed(id->offset, "storage ", std::string(key), " has ", bytes, " bytes, expected ",
                storage.numel * storage.type.bytes);
    }
  }
  if (pickle.result->kind != Kind::dict) {
    refuse(FileErrorCode::unsupported, pickle.result->offset, "holds ", name_of(pickle.result->kind),
           ", expected a dictionary of tensors");
  }
  Collector collector(storages, static_cast<int64_t>(file_bytes) * limits.bytes_per_byte, limits);
  collector.visit(*pickle.result, "", 0);
  if (collector.tensors.empty()) refuse(FileErrorCode::unsupported, -1, "holds no tensors");
  for (const auto& [key, bytes] : storages) {
    if (!pickle.storages.contains(key)) malformed(-1, "nothing refers to storage ", std::string(key));
  }
  return {std::move(collector.tensors), {}};
}

// --- Containers ------------------------------------------------------------------------------------------

TensorFile parse_archive(Bytes bytes, const PthLimits& limits) {
  constexpr std::string_view kPickle = "/data.pkl";
  const std::vector<ZipEntry> entries = parse_zip(bytes, limits.zip).value();
  const auto main = std::find_if(entries.begin(), entries.end(),
                                 [&](const ZipEntry& entry) { return entry.name.ends_with(kPickle); });
  if (main == entries.end()) malformed(-1, "has no data.pkl: it is no checkpoint of PyTorch");
  const std::string root = main->name.substr(0, main->name.size() - kPickle.size() + 1),
                    data = root + "data/";

  Storages storages;
  for (const ZipEntry& entry : entries) {
    const Bytes content = stored_content(entry).value();
    const std::string_view name = entry.name;
    if (name.starts_with(data)) {
      storages.emplace(name.substr(data.size()), content);
      continue;
    }
    const std::string_view rest = name.starts_with(root) ? name.substr(root.size()) : "";
    if (rest == "constants.pkl" || rest.starts_with("code/")) {
      refuse(FileErrorCode::unsupported, entry.offset,
             "is TorchScript, which is a program; in Python, torch.save(torch.jit.load(OLD).state_dict(), "
             "NEW) keeps its weights alone");
    }
    if (rest == "byteorder" &&
        std::string_view(reinterpret_cast<const char*>(content.data()), content.size()) != "little")
      refuse(FileErrorCode::unsupported, entry.offset,
             "has numbers in another byte order than little endian");
    constexpr std::array<std::string_view, 6> kKnown = {"data.pkl",           "version",
                                                        "byteorder",          ".format_version",
                                                        ".storage_alignment", ".data/serialization_id"};
    if (std::find(kKnown.begin(), kKnown.end(), rest) == kKnown.end())
      refuse(FileErrorCode::unsupported, entry.offset, "holds ", in_quotes(entry.name),
             ", which no checkpoint of PyTorch has");
  }
  const Bytes program = stored_content(*main).value();
  const Pickle pickle = evaluate_pickle(program, main->offset, limits.pickle).value();
  if (pickle.length != program.size())
    malformed(main->offset + static_cast<int64_t>(pickle.length), "has bytes behind its pickle");
  return collect(pickle, storages, bytes.size(), limits);
}

/// Two pickles that are always the same: a number of ten bytes that marks the format, and its version 1001.
constexpr std::array<uint8_t, 21> kLegacy = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a,
                                             0xa8, 0x50, 0x19, '.',  0x80, 0x02, 'M',  0xe9, 0x03, '.'};

/// The system that wrote the file has to be one of little endian numbers.
void check_system(const Pickle& pickle, int64_t offset) {
  const PickleValue& info = *pickle.result;
  for (size_t i = 0; info.kind == Kind::dict && i < info.items.size(); i += 2) {
    if (info.items[i]->text != "little_endian") continue;
    const PickleValue& little = *info.items[i + 1];
    if (little.kind == Kind::boolean && little.number == 1) return;
    refuse(FileErrorCode::unsupported, offset, "has numbers in another byte order than little endian");
  }
  malformed(offset, "does not say in which byte order its numbers are");
}

TensorFile parse_stream(Bytes bytes, const PthLimits& limits) {
  size_t at = kLegacy.size();
  const auto next = [&] {
    Pickle pickle = evaluate_pickle(bytes.subspan(at), static_cast<int64_t>(at), limits.pickle).value();
    at += pickle.length;
    return pickle;
  };
  const auto here = [&] { return static_cast<int64_t>(at); };
  check_system(next(), here());
  const Pickle pickle = next();
  const Pickle keys = next();
  if (keys.result->kind != Kind::list) malformed(here(), "has no list of its storages");

  Storages storages;
  for (const PickleValue* const key : keys.result->items) {
    if (key->kind != Kind::text || !pickle.storages.contains(key->text))
      malformed(here(), "nothing refers to storage ", in_quotes(std::string(key->text)));
    const TorchStorage storage = torch_storage(*pickle.storages.at(key->text), here());
    int64_t numel = 0;
    if (bytes.size() - at < sizeof numel)
      refuse(FileErrorCode::truncated, here(), "ends before its storages do");
    std::memcpy(&numel, bytes.data() + at, sizeof numel);
    if (numel != storage.numel) {
      malformed(here(), "storage ", std::string(storage.key), " has ", numel, " elements, expected ",
                storage.numel);
    }
    at += sizeof numel;
    const auto length = static_cast<size_t>(numel * storage.type.bytes);
    if (length > bytes.size() - at)
      refuse(FileErrorCode::truncated, here(), "ends inside storage ", std::string(storage.key));
    if (!storages.emplace(storage.key, bytes.subspan(at, length)).second)
      malformed(here(), "has storage ", std::string(storage.key), " twice");
    at += length;
  }
  if (at != bytes.size()) malformed(here(), "has bytes behind its last storage");
  return collect(pickle, storages, bytes.size(), limits);
}

}  // namespace

bool is_legacy_pth(Bytes bytes) {
  return bytes.size() >= kLegacy.size() && std::equal(kLegacy.begin(), kLegacy.end(), bytes.begin());
}

Result<TensorFile> parse_pth(Bytes bytes, const PthLimits& limits) {
  return attempt(
      [&] { return is_legacy_pth(bytes) ? parse_stream(bytes, limits) : parse_archive(bytes, limits); });
}

}  // namespace lux
