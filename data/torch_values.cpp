#include "luxgrad/data/torch_values.h"

#include <algorithm>
#include <array>

#include "luxgrad/tensor/shape.h"

namespace lux {
namespace {

using Kind = PickleValue::Kind;
using Meaning = TorchGlobal::Meaning;

template <class T>
int64_t widen(uint64_t bits) {
  return static_cast<int64_t>(static_cast<T>(bits));
}

constexpr std::array kGlobals = {
    TorchGlobal{"collections", "OrderedDict", Meaning::ordered_dict},
    TorchGlobal{"torch._utils", "_rebuild_tensor", Meaning::tensor},
    TorchGlobal{"torch._utils", "_rebuild_tensor_v2", Meaning::tensor_v2},
    TorchGlobal{"torch._utils", "_rebuild_parameter", Meaning::parameter},
    TorchGlobal{"torch", "Size", Meaning::size},
    TorchGlobal{"torch", "device", Meaning::device},
    TorchGlobal{"torch", "FloatStorage", Meaning::storage_type, {"FloatStorage", 4, DType::f32, nullptr}},
    TorchGlobal{"torch", "DoubleStorage", Meaning::storage_type, {"DoubleStorage", 8, DType::f64, nullptr}},
    TorchGlobal{"torch", "HalfStorage", Meaning::storage_type, {"HalfStorage", 2, DType::f16, nullptr}},
    TorchGlobal{
        "torch", "BFloat16Storage", Meaning::storage_type, {"BFloat16Storage", 2, DType::bf16, nullptr}},
    TorchGlobal{"torch", "LongStorage", Meaning::storage_type, {"LongStorage", 8, DType::i64, nullptr}},
    TorchGlobal{"torch", "IntStorage", Meaning::storage_type, {"IntStorage", 4, DType::i64, widen<int32_t>}},
    TorchGlobal{
        "torch", "ShortStorage", Meaning::storage_type, {"ShortStorage", 2, DType::i64, widen<int16_t>}},
    TorchGlobal{"torch", "CharStorage", Meaning::storage_type, {"CharStorage", 1, DType::i64, widen<int8_t>}},
    TorchGlobal{"torch", "ByteStorage", Meaning::storage_type, {"ByteStorage", 1, DType::u8, nullptr}},
    TorchGlobal{"torch", "BoolStorage", Meaning::storage_type, {"BoolStorage", 1, DType::u8, nullptr}},
};

template <class... Parts>
[[noreturn]] void malformed(int64_t offset, const Parts&... parts) {
  refuse(FileErrorCode::malformed, offset, parts...);
}

/// The item of this kind; `what` it is stands in the message.
const PickleValue& item(const PickleValue& parent, size_t index, Kind kind, const char* what,
                        int64_t offset) {
  const PickleValue& value = *parent.items[index];
  if (value.kind != kind) malformed(offset, what, " is ", name_of(value.kind), ", not ", name_of(kind));
  return value;
}

int64_t count(const PickleValue& parent, size_t index, const char* what, int64_t offset) {
  const int64_t number = item(parent, index, Kind::integer, what, offset).number;
  if (number < 0) malformed(offset, what, " is ", number);
  return number;
}

std::string_view key(const PickleValue& parent, size_t index, int64_t offset) {
  const std::string_view text = item(parent, index, Kind::text, "the key of a storage", offset).text;
  const auto allowed = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  if (text.empty() || text.size() > 64 || !std::all_of(text.begin(), text.end(), allowed)) {
    malformed(offset, "a storage has the key ", in_quotes(std::string(text)),
              ", expected at most 64 letters and digits");
  }
  return text;
}

std::vector<int64_t> counts(const PickleValue& parent, size_t index, const char* what, int64_t offset) {
  const PickleValue& tuple = item(parent, index, Kind::tuple, what, offset);
  if (tuple.items.size() > Shape::kMaxRank) {
    refuse(FileErrorCode::unsupported, offset, "a tensor has ", tuple.items.size(), " dimensions, at most ",
           Shape::kMaxRank, " are read");
  }
  std::vector<int64_t> numbers;
  numbers.reserve(tuple.items.size());
  for (size_t i = 0; i < tuple.items.size(); ++i) numbers.push_back(count(tuple, i, what, offset));
  return numbers;
}

/// Whether an item is None or an empty dictionary.
bool is_nothing(const PickleValue& parent, size_t index, const char* what, int64_t offset) {
  return parent.items[index]->kind == Kind::none ||
         item(parent, index, Kind::dict, what, offset).items.empty();
}

/// The position behind the last element of a tensor that has any.
int64_t end_of(const TorchTensor& tensor, int64_t offset) {
  int64_t end = tensor.first;
  bool overflow = __builtin_add_overflow(end, 1, &end);
  for (size_t d = 0; d < tensor.sizes.size(); ++d) {
    int64_t way = 0;
    overflow |= __builtin_mul_overflow(tensor.sizes[d] - 1, tensor.strides[d], &way) ||
                __builtin_add_overflow(end, way, &end);
  }
  if (overflow) malformed(offset, "a tensor has sizes and strides too large for any file");
  return end;
}

}  // namespace

int64_t torch_global(std::string_view module, std::string_view name) {
  const auto found = std::find_if(kGlobals.begin(), kGlobals.end(), [&](const TorchGlobal& global) {
    return global.module == module && global.name == name;
  });
  return found == kGlobals.end() ? -1 : found - kGlobals.begin();
}

const TorchGlobal& torch_global(int64_t number) { return kGlobals.at(static_cast<size_t>(number)); }

TorchStorage torch_storage(const PickleValue& id, int64_t offset) {
  const size_t parts = id.items.size();
  if (parts != 5 && parts != 6) malformed(offset, "a persistent id has ", parts, " parts, expected 5 or 6");
  if (item(id, 0, Kind::text, "the kind of a persistent id", offset).text != "storage")
    malformed(offset, "a persistent id is of no storage");
  const TorchGlobal& type = torch_global(item(id, 1, Kind::global, "the type of a storage", offset).number);
  if (type.meaning != Meaning::storage_type)
    malformed(offset, "a storage has the type ", type.name, ", which is none of storages");
  item(id, 3, Kind::text, "the device of a storage", offset);
  const int64_t numel = count(id, 4, "the length of a storage", offset);
  int64_t bytes = 0;
  if (__builtin_mul_overflow(numel, type.type.bytes, &bytes))
    malformed(offset, "a storage of ", numel, " elements is too large for any file");
  TorchStorage storage{type.type, key(id, 2, offset), numel, 0, numel};
  if (parts == 6 && id.items[5]->kind != Kind::none) {
    const PickleValue& view = item(id, 5, Kind::tuple, "the view of a storage", offset);
    if (view.items.size() != 3) malformed(offset, "the view of a storage has ", view.items.size(), " parts");
    key(view, 0, offset);
    storage.begin = count(view, 1, "the offset of a view", offset);
    const int64_t length = count(view, 2, "the length of a view", offset);
    if (storage.begin > numel || length > numel - storage.begin)
      malformed(offset, "a view reaches beyond its storage of ", numel, " elements");
    storage.end = storage.begin + length;
  }
  return storage;
}

TorchTensor torch_tensor(const PickleValue& arguments, int64_t offset) {
  const size_t given = arguments.items.size();
  if (given != 4 && given != 6 && given != 7)
    malformed(offset, "a tensor is described by ", given, " values, expected 4, 6 or 7");
  TorchTensor tensor{
      torch_storage(item(arguments, 0, Kind::storage, "the storage of a tensor", offset), offset),
      count(arguments, 1, "the offset of a tensor", offset),
      counts(arguments, 2, "the sizes of a tensor", offset),
      counts(arguments, 3, "the strides of a tensor", offset)};
  if (given > 4) {
    item(arguments, 4, Kind::boolean, "requires_grad of a tensor", offset);
    if (!is_nothing(arguments, 5, "the hooks of a tensor", offset))
      refuse(FileErrorCode::unsupported, offset, "a tensor has hooks, which are code");
  }
  // Metadata say that the values are to be negated, or conjugated.
  if (given > 6 && !is_nothing(arguments, 6, "the metadata of a tensor", offset))
    refuse(FileErrorCode::unsupported, offset, "a tensor has metadata");
  if (tensor.sizes.size() != tensor.strides.size()) {
    malformed(offset, "a tensor has ", tensor.sizes.size(), " sizes and ", tensor.strides.size(), " strides");
  }
  int64_t bytes = static_cast<int64_t>(size_of(tensor.storage.type.kept));
  for (const int64_t size : tensor.sizes) {  // without sizes of 0, for strides are such products
    if (__builtin_mul_overflow(bytes, std::max<int64_t>(size, 1), &bytes))
      malformed(offset, "a tensor has a shape too large for any file");
  }
  const int64_t available = tensor.storage.end - tensor.storage.begin;
  const bool empty = std::find(tensor.sizes.begin(), tensor.sizes.end(), 0) != tensor.sizes.end();
  if (const int64_t end = empty ? tensor.first : end_of(tensor, offset); end > available) {
    malformed(offset, "a tensor reaches to element ", end, " of storage ", std::string(tensor.storage.key),
              ", which has ", available);
  }
  tensor.first += tensor.storage.begin;
  return tensor;
}

}  // namespace lux
