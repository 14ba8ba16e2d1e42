// Convolution: checks, the plain text of its three sums, and the closure that chooses among them. The
// concatenation of several inputs exists only as a list of pointers.
#include "luxgrad/kernels/conv2d.h"

#include "luxgrad/autograd/saved_map.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/conv2d_kernels.h"
#include "luxgrad/kernels/cuda/vendor.h"
#include "luxgrad/kernels/rows.h"
#include "luxgrad/kernels/slots.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

// 1. The math. One thread per element; p, q run over the output, h, w over the input, i, j over the kernel.

// The inputs as one: part m has channels [offset[m], offset[m + 1]).
template <class T>
struct Concatenation {
  const T* data[kMaxConv2dInputs];
  int64_t offset[kMaxConv2dInputs + 1];
  int parts = 0;

  explicit Concatenation(const Tensors& tensors) : data{}, offset{} {
    for (const Tensor& tensor : tensors) {
      data[parts] = tensor.data<T>();
      offset[parts + 1] = offset[parts] + tensor.size(3);
      ++parts;
    }
  }
  LUX_HD T at(int64_t pixel, int64_t c) const {
    int part = 0;
    while (c >= offset[part + 1]) ++part;
    return data[part][pixel * (offset[part + 1] - offset[part]) + c - offset[part]];
  }
};

template <class T>
struct Forward {
  Conv2dProblem s;
  Concatenation<T> x;
  const T* weight;
  const T* bias;
  T* y;

  LUX_HD void operator()(int64_t index) const {
    using A = Arith<T>;
    const int64_t k = index % s.K, q = index / s.K % s.Q, p = index / (s.K * s.Q) % s.P;
    const int64_t n = index / (s.K * s.Q * s.P);
    const int64_t depth = s.C / s.groups, first = k / (s.K / s.groups) * depth;
    A sum = bias == nullptr ? A(0) : A(bias[k]);
    for (int64_t i = 0; i < s.kH; ++i) {
      const int64_t h = p * s.stride + i - s.top;
      if (h < 0 || h >= s.H) continue;
      for (int64_t j = 0; j < s.kW; ++j) {
        const int64_t w = q * s.stride + j - s.left;
        if (w < 0 || w >= s.W) continue;
        const T* const row = weight + ((k * s.kH + i) * s.kW + j) * depth;
        const int64_t pixel = (n * s.H + h) * s.W + w;
        for (int64_t c = 0; c < depth; ++c) sum += A(x.at(pixel, first + c)) * A(row[c]);
      }
    }
    y[index] = static_cast<T>(activate(s.activation, static_cast<A>(s.slope), sum));
  }
};

// gx as a gather: which outputs did this pixel contribute to?
template <class T>
struct InputGradient {
  Conv2dProblem s;
  int64_t first, channels;  // of the part
  const T* gz;
  const T* weight;
  T* gx;

  LUX_HD void operator()(int64_t index) const {
    using A = Arith<T>;
    const int64_t channel = first + index % channels, w = index / channels % s.W;
    const int64_t h = index / (channels * s.W) % s.H, n = index / (channels * s.W * s.H);
    const int64_t depth = s.C / s.groups, width = s.K / s.groups, group = channel / depth;
    A sum = 0;
    for (int64_t i = 0; i < s.kH; ++i) {
      const int64_t p = (h + s.top - i) / s.stride;
      if (p * s.stride != h + s.top - i || p < 0 || p >= s.P) continue;
      for (int64_t j = 0; j < s.kW; ++j) {
        const int64_t q = (w + s.left - j) / s.stride;
        if (q * s.stride != w + s.left - j || q < 0 || q >= s.Q) continue;
        for (int64_t k = group * width; k < (group + 1) * width; ++k) {
          sum += A(gz[((n * s.P + p) * s.Q + q) * s.K + k]) *
                 A(weight[((k * s.kH + i) * s.kW + j) * depth + channel - group * depth]);
        }
      }
    }
    gx[index] = static_cast<T>(sum);
  }
};

