// An output pixel mixes two rows and two columns (`Taps`). The backward gathers: an input pixel asks the
// outputs around its own place how much of it they took.
#include "luxgrad/kernels/resize.h"

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/resize_axis.h"
#include "luxgrad/kernels/rows.h"
#include "luxgrad/kernels/slots.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

using Axis = ResizeAxis;

Axis make_axis(int64_t in, int64_t out, double ratio, const ResizeOptions& options) {
  if (options.mode == ResizeOptions::bilinear && options.align_corners) {
    const double between = out > 1 ? static_cast<double>(in - 1) / static_cast<double>(out - 1) : 0;
    return {in, out, between, 0, 0, true};
  }
  if (ratio == 0) ratio = static_cast<double>(in) / static_cast<double>(out);
  if (options.mode == ResizeOptions::bilinear) return {in, out, ratio, 0.5, 0.5, true};
  return {in, out, ratio, options.mode == ResizeOptions::nearest ? 0 : 0.5, 0, false};
}

// One line of the output.
template <class T>
struct Resize {
  const T* x;
  T* y;
  Axis rows, columns;
  int64_t C;
  int64_t first_input = 0, first_output = 0;  // rows that x and y begin with, of a single picture

  LUX_HD void operator()(const Team& team, int64_t line) const {
    using A = Arith<T>;
    const int64_t n = line / rows.out;
    const Taps row = rows.taps(line % rows.out + first_output);
    const T* const top = x + (n * rows.in + row.first - first_input) * columns.in * C;
    const T* const bottom = x + (n * rows.in + row.second - first_input) * columns.in * C;
    const A fy = A(row.fraction);
    team.each(columns.out, [&](int64_t q) {
      const Taps column = columns.taps(q);
      const int64_t left = column.first * C, right = column.second * C;
      const A fx = A(column.fraction);
      T* const to = y + (line * columns.out + q) * C;
#pragma GCC ivdep
      for (int64_t c = 0; c < C; ++c) {
        const A upper = (A(1) - fx) * A(top[left + c]) + fx * A(top[right + c]);
        const A lower = (A(1) - fx) * A(bottom[left + c]) + fx * A(bottom[right + c]);
        to[c] = T((A(1) - fy) * upper + fy * lower);
      }
    });
  }
};

constexpr int64_t kLanes = 16;  // channels per call of the gradient

// One input pixel, up to 16 channels.
template <class T>
struct ResizeGradient {
  const T* gy;
  T* gx;
  Axis rows, columns;
  int64_t C, groups;

  LUX_HD void operator()(int64_t i) const {
    const int64_t pixel = i / groups, c = i % groups * kLanes, lanes = C - c < kLanes ? C - c : kLanes;
    const int64_t w = pixel % columns.in, h = pixel / columns.in % rows.in, n = pixel / columns.in / rows.in;
    double sums[kLanes] = {};
    const int64_t first = columns.first_output(w), end = columns.end_output(w);
    for (int64_t p = rows.first_output(h); p < rows.end_output(h); ++p) {
      const double wy = rows.taps(p).weight_of(h);
      if (wy == 0) continue;
      for (int64_t q = first; q < end; ++q) {
        const double weight = wy * columns.taps(q).weight_of(w);
        if (weight == 0) continue;
        const T* const g = gy + ((n * rows.out + p) * columns.out + q) * C + c;
        for (int64_t k = 0; k < lanes; ++k) sums[k] += weight * static_cast<double>(Arith<T>(g[k]));
      }
    }
    for (int64_t k = 0; k < lanes; ++k) gx[pixel * C + c + k] = T(static_cast<Arith<T>>(sums[k]));
  }
};

struct Geometry {
  Axis rows, columns;
  int64_t C, groups, grain;

  Geometry(const Shape& x, int64_t height, int64_t width, const ResizeOptions& options)
      : rows(make_axis(x[1], height, options.ratio_h, options)),
        columns(make_axis(x[2], width, options.ratio_w, options)),
        C(x[3]),
        groups((C + kLanes - 1) / kLanes),
        grain(std::max<int64_t>(1, detail::kGrain / std::min(C, kLanes))) {}
};

// Some rows, of a picture that is resized by the ratio of `from` to `to`.
struct ResizedRows final : RowOperator {
  ResizedRows(const Shape& from, const Shape& to, const ResizeOptions& options)
      : from(from), to(to), options(options) {}

  Shape shape(const std::vector<Shape>& inputs) const override {
    const Shape& s = inputs[0];
    return {1, s[1] * to[1] / from[1], s[2] * to[2] / from[2], s[3]};
  }
  Rows reads(Rows y) const override {
    // Centres lie at most half a pixel from these places, corners that stay in place move them by less than
    // one, and the second of two neighbours follows.
    const int64_t room = options.mode == ResizeOptions::bilinear  ? 2
                         : options.mode == ResizeOptions::nearest ? 0
                                                                  : 1;
    return {y.begin * from[1] / to[1] - room, (y.end - 1) * from[1] / to[1] + from[1] / to[1] + room + 1};
  }
  void run(const Bands& inputs, const Band& y) const override {
    const Tensor& x = inputs.tensors[0];
    const Geometry g(x.shape().with(1, inputs.height), y.height, y.tensor.size(2), options);
    dispatch(x.dtype(), [&](auto t) {
      using T = decltype(t);
      parallel_rows(x.device(), y.rows.count(), g.columns.out * g.C,
                    Resize<T>{x.data<T>(), y.tensor.data<T>(), g.rows, g.columns, g.C, inputs.rows.begin,
                              y.rows.begin});
    });
  }
  Tensor whole(const Tensors& inputs) const override {
    const Shape s = shape({inputs[0].shape()});
    return resize(inputs[0], s[1], s[2], options);
  }
  bool same_everywhere() const override { return !options.align_corners; }

  Shape from, to;
  ResizeOptions options;
};

}  // namespace

Tensor resize(const Tensor& x, int64_t height, int64_t width, const ResizeOptions& options) {
  const OperatorScope scope("resize", x);
  const Shape s = x.shape();
  check(s.rank() == 4 && s.numel() > 0, "resize: expected a picture [N, H, W, C], got ", s);
  check(height >= 1 && width >= 1, "resize: expected a size of at least 1x1, got ", height, "x", width);
  check(options.ratio_h >= 0 && options.ratio_w >= 0, "resize: expected ratios of at least 0, got ",
        options.ratio_h, " and ", options.ratio_w);
  const Geometry g(s, height, width, options);

  Tensor y = empty({s[0], height, width, s[3]}, x.options());
  if (!slots().resize(x.device(), x, g.rows, g.columns, y)) {
    dispatch(x.dtype(), [&](auto t) {
      using T = decltype(t);
      parallel_rows(x.device(), s[0] * height, width * g.C,
                    Resize<T>{x.data<T>(), y.data<T>(), g.rows, g.columns, g.C});
    });
  }
  describe_rows(y, {x}, ResizedRows(s, y.shape(), options));

  return differentiable("resize", y, {x}, [=](const Tensor& gy) {
    Tensor gx = empty(s, gy.options());
    if (slots().resize_gradient(gy.device(), gy, g.rows, g.columns, gx)) return Grads{gx};
    dispatch(gy.dtype(), [&](auto t) {
      using T = decltype(t);
      parallel_for(gy.device(), s[0] * s[1] * s[2] * g.groups,
                   ResizeGradient<T>{gy.data<T>(), gx.data<T>(), g.rows, g.columns, g.C, g.groups}, g.grain);
    });
    return Grads{gx};
  });
}

}  // namespace lux
