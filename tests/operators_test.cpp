// Every operator row passes every check, and every operator has a row.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "luxgrad/autograd/engine.h"
#include "luxgrad/autograd/op_case.h"
#include "luxgrad/kernels/activations.h"
#include "luxgrad/kernels/color_constancy.h"
#include "luxgrad/kernels/curve.h"
#include "luxgrad/kernels/exposure.h"
#include "luxgrad/kernels/spatial_consistency.h"
#include "luxgrad/kernels/total_variation.h"
#include "luxgrad/tensor/raw.h"
#include "op_harness.h"

using namespace lux;
namespace fs = std::filesystem;

namespace {

// Functions of the library that pass their first argument on to `differentiable`.
const std::set<std::string, std::less<>> kDoors = {"differentiable", "unary", "reduce", "reduce_dims"};

std::string text_of(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The literal first arguments of the doors in a source: `unary("relu"` gives relu.
void collect_operators(const std::string& text, std::set<std::string>& names) {
  for (size_t quote = text.find("(\""); quote != std::string::npos; quote = text.find("(\"", quote + 1)) {
    size_t begin = quote;
    while (begin > 0 &&
           (std::isalnum(static_cast<unsigned char>(text[begin - 1])) != 0 || text[begin - 1] == '_'))
      --begin;
    if (kDoors.contains(text.substr(begin, quote - begin)))
      names.insert(text.substr(quote + 2, text.find('"', quote + 2) - quote - 2));
  }
}

std::set<std::string> operators_in_sources() {
  std::set<std::string> names;
  for (const char* floor : {"kernels", "layers", "losses", "models"}) {
    if (!fs::exists(fs::path(LUX_SOURCE_DIR) / floor)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(LUX_SOURCE_DIR) / floor)) {
      const std::string extension = entry.path().extension().string();
      if (extension == ".cpp" || extension == ".cu") collect_operators(text_of(entry.path()), names);
    }
  }
  return names;
}

}  // namespace

TEST_CASE("every row passes every check") {
  MESSAGE("CUDA against CPU: see emulated_gpu_test, and luxgrad parity on a machine with a GPU");
  for (const OpCase& row : op_cases()) {
    for (const OpCheck& check : op_checks()) {
      if (row.options.only_gradients && std::string(check.name) != "gradients") continue;
      CAPTURE(row.name);
      CAPTURE(std::string(check.name));
      const std::string failure = check.run(row);
      CHECK_MESSAGE(failure.empty(), failure);
    }
  }
}

TEST_CASE("every wrong use says what is wrong") {
  for (const ErrorCase& row : error_cases()) {
    const std::string failure = check_error(row);
    CHECK_MESSAGE(failure.empty(), row.op, ": ", failure);
  }
}

TEST_CASE("row names are unique") {
  std::set<std::string> names;
  for (const OpCase& row : op_cases()) CHECK_MESSAGE(names.insert(row.name).second, row.name);
}

TEST_CASE("every operator has a row that runs it, forward and backward") {
  const std::set<std::string> operators = operators_in_sources();
  CHECK(operators.size() >= 20);
  CHECK(operators.contains("conv2d"));
  CHECK(operators.contains("relu"));
  std::set<std::string> covered;
  for (const OpCase& row : op_cases()) {
    if (!operators.contains(row.op())) continue;
    const Announced found = announced_by(row);
    const auto has = [&](const std::vector<std::string>& names) {
      return std::find(names.begin(), names.end(), row.op()) != names.end();
    };
    CHECK_MESSAGE(has(found.forward), row.name, " does not run ", row.op());
    CHECK_MESSAGE(has(found.backward), row.name, " does not run the backward of ", row.op());
    covered.insert(row.op());
  }
  for (const std::string& name : operators) CHECK_MESSAGE(covered.contains(name), name, " has no row");
}

TEST_CASE("what fails inside of an operator can name it, with the shapes that it reads") {
  for (const OpCase& row : op_cases()) {
    for (const std::string& unnamed : announced_by(row).unnamed)
      CHECK_MESSAGE(false, row.name, ": ", unnamed);
  }
}