// gw: for every weight a sum over all output pixels.
template <class T>
struct WeightGradient {
  Conv2dProblem s;
  Concatenation<T> x;
  const T* gz;
  T* gw;

  LUX_HD double term(int64_t index, int64_t pixel) const {
    const int64_t depth = s.C / s.groups, c = index % depth, j = index / depth % s.kW;
    const int64_t i = index / (depth * s.kW) % s.kH, k = index / (depth * s.kW * s.kH);
    const int64_t q = pixel % s.Q, p = pixel / s.Q % s.P, n = pixel / (s.Q * s.P);
    const int64_t h = p * s.stride + i - s.top, w = q * s.stride + j - s.left;
    if (h < 0 || h >= s.H || w < 0 || w >= s.W) return 0;
    const int64_t channel = k / (s.K / s.groups) * depth + c;
    return static_cast<double>(Arith<T>(x.at((n * s.H + h) * s.W + w, channel))) *
           static_cast<double>(Arith<T>(gz[pixel * s.K + k]));
  }
  LUX_HD void finish(int64_t index, double sum) const {
    gw[index] = static_cast<T>(static_cast<Arith<T>>(sum));
  }
};

// gz = gy · activation'(y), and its sum over all pixels on the way. Y: what y was kept as. The activation is
// a constant: a choice for every element would keep the loop over channels from becoming vectors.
template <Activation kActivation, class T, class Y>
struct BiasGradient {
  double slope;
  int64_t K;
  const T* gy;
  const Y* y;  // null without an activation
  T* gz;       // null without an activation
  T* gb;       // null when nobody wants it

  LUX_HD Arith<T> term(int64_t pixel, int64_t k) const {
    using A = Arith<T>;
    const int64_t i = pixel * K + k;
    if constexpr (kActivation == Activation::none) return A(gy[i]);
    gz[i] = static_cast<T>(A(gy[i]) * activation_slope(kActivation, static_cast<A>(slope), A(y[i])));
    return A(gz[i]);
  }
  LUX_HD void finish(int64_t, int64_t k, double sum) const {
    if (gb != nullptr) gb[k] = static_cast<T>(static_cast<Arith<T>>(sum));
  }
};

// y += skip.
template <class T>
struct AddSkip {
  const T* skip;
  T* y;
  LUX_HD void operator()(int64_t i) const { y[i] = T(Arith<T>(y[i]) + Arith<T>(skip[i])); }
};

void plain_forward(const Conv2dProblem& s, const Tensors& inputs, const Tensor& weight, const Tensor& bias,
                   const Tensor& y) {
  dispatch(s.dtype, [&](auto t) {
    using T = decltype(t);
    parallel_for(y.device(), y.numel(),
                 Forward<T>{s, Concatenation<T>(inputs), weight.data<T>(),
                            bias.defined() ? bias.data<T>() : nullptr, y.data<T>()},
                 256);
  });
}

// y = the convolution, and skip where it is defined.
void forward_onto(const Conv2dProblem& s, const Tensors& inputs, const Tensor& weight, const Tensor& bias,
                  const Tensor& skip, const Tensor& y) {
  const Conv2dKernels& kernels = conv2d_kernels().pick(y.device(), s);
  if (skip.defined() && kernels.forward_onto != nullptr)
    return kernels.forward_onto(s, inputs, weight, bias, skip, y);
  kernels.forward(s, inputs, weight, bias, y);
  if (!skip.defined()) return;
  dispatch(s.dtype, [&](auto t) {
    using T = decltype(t);
    parallel_for(y.device(), y.numel(), AddSkip<T>{skip.data<T>(), y.data<T>()});
  });
}

void plain_input_gradient(const Conv2dProblem& s, const Tensor& gz, const Tensor& weight,
                          const std::vector<int64_t>& channels, const Tensors& gx) {
  dispatch(s.dtype, [&](auto t) {
    using T = decltype(t);
    int64_t first = 0;
    for (size_t m = 0; m < gx.size(); first += channels[m++]) {
      if (!gx[m].defined()) continue;
      parallel_for(gz.device(), gx[m].numel(),
                   InputGradient<T>{s, first, channels[m], gz.data<T>(), weight.data<T>(), gx[m].data<T>()},
                   256);
    }
  });
}

