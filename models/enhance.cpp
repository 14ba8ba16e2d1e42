#include "luxgrad/models/enhance.h"

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/mirror.h"

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
  const int64_t height = next_multiple(s[1], multiple), width = next_multiple(s[2], multiple);
  if (height == s[1] && width == s[2]) return model.enhance(picture, options.strength);
  return mirror_to(model.enhance(mirror_to(picture, height, width), options.strength), s[1], s[2]);
}

}  // namespace lux
