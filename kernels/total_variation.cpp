// A team per picture row adds up differences along contiguous memory; the backward gathers, per element, the
// slopes of the differences that it takes part in.
#include "luxgrad/kernels/total_variation.h"

#include <cmath>

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/zero_reference_forms.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

// The rows around one row of a map; a row outside the picture is the row itself, so that differences vanish
// there.
template <class T>
struct Rows {
  const T *above, *here, *below;
  int64_t C, width;  // width = W·C elements

  LUX_HD Rows(const T* maps, int64_t row, int64_t H, int64_t W, int64_t C) : C(C), width(W * C) {
    here = maps + row * width;
    above = row % H > 0 ? here - width : here;
    below = row % H + 1 < H ? here + width : here;
  }
  using A = Arith<T>;
  LUX_HD A down(int64_t x) const { return A(below[x]) - A(here[x]); }
  LUX_HD A from_above(int64_t x) const { return A(here[x]) - A(above[x]); }
  LUX_HD A right(int64_t x) const { return x + C < width ? A(here[x + C]) - A(here[x]) : A(0); }
  LUX_HD A from_left(int64_t x) const { return x >= C ? A(here[x]) - A(here[x - C]) : A(0); }
};

template <class T>
struct RowVariation {
  const T* maps;
  double* sums;  // one per row
  int64_t H, W, C;
  VariationWeights form;

  LUX_HD void operator()(const Team& team, int64_t row) const {
    const Rows<T> rows(maps, row, H, W, C);
    const auto square = [](Arith<T> d) { return d * d; };
    double sum = 0;
    if (form.joint) {
      sum = form.vertical * team.sum(rows.width, [&](int64_t x) {
        return square(std::fabs(rows.down(x)) + std::fabs(rows.right(x)));
      });
    } else {  // two loops without branches
      sum = form.vertical * team.sum(rows.width, [&](int64_t x) { return square(rows.down(x)); }) +
            form.horizontal * team.sum(rows.width - C, [&](int64_t x) {
              return square(Arith<T>(rows.here[x + rows.C]) - Arith<T>(rows.here[x]));
            });
    }
    if (team.leads()) sums[row] = sum;
  }
};

template <class T>
struct TotalOfRows {
  const double* sums;
  T* loss;
  LUX_HD double term(int64_t, int64_t row) const { return sums[row]; }
  LUX_HD void finish(int64_t, double sum) const { *loss = T(static_cast<Arith<T>>(sum)); }
};

template <class T>
struct VariationGradient {
  const T* maps;
  const T* gy;
  T* gx;
  int64_t H, W, C;
  VariationWeights form;

  LUX_HD void operator()(const Team& team, int64_t row) const {
    using A = Arith<T>;
    const Rows<T> rows(maps, row, H, W, C);
    const A vertical = A(2 * form.vertical) * A(gy[0]), horizontal = A(2 * form.horizontal) * A(gy[0]);
    T* const g = gx + row * rows.width;
    if (form.joint) {
      const Rows<T> upper(maps, row % H > 0 ? row - 1 : row, H, W, C);
      team.each(rows.width, [&](int64_t x) { g[x] = T(vertical * joint_slope(rows, upper, x)); });
    } else {
      team.each(rows.width, [&](int64_t x) {
        g[x] = T(vertical * (rows.from_above(x) - rows.down(x)) +
                 horizontal * (rows.from_left(x) - rows.right(x)));
      });
    }
  }

  // Half the slope of (|v| + |h|)² at this element, at the one above, and at the one to the left.
  // Where there is no element above or to the left, the sign of that difference is 0.
  LUX_HD Arith<T> joint_slope(const Rows<T>& rows, const Rows<T>& upper, int64_t x) const {
    using A = Arith<T>;
    const A down = rows.down(x), right = rows.right(x), above = rows.from_above(x), left = rows.from_left(x);
    A slope = -(std::fabs(down) + std::fabs(right)) * (sign(down) + sign(right));
    slope += (std::fabs(above) + std::fabs(upper.right(x))) * sign(above);
    if (x >= C) slope += (std::fabs(rows.down(x - C)) + std::fabs(left)) * sign(left);
    return slope;
  }
  LUX_HD static Arith<T> sign(Arith<T> d) {
    using A = Arith<T>;
    return A(d > A(0)) - A(d < A(0));
  }
};

double inverse(double factor, int64_t count) { return count == 0 ? 0 : factor / static_cast<double>(count); }

}  // namespace

VariationWeights weights_of(VariationForm form, const Shape& s) {
  const int64_t N = s[0], H = s[1], W = s[2], C = s[3];
  const double batch = static_cast<double>(N);
  switch (form) {
    case VariationForm::official:
      return {false, inverse(2 / batch, (H - 1) * W), inverse(2 / batch, H * (W - 1))};
    case VariationForm::keras:
      check((W > 1 || H == 1) && (C > 1 || W == 1),
            "total_variation: the keras form expects at least 2 columns and 2 channels, got ", s);
      return {false, inverse(2 / batch, (W - 1) * C), inverse(2 / batch, W * (C - 1))};
    case VariationForm::paper:
      break;
  }
  return {true, 3 / static_cast<double>(s.numel()), 0};
}

Tensor total_variation(const Tensor& curves, VariationForm which) {
  const OperatorScope scope("total_variation", curves);
  const Shape s = curves.shape();
  check(s.rank() == 4 && s.numel() > 0, "total_variation: expected maps [N, H, W, C], got ", s);
  const int64_t rows = s[0] * s[1], width = s[2] * s[3];
  const VariationWeights form = weights_of(which, s);

  Tensor loss = empty({}, curves.options());
  const Tensor sums = empty({rows}, {DType::f64, curves.device()});
  dispatch(curves.dtype(), [&](auto t) {
    using T = decltype(t);
    parallel_rows(curves.device(), rows, width,
                  RowVariation<T>{curves.data<T>(), sums.data<double>(), s[1], s[2], s[3], form});
    parallel_reduce(curves.device(), 1, rows, TotalOfRows<T>{sums.data<double>(), loss.data<T>()});
  });

  return differentiable("total_variation", loss, {curves}, [=, curves = Saved(curves)](const Tensor& gy) {
    Tensor gx = empty(s, gy.options());
    dispatch(gy.dtype(), [&](auto t) {
      using T = decltype(t);
      parallel_rows(
          gy.device(), rows, width,
          VariationGradient<T>{curves.get().data<T>(), gy.data<T>(), gx.data<T>(), s[1], s[2], s[3], form});
    });
    return Grads{gx};
  });
}

}  // namespace lux