void plain_weight_gradient(const Conv2dProblem& s, const Tensors& inputs, const Tensor& gz,
                           const Tensor& gw) {
  dispatch(s.dtype, [&](auto t) {
    using T = decltype(t);
    parallel_reduce(gz.device(), gw.numel(), s.N * s.P * s.Q,
                    WeightGradient<T>{s, Concatenation<T>(inputs), gz.data<T>(), gw.data<T>()});
  });
}

// `[1, 8, 8, 3] and [1, 8, 8, 4]`, once somebody asks.
struct Listed {
  const Tensors& tensors;
};
void append(std::string& text, const Listed& listed) {
  for (const Tensor& tensor : listed.tensors)
    append(text += &tensor == listed.tensors.data() ? "" : " and ", tensor.shape());
}

// ` in 2 groups`, where there are several.
struct InGroups {
  int64_t groups;
};
void append(std::string& text, const InGroups& in) {
  if (in.groups > 1) text += cat(" in ", in.groups, " groups");
}

// The shape of the inputs, read as one.
Shape together(const Tensors& inputs) {
  int64_t channels = 0;
  for (const Tensor& input : inputs) channels += input.size(3);
  return inputs[0].shape().with(3, channels);
}

void check_inputs(const Tensors& inputs, const Tensor& weight, const Tensor& bias, int64_t groups) {
  check(!inputs.empty() && inputs.size() <= kMaxConv2dInputs, "conv2d: expected 1 to ", kMaxConv2dInputs,
        " inputs, got ", inputs.size());
  check(weight.defined(), "conv2d: expected a weight [out, kH, kW, in/groups], got an undefined tensor");
  for (const Tensor& x : inputs) {
    check(x.defined(), "conv2d: expected an input [N, H, W, C], got an undefined tensor");
    check(x.shape().rank() == 4, "conv2d: expected an input [N, H, W, C], got ", x.shape());
    check(x.shape().with(3, 0) == inputs[0].shape().with(3, 0),
          "conv2d: expected inputs that differ in channels only, got ", Listed{inputs});
    check(x.dtype() == weight.dtype(), "conv2d: expected one dtype, got input ", x.dtype(), " and weight ",
          weight.dtype());
    check(x.device() == weight.device(), "conv2d: expected inputs and weight on one device");
  }
  check(weight.shape().rank() == 4 && weight.numel() > 0,
        "conv2d: expected a weight [out, kH, kW, in/groups], got ", weight.shape());
  const Shape& w = weight.shape();
  check(groups >= 1 && w[0] % groups == 0, "conv2d: expected groups that divide the ", w[0],
        " outputs of weight ", w, ", got ", groups);
  const int64_t channels = together(inputs)[3];
  check(channels % groups == 0 && channels / groups == w[3], "conv2d: expected input with ", w[3] * groups,
        " channels for weight ", w, InGroups{groups}, ", got ", Listed{inputs});
  if (!bias.defined()) return;
  check(bias.shape() == Shape{weight.size(0)}, "conv2d: expected bias [", weight.size(0), "] for weight ",
        weight.shape(), ", got ", bias.shape());
  check(bias.dtype() == weight.dtype(), "conv2d: expected one dtype, got bias ", bias.dtype(), " and weight ",
        weight.dtype());
}

