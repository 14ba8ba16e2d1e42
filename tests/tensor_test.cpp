// tensor/: shapes, tensors, dtypes, raw routines, elementary functions, random numbers.
#include "luxgrad/tensor/tensor.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "error_of.h"
#include "luxgrad/kernels/reshape.h"
#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/math.h"
#include "luxgrad/tensor/random.h"
#include "luxgrad/tensor/raw.h"
#include "same_bits.h"

using namespace lux;

namespace {

constexpr TensorOptions kF64{DType::f64, kCpu};
constexpr double kInf = std::numeric_limits<double>::infinity(),
                 kNan = std::numeric_limits<double>::quiet_NaN();

}  // namespace

TEST_CASE("shape") {
  const Shape s{2, 3, 4};
  CHECK(s.rank() == 3);
  CHECK(s.numel() == 24);
  CHECK(s[0] == 2);
  CHECK(s[-1] == 4);
  CHECK(s.with(-2, 7) == Shape{2, 7, 4});
  CHECK(s != Shape{2, 3, 4, 1});
  CHECK(Shape{}.rank() == 0);
  CHECK(Shape{}.numel() == 1);
  CHECK(Shape{5, 0, 3}.numel() == 0);
  CHECK(cat(s, Shape{}) == "[2, 3, 4][]");
  CHECK(error_of([] { Shape{2, -1}; }) == "shape: expected sizes of at least 0, got -1");
  CHECK(error_of([] { Shape{1, 1, 1, 1, 1, 1, 1, 1, 1}; }) == "shape: expected at most 8 dimensions, got 9");
  CHECK(error_of([] {
          Shape{int64_t{1} << 32, int64_t{1} << 32};
        }) == "shape: more elements than a 64-bit count holds");
}

TEST_CASE("a tensor is a handle; clone, to and detach") {
  const Tensor a = from_vector({1, 2, 3, 4, 5, 6}, {2, 3});
  // NOLINTNEXTLINE(performance-unnecessary-copy-initialization): the copy is what is tested
  const Tensor same = a, copy = a.clone(), row = a.with_shape({6});
  fill_(a, 7);
  CHECK(same.to_vector() == std::vector<double>(6, 7));
  CHECK(row.to_vector() == std::vector<double>(6, 7));
  CHECK(copy.to_vector() == std::vector<double>{1, 2, 3, 4, 5, 6});
  CHECK(a.to(DType::f32).raw() == a.raw());
  CHECK(a.to(DType::f64).dtype() == DType::f64);
  CHECK(a.detach().raw() == a.raw());
  CHECK_FALSE(Tensor().defined());
}

TEST_CASE("a tensor says what is wrong") {
  const Tensor a = zeros({2, 3});
  CHECK(error_of([&] { (void)a.item(); }) == "item: expected one element, got shape [2, 3]");
  CHECK(error_of([&] { (void)a.data<double>(); }) == "data: expected f64, got f32");
  CHECK(error_of([&] { (void)a.with_shape({5}); }) ==
        "with_shape: expected 6 elements as in [2, 3], got [5]");
  CHECK(error_of([&] { from_vector({1, 2}, {3}); }) == "from_vector: expected 3 values for shape [3], got 2");
  CHECK(error_of([&] { a.set_grad(a); }) == "set_grad: the tensor does not require gradients");
  CHECK(error_of([&] { copy_(a, zeros({5})); }) == "copy_: expected [2, 3], got [5]");
  CHECK(error_of([&] { add_(a, zeros({2, 3}, kF64)); }) == "add_: expected f32[2, 3], got f64[2, 3]");
  CHECK(error_of([] { (void)Tensor().raw(); }) == "tensor: expected a tensor, got an undefined one");
  CHECK(error_of([] { (void)Tensor().options(); }) == "tensor: expected a tensor, got an undefined one");
  const std::string absence = cuda::absence();
  CHECK(error_of([] {
          empty({1}, {DType::f32, {Device::Type::cuda, 0}});
        }) == (absence.empty() ? "no error" : "cuda: " + absence));
  CHECK(error_of([] { (void)Tensor().with_shape({1}); }) ==
        "tensor: expected a tensor, got an undefined one");
  CHECK(error_of([] { (void)reshape(Tensor(), {1}); }) == "tensor: expected a tensor, got an undefined one");
  CHECK(error_of([] { (void)Tensor(nullptr, {1}, DType::f32); }) ==
        "tensor: expected a tensor, got an undefined one");
  CHECK(error_of([&] { (void)Tensor(a.storage(), {int64_t{1} << 62}, DType::f32); }) ==
        "tensor: shape [4611686018427387904] of f32 has too many bytes");
  CHECK(error_of([&] { (void)Tensor(a.storage(), {7}, DType::f32); }) ==
        "tensor: shape [7] of f32 needs 28 bytes from 0 on, storage has 24");
  CHECK(error_of([&] { (void)Tensor(a.storage(), {5}, DType::f32, 8); }) ==
        "tensor: shape [5] of f32 needs 20 bytes from 8 on, storage has 24");
  CHECK(error_of([&] { (void)Tensor(a.storage(), {1}, DType::f32, -4); }) ==
        "tensor: shape [1] of f32 needs 4 bytes from -4 on, storage has 24");
  CHECK(error_of([] { empty({int64_t{1} << 62}, kF64); }).find("too many bytes") != std::string::npos);
}

