#include "luxgrad/autograd/op_case.h"

#include <algorithm>
#include <cmath>

#include "luxgrad/tensor/random.h"

namespace lux {
namespace {

using MakeCases = void (*)(detail::Cases&);

std::vector<MakeCases>& registered() {
  static std::vector<MakeCases> makers;
  return makers;
}

detail::Cases all_cases() {
  detail::Cases cases;
  for (const MakeCases make : registered()) make(cases);
  return cases;
}

bool near_a_kink(const CaseInput& input, double value) {
  return std::any_of(input.kinks.begin(), input.kinks.end(),
                     [&](double kink) { return std::fabs(value - kink) < CaseInput::kKinkDistance; });
}

}  // namespace

CaseInput CaseInput::range(double new_low, double new_high) const {
  CaseInput input = *this;
  input.low = new_low;
  input.high = new_high;
  return input;
}

CaseInput CaseInput::away_from(std::vector<double> values) const {
  CaseInput input = *this;
  input.kinks = std::move(values);
  return input;
}

CaseInput CaseInput::constant() const {
  CaseInput input = *this;
  input.differentiable = false;
  return input;
}

std::vector<OpCase> op_cases() {
  std::vector<OpCase> rows = all_cases().rows;
  std::stable_sort(rows.begin(), rows.end(),
                   [](const OpCase& a, const OpCase& b) { return a.name < b.name; });
  return rows;
}

std::vector<ErrorCase> error_cases() {
  std::vector<ErrorCase> rows = all_cases().errors;
  std::stable_sort(rows.begin(), rows.end(),
                   [](const ErrorCase& a, const ErrorCase& b) { return a.op < b.op; });
  return rows;
}

Tensors draw(const std::vector<CaseInput>& inputs, DType dtype) {
  Tensors values;
  for (size_t k = 0; k < inputs.size(); ++k) {
    Generator generator = Generator(1, "op case").fork(k);
    const CaseInput& input = inputs[k];
    const Tensor wide = empty(input.shape, {DType::f64, kCpu});
    for (int64_t i = 0; i < wide.numel(); ++i) {
      double& value = wide.data<double>()[i];
      do {
        value = static_cast<float>(generator.uniform(input.low, input.high));
      } while (near_a_kink(input, value));
    }
    values.push_back(wide.to(dtype));
  }
  return values;
}

Tensors leaves(const std::vector<CaseInput>& inputs, const Tensors& values, Device device) {
  Tensors copies;
  for (size_t k = 0; k < inputs.size(); ++k) {
    copies.push_back(device == kCpu ? values[k].clone() : values[k].to(device));
    if (inputs[k].differentiable) copies.back().requires_grad_();
  }
  return copies;
}

GradcheckResult gradcheck(const OpCase& row, Device device) {
  const Tensors inputs = leaves(row.inputs, draw(row.inputs, DType::f64), device);
  return gradcheck(row.name, row.run, inputs,
                   {.step = row.options.gradcheck_step, .max_elements = row.options.gradcheck_elements});
}

void detail::Cases::add(std::string name, std::vector<CaseInput> inputs, CaseFunction run,
                        CaseOptions options) {
  rows.push_back({std::move(name), std::move(inputs), run, std::move(options)});
}

void detail::Cases::add(std::string op, std::vector<CaseInput> inputs, std::string message,
                        CaseFunction run) {
  errors.push_back({std::move(op), std::move(inputs), std::move(message), run});
}

detail::CaseRegistration::CaseRegistration(void (*make)(Cases&)) { registered().push_back(make); }

}  // namespace lux
