// Layers one after the other. Without a graph a map lives as long as the longest handle to it, and
// temporaries of a nested call as long as the whole expression: a network that runs in little memory passes
// maps on.
#pragma once

#include <utility>

#include "luxgrad/tensor/tensor.h"

namespace lux {

inline Tensor chain(Tensor x) { return x; }

template <class Layer>
Tensor chain(Tensor x, const Layer& layer) {
  return layer(x);
}

/// last(… second(first(x))): each result dies when the next is there. A layer that can do what the next one
/// does on its way out, as a convolution can a PReLU, is asked for both: first(x, second).
template <class First, class Second, class... Rest>
Tensor chain(Tensor x, const First& first, const Second& second, const Rest&... rest) {
  if constexpr (requires { first(x, second); }) {
    x = first(x, second);
    return chain(std::move(x), rest...);
  } else {
    x = first(x);
    return chain(std::move(x), second, rest...);
  }
}

/// A list of the tensors that are moved in, which nothing else holds: a braced list would, until the end of
/// the expression.
template <class... More>
Tensors handed_over(More... tensors) {
  Tensors list;
  list.reserve(sizeof...(tensors));
  (list.push_back(std::move(tensors)), ...);
  return list;
}

}  // namespace lux
