#include "luxgrad/models/enhance.h"

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/reflect_pad.h"

namespace lux {
namespace {

int64_t next_multiple(int64_t size, int64_t multiple) { return (size + multiple - 1) / multiple * multiple; }

}  // namespace

Tensor enhance(const Model& model, const Tensor& picture, const EnhanceOptions& options) {
  const Shape& s = picture.shape();
  check(s.rank() == 4 && s[3] == 3 && s.numel() > 0, "enhance: expected a picture [N, H, W, 3], got ", s);
  check(options.strength >= 0 && options.strength <= 1, "enhance: expected a strength from 0 to 1, got ",
        options.strength);
  const NoGrad no_grad;
  const int64_t multiple = model.traits().size_multiple;
  const int64_t below = next_multiple(s[1], multiple) - s[1], beside = next_multiple(s[2], multiple) - s[2];
  if (below == 0 && beside == 0) return model.enhance(picture, options.strength);
  const Tensor padded = reflect_pad(picture, {0, below, 0, beside});
  return reflect_pad(model.enhance(padded, options.strength), {0, -below, 0, -beside});
}

}  // namespace lux
