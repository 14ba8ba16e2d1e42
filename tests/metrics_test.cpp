// training/metrics: against the reference implementations' values on real pairs, and against plain loops.
#include "luxgrad/training/metrics.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>

#include "golden.h"
#include "luxgrad/data/image.h"
#include "luxgrad/tensor/random.h"
#include "luxgrad/tensor/thread_pool.h"
#include "luxgrad/training/protocols.h"

using namespace lux;
using namespace lux::metrics;
using nlohmann::json;

namespace {

Tensor noise(const Shape& shape, uint64_t seed) {
  Tensor picture = empty(shape, {DType::f64, kCpu});
  Generator generator(seed, "metrics_test");
  fill_uniform_(picture, 0, 1, generator);
  return picture;
}

Tensor power(const Tensor& picture, double exponent) {
  Tensor y = picture.clone();
  for (int64_t i = 0; i < y.numel(); ++i) y.data<double>()[i] = std::pow(y.data<double>()[i], exponent);
  return y;
}

// SSIM of one channel, as the formula reads: a window of weights around every pixel that has one.
double plain_ssim(const Tensor& a, const Tensor& b, int64_t window, double sigma, double unbias) {
  const int64_t H = a.size(0), W = a.size(1);
  const auto weight = [&](int64_t k) {
    const double d = static_cast<double>(k - window / 2);
    return sigma > 0 ? std::exp(-d * d / (2 * sigma * sigma)) : 1;
  };
  double total = 0;
  for (int64_t y = 0; y + window <= H; ++y) {
    for (int64_t x = 0; x + window <= W; ++x) {
      double sum = 0, ma = 0, mb = 0, va = 0, vb = 0, ab = 0;
      for (int pass = 0; pass < 2; ++pass) {  // means first, then centred moments
        for (int64_t i = 0; i < window * window; ++i) {
          const double w = weight(i / window) * weight(i % window);
          const int64_t at = (y + i / window) * W + x + i % window;
          const double p = a.data<double>()[at], q = b.data<double>()[at];
          if (pass == 0) {
            sum += w, ma += w * p, mb += w * q;
          } else {
            va += w * (p - ma) * (p - ma), vb += w * (q - mb) * (q - mb), ab += w * (p - ma) * (q - mb);
          }
        }
        if (pass == 0) ma /= sum, mb /= sum;
      }
      va *= unbias / sum, vb *= unbias / sum, ab *= unbias / sum;
      total += (2 * ma * mb + 1e-4) * (2 * ab + 9e-4) / ((ma * ma + mb * mb + 1e-4) * (va + vb + 9e-4));
    }
  }
  return total / static_cast<double>((H - window + 1) * (W - window + 1));
}

// SSIM of a picture as a volume: the plain triple window with repeated borders, one pixel and channel at a
// time.
double plain_volume_ssim(const Tensor& a, const Tensor& b) {
  const int64_t H = a.size(0), W = a.size(1), C = a.size(2), reach = 5;
  const auto at = [&](const Tensor& t, int64_t y, int64_t x, int64_t c) {
    const auto inside = [](int64_t i, int64_t n) { return std::max<int64_t>(0, std::min(i, n - 1)); };
    return t.data<double>()[(inside(y, H) * W + inside(x, W)) * C + inside(c, C)];
  };
  double total = 0;
  for (int64_t i = 0; i < H * W * C; ++i) {
    const int64_t y = i / (W * C), x = i / C % W, c = i % C;
    double sum = 0, ma = 0, mb = 0, aa = 0, bb = 0, ab = 0;
    for (int64_t k = 0; k < 11 * 11 * 11; ++k) {
      const int64_t dy = k / 121 - reach, dx = k / 11 % 11 - reach, dc = k % 11 - reach;
      const double w = std::exp(-static_cast<double>(dy * dy + dx * dx + dc * dc) / (2 * 1.5 * 1.5));
      const double p = at(a, y + dy, x + dx, c + dc), q = at(b, y + dy, x + dx, c + dc);
      sum += w, ma += w * p, mb += w * q, aa += w * p * p, bb += w * q * q, ab += w * p * q;
    }
    ma /= sum, mb /= sum;
    const double va = aa / sum - ma * ma, vb = bb / sum - mb * mb, covariance = ab / sum - ma * mb;
    total += (2 * ma * mb + 1e-4) * (2 * covariance + 9e-4) / ((ma * ma + mb * mb + 1e-4) * (va + vb + 9e-4));
  }
  return total / static_cast<double>(H * W * C);
}

// What the golden file calls our protocols.
const std::map<std::string, std::string> kProtocolOf{
    {"psnr_float", "psnr"},
    {"psnr_uint8", "psnr_uint8"},
    {"ssim_basicsr_valid", "ssim_uint8"},
    {"ssim_gauss_valid_float", "ssim"},
    {"ssim_skimage_gauss_float", "ssim"},
    {"ssim_3d_replicate_uint8", "ssim_volume_uint8"},
    {"ssim_skimage_uniform7_float", "ssim_uniform"},
    {"ssim_skimage_uniform7_uint8", "ssim_uniform_uint8"},
    {"ssim_gray_gauss_float", "ssim_gray"},
    {"ssim_gray_uniform7_float", "ssim_uniform_gray"},
    {"mae_255_float", "mae"},
    {"mae_255_uint8", "mae_uint8"},
    {"psnr_gt_mean", "psnr_gt_mean"},
    {"ssim_gt_mean_gauss_float", "ssim_gt_mean"},
};

}  // namespace

