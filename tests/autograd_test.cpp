// autograd/: recording, the backward engine, observers, and gradcheck itself.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "error_of.h"
#include "luxgrad/autograd/engine.h"
#include "luxgrad/autograd/gradcheck.h"
#include "luxgrad/autograd/node.h"
#include "luxgrad/autograd/observer.h"
#include "luxgrad/autograd/op_case.h"
#include "luxgrad/kernels/activations.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/reductions.h"
#include "luxgrad/tensor/memory.h"
#include "luxgrad/tensor/raw.h"

using namespace lux;

namespace {

constexpr TensorOptions kF64{DType::f64, kCpu};

Tensor leaf(const std::vector<double>& values) {
  return from_vector(values, {static_cast<int64_t>(values.size())}, kF64).requires_grad_();
}

using Values = std::vector<double>;
constexpr double kInf = std::numeric_limits<double>::infinity();

// y = factor·x, with a gradient that is off by `error`: the smallest operator there is.
Tensor scaled(const Tensor& x, double factor, double error = 0) {
  Tensor y = empty(x.shape(), x.options());
  for (int64_t i = 0; i < x.numel(); ++i) y.data<double>()[i] = factor * x.data<double>()[i];
  return differentiable("scaled", y, {x},
                        [=](const Tensor& gy) { return Grads{scaled(gy, factor * (1 + error))}; });
}

// One operator with a backward that the test writes.
template <class F>
Tensor with_backward(const Tensors& inputs, F backward) {
  return differentiable("test", inputs[0].clone(), inputs, backward);
}

}  // namespace

TEST_CASE("gradients follow the chain rule and add up where paths join") {
  const Tensor x = leaf({2, 3});
  const Tensor y = x * x, z = y * x + y;  // x³ + x²
  backward(sum(z));
  CHECK(x.grad().to_vector() == Values{3 * 4 + 2 * 2, 3 * 9 + 2 * 3});
}

TEST_CASE("gradients of several backward passes add up in the leaf") {
  const Tensor x = leaf({2, 3});
  backward(sum(x * 5.0));
  const Tensor first = x.grad();
  backward(sum(x * 7.0));
  CHECK(x.grad().to_vector() == Values{12, 12});
  CHECK(first.to_vector() == Values{5, 5});  // what somebody holds is never written
}

TEST_CASE("accumulation never writes into a tensor that somebody else holds") {
  const Tensor x = leaf({1, 2}), y = leaf({3, 4});
  const Tensor gy = from_vector({10, 20}, {2}, kF64);
  backward(x + y, gy);  // both gradients are gy itself
  CHECK(x.grad().raw() == gy.raw());
  CHECK(y.grad().raw() == gy.raw());
  backward(x * 1.0, gy);
  CHECK(gy.to_vector() == Values{10, 20});
  CHECK(y.grad().to_vector() == Values{10, 20});
  CHECK(x.grad().to_vector() == Values{20, 40});

  // Inside the graph: one node hands the same tensor to two consumers, which meet again.
  const Tensor a = leaf({1, 1}), b = a * 1.0, c = b * 1.0;
  Tensor kept;
  const Tensor d = differentiable("fork", b.clone(), {b, c}, [&kept](const Tensor& g) {
    kept = g.clone();
    return Grads{kept, kept};
  });
  backward(d, gy);
  CHECK(kept.to_vector() == Values{10, 20});
  CHECK(a.grad().to_vector() == Values{20, 40});
}

TEST_CASE("empty tensors pass forward and backward") {
  const Tensor x = zeros({3, 0}, kF64).requires_grad_(), row = leaf({1, 2, 3});
  CHECK(sum(x).item() == 0);
  CHECK(sum(x, {1}).to_vector() == Values{0, 0, 0});
  CHECK(sum(x, {0}).shape() == Shape{0});
  CHECK(sum(zeros({0, 3, 0}), {0, 2}).to_vector() == Values{0, 0, 0});
  CHECK(sum(zeros({3, 0, 2}), {0}, true).shape() == Shape{1, 0, 2});
  CHECK(mean(x, {0}).shape() == Shape{0});
  CHECK(error_of([&] { mean(x, {1}); }).find("mean: expected at least one element") == 0);

  backward(sum(x * 2.0, {0}), zeros({0}, kF64));
  CHECK(x.grad().shape() == Shape{3, 0});
  backward(sum(row + zeros({0, 3}, kF64)));  // repeated no times
  CHECK(row.grad().to_vector() == Values{0, 0, 0});
  const Tensor column = zeros({3, 1}, kF64).requires_grad_();
  backward(sum(column * x.detach()));
  CHECK(column.grad().to_vector() == Values{0, 0, 0});
}

