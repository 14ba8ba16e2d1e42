// Sums over some dimensions of a row-major range, by the driver that fits their place: inner dimensions by
// `parallel_reduce`, outer ones by `reduce_columns`, a mixture by index arithmetic.
#pragma once

#include "luxgrad/kernels/broadcast.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {

namespace detail {

// Term is called with the flat index of an element; T is what the sums are stored as.
template <class T, class Term>
struct RowSum {
  Term value;
  T* result;
  int64_t n;
  double divisor;
  LUX_HD auto term(int64_t o, int64_t i) const { return value(o * n + i); }
  LUX_HD void finish(int64_t o, double sum) const { result[o] = T(static_cast<Arith<T>>(sum / divisor)); }
};

template <class T, class Term>
struct ColumnSum {
  Term value;
  T* result;
  int64_t columns;
  double divisor;
  LUX_HD auto term(int64_t row, int64_t c) const { return value(row * columns + c); }
  LUX_HD void finish(int64_t group, int64_t c, double sum) const {
    result[group * columns + c] = T(static_cast<Arith<T>>(sum / divisor));
  }
};

template <class T, class Term>
struct ScatteredSum {
  Term value;
  T* result;
  Strided kept, reduced;
  double divisor;
  LUX_HD auto term(int64_t o, int64_t i) const { return value(kept(o) + reduced(i)); }
  LUX_HD void finish(int64_t o, double sum) const { result[o] = T(static_cast<Arith<T>>(sum / divisor)); }
};

}  // namespace detail

/// result[o] = (sum of term(i) over all elements i of `wide` that repeat element o of `narrow`) / divisor,
/// where `narrow` has 1 in some dimensions of `wide`, or lacks leading ones.
template <class T, class Term>
void sum_over(Device device, const Shape& wide, const Shape& narrow, const Term& term, T* result,
              double divisor = 1) {
  const int missing = wide.rank() - narrow.rank();
  Strided kept, reduced;  // as offsets into `wide`
  int64_t stride = wide.numel(), outputs = 1, n = 1;
  int64_t inner = 1;  // elements inside the innermost reduced dimension
  for (int d = 0; d < wide.rank(); ++d) {
    if (wide[d] == 1) continue;
    stride = wide[d] == 0 ? 0 : stride / wide[d];
    if (d < missing || narrow[d - missing] == 1) {
      reduced.push(wide[d], stride);
      n *= wide[d];
      inner = 1;
    } else {
      kept.push(wide[d], stride);
      outputs *= wide[d];
      inner *= wide[d];
    }
  }
  if (outputs == 0) return;
  if (reduced.rank > 1 || n == 0) {
    parallel_reduce(device, outputs, n, detail::ScatteredSum<T, Term>{term, result, kept, reduced, divisor});
  } else if (n == 1 || inner == 1) {
    parallel_reduce(device, outputs, n, detail::RowSum<T, Term>{term, result, n, divisor});
  } else {
    reduce_columns(device, outputs / inner, n, inner,
                   detail::ColumnSum<T, Term>{term, result, inner, divisor});
  }
}

}  // namespace lux