TEST_CASE("every convention gives its published implementation's value on four real pairs") {
  const auto golden = golden_json("metrics.json");
  if (!golden) return;
  const std::string pictures = LUX_SOURCE_DIR "/../shared/data/lol/eval/";
  if (!std::filesystem::exists(pictures)) {
    MESSAGE("skipped: no pictures in " << pictures);
    return;
  }
  for (const json& pair : (*golden)["pairs"]) {
    const std::string name = pair["file"];
    const auto load = [&](const std::string& side) {
      return quantize_8bit(to_tensor(load_image(pictures + side + "/" + name)));
    };
    const Tensor low = load("low"), high = load("high");
    for (const auto& [variant, want] : pair.items()) {
      if (!want.is_object()) continue;
      INFO(name << " " << variant);
      const Tensor out = variant == "low_vs_high" ? low : power(low, 1 / 2.2);
      const Scores got = score(out, high);
      for (const auto& [metric, value] : want.items()) {
        if (!value.is_number() || metric == "gt_mean_factor") continue;
        INFO(metric);
        REQUIRE(kProtocolOf.contains(metric));
        const double expected = value;
        CHECK(std::abs(got.at(kProtocolOf.at(metric)) - expected) <= 1e-9 * std::abs(expected));
      }
    }
  }
}

TEST_CASE("known values") {
  const Tensor a = full({2, 3, 3}, 0.5), b = full({2, 3, 3}, 0.25);
  CHECK(psnr(a, b) == doctest::Approx(20 * std::log10(4)).epsilon(1e-12));
  CHECK(psnr(a, a) == std::numeric_limits<double>::infinity());
  CHECK(mae(a, b) == doctest::Approx(63.75).epsilon(1e-12));
  const Tensor picture = noise({1, 16, 20, 3}, 1);
  CHECK(ssim(picture, picture) == doctest::Approx(1).epsilon(1e-12));
  CHECK(quantize_8bit(from_vector({-1, 0.5 / 255 + 1e-9, 0.5 / 255 - 1e-9, 0.999, 2}, {5})).to_vector() ==
        std::vector<double>{0, 1.0 / 255, 0, 1, 1});
  const Tensor dark = full({1, 1, 3}, 0.25, {DType::f64, kCpu});
  CHECK(match_mean(dark, full({1, 1, 3}, 0.5)).to_vector()[0] == doctest::Approx(0.5).epsilon(1e-12));
  CHECK(match_mean(zeros({1, 1, 3}), dark).to_vector() == std::vector<double>{0, 0, 0});
}

TEST_CASE("ssim equals the plain loop") {
  const Tensor a = noise({17, 14, 1}, 2), b = noise({17, 14, 1}, 3);
  CHECK(ssim(a, b) == doctest::Approx(plain_ssim(a, b, 11, 1.5, 1)).epsilon(1e-12));
  CHECK(ssim(a, b, SsimProtocol::skimage()) ==
        doctest::Approx(plain_ssim(a, b, 7, 0, 49.0 / 48)).epsilon(1e-12));
}

TEST_CASE("ssim of a volume equals the plain loop, also where the window is larger than the picture") {
  for (const Shape& shape : {Shape{13, 6, 3}, Shape{4, 15, 1}, Shape{3, 3, 13}}) {
    const Tensor a = noise(shape, 6), b = noise(shape, 7);
    CHECK(ssim(a, b, SsimProtocol::matlab_volume()) ==
          doctest::Approx(plain_volume_ssim(a, b)).epsilon(1e-11));
  }
}

