// The gradient of a product is the sum of all outputs that took it, which are a square.
#include "luxgrad/kernels/conv2d_repeated.h"

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/concat.h"
#include "luxgrad/kernels/conv2d.h"
#include "luxgrad/kernels/reshape.h"
#include "luxgrad/kernels/resize.h"
#include "luxgrad/kernels/rows.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

struct TapGeometry {
  int64_t H, W, side, out;  // of the products; side: of the kernel
  int doublings;
  LUX_HD int64_t times() const { return int64_t{1} << doublings; }
  LUX_HD int64_t tall() const { return H << doublings; }
  LUX_HD int64_t wide() const { return W << doublings; }
  LUX_HD int64_t taps() const { return side * side; }
  LUX_HD int64_t channels() const { return out * taps(); }
};

constexpr int64_t kStrip = 16;  // outputs that are summed together

// One line of the sums.
template <class T>
struct SumTaps {
  const T* products;
  T* y;
  TapGeometry g;
  int64_t first_input = 0, first_output = 0;  // rows that products and y begin with, of a single picture

  LUX_HD void operator()(const Team& team, int64_t line) const {
    const int64_t n = line / g.tall(), p = line % g.tall() + first_output, before = g.side / 2;
    const int64_t strips = (g.wide() + kStrip - 1) / kStrip;
    team.each(g.out * strips, [&](int64_t index) {
      const int64_t o = index % g.out, first = index / g.out * kStrip;
      const int64_t count = g.wide() - first < kStrip ? g.wide() - first : kStrip;
      Arith<T> sums[kStrip] = {};
      for (int64_t i = 0; i < g.side; ++i) {
        const int64_t h = p + i - before;
        if (h < 0 || h >= g.tall()) continue;
        const T* const row = products + (n * g.H + (h >> g.doublings) - first_input) * g.W * g.channels() +
                             o * g.taps() + i * g.side;
        for (int64_t j = 0; j < g.side; ++j) {
          const int64_t w = first + j - before;  // of the first output
          const int64_t begin = w < 0 ? -w : 0, end = w + count > g.wide() ? g.wide() - w : count;
          for (int64_t q = begin; q < end; ++q)
            sums[q] += Arith<T>(row[((w + q) >> g.doublings) * g.channels() + j]);
        }
      }
      T* const to = y + (line * g.wide() + first) * g.out + o;
      for (int64_t q = 0; q < count; ++q) to[q * g.out] = T(sums[q]);
    });
  }
};

// One line of the products.
template <class T>
struct SumTapsGradient {
  const T* gy;
  T* gx;
  TapGeometry g;

  LUX_HD void operator()(const Team& team, int64_t line) const {
    const int64_t n = line / g.H, a = line % g.H, per_pixel = g.channels();
    team.each(g.W * per_pixel, [&](int64_t index) {
      const int64_t b = index / per_pixel, o = index % per_pixel / g.taps(), tap = index % g.taps();
      const int64_t above = a * g.times() + g.side / 2 - tap / g.side;
      const int64_t before = b * g.times() + g.side / 2 - tap % g.side;
      Arith<T> sum = 0;
      for (int64_t p = above; p < above + g.times(); ++p) {
        for (int64_t q = before; q < before + g.times(); ++q) {
          if (p >= 0 && p < g.tall() && q >= 0 && q < g.wide())
            sum += Arith<T>(gy[((n * g.tall() + p) * g.wide() + q) * g.out + o]);
        }
      }
      gx[line * g.W * per_pixel + index] = T(sum);
    });
  }
};

TapGeometry geometry_of(const Shape& s, int64_t kernel_size, int doublings) {
  check(s.rank() == 4, "sum_taps: expected products [N, H, W, C], got ", s);
  check(kernel_size >= 1 && kernel_size % 2 == 1 && doublings >= 0 && doublings <= 16,
        "sum_taps: expected an odd kernel and 0 to 16 doublings, got ", kernel_size, " and ", doublings);
  const int64_t taps = kernel_size * kernel_size;
  check(s[3] % taps == 0, "sum_taps: expected a multiple of ", taps, " channels, got ", s[3]);
  return {s[1], s[2], kernel_size, s[3] / taps, doublings};
}

