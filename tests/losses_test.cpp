// losses/: values against direct sums, and finite gradients where pictures are of one colour.
#include <doctest/doctest.h>

#include <cmath>
#include <utility>

#include "luxgrad/autograd/engine.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/hsv.h"
#include "luxgrad/kernels/reductions.h"
#include "luxgrad/losses/pixel.h"
#include "luxgrad/losses/reference_guided.h"
#include "luxgrad/losses/ssim.h"
#include "luxgrad/losses/zero_dce.h"
#include "luxgrad/tensor/random.h"
#include "luxgrad/tensor/raw.h"

using namespace lux;

namespace {

Tensor random_picture(const Shape& shape, const char* purpose, DType dtype = DType::f64) {
  Tensor picture = empty(shape, {dtype, kCpu});
  Generator generator(7, purpose);
  fill_uniform_(picture, 0, 1, generator);
  return picture;
}

// SSIM straight from its definition: weighted means, variances and covariance of every window.
double direct_ssim(const Tensor& x, const Tensor& y) {
  const int64_t N = x.size(0), H = x.size(1), W = x.size(2), C = x.size(3);
  double window[11][11], total = 0, sum = 0;
  for (int i = 0; i < 11; ++i) {
    for (int j = 0; j < 11; ++j)
      total += window[i][j] = std::exp(-((i - 5) * (i - 5) + (j - 5) * (j - 5)) / (2 * 1.5 * 1.5));
  }
  int64_t count = 0;
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t p = 0; p + 11 <= H; ++p) {
      for (int64_t q = 0; q + 11 <= W; ++q) {
        for (int64_t c = 0; c < C; ++c, ++count) {
          double mx = 0, my = 0, vx = 0, vy = 0, vxy = 0;
          const auto each = [&](const auto& visit) {
            for (int64_t i = 0; i < 11; ++i) {
              for (int64_t j = 0; j < 11; ++j) {
                const int64_t at = ((n * H + p + i) * W + q + j) * C + c;
                visit(window[i][j] / total, x.data<double>()[at], y.data<double>()[at]);
              }
            }
          };
          each([&](double w, double a, double b) { mx += w * a, my += w * b; });
          each([&](double w, double a, double b) {
            vx += w * (a - mx) * (a - mx), vy += w * (b - my) * (b - my), vxy += w * (a - mx) * (b - my);
          });
          sum += (2 * mx * my + 1e-4) * (2 * vxy + 9e-4) / ((mx * mx + my * my + 1e-4) * (vx + vy + 9e-4));
        }
      }
    }
  }
  return sum / static_cast<double>(count);
}

// The equations of arXiv:2001.06826 as printed, as loops over f64 tensors [N, H, W, C].
struct Reader {
  const Tensor& x;
  double operator()(int64_t n, int64_t h, int64_t w, int64_t c) const {
    return x.data<double>()[((n * x.size(1) + h) * x.size(2) + w) * x.size(3) + c];
  }
  // The mean of the square of `side` pixels number (row, column), over all channels.
  double mean(int64_t n, int64_t row, int64_t column, int64_t side) const {
    double sum = 0;
    for (int64_t h = row * side; h < (row + 1) * side; ++h) {
      for (int64_t w = column * side; w < (column + 1) * side; ++w) {
        for (int64_t c = 0; c < x.size(3); ++c) sum += (*this)(n, h, w, c);
      }
    }
    return sum / static_cast<double>(side * side * x.size(3));
  }
};

// Eq. (4): 1/K sum over regions i, sum over the up to four neighbours j, (|Y_i - Y_j| - |I_i - I_j|)².
double spatial_consistency_as_printed(const Tensor& enhanced, const Tensor& low) {
  const Reader Y{enhanced}, I{low};
  const int64_t rows = low.size(1) / 4, columns = low.size(2) / 4;
  double sum = 0;
  for (int64_t n = 0; n < low.size(0); ++n) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t q = 0; q < columns; ++q) {
        for (const auto& [down, right] : {std::pair{-1, 0}, {1, 0}, {0, -1}, {0, 1}}) {
          const int64_t s = r + down, t = q + right;
          if (s < 0 || s >= rows || t < 0 || t >= columns) continue;
          const double contrast = std::abs(Y.mean(n, r, q, 4) - Y.mean(n, s, t, 4)) -
                                  std::abs(I.mean(n, r, q, 4) - I.mean(n, s, t, 4));
          sum += contrast * contrast;
        }
      }
    }
  }
  return sum / static_cast<double>(low.size(0) * rows * columns);
}

