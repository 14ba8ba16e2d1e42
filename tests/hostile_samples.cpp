#include "hostile_samples.h"

#include <cstring>
#include <string>

#include "luxgrad/data/byte_reader.h"
#include "luxgrad/data/safetensors.h"
#include "luxgrad/training/checkpoint.h"
#include "pth_file.h"
#include "sample_pictures.h"
#include "zip_archive.h"

namespace hostile {
namespace {

using namespace lux;

void append(Bytes& bytes, const Bytes& more) { bytes.insert(bytes.end(), more.begin(), more.end()); }
Bytes bytes_of(std::string_view text) { return {text.begin(), text.end()}; }
Bytes noise(size_t count, Generator& random) {
  Bytes bytes(count);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random.next());
  return bytes;
}

/// What the writer of the format makes of pictures of 1 to 4 channels and 8 or 16 bits, plain and with EXIF
/// and profile.
std::vector<Bytes> written(ImageFormat format) {
  std::vector<Bytes> files;
  for (const int channels : {1, 2, 3, 4}) {
    for (const int bits : {8, 16}) {
      Image image = samples::picture(19, 11, channels, bits);
      files.push_back(encode_image(image, format, 60));
      image.exif = samples::exif(channels + 3, bits == 16);
      image.icc = Bytes(300, 7);
      files.push_back(encode_image(image, format, 95));
    }
  }
  return files;
}

/// What the shared suites have, small and valid.
void add_shared(std::vector<Bytes>& files, std::initializer_list<const char*> extensions) {
  for (const char* extension : extensions) {
    for (const std::string& file : samples::shared_files("", extension)) {
      Bytes bytes = read_file(file).value();
      if (bytes.size() <= kSmallFile && samples::refusal(bytes, {.pixels = 1 << 20}).empty())
        files.push_back(std::move(bytes));
    }
  }
}

/// A PNG of this kind with random samples and filters.
Bytes png_of_kind(int color, int bits, int interlace, Generator& random) {
  const uint32_t width = 1 + static_cast<uint32_t>(random.below(20)),
                 height = 1 + static_cast<uint32_t>(random.below(12));
  const uint32_t channels = color == 2 ? 3 : color == 4 ? 2 : color == 6 ? 4 : 1;
  Bytes raw;
  const auto pass = [&](uint32_t x, uint32_t y, uint32_t step_x, uint32_t step_y) {
    if (width <= x || height <= y) return;
    const uint32_t columns = (width - x + step_x - 1) / step_x, rows = (height - y + step_y - 1) / step_y;
    for (uint32_t row = 0; row < rows; ++row) {
      raw.push_back(static_cast<uint8_t>(random.below(5)));
      append(raw, noise((columns * channels * static_cast<uint32_t>(bits) + 7) / 8, random));
    }
  };
  if (interlace == 0) {
    pass(0, 0, 1, 1);
  } else {
    pass(0, 0, 8, 8);
    for (const uint32_t step : {8u, 4u, 2u}) {
      pass(step / 2, 0, step, step);
      pass(0, step / 2, step / 2, step);
    }
  }
  std::vector<std::pair<std::string, Bytes>> chunks = {{"gAMA", {0, 0, 177, 143}}};
  if (color == 3) chunks.push_back({"PLTE", noise(size_t{3} << bits, random)});
  if (color == 3) chunks.push_back({"tRNS", noise(size_t{1} << (bits - 1), random)});
  if (color == 0) chunks.push_back({"tRNS", {0, 1}});
  if (color == 2) chunks.push_back({"tRNS", {0, 1, 0, 2, 0, 3}});
  return samples::png_file({.width = width,
                            .height = height,
                            .bits = static_cast<uint8_t>(bits),
                            .color = static_cast<uint8_t>(color),
                            .interlace = static_cast<uint8_t>(interlace),
                            .before_data = chunks,
                            .raw = raw});
}

/// A BMP from the numbers of its header, what stands between header and rows, and its rows.
Bytes bmp_of(uint32_t header, int32_t width, int32_t height, uint32_t bits, uint32_t compression,
             const Bytes& tables, const Bytes& rows) {
  Bytes bytes = {'B', 'M'};
  const size_t begin = 14 + header + tables.size();
  for (const size_t value : {begin + rows.size(), size_t{0}, begin, size_t{header}})
    append_little32(bytes, static_cast<uint32_t>(value));
  if (header == 12) {
    append_little32(bytes, static_cast<uint32_t>(width) | static_cast<uint32_t>(height) << 16);
  } else {
    append_little32(bytes, static_cast<uint32_t>(width));
    append_little32(bytes, static_cast<uint32_t>(height));
  }
  append_little32(bytes, 1 | bits << 16);
  if (header > 12) append_little32(bytes, compression);
  bytes.resize(14 + header);
  append(bytes, tables);
  append(bytes, rows);
  return bytes;
}

/// A JPEG segment with its length.
Bytes segment(uint8_t marker, const Bytes& payload) {
  const size_t length = payload.size() + 2;
  Bytes bytes = {0xFF, marker, static_cast<uint8_t>(length >> 8), static_cast<uint8_t>(length & 255)};
  append(bytes, payload);
  return bytes;
}

/// A table with one code of one bit, for the symbol 0.
Bytes huffman_table(uint8_t slot) {
  Bytes payload(18);
  payload[0] = slot;
  payload[1] = 1;
  return segment(0xC4, payload);
}

/// A gray JPEG of blocks without details, sequential, with `before` ahead of its scan.
Bytes gray_jpeg(uint8_t frame, uint8_t blocks, const Bytes& before, const Bytes& entropy_coded) {
  Bytes quantization(65, 1);
  quantization[0] = 0;
  Bytes bytes = {0xFF, 0xD8};
  append(bytes, segment(0xDB, quantization));
  append(bytes, segment(frame, {8, 0, 8, 0, static_cast<uint8_t>(8 * blocks), 1, 1, 0x11, 0}));
  append(bytes, huffman_table(0x00));
  append(bytes, huffman_table(0x10));
  append(bytes, before);
  append(bytes, segment(0xDA, {1, 1, 0, 0, 63, 0}));
  append(bytes, entropy_coded);
  append(bytes, {0xFF, 0xD9});
  return bytes;
}

/// Tensors of all types and ranks with random bits.
State random_state(Generator& random) {
  constexpr DType kTypes[] = {DType::f32, DType::f64, DType::bf16, DType::f16, DType::u8, DType::i64};
  State state;
  for (uint64_t i = 0, count = random.below(7); i < count; ++i) {
    int64_t sizes[8];
    const auto rank = static_cast<int64_t>(random.below(9));
    for (int64_t d = 0; d < rank; ++d) sizes[d] = static_cast<int64_t>(random.below(rank > 4 ? 3 : 5));
    const Tensor tensor = empty(Shape(sizes, sizes + rank), {kTypes[random.below(6)], kCpu});
    const Bytes bits = noise(static_cast<size_t>(tensor.numel()) * size_of(tensor.dtype()), random);
    if (!bits.empty()) std::memcpy(tensor.raw(), bits.data(), bits.size());
    state[cat("layer", i, ".weight")] = tensor;
  }
  return state;
}

Bytes safetensors_of(std::string_view header, size_t payload) {
  Bytes bytes;
  append_little32(bytes, static_cast<uint32_t>(header.size()));
  append_little32(bytes, 0);
  append(bytes, bytes_of(header));
  bytes.resize(bytes.size() + payload, 0x3F);
  return bytes;
}

Bytes npy_of(std::string_view type, std::string_view shape, bool fortran, int version, const Bytes& payload) {
  const std::string header = cat("{'descr': '", type, "', 'fortran_order': ", fortran ? "True" : "False",
                                 ", 'shape': ", shape, ", }   \n");
  Bytes bytes = bytes_of("\x93NUMPY");
  bytes.push_back(static_cast<uint8_t>(version));
  bytes.push_back(0);
  append_little16(bytes, static_cast<uint32_t>(header.size()));
  if (version > 1) append_little16(bytes, 0);
  append(bytes, bytes_of(header));
  append(bytes, payload);
  return bytes;
}

struct PthContent {
  std::string value;
  pth::Storages storages;
  std::vector<size_t> widths;
};

/// A state dictionary, now and then inside of another one, of all types, with storages that are shared.
PthContent pth_content(Generator& random) {
  constexpr std::pair<const char*, size_t> kTypes[] = {{"Float", 4}, {"Double", 8}, {"Half", 2},
                                                       {"Long", 8},  {"Int", 4},    {"BFloat16", 2},
                                                       {"Short", 2}, {"Bool", 1}};
  PthContent content;
  std::string items;
  for (uint64_t i = 0, count = 1 + random.below(3); i < count; ++i) {
    const auto [type, width] = kTypes[random.below(8)];
    const auto rows = static_cast<int64_t>(1 + random.below(3)),
               columns = static_cast<int64_t>(1 + random.below(4));
    const std::string key = cat(i), storage = pth::storage(type, key, rows * columns);
    const Bytes data = noise(static_cast<size_t>(rows * columns) * width, random);
    content.storages.emplace_back(key, std::string(data.begin(), data.end()));
    content.widths.push_back(width);
    const std::string remembered = cat("q", std::string(1, static_cast<char>(i)));
    items += pth::text(cat("layer", i, ".weight")) +
             pth::tensor(storage + remembered, 0, {rows, columns}, {columns, 1});
    if (random.below(2) == 0) {
      const std::string recalled = cat("h", std::string(1, static_cast<char>(i)));
      items +=
          pth::text(cat("layer", i, ".turned")) + pth::tensor(recalled, rows * columns - 1, {1, 1}, {7, 0});
    }
  }
  content.value = pth::ordered_dict() + "(" + items + "u" + pth::dict({{pth::text("_metadata"), "}"}}) + "b";
  if (random.below(3) == 0) {
    content.value = pth::dict({{pth::text("state_dict"), content.value},
                               {pth::text("epoch"), pth::integer(static_cast<int64_t>(random.below(1000)))}});
  }
  return content;
}

}  // namespace

