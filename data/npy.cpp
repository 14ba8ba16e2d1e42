#include "luxgrad/data/npy.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <string_view>

#include "luxgrad/data/byte_reader.h"
#include "luxgrad/data/file.h"
#include "luxgrad/data/zip_writer.h"

namespace lux {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr int64_t kMaxHeader = 10'000;  // characters, as numpy's own limit

template <class... Parts>
[[noreturn]] void malformed(int64_t offset, const Parts&... parts) {
  refuse(FileErrorCode::malformed, offset, parts...);
}

/// What the header says about the array.
struct Header {
  std::string type;  ///< such as "<f4"
  bool fortran = false;
  std::vector<int64_t> shape;
};

/// The header is a Python dictionary with exactly three known entries; nothing else of Python is understood.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, int64_t offset) : text_(text), offset_(offset) {}

  Header parse() {
    std::optional<std::string> type;
    std::optional<bool> fortran;
    std::optional<std::vector<int64_t>> shape;
    expect('{');
    while (!accept('}')) {
      const std::string key = string();
      expect(':');
      if (key == "descr" && !type) {
        type = string();
      } else if (key == "fortran_order" && !fortran) {
        fortran = boolean();
      } else if (key == "shape" && !shape) {
        shape = sizes();
      } else {
        wrong();
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_spaces();
    if (at_ != text_.size() || !type || !fortran || !shape) wrong();
    return {*type, *fortran, *shape};
  }

 private:
  [[noreturn]] void wrong() const {
    malformed(offset_ + static_cast<int64_t>(at_),
              "the header is no dictionary of descr, fortran_order and shape");
  }
  void skip_spaces() { at_ = std::min(text_.find_first_not_of(" \n", at_), text_.size()); }
  bool accept(char wanted) {
    skip_spaces();
    if (at_ == text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }
  void expect(char wanted) {
    if (!accept(wanted)) wrong();
  }
  std::string string() {
    const char quote = accept('"') ? '"' : '\'';
    if (quote == '\'') expect('\'');
    const size_t end = text_.find(quote, at_);
    if (end == std::string_view::npos) wrong();
    std::string value(text_.substr(at_, end - at_));
    if (value.find('\\') != std::string::npos) wrong();
    at_ = end + 1;
    return value;
  }
  bool boolean() {
    skip_spaces();
    for (const std::string_view word : {"True", "False"}) {
      if (!text_.substr(at_).starts_with(word)) continue;
      at_ += word.size();
      return word == "True";
    }
    wrong();
  }
  std::vector<int64_t> sizes() {
    std::vector<int64_t> values;
    expect('(');
    for (bool comma = true; !accept(')'); comma = accept(',')) {
      if (!comma) wrong();
      values.push_back(number());
      if (values.size() == 1 && accept(')')) wrong();  // (3) is a number in Python, not a tuple
    }
    return values;
  }
  int64_t number() {
    skip_spaces();
    const size_t begin = at_;
    int64_t value = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      if (__builtin_mul_overflow(value, 10, &value) ||
          __builtin_add_overflow(value, text_[at_] - '0', &value))
        wrong();
    }
    if (at_ == begin || (text_[begin] == '0' && at_ - begin > 1)) wrong();
    return value;
  }

  std::string_view text_;
  int64_t offset_;
  size_t at_ = 0;
};

/// How the elements lie in the file, and as what they are kept.
struct Element {
  std::string_view name;  ///< kind and bytes
  size_t bytes;
  DType kept;
  int64_t (*widen)(uint64_t bits);  ///< for types that are kept wider
};
template <class T>
int64_t widen(uint64_t bits) {
  return static_cast<int64_t>(static_cast<T>(bits));
}
constexpr std::array<Element, 11> kElements{{{"f2", 2, DType::f16, nullptr},
                                             {"f4", 4, DType::f32, nullptr},
                                             {"f8", 8, DType::f64, nullptr},
                                             {"u1", 1, DType::u8, nullptr},
                                             {"b1", 1, DType::u8, nullptr},
                                             {"i8", 8, DType::i64, nullptr},
                                             {"i1", 1, DType::i64, widen<int8_t>},
                                             {"i2", 2, DType::i64, widen<int16_t>},
                                             {"i4", 4, DType::i64, widen<int32_t>},
                                             {"u2", 2, DType::i64, widen<uint16_t>},
                                             {"u4", 4, DType::i64, widen<uint32_t>}}};

const Element& element_of(const std::string& type) {
  const auto* const found = std::find_if(kElements.begin(), kElements.end(), [&](const Element& element) {
    return type.size() == 3 && type.substr(1) == element.name &&
           (type[0] == '<' || type[0] == '>' || type[0] == '=' || (type[0] == '|' && element.bytes == 1));
  });
  if (found == kElements.end()) {
    refuse(FileErrorCode::unsupported, -1, "has elements of type ", in_quotes(type),
           ", expected floats, bool, or integers of at most 64 bits other than u8");
  }
  return *found;
}

/// Refuses a shape whose bytes are not exactly those of the file.
Shape checked_shape(const std::vector<int64_t>& sizes, const Element& element, size_t available,
                    int64_t offset) {
  if (sizes.size() > Shape::kMaxRank) {
    refuse(FileErrorCode::unsupported, -1, "has ", sizes.size(), " dimensions, at most ", Shape::kMaxRank,
           " are read");
  }
  // Kept elements can be eight times wider, so the product is checked for those; strides are products without
  // a size of 0.
  auto kept_bytes = static_cast<int64_t>(size_of(element.kept));
  for (const int64_t size : sizes) {
    if (__builtin_mul_overflow(kept_bytes, std::max<int64_t>(size, 1), &kept_bytes))
      malformed(-1, "has a shape too large for any file");
  }
  const Shape shape(sizes.data(), sizes.data() + sizes.size());
  const size_t needed = static_cast<size_t>(shape.numel()) * element.bytes;
  if (needed > available) {
    refuse(FileErrorCode::truncated, offset, "shape ", shape, " of ", element.name, " needs ", needed,
           " bytes, there are ", available);
  }
  if (needed < available) malformed(offset + static_cast<int64_t>(needed), "has bytes behind its array");
  return shape;
}

/// Element i of the file as 64 bits, byte order resolved.
uint64_t bits_at(const uint8_t* data, size_t bytes, bool swapped) {
  uint64_t bits = 0;
  for (size_t b = 0; b < bytes; ++b) bits |= uint64_t{data[swapped ? bytes - 1 - b : b]} << (8 * b);
  return bits;
}

/// Calls f(position in the file) for every element in C order.
template <class F>
void each_in_c_order(const Shape& shape, bool fortran, const F& f) {
  std::array<int64_t, Shape::kMaxRank> strides{}, index{};
  int64_t stride = 1;
  for (int k = 0; k < shape.rank(); ++k) {
    const int d = fortran ? k : shape.rank() - 1 - k;
    strides[static_cast<size_t>(d)] = stride;
    stride *= shape[d];
  }
  int64_t position = 0;
  for (int64_t i = 0; i < shape.numel(); ++i) {
    f(position);
    for (int d = shape.rank() - 1; d >= 0; --d) {
      const auto at = static_cast<size_t>(d);
      position += strides[at];
      if (++index[at] < shape[d]) break;
      position -= strides[at] * shape[d];
      index[at] = 0;
    }
  }
}

/// `kept_limit`: bytes of the tensor, which can be eight times those of the file.
Tensor parse(std::span<const uint8_t> bytes, int64_t kept_limit = INT64_MAX) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!text.starts_with(kMagic)) malformed(0, "is no .npy file");
  if (bytes.size() < 10)
    refuse(FileErrorCode::truncated, static_cast<int64_t>(bytes.size()), "ends inside its header");
  const int version = bytes[6];
  if (version < 1 || version > 3 || bytes[7] != 0) {
    refuse(FileErrorCode::unsupported, 6, "has format version ", version, ".", int{bytes[7]},
           ", expected 1.0 to 3.0");
  }
  const size_t width = version == 1 ? 2 : 4, prefix = 8 + width;
  if (bytes.size() < prefix)
    refuse(FileErrorCode::truncated, static_cast<int64_t>(bytes.size()), "ends inside its header");
  const auto length = static_cast<int64_t>(bits_at(bytes.data() + 8, width, false));
  if (length > kMaxHeader) {
    refuse(FileErrorCode::too_large, 8, "the header has ", length, " characters, at most ", kMaxHeader,
           " are read");
  }
  const size_t begin = prefix + static_cast<size_t>(length);
  if (begin > bytes.size())
    refuse(FileErrorCode::truncated, static_cast<int64_t>(bytes.size()), "ends inside its header");

