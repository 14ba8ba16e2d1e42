// The harness is tested with operators that are wrong on purpose: each must fail the check made for it.
#include "op_harness.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/activations.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/kernel_table.h"
#include "scopes.h"

using namespace lux;

namespace {

std::string failure_of(const char* check, const OpCase& row) {
  for (const OpCheck& candidate : op_checks()) {
    if (std::string(candidate.name) == check) return candidate.run(row);
  }
  FAIL("no such check: ", check);
  return {};
}

std::vector<std::string> failed_checks(const OpCase& row) {
  std::vector<std::string> names;
  for (const OpCheck& check : op_checks()) {
    if (!check.run(row).empty()) names.emplace_back(check.name);
  }
  return names;
}

OpCase row_of(CaseFunction run) {
  return {.name = "sabotaged", .inputs = {{3, 4}}, .run = run, .options = {.large = {{3, 8000}}}};
}

// y = 3x, with a chosen backward.
template <class Backward>
Tensor tripled(const Tensor& x, Backward backward) {
  Tensor y;
  {
    const NoGrad no_grad;
    y = x * 3.0;
  }
  return differentiable("tripled", y, {x}, backward);
}

Tensor honest(const Tensors& x) {
  return tripled(x[0], [](const Tensor& gy) { return Grads{gy * 3.0}; });
}
Tensor one_percent_off(const Tensors& x) {
  return tripled(x[0], [](const Tensor& gy) { return Grads{gy * 3.03}; });
}
Tensor zero_backward(const Tensors& x) {
  return tripled(x[0], [](const Tensor& gy) { return Grads{gy * 0.0}; });
}
Tensor ignores_its_input(const Tensors& x) {
  return differentiable("constant", full(x[0].shape(), 1, x[0].options()), {x[0]},
                        [](const Tensor& gy) { return Grads{gy * 0.0}; });
}
Tensor ignores_its_input_but_not_backward(const Tensors& x) {
  return differentiable("constant", full(x[0].shape(), 1, x[0].options()), {x[0]},
                        [](const Tensor& gy) { return Grads{gy * 1.0}; });
}
Tensor ignores_one_of_two(const Tensors& x) {
  return differentiable("first", x[0] * 1.0, x, [](const Tensor& gy) { return Grads{gy * 1.0, gy * 0.0}; });
}
Tensor backward_depends_on_threads(const Tensors& x) {
  return tripled(x[0], [](const Tensor& gy) { return Grads{gy * (3.0 + 1e-6 * num_threads())}; });
}
Tensor forward_depends_on_threads(const Tensors& x) { return x[0] * (3.0 + 1e-6 * num_threads()); }
Tensor never_the_same(const Tensors& x) {
  static double calls = 0;
  return x[0] * (3.0 + 1e-6 * ++calls);
}
Tensor leaks(const Tensors& x) {
  static Tensors hoard;
  hoard.push_back(x[0].clone());
  return x[0] * 3.0;
}
Tensor writes_past_its_end(const Tensors& x) {
  Tensor y = x[0] * 3.0;
  char* const end = static_cast<char*>(y.raw()) + y.storage()->bytes();
  if (x[0].dtype() == DType::f32) *end = static_cast<char>(*end + 1);
  return y;
}
Tensor writes_before_its_start(const Tensors& x) {
  Tensor y = x[0] * 3.0;
  char* const start = static_cast<char*>(y.raw()) - 1;
  if (x[0].dtype() == DType::f32) *start = static_cast<char>(*start + 1);
  return y;
}
Tensor depends_on_alignment(const Tensors& x) {
  return x[0] * (reinterpret_cast<uintptr_t>(x[0].raw()) % 64 == 0 ? 3.0 : 3.001);
}
Tensor inaccurate_in_f32(const Tensors& x) { return x[0] * (x[0].dtype() == DType::f32 ? 3.0001 : 3.0); }
Tensor inaccurate_in_bf16(const Tensors& x) { return x[0] * (x[0].dtype() == DType::bf16 ? 3.1 : 3.0); }
Tensor inaccurate_when_tuned(const Tensors& x) { return x[0] * (plain_kernels() ? 3.0 : 3.001); }

}  // namespace

TEST_CASE("an honest operator passes every check") { CHECK(failed_checks(row_of(honest)).empty()); }