Conv2dProblem problem_of(const Shape& x, const Tensor& weight, const Conv2dOptions& options) {
  const Shape& w = weight.shape();
  const Padding& pad = options.padding;
  constexpr int64_t kMost = int64_t{1} << 30;
  for (const int64_t side : {pad.top, pad.bottom, pad.left, pad.right})
    check(side >= 0 && side <= kMost, "conv2d: expected padding of at least 0, got ", side);
  check(options.stride >= 1 && options.stride <= kMost, "conv2d: expected a stride of at least 1, got ",
        options.stride);
  check(options.negative_slope >= 0, "conv2d: expected a negative_slope of at least 0, got ",
        options.negative_slope);
  const int64_t height = x[1] + pad.top + pad.bottom, width = x[2] + pad.left + pad.right;
  check(height >= w[1] && width >= w[2], "conv2d: expected an input of at least ", w[1], "x", w[2],
        " pixels with its padding for weight ", w, ", got ", height, "x", width, " from ", x);
  return {.dtype = weight.dtype(),
          .N = x[0],
          .H = x[1],
          .W = x[2],
          .C = x[3],
          .P = (height - w[1]) / options.stride + 1,
          .Q = (width - w[2]) / options.stride + 1,
          .K = w[0],
          .kH = w[1],
          .kW = w[2],
          .stride = options.stride,
          .top = pad.top,
          .left = pad.left,
          .groups = options.groups,
          .activation = options.activation,
          .slope = options.negative_slope,
          .precision = precision()};
}

int64_t bytes_of(const Tensor& weight) {
  return weight.numel() * static_cast<int64_t>(size_of(weight.dtype()));
}

// Some rows: the same convolution of the rows that they see, with zeros only where the picture ends.
struct ConvolvedRows final : RowOperator {
  // The convolution of a band, and who runs it: who would run the whole picture.
  struct Plan {
    Conv2dProblem problem;
    const Conv2dKernels* kernels;
  };

  ConvolvedRows(const Tensor& weight, const Tensor& bias, const Conv2dOptions& options)
      : weight(weight.detach()), bias(bias.detach()), options(options) {}

  Shape shape(const std::vector<Shape>& inputs) const override {
    const Padding& pad = options.padding;
    const auto outputs = [&](int64_t size, int64_t zeros, int64_t kernel) {
      return (size + zeros - kernel) / options.stride + 1;
    };
    return {1, outputs(inputs[0][1], pad.top + pad.bottom, weight.size(1)),
            outputs(inputs[0][2], pad.left + pad.right, weight.size(2)), weight.size(0)};
  }
  Rows reads(Rows y) const override {
    const int64_t first = y.begin * options.stride - options.padding.top;
    return {first, first + (y.count() - 1) * options.stride + weight.size(1)};
  }
  Rows reads_to_the_bit(Rows y) const override {
    constexpr int64_t kTile = 4;
    const bool depthwise = options.groups > 1 && weight.size(3) == 1;
    const bool winograd = weight.size(1) == 3 && weight.size(2) == 3 && options.stride == 1 && !depthwise;
    return winograd ? reads({y.begin / kTile * kTile, (y.end + kTile - 1) / kTile * kTile}) : reads(y);
  }
  void run(const Bands& inputs, const Band& y) const override {
    const Plan plan = plan_for(inputs, y);
    plan.kernels->forward(plan.problem, inputs.tensors, weight, bias, y.tensor);
  }
  Tensor whole(const Tensors& inputs) const override { return conv2d(inputs, weight, bias, options); }
  int64_t working_bytes(const std::vector<Shape>& inputs, int64_t rows) const override {
    Conv2dProblem s = problem_of(inputs[0].with(3, weight.size(3) * options.groups), weight, options);
    const Conv2dKernels& kernels = conv2d_kernels().pick(weight.device(), s);
    s.P = std::min(s.P, rows);
    return kernels.working_bytes == nullptr ? bytes_of(weight) : kernels.working_bytes(s);
  }
  std::shared_ptr<const RowOperator> then(const RowOperator& next) const override;

  // For the rows of y.
  Plan plan_for(const Bands& inputs, const Band& y) const {
    const Rows wanted = reads(y.rows), given = inputs.rows;
    Conv2dOptions here = options;
    here.padding.top = given.begin - wanted.begin;
    here.padding.bottom = wanted.end - given.end;
    const Conv2dProblem s = problem_of(together(inputs.tensors), weight, here);
    Conv2dProblem all = s;
    all.H = inputs.height;
    all.P = y.height;
    all.top = options.padding.top;
    return {s, &conv2d_kernels().pick(y.tensor.device(), all)};
  }

