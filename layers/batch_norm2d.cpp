#include "luxgrad/layers/batch_norm2d.h"

#include "luxgrad/autograd/node.h"
#include "luxgrad/autograd/recompute.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/tensor/raw.h"

namespace lux {

BatchNorm2d::BatchNorm2d(Module& parent, std::string name, int64_t channels, double eps, double decay)
    : Module(parent, std::move(name)),
      weight(*this, "weight", {channels}),
      bias(*this, "bias", {channels}),
      running_mean(*this, "running_mean", {channels}, 0),
      running_var(*this, "running_var", {channels}, 1),
      eps_(eps),
      decay_(decay) {
  fill_(weight, 1);
}

Tensor BatchNorm2d::operator()(const Tensor& x, const BatchNormMode& mode) const {
  if (mode.statistics == BatchNormMode::running)
    return batch_norm(x, weight, bias, {running_mean, running_var}, eps_);
  const auto [y, batch] = batch_norm(x, weight, bias, eps_);
  if (mode.update && !recomputing()) {
    const NoGrad no_grad;
    const auto move = [&](const Tensor& average, const Tensor& value) {
      copy_(average, average * decay_ + value.to(average.dtype()) * (1 - decay_));
    };
    move(running_mean, batch.mean);
    move(running_var, batch.variance);
  }
  return y;
}

}  // namespace lux