std::vector<Bytes> png_samples() {
  std::vector<Bytes> files = written(ImageFormat::png);
  Generator random(1, "png samples");
  for (const auto& [color, most] : {std::pair{0, 16}, {2, 16}, {3, 8}, {4, 16}, {6, 16}}) {
    for (int bits = color == 0 || color == 3 ? 1 : 8; bits <= most; bits *= 2) {
      for (const int interlace : {0, 1}) files.push_back(png_of_kind(color, bits, interlace, random));
    }
  }
  add_shared(files, {".png"});
  return files;
}

Bytes progressive_jpeg(int scans) {
  Bytes jpeg = {0xFF, 0xD8};
  Bytes quantization(65, 1);
  quantization[0] = 0;
  append(jpeg, segment(0xDB, quantization));
  append(jpeg, segment(0xC2, {8, 0, 8, 0, 8, 1, 1, 0x11, 0}));
  append(jpeg, huffman_table(0x00));
  for (int scan = 0; scan < scans; ++scan) {
    // The first scan sends the mean, the others refine its lowest bit again and again.
    append(jpeg, segment(0xDA, {1, 1, 0, 0, 0, static_cast<uint8_t>(scan == 0 ? 0x01 : 0x10)}));
    jpeg.push_back(0x7F);
  }
  append(jpeg, {0xFF, 0xD9});
  return jpeg;
}

