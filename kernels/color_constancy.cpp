// The channel means, three numbers per picture in float64, are all that forward and backward share.
#include "luxgrad/kernels/color_constancy.h"

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/zero_reference_forms.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

template <class T>
struct ChannelMeans {
  const T* picture;
  double* means;  // [N, 3]
  int64_t pixels;
  LUX_HD Arith<T> term(int64_t pixel, int64_t c) const { return picture[pixel * 3 + c]; }
  LUX_HD void finish(int64_t n, int64_t c, double sum) const {
    means[n * 3 + c] = sum / static_cast<double>(pixels);
  }
};

template <class T>
struct MeanCast {
  const double* means;
  T* loss;
  int64_t N;
  ColorCast cast;
  LUX_HD double term(int64_t, int64_t n) const { return cast.value(means + n * 3); }
  LUX_HD void finish(int64_t, double sum) const {
    *loss = T(static_cast<Arith<T>>(sum / static_cast<double>(N)));
  }
};

// Every pixel of a picture gets the same three values.
template <class T>
struct CastGradient {
  const double* means;
  const T* gy;
  T* gx;
  int64_t pixels, N;  // pixels per picture
  ColorCast cast;

  LUX_HD void operator()(const Team& team, int64_t n) const {
    const double share = static_cast<double>(Arith<T>(gy[0])) / static_cast<double>(pixels * N);
    Arith<T> slope[3];
    for (int c = 0; c < 3; ++c) slope[c] = Arith<T>(share * cast.slope(means + n * 3, c));
    T* const g = gx + n * pixels * 3;
    team.each(pixels, [&](int64_t pixel) {
      for (int c = 0; c < 3; ++c) g[pixel * 3 + c] = T(slope[c]);
    });
  }
};

}  // namespace

Tensor color_constancy(const Tensor& enhanced, ColorForm form) {
  const OperatorScope scope("color_constancy", enhanced);
  const Shape s = enhanced.shape();
  check(s.rank() == 4 && s[3] == 3 && s.numel() > 0, "color_constancy: expected a picture [N, H, W, 3], got ",
        s);
  const int64_t N = s[0], pixels = s[1] * s[2];
  const ColorCast cast{form};

  Tensor loss = empty({}, enhanced.options());
  Tensor means = empty({N, 3}, {DType::f64, enhanced.device()});
  dispatch(enhanced.dtype(), [&](auto t) {
    using T = decltype(t);
    reduce_columns(enhanced.device(), N, pixels, 3,
                   ChannelMeans<T>{enhanced.data<T>(), means.data<double>(), pixels});
    parallel_reduce(enhanced.device(), 1, N, MeanCast<T>{means.data<double>(), loss.data<T>(), N, cast});
  });

  return differentiable("color_constancy", loss, {enhanced}, [=, means = Saved(means)](const Tensor& gy) {
    Tensor gx = empty(s, gy.options());
    dispatch(gy.dtype(), [&](auto t) {
      using T = decltype(t);
      parallel_rows(gy.device(), N, pixels * 3,
                    CastGradient<T>{means.get().data<double>(), gy.data<T>(), gx.data<T>(), pixels, N, cast});
    });
    return Grads{gx};
  });
}

}  // namespace lux
