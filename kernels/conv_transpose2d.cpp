// The forward is the input gradient of a convolution that leads from the result back to x, and the other way
// round. That convolution's weight has inputs and outputs exchanged.
#include "luxgrad/kernels/conv_transpose2d.h"

#include "luxgrad/autograd/saved_map.h"
#include "luxgrad/kernels/conv2d_kernels.h"
#include "luxgrad/kernels/derived_weights.h"
#include "luxgrad/kernels/rows.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

// [outer, taps, inner] -> [inner, taps, outer].
template <class T>
struct Exchange {
  const T* from;
  T* to;
  int64_t outer, taps, inner;
  LUX_HD void operator()(const Team& team, int64_t row) const {
    const int64_t tap = row % taps, c = row / taps;
    team.each(outer, [&](int64_t o) { to[row * outer + o] = from[(o * taps + tap) * inner + c]; });
  }
};

// What the kernels have not done on their way out.
template <class T>
struct Finish {
  const T* bias;  // or null
  T* y;
  int64_t K;
  Activation activation;
  double slope;
  LUX_HD void operator()(const Team& team, int64_t pixel) const {
    using A = Arith<T>;
    T* const at = y + pixel * K;
    if (bias != nullptr) team.each(K, [at, by = bias](int64_t k) { at[k] = T(A(at[k]) + A(by[k])); });
    if (activation == Activation::none) return;
    team.each(K, [&](int64_t k) { at[k] = T(activate(activation, static_cast<A>(slope), A(at[k]))); });
  }
};

Tensor exchanged(const Tensor& w) {
  Tensor to = empty({w.size(3), w.size(1), w.size(2), w.size(0)}, w.options());
  dispatch(w.dtype(), [&](auto t) {
    using T = decltype(t);
    const int64_t taps = w.size(1) * w.size(2);
    parallel_rows(w.device(), w.size(3) * taps, w.size(0),
                  Exchange<T>{w.data<T>(), to.data<T>(), w.size(0), taps, w.size(3)});
  });
  return to;
}

// The weight of the problem's convolution.
Tensor exchanged_weight(const Conv2dProblem& s, const Tensor& w) {
  const DerivedKey key{kExchanged, s.C, s.kH, s.kW, s.K};
  return derived_weights(w, key, worth_keeping(s.N * s.H * s.W), [&] { return exchanged(w); });
}

// The convolution from y to x.
Conv2dProblem problem_of(const Shape& x, const Tensor& weight, const ConvTranspose2dOptions& options) {
  const Padding& pad = options.padding;
  const int64_t kH = weight.size(1), kW = weight.size(2), stride = options.stride;
  const int64_t H = (x[1] - 1) * stride + kH - pad.top - pad.bottom;
  const int64_t W = (x[2] - 1) * stride + kW - pad.left - pad.right;
  check(H >= 1 && W >= 1 && x[1] >= 1 && x[2] >= 1, "conv_transpose2d: expected a result with pixels, got ",
        H, "x", W, " from ", x);
  return {.dtype = weight.dtype(),
          .N = x[0],
          .H = H,
          .W = W,
          .C = weight.size(0),
          .P = x[1],
          .Q = x[2],
          .K = x[3],
          .kH = kH,
          .kW = kW,
          .stride = stride,
          .top = pad.top,
          .left = pad.left,
          .activation = options.activation,
          .slope = options.negative_slope,
          .precision = precision()};
}

void check_operands(const Tensor& x, const Tensor& weight, const Tensor& bias,
                    const ConvTranspose2dOptions& options) {
  const Padding& pad = options.padding;
  check(x.shape().rank() == 4 && weight.shape().rank() == 4 && weight.numel() > 0 &&
            weight.size(3) == x.size(3),
        "conv_transpose2d: expected an input [N, H, W, C] and a weight [out, kH, kW, C], got ", x.shape(),
        " and ", weight.shape());
  check(x.dtype() == weight.dtype() && (!bias.defined() || bias.dtype() == x.dtype()),
        "conv_transpose2d: expected one dtype");
  check(!bias.defined() || bias.shape() == Shape{weight.size(0)}, "conv_transpose2d: expected bias [",
        weight.size(0), "], got ", bias.defined() ? bias.shape() : Shape{});
  check(options.stride >= 1, "conv_transpose2d: expected a stride of at least 1, got ", options.stride);
  check(options.negative_slope >= 0, "conv_transpose2d: expected a negative_slope of at least 0, got ",
        options.negative_slope);
  for (const auto& [side, kernel] : {std::pair{pad.top, weight.size(1)},
                                     {pad.bottom, weight.size(1)},
                                     {pad.left, weight.size(2)},
                                     {pad.right, weight.size(2)}}) {
    check(side >= 0 && side < kernel, "conv_transpose2d: expected padding of 0 … ", kernel - 1, ", got ",
          side);
  }
}

// Without the activation.
Conv2dProblem sums_of(Conv2dProblem s) {
  s.activation = Activation::none;
  return s;
}