TEST_CASE("wrong gradients fail") {
  CHECK_FALSE(failure_of("gradients", row_of(one_percent_off)).empty());
  CHECK_FALSE(failure_of("gradients", row_of(zero_backward)).empty());
  CHECK_FALSE(failure_of("gradients", row_of(ignores_its_input)).empty());
  CHECK_FALSE(failure_of("gradients", row_of(ignores_its_input_but_not_backward)).empty());
  OpCase two = row_of(ignores_one_of_two);
  two.inputs = {{3, 4}, {3, 4}};
  CHECK(failure_of("gradients", two).find("input 1") != std::string::npos);
}

TEST_CASE("a gradient that is 1 % off in one element of a mean fails") {
  const auto off_in_one = [](const Tensors& x) {
    const int64_t n = x[0].numel();
    Tensor y;
    {
      const NoGrad no_grad;
      y = full({}, 0, x[0].options());
      for (const double value : x[0].to_vector()) y = y + value / static_cast<double>(n);
    }
    return differentiable("mean, nearly", y, {x[0]}, [s = x[0].shape()](const Tensor& gy) {
      std::vector<double> g(static_cast<size_t>(s.numel()), gy.item() / static_cast<double>(s.numel()));
      g[7] *= 1.01;
      return Grads{from_vector(g, s, gy.options())};
    });
  };
  OpCase row = row_of(off_in_one);
  row.inputs = {{40, 25}};
  CHECK(failure_of("gradients", row).find("index 7") != std::string::npos);
}

TEST_CASE("results that depend on the number of threads fail") {
  CHECK_FALSE(failure_of("threads", row_of(backward_depends_on_threads)).empty());
  CHECK_FALSE(failure_of("threads", row_of(forward_depends_on_threads)).empty());
}

TEST_CASE("a row too small for several threads fails, unless it says that no size is divided") {
  OpCase row = row_of(honest);
  row.options.large = {};
  CHECK(failed_checks(row) == std::vector<std::string>{"threads"});
  CHECK(failure_of("threads", row) == "is too small to be divided among threads: give the row large inputs");
  row.options.divided = false;
  CHECK(failed_checks(row).empty());
  row.options.large = {{3, 8000}};
  CHECK(failure_of("threads", row) == "is divided among threads, but its row says it is not");
}

TEST_CASE("a check that throws leaves threads and layout as they were") {
  const int before = num_threads();
  const Threads scope(before + 1);
  for (const char* check : {"threads", "bounds and alignment"}) {
    const CaseFunction refuses = [](const Tensors&) -> Tensor { fail("on purpose"); };
    CHECK_THROWS_WITH(failure_of(check, row_of(refuses)), "on purpose");
    CHECK(num_threads() == before + 1);
    const memory::Block block = memory::allocate(8);
    CHECK(block.padding == 0);
    memory::deallocate(block);
  }
}

TEST_CASE("results that change from run to run fail") {
  CHECK_FALSE(failure_of("repetition", row_of(never_the_same)).empty());
}

TEST_CASE("leaks fail") { CHECK_FALSE(failure_of("leaks", row_of(leaks)).empty()); }

TEST_CASE("writes outside of a buffer and results that depend on its place fail") {
  CHECK(failure_of("bounds and alignment", row_of(writes_past_its_end)) == "wrote outside of its buffers");
  CHECK(failure_of("bounds and alignment", row_of(writes_before_its_start)) ==
        "wrote outside of its buffers");
  CHECK_FALSE(failure_of("bounds and alignment", row_of(depends_on_alignment)).empty());
}

TEST_CASE("inaccurate results fail") {
  CHECK_FALSE(failure_of("f32 against f64", row_of(inaccurate_in_f32)).empty());
  CHECK_FALSE(failure_of("bf16 and f16 against f32", row_of(inaccurate_in_bf16)).empty());
  CHECK_FALSE(failure_of("tuned against plain", row_of(inaccurate_when_tuned)).empty());
}

TEST_CASE("an error row fails without an error and for another message") {
  const std::string message = "clamp: expected low <= high, got 1 and 0";
  const CaseFunction wrong = [](const Tensors& x) { return clamp(x[0], 1, 0); };
  CHECK(check_error({"clamp", {{2}}, message, wrong}).empty());
  CHECK_FALSE(check_error({"clamp", {{2}}, "clamp: something else", wrong}).empty());
  CHECK_FALSE(
      check_error({"clamp", {{2}}, message, [](const Tensors& x) { return clamp(x[0], 0, 1); }}).empty());
}
