#include "luxgrad/data/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string_view>
#include <tuple>

namespace lux {
namespace {

static_assert(std::endian::native == std::endian::little,
              "safetensors are read and written as they lie in memory");

constexpr int64_t kPrefix = 8;  // the header's length, little endian
constexpr std::string_view kMetadata = "__metadata__";

struct NamedType {
  std::string_view name;
  DType dtype;
};
constexpr std::array<NamedType, 6> kTypes{{{"F32", DType::f32},
                                           {"F64", DType::f64},
                                           {"BF16", DType::bf16},
                                           {"F16", DType::f16},
                                           {"U8", DType::u8},
                                           {"I64", DType::i64}}};

/// One tensor of the header. `begin` and `end` count from the first byte after the header.
struct Entry {
  std::string name;
  DType dtype = DType::f32;
  std::vector<uint64_t> shape;
  uint64_t begin = 0, end = 0;
};

/// Reads the header as a stream of JSON events. The format has three levels, so anything deeper ends at once
/// and no document is ever built.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(const SafetensorsLimits& limits) : limits_(limits) {}

  std::vector<Entry> entries;
  std::map<std::string, std::string> metadata;

  bool start_object(std::size_t) override {
    if (place_ == Place::outside) {
      place_ = Place::top;
    } else if (place_ == Place::top && name_ == kMetadata) {
      place_ = Place::metadata;
    } else if (place_ == Place::top) {
      if (static_cast<int64_t>(entries.size()) >= limits_.tensors) {
        refuse(FileErrorCode::too_large, -1, "has more than ", limits_.tensors, " tensors");
      }
      place_ = Place::tensor;
      entries.emplace_back().name = name_;
      has_dtype_ = has_shape_ = has_offsets_ = false;
    } else {
      unexpected("an object");
    }
    return true;
  }

  bool end_object() override {
    if (place_ == Place::tensor) {
      const char* missing = !has_dtype_     ? "dtype"
                            : !has_shape_   ? "shape"
                            : !has_offsets_ ? "data_offsets"
                                            : nullptr;
      if (missing != nullptr) malformed("tensor ", in_quotes(name_), " has no ", missing);
    }
    place_ = place_ == Place::top ? Place::outside : Place::top;
    return true;
  }

  bool key(std::string& text) override {
    if (place_ == Place::top) {
      name_ = text;
      if (text == kMetadata ? std::exchange(has_metadata_, true) : !names_.emplace(text, true).second) {
        malformed("the header has ", in_quotes(text), " twice");
      }
      return true;
    }
    key_ = text;
    if (place_ == Place::metadata) {
      if (!metadata.emplace(text, "").second) malformed("the metadata have ", in_quotes(text), " twice");
      return true;
    }
    bool* const seen = text == "dtype"          ? &has_dtype_
                       : text == "shape"        ? &has_shape_
                       : text == "data_offsets" ? &has_offsets_
                                                : nullptr;
    if (seen == nullptr) malformed("tensor ", in_quotes(name_), " has an unknown property ", in_quotes(text));
    if (std::exchange(*seen, true)) malformed("tensor ", in_quotes(name_), " has ", text, " twice");
    return true;
  }

  bool string(std::string& text) override {
    if (place_ == Place::metadata) {
      metadata[key_] = text;
    } else if (place_ == Place::tensor && key_ == "dtype") {
      const auto* const type =
          std::find_if(kTypes.begin(), kTypes.end(), [&](const auto& t) { return t.name == text; });
      if (type == kTypes.end()) {
        refuse(FileErrorCode::unsupported, -1, "tensor ", in_quotes(name_), " has dtype ", in_quotes(text),
               ", expected F32, F64, BF16, F16, U8 or I64");
      }
      entries.back().dtype = type->dtype;
    } else {
      unexpected("a string");
    }
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ != Place::tensor || key_ == "dtype") unexpected("a list");
    place_ = Place::list;
    list_.clear();
    return true;
  }