TEST_CASE("a graph can be used once") {
  const Tensor x = leaf({1});
  const Tensor y = x * x, z = y * 3.0;
  backward(z);
  CHECK(error_of([&] { backward(z); }) ==
        "backward: the graph at mul was already consumed by an earlier backward");
  CHECK(error_of([&] { backward(y * 2.0); }) ==
        "backward: the graph at mul was already consumed by an earlier backward");
  CHECK(x.grad().to_vector() == Values{6});
}

TEST_CASE("backward says what is wrong") {
  const Tensor x = leaf({1, 2});
  CHECK(error_of([&] { backward(x * 2.0); }) == "backward: expected a loss with one element, got shape [2]");
  CHECK(error_of([&] { backward(zeros({})); }) == "backward: nothing below this tensor requires gradients");
  CHECK(error_of([&] { backward(x * 2.0, zeros({3}, kF64)); }) ==
        "backward: expected a gradient f64 [2], got f64 [3]");
  const auto gives = [&](const Grads& grads) {
    return error_of([&] { backward(sum(with_backward({x}, [=](const Tensor&) { return grads; }))); });
  };
  CHECK(gives({}) == "test: expected 1 gradients, got 0");
  CHECK(gives({Tensor()}) == "test: no gradient for input 0");
  CHECK(gives({zeros({3}, kF64)}) == "test: expected a gradient f64 [2] for input 0, got f64 [3]");
  CHECK(gives({zeros({2})}) == "test: expected a gradient f64 [2] for input 0, got f32 [2]");
  CHECK(error_of([&] { backward(x * 2.0, zeros({2})); }) ==
        "backward: expected a gradient f64 [2], got f32 [2]");
}

TEST_CASE("a tensor that the gradient needs must not change in between") {
  const Tensor x = leaf({1, 2}), y = leaf({3, 4});
  const Tensor loss = sum(x * y);
  fill_(y, 5);
  CHECK(error_of([&] { backward(loss); }) ==
        "backward: a tensor that the gradient needs was changed in place after the forward pass, shape [2]");

  const Tensor sums = sum(x + y);  // keeps nothing
  fill_(y, 6);
  backward(sums);
  CHECK(x.grad().to_vector() == Values{1, 1});
}

TEST_CASE("a captured reshape or detach shares the version") {
  const Tensor x = leaf({1, 2}), y = from_vector({3, 4}, {2}, kF64);
  const Tensor loss = sum(x * y.detach());
  scale_(y.with_shape({2, 1}), 2);
  CHECK(error_of([&] { backward(loss); }).find("was changed in place") != std::string::npos);
}

TEST_CASE("only what asks for gradients gets them, and `need` says so") {
  const Tensor x = leaf({1, 2}), frozen = from_vector({3, 4}, {2}, kF64);
  std::vector<bool> needed;
  const Tensor y = with_backward({x, frozen, Tensor()}, [&needed](const Tensor& gy, const Need& need) {
    needed = {need(0), need(1), need(2)};
    return Grads{gy, Tensor(), Tensor()};
  });
  backward(sum(y));
  CHECK(needed == std::vector<bool>{true, false, false});
  CHECK(x.grad().defined());
  CHECK_FALSE(frozen.grad().defined());
  CHECK_FALSE((frozen * frozen).requires_grad());
}

TEST_CASE("a leaf frozen after the forward pass gets nothing") {
  Tensor x = leaf({1, 2}), y = leaf({3, 4});
  const Tensor loss = sum(x * y);
  x.requires_grad_(false);
  backward(loss);
  CHECK_FALSE(x.grad().defined());
  CHECK(y.grad().to_vector() == Values{1, 2});
}

