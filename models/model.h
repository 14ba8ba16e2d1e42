// Model: a network that turns a dark picture into a bright one, and what others must know to run it.
#pragma once

#include <map>
#include <string>

#include "luxgrad/layers/module.h"
#include "luxgrad/tensor/cuda_graph.h"
#include "luxgrad/tensor/random.h"

namespace lux {

/// Options of a network by name, as the command line and weight files spell them: `{"scale_factor", "4"}`.
using ModelConfig = std::map<std::string, std::string>;

struct ModelTraits {
  int64_t size_multiple = 1;  ///< height and width that the network takes are multiples of it
  bool global = false;        ///< an output pixel depends on the whole picture
  bool blocks = false;        ///< has blocks that a training can compute again (`set_recompute`)
};

class Model : public Module {
 public:
  /// The name in the registry and on the command line.
  virtual std::string name() const = 0;
  /// The options it was made with, all of them.
  virtual ModelConfig config() const = 0;
  virtual ModelTraits traits() const = 0;

  /// First values for training, as the authors' code draws them.
  virtual void init_(const Generator& generator) = 0;

  /// x [N, H, W, 3] in [0, 1], H and W multiples of `size_multiple`, -> the same shape and range. `strength`
  /// in [0, 1] says how much of the enhancement; at 1 the result is the network's, to the bit.
  virtual Tensor enhance(const Tensor& x, double strength) const = 0;

  /// Whether a training keeps of every block only what it read, and computes the block again for its
  /// gradients: the same bits with less memory, for about a third more time. Networks without `blocks` in
  /// their traits keep everything.
  void set_recompute(bool on) { recompute_ = on; }
  bool recompute() const { return recompute_; }

  /// On a device, what `enhance` launches for pictures of some sizes. Its weights may change in place.
  cuda::Graphs& graphs() const { return graphs_; }

 private:
  bool recompute_ = false;
  mutable cuda::Graphs graphs_;
};

}  // namespace lux
