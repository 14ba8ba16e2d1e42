#include "luxgrad/models/liveness.h"

#include <algorithm>
#include <cmath>
#include <numeric>
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

  /// The bytes alive at each operator, storages in `apart` left out.
  std::vector<int64_t> alive(const std::set<const Storage*>& apart) const {
    std::vector<int64_t> bytes(steps_);
    for (const Span& span : spans_) {
      if (apart.count(span.storage.get()) > 0) continue;
      for (size_t step = std::max<size_t>(span.made, 1); step <= span.last_read; ++step)
        bytes[step - 1] += span.storage->bytes();
    }
    return bytes;
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

// What is alive at each operator of an inference, parameters and picture left out.
BytesAt alive_in(const Model& model, const State& state, int64_t height, int64_t width) {
  const Tensor picture = full({1, height, width, 3}, 0.25, state.begin()->second.options());
  std::set<const Storage*> apart = {picture.storage().get()};
  for (const auto& [name, tensor] : state) apart.insert(tensor.storage().get());
  const NoGrad no_grad;
  Lifetimes lifetimes;
  model.enhance(picture, 1);
  return {height * width, lifetimes.alive(apart)};
}

}  // namespace

std::vector<int64_t> bytes_at(int64_t pixels, const BytesAt& small, const BytesAt& large) {
  check(small.bytes.size() == large.bytes.size() && !small.bytes.empty() && small.pixels != large.pixels,
        "bytes_at: expected two sizes of one run, got ", small.bytes.size(), " and ", large.bytes.size(),
        " steps on ", small.pixels, " and ", large.pixels, " pixels");
  const double share =
      static_cast<double>(pixels - small.pixels) / static_cast<double>(large.pixels - small.pixels);
  std::vector<int64_t> bytes;
  for (size_t i = 0; i < small.bytes.size(); ++i) {
    const auto from = static_cast<double>(small.bytes[i]), to = static_cast<double>(large.bytes[i]);
    bytes.push_back(std::llround(from + share * (to - from)));
  }
  return bytes;
}

Liveness::Liveness(const Model& model) : multiple_(model.traits().size_multiple) {
  const int64_t side = std::lcm(multiple_, kSmallSide);
  const State state = model.state_dict();
  pixel_bytes_ = 3 * static_cast<int64_t>(size_of(state.begin()->second.dtype()));
  std::set<const Storage*> counted;
  for (const auto& [name, tensor] : state) {
    if (counted.insert(tensor.storage().get()).second) parameters_ += tensor.storage()->bytes();
  }
  small_ = alive_in(model, state, side, side);
  large_ = alive_in(model, state, 2 * side, side);
}

int64_t Liveness::optimum(int64_t height, int64_t width) const {
  const int64_t rows = detail::blocks_of(height, multiple_) * multiple_,
                columns = detail::blocks_of(width, multiple_) * multiple_;
  const std::vector<int64_t> alive = bytes_at(rows * columns, small_, large_);
  return parameters_ + pixel_bytes_ * rows * columns + *std::max_element(alive.begin(), alive.end());
}

}  // namespace lux