std::vector<Bytes> jpeg_samples() {
  std::vector<Bytes> files = written(ImageFormat::jpeg);
  for (const int scans : {1, 2, 5, 100}) files.push_back(progressive_jpeg(scans));
  const Bytes comment = segment(0xFE, bytes_of("made by a test")), padding = {0xFF, 0xFF};
  for (const uint8_t frame : {uint8_t{0xC0}, uint8_t{0xC1}}) {
    files.push_back(gray_jpeg(frame, 1, {}, {0x3F}));
    files.push_back(gray_jpeg(frame, 4, comment, {0x00}));
    files.push_back(gray_jpeg(frame, 4, padding, {0x00}));
    files.push_back(gray_jpeg(frame, 2, segment(0xDD, {0, 1}), {0x3F, 0xFF, 0xD0, 0x3F}));
    files.push_back(gray_jpeg(frame, 3, segment(0xDD, {0, 2}), {0x0F, 0xFF, 0xD0, 0x3F}));
    files.push_back(
        gray_jpeg(frame, 2, segment(0xE2, bytes_of(std::string_view("ICC_PROFILE\0\1\1abc", 17))), {0x0F}));
  }
  add_shared(files, {".jpg"});
  return files;
}

std::vector<Bytes> bmp_samples() {
  std::vector<Bytes> files = written(ImageFormat::bmp);
  Generator random(2, "bmp samples");
  for (const uint32_t bits : {1u, 2u, 4u, 8u, 24u}) {
    const Bytes rows = noise((5 * bits + 31) / 32 * 4 * 3, random);
    const size_t entries = bits > 8 ? 0 : size_t{1} << bits;
    files.push_back(bmp_of(12, 5, 3, bits, 0, noise(3 * entries, random), rows));
    files.push_back(bmp_of(40, 5, -3, bits, 0, noise(4 * entries, random), rows));
  }
  for (const uint32_t header : {40u, 64u, 108u, 124u}) {
    for (const uint32_t bits : {16u, 32u})
      files.push_back(bmp_of(header, 4, 3, bits, 0, {}, noise(bits / 8 * 12, random)));
  }
  Bytes masks;
  for (const uint32_t mask : {0xF800u, 0x07E0u, 0x001Fu}) append_little32(masks, mask);
  files.push_back(bmp_of(40, 4, 3, 16, 3, masks, noise(24, random)));
  add_shared(files, {".bmp"});
  return files;
}

