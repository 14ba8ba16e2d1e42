// Element types. Storage and arithmetic are apart: bf16 and f16 are stored, float is computed with
// (`Arith<T>`).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "luxgrad/tensor/error.h"

#ifdef __CUDACC__
#define LUX_HD __host__ __device__
#else
#define LUX_HD
#endif

namespace lux {

/// u8 and i64 occur in files only; operators take the four floating types.
enum class DType : uint8_t { f32, f64, bf16, f16, u8, i64 };

size_t size_of(DType dtype);
const char* name_of(DType dtype);
inline void append(std::string& text, DType dtype) { text += name_of(dtype); }

/// bfloat16: the upper half of a float, rounded to nearest even.
struct bf16 {
  uint16_t bits;
  bf16() = default;
  LUX_HD bf16(float value) {  // NOLINT(google-explicit-constructor): kernels store with `=`
    const uint32_t u = std::bit_cast<uint32_t>(value);
    const bool nan = (u & 0x7fffffffu) > 0x7f800000u;
    bits = static_cast<uint16_t>(nan ? (u >> 16) | 0x40u : (u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
  LUX_HD operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }  // NOLINT
};

/// IEEE half precision, rounded to nearest even.
struct f16 {
  uint16_t bits;
  f16() = default;
  LUX_HD f16(float value);        // NOLINT(google-explicit-constructor)
  LUX_HD operator float() const;  // NOLINT(google-explicit-constructor)
};

LUX_HD inline f16::f16(float value) {
  const uint32_t u = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (u >> 16) & 0x8000u, magnitude = u & 0x7fffffffu;
  uint32_t half;
  if (magnitude >= 0x47800000u) {  // at least 65536: infinity, or NaN kept as NaN
    half = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
  } else if (magnitude < 0x38800000u) {  // below 2^-14: let the float adder round to a multiple of 2^-24
    half = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
  } else {
    half = (magnitude + 0xc8000fffu + ((magnitude >> 13) & 1u)) >> 13;
  }
  bits = static_cast<uint16_t>(sign | half);
}

LUX_HD inline f16::operator float() const {
  const uint32_t sign = (bits & 0x8000u) << 16, magnitude = bits & 0x7fffu;
  if (magnitude >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13));
  if (magnitude >= 0x400u) return std::bit_cast<float>(sign | ((magnitude + 0x1c000u) << 13));
  const float tiny = static_cast<float>(magnitude) * 0x1p-24f;  // subnormal
  return sign != 0 ? -tiny : tiny;
}

template <class T>
struct ArithOf {
  using type = float;
};
template <>
struct ArithOf<double> {
  using type = double;
};
/// The type that sums and products of stored `T` are computed in.
template <class T>
using Arith = typename ArithOf<T>::type;

/// The dtype of `Arith<T>`, where T stores `dtype`.
inline DType arith_dtype(DType dtype) { return dtype == DType::f64 ? DType::f64 : DType::f32; }

template <class T>
inline constexpr DType kDType = DType::f32;
template <>
inline constexpr DType kDType<double> = DType::f64;
template <>
inline constexpr DType kDType<bf16> = DType::bf16;
template <>
inline constexpr DType kDType<f16> = DType::f16;
template <>
inline constexpr DType kDType<uint8_t> = DType::u8;
template <>
inline constexpr DType kDType<int64_t> = DType::i64;

/// Calls `f` with a value of the C++ type that stores `dtype`: `dispatch(d, [&](auto t) { using T =
/// decltype(t); … })`. Throws Error for u8 and i64: operators compute with floating types.
template <class F>
decltype(auto) dispatch(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f(float{});
    case DType::f64:
      return f(double{});
    case DType::bf16:
      return f(bf16{});
    case DType::f16:
      return f(f16{});
    case DType::u8:
    case DType::i64:
      break;
  }
  fail("dispatch: expected a floating dtype, got ", dtype);
}

}  // namespace lux