  bool end_array() override {
    place_ = Place::tensor;
    Entry& entry = entries.back();
    if (key_ == "shape") {
      entry.shape = list_;
    } else {
      if (list_.size() != 2)
        malformed("tensor ", in_quotes(name_), ": expected two data_offsets, got ", list_.size());
      entry.begin = list_[0];
      entry.end = list_[1];
    }
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ != Place::list) unexpected("a number");
    if (list_.size() == Shape::kMaxRank) {
      refuse(FileErrorCode::unsupported, -1, "tensor ", in_quotes(name_), " has more than ", Shape::kMaxRank,
             " sizes");
    }
    list_.push_back(value);
    return true;
  }

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a boolean"); }
  bool number_integer(number_integer_t) override { return unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override {
    return unexpected("a number that is no 64-bit integer");
  }
  bool binary(binary_t&) override { return unexpected("binary data"); }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    refuse(FileErrorCode::malformed, kPrefix + static_cast<int64_t>(position),
           "the header is not valid JSON");
  }

 private:
  enum class Place { outside, top, metadata, tensor, list };

  template <class... Parts>
  [[noreturn]] static void malformed(const Parts&... parts) {
    refuse(FileErrorCode::malformed, -1, parts...);
  }
  [[noreturn]] bool unexpected(const char* what) const {
    if (place_ == Place::outside) malformed("the header is ", what, ", expected an object");
    if (place_ == Place::top) malformed(in_quotes(name_), " is ", what, ", expected an object");
    malformed(in_quotes(key_), " of ", in_quotes(name_), ": did not expect ", what);
  }

  const SafetensorsLimits& limits_;
  Place place_ = Place::outside;
  std::string name_, key_;
  std::vector<uint64_t> list_;
  std::map<std::string, bool> names_;
  bool has_metadata_ = false, has_dtype_ = false, has_shape_ = false, has_offsets_ = false;
};

/// The shape as a Shape. Refuses one that no file can hold or that does not fit the bytes of the entry.
Shape checked_shape(const Entry& entry) {
  std::array<int64_t, Shape::kMaxRank> sizes{};
  auto bytes = static_cast<int64_t>(size_of(entry.dtype));
  int64_t extent = bytes;  // without sizes of 0, for strides are such products
  for (size_t i = 0; i < entry.shape.size(); ++i) {
    sizes[i] = static_cast<int64_t>(entry.shape[i]);
    if (sizes[i] < 0 || __builtin_mul_overflow(extent, std::max<int64_t>(sizes[i], 1), &extent)) {
      refuse(FileErrorCode::malformed, -1, "tensor ", in_quotes(entry.name),
             " has a shape too large for any file");
    }
    bytes *= sizes[i];
  }
  const Shape shape(sizes.data(), sizes.data() + entry.shape.size());
  if (entry.end < entry.begin || entry.end - entry.begin != static_cast<uint64_t>(bytes)) {
    refuse(FileErrorCode::malformed, -1, "tensor ", in_quotes(entry.name), ": shape ", shape, " of ",
           entry.dtype, " needs ", bytes, " bytes, data_offsets are [", entry.begin, ", ", entry.end, "]");
  }
  return shape;
}

TensorFile parse(std::span<const uint8_t> bytes, const SafetensorsLimits& limits) {
  if (bytes.size() < kPrefix) refuse(FileErrorCode::truncated, 0, "is too short for a safetensors file");
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > static_cast<uint64_t>(limits.header_bytes)) {
    refuse(FileErrorCode::too_large, 0, "the header claims ", length, " bytes, at most ", limits.header_bytes,
           " are read (is this a safetensors file?)");
  }
  if (length > bytes.size() - kPrefix) {
    refuse(FileErrorCode::truncated, 0, "the header claims ", length, " bytes, the file has ",
           bytes.size() - kPrefix);
  }
  const auto header = bytes.subspan(kPrefix, length);
  const auto payload = bytes.subspan(kPrefix + length);
  const auto payload_offset = static_cast<int64_t>(kPrefix + length);
  if (header.empty() || header[0] != '{')
    refuse(FileErrorCode::malformed, kPrefix, "the header is no JSON object");

  // The JSON library takes a zero byte for the end of its input; what follows it would go unread.
  const auto zero = std::find(header.begin(), header.end(), 0);
  if (zero != header.end()) {
    refuse(FileErrorCode::malformed, kPrefix + (zero - header.begin()), "the header has a zero byte");
  }

  HeaderReader reader(limits);
  nlohmann::json::sax_parse(header.begin(), header.end(), &reader);
  std::sort(reader.entries.begin(), reader.entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });

  TensorFile content{{}, std::move(reader.metadata)};
  uint64_t position = 0;
  for (Entry& entry : reader.entries) {
    const Shape shape = checked_shape(entry);
    if (entry.begin != position) {
      refuse(FileErrorCode::malformed, payload_offset + static_cast<int64_t>(position), "tensor ",
             in_quotes(entry.name),
             entry.begin < position ? " overlaps another one" : " leaves a hole before it");
    }
    if (entry.end > payload.size()) {
      refuse(FileErrorCode::truncated, static_cast<int64_t>(bytes.size()), "ends inside tensor ",
             in_quotes(entry.name));
    }
    const Tensor tensor = empty(shape, {entry.dtype, kCpu});
    if (entry.end > entry.begin)
      std::memcpy(tensor.raw(), payload.data() + entry.begin, entry.end - entry.begin);
    content.tensors.emplace(std::move(entry.name), tensor);
    position = entry.end;
  }
  if (position != payload.size()) {
    refuse(FileErrorCode::malformed, payload_offset + static_cast<int64_t>(position), "has ",
           payload.size() - position, " bytes after its last tensor");
  }
  return content;
}