std::vector<Bytes> pnm_samples() {
  std::vector<Bytes> files = written(ImageFormat::pnm);
  for (const std::string_view text :
       {"P1 3 2\n010\n101", "P1\n# a comment\n3 2\n0 1 0\n101", "P2 3 1 255 1 25 255\n",
        "P2 3 1 10\n0 5 10\n", "P2 2 1 65535\n0 65535\n", "P3 1 1 9\n1 2 3\n",
        "P3\n1 1\n# 255 follows\n255\n1 2\t3\n", "P4 9 1\n\xA5\x80", "P4 3 3\nabc", "P5 2 1 100\n\x32\x64",
        "P5 1 2 300\n\1\1\1\2", "P6 1 1 255\nabc", "P6 1 1 40000\nabcdef", "P6 2 1 31\n\1\2\3\4\5\6"})
    files.push_back(bytes_of(text));
  add_shared(files, {".ppm", ".pgm"});
  return files;
}

std::vector<Bytes> safetensors_samples() {
  std::vector<Bytes> files;
  Generator random(3, "safetensors samples");
  for (int i = 0; i < 26; ++i) {
    TensorFile content{random_state(random), {}};
    if (i % 2 == 0) content.metadata = {{"model", "zero_dce"}, {"größe \"1\"", "a\nb\\c"}};
    files.push_back(serialize_safetensors(content));
  }
  for (
      const std::string_view header :
      {"{}", R"({"w" : { "shape":[2,2] ,"data_offsets":[ 0 , 4 ], "dtype":"U8" } } )",
       R"({"b":{"dtype":"F16","shape":[],"data_offsets":[2,4]},"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
       R"({"\u00e9":{"dtype":"BF16","shape":[1,2],"data_offsets":[0,4]},"__metadata__":{"\ud83d\ude00":""}})"}) {
    files.push_back(safetensors_of(header, header.size() > 2 ? 4 : 0));
  }
  return files;
}

std::vector<Bytes> npy_samples() {
  std::vector<Bytes> files;
  Generator random(4, "npy samples");
  int kind = 0;
  for (const std::string_view type : {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "b1"}) {
    for (const auto& [shape, count] :
         {std::pair{"()", 1}, {"(3,)", 3}, {"(2, 3)", 6}, {"(5, 0, 2)", 0}, {"(1,2,1,2,1,2,1,2)", 16}}) {
      const size_t width = static_cast<size_t>(type[1] - '0');
      const std::string name = cat(kind % 3 == 0 ? "<" : kind % 3 == 1 ? ">" : "=", std::string(type));
      files.push_back(npy_of(name, shape, kind % 2 == 0, 1 + kind % 3, noise(width * size_t(count), random)));
      ++kind;
    }
  }
  return files;
}

std::vector<Bytes> npz_samples() {
  std::vector<Bytes> files;
  const std::vector<Bytes> arrays = npy_samples();
  Generator random(5, "npz samples");
  for (int i = 0; i < 40; ++i) {
    std::vector<ZipItem> items;
    for (uint64_t entry = 0, count = 1 + random.below(4); entry < count; ++entry) {
      const Bytes& array = arrays[random.below(arrays.size())];
      items.push_back({cat(entry % 2 == 0 ? "" : "folder/", "array", entry, ".npy"),
                       std::string(array.begin(), array.end()), random.below(2) == 0,
                       static_cast<uint16_t>(random.below(2) == 0 ? 0x808 : 0)});
    }
    files.push_back(ZipArchive(items.data(), items.size()).bytes);
  }
  return files;
}