  const Header header =
      HeaderParser(text.substr(prefix, begin - prefix), static_cast<int64_t>(prefix)).parse();
  const Element& element = element_of(header.type);
  const Shape shape = checked_shape(header.shape, element, bytes.size() - begin, static_cast<int64_t>(begin));
  const size_t kept = size_of(element.kept);
  if (shape.numel() > kept_limit / static_cast<int64_t>(kept)) {
    refuse(FileErrorCode::too_large, -1, "shape ", shape, " takes more than the ", kept_limit, " bytes left");
  }
  const bool swapped = header.type[0] == '>';
  const uint8_t* const data = bytes.data() + begin;

  Tensor tensor = empty(shape, {element.kept, kCpu});
  auto* target = static_cast<uint8_t*>(tensor.raw());
  each_in_c_order(shape, header.fortran, [&](int64_t position) {
    uint64_t bits = bits_at(data + static_cast<size_t>(position) * element.bytes, element.bytes, swapped);
    if (element.widen != nullptr) bits = static_cast<uint64_t>(element.widen(bits));
    std::memcpy(target, &bits, kept);
    target += kept;
  });
  return tensor;
}

}  // namespace

static_assert(std::endian::native == std::endian::little,
              "elements are kept in the byte order of the processor");

Result<Tensor> parse_npy(std::span<const uint8_t> bytes) {
  return attempt([&] { return parse(bytes); });
}