// Eq. (5): 1/M sum over patches k of |Y_k - E|.
double exposure_as_printed(const Tensor& enhanced, int64_t patch, double level) {
  const int64_t N = enhanced.size(0), rows = enhanced.size(1) / patch, columns = enhanced.size(2) / patch;
  double sum = 0;
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t q = 0; q < columns; ++q) sum += std::abs(Reader{enhanced}.mean(n, r, q, patch) - level);
    }
  }
  return sum / static_cast<double>(N * rows * columns);
}

// Eq. (6): sum over the pairs (R, G), (R, B), (G, B) of (J_p - J_q)², averaged over the pictures.
double color_constancy_as_printed(const Tensor& enhanced) {
  const int64_t N = enhanced.size(0), H = enhanced.size(1), W = enhanced.size(2);
  double sum = 0;
  for (int64_t n = 0; n < N; ++n) {
    double J[3] = {};
    for (int64_t h = 0; h < H; ++h) {
      for (int64_t w = 0; w < W; ++w) {
        for (int64_t c = 0; c < 3; ++c) J[c] += Reader{enhanced}(n, h, w, c) / static_cast<double>(H * W);
      }
    }
    for (const auto& [p, q] : {std::pair{0, 1}, {0, 2}, {1, 2}}) sum += (J[p] - J[q]) * (J[p] - J[q]);
  }
  return sum / static_cast<double>(N);
}

// Eq. (7): 1/N sum over iterations n and channels c of (|∇x A| + |∇y A|)², averaged over pictures and pixels;
// the gradients are the differences to the right and downwards, 0 at the border.
double total_variation_as_printed(const Tensor& curves) {
  const int64_t N = curves.size(0), H = curves.size(1), W = curves.size(2), iterations = curves.size(3) / 3;
  const Reader A{curves};
  double sum = 0;
  for (int64_t i = 0; i < iterations; ++i) {
    for (int64_t c = 3 * i; c < 3 * i + 3; ++c) {
      for (int64_t n = 0; n < N; ++n) {
        for (int64_t h = 0; h < H; ++h) {
          for (int64_t w = 0; w < W; ++w) {
            const double dx = w + 1 < W ? A(n, h, w + 1, c) - A(n, h, w, c) : 0;
            const double dy = h + 1 < H ? A(n, h + 1, w, c) - A(n, h, w, c) : 0;
            sum += std::pow(std::abs(dx) + std::abs(dy), 2) / static_cast<double>(N * H * W);
          }
        }
      }
    }
  }
  return sum / static_cast<double>(iterations);
}

}  // namespace

TEST_CASE("pixel losses are the means they say they are") {
  const Tensor x = from_vector({0.5, 0.25, 1, 0}, {1, 2, 2, 1}, {DType::f64, kCpu});
  const Tensor y = from_vector({0.25, 0.25, 0, 0.5}, {1, 2, 2, 1}, {DType::f64, kCpu});
  CHECK(l1_loss(x, y).item() == doctest::Approx((0.25 + 0 + 1 + 0.5) / 4).epsilon(1e-15));
  CHECK(mse_loss(x, y).item() == doctest::Approx((0.0625 + 0 + 1 + 0.25) / 4).epsilon(1e-15));
  const double root = (std::sqrt(0.0625 + 1e-6) + 1e-3 + std::sqrt(1 + 1e-6) + std::sqrt(0.25 + 1e-6)) / 4;
  CHECK(charbonnier(x, y).item() == doctest::Approx(root).epsilon(1e-14));
  CHECK_THROWS_WITH_AS(l1_loss(x, zeros({1, 2, 1, 1})),
                       "l1_loss: expected two equal shapes, got [1, 2, 2, 1] and [1, 2, 1, 1]", Error);
}

TEST_CASE("ssim agrees with its definition") {
  const Tensor x = random_picture({2, 13, 16, 3}, "x"), y = random_picture({2, 13, 16, 3}, "y");
  CHECK(ssim(x, y).item() == doctest::Approx(direct_ssim(x, y)).epsilon(1e-12));
  CHECK(ssim(x, x).item() == doctest::Approx(1).epsilon(1e-14));
  CHECK_THROWS_WITH_AS(ssim(zeros({1, 10, 16, 3}), zeros({1, 10, 16, 3})),
                       "ssim: expected two pictures of one shape with sides of at least 11, got [1, 10, 16, "
                       "3] and [1, 10, 16, 3]",
                       Error);
}