TEST_CASE("NoGrad records nothing, nests, and ends with its scope") {
  const Tensor x = leaf({1, 2});
  CHECK(grad_enabled());
  {
    const NoGrad outer;
    CHECK_FALSE((x * 2.0).requires_grad());
    {
      const NoGrad inner;
      CHECK_FALSE(grad_enabled());
    }
    CHECK_FALSE(grad_enabled());
  }
  CHECK((x * 2.0).requires_grad());
  const Tensor y = with_backward({x}, [](const Tensor& gy) {
    CHECK_FALSE(grad_enabled());
    return Grads{gy};
  });
  backward(sum(y));
  CHECK(grad_enabled());
  const Tensor bad = with_backward({x}, [](const Tensor&) -> Grads { fail("on purpose"); });
  CHECK(error_of([&] { backward(sum(bad)); }) == "on purpose");
  CHECK(grad_enabled());  // also after an error
}

TEST_CASE("a chain of 200,000 nodes is walked and destroyed without recursion") {
  const int64_t live = memory::stats().live;
  {
    const Tensor x = leaf({1});
    Tensor y = x;
    for (int i = 0; i < 200000; ++i)
      y = differentiable("step", y.detach(), {y}, [](const Tensor& g) { return Grads{g}; });
    SUBCASE("walked") {
      backward(y);
      CHECK(x.grad().to_vector() == Values{1});
    }
    SUBCASE("only destroyed") {}
  }
  CHECK(memory::stats().live == live);
}

TEST_CASE("a wide graph with shared nodes is destroyed once") {
  const int64_t live = memory::stats().live;
  {
    Tensor y = leaf({1});
    for (int i = 0; i < 2000; ++i) y = y + y * y * 1e-9;
  }
  CHECK(memory::stats().live == live);
}

TEST_CASE("backward frees what it has used") {
  const Tensor x = full({1000}, 1, kF64).requires_grad_();
  const int64_t before = memory::stats().live;
  {
    const Tensor y = x * x;  // keeps x only
    CHECK(memory::stats().live - before == 8000);
    const Tensor loss = sum(y);
    backward(loss);
    CHECK(memory::stats().live - before == 8000 + 8 + 8000);  // y, loss, the gradient of x
  }
  CHECK(memory::stats().live - before == 8000);

  Tensor z = x;
  for (int i = 0; i < 20; ++i) z = square(z);
  const Tensor loss = sum(z);
  z = {};
  memory::reset_peak();
  const int64_t kept = memory::stats().live;
  backward(loss);
  CHECK(memory::stats().peak - kept <= 3 * 8000 + 100);  // one step forward, one step freed
}

TEST_CASE("a failed allocation anywhere in a step leaves no bytes behind, and the next step is right") {
  const Tensor x = leaf({1, 2, 3});
  const auto step = [&] {
    x.set_grad({});
    backward(mean(square(x * 2.0 + 1.0) / (x * x + 1.0)));
    Values grad = x.grad().to_vector();
    x.set_grad({});
    return grad;
  };
  const Values expected = step();
  const int64_t live = memory::stats().live, before = memory::stats().allocations;
  step();
  const int64_t allocations = memory::stats().allocations - before;
  CHECK(allocations > 8);
  for (int64_t k = 1; k <= allocations; ++k) {
    memory::fail_allocation(k);
    CHECK_THROWS_AS(step(), OutOfMemory);
    x.set_grad({});
    CHECK(memory::stats().live == live);
  }
  memory::fail_allocation(0);
  CHECK(step() == expected);
}

TEST_CASE("observers see every operator, forward and backward, and nest") {
  const Tensor x = leaf({1, 2});
  Trace outer;
  {
    Trace inner;
    backward(sum(tanh(x)));
    CHECK(inner.lines() ==
          std::vector<std::string>{"tanh [2] -> [2]", "sum [2] -> []", "grad sum [2]", "grad tanh [2]"});
  }
  const NoGrad no_grad;
  relu(x);  // also when nothing is recorded
  CHECK(outer.lines().size() == 5);
  CHECK(outer.lines().back() == "relu [2] -> [2]");
}

TEST_CASE("a profile counts calls and sorts by time") {
  const Tensor x = leaf({1, 2});
  Profile profile;
  backward(sum(tanh(x) + tanh(x)));
  const auto rows = profile.rows();
  CHECK(rows.size() == 6);
  for (const auto& row : rows) {
    CHECK(row.seconds >= 0);
    CHECK(row.calls == (row.name.find("tanh") != std::string::npos ? 2 : 1));
  }
  CHECK(std::is_sorted(rows.begin(), rows.end(),
                       [](const auto& a, const auto& b) { return a.seconds > b.seconds; }));
}

