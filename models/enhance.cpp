#include "luxgrad/models/enhance.h"

#include "luxgrad/autograd/node.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

// The position in [0, n) that i >= 0 meets when it walks to and fro: 0 1 2 3 2 1 0 1 … for n = 4.
LUX_HD int64_t mirrored(int64_t i, int64_t n) {
  if (n == 1) return 0;
  const int64_t phase = i % (2 * n - 2);
  return phase < n ? phase : 2 * n - 2 - phase;
}

template <class T>
struct MirrorRow {  // one output row: `columns` pixels of C values
  const T* x;
  T* y;
  int64_t H, W, C, rows, columns;
  LUX_HD void operator()(const Team& team, int64_t row) const {
    const T* const source = x + (row / rows * H + mirrored(row % rows, H)) * W * C;
    T* const target = y + row * columns * C;
    const int64_t width = W, channels = C;
    team.each(columns * channels, [=](int64_t i) {
      target[i] = source[mirrored(i / channels, width) * channels + i % channels];
    });
  }
};

int64_t next_multiple(int64_t size, int64_t multiple) { return (size + multiple - 1) / multiple * multiple; }

}  // namespace

Tensor mirror_to(const Tensor& x, int64_t height, int64_t width) {
  const Shape s = x.shape();
  check(s.rank() == 4 && s[1] > 0 && s[2] > 0, "mirror_to: expected a picture [N, H, W, C], got ", s);
  Tensor y = empty({s[0], height, width, s[3]}, x.options());
  dispatch(x.dtype(), [&](auto t) {
    using T = decltype(t);
    parallel_rows(x.device(), s[0] * height, width * s[3],
                  MirrorRow<T>{x.data<T>(), y.data<T>(), s[1], s[2], s[3], height, width});
  });
  return y;
}

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
