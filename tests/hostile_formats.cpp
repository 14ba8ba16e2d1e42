#include "hostile_formats.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "hostile_films.h"
#include "hostile_samples.h"
#include "luxgrad/data/byte_reader.h"
#include "luxgrad/data/image.h"
#include "luxgrad/data/npy.h"
#include "luxgrad/data/pth.h"
#include "luxgrad/data/safetensors.h"
#include "luxgrad/data/settings.h"
#include "luxgrad/data/sha256.h"
#include "luxgrad/data/webp.h"
#include "luxgrad/training/checkpoint.h"
#include "same_bits.h"
#include "sample_pictures.h"

namespace hostile {
namespace {

using namespace lux;

// Smaller than those of users, so that a small file reaches them.
constexpr ImageLimits kPictures{.pixels = 1 << 20, .decode_bytes = 8 << 20};
constexpr ZipLimits kArchives{.total_bytes = 1 << 20};
const PthLimits kCheckpoints{.pickle = {.bytes = 1 << 16, .steps = 20'000, .values = 5'000, .depth = 500},
                             .tensors = 200,
                             .values = 5'000};
constexpr int64_t kMiB = 1 << 20;

// --- Pieces and repairs ---------------------------------------------------------------------------------

/// From one beginning to the next.
std::vector<Piece> between(const std::vector<size_t>& begins, size_t end) {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < begins.size(); ++i) {
    const size_t next = i + 1 < begins.size() ? std::min(begins[i + 1], end) : end;
    if (next > begins[i]) pieces.push_back({begins[i], next});
  }
  return pieces;
}

/// Pieces of a text that end behind one of `separators`; what follows its first `limit` bytes is one more.
std::vector<Piece> words(const Bytes& bytes, std::string_view separators, size_t limit) {
  std::vector<size_t> begins = {0};
  for (size_t i = 0; i + 1 < std::min(limit, bytes.size()); ++i) {
    if (separators.find(static_cast<char>(bytes[i])) != std::string_view::npos) begins.push_back(i + 1);
  }
  return between(begins, bytes.size());
}

std::vector<Piece> png_pieces(const Bytes& png) {
  std::vector<size_t> begins;
  for (size_t at = 8; at + 12 <= png.size();) {
    begins.push_back(at);
    const size_t length = big32(png.data() + at);
    if (length > png.size() - at - 12) break;
    at += length + 12;
  }
  return between(begins, png.size());
}

void repair_png(Bytes& png) {
  for (const Piece& chunk : png_pieces(png)) {
    const size_t length = chunk.end - chunk.begin;
    if (length < 12 || big32(png.data() + chunk.begin) != length - 12) continue;
    const auto crc = crc32(0, png.data() + chunk.begin + 4, static_cast<uInt>(length - 8));
    for (size_t i = 0; i < 4; ++i) png[chunk.end - 4 + i] = static_cast<uint8_t>(crc >> (24 - 8 * i));
  }
}

std::vector<Piece> jpeg_pieces(const Bytes& jpeg) {
  std::vector<size_t> begins;
  for (size_t i = 0; i + 1 < jpeg.size(); ++i) {
    if (jpeg[i] == 0xFF && jpeg[i + 1] >= 0xC0 && jpeg[i + 1] != 0xFF) begins.push_back(i);
  }
  return between(begins, jpeg.size());
}

/// The fields of the headers, and the rest.
std::vector<Piece> bmp_pieces(const Bytes& bmp) {
  std::vector<size_t> begins = {0, 2};
  for (size_t at = 6; at < std::min<size_t>(54, bmp.size()); at += 4) begins.push_back(at);
  begins.push_back(std::min<size_t>(54, bmp.size()));
  return between(begins, bmp.size());
}

std::vector<Piece> pnm_pieces(const Bytes& pnm) { return words(pnm, " \n\t", 64); }

std::vector<Piece> safetensors_pieces(const Bytes& file) { return words(file, "{}[],:", 4096); }

/// Counts the braces of the header and writes the length that they give.
void repair_safetensors(Bytes& file) {
  size_t depth = 0;
  bool quoted = false;
  for (size_t i = 8; i < file.size(); ++i) {
    const uint8_t c = file[i];
    if (c == '"' && file[i - 1] != '\\') quoted = !quoted;
    if (quoted) continue;
    depth += c == '{' ? 1 : 0;
    if (c != '}' || depth == 0 || --depth > 0) continue;
    size_t length = i + 1 - 8;
    while (length + 8 < file.size() && file[length + 8] == ' ') ++length;
    for (size_t b = 0; b < 8; ++b) file[b] = static_cast<uint8_t>(uint64_t{length} >> (8 * b));
    return;
  }
}

void repair_checkpoint(Bytes& file) {
  repair_safetensors(file);
  auto content = parse_safetensors(file);
  if (!content) return;
  const std::string old = content->metadata["sha256"];
  content->metadata.erase("sha256");
  const std::string digest = sha256(serialize_safetensors(content.value()));
  const auto place = std::search(file.begin(), file.end(), old.begin(), old.end());
  if (old.size() == digest.size() && place != file.end()) std::copy(digest.begin(), digest.end(), place);
}

std::vector<Piece> npy_pieces(const Bytes& npy) { return words(npy, "{},:()", 256); }

void repair_npy(Bytes& npy) {
  const auto newline =
      std::find(npy.begin() + std::min<std::ptrdiff_t>(10, std::ssize(npy)), npy.end(), '\n');
  if (newline == npy.end()) return;
  const size_t length = static_cast<size_t>(newline - npy.begin()) + 1 - (npy[6] == 1 ? 10 : 12);
  npy[8] = static_cast<uint8_t>(length);
  npy[9] = static_cast<uint8_t>(length >> 8);
}

std::vector<Piece> zip_pieces(const Bytes& zip) {
  std::vector<size_t> begins;
  for (size_t i = 0; i + 3 < zip.size(); ++i) {
    if (zip[i] == 'P' && zip[i + 1] == 'K') begins.push_back(i);
  }
  return between(begins, zip.size());
}

/// Writes the checksums of stored entries, wherever the directory says that one stands.
void repair_zip(Bytes& zip) {
  for (const Piece& piece : zip_pieces(zip)) {
    uint8_t* const entry = zip.data() + piece.begin;
    if (piece.end - piece.begin < 46 || entry[2] != 1 || little16(entry + 10) != 0) continue;
    const size_t size = little32(entry + 20), local = little32(entry + 42);
    if (local + 30 > zip.size()) continue;
    uint8_t* const header = zip.data() + local;
    const size_t data = local + 30 + little16(header + 26) + little16(header + 28);
    if (data + size > zip.size()) continue;
    const auto crc = static_cast<uint32_t>(crc32(0, zip.data() + data, static_cast<uInt>(size)));
    std::memcpy(entry + 16, &crc, 4);
    if ((little16(header + 6) & 8) == 0)
      std::memcpy(header + 14, &crc, 4);
    else if (data + size + 8 <= zip.size())
      std::memcpy(zip.data() + data + size + 4, &crc, 4);
  }
}

/// The opcodes that begin texts, names, numbers of values and calls; bytes of data look like them, too.
std::vector<Piece> pickle_pieces(const Bytes& file) { return words(file, "Xc(qhtQRub", 4096); }

/// The chunks of a RIFF file.
std::vector<Piece> webp_pieces(const Bytes& webp) {
  std::vector<size_t> begins = {0, 4, 8};
  for (size_t at = 12; at + 8 <= webp.size();) {
    begins.push_back(at);
    const size_t length = little32(webp.data() + at + 4);
    if (length > webp.size() - at - 8) break;
    at += 8 + length + length % 2;
  }
  return between(begins, webp.size());
}

/// Writes the file's length.
void repair_webp(Bytes& webp) {
  for (size_t i = 0; i < 4 && webp.size() >= 8; ++i)
    webp[4 + i] = static_cast<uint8_t>((webp.size() - 8) >> (8 * i));
}

std::vector<Piece> config_pieces(const Bytes& text) { return words(text, "\n=,[]\"'#", text.size()); }

void no_repair(Bytes&) {}

// --- Proofs ---------------------------------------------------------------------------------------------

/// Whether two readings gave something, after a look at their error if they gave none.
template <class T>
bool both_read(const Result<T>& first, const Result<T>& second) {
  check(static_cast<bool>(first) == static_cast<bool>(second), "read once, refused once");
  if (first) return true;
  const std::string sentence = first.error().message();
  check(!first.error().reason.empty(), "refused without a reason");
  check(sentence.size() <= 1500, "refused in ", sentence.size(), " characters");
  check(sentence == second.error().message(), "refused in two ways: ", sentence);
  return false;
}

bool same(const Image& a, const Image& b) {
  return samples::same_pixels(a, b) && a.exif == b.exif && a.icc == b.icc;
}

bool same(const State& a, const State& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.first == y.first && same_bits(x.second, y.second);
  });
}