// The result, or rows of it, written into y: by who would make the whole.
void transpose_into(const Conv2dProblem& s, const Conv2dProblem& whole, const Tensor& x, const Tensor& weight,
                    const Tensor& bias, const Tensor& y) {
  const Conv2dKernels& kernels = conv2d_kernels().pick(y.device(), whole);
  const Tensor w = exchanged_weight(s, weight);
  if (kernels.transposed != nullptr) return kernels.transposed(s, x, w, bias, y);
  kernels.input_gradient(sums_of(s), x, w, {s.C}, {y});
  if (!bias.defined() && s.activation == Activation::none) return;
  dispatch(s.dtype, [&](auto t) {
    using T = decltype(t);
    parallel_rows(
        y.device(), y.numel() / s.C, s.C,
        Finish<T>{bias.defined() ? bias.data<T>() : nullptr, y.data<T>(), s.C, s.activation, s.slope});
  });
}

// Some rows: the rows that reach them, with what these reach besides cut off.
struct TransposedRows final : RowOperator {
  TransposedRows(const Tensor& weight, const Tensor& bias, const ConvTranspose2dOptions& options)
      : weight(weight.detach()), bias(bias.detach()), options(options) {}

  Shape shape(const std::vector<Shape>& inputs) const override {
    const Conv2dProblem s = problem_of(inputs[0], weight, options);
    return {1, s.H, s.W, s.C};
  }
  Rows reads(Rows y) const override {
    const int64_t stride = options.stride, top = options.padding.top, before = y.begin + top - weight.size(1);
    const int64_t first = before < 0 ? 0 : before / stride + 1;
    return {first, (y.end - 1 + top) / stride + 1};
  }
  Rows reads_to_the_bit(Rows y) const override {
    constexpr int64_t kTile = 4;  // Winograd's: two rows of each phase
    return options.stride == 2 ? reads({y.begin / kTile * kTile, (y.end + kTile - 1) / kTile * kTile})
                               : reads(y);
  }
  void run(const Bands& inputs, const Band& y) const override {
    const Tensor& x = inputs.tensors[0];
    ConvTranspose2dOptions here = options;
    here.padding.top = y.rows.begin + options.padding.top - inputs.rows.begin * options.stride;
    here.padding.bottom =
        (inputs.rows.count() - 1) * options.stride + weight.size(1) - here.padding.top - y.rows.count();
    transpose_into(problem_of(x.shape(), weight, here),
                   problem_of(x.shape().with(1, inputs.height), weight, options), x, weight, bias, y.tensor);
  }
  Tensor whole(const Tensors& inputs) const override {
    return conv_transpose2d(inputs[0], weight, bias, options);
  }
  int64_t working_bytes(const std::vector<Shape>& inputs, int64_t rows) const override {
    Conv2dProblem s = problem_of(inputs[0], weight, options);
    const Conv2dKernels& kernels = conv2d_kernels().pick(weight.device(), s);
    s.H = std::min(s.H, rows);
    const int64_t exchanged = weight.numel() * static_cast<int64_t>(size_of(weight.dtype()));
    return exchanged + (kernels.transposed_bytes == nullptr ? exchanged : kernels.transposed_bytes(s));
  }

  Tensor weight, bias;
  ConvTranspose2dOptions options;
};

}  // namespace

Tensor conv_transpose2d(const Tensor& x, const Tensor& weight, const Tensor& bias,
                        const ConvTranspose2dOptions& options) {
  const OperatorScope scope("conv_transpose2d", x, weight, bias);
  check_operands(x, weight, bias, options);
  Conv2dProblem s = problem_of(x.shape(), weight, options);
  s.precision = precision_for({x, weight, bias});
  Tensor y = empty({s.N, s.H, s.W, s.C}, x.options());
  transpose_into(s, s, x, weight, bias, y);
  describe_rows(y, {x}, TransposedRows(weight, bias, options));

  return differentiable(
      "conv_transpose2d", y, {x, weight, bias},
      [s, xs = SavedMap(weight.requires_grad() ? x : Tensor()),
       ws = Saved(x.requires_grad() ? weight : Tensor()),
       ys = SavedMap(s.activation == Activation::none ? Tensor() : y)](const Tensor& gy, const Need& need) {
        const Conv2dProblem sums = sums_of(s);
        const Conv2dKernels& kernels = conv2d_kernels().pick(gy.device(), sums);
        Grads grads(3);
        if (need(2)) grads[2] = empty({s.C}, gy.options());
        const Tensor gz = output_gradient(s.activation, s.slope, gy, ys.kept(), grads[2]);
        if (need(0)) {
          grads[0] = empty({s.N, s.P, s.Q, s.K}, gy.options());
          kernels.forward(sums, {gz}, exchanged_weight(s, ws.get()), {}, grads[0]);
        }
        if (need(1)) {
          Tensor gw = empty({s.K, s.kH, s.kW, s.C}, gy.options());
          kernels.weight_gradient(sums, {gz}, xs.get(), gw);
          grads[1] = exchanged(gw);
        }
        return grads;
      });
}

}  // namespace lux