std::vector<Bytes> pth_samples() {
  std::vector<Bytes> files;
  Generator random(7, "pth samples");
  for (int i = 0; i < 36; ++i) {
    const PthContent content = pth_content(random);
    files.push_back(i % 3 == 0 ? pth::archive(pth::pickle(content.value), content.storages).bytes
                               : pth::zip_file(content.value, content.storages));
  }
  return files;
}

std::vector<Bytes> legacy_pth_samples() {
  std::vector<Bytes> files;
  Generator random(8, "legacy pth samples");
  for (int i = 0; i < 36; ++i) {
    const PthContent content = pth_content(random);
    files.push_back(pth::legacy_file(content.value, content.storages, content.widths));
  }
  return files;
}

std::vector<Bytes> checkpoint_samples() {
  std::vector<Bytes> files;
  Generator random(6, "checkpoint samples");
  for (int64_t step = 0; step < 30; ++step) {
    Checkpoint checkpoint;
    checkpoint.model = {{"model", "zero_dce"}, {"model.concat", "official"}};
    checkpoint.weights = random_state(random);
    for (const auto& [name, tensor] : checkpoint.weights) checkpoint.optimizer["exp_avg." + name] = tensor;
    checkpoint.config = {{"seed", "7"}, {"data", "photos \"2024\""}};
    checkpoint.progress.step = step;
    checkpoint.progress.epoch_loss = random.normal();
    if (step % 2 == 0) checkpoint.progress.best = random.uniform();
    files.push_back(serialize_checkpoint(checkpoint));
  }
  return files;
}

std::vector<Bytes> webp_samples() {
  std::vector<Bytes> files;
  Generator random(11, "webp samples");
  const auto add_chunk = [](Bytes& file, std::string_view name, const Bytes& content) {
    append(file, bytes_of(name));
    append_little32(file, static_cast<uint32_t>(content.size()));
    append(file, content);
    if (content.size() % 2 != 0) file.push_back(0);
  };
  for (size_t i = 0; i < 32; ++i) {
    constexpr std::string_view kPictures[] = {"VP8 ", "VP8L", "ANMF"};
    Bytes chunks;
    if (i >= 3) add_chunk(chunks, "VP8X", noise(10, random));
    if (i % 2 != 0) add_chunk(chunks, "ICCP", noise(random.below(40), random));
    if (i % 5 == 0) add_chunk(chunks, "ALPH", noise(random.below(9), random));
    for (size_t frame = 0; frame <= i % 3; ++frame) add_chunk(chunks, kPictures[i % 3], noise(4 + i, random));
    Bytes exif = samples::exif(static_cast<int>(1 + i % 8), i % 2 != 0);
    if (i % 7 == 0) exif.insert(exif.begin(), {'E', 'x', 'i', 'f', 0, 0});
    if (i % 4 != 0) add_chunk(chunks, "EXIF", exif);
    if (i % 6 == 0) add_chunk(chunks, "XMP ", bytes_of("<x/>"));
    Bytes file = bytes_of("RIFF");
    append_little32(file, static_cast<uint32_t>(4 + chunks.size()));
    append(file, bytes_of("WEBP"));
    append(file, chunks);
    files.push_back(std::move(file));
  }
  return files;
}

std::vector<Bytes> config_samples() {
  constexpr std::string_view kValues[] = {"10",
                                          "1e-4",
                                          "true",
                                          "'photos'",
                                          "\"a \\\" \\\\ # b\"",
                                          "runs/first",
                                          "[]",
                                          "[1]",
                                          "[\n  \"a=b\",  # one\n  'c', d\n]"};
  std::vector<Bytes> files;
  Generator random(13, "config samples");
  for (size_t i = 0; i < 32; ++i) {
    const std::string_view end = i % 4 == 0 ? "\r\n" : "\n";
    Bytes file;
    for (size_t line = 0; line <= i % 7; ++line) {
      if (random.below(3) == 0) append(file, bytes_of(cat("# caf\u00e9", end)));
      const size_t value = line == 0 ? i % std::size(kValues) : random.below(std::size(kValues));
      append(file, bytes_of(cat("name-", line, i % 3 == 0 ? "=" : " = ", kValues[value], end)));
    }
    files.push_back(std::move(file));
  }
  return files;
}

}  // namespace hostile
