// data/transforms.h: resizing agrees with the libraries whose conventions it follows; the rest is moved
// exactly.
#include "luxgrad/data/transforms.h"

#include <doctest/doctest.h>

#include <string>

#include "golden.h"
#include "luxgrad/tensor/random.h"
#include "same_bits.h"

using namespace lux;

namespace {

using Values = std::vector<double>;

/// An 8-bit test picture, as multiples of 1/255.
Tensor test_picture(int64_t height, int64_t width) {
  Tensor image = empty({height, width, 3});
  float* target = image.data<float>();
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (int64_t c = 0; c < 3; ++c) {
        *target++ = static_cast<float>((x * 37 + y * 91 + c * 53 + (x * y) % 17 * 11) % 256) / 255;
      }
    }
  }
  return image;
}

std::string bytes_of(const Tensor& image) {
  std::string bytes;
  for (const double v : image.to_vector()) bytes += static_cast<char>(std::lround(v * 255));
  return bytes;
}

/// [H, W, 1] from rows of numbers.
Tensor gray(int64_t height, int64_t width, const Values& values) {
  return from_vector(values, {height, width, 1});
}

}  // namespace

TEST_CASE("8-bit Lanczos and nearest give the bytes of Pillow") {
  // Image.resize of test_picture by Pillow 9.5, FNV-1a over the bytes; 0 where its nearest meets a tie, which
  // it decides by its rounding errors. (Pillow 13 turns columns first where that is cheaper.)
  struct Case {
    int64_t height, width, new_height, new_width;
    uint64_t lanczos, nearest;
  };
  for (const Case& c :
       {Case{48, 64, 31, 20, 0x749532dcc4b3e0d5, 0}, Case{48, 64, 100, 131, 0xf3bd5c679701de1, 0},
        Case{120, 7, 9, 50, 0x6ec12600e3b03ab3, 0x3d2c4cd5172ba7a0},
        Case{33, 50, 33, 25, 0x444a058760173f32, 0x9a8ee1074cee1bb7},
        Case{1, 1, 5, 3, 0x8ba7bba66bcec9be, 0x8ba7bba66bcec9be},
        Case{300, 400, 256, 256, 0xddd5c0798bbd1304, 0x31bbd7ba936ad3d2}}) {
    CAPTURE(c.height);
    CAPTURE(c.width);
    const Tensor image = test_picture(c.height, c.width);
    const auto resized = [&](Interpolation mode, bool eight_bit) {
      return fnv1a(bytes_of(resize_image(image, c.new_height, c.new_width, {mode, eight_bit})));
    };
    CHECK(resized(Interpolation::lanczos, true) == c.lanczos);
    if (c.nearest == 0) continue;
    CHECK(resized(Interpolation::nearest, true) == c.nearest);
    CHECK(resized(Interpolation::nearest, false) == c.nearest);
  }
  const std::string small = bytes_of(resize_image(test_picture(9, 13), 4, 5, {Interpolation::lanczos, true}));
  CHECK(small.substr(0, 6) == std::string("\x6a\x83\x93\x88\x8c\x93"));
}

TEST_CASE("8-bit bilinear gives the bytes of OpenCV") {
  // cv2.resize of test_picture by OpenCV 4.11 and 5.0, FNV-1a over the bytes.
  struct Case {
    int64_t height, width, new_height, new_width;
    uint64_t bytes;
  };
  for (const Case& c : {Case{48, 64, 31, 20, 0x8730c77090815420}, Case{48, 64, 100, 131, 0x1abb598bead175d1},
                        Case{120, 7, 9, 50, 0xf98e87fb447162ba}, Case{33, 50, 33, 25, 0x5b7290fb21f483b2},
                        Case{1, 1, 5, 3, 0x8ba7bba66bcec9be}, Case{300, 400, 256, 256, 0x252aa34a09a37188}}) {
    CAPTURE(c.height);
    const Tensor image = test_picture(c.height, c.width);
    const Tensor result = resize_image(image, c.new_height, c.new_width, {Interpolation::bilinear, true});
    CHECK(fnv1a(bytes_of(result)) == c.bytes);
  }
  const Tensor image = test_picture(9, 13);
  CHECK(same_bits(resize_image(image, 9, 13, {Interpolation::bilinear, true}), image));
}

TEST_CASE("Lanczos without rounding gives the numbers of Pillow's float pictures") {
  const Values expected{105.7268, 136.1457, 127.1692, 76.0243,  127.6033,
                        126.4581, 129.665,  141.3923, 102.4332, 124.1536};
  const auto values = resize_image(test_picture(9, 13), 4, 5, {Interpolation::lanczos}).to_vector();
  for (size_t i = 0; i < expected.size(); ++i) CHECK(std::abs(values[3 * i] * 255 - expected[i]) < 1e-4);
}

TEST_CASE("bilinear and nearest give the golden values of TensorFlow and PyTorch") {
  int compared = 0;
  for (const char* name : {"ops_keras", "ops_torch"}) {
    const auto golden = load_golden(name);
    if (!golden) continue;
    for (const auto& row : nlohmann::json::parse(golden->metadata("cases"))) {
      const auto& options = row.at("options");
      if (row.at("op") != "resize" || options.at("align_corners") == true) continue;
      const auto mode = options.at("mode") == "nearest" ? Interpolation::nearest : Interpolation::bilinear;
      const std::string prefix = "op." + row.at("name").get<std::string>();
      const Tensor result = resize_image(golden->at(prefix + ".in").to(DType::f32), options.at("out")[0],
                                         options.at("out")[1], {mode});
      CHECK(difference(prefix, result, golden->at(prefix + ".out"),
                       mode == Interpolation::nearest ? 0 : 1e-6) == "");
      ++compared;
    }
  }
  if (!golden_folder().empty()) CHECK(compared > 10);
}

