// data/image.h: what is written is what is read, in every format, depth and orientation.
#include "luxgrad/data/image.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "luxgrad/data/orientation.h"
#include "luxgrad/kernels/bytes.h"
#include "luxgrad/kernels/concat.h"
#include "same_bits.h"
#include "sample_pictures.h"
#include "temporary_folder.h"

using namespace lux;
using samples::Bytes;

namespace {

Image reread(const Image& image, ImageFormat format, int quality = 95) {
  return decode_image(encode_image(image, format, quality)).value();
}

double largest_difference(const Image& a, const Image& b) {
  const std::vector<double> x = to_tensor(a).to_vector(), y = to_tensor(b).to_vector();
  REQUIRE(x.size() == y.size());
  double largest = 0;
  for (size_t i = 0; i < x.size(); ++i) largest = std::max(largest, std::abs(x[i] - y[i]));
  return largest;
}

/// The picture stored so that applying `orientation` gives `image` back: undone by the inverse orientation.
Image stored_for(const Image& image, int orientation) {
  const int inverse = orientation == 6 ? 8 : orientation == 8 ? 6 : orientation;
  Image turned = image;
  turned.exif = samples::exif(inverse);
  turned = upright(std::move(turned));
  turned.exif = samples::exif(orientation, orientation % 2 == 0);
  return turned;
}

const std::pair<int64_t, int64_t> kSizes[] = {{1, 1}, {7, 1}, {1, 9}, {5, 3}, {33, 17}, {64, 40}};

}  // namespace

TEST_CASE("PNG keeps every sample of 8 and 16 bits, gray or colour, with or without alpha") {
  for (const auto& [width, height] : kSizes) {
    for (const int channels : {1, 2, 3, 4}) {
      for (const int bits : {8, 16}) {
        CAPTURE(channels);
        CAPTURE(bits);
        const Image image = samples::picture(width, height, channels, bits);
        CHECK(samples::same_pixels(reread(image, ImageFormat::png), image));
      }
    }
  }
}

TEST_CASE("BMP keeps colours and alpha") {
  for (const auto& [width, height] : kSizes) {
    for (const int channels : {3, 4}) {
      const Image image = samples::picture(width, height, channels, 8);
      CHECK(samples::same_pixels(reread(image, ImageFormat::bmp), image));
    }
    const Image gray = samples::picture(width, height, 2, 8), read = reread(gray, ImageFormat::bmp);
    CHECK(read.channels == 4);
    CHECK(largest_difference(read, gray) == 0);
  }
}

TEST_CASE("PNM keeps gray and colours of 8 and 16 bits") {
  for (const auto& [width, height] : kSizes) {
    for (const int channels : {1, 3}) {
      for (const int bits : {8, 16}) {
        const Image image = samples::picture(width, height, channels, bits);
        CHECK(samples::same_pixels(reread(image, ImageFormat::pnm), image));
        const Image with_alpha = samples::picture(width, height, channels + 1, bits);
        CHECK(largest_difference(reread(with_alpha, ImageFormat::pnm), with_alpha) == 0);
      }
    }
  }
}

TEST_CASE("JPEG comes back close to what was written") {
  Image image = samples::picture(64, 40, 3, 8);
  CHECK(largest_difference(reread(image, ImageFormat::jpeg), image) < 0.05);
  CHECK(largest_difference(reread(image, ImageFormat::jpeg, 100), image) < 0.025);
  CHECK(encode_image(image, ImageFormat::jpeg, 30).size() <
        encode_image(image, ImageFormat::jpeg, 95).size());
  for (const int channels : {1, 2, 4}) {
    image = samples::picture(33, 17, channels, 8);
    CHECK(largest_difference(reread(image, ImageFormat::jpeg), image) < 0.05);
  }
}

TEST_CASE("16 bits are rounded to 8 where the format has no more") {
  Image image;
  image.allocate(3, 1, 3, 16);
  const std::vector<uint16_t> values = {0, 128, 129, 65535, 65406, 65407, 257, 32767, 32896};
  std::memcpy(image.samples.data(), values.data(), image.samples.size());
  const Bytes expected = {0, 0, 1, 255, 254, 255, 1, 127, 128};
  CHECK(reread(image, ImageFormat::bmp).samples == expected);
}