TEST_CASE("zero_dce_loss weighs its terms as published") {
  const Tensor low = random_picture({1, 32, 48, 3}, "low"), enhanced = random_picture({1, 32, 48, 3}, "high");
  const Tensor curves = random_picture({1, 32, 48, 24}, "curves");
  const auto weighs = [&](ZeroDceMode mode, bool shared, double tv, double spa, double col, double exp) {
    const ZeroDceLoss loss = zero_dce_loss(low, enhanced, curves, zero_dce_loss_options(mode, shared));
    const double total =
        tv * loss.tv.item() + spa * loss.spa.item() + col * loss.col.item() + exp * loss.exp.item();
    CHECK(loss.total.item() == doctest::Approx(total).epsilon(1e-14));
  };
  weighs(ZeroDceMode::official, false, 200, 1, 5, 10);
  weighs(ZeroDceMode::official, true, 1600, 1, 5, 10);
  weighs(ZeroDceMode::keras, false, 200, 1, 5, 10);
  weighs(ZeroDceMode::paper, false, 20, 1, 0.5, 1);
}

TEST_CASE("the paper's losses are its equations") {
  const Tensor low = random_picture({2, 18, 23, 3}, "low"), enhanced = random_picture({2, 18, 23, 3}, "high");
  const Tensor curves = random_picture({2, 18, 23, 24}, "curves");
  ZeroDceLossOptions options = zero_dce_loss_options(ZeroDceMode::paper, false);
  options.exp_patch = 5;
  const ZeroDceLoss loss = zero_dce_loss(low, enhanced, curves, options);
  const auto equal = [](const Tensor& term, double printed) {
    CHECK(printed > 1e-4);
    CHECK(term.item() == doctest::Approx(printed).epsilon(1e-12).scale(0));
  };
  equal(loss.spa, spatial_consistency_as_printed(enhanced, low));
  equal(loss.exp, exposure_as_printed(enhanced, 5, 0.6));
  equal(loss.col, color_constancy_as_printed(enhanced));
  equal(loss.tv, total_variation_as_printed(curves));
}

TEST_CASE("black, gray and white pictures give finite losses and gradients") {
  for (const ZeroDceMode mode : {ZeroDceMode::official, ZeroDceMode::keras, ZeroDceMode::paper}) {
    for (const DType dtype : {DType::f32, DType::f64}) {
      for (const double level : {0.0, 0.5, 0.6, 1.0}) {
        CAPTURE(static_cast<int>(mode));
        CAPTURE(level);
        const TensorOptions options{dtype, kCpu};
        Tensor low = full({2, 32, 32, 3}, level, options).requires_grad_();
        Tensor enhanced = full({2, 32, 32, 3}, level, options).requires_grad_();
        Tensor curves = zeros({2, 32, 32, 24}, options).requires_grad_();
        const ZeroDceLoss loss = zero_dce_loss(low, enhanced, curves, zero_dce_loss_options(mode, false));
        for (const Tensor& term : {loss.total, loss.tv, loss.spa, loss.col, loss.exp})
          CHECK(std::isfinite(term.item()));
        backward(loss.total);
        for (const Tensor& leaf : {low, enhanced, curves}) {
          REQUIRE(leaf.grad().defined());
          CHECK(first_non_finite(leaf.grad()) == -1);
        }
      }
    }
  }
}

TEST_CASE("cosine distance and hinge by hand") {
  const TensorOptions f64{DType::f64, kCpu};
  const Tensor x = from_vector({3, 0, 4, 1}, {1, 2, 1, 2}, f64),
               y = from_vector({1, 2, 0, 2}, {1, 2, 1, 2}, f64);
  // channels (3, 4) and (1, 0); (0, 1) and (2, 2)
  CHECK(cosine_distance(x, y).item() == doctest::Approx(1 - (3.0 / 5 + std::sqrt(0.5)) / 2).epsilon(1e-14));
  CHECK(cosine_distance(x, zeros({1, 2, 1, 2}, f64)).item() == 1);
  Tensor near = from_vector({0.5, 0.1}, {2}, f64).requires_grad_();
  const Tensor hinge = triplet_hinge(near, from_vector({0.4, 0.4}, {2}, f64), 0.08);
  CHECK(hinge.to_vector()[0] == doctest::Approx(0.18).epsilon(1e-14));
  CHECK(hinge.to_vector()[1] == 0);
  backward(sum(hinge));
  CHECK(near.grad().to_vector() == std::vector<double>{1, 0});
}

