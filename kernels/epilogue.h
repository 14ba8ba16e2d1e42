// What happens to a sum before it is stored: the activation that an operator applies on the way out, so that
// a layer costs one pass over memory. Slopes are expressed by the result, which is all that a gradient keeps.
#pragma once

#include <cstdint>
#include <type_traits>

#include "luxgrad/kernels/formulas.h"

namespace lux {

enum class Activation : uint8_t { none, relu, leaky_relu, sigmoid, tanh };

/// y = activation(x). `slope` is leaky_relu's factor for negative x, at least 0.
template <class A>
LUX_HD A activate(Activation activation, A slope, A x) {
  switch (activation) {
    case Activation::relu:
      return Relu{}.value(x);
    case Activation::leaky_relu:
      return LeakyRelu{slope}.value(x);
    case Activation::sigmoid:
      return Sigmoid{}.value(x);
    case Activation::tanh:
      return Tanh{}.value(x);
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
      return Relu{}.slope_of_output(y);
    case Activation::leaky_relu:
      return LeakyRelu{slope}.slope_of_output(y);
    case Activation::sigmoid:
      return Sigmoid{}.slope_of_output(y);
    case Activation::tanh:
      return Tanh{}.slope_of_output(y);
    case Activation::none:
      break;
  }
  return A(1);
}

/// f(activation), as a std::integral_constant.
template <class F>
void with_constant(Activation activation, const F& f) {
  switch (activation) {
    case Activation::relu:
      return f(std::integral_constant<Activation, Activation::relu>{});
    case Activation::leaky_relu:
      return f(std::integral_constant<Activation, Activation::leaky_relu>{});
    case Activation::sigmoid:
      return f(std::integral_constant<Activation, Activation::sigmoid>{});
    case Activation::tanh:
      return f(std::integral_constant<Activation, Activation::tanh>{});
    case Activation::none:
      break;
  }
  f(std::integral_constant<Activation, Activation::none>{});
}

}  // namespace lux
