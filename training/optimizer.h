// Optimisers: Adam in its three published forms, and gradient clipping. A step writes into the parameters in
// place and raises their version; its whole memory is a set of named tensors, so a checkpoint is a copy of
// them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// Where epsilon stands. torch: beside the bias-corrected √v, default 1e-8 (Kingma & Ba, arXiv:1412.6980,
/// algorithm 1). keras, tf1: beside the uncorrected √v ("epsilon hat", the remark after it), defaults 1e-7,
/// 1e-8.
enum class AdamForm : uint8_t { torch, keras, tf1 };

struct AdamOptions {
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = -1;  ///< negative: the default of the form
  double weight_decay = 0;
  /// AdamW (arXiv:1711.05101): shrink the weights by lr·decay instead of adding to the gradient.
  bool decoupled = false;
  AdamForm form = AdamForm::torch;

  /// eps, or the default of the form where it is negative.
  double effective_eps() const { return eps >= 0 ? eps : form == AdamForm::keras ? 1e-7 : 1e-8; }
};

class Adam {
 public:
  /// Moments start at zero, in each parameter's dtype. Throws Error for options out of range, a parameter
  /// that is undefined or given twice, be it under two names, and an empty list.
  Adam(std::vector<NamedTensor> parameters, const AdamOptions& options);

  /// One update from the accumulated gradients. A parameter without gradient is left as it is. Throws Error,
  /// and changes nothing, for a gradient of another shape or dtype.
  void step();
  /// The same in three parts, for work on a device that never waits for the host (tensor/cuda_graph.h): what
  /// changes from step to step, [9] on the CPU, all of it that `write` is not made with; the update by these
  /// factors, on the parameters' device, unless the last of them is 0; and that it has been done.
  Tensor factors() const;
  void write(const Tensor& factors) const;
  void count_step();
  /// Forgets the gradients of these parameters.
  void zero_grad();

  double lr() const { return options_.lr; }
  void set_lr(double lr) { options_.lr = lr; }
  int64_t steps() const { return steps_; }
  const std::vector<NamedTensor>& parameters() const { return parameters_; }

  /// `step` (i64), `exp_avg.<name>`, `exp_avg_sq.<name>`: handles to the live tensors, not copies.
  std::map<std::string, Tensor> state_dict() const;
  /// Restores what `state_dict` gave. Throws Error, and changes nothing, when a tensor is missing, left over,
  /// of another shape or dtype, or not finite, and for a negative number of steps.
  void load_state_dict(const std::map<std::string, Tensor>& state);
  /// Throws what `load_state_dict` would throw.
  void check_state_dict(const std::map<std::string, Tensor>& state) const;

 private:
  std::vector<NamedTensor> parameters_;
  std::vector<Tensor> mean_, square_;  // m and v of the paper
  AdamOptions options_;
  int64_t steps_ = 0;
};

/// Scales all gradients by max_norm / (norm + 1e-6) where that is below 1; returns the joint L2 norm before.
/// Parameters without gradient do not count. (Pascanu et al., arXiv:1211.5063, with PyTorch's constant.)
double clip_grad_norm_(const std::vector<NamedTensor>& parameters, double max_norm);
/// The same on a device, which nobody waits for: `norm` (one f64 there) gets the norm.
void clip_grad_norm_(const std::vector<NamedTensor>& parameters, double max_norm, const Tensor& norm);

}  // namespace lux
