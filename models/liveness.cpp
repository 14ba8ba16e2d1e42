#include "luxgrad/models/liveness.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <numeric>
#include <set>

#include "luxgrad/autograd/node.h"
#include "luxgrad/autograd/observer.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

// The weights of an operator in the forms of the kernels: of 3x3 with stride 1 at the 36 points of Winograd's
// tile, else in another order.
int64_t bytes_laid_anew(const Tensor& y, const Tensor& x, const Tensor& weight) {
  const Shape &w = weight.shape(), &from = x.shape(), &to = y.shape();
  const bool winograd = w.rank() == 4 && w[1] == 3 && w[2] == 3 && from.rank() == 4 && from[1] == to[1];
  return (winograd ? 4 : 1) * weight.storage()->bytes();
}

// Follows the tensors of a run: which operator makes each storage and which reads it last. Storages are known
// by who owns them, which tells them apart when their bytes are gone.
class Lifetimes final : public Observer {
 public:
  /// Of all storages but `apart`, which outlive the run; those but the picture are parameters.
  Lifetimes(std::set<const Storage*> apart, const Tensor& picture) : apart_(std::move(apart)), x_(picture) {
    apart_.insert(picture.storage().get());
  }

  void on_forward(const char*, const Tensor& y, const Tensors& inputs) override {
    ++steps_;
    for (const Tensor& input : inputs) {
      if (input.defined()) touch(input);
    }
    touch(y);
    int64_t bytes = 0;
    for (const Tensor& input : inputs) {
      if (is_apart(input) && input.storage() != x_.storage())
        bytes = std::max(bytes, bytes_laid_anew(y, inputs.front(), input));
    }
    laid_anew_.push_back(bytes);
  }
  void on_backward(const char*, const Grads&) override {}

  /// The bytes alive at each operator.
  std::vector<int64_t> alive() const {
    std::vector<int64_t> bytes(steps_);
    for (const auto& [storage, span] : spans_) {
      for (size_t step = std::max<size_t>(span.made, 1); step <= span.last_read; ++step)
        bytes[step - 1] += span.bytes;
    }
    return bytes;
  }
  /// What its weights take besides, in the form that its kernel reads.
  const std::vector<int64_t>& laid_anew() const { return laid_anew_; }

 private:
  struct Span {
    int64_t bytes = 0;
    size_t made = 0, last_read = 0;
  };

  bool is_apart(const Tensor& tensor) const {
    return tensor.defined() && apart_.count(tensor.storage().get()) > 0;
  }
  void touch(const Tensor& tensor) {
    if (is_apart(tensor)) return;
    const Span first{tensor.storage()->bytes(), steps_, steps_};
    const auto known = spans_.try_emplace(tensor.storage(), first).first;
    known->second.last_read = steps_;
  }

  std::set<const Storage*> apart_;
  const Tensor& x_;
  std::map<std::weak_ptr<Storage>, Span, std::owner_less<>> spans_;
  std::vector<int64_t> laid_anew_;
  size_t steps_ = 0;
};

// What is alive at each operator of an inference, parameters and picture left out, and what its weights take
// besides.
BytesAt alive_in(const Model& model, const State& state, int64_t height, int64_t width,
                 std::vector<int64_t>& laid_anew) {
  const Tensor picture = full({1, height, width, 3}, 0.25, state.begin()->second.options());
  std::set<const Storage*> parameters;
  for (const auto& [name, tensor] : state) parameters.insert(tensor.storage().get());
  const NoGrad no_grad;
  Lifetimes lifetimes(std::move(parameters), picture);
  model.enhance(picture, 1);
  laid_anew = lifetimes.laid_anew();
  return {height * width, lifetimes.alive()};
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
  small_ = alive_in(model, state, side, side, laid_anew_);
  large_ = alive_in(model, state, 2 * side, side, laid_anew_);
}

int64_t Liveness::most(int64_t height, int64_t width, const std::vector<int64_t>& besides) const {
  const int64_t rows = detail::blocks_of(height, multiple_) * multiple_,
                columns = detail::blocks_of(width, multiple_) * multiple_;
  std::vector<int64_t> alive = bytes_at(rows * columns, small_, large_);
  for (size_t i = 0; i < besides.size(); ++i) alive[i] += besides[i];
  return pixel_bytes_ * rows * columns + *std::max_element(alive.begin(), alive.end());
}

}  // namespace lux