TEST_CASE("rows of a picture are those of its tensor, and make it again") {
  for (const int channels : {1, 2, 3, 4}) {
    for (const int bits : {8, 16}) {
      const Image image = samples::picture(7, 5, channels, bits);
      Image again = blank_like(image);
      const Tensor whole = to_tensor(image);
      for (const auto& [first, count] : {std::pair<int64_t, int64_t>{0, 2}, {2, 3}}) {
        const Tensor rows = empty({1, count, 7, 3});
        to_rows(image, first, rows);
        for (int64_t i = 0; i < rows.numel(); ++i)
          CHECK(rows.data<float>()[i] == whole.data<float>()[first * 21 + i]);
        from_part(narrow(rows, 2, 3, 4), first, 3, again);
        from_part(narrow(rows, 2, 0, 3), first, 0, again);
      }
      CHECK(again.samples == from_tensor(whole, image).samples);
    }
  }
  Image image = samples::picture(7, 5, 3, 8);
  CHECK_THROWS_WITH_AS(to_rows(image, 4, empty({1, 2, 7, 3})),
                       "to_rows: expected rows [1, n, 7, 3] of f32 inside of 5 from 4 on, got [1, 2, 7, 3]",
                       Error);
  CHECK_THROWS_WITH_AS(from_part(empty({1, 2, 4, 3}), 0, 4, image),
                       "from_part: expected a part [1, n, m, 3] of f32 inside of 7 x 5 pixels from row 0 and "
                       "column 4 on, got [1, 2, 4, 3]",
                       Error);
}

TEST_CASE("kernels make the same numbers of samples, and the same samples of numbers") {
  for (const int bits : {8, 16}) {
    for (const int channels : {1, 2, 3, 4}) {
      const Image image = samples::picture(7, 5, channels, bits);
      const auto pixel = static_cast<int64_t>(image.pixel_bytes());
      const Tensor bytes = empty({1, 5, 7, pixel}, {DType::u8, kCpu});
      std::memcpy(bytes.raw(), image.samples.data(), image.samples.size());
      const Tensor numbers = from_samples(bytes, channels);
      CHECK(same_bits(numbers, to_tensor(image)));
      Image again = blank_like(image);
      put_colors(to_samples(numbers, bits).raw(), again);
      CHECK(again.samples == from_tensor(numbers, image).samples);
    }
    // Where rounding turns, to the last digit, and what no sample can be.
    std::vector<float> values = {-1, 2, INFINITY, -INFINITY, NAN, -0.0F};
    const int last = (1 << bits) - 1;
    for (int sample = 0; sample < last; ++sample) {
      const auto half = static_cast<float>((sample + 0.5) / last);
      for (const float value : {std::nextafter(half, 0.0F), half, std::nextafter(half, 1.0F)})
        values.push_back(value);
    }
    const Tensor edges = empty({1, 1, static_cast<int64_t>(values.size()) / 3, 3});
    std::memcpy(edges.raw(), values.data(), values.size() * sizeof(float));
    const Image expected = from_tensor(edges, bits);
    CHECK(std::memcmp(to_samples(edges, bits).raw(), expected.samples.data(), expected.samples.size()) == 0);
  }
  CHECK_THROWS_WITH_AS(from_samples(empty({1, 2, 2, 3}, {DType::u8, kCpu}), 4),
                       "from_samples: expected u8 [N, H, W, 4] or [N, H, W, 8], got u8 [1, 2, 2, 3]", Error);
  CHECK_THROWS_WITH_AS(to_samples(empty({1, 2, 2, 3}), 12),
                       "to_samples: expected [N, H, W, C] and 8 or 16 bits, got [1, 2, 2, 3] and 12", Error);
  Image gray = samples::picture(2, 2, 1, 8);
  CHECK_THROWS_WITH_AS(put_colors(gray.samples.data(), gray),
                       "put_colors: expected a picture in colours, got gray", Error);
}

TEST_CASE("a format is found by the content, an output format by the extension") {
  const Image image = samples::picture(5, 3, 3, 8);
  const TemporaryFolder folder;
  save_image(folder.path() / "wrong.jpg", image, {.format = ImageFormat::png});
  CHECK(samples::same_pixels(load_image(folder.path() / "wrong.jpg"), image));
  save_image(folder.path() / "right.BMP", image);
  CHECK(read_file(folder.path() / "right.BMP").value()[0] == 'B');
  CHECK(image_format_of("a.b/c.JPeG") == ImageFormat::jpeg);
  CHECK(image_format_of("x.pgm") == ImageFormat::pnm);
  CHECK_FALSE(image_format_of("folder.png/picture"));
  CHECK(image_format_of("x.WebP") == ImageFormat::webp);
  CHECK_FALSE(image_format_of("x.gif"));
  CHECK_FALSE(image_format_of("png"));
}