  Tensor weight, bias;
  Conv2dOptions options;
};

// A depthwise convolution and the pointwise one that alone reads it.
struct SeparableRows final : RowOperator {
  SeparableRows(ConvolvedRows depth, ConvolvedRows point)
      : depth(std::move(depth)), point(std::move(point)) {}

  Shape shape(const std::vector<Shape>& inputs) const override { return point.shape({depth.shape(inputs)}); }
  Rows reads(Rows y) const override { return depth.reads(y); }
  void run(const Bands& inputs, const Band& y) const override {
    const auto [filter, filtering] = depth.plan_for(inputs, y);
    const Shape between{1, filter.P, filter.Q, filter.K};
    const Conv2dProblem mix = problem_of(between, point.weight, point.options);
    const Conv2dKernels& mixing = conv2d_kernels().pick(y.tensor.device(), mix);
    if (filtering->separable != nullptr && mixing.separable != nullptr) {
      return mixing.separable({filter, depth.weight, depth.bias}, {mix, point.weight, point.bias},
                              inputs.tensors, y.tensor);
    }
    const Tensor filtered = empty(between, y.tensor.options());
    filtering->forward(filter, inputs.tensors, depth.weight, depth.bias, filtered);
    mixing.forward(mix, {filtered}, point.weight, point.bias, y.tensor);
  }
  Tensor whole(const Tensors& inputs) const override { return point.whole({depth.whole(inputs)}); }
  int64_t working_bytes(const std::vector<Shape>& inputs, int64_t rows) const override {
    return depth.working_bytes(inputs, rows) + point.working_bytes({depth.shape(inputs)}, rows);
  }

  ConvolvedRows depth, point;
};

std::shared_ptr<const RowOperator> ConvolvedRows::then(const RowOperator& next) const {
  const auto* const point = dynamic_cast<const ConvolvedRows*>(&next);
  const bool depthwise = options.groups > 1 && options.groups == weight.size(0) && weight.size(3) == 1;
  if (point == nullptr || !depthwise) return nullptr;
  const Conv2dOptions& behind = point->options;
  if (point->weight.size(1) != 1 || point->weight.size(2) != 1 || behind.stride != 1 || behind.groups != 1 ||
      behind.padding != Padding())
    return nullptr;
  return std::make_shared<const SeparableRows>(*this, *point);
}

}  // namespace

Tensor output_gradient(Activation activation, double slope, const Tensor& gy, const Tensor& y,
                       const Tensor& gb) {
  const bool linear = activation == Activation::none;
  if (linear && !gb.defined()) return gy;
  Tensor gz = linear ? gy : empty(gy.shape(), gy.options());
  if (slots().activation_gradient(gy.device(), gy, linear ? Tensor() : y, activation, slope,
                                  linear ? Tensor() : gz, gb))
    return gz;
  const int64_t K = gy.size(3);
  const auto run = [&](auto t, auto kept) {
    using T = decltype(t);
    using Y = decltype(kept);
    with_constant(activation, [&](auto constant) {
      reduce_columns(gy.device(), 1, gy.numel() / K, K,
                     BiasGradient<decltype(constant)::value, T, Y>{
                         slope, K, gy.data<T>(), linear ? nullptr : y.data<Y>(),
                         linear ? nullptr : gz.data<T>(), gb.defined() ? gb.data<T>() : nullptr});
    });
  };
  if (!linear && y.dtype() != gy.dtype())
    run(float{}, bf16{});
  else
    dispatch(gy.dtype(), [&](auto t) { run(t, t); });
  return gz;
}