TEST_CASE("certainty, right or wrong, gives a finite cross entropy, and logits a slope too") {
  const auto entropy = [](auto loss, double p, double label) {
    const Tensor x = full({1, 2, 2, 1}, p).requires_grad_();
    const Tensor l = loss(x, full(x.shape(), label));
    backward(l);
    return std::pair(l.item(), 4 * x.grad().to_vector()[0]);
  };
  for (const double label : {0.0, 1.0}) {
    for (const double p : {0.0, 1e-40, 1.0}) {
      const auto [loss, slope] = entropy(binary_cross_entropy, p, label);
      CHECK(loss == doctest::Approx(std::abs(p - label) < 0.5 ? 1e-7 : -std::log(1e-7)));
      CHECK(std::isfinite(slope));
    }
    for (const double logit : {-1000.0, 1000.0}) {
      const auto [loss, slope] = entropy(binary_cross_entropy_with_logits, logit, label);
      const bool right = (logit > 0) == (label > 0);
      CHECK(loss == doctest::Approx(right ? 0 : 1000));
      CHECK(slope == (right ? 0 : 1 - 2 * label));
    }
  }
}

TEST_CASE("luminance is normalised over the batch, or picture by picture") {
  const TensorOptions f64{DType::f64, kCpu};
  const Tensor picture = full({2, 4, 4, 3}, 0.5, f64);
  // Four features, two of them luminance.
  const Tensor low = from_vector({1, 3, 0, 0, 5, 9, 0, 0}, {2, 4}, f64);
  const Tensor enhanced = from_vector({2, 2.5, 0, 0, 7, 6, 0, 0}, {2, 4}, f64);
  const auto distance = [&](bool by_picture) {
    return reference_guided_loss({picture, picture, picture, low, low, enhanced},
                                 {.luminance = 2, .instance_norm = by_picture})
        .distance_to_low.item();
  };
  const auto square_of = [](double x) { return x * x; };
  // Two numbers a and b by themselves are -d and d, d = (b - a) / 2 / sqrt((b - a)^2 / 4 + 1e-5).
  const auto d = [](double half) { return half / std::sqrt(half * half + 1e-5); };
  CHECK(distance(true) ==
        doctest::Approx((square_of(d(1) - d(0.25)) + square_of(d(2) - d(-0.5))) / 2).epsilon(1e-12));
  // All four: means 4.5 and 4.375, variances 8.75 and 4.671875.
  double total = 0;
  const double before[] = {1, 3, 5, 9}, after[] = {2, 2.5, 7, 6};
  for (int i = 0; i < 4; ++i)
    total += square_of((before[i] - 4.5) / std::sqrt(8.75) - (after[i] - 4.375) / std::sqrt(4.671875));
  CHECK(distance(false) == doctest::Approx(total / 4).epsilon(1e-12));
}

TEST_CASE("features without deviation and colours without hue leave the reference-guided loss finite") {
  for (const double level : {0.0, 1e-30, 1e-9, 0.5}) {
    CAPTURE(level);
    Tensor low = full({2, 4, 4, 3}, level), enhanced = full({2, 4, 4, 3}, level);
    enhanced.data<float>()[1] *= 1.5f;  // hardly a colour
    low.requires_grad_();
    enhanced.requires_grad_();
    Tensor features = full({2, 100}, 0.25).requires_grad_();
    const ReferenceGuidedLoss loss =
        reference_guided_loss({low, full({2, 4, 4, 3}, 0.5), enhanced, features, features, features});
    CHECK(std::isfinite(loss.total.item()));
    CHECK(loss.distance_to_low.item() == 0);
    backward(loss.total);
    for (const Tensor& leaf : {low, enhanced, features}) CHECK(first_non_finite(leaf.grad()) == -1);
  }
}

TEST_CASE("hue and saturation of nearly black and nearly gray pixels have finite slopes") {
  Tensor x = from_vector({0, 2e-38, 3e-38, 1e-30, 0, 3e-30, 0.5, 0.5, 0.5 + 1e-7}, {1, 1, 3, 3});
  x.requires_grad_();
  backward(1e4 * sum(rgb_to_hsv(x)));
  CHECK(first_non_finite(x.grad()) == -1);
}
