// Layers one after the other. Without a graph a map lives as long as the longest handle to it, and
// temporaries of a nested call as long as the whole expression: a network that runs in little memory passes
// maps on.
#pragma once

#include <utility>

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// last(… second(first(x))): each result dies when the next is there.
template <class... Layers>
Tensor chain(Tensor x, const Layers&... layers) {
  ((x = layers(x)), ...);
  return x;
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