KernelTable<Conv2dKernels>& conv2d_kernels() {
  static KernelTable<Conv2dKernels> table = [] {
    KernelTable<Conv2dKernels> slots(
        {"plain", nullptr, plain_forward, plain_input_gradient, plain_weight_gradient});
    cpu::add_eigen(slots);
    cpu::add_tiles(slots);
    cpu::add_winograd(slots);
    cpu::add_pairs(slots);
    cuda::add_vendor(slots);
#ifdef LUX_CUDA
    cuda::add_depthwise(slots, Device::Type::cuda);
#endif
    return slots;
  }();
  return table;
}

Precision precision_for(const Tensors& operands, bool fine) {
  const Precision wanted = fine ? std::min(precision(), Precision::fp32) : precision();
  return is_recorded(operands) && wanted == Precision::fp32 ? Precision::exact : wanted;
}

// 2. Forward.
Tensor conv2d(const Tensors& inputs, const Tensor& weight, const Tensor& bias, const Conv2dOptions& options,
              const Tensor& skip) {
  check_inputs(inputs, weight, bias, options.groups);
  Tensors operands = inputs;
  if (skip.defined()) operands.push_back(skip);
  operands.push_back(weight);
  operands.push_back(bias);
  const OperatorScope scope("conv2d", operands);
  Conv2dProblem s = problem_of(together(inputs), weight, options);
  s.precision = precision_for(operands, options.fine);
  const Shape shape{s.N, s.P, s.Q, s.K};
  check(!skip.defined() ||
            (skip.shape() == shape && skip.dtype() == s.dtype && skip.device() == weight.device()),
        "conv2d: expected a skip ", shape, " of the weight's dtype, got ",
        skip.defined() ? skip.shape() : shape);
  check(!skip.defined() || s.activation == Activation::none,
        "conv2d: expected no activation where a skip is added");
  if (skip.defined() && detail::row_recorder() != nullptr)  // rows of both, as two operators: the same bits
    return conv2d(inputs, weight, bias, options) + skip;
  Tensor y = empty(shape, weight.options());
  forward_onto(s, inputs, weight, bias, skip, y);
  describe_rows(y, inputs, ConvolvedRows(weight, bias, options));

  // 3. Backward. The weight gradient needs the inputs, the inputs' gradients need the weight.
  std::vector<int64_t> channels;
  std::vector<SavedMap> saved;
  bool any_input = false;
  for (const Tensor& x : inputs) {
    channels.push_back(x.size(3));
    saved.emplace_back(weight.requires_grad() ? x : Tensor());
    any_input = any_input || x.requires_grad();
  }
  auto backward = [s, channels, xs = std::move(saved), w = Saved(any_input ? weight : Tensor()),
                   ys = SavedMap(s.activation == Activation::none ? Tensor() : y),
                   weight_shape = weight.shape(),
                   skips = skip.defined()](const Tensor& gy, const Need& need) {
    const size_t count = channels.size(), of_weight = skips ? count + 1 : count, of_bias = of_weight + 1;
    Grads grads(of_bias + 1);
    if (skips && need(count)) grads[count] = gy;
    if (need(of_bias)) grads[of_bias] = empty({s.K}, gy.options());
    const Tensor gz = output_gradient(s.activation, s.slope, gy, ys.kept(), grads[of_bias]);
    const Conv2dKernels& kernels = conv2d_kernels().pick(gy.device(), s);
    if (need(of_weight)) {
      Tensors x;
      for (const SavedMap& input : xs) x.push_back(input.get());
      kernels.weight_gradient(s, x, gz, grads[of_weight] = empty(weight_shape, gy.options()));
    }
    Tensors gx(count);
    bool any = false;
    for (size_t m = 0; m < count; ++m) {
      if (need(m)) gx[m] = grads[m] = empty({s.N, s.H, s.W, channels[m]}, gy.options());
      any = any || need(m);
    }
    if (any) kernels.input_gradient(s, gz, w.get(), channels, gx);
    return grads;
  };
  return differentiable("conv2d", y, operands, std::move(backward));
}

Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& options,
              const Tensor& skip) {
  return conv2d(Tensors{x}, weight, bias, options, skip);
}

}  // namespace lux
