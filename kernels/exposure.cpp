// One reduction per patch leaves Q - target behind; the loss and the gradient are made from that small map.
#include "luxgrad/kernels/exposure.h"

#include <cmath>

#include "luxgrad/autograd/node.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

// The grid of patches, [N, rows, columns], over pictures [N, H, W, C].
struct Patches {
  int64_t N, H, W, C, size, rows, columns;
  LUX_HD int64_t count() const { return N * rows * columns; }
  LUX_HD int64_t elements() const { return size * size * C; }  // of a patch
};

template <class T>
struct PatchError {
  const T* picture;
  Arith<T>* error;  // [N, rows, columns]
  Patches patches;
  double target;

  LUX_HD Arith<T> term(int64_t patch, int64_t i) const {
    const int64_t run = patches.size * patches.C;
    const int64_t column = patch % patches.columns, row = patch / patches.columns % patches.rows;
    const int64_t n = patch / (patches.columns * patches.rows);
    const int64_t h = row * patches.size + i / run;
    return picture[(n * patches.H + h) * patches.W * patches.C + column * run + i % run];
  }
  LUX_HD void finish(int64_t patch, double sum) const {
    error[patch] = Arith<T>(sum / static_cast<double>(patches.elements()) - target);
  }
};

template <class T>
struct MeanError {
  const Arith<T>* error;
  T* loss;
  int64_t count;
  ExposureForm form;

  LUX_HD double term(int64_t, int64_t patch) const {
    const double e = static_cast<double>(error[patch]);
    return form == ExposureForm::paper ? std::fabs(e) : e * e;
  }
  LUX_HD void finish(int64_t, double sum) const {
    *loss = T(static_cast<Arith<T>>(sum / static_cast<double>(count)));
  }
};

// One row of the picture.
template <class T>
struct ExposureGradient {
  const Arith<T>* error;
  const T* gy;
  T* gx;
  Patches patches;
  ExposureForm form;

  LUX_HD void operator()(const Team& team, int64_t picture_row) const {
    using A = Arith<T>;
    const int64_t run = patches.size * patches.C;
    const int64_t n = picture_row / patches.H, row = picture_row % patches.H / patches.size;
    const A* const errors = error + (n * patches.rows + row) * patches.columns;
    const A share = A(gy[0]) / A(patches.count() * patches.elements());
    T* const g = gx + picture_row * patches.W * patches.C;
    team.each(patches.W * patches.C, [&](int64_t x) {
      const int64_t column = x / run;
      g[x] = T(row < patches.rows && column < patches.columns ? share * slope(errors[column]) : A(0));
    });
  }

  LUX_HD Arith<T> slope(Arith<T> e) const {
    using A = Arith<T>;
    if (form == ExposureForm::official) return A(2) * e;
    return e > A(0) ? A(1) : (e < A(0) ? A(-1) : A(0));
  }
};

}  // namespace

Tensor exposure(const Tensor& enhanced, ExposureForm form, int64_t patch, double target) {
  const OperatorScope scope("exposure", enhanced);
  const Shape s = enhanced.shape();
  check(patch >= 1, "exposure: expected a patch of at least 1 pixel, got ", patch);
  check(s.rank() == 4 && s[0] >= 1 && s[1] >= patch && s[2] >= patch && s[3] >= 1,
        "exposure: expected a picture [N, H, W, C] of at least ", patch, "x", patch, ", got ", s);
  const Patches patches{s[0], s[1], s[2], s[3], patch, s[1] / patch, s[2] / patch};

  Tensor loss = empty({}, enhanced.options());
  Tensor error =
      empty({patches.N, patches.rows, patches.columns}, {arith_dtype(enhanced.dtype()), enhanced.device()});
  dispatch(enhanced.dtype(), [&](auto t) {
    using T = decltype(t);
    Arith<T>* const errors = error.data<Arith<T>>();
    parallel_reduce(enhanced.device(), patches.count(), patches.elements(),
                    PatchError<T>{enhanced.data<T>(), errors, patches, target});
    parallel_reduce(enhanced.device(), 1, patches.count(),
                    MeanError<T>{errors, loss.data<T>(), patches.count(), form});
  });

  const auto backward = [s, patches, form, error = Saved(error)](const Tensor& gy) {
    Tensor gx = empty(s, gy.options());
    dispatch(gy.dtype(), [&](auto t) {
      using T = decltype(t);
      parallel_rows(
          gy.device(), patches.N * patches.H, patches.W * patches.C,
          ExposureGradient<T>{error.get().data<Arith<T>>(), gy.data<T>(), gx.data<T>(), patches, form});
    });
    return Grads{gx};
  };
  return differentiable("exposure", loss, {enhanced}, backward);
}

}  // namespace lux