TEST_CASE("requires_grad, grad and set_grad belong to every handle of a leaf") {
  Tensor a = zeros({2});
  CHECK_FALSE(a.requires_grad());
  a.requires_grad_();
  const Tensor handle = a;
  handle.set_grad(full({2}, 3));
  CHECK(a.grad().to_vector() == std::vector<double>{3, 3});
  CHECK_FALSE(a.detach().requires_grad());
  a.requires_grad_(false);
  CHECK_FALSE(handle.requires_grad());
  a.set_grad({});
  CHECK_FALSE(handle.grad().defined());
}

TEST_CASE("a tensor may begin anywhere in its storage") {
  const Tensor all = from_vector({1, 2, 3, 4, 5, 6}, {6});
  const Tensor part(all.storage(), {2, 2}, DType::f32, 8);
  CHECK(part.to_vector() == std::vector<double>{3, 4, 5, 6});
  CHECK(part.with_shape({4}).to_vector() == part.detach().to_vector());
  CHECK(part.clone().offset() == 0);
  CHECK(same_bits(part.clone(), part));
  copy_(part, full({2, 2}, 9));
  CHECK(all.to_vector() == std::vector<double>{1, 2, 9, 9, 9, 9});
}

TEST_CASE("in-place routines write, raise the version, and keep to their bounds") {
  const Tensor a = from_vector({1, -2, 3}, {3});
  const uint64_t version = a.storage()->version();
  add_(a, from_vector({10, 10, 10}, {3}));
  scale_(a, 2);
  CHECK(a.to_vector() == std::vector<double>{22, 16, 26});
  CHECK(a.storage()->version() == version + 2);
  CHECK(first_non_finite(a) == -1);
  CHECK(first_non_finite(from_vector({1, kInf, kNan}, {3})) == 1);
  CHECK(first_non_finite(from_vector({1, 2, kNan}, {3}, {DType::bf16, kCpu})) == 2);
  CHECK(l2_norm(from_vector({3, 4}, {2}, {DType::f16, kCpu})) == 5);
  CHECK(l2_norm(zeros({0})) == 0);
  const Tensor sums = zeros({3}, {DType::f64, kCpu});
  square_sum_(sums, 1, from_vector({3, 4}, {2}));
  CHECK(sums.to_vector() == std::vector<double>{0, 25, 0});
  CHECK_THROWS_WITH_AS(
      square_sum_(sums, 3, sums),
      "square_sum_: expected f64 sums on the tensor's device and a place among 3, got f64[3] and 3", Error);
}