bool same(const TensorFile& a, const TensorFile& b) {
  return same(a.tensors, b.tensors) && a.metadata == b.metadata;
}

void prove_rewritable(const TensorFile& content) {
  check(same(parse_safetensors(serialize_safetensors(content)).value(), content), "does not read as written");
}

void prove_picture(std::span<const uint8_t> bytes) {
  const auto first = decode_image(bytes, kPictures), second = decode_image(bytes, kPictures);
  if (!both_read(first, second)) return;
  const Image& image = first.value();
  check(image.width > 0 && image.height > 0 && image.width * image.height <= kPictures.pixels,
        "a picture beyond its limits");
  check(image.samples.size() == static_cast<size_t>(image.height) * image.row_bytes(), "a picture cut short");
  check(same(image, second.value()), "two readings differ");
  check(same(decode_image(encode_image(image, ImageFormat::png), kPictures).value(), image),
        "does not read as written");
}

void prove_safetensors(std::span<const uint8_t> bytes) {
  const auto first = parse_safetensors(bytes), second = parse_safetensors(bytes);
  if (!both_read(first, second)) return;
  check(same(first.value(), second.value()), "two readings differ");
  prove_rewritable(first.value());
}

void prove_npy(std::span<const uint8_t> bytes) {
  const auto first = parse_npy(bytes), second = parse_npy(bytes);
  if (!both_read(first, second)) return;
  check(same_bits(first.value(), second.value()), "two readings differ");
  prove_rewritable({{{"array", first.value()}}, {}});
}

