// layers/: modules that list, load and freeze what they declare; initial values.
#include <doctest/doctest.h>

#include <cmath>

#include "luxgrad/autograd/engine.h"
#include "luxgrad/autograd/observer.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/reductions.h"
#include "luxgrad/layers/chain.h"
#include "luxgrad/layers/conv2d.h"
#include "luxgrad/layers/conv_transpose2d.h"
#include "luxgrad/layers/init.h"
#include "luxgrad/tensor/raw.h"
#include "same_bits.h"

using namespace lux;

namespace {

std::string message_of(Module& module, const State& state) {
  try {
    module.load_state_dict(state);
  } catch (const StateMismatch& error) {
    return error.what();
  }
  return "";
}

struct Pair : Module {
  Conv2d first{*this, "first", {.in_channels = 3, .out_channels = 4, .kernel_size = 3}};
  Conv2d second{*this, "second", {.in_channels = 4, .out_channels = 3, .bias = false}};
};

struct Twins : Module {
  Conv2d left{*this, "left", {.in_channels = 4, .out_channels = 3}};
  Conv2d down{*this, "down", {.in_channels = 4, .out_channels = 3}};
};

struct Swapped : Module {
  Conv2d second{*this, "second", {.in_channels = 4, .out_channels = 3, .bias = false}};
  Conv2d first{*this, "first", {.in_channels = 3, .out_channels = 4, .kernel_size = 3}};
};

}  // namespace

TEST_CASE("a module lists what it declares, by path and in order") {
  Pair pair;
  const auto parameters = pair.named_parameters();
  REQUIRE(parameters.size() == 3);
  CHECK(parameters[0].name == "first.weight");
  CHECK(parameters[1].name == "first.bias");
  CHECK(parameters[2].name == "second.weight");
  CHECK(parameters[0].tensor.shape() == Shape{4, 3, 3, 3});
  CHECK_FALSE(pair.second.bias.defined());
  CHECK(pair.parameter_count() == 108 + 4 + 12);
  CHECK_THROWS_WITH_AS(Conv2d(pair, "first", {.in_channels = 1, .out_channels = 1}),
                       "module: expected a new name, got 'first' twice", Error);
  CHECK_THROWS_WITH_AS(Conv2d(pair, "", {.in_channels = 1, .out_channels = 1}),
                       "module: expected a name, got none", Error);
}

TEST_CASE("loading is strict, names every fault and changes nothing") {
  Pair pair;
  init_normal_(pair, 1, Generator(1));
  State before;
  for (const auto& [name, tensor] : pair.state_dict()) before[name] = tensor.clone();

  State wrong = before;
  wrong.erase("first.bias");
  wrong["second.weight"] = zeros({3, 1, 1, 5});
  wrong["third\n.weight"] = zeros({2});
  wrong["first.weight"] = full({4, 3, 3, 3}, INFINITY);
  CHECK(message_of(pair, wrong) ==
        "load_state_dict: the weights do not fit the network:\n"
        "  first.weight: element 0 is not finite\n"
        "  first.bias: missing, expected [4]\n"
        "  second.weight: expected [3, 1, 1, 4], got [3, 1, 1, 5]\n"
        "  third\\x0a.weight: unexpected, got [2]");
  wrong = before;
  wrong["first.bias"] = zeros({4}, {DType::i64, kCpu});
  CHECK(message_of(pair, wrong) ==
        "load_state_dict: the weights do not fit the network:\n  first.bias: expected a floating dtype, got "
        "i64");
  for (const auto& [name, tensor] : pair.state_dict()) CHECK(same_bits(tensor, before.at(name)));

  Pair other;
  other.to(DType::f64);
  other.load_state_dict(before);
  for (const auto& [name, tensor] : other.state_dict()) {
    CHECK(tensor.dtype() == DType::f64);
    CHECK(same_bits(tensor.to(DType::f32), before.at(name)));
  }
}

