// Defines a network and trains it to undo a darkening.
#include <cstdio>
#include <utility>

#include "luxgrad/autograd/engine.h"
#include "luxgrad/layers/conv2d.h"
#include "luxgrad/layers/init.h"
#include "luxgrad/losses/pixel.h"
#include "luxgrad/training/optimizer.h"

using namespace lux;

namespace {

/// Four noise pictures, and the same at a fifth of their brightness.
std::pair<Tensor, Tensor> bright_and_dark() {
  Generator generator{1};
  Tensor bright = empty({4, 32, 32, 3}), dark = empty({4, 32, 32, 3});
  fill_uniform_(bright, 0.2, 0.8, generator);
  for (int64_t i = 0; i < bright.numel(); ++i) dark.data<float>()[i] = 0.2f * bright.data<float>()[i];
  return {bright, dark};
}

}  // namespace

struct Tiny : Module {
  Conv2d first{*this, "first", {3, 8, 3, {.padding = 1, .activation = Activation::relu}}};
  Conv2d second{*this, "second", {8, 3, 3, {.padding = 1, .activation = Activation::sigmoid}}};
  Tensor operator()(const Tensor& x) const { return second(first(x)); }
};

int main() {
  const auto [bright, dark] = bright_and_dark();
  Tiny net;
  init_fan_in_uniform_(net, Generator{2});
  Adam adam(net.named_parameters(), {.lr = 1e-2});
  for (int step = 1; step <= 100; ++step) {
    const Tensor loss = l1_loss(net(dark), bright);
    adam.zero_grad();
    backward(loss);
    adam.step();
    if (step % 20 == 0) std::printf("step %3d  loss %.4f\n", step, loss.item());
  }
}