TEST_CASE("no operator hides behind a door that the test above does not know") {
  for (const char* floor : {"kernels", "layers", "losses", "models"}) {
    if (!fs::exists(fs::path(LUX_SOURCE_DIR) / floor)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(LUX_SOURCE_DIR) / floor)) {
      if (!entry.is_regular_file() || text_of(entry.path()).find("differentiable(name") == std::string::npos)
        continue;
      const std::string file = entry.path().filename().string();
      CHECK_MESSAGE((file == "unary.h" || file == "reductions.cpp"), file);
    }
  }
}

TEST_CASE("slopes at kinks, and NaN") {
  const auto slope = [](Tensor (*f)(const Tensor&), double at) {
    const Tensor x = from_vector({at}, {1}).requires_grad_();
    backward(f(x));
    return x.grad().item();
  };
  CHECK(slope(relu, 0) == 0);
  CHECK(slope(abs, 0) == 0);
  CHECK(slope(sqrt, 0) == 0);
  CHECK(slope([](const Tensor& x) { return clamp(x, 0, 1); }, 0) == 1);
  CHECK(slope([](const Tensor& x) { return clamp(x, 0, 1); }, 1) == 1);
  CHECK(slope([](const Tensor& x) { return clamp(x, 0, 1); }, 1.5) == 0);
  CHECK(slope([](const Tensor& x) { return leaky_relu(x, 0.25); }, 0) == 0.25);

  const Tensor nan = from_vector({std::nan("")}, {1});
  for (Tensor (*const f)(const Tensor&) : {relu, abs, sqrt, sigmoid, softplus, tanh, square, exp})
    CHECK(std::isnan(f(nan).item()));
  CHECK(std::isnan(clamp(nan, 0, 1).item()));
  CHECK(std::isnan(leaky_relu(nan).item()));
}

TEST_CASE("black, gray and white pictures give finite losses and gradients") {
  using Loss = Tensor (*)(const Tensor& picture, const Tensor& low);
  const Loss losses[] = {
      [](const Tensor& x, const Tensor& low) { return spatial_consistency(x, low, SpatialForm::official); },
      [](const Tensor& x, const Tensor& low) { return spatial_consistency(x, low, SpatialForm::keras); },
      [](const Tensor& x, const Tensor& low) { return spatial_consistency(x, low, SpatialForm::paper); },
      [](const Tensor& x, const Tensor&) { return exposure(x, ExposureForm::official); },
      [](const Tensor& x, const Tensor&) { return exposure(x, ExposureForm::paper); },
      [](const Tensor& x, const Tensor&) { return color_constancy(x, ColorForm::official); },
      [](const Tensor& x, const Tensor&) { return color_constancy(x, ColorForm::paper); },
      [](const Tensor& x, const Tensor&) { return total_variation(x, VariationForm::official); },
      [](const Tensor& x, const Tensor&) { return total_variation(x, VariationForm::keras); },
      [](const Tensor& x, const Tensor&) { return total_variation(x, VariationForm::paper); },
  };
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16}) {
    for (const double value : {0.0, 1e-30, 0.5, 0.6, 1.0}) {
      const Tensor low = full({1, 20, 24, 3}, value, {dtype, kCpu});
      const Tensor curves = full({1, 20, 24, 24}, -1, {dtype, kCpu});
      for (const Loss loss : losses) {
        for (const bool enhanced : {false, true}) {
          const Tensor x = low.clone().requires_grad_();
          const Tensor l = loss(enhanced ? curve_iterations(x, curves) : x, low);
          backward(l);
          CHECK(std::isfinite(l.item()));
          CHECK(first_non_finite(x.grad()) == -1);
        }
      }
    }
  }
}

TEST_CASE("a gray picture has no color cast and no gradient from it") {
  const Tensor x = full({2, 4, 5, 3}, 0.3).requires_grad_();
  const Tensor loss = color_constancy(x, ColorForm::official);
  backward(loss);
  CHECK(loss.item() == 0);
  for (const double g : x.grad().to_vector()) CHECK(g == 0);
}

TEST_CASE("one row or one column has no vertical or horizontal variation") {
  for (const VariationForm form : {VariationForm::official, VariationForm::paper}) {
    for (const Shape& shape : {Shape{1, 1, 4, 3}, Shape{1, 4, 1, 3}, Shape{1, 1, 1, 3}}) {
      const Tensor x = full(shape, 0.3).requires_grad_();
      backward(total_variation(x, form));
      CHECK(first_non_finite(x.grad()) == -1);
    }
  }
}
