#include "luxgrad/layers/fusion.h"

#include "luxgrad/kernels/concat.h"
#include "luxgrad/kernels/selective_kernel.h"
#include "luxgrad/kernels/softmax.h"

namespace lux {

Tensor fuse_across_streams(const Tensors& streams, const Tensors& logits) {
  const Tensor weights = softmax(concat(logits, 1), 1);  // [N, streams, 1, C]
  return weighted_sum(streams, split(weights, std::vector<int64_t>(logits.size(), 1), 1));
}

Tensor fuse_across_channels(const Tensors& streams, const Tensors& logits) {
  Tensors weights;
  for (const Tensor& logit : logits) weights.push_back(softmax(logit, -1));
  return weighted_sum(streams, weights);
}

}  // namespace lux