Result<std::map<std::string, Tensor>> parse_npz(std::span<const uint8_t> bytes, const ZipLimits& limits) {
  return attempt([&] {
    std::map<std::string, Tensor> arrays;
    int64_t left = limits.total_bytes;
    for (const ZipEntry& entry : parse_zip(bytes, limits).value()) {
      if (!entry.name.ends_with(".npy")) malformed(entry.offset, "holds ", entry.name, ", which is no .npy");
      const auto content = extract(entry).value();
      auto array = attempt([&] { return parse(content, left); });
      if (!array) {
        const FileError& error = array.error();
        refuse(error.code, entry.offset, "entry ", entry.name, ": ", error.reason);
      }
      left -= array->numel() * static_cast<int64_t>(size_of(array->dtype()));
      arrays.emplace(entry.name.substr(0, entry.name.size() - 4), array.value());
    }
    return arrays;
  });
}

std::vector<uint8_t> npy_header(const Shape& shape, DType dtype) {
  const auto* const element =
      std::find_if(kElements.begin(), kElements.end(), [&](const Element& e) { return e.kept == dtype; });
  check(element != kElements.end(), "npy: expected a type that NumPy has, got ", dtype);
  std::string text = cat("{'descr': '", element->bytes == 1 ? "|" : "<", element->name,
                         "', 'fortran_order': False, 'shape': (");
  for (int d = 0; d < shape.rank(); ++d) text += cat(shape[d], d + 1 < shape.rank() ? ", " : "");
  text += shape.rank() == 1 ? ",), }" : "), }";
  constexpr size_t kPrefix = 10, kAlignment = 64;
  while ((kPrefix + text.size() + 1) % kAlignment != 0) text += ' ';
  text += '\n';
  std::vector<uint8_t> bytes(kMagic.begin(), kMagic.end());
  append_little16(bytes, 1);  // version 1.0
  append_little16(bytes, static_cast<uint32_t>(text.size()));
  bytes.insert(bytes.end(), text.begin(), text.end());
  return bytes;
}

Tensor load_npy(const std::string& path) {
  const auto bytes = read_file(path).value();
  return parse_npy(bytes).in_file(path).value();
}

std::map<std::string, Tensor> load_npz(const std::string& path, const ZipLimits& limits) {
  const auto bytes = read_file(path).value();
  return parse_npz(bytes, limits).in_file(path).value();
}

std::vector<uint8_t> serialize_npz(const std::map<std::string, Tensor>& arrays) {
  ZipWriter archive;
  for (const auto& [name, array] : arrays) {
    const std::vector<uint8_t> header = npy_header(array.shape(), array.dtype());
    const size_t bytes = static_cast<size_t>(array.numel()) * size_of(array.dtype());
    archive.begin(name + ".npy", static_cast<int64_t>(header.size() + bytes));
    archive.write(header);
    archive.write({static_cast<const uint8_t*>(array.raw()), bytes});
  }
  return archive.finish();
}

}  // namespace lux