struct SummedRows final : RowOperator {
  SummedRows(int64_t side, int doublings) : side(side), doublings(doublings) {}

  Shape shape(const std::vector<Shape>& inputs) const override {
    const Shape& s = inputs[0];
    return {1, s[1] << doublings, s[2] << doublings, s[3] / (side * side)};
  }
  Rows reads(Rows y) const override {
    return {(y.begin - side / 2) >> doublings, ((y.end - 1 + side / 2) >> doublings) + 1};
  }
  void run(const Bands& inputs, const Band& y) const override {
    const Tensor& x = inputs.tensors[0];
    const TapGeometry g = geometry_of(x.shape().with(1, inputs.height), side, doublings);
    dispatch(x.dtype(), [&](auto t) {
      using T = decltype(t);
      parallel_rows(x.device(), y.rows.count(), g.wide() * g.channels(),
                    SumTaps<T>{x.data<T>(), y.tensor.data<T>(), g, inputs.rows.begin, y.rows.begin});
    });
  }
  Tensor whole(const Tensors& inputs) const override { return sum_taps(inputs[0], side, doublings); }

  int64_t side;
  int doublings;
};

}  // namespace

Tensor sum_taps(const Tensor& products, int64_t kernel_size, int doublings) {
  const OperatorScope scope("sum_taps", products);
  const Shape s = products.shape();
  const TapGeometry g = geometry_of(s, kernel_size, doublings);
  Tensor y = empty({s[0], g.tall(), g.wide(), g.out}, products.options());
  dispatch(products.dtype(), [&](auto t) {
    using T = decltype(t);
    parallel_rows(products.device(), s[0] * g.tall(), g.wide() * g.out * g.taps(),
                  SumTaps<T>{products.data<T>(), y.data<T>(), g});
  });
  describe_rows(y, {products}, SummedRows(kernel_size, doublings));

  return differentiable("sum_taps", y, {products}, [s, g](const Tensor& gy) {
    Tensor gx = empty(s, gy.options());
    dispatch(gy.dtype(), [&](auto t) {
      using T = decltype(t);
      parallel_rows(gy.device(), s[0] * g.H, g.W * s[3] * g.times() * g.times(),
                    SumTapsGradient<T>{gy.data<T>(), gx.data<T>(), g});
    });
    return Grads{gx};
  });
}

Tensor conv2d_repeated(std::vector<Repeated> inputs, const Tensor& weight, const Tensor& bias) {
  const Shape s = weight.shape();
  check(s.rank() == 4 && s[1] == s[2] && s[1] % 2 == 1 && !inputs.empty(),
        "conv2d_repeated: expected inputs and a weight [out, k, k, C] with an odd k, got ", inputs.size(),
        " and ", s);
  const auto enlarged_height = [](const Repeated& input) { return input.x.size(1) << input.doublings; };
  const auto enlarged_width = [](const Repeated& input) { return input.x.size(2) << input.doublings; };
  for (const Repeated& input : inputs)
    check(enlarged_height(input) == enlarged_height(inputs[0]) &&
              enlarged_width(input) == enlarged_width(inputs[0]),
          "conv2d_repeated: expected pictures of one size once they are enlarged, got ", input.x.shape(),
          " doubled ", input.doublings, " times beside ", inputs[0].x.shape(), " doubled ",
          inputs[0].doublings, " times");
  if (weight.device() != kCpu) {
    Tensors enlarged;
    for (const Repeated& input : inputs)
      enlarged.push_back(
          resize(input.x, enlarged_height(input), enlarged_width(input), {.mode = ResizeOptions::nearest}));
    return conv2d(enlarged, weight, bias, {.padding = s[1] / 2, .fine = true});
  }
  const Tensor taps = reshape(weight, {s[0] * s[1] * s[2], 1, 1, s[3]});
  Tensor y = bias;
  int64_t first = 0;  // channel of an input
  for (auto& [x, doublings] : inputs) {
    const int64_t channels = x.size(3);
    const Tensor products = conv2d(x, narrow(taps, 3, first, channels), {}, {.fine = true});
    x = {};
    y = sum_taps(products, s[1], doublings) + y;
    first += channels;
  }
  check(first == s[3], "conv2d_repeated: expected ", s[3], " channels in all, got ", first);
  return y;
}

}  // namespace lux
