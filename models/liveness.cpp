#include "luxgrad/models/liveness.h"

#include <algorithm>
#include <set>

#include "luxgrad/autograd/node.h"
#include "luxgrad/autograd/observer.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

// Follows the tensors of a run: which operator makes each storage and which reads it last. Handles are kept,
// so that an address means one storage only.
class Lifetimes final : public Observer {
 public:
  void on_forward(const char*, const Tensor& y, const Tensors& inputs) override {
    ++steps_;
    for (const Tensor& input : inputs) {
      if (input.defined()) touch(input);
    }
    touch(y);
  }
  void on_backward(const char*, const Grads&) override {}

  /// The largest sum of the bytes alive at one operator, storages in `apart` left out.
  int64_t peak(const std::set<const Storage*>& apart) const {
    int64_t peak = 0;
    for (size_t step = 1; step <= steps_; ++step) {
      int64_t alive = 0;
      for (const Span& span : spans_) {
        const bool counts =
            span.made <= step && step <= span.last_read && apart.count(span.storage.get()) == 0;
        if (counts) alive += span.storage->bytes();
      }
      peak = std::max(peak, alive);
    }
    return peak;
  }

 private:
  struct Span {
    std::shared_ptr<Storage> storage;
    size_t made = 0, last_read = 0;
  };

  void touch(const Tensor& tensor) {
    const auto known = std::find_if(spans_.begin(), spans_.end(),
                                    [&](const Span& span) { return span.storage == tensor.storage(); });
    if (known == spans_.end())
      spans_.push_back({tensor.storage(), steps_, steps_});
    else
      known->last_read = steps_;
  }

  std::vector<Span> spans_;
  size_t steps_ = 0;
};

}  // namespace

int64_t liveness_optimum(const Model& model, int64_t height, int64_t width) {
  constexpr int64_t kTiles = 4;  // sides of the small picture, in units of the network's multiple
  const int64_t multiple = model.traits().size_multiple, side = kTiles * multiple;
  std::set<const Storage*> apart;
  int64_t parameters = 0;
  DType dtype = DType::f32;
  for (const auto& [name, parameter] : model.state_dict()) {
    dtype = parameter.dtype();
    if (apart.insert(parameter.storage().get()).second) parameters += parameter.storage()->bytes();
  }
  const Tensor picture = zeros({1, side, side, 3}, {dtype, kCpu});
  apart.insert(picture.storage().get());  // the caller's: alive from first to last
  int64_t peak = picture.storage()->bytes();
  {
    const NoGrad no_grad;
    Lifetimes lifetimes;
    model.enhance(picture, 1);
    peak += lifetimes.peak(apart);
  }
  const int64_t rows = detail::blocks_of(height, multiple), columns = detail::blocks_of(width, multiple);
  return parameters + peak / (kTiles * kTiles) * rows * columns;
}

}  // namespace lux