TEST_CASE("the eight orientations come out upright, the tag reset and every other byte kept") {
  const Image image = samples::picture(13, 6, 3, 16);
  for (int orientation = 1; orientation <= 8; ++orientation) {
    CAPTURE(orientation);
    const Image stored = stored_for(image, orientation);
    CHECK((stored.width == image.width) == (orientation < 5));
    CHECK((orientation == 1) == samples::same_pixels(stored, image));
    const Image read = reread(stored, ImageFormat::png);
    CHECK(samples::same_pixels(read, image));
    CHECK(read.exif == samples::exif(1, orientation % 2 == 0));

    // Multiples of 8, so that the blocks of the turned JPEG hold the same pixels.
    const Image photo = samples::picture(48, 16, 3, 8);
    const Image turned = reread(stored_for(photo, orientation), ImageFormat::jpeg, 100);
    CHECK(largest_difference(turned, photo) < 0.03);
    CHECK(turned.exif == samples::exif(1, orientation % 2 == 0));
  }
}

TEST_CASE("whoever admits a picture hears beforehand what it will be, and may refuse it") {
  struct NotNow {};
  for (const ImageFormat format : {ImageFormat::png, ImageFormat::jpeg, ImageFormat::bmp, ImageFormat::pnm}) {
    const bool turned = format == ImageFormat::png || format == ImageFormat::jpeg;
    const Image image = samples::picture(48, 16, 3, 8);
    const std::vector<uint8_t> file = encode_image(turned ? stored_for(image, 6) : image, format);
    ImageCost told;
    const auto tell = [&](const ImageCost& cost) { told = cost; };
    const auto refuse = [](const ImageCost&) { throw NotNow(); };
    const ImageAdmission admits = tell, refuses = refuse;
    const Image read = decode_image(file, {.admit = &admits}).value();
    CHECK(told == ImageCost{.width = read.width,
                            .height = read.height,
                            .channels = read.channels,
                            .bits = read.bits,
                            .bytes = static_cast<int64_t>(read.samples.size()),
                            .decoding = static_cast<int64_t>(file.size()) +
                                        (turned ? 2 : 1) * static_cast<int64_t>(read.samples.size())});
    CHECK_THROWS_AS((void)decode_image(file, {.admit = &refuses}), NotNow);
  }
}

TEST_CASE("corner pixels stand where EXIF says") {
  // Stored as a b / c d; the tag says which stored corner is the first row's first pixel.
  Image stored;
  stored.allocate(2, 2, 1, 8);
  stored.samples = {'a', 'b', 'c', 'd'};
  const char* const expected[] = {"abcd", "badc", "dcba", "cdab", "acbd", "cadb", "dbca", "bdac"};
  for (int orientation = 1; orientation <= 8; ++orientation) {
    stored.exif = samples::exif(orientation);
    const Image turned = upright(stored);
    CHECK(std::string(turned.samples.begin(), turned.samples.end()) == expected[orientation - 1]);
  }
}

TEST_CASE("a damaged or odd EXIF block means upright, and stays as it is") {
  const Bytes good = samples::exif(6);
  CHECK(exif_orientation(good) == 6);
  for (size_t length = 0; length < good.size(); ++length) {
    Bytes cut(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(length));
    const int orientation = exif_orientation(cut);
    CHECK((orientation == 1 || (orientation == 6 && length >= good.size() - 4)));
    reset_exif_orientation(cut);
    CHECK(exif_orientation(cut) == 1);
  }
  Bytes far = good;
  far[4] = far[5] = far[6] = far[7] = 0xFF;  // the directory beyond the end
  CHECK(exif_orientation(far) == 1);
  CHECK(exif_orientation(samples::exif(9)) == 1);
  CHECK(exif_orientation(samples::exif(0)) == 1);
}

TEST_CASE("EXIF and ICC survive PNG and JPEG, also profiles of several segments") {
  Image image = samples::picture(16, 16, 3, 8);
  image.exif = samples::exif(1);
  for (const size_t length : {size_t{200}, size_t{65519}, size_t{65520}, size_t{200000}}) {
    image.icc.resize(length);
    for (size_t i = 0; i < length; ++i) image.icc[i] = static_cast<uint8_t>(i * 7 + i / 251);
    for (const ImageFormat format : {ImageFormat::png, ImageFormat::jpeg}) {
      const Image read = reread(image, format);
      CHECK(read.icc == image.icc);
      CHECK(read.exif == image.exif);
    }
  }
  image.exif.resize(70000);  // too long for a segment of a JPEG
  CHECK(reread(image, ImageFormat::jpeg).exif.empty());
  CHECK(reread(image, ImageFormat::png).exif == image.exif);
}

