// Elementary functions for kernels. The float versions are own polynomials: branch-free, so loops vectorise,
// and the same bits with every C library. The double versions are the library's.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "luxgrad/tensor/dtype.h"

namespace lux::math {

/// e^x, relative error below 2e-7; saturates outside [-87, 88.3].
LUX_HD inline float exp(float x) {
  constexpr float kLog2e = 1.44269504f, kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  constexpr float kRound = 12582912.0f;  // 1.5·2^23: adding it rounds to an integer in the low bits
  x = x < -87.0f ? -87.0f : (x > 88.3f ? 88.3f : x);
  const float shifted = x * kLog2e + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * kLn2High) - n * kLn2Low;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const int32_t exponent = std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(kRound);
  return p * std::bit_cast<float>((exponent + 127) << 23);
}
LUX_HD inline double exp(double x) { return std::exp(x); }

/// tanh(x), relative error below 3e-7.
LUX_HD inline float tanh(float x) {
  const float magnitude = std::fabs(x), z = x * x;
  float p = -5.70498872745e-3f;
  p = p * z + 2.06390887954e-2f;
  p = p * z - 5.37397155531e-2f;
  p = p * z + 1.33314422036e-1f;
  p = p * z - 3.33332819422e-1f;
  const float small = p * z * x + x;
  const float large = 1.0f - 2.0f / (exp(2.0f * magnitude) + 1.0f);
  return magnitude < 0.625f ? small : (x < 0 ? -large : large);
}
LUX_HD inline double tanh(double x) { return std::tanh(x); }

/// Logistic function 1 / (1 + e^-x).
template <class A>
LUX_HD A sigmoid(A x) {
  return A(1) / (A(1) + exp(-x));
}

}  // namespace lux::math
