// Module: a thing with parameters. Declared once = registered: a parameter or child that is a member names
// its owner in its constructor, so a network lists, loads and freezes all it has without a second mention.
//
//     struct Net : Module {
//       Conv2d head{*this, "head", {.in_channels = 3, .out_channels = 3, .kernel_size = 3}};
//     };
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "luxgrad/tensor/function_ref.h"
#include "luxgrad/tensor/tensor.h"

namespace lux {

/// Weights that are well-formed but do not fit the network; the text names every parameter at fault.
class StateMismatch : public Error {
 public:
  using Error::Error;
};

/// Values by parameter path, as weight files hold them.
using State = std::map<std::string, Tensor>;

/// Copies of all its tensors.
State clone(const State& state);

class Module {
 public:
  Module() = default;
  /// A child of `parent`. The name may be a path, such as `body.0`, where that is how weight files spell it.
  /// Throws Error when the parent already has this name, or it is empty.
  Module(Module& parent, std::string name);
  virtual ~Module() = default;
  Module(const Module&) = delete;  // the owner holds addresses
  Module& operator=(const Module&) = delete;

  /// Handles to all parameters of this module and its children, in the order of their declaration, named by
  /// their path: `e_conv1.depth_conv.weight`.
  std::vector<NamedTensor> named_parameters() const;
  /// The number of elements of all parameters, buffers not included.
  int64_t parameter_count() const;

  /// Makes every parameter ask for gradients, or stop asking.
  void requires_grad_(bool on = true);
  /// Drops the gradients accumulated so far.
  void zero_grad();
  /// Converts every parameter and buffer; gradients are dropped. Optimisers made before hold the old tensors.
  void to(DType dtype);
  /// Moves every parameter and buffer, in the same way.
  void to(Device device);
  /// Where the first parameter or buffer is; the CPU where there is none.
  Device device() const;
  /// What the first one is stored as; f32 where there is none.
  DType dtype() const;

  /// Puts other tensors in the place of the parameters, in the order of `named_parameters`: the network as a
  /// function of its parameters, which may then be results of operators. Throws Error where number or shapes
  /// differ.
  void substitute(const Tensors& values);

  /// Handles that share the bytes of parameters and buffers, outside any graph.
  State state_dict() const;
  /// Copies the values in, converted to the parameters' dtype. Throws StateMismatch, and changes nothing,
  /// unless names and shapes are exactly this module's and every value is finite.
  void load_state_dict(const State& state);

 private:
  friend class Parameter;
  friend class Buffer;
  friend class Cast;

  struct Member {  // a parameter, a buffer or a child
    std::string name;
    Tensor* parameter = nullptr;
    Tensor* buffer = nullptr;
    Module* child = nullptr;
  };

  void add(Member member);
  template <class To>
  void convert(To to);
  enum class Which { parameters, all };
  template <class F>
  void visit(Which which, const std::string& prefix, const F& f) const;

  std::vector<Member> members_;
};

/// A tensor that a module trains. Zero until an initialiser or `load_state_dict` gives values.
class Parameter : public Tensor {
 public:
  /// A part of `owner`. Where `present` is false (a convolution without bias) it stays undefined and
  /// unlisted.
  Parameter(Module& owner, std::string name, const Shape& shape, bool present = true);
  Parameter(const Parameter&) = delete;
  Parameter& operator=(const Parameter&) = delete;
};

/// A tensor that belongs to a module's state but is not trained, such as a moving average.
class Buffer : public Tensor {
 public:
  Buffer(Module& owner, std::string name, const Shape& shape, double value);
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
};

/// While it lives, the module computes with its parameters in another dtype. Gradients flow to the parameters
/// as they were, which is where an optimiser has them: rounded on the way, and added up there.
class Cast {
 public:
  Cast(Module& module, DType dtype);
  ~Cast();
  Cast(const Cast&) = delete;
  Cast& operator=(const Cast&) = delete;

 private:
  struct Replaced {
    Tensor* place;
    Tensor master;
  };
  std::vector<Replaced> replaced_;
};

/// While it lives, the module's parameters ask for no gradient: a frozen discriminator, a fixed trunk.
class Frozen {
 public:
  /// All of them, or those whose path `which` picks.
  explicit Frozen(
      Module& module, FunctionRef<bool(std::string_view)> which = [](std::string_view) { return true; });
  ~Frozen();
  Frozen(const Frozen&) = delete;
  Frozen& operator=(const Frozen&) = delete;

 private:
  Tensors thawed_;  // handles of the parameters that asked for gradients before
};

}  // namespace lux
