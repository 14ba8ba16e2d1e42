// Formulas of the elementwise operators, with their slopes: the one place where each is written, used by
// `unary` and by the epilogue of convolution. A NaN stays a NaN.
#pragma once

#include <cmath>

#include "luxgrad/tensor/math.h"

namespace lux {

struct Relu {
  template <class A>
  LUX_HD A value(A x) const {
    return x < A(0) ? A(0) : x;
  }
  template <class A>
  LUX_HD A slope_of_output(A y) const {
    return y > A(0) ? A(1) : A(0);
  }
};

struct LeakyRelu {
  double slope;  // at least 0, so that the sign of the output is the sign of the input

  template <class A>
  LUX_HD A value(A x) const {
    return x < A(0) ? x * A(slope) : x;
  }
  template <class A>
  LUX_HD A slope_of_output(A y) const {
    return y > A(0) ? A(1) : A(slope);
  }
};

struct Sigmoid {  // y = 1 / (1 + e^-x), y' = y·(1 - y)
  template <class A>
  LUX_HD A value(A x) const {
    return math::sigmoid(x);
  }
  template <class A>
  LUX_HD A slope_of_output(A y) const {
    return y * (A(1) - y);
  }
};

struct Tanh {  // y' = 1 - y²
  template <class A>
  LUX_HD A value(A x) const {
    return math::tanh(x);
  }
  template <class A>
  LUX_HD A slope_of_output(A y) const {
    return A(1) - y * y;
  }
};

struct Abs {
  template <class A>
  LUX_HD A value(A x) const {
    return std::fabs(x);
  }
  template <class A>
  LUX_HD A slope_of_input(A x) const {
    return x > A(0) ? A(1) : (x < A(0) ? A(-1) : A(0));
  }
};

struct Square {
  template <class A>
  LUX_HD A value(A x) const {
    return x * x;
  }
  template <class A>
  LUX_HD A slope_of_input(A x) const {
    return A(2) * x;
  }
};

struct Sqrt {  // y' = 1 / (2y), and 0 at 0, where the formula has none
  template <class A>
  LUX_HD A value(A x) const {
    return std::sqrt(x);
  }
  template <class A>
  LUX_HD A slope_of_output(A y) const {
    return y == A(0) ? A(0) : A(0.5) / y;
  }
};

struct Exp {
  template <class A>
  LUX_HD A value(A x) const {
    return math::exp(x);
  }
  template <class A>
  LUX_HD A slope_of_output(A y) const {
    return y;
  }
};

struct Elu {  // y' = e^x = y + 1 for negative x
  template <class A>
  LUX_HD A value(A x) const {
    return x > A(0) ? x : math::exp(x) - A(1);
  }
  template <class A>
  LUX_HD A slope_of_output(A y) const {
    return y > A(0) ? A(1) : y + A(1);
  }
};

struct Log {  // slope 0 at 0, where the formula has none
  template <class A>
  LUX_HD A value(A x) const {
    return std::log(x);
  }
  template <class A>
  LUX_HD A slope_of_input(A x) const {
    return x == A(0) ? A(0) : A(1) / x;
  }
};

struct Softplus {  // y' = σ(x)
  template <class A>
  LUX_HD A value(A x) const {
    return (x > A(0) ? x : A(0)) + std::log1p(math::exp(-std::fabs(x)));
  }
  template <class A>
  LUX_HD A slope_of_input(A x) const {
    return math::sigmoid(x);
  }
};

struct Huber {  // x² / 2 up to delta, then a line
  double delta;

  template <class A>
  LUX_HD A value(A x) const {
    const A size = std::fabs(x);
    return size <= A(delta) ? A(0.5) * x * x : A(delta) * (size - A(0.5) * A(delta));
  }
  template <class A>
  LUX_HD A slope_of_input(A x) const {
    return x < A(-delta) ? A(-delta) : (x > A(delta) ? A(delta) : x);
  }
};

struct Clamp {  // slope 1 on the bounds too, as in PyTorch
  double low, high;

  template <class A>
  LUX_HD A value(A x) const {
    return x < A(low) ? A(low) : (x > A(high) ? A(high) : x);
  }
  template <class A>
  LUX_HD A slope_of_input(A x) const {
    return x < A(low) || x > A(high) ? A(0) : A(1);
  }
};

}  // namespace lux
