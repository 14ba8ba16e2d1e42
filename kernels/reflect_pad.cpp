// One call per pixel, for all its channels; the backward gathers from all images of a pixel.
#include "luxgrad/kernels/reflect_pad.h"

#include <algorithm>

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/pixel.h"

namespace lux {
namespace {

// An axis of `size` pixels walked to and fro for `target` steps, beginning `before` steps ahead of its first
// pixel: … 1 0 1 2 3 2 1 0 1 … for four pixels.
struct Walk {
  int64_t size, before, target, period;

  Walk(int64_t size, int64_t before, int64_t after)
      : size(size),
        before(before),
        target(before + size + after),
        period(std::max<int64_t>(1, 2 * size - 2)) {}

  LUX_HD int64_t phase(int64_t steps) const { return (steps % period + period) % period; }
  LUX_HD int64_t pixel(int64_t step) const {
    const int64_t at = phase(step - before);
    return at < size ? at : period - at;
  }
  /// Calls f for every step that meets the pixel: on the way forth, and, between the ends, on the way back.
  template <class F>
  LUX_HD void each_step(int64_t pixel, const F& f) const {
    for (int64_t step = phase(pixel + before); step < target; step += period) f(step);
    if (pixel == 0 || pixel == size - 1) return;
    for (int64_t step = phase(before - pixel); step < target; step += period) f(step);
  }
};

template <class T>
struct Mirror {
  const T* x;
  T* y;
  Walk rows, columns;
  int64_t C;

  LUX_HD void operator()(const Team& team, int64_t image) const {
    const auto [n, h, w] = Pixel::of(image, rows.target, columns.target);
    const T* const from = x + Pixel{n, rows.pixel(h), columns.pixel(w)}.index(rows.size, columns.size) * C;
    T* const to = y + image * C;
    team.each(C, [&](int64_t c) { to[c] = from[c]; });
  }
};

template <class T>
struct MirrorGradient {
  const T* gy;
  T* gx;
  Walk rows, columns;
  int64_t C;

  LUX_HD void operator()(const Team& team, int64_t pixel) const {
    const auto [n, h, w] = Pixel::of(pixel, rows.size, columns.size);
    const auto each_image = [&, n = n, h = h, w = w](const auto& f) {
      rows.each_step(h, [&](int64_t p) {
        columns.each_step(w, [&](int64_t q) {
          f(gy + Pixel{n, p, q}.index(rows.target, columns.target) * C);
        });
      });
    };
    int images = 0;
    const T* only = nullptr;
    each_image([&](const T* image) {
      ++images;
      only = image;
    });
    T* const to = gx + pixel * C;
    if (images == 1) {  // as nearly all
      team.each(C, [&](int64_t c) { to[c] = only[c]; });
      return;
    }
    team.each(C, [&](int64_t c) {
      double sum = 0;
      each_image([&](const T* image) { sum += static_cast<double>(Arith<T>(image[c])); });
      to[c] = T(static_cast<Arith<T>>(sum));
    });
  }
};

}  // namespace

Tensor reflect_pad(const Tensor& x, const Padding& padding) {
  const OperatorScope scope("reflect_pad", x);
  const Shape s = x.shape();
  check(s.rank() == 4 && s[1] > 0 && s[2] > 0, "reflect_pad: expected a picture [N, H, W, C], got ", s);
  const Walk rows(s[1], padding.top, padding.bottom), columns(s[2], padding.left, padding.right);
  check(rows.target > 0 && columns.target > 0, "reflect_pad: expected a result of at least 1x1, got ",
        rows.target, "x", columns.target);
  Tensor y = empty({s[0], rows.target, columns.target, s[3]}, x.options());
  dispatch(x.dtype(), [&](auto t) {
    using T = decltype(t);
    parallel_pixels(y, Mirror<T>{x.data<T>(), y.data<T>(), rows, columns, s[3]});
  });

  return differentiable("reflect_pad", y, {x}, [=](const Tensor& gy) {
    Tensor gx = empty(s, gy.options());
    dispatch(gy.dtype(), [&](auto t) {
      using T = decltype(t);
      parallel_pixels(gx, MirrorGradient<T>{gy.data<T>(), gx.data<T>(), rows, columns, s[3]});
    });
    return Grads{gx};
  });
}

}  // namespace lux
