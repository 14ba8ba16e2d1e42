// One call per pixel, for all its channels. The weights are powers of two, so that products are exact and the
// sums are those of the depthwise convolution that this is; the mirrored edge is read and never made. The
// backward gathers, per pixel, from the results that see it, in front of the mirror and in it.
#include "luxgrad/kernels/blur_pool.h"

#include <algorithm>

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/pixel.h"
#include "luxgrad/kernels/rows.h"

namespace lux {
namespace {

constexpr int64_t kTaps = 3;

LUX_HD double weight_of(int64_t tap) { return tap == 1 ? 0.5 : 0.25; }

// An axis of `size` pixels, of which result r sees 2r - 1, 2r and 2r + 1.
struct Axis {
  int64_t size;

  LUX_HD int64_t results() const { return (size + 1) / 2; }
  LUX_HD int64_t pixel(int64_t result, int64_t tap) const {
    int64_t at = 2 * result + tap - 1;
    if (at < 0) at = -at;
    if (at >= size) at = 2 * size - 2 - at;
    return at < 0 ? 0 : at;  // a single pixel is its own image
  }
  /// The results that see a pixel, and how much of it they take.
  LUX_HD int64_t first_result(int64_t pixel) const { return pixel / 2; }
  LUX_HD int64_t last_result(int64_t pixel) const {
    const int64_t last = (pixel + 1) / 2;
    return last < results() ? last : results() - 1;
  }
  LUX_HD double taken(int64_t result, int64_t pixel) const {
    double weight = 0;
    for (int64_t tap = 0; tap < kTaps; ++tap)
      weight += this->pixel(result, tap) == pixel ? weight_of(tap) : 0;
    return weight;
  }
};

template <class T>
struct Blur {
  const T* x;
  T* y;
  Axis rows, columns;
  int64_t C;
  int64_t given, wanted;                      // rows of a picture that x and y have
  int64_t first_input = 0, first_output = 0;  // which they begin with

  LUX_HD void operator()(const Team& team, int64_t pixel) const {
    using A = Arith<T>;
    const auto [n, p, q] = Pixel::of(pixel, wanted, columns.results());
    const T* seen[kTaps * kTaps];
    for (int64_t tap = 0; tap < kTaps * kTaps; ++tap) {
      const int64_t h = rows.pixel(p + first_output, tap / kTaps) - first_input;
      seen[tap] = x + Pixel{n, h, columns.pixel(q, tap % kTaps)}.index(given, columns.size) * C;
    }
    team.each(C, [seen, to = y + pixel * C](int64_t c) {
      A sum = 0;
      for (int64_t tap = 0; tap < kTaps * kTaps; ++tap)
        sum += A(seen[tap][c]) * A(weight_of(tap / kTaps) * weight_of(tap % kTaps));
      to[c] = T(sum);
    });
  }
};

template <class T>
struct BlurGradient {
  const T* gy;
  T* gx;
  Axis rows, columns;
  int64_t C;

  LUX_HD void operator()(const Team& team, int64_t pixel) const {
    const auto [n, h, w] = Pixel::of(pixel, rows.size, columns.size);
    team.each(C, [&, n = n, h = h, w = w](int64_t c) {
      double sum = 0;
      for (int64_t p = rows.first_result(h); p <= rows.last_result(h); ++p) {
        for (int64_t q = columns.first_result(w); q <= columns.last_result(w); ++q) {
          const auto g = Arith<T>(gy[Pixel{n, p, q}.index(rows.results(), columns.results()) * C + c]);
          sum += rows.taken(p, h) * columns.taken(q, w) * static_cast<double>(g);
        }
      }
      gx[pixel * C + c] = T(static_cast<Arith<T>>(sum));
    });
  }
};

// Some rows of a picture of `height` rows.
void blur(const Tensor& x, int64_t height, int64_t first_input, const Tensor& y, int64_t first_output) {
  dispatch(x.dtype(), [&](auto t) {
    using T = decltype(t);
    parallel_pixels(y, Blur<T>{x.data<T>(),
                               y.data<T>(),
                               {height},
                               {x.size(2)},
                               x.size(3),
                               x.size(1),
                               y.size(1),
                               first_input,
                               first_output});
  });
}

// What is mirrored into some rows is among the rows that they see.
struct BlurredRows final : RowOperator {
  Shape shape(const std::vector<Shape>& inputs) const override {
    const Shape& s = inputs[0];
    return {1, Axis{s[1]}.results(), Axis{s[2]}.results(), s[3]};
  }
  Rows reads(Rows y) const override { return {2 * y.begin - 1, 2 * y.end}; }
  void run(const Bands& inputs, const Band& y) const override {
    blur(inputs.tensors[0], inputs.height, inputs.rows.begin, y.tensor, y.rows.begin);
  }
  Tensor whole(const Tensors& inputs) const override { return blur_pool(inputs[0]); }
};

}  // namespace

Tensor blur_pool(const Tensor& x) {
  const OperatorScope scope("blur_pool", x);
  const Shape s = x.shape();
  check(s.rank() == 4 && s[1] > 0 && s[2] > 0, "blur_pool: expected a picture [N, H, W, C] with pixels, got ",
        s);
  const Axis rows{s[1]}, columns{s[2]};
  Tensor y = empty({s[0], rows.results(), columns.results(), s[3]}, x.options());
  blur(x, s[1], 0, y, 0);
  describe_rows(y, {x}, BlurredRows{});

  return differentiable("blur_pool", y, {x}, [s, rows, columns](const Tensor& gy) {
    Tensor gx = empty(s, gy.options());
    dispatch(gy.dtype(), [&](auto t) {
      using T = decltype(t);
      parallel_pixels(gx, BlurGradient<T>{gy.data<T>(), gx.data<T>(), rows, columns, s[3]});
    });
    return Grads{gx};
  });
}

}  // namespace lux