TEST_CASE("bf16 and f16: every bit pattern survives the way through float and double") {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    CAPTURE(name_of(dtype));
    const Tensor all = empty({65536}, {dtype, kCpu});
    auto* const bits = static_cast<uint16_t*>(all.raw());
    for (int i = 0; i < 65536; ++i) bits[i] = static_cast<uint16_t>(i);
    int wrong = 0;
    for (const DType wide : {DType::f32, DType::f64}) {
      const Tensor back = all.to(wide).to(dtype);
      const auto* const after = static_cast<const uint16_t*>(back.raw());
      const uint16_t infinity = dtype == DType::bf16 ? 0x7f80 : 0x7c00;
      const uint16_t smallest_normal = dtype == DType::bf16 ? 0x0080 : 0;  // denormal floats are flushed
      for (int i = 0; i < 65536; ++i) {
        const int magnitude = i & 0x7fff;
        if (magnitude > infinity)
          wrong += (after[i] & 0x7fff) <= infinity;  // still NaN
        else if (magnitude >= smallest_normal)
          wrong += after[i] != i;
        else
          wrong += after[i] != i && (after[i] & 0x7fff) != 0;
      }
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("f16 values are what IEEE 754 says") {
  int wrong = 0;
  for (int i = 0; i < 0x7c00; ++i) {
    f16 h;
    h.bits = static_cast<uint16_t>(i);
    const int exponent = i >> 10, fraction = i & 0x3ff;
    const double expected =
        exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
    wrong += static_cast<double>(static_cast<float>(h)) != expected;
    h.bits = static_cast<uint16_t>(i | 0x8000);
    wrong += static_cast<double>(static_cast<float>(h)) != -expected;
  }
  CHECK(wrong == 0);
}

// Between every two neighbours: the midpoint goes to the even one, everything else to the nearer one, once,
// even from a double that a float cannot tell from the midpoint.
template <class Half>
int wrongly_rounded(int infinity, int first) {
  const DType dtype = kDType<Half>;
  std::vector<double> values;
  std::vector<int> expected;
  for (int i = first; i + 1 < infinity; ++i) {
    Half low, high;
    low.bits = static_cast<uint16_t>(i);
    high.bits = static_cast<uint16_t>(i + 1);
    const double a = static_cast<float>(low), b = static_cast<float>(high), middle = (a + b) / 2;
    for (const double sign : {1.0, -1.0}) {
      const int s = sign < 0 ? 0x8000 : 0;
      values.insert(values.end(),
                    {sign * middle, sign * std::nextafter(middle, b), sign * std::nextafter(middle, a)});
      expected.insert(expected.end(), {s | (i % 2 == 0 ? i : i + 1), s | (i + 1), s | i});
    }
  }
  const Tensor rounded = from_vector(values, {static_cast<int64_t>(values.size())}, kF64).to(dtype);
  int wrong = 0;
  for (size_t k = 0; k < values.size(); ++k)
    wrong += static_cast<const uint16_t*>(rounded.raw())[k] != expected[k];
  return wrong;
}

TEST_CASE("bf16 and f16 round once, to nearest even") {
  CHECK(wrongly_rounded<bf16>(0x7f80, 0x0080) == 0);
  CHECK(wrongly_rounded<f16>(0x7c00, 0) == 0);
  const Tensor big = from_vector({65519.9, 65520, -1e300, kNan}, {4}, kF64);
  const std::vector<double> half = big.to(DType::f16).to_vector();
  CHECK(half[0] == 65504);
  CHECK(half[1] == kInf);
  CHECK(half[2] == -kInf);
  CHECK(std::isnan(half[3]));
  CHECK(big.to(DType::bf16).to_vector()[2] == -kInf);
}

TEST_CASE("u8 and i64 round to nearest and saturate") {
  const Tensor values = from_vector({-3, 0.4, 0.6, 254.7, 300, kNan, kInf}, {7}, kF64);
  CHECK(values.to(DType::u8).to_vector() == std::vector<double>{0, 0, 1, 255, 255, 0, 255});
  const Tensor big = from_vector({-1e30, 2.6, 1e30}, {3}, kF64).to(DType::i64);
  CHECK(big.data<int64_t>()[0] == std::numeric_limits<int64_t>::min());
  CHECK(big.data<int64_t>()[1] == 3);
  CHECK(big.data<int64_t>()[2] == std::numeric_limits<int64_t>::max());
  const Tensor whole = from_vector({-5, 7, 400}, {3}, {DType::i64, kCpu});
  CHECK(whole.to(DType::u8).to_vector() == std::vector<double>{0, 7, 255});
  CHECK(error_of([&] { scale_(whole, 2); }) == "dispatch: expected a floating dtype, got i64");
}

TEST_CASE("float exp and tanh are as accurate as they claim") {
  double worst_exp = 0, worst_tanh = 0;
  for (int i = -870000; i <= 880000; i += 7) {
    const float x = static_cast<float>(i) * 1e-4f;
    const double e = std::exp(static_cast<double>(x)), t = std::tanh(static_cast<double>(x));
    worst_exp = std::max(worst_exp, std::fabs(static_cast<double>(math::exp(x)) / e - 1));
    if (t != 0) worst_tanh = std::max(worst_tanh, std::fabs(static_cast<double>(math::tanh(x)) / t - 1));
  }
  CHECK(worst_exp < 2e-7);
  CHECK(worst_tanh < 3e-7);
  CHECK(math::tanh(0.0f) == 0.0f);
  CHECK(std::isnan(math::exp(std::nanf(""))));
  CHECK(std::isnan(math::tanh(std::nanf(""))));
  CHECK(math::exp(-1000.0f) < 1e-37f);
  CHECK(math::exp(1000.0f) > 1e38f);
  CHECK(math::sigmoid(0.0f) == 0.5f);
  CHECK(math::sigmoid(-1000.0f) < 1e-37f);
  CHECK(math::sigmoid(1000.0f) == 1.0f);
}

TEST_CASE("philox gives the published vectors") {
  CHECK(philox({0, 0, 0, 0}, {0, 0}) ==
        std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  constexpr uint32_t ones = 0xffffffff;
  CHECK(philox({ones, ones, ones, ones}, {ones, ones}) ==
        std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("distributions take the words of a stream in order, from any position") {
  Generator whole(5, "words"), drawn = whole;
  for (uint64_t start = 0; start < 9; ++start) {
    CAPTURE(start);
    whole.position = drawn.position = start;
    const uint64_t high = whole.next() >> 5, low = whole.next() >> 6;
    CHECK(drawn.uniform() == static_cast<double>(high << 26 | low) * 0x1p-53);
    CHECK(drawn.position == whole.position);
    drawn.normal();
    CHECK(drawn.position == whole.position + 4);
  }
}

TEST_CASE("fnv1a gives the published values") {
  CHECK(fnv1a("") == 0xcbf29ce484222325u);
  CHECK(fnv1a("a") == 0xaf63dc4c8601ec8cu);
  CHECK(fnv1a("foobar") == 0x85944171f73967e8u);
}

TEST_CASE("a generator is named by seed and purpose, and resumes from three integers") {
  Generator a(5, "weights"), same(5, "weights"), other(5, "noise"), reseeded(6, "weights");
  const uint32_t first = a.next();
  CHECK(first == same.next());
  CHECK(first != other.next());
  CHECK(first != reseeded.next());
  for (int i = 0; i < 10; ++i) a.next();
  Generator resumed(0);
  resumed.seed = a.seed;
  resumed.stream = a.stream;
  resumed.position = a.position;
  CHECK(resumed.next() == a.next());

  Generator child = same.fork(3), twin = same.fork(3), sibling = same.fork(4);
  CHECK(same.position == 1);
  const uint32_t drawn = child.next();
  CHECK(drawn == twin.next());
  CHECK(drawn != sibling.next());
}

TEST_CASE("distributions have the right moments and shapes") {
  constexpr int kDraws = 200000, kBins = 50;
  Generator generator(11, "moments");
  double sum = 0, squares = 0, fourth = 0;
  std::array<int, kBins> bins{};
  for (int i = 0; i < kDraws; ++i) {
    const double u = generator.uniform();
    REQUIRE(u >= 0);
    REQUIRE(u < 1);
    ++bins[static_cast<size_t>(u * kBins)];
  }
  double chi = 0;
  for (const int count : bins)
    chi += (count - kDraws / kBins) * (count - kDraws / kBins) / (1.0 * kDraws / kBins);
  CHECK(chi < 85);  // 49 degrees of freedom: exceeded once in a thousand seeds
  CHECK(chi > 20);  // and not suspiciously even

  int within_one = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double z = generator.normal();
    sum += z;
    squares += z * z;
    fourth += z * z * z * z;
    within_one += std::fabs(z) < 1;
  }
  CHECK(std::fabs(sum / kDraws) < 0.008);
  CHECK(std::fabs(squares / kDraws - 1) < 0.012);
  CHECK(std::fabs(fourth / kDraws - 3) < 0.1);
  CHECK(std::fabs(within_one / (1.0 * kDraws) - 0.682689) < 0.004);

  std::array<int, 7> seen{};
  for (int i = 0; i < 70000; ++i) ++seen[generator.below(7)];
  for (const int count : seen) CHECK(std::abs(count - 10000) < 400);
  CHECK(generator.below(1) == 0);

  double beta_sum = 0, beta_squares = 0;
  for (int i = 0; i < 20000; ++i) {
    const double value = generator.beta(1.2);
    beta_sum += value;
    beta_squares += (value - 0.5) * (value - 0.5);
  }
  CHECK(beta_sum / 20000 == doctest::Approx(0.5).epsilon(0.01));
  CHECK(beta_squares / 20000 == doctest::Approx(1 / (4 * (2 * 1.2 + 1))).epsilon(0.03));
}

TEST_CASE("normal follows Box and Muller to the last digits") {
  Generator a(3, "pairs"), b(3, "pairs");
  double worst = 0;
  for (int i = 0; i < 5000; ++i) {
    const double u = b.uniform(), v = b.uniform();
    const double expected = std::sqrt(-2 * std::log(1 - u)) * std::cos(6.283185307179586 * v);
    worst = std::max(worst, std::fabs(a.normal() - expected));
  }
  CHECK(worst < 1e-14);
}

TEST_CASE("fill_uniform_ and fill_normal_ draw in order, the same for every dtype") {
  Generator a(1, "fill"), b(1, "fill");
  const Tensor wide = empty({1000}, kF64), narrow = empty({1000});
  fill_uniform_(wide, -2, 3, a);
  fill_uniform_(narrow, -2, 3, b);
  CHECK(wide.to(DType::f32).to_vector() == narrow.to_vector());
  CHECK(a.position == b.position);
  CHECK(a.position == 2000);
  double low = 9, high = -9;
  for (const double v : wide.to_vector()) {
    low = std::min(low, v);
    high = std::max(high, v);
  }
  CHECK(low >= -2);
  CHECK(low < -1.95);
  CHECK(high < 3);
  CHECK(high > 2.95);
  fill_normal_(wide, 10, 0.01, a);
  for (const double v : wide.to_vector()) REQUIRE(std::fabs(v - 10) < 0.06);
}
