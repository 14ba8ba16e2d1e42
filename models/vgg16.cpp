#include "luxgrad/models/vgg16.h"

#include <algorithm>

#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/pool2d.h"

namespace lux {
namespace {

struct Place {
  int64_t in, out;
  int number;  // in torchvision's row of layers, where rectifiers and maxima count, too
  bool begins_block;
};
constexpr Place kPlaces[] = {{3, 64, 0, false},     {64, 64, 2, false},   {64, 128, 5, true},
                             {128, 128, 7, false},  {128, 256, 10, true}, {256, 256, 12, false},
                             {256, 256, 14, false}, {256, 512, 17, true}, {512, 512, 19, false},
                             {512, 512, 21, false}};
constexpr size_t kUpToRelu3 = 7, kUpToRelu4 = 10;

// As every network of torchvision expects its pictures.
Tensor normalized(const Tensor& x) {
  const Tensor mean = from_vector({0.485, 0.456, 0.406}, {3}, x.options());
  const Tensor deviation = from_vector({0.229, 0.224, 0.225}, {3}, x.options());
  return (x - mean) / deviation;
}

}  // namespace

Vgg16::Vgg16(Tap tap) : tap_(tap) {
  const size_t count = tap == Tap::relu3_3 ? kUpToRelu3 : kUpToRelu4;
  for (size_t i = 0; i < count; ++i) {
    const Place& place = kPlaces[i];
    features.emplace_back(*this, cat("features.", place.number),
                          same_conv(place.in, place.out, 3, Activation::relu));
  }
  requires_grad_(false);
}

Tensor Vgg16::operator()(const Tensor& x) const {
  check(x.shape().rank() == 4 && x.size(3) == 3 && std::min(x.size(1), x.size(2)) >= smallest_size(),
        "vgg16: expected a picture [N, H, W, 3] with sides of at least ", smallest_size(), " for ",
        tap_name(), ", got ", x.shape());
  Tensor f = normalized(x);
  for (size_t i = 0; i < features.size(); ++i) {
    if (kPlaces[i].begins_block) f = max_pool2d(f, {});
    f = features[i](f);
  }
  return f;
}

Vgg16::Tap vgg16_tap(std::string_view name) {
  check(name == "relu3_3" || name == "relu4_3", "vgg16: expected relu3_3 or relu4_3, got '", name, "'");
  return name == "relu3_3" ? Vgg16::Tap::relu3_3 : Vgg16::Tap::relu4_3;
}

}  // namespace lux
