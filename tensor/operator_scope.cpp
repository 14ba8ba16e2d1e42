#include "luxgrad/tensor/operator_scope.h"

namespace lux {

thread_local constinit const OperatorScope* OperatorScope::innermost_ = nullptr;

std::string OperatorScope::text() {
  if (innermost_ == nullptr) return {};
  std::string text = cat(", in ", innermost_->is_gradient_ ? "grad " : "", innermost_->name_);
  for (const Some& some : innermost_->inputs_) {
    for (const Tensor& x : some)
      if (x.defined()) append(text, cat(" ", x.shape()));
  }
  return text;
}

}  // namespace lux