TEST_CASE("a frozen module asks for no gradient, and thaws with the scope") {
  Pair pair;
  pair.second.requires_grad_(false);
  {
    const Frozen frozen(pair);
    CHECK_FALSE(pair.first(full({1, 8, 8, 3}, 0.5)).requires_grad());
  }
  CHECK(pair.first.weight.requires_grad());
  CHECK_FALSE(pair.second.weight.requires_grad());
  const Tensor y = pair.second(pair.first(full({1, 8, 8, 3}, 0.5)));
  backward(y, full(y.shape(), 1));
  CHECK(pair.first.weight.grad().defined());
  CHECK_FALSE(pair.second.weight.grad().defined());
  pair.zero_grad();
  CHECK_FALSE(pair.first.weight.grad().defined());
}

TEST_CASE("a module runs with other tensors in the place of its parameters") {
  Pair pair;
  Tensor half = full({3, 1, 1, 4}, 0.5).requires_grad_();
  pair.substitute({zeros({4, 3, 3, 3}), full({4}, 1), 2.0 * half});
  const Tensor y = pair.second(pair.first(zeros({1, 3, 3, 3})));
  CHECK(y.to_vector() == std::vector<double>{4, 4, 4});
  backward(y, full(y.shape(), 1));
  CHECK(half.grad().to_vector() == std::vector<double>(12, 2));
  CHECK_THROWS_WITH_AS(pair.substitute({half}), "substitute: expected 3 tensors, got 1", Error);
  CHECK_THROWS_WITH_AS(pair.substitute({half, half, half}),
                       "substitute: expected [4, 3, 3, 3] for first.weight, got [3, 1, 1, 4]", Error);
}

TEST_CASE("a module computes with its parameters in another dtype, and the gradients arrive in theirs") {
  Pair pair;
  init_normal_(pair, 0.3, Generator{1});
  const std::vector<NamedTensor> masters = pair.named_parameters();
  const Tensor x = full({1, 5, 6, 3}, 0.25);
  const auto gradients = [&] {
    Tensors all;
    for (const NamedTensor& parameter : masters) {
      REQUIRE(parameter.tensor.grad().dtype() == DType::f32);
      all.push_back(parameter.tensor.grad());
    }
    pair.zero_grad();
    return all;
  };
  const auto run = [&](const Tensor& input) { return pair.second(pair.first(input)); };
  backward(sum(run(x)));
  const Tensors exact = gradients();
  {
    const Cast cast(pair, DType::bf16);
    CHECK(pair.dtype() == DType::bf16);
    const Tensor y = run(x.to(DType::bf16));
    CHECK(y.dtype() == DType::bf16);
    backward(sum(y));
  }
  const Tensors coarse = gradients();
  for (size_t i = 0; i < exact.size(); ++i) {
    CHECK(l2_norm(coarse[i] - exact[i]) < 1e-2 * l2_norm(exact[i]));
    CHECK_FALSE(same_bits(coarse[i], exact[i]));
  }
  const std::vector<NamedTensor> after = pair.named_parameters();
  for (size_t i = 0; i < masters.size(); ++i) CHECK(after[i].tensor.storage() == masters[i].tensor.storage());
  {
    const Frozen frozen(pair, [](std::string_view name) { return name.starts_with("second"); });
    const Cast cast(pair, DType::bf16);
    CHECK_FALSE(pair.second.weight.requires_grad());
    CHECK(pair.first.weight.requires_grad());
  }
}

TEST_CASE("a convolution takes the PReLU behind it along where no gradient needs what stands between") {
  struct Net : Module {
    Conv2d conv{*this, "conv", {.in_channels = 12, .out_channels = 19, .kernel_size = 3}};
    PRelu slope{*this, "slope"};
    ConvTranspose2d up{*this, "up", {.in_channels = 19, .out_channels = 5, .kernel_size = 3, .bias = false}};
    Conv2d last{*this, "last", {.in_channels = 5, .out_channels = 5}};
  } net;
  init_fan_in_uniform_(net, Generator(2));
  const Tensor x = empty({1, 18, 21, 12}, {});
  Generator generator(3, "x");
  fill_uniform_(x, -1, 1, generator);
  const auto apart = [&] { return net.last(net.slope(net.up(net.slope(net.conv(x))))); };
  const auto operators = [&](Tensor& y) {
    Trace trace;
    y = chain(x, net.conv, net.slope, net.up, net.slope, net.last);
    return trace.lines().size();
  };
  for (const double slope : {0.25, 0.0, 1.5, -0.25, -HUGE_VAL}) {
    CAPTURE(slope);
    fill_(net.slope.weight, slope);
    Tensor y;
    {
      const NoGrad no_grad;
      CHECK(operators(y) == (slope < 0 ? 5 : 3));
      CHECK(same_bits(y, apart()));
    }
    CHECK(operators(y) == 5);  // recorded
    CHECK(same_bits(y, apart()));
  }
}