TEST_CASE("area takes the mean over the covered area") {
  const auto area = [](const Tensor& image, int64_t height, int64_t width) {
    return resize_image(image, height, width, {Interpolation::area}).to_vector();
  };
  CHECK(area(gray(2, 4, {1, 2, 3, 4, 5, 6, 7, 8}), 1, 2) == Values{3.5, 5.5});
  const auto thirds = area(gray(1, 3, {3, 6, 12}), 1, 2);
  CHECK(thirds[0] == doctest::Approx(4));
  CHECK(thirds[1] == doctest::Approx(10));
  CHECK(area(gray(1, 2, {1, 5}), 1, 4) == Values{1, 1, 5, 5});
  const Tensor image = test_picture(70, 90);
  const auto mean = [](const Values& values) {
    double sum = 0;
    for (const double v : values) sum += v;
    return sum / static_cast<double>(values.size());
  };
  CHECK(mean(area(image, 13, 11)) == doctest::Approx(mean(image.to_vector())));
}

TEST_CASE("every mode keeps constant pictures and pictures of the same size") {
  const Tensor image = test_picture(11, 7), flat = full({5, 9, 2}, 0.5);
  for (const auto mode :
       {Interpolation::nearest, Interpolation::bilinear, Interpolation::area, Interpolation::lanczos}) {
    CHECK(resize_image(image, 11, 7, {mode}).to_vector() == image.to_vector());
    for (const auto& [height, width] : {std::pair{3, 4}, {20, 31}, {1, 1}}) {
      const Tensor resized = resize_image(flat, height, width, {mode});
      CHECK(resized.shape() == Shape{height, width, 2});
      for (const double v : resized.to_vector()) CHECK(v == doctest::Approx(0.5).epsilon(1e-6));
    }
  }
}

TEST_CASE("a batch is resized picture by picture") {
  const Tensor image = test_picture(8, 6);
  const Tensor batch = empty({2, 8, 6, 3});
  std::copy_n(image.data<float>(), image.numel(), batch.data<float>());
  std::copy_n(image.data<float>(), image.numel(), batch.data<float>() + image.numel());
  const auto one = resize_image(image, 5, 11, {Interpolation::lanczos}).to_vector();
  auto two = one;
  two.insert(two.end(), one.begin(), one.end());
  const Tensor resized = resize_image(batch, 5, 11, {Interpolation::lanczos});
  CHECK(resized.shape() == Shape{2, 5, 11, 3});
  CHECK(resized.to_vector() == two);
}

TEST_CASE("crops, flips and quarter turns move pixels") {
  const Tensor image = gray(2, 3, {1, 2, 3, 4, 5, 6});
  CHECK(crop(image, 0, 1, 2, 2).to_vector() == Values{2, 3, 5, 6});
  CHECK(flip_left_right(image).to_vector() == Values{3, 2, 1, 6, 5, 4});
  CHECK(flip_up_down(image).to_vector() == Values{4, 5, 6, 1, 2, 3});
  CHECK(rotate90(image, 1).to_vector() == Values{3, 6, 2, 5, 1, 4});
  CHECK(rotate90(image, 1).shape() == Shape{3, 2, 1});
  CHECK(rotate90(image, 2).to_vector() == Values{6, 5, 4, 3, 2, 1});
  CHECK(rotate90(image, 3).to_vector() == Values{4, 1, 5, 2, 6, 3});
  CHECK(rotate90(image, -1).to_vector() == rotate90(image, 3).to_vector());
  CHECK(rotate90(image, 4).to_vector() == image.to_vector());
  const Tensor colour = test_picture(5, 4);
  CHECK(rotate90(rotate90(colour, 1), 3).to_vector() == colour.to_vector());
  CHECK(rotate90(colour, 2).to_vector() == flip_up_down(flip_left_right(colour)).to_vector());
}

TEST_CASE("bad arguments are named") {
  const Tensor image = zeros({4, 5, 3});
  CHECK_THROWS_WITH(crop(image, 1, 0, 4, 5), "crop: expected a part of [4, 5, 3], got 4 x 5 at (1, 0)");
  CHECK_THROWS_WITH(crop(image, 0, INT64_MAX, 1, 1),
                    "crop: expected a part of [4, 5, 3], got 1 x 1 at (0, 9223372036854775807)");
  CHECK_THROWS_WITH(resize_image(image, 0, 5), "resize_image: expected sides of at least 1, got 0 x 5");
  CHECK_THROWS_WITH(resize_image(zeros({4, 5}), 1, 1),
                    "resize_image: expected a picture [H, W, C] or [N, H, W, C] of f32, got [4, 5] of f32");
  CHECK_THROWS_WITH(
      flip_up_down(zeros({1, 1, 1}, {DType::f64, kCpu})),
      "flip_up_down: expected a picture [H, W, C] or [N, H, W, C] of f32, got [1, 1, 1] of f64");
}
