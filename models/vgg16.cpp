#include "luxgrad/models/vgg16.h"

#include <algorithm>

#include "luxgrad/kernels/arithmetic.h"

namespace lux {
namespace {

constexpr size_t kUpToRelu3 = 7, kUpToRelu4 = 10;

// As every network of torchvision expects its pictures.
Tensor normalized(const Tensor& x) {
  const Tensor mean = from_vector({0.485, 0.456, 0.406}, {3}, x.options());
  const Tensor deviation = from_vector({0.229, 0.224, 0.225}, {3}, x.options());
  return (x - mean) / deviation;
}

}  // namespace

Vgg16::Vgg16(Tap tap)
    : Trunk(vgg16_convs().first(tap == Tap::relu3_3 ? kUpToRelu3 : kUpToRelu4)), tap_(tap) {}

Tensor Vgg16::operator()(const Tensor& x) const {
  check(x.shape().rank() == 4 && x.size(3) == 3 && std::min(x.size(1), x.size(2)) >= smallest_size(),
        "vgg16: expected a picture [N, H, W, 3] with sides of at least ", smallest_size(), " for ",
        tap_name(), ", got ", x.shape());
  return maps(normalized(x)).back();
}

Vgg16::Tap vgg16_tap(std::string_view name) {
  check(name == "relu3_3" || name == "relu4_3", "vgg16: expected relu3_3 or relu4_3, got '", name, "'");
  return name == "relu3_3" ? Vgg16::Tap::relu3_3 : Vgg16::Tap::relu4_3;
}

}  // namespace lux