void prove_npz(std::span<const uint8_t> bytes) {
  const auto first = parse_npz(bytes, kArchives), second = parse_npz(bytes, kArchives);
  if (!both_read(first, second)) return;
  check(same(first.value(), second.value()), "two readings differ");
  TensorFile content;
  State writable;
  for (const auto& [name, array] : first.value()) {
    content.tensors[cat(content.tensors.size())] = array;
    writable[cat(writable.size())] = array;
  }
  prove_rewritable(content);
  check(same(parse_npz(serialize_npz(writable)).value(), writable), "does not read as written");
}

void prove_pth(std::span<const uint8_t> bytes) {
  const auto first = parse_pth(bytes, kCheckpoints), second = parse_pth(bytes, kCheckpoints);
  if (!both_read(first, second)) return;
  check(same(first.value(), second.value()), "two readings differ");
  TensorFile content;
  for (const auto& [name, tensor] : first.value().tensors) {
    check(!name.empty() && printable(name) == name, "an unprintable name");
    content.tensors[cat(content.tensors.size())] = tensor;
  }
  prove_rewritable(content);
}

void prove_checkpoint(std::span<const uint8_t> bytes) {
  const auto first = parse_checkpoint(bytes), second = parse_checkpoint(bytes);
  if (!both_read(first, second)) return;
  const Bytes written = serialize_checkpoint(first.value());
  check(written == serialize_checkpoint(second.value()), "two readings differ");
  check(written == serialize_checkpoint(parse_checkpoint(written).value()), "does not read as written");
}

void prove_webp(std::span<const uint8_t> bytes) {
  const auto read = [](std::span<const uint8_t> file) {
    return attempt([&] { return read_webp_notes(file); });
  };
  const auto first = read(bytes), second = read(bytes);
  if (!both_read(first, second)) return;
  Image image = samples::picture(3, 2, 3, 8);
  image.exif = first.value().exif;
  image.icc = first.value().icc;
  check(second.value().exif == image.exif && second.value().icc == image.icc, "two readings differ");
  const Bytes written = with_webp_notes(bytes, image);
  const auto again = read(written);
  check(again.value().exif == image.exif && again.value().icc == image.icc, "does not read as written");
  check(with_webp_notes(written, image) == written, "grows");
}

bool same(const std::vector<Setting>& a, const std::vector<Setting>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Setting& x, const Setting& y) {
    return x.name == y.name && x.values == y.values;
  });
}

