// Proof of a network against one golden file in one precision: outputs, losses, gradients and optimiser
// steps. `compare` is the only way to a reference tensor, so what nobody compared is known.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>

#include "golden.h"
#include "luxgrad/layers/module.h"

namespace lux {

class GoldenProof {
 public:
  using json = nlohmann::json;
  using Named = std::map<std::string, Tensor>;

  /// Relative tolerance in f64 and in f32.
  struct Tolerance {
    double f64 = 1e-8, f32 = 1e-4;
  };

  GoldenProof(const Golden& golden, DType dtype) : GoldenProof(golden, dtype, Tolerance()) {}
  GoldenProof(const Golden& golden, DType dtype, Tolerance tolerance);
  virtual ~GoldenProof() = default;

  void run();

  /// How far gradients move, in f64, when pictures and weights move by 2⁻²⁰, about the error of activations
  /// in f32: a rectifier or a maximum near its kink decides otherwise, and the gradient jumps. Differences by
  /// `grad.input.<name>` and `<parameter>`.
  Named gradient_noise();
  /// Asked for where a gradient in f32 misses its tolerance; it must be within a few times that noise then.
  void set_noise(std::function<Named()> noise) { noise_of_ = std::move(noise); }

 protected:
  /// The network, with the values of `formula_state`, in `dtype`.
  virtual Module& network() = 0;
  /// What stands behind `output.` in the file, as far as the network is concerned; nothing records.
  virtual Named outputs() = 0;
  /// What stands behind `loss.`, of the inputs as they are, `total` among them.
  virtual Named losses() = 0;
  /// Further tensors of the file.
  virtual void more() {}

  /// Every parameter and buffer by the formula.
  State formula_state(const Module& module) const;
  /// `input.<name>` in the proof's precision, a leaf where the file has its gradient.
  const Tensor& input(const std::string& name) const { return inputs_.at(name); }
  bool exact() const { return dtype_ == DType::f64; }
  void compare(const std::string& name, const Tensor& actual, double absolute = 0);
  void compare(const std::string& name, double actual, double absolute = 0);
  /// Single values after several steps are compared in f64 only: in f32 a tiny gradient may change its sign,
  /// and Adam then steps the other way.
  void compare_exactly(const std::string& name, const Tensor& actual);
  /// Where the gradient is 0 in exact arithmetic it is compared absolutely.
  double absolute_for(const std::string& parameter_in_file) const;

  const Golden& golden_;
  DType dtype_;

 private:
  void gradients();
  void train();
  Named gradients_now();
  void compare_gradient(const std::string& name, const Tensor& actual, double absolute,
                        const std::string& noise_name);

  double tolerance_;
  Named inputs_;
  double largest_gradient_ = 0;
  std::set<std::string> zero_gradient_, compared_;
  std::function<Named()> noise_of_;
  Named noise_;  // once asked for
};

}  // namespace lux