TEST_CASE("what a convolution is added to gets the bits of an addition behind it") {
  const NoGrad no_grad;
  struct Net : Module {
    Conv2d mixed{*this, "mixed", {.in_channels = 24, .out_channels = 40}};
    Conv2d wide{*this, "wide", same_conv(24, 40, 3)};
    Conv2d apart{*this, "apart", {24, 40, 3, {.padding = 1, .groups = 4}}};
    Conv2d filtered{*this, "filtered", {24, 24, 3, {.padding = 1, .groups = 24}}};
  } net;
  init_fan_in_uniform_(net, Generator(2));
  const Tensor x = empty({2, 18, 70, 24}, {}), skip = empty({2, 18, 70, 40}, {});
  Generator generator(3, "x");
  fill_uniform_(x, -1, 1, generator);
  fill_uniform_(skip, -1, 1, generator);
  for (const Conv2d* const conv : {&net.mixed, &net.wide, &net.apart})
    CHECK(same_bits(conv->onto(skip, x), (*conv)(x) + skip));
  CHECK(same_bits(net.filtered.onto(x, x), net.filtered(x) + x));
}

TEST_CASE("initial values depend on a parameter's name only") {
  Pair pair;
  Swapped swapped;
  init_fan_in_uniform_(pair, Generator(5));
  init_fan_in_uniform_(swapped, Generator(5));
  for (const auto& [name, tensor] : pair.state_dict())
    CHECK(same_bits(tensor, swapped.state_dict().at(name)));
  init_fan_in_uniform_(swapped, Generator(6));
  CHECK_FALSE(same_bits(pair.first.weight, swapped.first.weight));

  Twins twins;
  init_fan_in_uniform_(twins, Generator(5));
  CHECK_FALSE(same_bits(twins.left.weight, twins.down.weight));
  CHECK_FALSE(same_bits(twins.left.bias, twins.down.bias));
}

TEST_CASE("initialisers have the published spread") {
  struct Net : Module {
    Conv2d conv{*this, "conv", {.in_channels = 64, .out_channels = 32, .kernel_size = 3}};
  } net;
  const auto deviation = [](const Tensor& t) {
    return l2_norm(t) / std::sqrt(static_cast<double>(t.numel()));
  };
  const auto largest = [](const Tensor& t) {
    double most = 0;
    for (const double value : t.to_vector()) most = std::max(most, std::abs(value));
    return most;
  };
  init_normal_(net, 0.02, Generator(1));
  CHECK(deviation(net.conv.weight) == doctest::Approx(0.02).epsilon(0.02));
  CHECK(largest(net.conv.weight) > 0.06);
  CHECK(largest(net.conv.bias) <= 1 / 24.0);  // fan_in 3·3·64 = 24²
  CHECK(largest(net.conv.bias) > 0.9 / 24.0);
  init_normal_(net, 0.02, Generator(1), FirstBias::zero);
  CHECK(deviation(net.conv.weight) == doctest::Approx(0.02).epsilon(0.02));
  CHECK(largest(net.conv.bias) == 0);
  init_fan_in_uniform_(net, Generator(1));
  CHECK(largest(net.conv.weight) <= 1 / 24.0);
  CHECK(deviation(net.conv.weight) == doctest::Approx(1 / 24.0 / std::sqrt(3.0)).epsilon(0.02));
  init_glorot_uniform_(net, Generator(1));
  const double bound = std::sqrt(6.0 / (9 * (64 + 32)));
  CHECK(largest(net.conv.weight) <= bound);
  CHECK(largest(net.conv.weight) > 0.99 * bound);
  CHECK(largest(net.conv.bias) == 0);
}