std::string json_text(const std::string& text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    fail("safetensors: expected names and metadata in UTF-8, got ", printable(in_quotes(text)));
  }
}

size_t bytes_of(const Tensor& tensor) {
  return static_cast<size_t>(tensor.numel()) * size_of(tensor.dtype());
}

}  // namespace

Result<TensorFile> parse_safetensors(std::span<const uint8_t> bytes, const SafetensorsLimits& limits) {
  return attempt([&] { return parse(bytes, limits); });
}

int64_t serialize_safetensors(const TensorFile& content, ByteSink sink) {
  using Item = std::pair<const std::string, Tensor>;
  std::vector<const Item*> order;
  for (const Item& item : content.tensors) {
    check(item.first != kMetadata, "safetensors: no tensor can be named ", kMetadata);
    check(item.second.defined(), "safetensors: tensor ", item.first, " is undefined");
    check(item.second.device() == kCpu, "safetensors: tensor ", item.first,
          " is not in the memory of the CPU");
    order.push_back(&item);
  }
  std::stable_sort(order.begin(), order.end(), [](const Item* a, const Item* b) {
    return size_of(a->second.dtype()) > size_of(b->second.dtype());
  });

  std::string header = "{";
  const auto separate = [&header] { header += header.back() == '{' ? "" : ","; };
  if (!content.metadata.empty()) {
    header += cat('"' + std::string(kMetadata), "\":{");
    for (const auto& [key, value] : content.metadata) {
      separate();
      header += json_text(key) + ":" + json_text(value);
    }
    header += '}';
  }
  size_t offset = 0;
  for (const Item* item : order) {
    const Tensor& tensor = item->second;
    const auto* const type =
        std::find_if(kTypes.begin(), kTypes.end(), [&](const auto& t) { return t.dtype == tensor.dtype(); });
    std::string shape;
    for (const int64_t size : tensor.shape()) shape += cat(shape.empty() ? "" : ",", size);
    separate();
    header += cat(json_text(item->first), ":{\"dtype\":\"", type->name, "\",\"shape\":[", shape,
                  "],\"data_offsets\":[", offset, ",", offset + bytes_of(tensor), "]}");
    offset += bytes_of(tensor);
  }
  header += '}';
  header.resize((header.size() + 7) / 8 * 8, ' ');

  const uint64_t length = header.size();
  sink({reinterpret_cast<const uint8_t*>(&length), sizeof length});
  sink(bytes_of(header));
  for (const Item* item : order) {
    if (const size_t size = bytes_of(item->second); size > 0)
      sink({static_cast<const uint8_t*>(item->second.raw()), size});
  }
  return static_cast<int64_t>(kPrefix + length + offset);
}

std::vector<uint8_t> serialize_safetensors(const TensorFile& content) {
  std::vector<uint8_t> bytes(static_cast<size_t>(serialize_safetensors(content, [](auto) {})));
  auto to = bytes.begin();
  serialize_safetensors(
      content, [&](std::span<const uint8_t> piece) { to = std::copy(piece.begin(), piece.end(), to); });
  return bytes;
}

TensorFile load_safetensors(const std::string& path, const SafetensorsLimits& limits) {
  const auto bytes = read_file(path).value();
  return parse_safetensors(bytes, limits).in_file(path).value();
}

void save_safetensors(const std::string& path, const TensorFile& content) {
  const int64_t bytes = serialize_safetensors(content, [](auto) {});
  (void)write_file_atomically(path, bytes, [&](ByteSink sink) {
    serialize_safetensors(content, sink);
  }).value();
}

}  // namespace lux
