// What happens to a sum before it is stored: the activation that an operator applies on the way out, so that
// a layer costs one pass over memory. Slopes are expressed by the result, which is all that a gradient keeps.
#pragma once

#include <cstdint>

#include "luxgrad/tensor/math.h"

namespace lux {

enum class Activation : uint8_t { none, relu, leaky_relu, sigmoid, tanh };

/// y = activation(x). `slope` is leaky_relu's factor for negative x, at least 0.
template <class A>
LUX_HD A activate(Activation activation, A slope, A x) {
  switch (activation) {
    case Activation::relu:
      return x < A(0) ? A(0) : x;  // keeps NaN
    case Activation::leaky_relu:
      return x < A(0) ? x * slope : x;
    case Activation::sigmoid:
      return math::sigmoid(x);
    case Activation::tanh:
      return math::tanh(x);
    case Activation::none:
      break;
  }
  return x;
}

/// dy/dx as a function of y. At the kink of relu and leaky_relu it is the slope of the left side.
template <class A>
LUX_HD A activation_slope(Activation activation, A slope, A y) {
  switch (activation) {
    case Activation::relu:
      return y > A(0) ? A(1) : A(0);
    case Activation::leaky_relu:
      return y > A(0) ? A(1) : slope;
    case Activation::sigmoid:
      return y * (A(1) - y);
    case Activation::tanh:
      return A(1) - y * y;
    case Activation::none:
      break;
  }
  return A(1);
}

}  // namespace lux