TEST_CASE("the first NaN or infinity is found where it arises") {
  const Tensor x = leaf({1, 0, 2});
  FirstNonFinite watch;
  const Tensor y = x * 3.0;
  CHECK(watch.found().empty());
  const Tensor z = y / x;  // 0 / 0
  CHECK(watch.found() == "div: element 1 of the result, shape [3]");
  backward(sum(z));
  CHECK(watch.found() == "div: element 1 of the result, shape [3]");

  FirstNonFinite backward_watch;
  const Tensor w = with_backward({x, x}, [](const Tensor& gy) {
    return Grads{gy, full(gy.shape(), kInf, kF64)};
  });
  backward(sum(w));
  CHECK(backward_watch.found() == "test: element 0 of the gradient of input 1, shape [3]");
}

TEST_CASE("gradcheck passes a right gradient and fails one that is 1 % off") {
  Tensor x = from_vector({0.3, -1.2, 2.0}, {3}, {DType::f64, kCpu}).requires_grad_();
  CHECK(gradcheck("scaled", [](const Tensors& in) { return scaled(in[0], 3); }, {x}).passed);
  CHECK_FALSE(gradcheck("scaled", [](const Tensors& in) { return scaled(in[0], 3, 0.01); }, {x}).passed);
  CHECK_FALSE(gradcheck("scaled", [](const Tensors& in) { return scaled(in[0], 3, 1e-4); }, {x}).passed);
}

TEST_CASE("gradcheck names operator, input, index and both values") {
  const Tensor x = leaf({1, 2}), y = leaf({3, 4, 5});
  const auto f = [](const Tensors& in) {
    const Tensor total = sum(in[0]) + sum(in[1]);
    return with_backward({total.detach(), in[0], in[1]}, [](const Tensor& gy) {
      const double g = gy.item();
      return Grads{Tensor(), from_vector({g, g}, {2}, kF64), from_vector({g, g * 1.5, g}, {3}, kF64)};
    });
  };
  const GradcheckResult result = gradcheck("joined", f, {x, y});
  CHECK_FALSE(result.passed);
  CHECK(result.name == "joined");
  CHECK(result.input == 1);
  CHECK(result.index == 1);
  CHECK(result.analytic == doctest::Approx(1.5 * result.numeric));
  CHECK(result.error > 1000);
  CHECK(result.message().find("joined: FAILED, input 1 index 1: analytic ") == 0);
}

TEST_CASE("gradcheck fails where a gradient is zero everywhere") {
  const Tensor x = leaf({1, 2}), y = leaf({3, 4});
  const auto ignores = [](const Tensors& in) {
    return with_backward(in, [](const Tensor& gy) { return Grads{gy, gy * 0.0}; });
  };
  CHECK(gradcheck("ignores", ignores, {x, y}).message() ==
        "ignores: FAILED, input 1 index 0: analytic 0, numeric 0 (both gradients are zero everywhere)");
  CHECK(gradcheck("zero",
                  [](const Tensors& in) {
                    return with_backward(in, [](const Tensor& gy) { return Grads{gy * 0.0}; });
                  },
                  {x})
            .reason == "the analytic gradient is zero everywhere");
  const auto constant = [](const Tensors& in) {
    return differentiable("constant", zeros({2}, kF64), in,
                          [](const Tensor& gy) { return Grads{gy * 1e-12}; });
  };
  CHECK(gradcheck("constant", constant, {x}).reason == "the numeric gradient is zero everywhere");

  // The element that says most about the other side, with both values.
  const GradcheckResult forgotten =
      gradcheck("forgotten",
                [](const Tensors& in) {
                  const Tensor factors = from_vector({1, -4, 2}, {3}, kF64);
                  return with_backward({in[0].detach() * factors, in[0]}, [](const Tensor& gy) {
                    return Grads{Tensor(), gy * 0.0};
                  });
                },
                {leaf({1, 2, 3})});
  CHECK(forgotten.reason == "the analytic gradient is zero everywhere");
  CHECK(forgotten.index == 1);
  CHECK(forgotten.analytic == 0);
  CHECK(std::abs(forgotten.numeric) >= 2);
  const GradcheckResult invented =
      gradcheck("invented",
                [](const Tensors& in) {
                  return with_backward({zeros({3}, kF64), in[0]}, [](const Tensor&) {
                    return Grads{Tensor(), from_vector({1, 2, -3}, {3}, kF64)};
                  });
                },
                {leaf({1, 2, 3})});
  CHECK(invented.reason == "the numeric gradient is zero everywhere");
  CHECK(invented.index == 2);
  CHECK(invented.analytic == -3);
  CHECK(invented.numeric == 0);
  CHECK(gradcheck("cut", [](const Tensors& in) { return in[0].detach() * 2.0; }, {x}).reason ==
        "the result depends on no input that requires gradients");
}

