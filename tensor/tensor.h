// Tensor: a dense array, channels last, shared by handle. The only tensor type there is.
//
// Copying a Tensor copies the handle, not the bytes. Nothing aliases except `with_shape` and `detach`;
// operators never write into their inputs. What autograd needs hangs on the handle as an opaque GradSlot, so
// this floor knows no graph.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "luxgrad/tensor/device.h"
#include "luxgrad/tensor/dtype.h"
#include "luxgrad/tensor/shape.h"
#include "luxgrad/tensor/storage.h"

namespace lux {

struct GradSlot;

/// What a new tensor is made of besides its shape.
struct TensorOptions {
  DType dtype = DType::f32;
  Device device = kCpu;
};

class Tensor {
 public:
  Tensor() = default;  // undefined: no bytes, `defined()` is false
  /// From byte `offset` of the storage on: rows of a picture, for code that runs operators on some of them.
  /// Throws Error where they are not all inside.
  Tensor(std::shared_ptr<Storage> storage, const Shape& shape, DType dtype, int64_t offset = 0);

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  int64_t size(int dimension) const { return shape_[dimension]; }
  int64_t numel() const { return shape_.numel(); }
  DType dtype() const { return dtype_; }
  /// Throws Error for an undefined tensor, as `raw` and `data` do.
  Device device() const { return checked_storage().device(); }
  TensorOptions options() const { return {dtype_, device()}; }
  const std::shared_ptr<Storage>& storage() const { return storage_; }
  /// Where in its storage it begins, in bytes.
  int64_t offset() const { return offset_; }

  void* raw() const { return static_cast<char*>(checked_storage().data()) + offset_; }
  /// The elements in row-major order. Throws Error when T does not store this dtype.
  template <class T>
  T* data() const {
    check(dtype_ == kDType<T>, "data: expected ", kDType<T>, ", got ", dtype_);
    return static_cast<T*>(raw());
  }
  /// The value of a tensor with exactly one element. Throws Error otherwise.
  double item() const;
  /// All elements in row-major order as double.
  std::vector<double> to_vector() const;

  /// The same bytes under another shape with equal numel, outside any graph (the operator is `reshape`).
  Tensor with_shape(const Shape& shape) const;
  /// The same bytes, outside any graph.
  Tensor detach() const;
  /// A copy of the bytes, outside any graph.
  Tensor clone() const;
  /// A copy converted to `dtype` (the tensor itself when it has that dtype), outside any graph.
  Tensor to(DType dtype) const;
  /// A copy on `device` (the tensor itself where it is there), outside any graph.
  Tensor to(Device device) const;

  /// Whether gradients flow to this tensor: a leaf that asked for them, or a result that depends on one.
  bool requires_grad() const;
  /// Makes this leaf ask for gradients, or stop asking; seen by every copy of the handle made after the first
  /// call.
  Tensor& requires_grad_(bool on = true);
  /// The gradient accumulated by `backward`, undefined before.
  Tensor grad() const;
  /// Replaces the accumulated gradient; an undefined tensor clears it. Only for leaves that require
  /// gradients.
  void set_grad(Tensor grad) const;

  const std::shared_ptr<GradSlot>& grad_slot() const { return slot_; }
  void set_grad_slot(std::shared_ptr<GradSlot> slot) { slot_ = std::move(slot); }

 private:
  const Storage& checked_storage() const {
    check(defined(), "tensor: expected a tensor, got an undefined one");
    return *storage_;
  }

  std::shared_ptr<Storage> storage_;
  std::shared_ptr<GradSlot> slot_;
  Shape shape_;
  DType dtype_ = DType::f32;
  int64_t offset_ = 0;
};

/// Autograd's side of a tensor. A leaf has a plain slot; the result of an operator has a Node
/// (autograd/node.h).
struct GradSlot {
  virtual ~GradSlot() = default;
  bool enabled = true;
  Shape shape;  // of the tensor, and so of its gradient, like the dtype
  DType dtype = DType::f32;
  Tensor grad;
};

/// Uninitialised.
Tensor empty(const Shape& shape, TensorOptions options = {});
Tensor zeros(const Shape& shape, TensorOptions options = {});
Tensor full(const Shape& shape, double value, TensorOptions options = {});
/// From values in row-major order. Throws Error when their number differs from the shape's numel.
Tensor from_vector(const std::vector<double>& values, const Shape& shape, TensorOptions options = {});

using Tensors = std::vector<Tensor>;

/// A tensor with the name that files and messages know it by.
struct NamedTensor {
  std::string name;
  Tensor tensor;
};

}  // namespace lux
