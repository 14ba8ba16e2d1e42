// Sum and mean are one operator with a divisor; the gradient repeats gy along what was summed.
#include "luxgrad/kernels/reductions.h"

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/rows.h"
#include "luxgrad/kernels/sum_over.h"

namespace lux {
namespace {

template <class T>
struct Element {
  const T* x;
  LUX_HD Arith<T> operator()(int64_t i) const { return x[i]; }
};

template <class T>
struct Repeat {
  const T* gy;
  T* gx;
  Strided from;
  double divisor;
  LUX_HD void operator()(int64_t i) const { gx[i] = T(Arith<T>(gy[from(i)]) / Arith<T>(divisor)); }
};

// The mean of every channel over all pixels, as `reduce_columns` makes it: blocks of pixels, then a tree.
struct MeanOfPixels final : RowSummary {
  explicit MeanOfPixels(int rank) : rank(rank) {}
  std::unique_ptr<RowTally> begin(const Shape& input, DType dtype) const override {
    return std::make_unique<Tally>(input, dtype, rank);
  }

  struct Tally final : RowTally {
    Tally(const Shape& input, DType dtype, int rank)
        : C(input[3]),
          pixels(input[1] * input[2]),
          blocks(detail::blocks_of(pixels, detail::kColumnBlock)),
          dtype(dtype),
          rank(rank),
          partial(static_cast<size_t>(blocks * C)) {}

    // Summed by the host wherever they are: the sums of the device have the same order.
    void add(const Band& rows) override {
      device = rows.tensor.device();
      const Tensor here = rows.tensor.to(kCpu);
      const int64_t W = rows.tensor.size(2), begin = rows.rows.begin * W, end = rows.rows.end * W;
      const int64_t first = begin / detail::kColumnBlock;
      dispatch(dtype, [&](auto t) {
        using T = decltype(t);
        const T* const x = here.data<T>();
        run_chunks(detail::blocks_of(end, detail::kColumnBlock) - first, [&](int64_t chunk) {
          const int64_t block = first + chunk, to = std::min(end, (block + 1) * detail::kColumnBlock);
          double* const sums = partial.data() + block * C;
          for (int64_t pixel = std::max(begin, block * detail::kColumnBlock); pixel < to; ++pixel) {
            for (int64_t c = 0; c < C; ++c)
              sums[c] += static_cast<double>(Arith<T>(x[(pixel - begin) * C + c]));
          }
        });
      });
    }
    Tensor result() const override {
      Tensor y = empty(rank == 4 ? Shape{1, 1, 1, C} : Shape{1, C}, {dtype, kCpu});
      dispatch(dtype, [&](auto t) {
        using T = decltype(t);
        for (int64_t c = 0; c < C; ++c) {
          const double sum = detail::tree_sum(partial.data() + c, blocks, C);
          y.data<T>()[c] = T(static_cast<Arith<T>>(sum / static_cast<double>(pixels)));
        }
      });
      return y.to(device);
    }

    int64_t C, pixels, blocks;
    Device device = kCpu;
    DType dtype;
    int rank;
    std::vector<double> partial;  // [blocks, C]
  };

  int rank;  // of the result: 2 or 4
};

// Sums x down to `kept`, which has 1 where x is summed, and returns the result under the shape `shape`.
Tensor reduce(const char* name, const Tensor& x, const Shape& kept, const Shape& shape, double divisor) {
  const OperatorScope scope(name, x);
  Tensor y = empty(shape, x.options());
  dispatch(x.dtype(), [&](auto t) {
    using T = decltype(t);
    sum_over(x.device(), x.shape(), kept, Element<T>{x.data<T>()}, y.data<T>(), divisor);
  });

  return differentiable(name, y, {x}, [wide = x.shape(), kept, divisor](const Tensor& gy) {
    Tensor gx = empty(wide, gy.options());
    dispatch(gy.dtype(), [&](auto t) {
      using T = decltype(t);
      parallel_for(gy.device(), gx.numel(),
                   Repeat<T>{gy.data<T>(), gx.data<T>(), broadcast_index(kept, wide), divisor});
    });
    return Grads{gx};
  });
}

Tensor reduce_dims(const char* name, const Tensor& x, const std::vector<int>& dims, bool keepdim,
                   bool average) {
  Shape kept = x.shape();
  bool summed[Shape::kMaxRank] = {};
  double count = 1;
  for (const int dim : dims) {
    const int d = dim < 0 ? dim + x.shape().rank() : dim;
    check(d >= 0 && d < x.shape().rank() && !summed[d], name, ": expected different dimensions of ",
          x.shape(), ", got ", dim);
    summed[d] = true;
    count *= static_cast<double>(x.size(d));
    kept = kept.with(d, 1);
  }
  check(!average || count > 0, name, ": expected at least one element to average, got ", x.shape());
  int64_t sizes[Shape::kMaxRank];
  int rank = 0;
  for (int d = 0; d < x.shape().rank(); ++d) {
    if (keepdim || !summed[d]) sizes[rank++] = kept[d];
  }
  const Tensor y = reduce(name, x, kept, {sizes, sizes + rank}, average ? count : 1);
  const Shape& s = x.shape();
  const bool over_pixels = s.rank() == 4 && summed[1] && summed[2] && s[1] * s[2] > 1;
  if (over_pixels && average && s[0] == 1 && !summed[3] && s[3] > 1)
    describe_summary(y, x, MeanOfPixels(rank));
  else if (s.rank() < 4 || (!summed[1] && keepdim) || s[1] * s[2] == 1)
    describe_pointwise(y, {x},
                       [=](const Tensors& in) { return reduce_dims(name, in[0], dims, keepdim, average); });
  return y;
}

}  // namespace

Tensor sum(const Tensor& x) { return reduce("sum", x, {}, {}, 1); }

Tensor mean(const Tensor& x) {
  check(x.numel() > 0, "mean: expected at least one element to average, got ", x.shape());
  return reduce("mean", x, {}, {}, static_cast<double>(x.numel()));
}

Tensor sum(const Tensor& x, std::initializer_list<int> dims, bool keepdim) {
  return reduce_dims("sum", x, dims, keepdim, false);
}

Tensor mean(const Tensor& x, std::initializer_list<int> dims, bool keepdim) {
  return reduce_dims("mean", x, dims, keepdim, true);
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  check(broadcast_shapes("sum_to", x.shape(), shape) == x.shape(),
        "sum_to: expected a shape that broadcasts to ", x.shape(), ", got ", shape);
  return reduce("sum_to", x, shape, shape, 1);
}

}  // namespace lux