TEST_CASE("gradcheck fails a NaN, and a gradient of another shape or none") {
  const Tensor x = leaf({1, 2});
  const auto nan = [](const Tensors& in) {
    return with_backward(in, [](const Tensor& gy) { return Grads{gy / 0.0 * 0.0}; });
  };
  CHECK_FALSE(gradcheck("nan", nan, {x}).passed);
  const Tensor y = leaf({3, 4});
  CHECK(gradcheck("unused", [](const Tensors& in) { return in[0] * 2.0; }, {x, y}).reason ==
        "no gradient of the input's shape");
  CHECK(error_of([] { gradcheck("f32", [](const Tensors& in) { return in[0]; }, {zeros({2})}); }) ==
        "gradcheck: expected f64 inputs, got f32");
}

TEST_CASE("gradcheck samples when told to, in every coordinate of a weight") {
  const Tensor x = full({32, 3, 3, 32}, 2, kF64).requires_grad_();
  std::set<int64_t> met;
  int calls = 0;
  const auto f = [&](const Tensors& in) {
    ++calls;
    for (int64_t i = 0; i < in[0].numel(); ++i) {
      if (in[0].data<double>()[i] != 2) met.insert(i);
    }
    return square(in[0]);
  };
  CHECK(gradcheck("square", f, {x}, {.max_elements = 8}).passed);
  CHECK(calls == 1 + 2 * 8);
  CHECK(met.size() == 8);
  for (const auto& [inner, size] : {std::pair{1, 32}, {32, 3}, {96, 3}, {288, 32}}) {
    std::set<int64_t> values;
    for (const int64_t i : met) values.insert(i / inner % size);
    CHECK(values.size() > 1);
  }
  const std::set<int64_t> once = std::exchange(met, {});
  gradcheck("square", f, {x}, {.max_elements = 8});
  CHECK(met == once);
}

TEST_CASE("gradcheck raises the version of what it writes, so caches keyed by it are not stale") {
  struct Cached {
    uint64_t version;
    Tensor squares;
  };
  std::map<const Storage*, Cached> cache;
  const auto f = [&cache](const Tensors& in) {
    const Storage* const key = in[0].storage().get();
    if (const auto found = cache.find(key); found == cache.end() || found->second.version != key->version()) {
      const NoGrad no_grad;
      cache[key] = {key->version(), in[0].detach() * in[0].detach()};
    }
    return differentiable("cached", cache[key].squares.clone(), in,
                          [x = Saved(in[0])](const Tensor& gy) { return Grads{x.get() * gy * 2.0}; });
  };
  CHECK(gradcheck("cached", f, {leaf({1, 2, 3})}).message().find("cached: ok") == 0);
}

TEST_CASE("case inputs are drawn in range, away from kinks, and always the same") {
  const std::vector<CaseInput> inputs = {CaseInput{500}.range(-1, 3).away_from({0, 2}),
                                         CaseInput{4}.constant()};
  const Tensors once = draw(inputs, DType::f64), again = draw(inputs, DType::f64),
                single = draw(inputs, DType::f32);
  CHECK(once[0].to_vector() == again[0].to_vector());
  CHECK(once[0].to_vector() == single[0].to_vector());
  CHECK(once[0].to_vector()[0] != once[1].to_vector()[0]);
  for (const double v : once[0].to_vector()) {
    REQUIRE(v >= -1);
    REQUIRE(v <= 3);
    REQUIRE(std::abs(v) >= CaseInput::kKinkDistance);
    REQUIRE(std::abs(v - 2) >= CaseInput::kKinkDistance);
  }
  const Tensors x = leaves(inputs, once);
  CHECK(x[0].requires_grad());
  CHECK_FALSE(x[1].requires_grad());
  CHECK(x[0].raw() != once[0].raw());
}
