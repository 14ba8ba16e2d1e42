// losses/: values against direct sums, and finite gradients where pictures are of one colour.
#include <doctest/doctest.h>

#include <cmath>

#include "luxgrad/autograd/engine.h"
#include "luxgrad/losses/pixel.h"
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

}  // namespace

TEST_CASE("pixel losses are the means they say they are") {
  const Tensor x = from_vector({0.5, 0.25, 1, 0}, {1, 2, 2, 1}, {DType::f64, kCpu});
  const Tensor y = from_vector({0.25, 0.25, 0, 0.5}, {1, 2, 2, 1}, {DType::f64, kCpu});
  CHECK(l1(x, y).item() == doctest::Approx((0.25 + 0 + 1 + 0.5) / 4).epsilon(1e-15));
  CHECK(mse(x, y).item() == doctest::Approx((0.0625 + 0 + 1 + 0.25) / 4).epsilon(1e-15));
  const double root = (std::sqrt(0.0625 + 1e-6) + 1e-3 + std::sqrt(1 + 1e-6) + std::sqrt(0.25 + 1e-6)) / 4;
  CHECK(charbonnier(x, y).item() == doctest::Approx(root).epsilon(1e-14));
  CHECK_THROWS_WITH_AS(l1(x, zeros({1, 2, 1, 1})),
                       "l1: expected two equal shapes, got [1, 2, 2, 1] and [1, 2, 1, 1]", Error);
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
