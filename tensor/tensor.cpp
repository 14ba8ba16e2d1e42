#include "luxgrad/tensor/tensor.h"

#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/raw.h"

namespace lux {

Storage::Storage(int64_t bytes, Device device)
    : block_(device == kCpu ? memory::allocate(bytes) : cuda::allocate(bytes, device, whole_)),
      device_(device) {}

Storage::~Storage() {
  device_ == kCpu ? memory::deallocate(block_) : cuda::deallocate(block_, whole_ != nullptr);
}

namespace {

int64_t bytes_of(const Shape& shape, DType dtype) {
  int64_t bytes = 0;
  check(!__builtin_mul_overflow(shape.numel(), static_cast<int64_t>(size_of(dtype)), &bytes),
        "tensor: shape ", shape, " of ", dtype, " has too many bytes");
  return bytes;
}

}  // namespace

Tensor::Tensor(std::shared_ptr<Storage> storage, const Shape& shape, DType dtype, int64_t offset)
    : storage_(std::move(storage)), shape_(shape), dtype_(dtype), offset_(offset) {
  const int64_t wanted = bytes_of(shape, dtype), given = checked_storage().bytes();
  check(offset >= 0 && offset <= given && wanted <= given - offset, "tensor: shape ", shape, " of ", dtype,
        " needs ", wanted, " bytes from ", offset, " on, storage has ", given);
}

double Tensor::item() const {
  check(numel() == 1, "item: expected one element, got shape ", shape_);
  return to_vector()[0];
}

std::vector<double> Tensor::to_vector() const {
  const Tensor wide = to(kCpu).to(DType::f64);
  const auto* const source = wide.data<double>();
  return {source, source + numel()};
}

Tensor Tensor::with_shape(const Shape& shape) const {
  checked_storage();
  check(shape.numel() == numel(), "with_shape: expected ", numel(), " elements as in ", shape_, ", got ",
        shape);
  return {storage_, shape, dtype_, offset_};
}

Tensor Tensor::detach() const {
  Tensor tensor = *this;
  tensor.slot_ = nullptr;
  return tensor;
}

Tensor Tensor::clone() const {
  Tensor copy = empty(shape_, options());
  copy_(copy, *this);
  return copy;
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_) return detach();
  Tensor copy = empty(shape_, {dtype, device()});
  copy_(copy, *this);
  return copy;
}

Tensor Tensor::to(Device device) const {
  if (device == this->device()) return detach();
  Tensor copy = empty(shape_, {dtype_, device});
  copy_(copy, *this);
  return copy;
}

bool Tensor::requires_grad() const { return slot_ != nullptr && slot_->enabled; }

Tensor& Tensor::requires_grad_(bool on) {
  if (slot_ == nullptr && on) {
    slot_ = std::make_shared<GradSlot>();
    slot_->shape = shape_;
    slot_->dtype = dtype_;
  }
  if (slot_ != nullptr) slot_->enabled = on;
  return *this;
}

Tensor Tensor::grad() const { return slot_ == nullptr ? Tensor() : slot_->grad; }

void Tensor::set_grad(Tensor grad) const {
  check(slot_ != nullptr, "set_grad: the tensor does not require gradients");
  slot_->grad = std::move(grad);
}

Tensor empty(const Shape& shape, TensorOptions options) {
  const int64_t bytes = bytes_of(shape, options.dtype);
  return {std::make_shared<Storage>(bytes, options.device), shape, options.dtype};
}

Tensor zeros(const Shape& shape, TensorOptions options) { return full(shape, 0, options); }

Tensor full(const Shape& shape, double value, TensorOptions options) {
  Tensor tensor = empty(shape, options);
  fill_(tensor, value);
  return tensor;
}

Tensor from_vector(const std::vector<double>& values, const Shape& shape, TensorOptions options) {
  check(static_cast<int64_t>(values.size()) == shape.numel(), "from_vector: expected ", shape.numel(),
        " values for shape ", shape, ", got ", values.size());
  Tensor wide = empty(shape, {DType::f64, kCpu});
  std::copy(values.begin(), values.end(), wide.data<double>());
  if (options.dtype == DType::f64) return wide.to(options.device);
  Tensor tensor = empty(shape, options);
  copy_(tensor, wide);
  return tensor;
}

}  // namespace lux
