#include "luxgrad/tools/precision_choice.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <limits>

#include "luxgrad/kernels/cpu/isa.h"
#include "luxgrad/kernels/precision.h"
#include "luxgrad/models/enhance.h"
#include "luxgrad/tools/console.h"
#include "luxgrad/tools/measure.h"
#include "luxgrad/tools/words.h"

namespace lux {
namespace {

constexpr int64_t kProbeSide = 32;
constexpr double kCoarse = 40, kFine = 80;  // dB

bool has_pairs(Device device) {
  return device == kCpu && cpu::isa() != nullptr && cpu::isa()->pairs != nullptr;
}

State on_host(const State& state) {
  State copy;
  for (const auto& [name, tensor] : state) copy[name] = tensor.to(kCpu);
  return copy;
}

// How near two results in 0 … 1 are.
struct Likeness {
  double psnr = 0;        // in dB, of 1; infinite where they are equal, not a number where one is not finite
  double difference = 0;  // the largest one
};

Likeness likeness(const Tensor& a, const Tensor& b) {
  const std::vector<double> left = a.to_vector(), right = b.to_vector();
  double squares = 0, largest = 0;
  for (size_t i = 0; i < left.size(); ++i) {
    const double difference = std::fabs(left[i] - right[i]);
    squares += difference * difference;
    largest = std::fmax(largest, difference);
  }
  return {-10 * std::log10(squares / static_cast<double>(left.size())), largest};
}

}  // namespace

bool rounds_more(Device device) {
  switch (precision()) {
    case Precision::exact:
      return false;
    case Precision::fp32:
      return has_pairs(device) && cpu::isa()->pairs->tiles;
    case Precision::tf32:
      return true;
    case Precision::bf16:
      return has_pairs(device) || device != kCpu;
  }
  return false;
}

void add_precision_option(CLI::App& app, std::string& name, const char* more) {
  app.add_option("--precision", name,
                 cat("Of convolutions: exact, fp32, bf16", more, ", and tf32 on CUDA devices (default fp32)"))
      ->type_name("NAME")
      ->check(offers({"exact", "fp32", "tf32", "bf16"}));
}

void apply_precision(const std::string& name, Device device) {
  const auto named = precision_named(name);
  if (!named.has_value()) usage_error("--precision: expected exact, fp32, tf32 or bf16, got ", name);
  const Precision wanted = *named;
  check_usage(wanted != Precision::tf32 || device != kCpu, "--precision: only CUDA devices have tf32");
  set_precision(wanted);
  if (wanted == Precision::bf16 && !rounds_more(device))
    print_note(
        "note: this processor has no products of bf16 that are faster than those of f32, so its products are "
        "of f32");
}

State try_precision(Model& model) {
  if (!rounds_more(model.device())) return {};
  const Precision wanted = precision();
  const Tensor probe = noise_picture(1, kProbeSide, kProbeSide);
  set_precision(Precision::exact);
  const Tensor exact = enhance(model, probe);
  set_precision(wanted);
  const bool stored = stored_as(model.dtype(), model.device()) == DType::bf16;
  State weights = stored ? on_host(model.state_dict()) : State();
  if (stored) model.to(DType::bf16);
  const Likeness near = likeness(enhance(model, probe), exact);
  const std::string found = near.difference == 0
                                ? "the same as exact on a probe picture"
                                : cat(fixed(near.psnr, 1), " dB from exact on a probe picture, at most ",
                                      fixed(255 * near.difference, 2), " of 255");
  if (near.psnr >= (wanted == Precision::fp32 ? kFine : kCoarse)) {
    if (wanted != Precision::fp32) print_note(cat("note: ", wanted, " is ", found));
    return weights;
  }
  set_precision(wanted == Precision::fp32 ? Precision::exact : Precision::fp32);
  if (stored) {
    model.to(DType::f32);
    model.load_state_dict(weights);
  }
  print_note(cat("note: ", wanted, " would be ", found, "; ", precision(), " it is"));
  return try_precision(model);  // which has to be near enough, too
}

InF32::InF32(Model& model, const State& weights)
    : model_(model), dtype_(model.dtype()), scope_(Precision::exact) {
  if (weights.empty()) return;
  try {
    model.to(DType::f32);
    model.load_state_dict(weights);
  } catch (const std::bad_alloc&) {
    model.to(dtype_);
    throw;
  }
}

InF32::~InF32() {
  try {
    model_.to(dtype_);
  } catch (const std::bad_alloc&) {
    model_.to(kCpu);  // what had not become narrower
    model_.to(dtype_);
  }
}

}  // namespace lux