TEST_CASE("to_tensor and from_tensor: values in [0, 1], gray replicated, every sample back as it was") {
  for (const int bits : {8, 16}) {
    for (const int channels : {1, 2, 3, 4}) {
      Image image = samples::picture(31, 7, channels, bits);
      image.exif = samples::exif(1);
      image.icc = {1, 2, 3};
      const Tensor tensor = to_tensor(image);
      CHECK(tensor.shape() == Shape{1, 7, 31, 3});
      const Image back = from_tensor(tensor, image);
      CHECK(back.bits == bits);
      CHECK(back.has_alpha() == image.has_alpha());
      CHECK(back.exif == image.exif);
      CHECK(back.icc.empty() == (channels < 3));  // a gray profile does not describe colours
      CHECK(to_tensor(back).to_vector() == tensor.to_vector());
      if (channels == 4) CHECK(back.samples == image.samples);
    }
  }
  Image full;
  full.allocate(1, 1, 3, 16);
  full.samples.assign(6, 0xFF);
  CHECK(to_tensor(full).to_vector() == std::vector<double>{1, 1, 1});
}

TEST_CASE("every 16-bit value survives the way through a tensor") {
  Image image;
  image.allocate(256, 256, 1, 16);
  for (int i = 0; i < 65536; ++i) {
    const auto value = static_cast<uint16_t>(i);
    std::memcpy(image.samples.data() + 2 * i, &value, 2);
  }
  const Image back = from_tensor(to_tensor(image), 16);
  for (int i = 0; i < 65536; ++i) {
    uint16_t value;
    std::memcpy(&value, back.samples.data() + 6 * i, 2);
    REQUIRE(value == i);
  }
}

TEST_CASE("from_tensor rounds to nearest and clamps") {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  const Tensor values = from_vector(
      {-1, 0, 0.49 / 255, 0.51 / 255, 254.4 / 255, 254.6 / 255, 1, 7, nan, inf, -inf, 0.5}, {1, 2, 2, 3});
  CHECK(from_tensor(values).samples == Bytes{0, 0, 0, 1, 254, 255, 255, 255, 0, 255, 0, 128});
  CHECK(from_tensor(from_vector({0.2, 1}, {1, 1, 2, 1}, {DType::f64})).samples == Bytes{51, 255});
  CHECK_THROWS_WITH_AS(from_tensor(zeros({2, 4, 4, 3})),
                       "from_tensor: expected [1, H, W, 3] or [1, H, W, 1], got [2, 4, 4, 3]", Error);
  CHECK_THROWS_WITH_AS(from_tensor(zeros({1, 4, 4, 3}), samples::picture(4, 5, 3, 8)),
                       "from_tensor: expected 4 x 5 pixels, got 4 x 4", Error);
  CHECK_THROWS_WITH_AS(from_tensor(zeros({1, 4, 4, 3}), 12), "from_tensor: expected 8 or 16 bits, got 12",
                       Error);
}

TEST_CASE("files that cannot be used are named in one sentence") {
  const TemporaryFolder folder;
  const auto sentence = [](auto action) {
    try {
      action();
    } catch (const FileException& e) {
      return std::string(e.what());
    }
    return std::string("nothing was thrown");
  };
  const std::string path = folder.path() / "x.png";
  CHECK(sentence([&] { load_image(path); }).find(path) == 0);
  CHECK(write_file_atomically(path, Bytes{}));
  CHECK(sentence([&] { load_image(path); }).find(path + ": is empty") == 0);
  CHECK(write_file_atomically(path, Bytes{'G', 'I', 'F', '8', '9', 'a'}));
  CHECK(sentence([&] { load_image(path); }) ==
        path + ": is a GIF picture, expected JPEG, PNG, BMP or PNM (at byte 0)");
  std::filesystem::create_directory(folder.path() / "y.png");
  CHECK(sentence([&] { load_image(folder.path() / "y.png"); }).find("is a directory") != std::string::npos);
  CHECK(sentence([&] {
          save_image(folder.path() / "y.txt", samples::picture(2, 2, 3, 8));
        }).find("has no extension of a picture") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(folder.path() / "y.txt"));
}

TEST_CASE("encode_image checks what it is given") {
  Image image = samples::picture(2, 2, 3, 8);
  CHECK_THROWS_WITH_AS(encode_image(image, ImageFormat::jpeg, 0),
                       "encode_image: expected a quality of 1 to 100, got 0", Error);
  image.samples.pop_back();
  CHECK_THROWS_WITH_AS(encode_image(image, ImageFormat::png),
                       "encode_image: expected 2 x 2 pixels of 3 bytes, got 11 bytes", Error);
}