Bytes written(const std::vector<Setting>& settings) {
  std::string text;
  for (const Setting& setting : settings) {
    text += cat(setting.name, " = [");
    for (const std::string& value : setting.values) {
      text += '"';
      for (const char c : value)
        text += c == '"' || c == '\\' ? cat("\\", std::string(1, c)) : std::string(1, c);
      text += "\",";
    }
    text += "]\n";
  }
  return {text.begin(), text.end()};
}

void prove_config(std::span<const uint8_t> bytes) {
  const auto first = parse_settings(bytes), second = parse_settings(bytes);
  if (!both_read(first, second)) return;
  check(same(first.value(), second.value()), "two readings differ");
  check(same(parse_settings(written(first.value())).value(), first.value()), "does not read as written");
}

template <class T>
std::string reason_of(const Result<T>& result) {
  return result ? "" : result.error().reason;
}

std::string refuse_picture(std::span<const uint8_t> bytes) {
  return reason_of(decode_image(bytes, kPictures));
}
std::string refuse_safetensors(std::span<const uint8_t> bytes) { return reason_of(parse_safetensors(bytes)); }
std::string refuse_npy(std::span<const uint8_t> bytes) { return reason_of(parse_npy(bytes)); }
std::string refuse_npz(std::span<const uint8_t> bytes) { return reason_of(parse_npz(bytes, kArchives)); }
std::string refuse_pth(std::span<const uint8_t> bytes) { return reason_of(parse_pth(bytes, kCheckpoints)); }
std::string refuse_checkpoint(std::span<const uint8_t> bytes) { return reason_of(parse_checkpoint(bytes)); }
std::string refuse_config(std::span<const uint8_t> bytes) { return reason_of(parse_settings(bytes)); }
std::string refuse_webp(std::span<const uint8_t> bytes) {
  return reason_of(attempt([&] { return read_webp_notes(bytes); }));
}

// Where a format cannot expand, memory is bounded by the file. JPEG and PNG are bounded by the limits: twice
// the decoder's, to turn a picture upright, and for PNG a profile of 16 MiB, which grows by doubling.
constexpr Format kFormats[] = {
    {"jpeg", jpeg_samples, jpeg_pieces, no_repair, refuse_picture, prove_picture, 1 << 16, 1 << 14,
     16 * kMiB},
    {"png", png_samples, png_pieces, repair_png, refuse_picture, prove_picture, 1 << 16, 1 << 16, 40 * kMiB},
    {"bmp", bmp_samples, bmp_pieces, no_repair, refuse_picture, prove_picture, 1 << 14, 32, 16 * kMiB},
    {"pnm", pnm_samples, pnm_pieces, no_repair, refuse_picture, prove_picture, 1 << 14, 16, 16 * kMiB},
    {"safetensors", safetensors_samples, safetensors_pieces, repair_safetensors, refuse_safetensors,
     prove_safetensors, 1 << 14, 32, INT64_MAX},
    {"npy", npy_samples, npy_pieces, repair_npy, refuse_npy, prove_npy, 1 << 14, 16, INT64_MAX},
    {"npz", npz_samples, zip_pieces, repair_zip, refuse_npz, prove_npz, 1 << 14, 1032, 3 * kMiB},
    {"pth", pth_samples, zip_pieces, repair_zip, refuse_pth, prove_pth, 1 << 14, 128, INT64_MAX},
    {"legacy_pth", legacy_pth_samples, pickle_pieces, no_repair, refuse_pth, prove_pth, 1 << 14, 128,
     INT64_MAX},
    {"checkpoint", checkpoint_samples, safetensors_pieces, repair_checkpoint, refuse_checkpoint,
     prove_checkpoint, 1 << 14, 64, INT64_MAX},
    {"webp", webp_samples, webp_pieces, repair_webp, refuse_webp, prove_webp, 1 << 14, 4, INT64_MAX},
    {"y4m", y4m_samples, y4m_pieces, no_repair, refuse_y4m, prove_y4m, 1 << 18, 32, INT64_MAX},
    {"nut", nut_samples, nut_pieces, repair_nut, refuse_nut, prove_nut, 1 << 18, 32, INT64_MAX},
    {"config", config_samples, config_pieces, no_repair, refuse_config, prove_config, 1 << 14, 128, INT64_MAX,
     false},
};

}  // namespace

std::span<const Format> formats() { return kFormats; }

const Format& format_named(std::string_view name) {
  for (const Format& format : kFormats) {
    if (format.name == name) return format;
  }
  fail("no format is named ", std::string(name));
}

}  // namespace hostile