TEST_CASE("luma is the Y of BT.601 with its foot and head room") {
  const Tensor colours = from_vector({0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 1}, {5, 3});
  const std::vector<double> want{16.0, 235.0, 81.481, 144.553, 40.966};
  const std::vector<double> got = luma(colours).to_vector();
  for (size_t i = 0; i < want.size(); ++i) CHECK(255 * got[i] == doctest::Approx(want[i]).epsilon(1e-12));
  const std::vector<double> grays = gray(colours).to_vector();
  CHECK(grays[2] == 0.299);
  CHECK(grays[4] == 0.114);
}

TEST_CASE("GT mean forgives a factor, each convention with its own means") {
  const Tensor picture = noise({1, 12, 14, 3}, 8), half = full({1, 12, 14, 3}, 0.5, {DType::f64, kCpu});
  Tensor dim = picture.clone();
  for (int64_t i = 0; i < dim.numel(); ++i) dim.data<double>()[i] *= 0.3;
  for (const GtMean form : {GtMean::gray, GtMean::retinexformer})
    CHECK(psnr(match_mean(dim, picture, form), picture) > 250);
  // red 0.2, green 0.4, blue 0.1 made as bright as a gray of 0.5
  Tensor colour = picture.clone();
  for (int64_t i = 0; i < colour.numel(); ++i)
    colour.data<double>()[i] = (const double[]){0.2, 0.4, 0.1}[i % 3];
  const auto red = [&](GtMean form) { return match_mean(colour, half, form).to_vector()[0]; };
  CHECK(red(GtMean::gray) == doctest::Approx(0.2 * 0.5 / 0.306).epsilon(1e-12));
  CHECK(red(GtMean::retinexformer) == doctest::Approx(0.2 * 0.5 / 0.2875).epsilon(1e-12));
  CHECK(red(GtMean::llflow) == doctest::Approx(0.2 * 0.5 / (0.7 / 3)).epsilon(1e-12));
  CHECK(match_mean(picture, colour, GtMean::llflow).numel() == picture.numel());
}

TEST_CASE("metrics are symmetric, and best for equal pictures") {
  const Tensor a = noise({1, 15, 16, 3}, 9), b = noise({1, 15, 16, 3}, 10);
  for (const SsimProtocol& protocol :
       {SsimProtocol{}, SsimProtocol::skimage(), SsimProtocol::matlab_volume()}) {
    CHECK(ssim(a, b, protocol) == doctest::Approx(ssim(b, a, protocol)).epsilon(1e-14));
    CHECK(ssim(a, a, protocol) == doctest::Approx(1).epsilon(1e-12));
    CHECK(ssim(a, b, protocol) < 0.5);
  }
  CHECK(psnr(a, b) == psnr(b, a));
  CHECK(mae(a, b) == mae(b, a));
  for (const auto& [name, value] : score(a, a)) {
    CAPTURE(name);
    if (name.starts_with("psnr") && !name.ends_with("llflow")) CHECK(value > 250);
    if (name.starts_with("ssim") && !name.ends_with("llflow"))
      CHECK(value == doctest::Approx(1).epsilon(1e-9));
    if (name.starts_with("mae")) CHECK(value == 0);
  }
}

TEST_CASE("metrics give the same bits for any number of threads") {
  const Tensor a = noise({1, 90, 70, 3}, 4), b = noise({1, 90, 70, 3}, 5);
  const int before = num_threads();
  set_num_threads(1);
  const double one[] = {psnr(a, b), ssim(a, b)};
  for (const int threads : {2, 3, 5}) {
    set_num_threads(threads);
    CHECK(psnr(a, b) == one[0]);
    CHECK(ssim(a, b) == one[1]);
  }
  set_num_threads(before);
}

TEST_CASE("what metrics refuse") {
  const Tensor a = zeros({1, 8, 8, 3}), b = zeros({1, 8, 9, 3});
  CHECK_THROWS_WITH_AS(psnr(a, b),
                       "psnr: expected two pictures of one shape, got [1, 8, 8, 3] and [1, 8, 9, 3]", Error);
  CHECK_THROWS_WITH_AS(
      ssim(a, a), "ssim: expected a picture of at least 11 pixels on each side, got [1, 8, 8, 3]", Error);
  CHECK_THROWS_WITH_AS(ssim(zeros({2, 8, 8, 3}), zeros({2, 8, 8, 3})),
                       "ssim: expected one picture [H, W, C] or [1, H, W, C], got [2, 8, 8, 3]", Error);
  CHECK_THROWS_WITH_AS(gray(zeros({4, 4, 1})), "gray: expected [..., 3], got [4, 4, 1]", Error);
  CHECK_THROWS_WITH_AS(luma(zeros({4, 4, 1})), "luma: expected [..., 3], got [4, 4, 1]", Error);
}
