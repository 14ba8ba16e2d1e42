// Convolution as matrix products of Eigen: patches of a run of pixels times the weights. It serves processors
// that no tiles were compiled for, and is a second opinion on them everywhere (LUX_KERNELS=eigen). Each
// product is one task on one thread of the own pool; how the work is cut depends on the shape only.
#define EIGEN_DONT_PARALLELIZE
#define EIGEN_MPL2_ONLY
#include <Eigen/Core>
#include <algorithm>

#include "luxgrad/kernels/cpu/conv2d_host.h"
#include "luxgrad/tensor/parallel.h"

namespace lux {
namespace {

using cpu::Concatenation;
using cpu::Part;
using cpu::scratch;
using detail::blocks_of;

template <class T>
using Matrix = Eigen::Map<Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>, Eigen::Unaligned,
                          Eigen::OuterStride<>>;

template <class T>
Matrix<T> matrix(T* data, int64_t rows, int64_t columns, int64_t row_stride) {
  return {data, rows, columns, Eigen::OuterStride<>(row_stride)};
}

// Which pixel of the source tap i of pixel r meets, along one axis; -1: none. The forward looks up
// r·stride + i - before, the data gradient asks which output sits there the other way round.
struct Axis {
  int64_t stride, before, size;
  bool backward;

  int64_t operator()(int64_t r, int64_t i) const {
    int64_t at = backward ? r + before - i : r * stride + i - before;
    if (backward) at = at % stride == 0 ? at / stride : -1;
    return at < size ? at : -1;
  }
};

// The patches that the pixels of a picture of `columns` columns see.
template <class T>
struct Patches {
  const Concatenation& source;
  Axis down, across;
  int64_t rows, columns;  // of the pictures that see
  int64_t kH, kW, depth;  // depth: channels of a group

  int64_t width() const { return kH * kW * depth; }

  // Channels [first, first + depth) of one pixel.
  void copy(int64_t pixel, int64_t first, T* to) const {
    for (int64_t part = 0, channel = 0; part < source.count && channel < first + depth; ++part) {
      const auto& [data, channels] = source.parts[static_cast<size_t>(part)];
      const int64_t begin = std::max(first, channel), end = std::min(first + depth, channel + channels);
      const T* const from = static_cast<const T*>(data) + pixel * channels - channel;
      if (begin < end) to = std::copy(from + begin, from + end, to);
      channel += channels;
    }
  }
  // The rows `pixels` of the matrix, counted through all pictures, for one group.
  void gather(int64_t begin, int64_t end, int64_t group, T* to) const {
    for (int64_t pixel = begin; pixel < end; ++pixel) {
      const int64_t q = pixel % columns, p = pixel / columns % rows, n = pixel / (columns * rows);
      for (int64_t i = 0; i < kH; ++i) {
        const int64_t h = down(p, i);
        for (int64_t j = 0; j < kW; ++j, to += depth) {
          const int64_t w = across(q, j);
          if (h < 0 || w < 0)
            std::fill(to, to + depth, T(0));
          else
            copy((n * down.size + h) * across.size + w, group * depth, to);
        }
      }
    }
  }
};

// Pixels whose patches fill about a MiB.
template <class T>
int64_t pixels_per_task(int64_t patch) {
  return std::clamp((int64_t{1} << 20) / (patch * static_cast<int64_t>(sizeof(T))), int64_t{16},
                    int64_t{512});
}

template <class T>
void forward_in(const Conv2dProblem& s, const Tensors& inputs, const Tensor& weight, const Tensor& bias,
                const Tensor& y) {
  const Concatenation source(inputs);
  const Patches<T> patches{
      source,        {s.stride, s.top, s.H, false}, {s.stride, s.left, s.W, false}, s.P, s.Q, s.kH, s.kW,
      s.C / s.groups};
  const int64_t width = s.K / s.groups, filter = patches.width(), pixels = s.N * s.P * s.Q,
                step = pixels_per_task<T>(filter);
  run_chunks(blocks_of(pixels, step) * s.groups, [&](int64_t chunk) {
    const int64_t group = chunk % s.groups, begin = chunk / s.groups * step,
                  end = std::min(pixels, begin + step);
    const auto seen = scratch((end - begin) * filter * static_cast<int64_t>(sizeof(T)));
    T* const data = static_cast<T*>(seen.raw());
    patches.gather(begin, end, group, data);
    T* const out = y.data<T>() + begin * s.K + group * width;
    matrix(out, end - begin, width, s.K).noalias() =
        matrix(data, end - begin, filter, filter) *
        matrix(weight.data<T>() + group * width * filter, width, filter, filter).transpose();
    const T* const shift = bias.defined() ? bias.data<T>() + group * width : nullptr;
    for (int64_t pixel = 0; pixel < end - begin; ++pixel) {
      for (int64_t k = 0; k < width; ++k) {
        T& value = out[pixel * s.K + k];
        value = activate(s.activation, static_cast<T>(s.slope), shift == nullptr ? value : value + shift[k]);
      }
    }
  });
}

// The weights [K, kH, kW, depth] with outputs and inputs exchanged: per group [depth, kH, kW, width].
template <class T>
Tensor exchanged(const Conv2dProblem& s, const Tensor& weight) {
  const int64_t depth = s.C / s.groups, width = s.K / s.groups, taps = s.kH * s.kW;
  Tensor to = empty({s.groups, depth, taps, width}, weight.options());
  const T* const from = weight.data<T>();
  T* const data = to.data<T>();
  parallel_for(kCpu, to.numel(), [&](int64_t index) {
    const int64_t k = index % width, tap = index / width % taps, c = index / (width * taps) % depth;
    const int64_t group = index / (width * taps * depth);
    data[index] = from[((group * width + k) * taps + tap) * depth + c];
  });
  return to;
}

template <class T>
void input_gradient_in(const Conv2dProblem& s, const Tensor& gz, const Tensor& weight,
                       const std::vector<int64_t>& channels, const Tensors& gx) {
  const Concatenation source(gz), target(gx, channels);
  const Patches<T> patches{
      source,        {s.stride, s.top, s.P, true}, {s.stride, s.left, s.Q, true}, s.H, s.W, s.kH, s.kW,
      s.K / s.groups};
  const Tensor turned = exchanged<T>(s, weight);
  const int64_t depth = s.C / s.groups, filter = patches.width(), pixels = s.N * s.H * s.W,
                step = pixels_per_task<T>(filter + s.C);
  run_chunks(blocks_of(pixels, step), [&](int64_t chunk) {
    const int64_t begin = chunk * step, end = std::min(pixels, begin + step), count = end - begin;
    const auto seen = scratch(count * (filter + s.C) * static_cast<int64_t>(sizeof(T)));
    T* const data = static_cast<T*>(seen.raw());
    T* const sums = data + count * filter;
    for (int64_t group = 0; group < s.groups; ++group) {
      patches.gather(begin, end, group, data);
      matrix(sums + group * depth, count, depth, s.C).noalias() =
          matrix(data, count, filter, filter) *
          matrix(turned.data<T>() + group * depth * filter, depth, filter, filter).transpose();
    }
    for (int64_t part = 0, first = 0; part < target.count; ++part) {
      const auto& [to, own] = target.parts[static_cast<size_t>(part)];
      if (to != nullptr)
        matrix(static_cast<T*>(to) + begin * own, count, own, own) = matrix(sums + first, count, own, s.C);
      first += own;
    }
  });
}

// Each of at most 64 shares of the pixels has sums of its own, which are added in their order.
template <class T>
void weight_gradient_in(const Conv2dProblem& s, const Tensors& inputs, const Tensor& gz, const Tensor& gw) {
  constexpr int64_t kMostBytes = int64_t{32} << 20, kMostShares = 64;
  const Concatenation source(inputs);
  const Patches<T> patches{
      source,        {s.stride, s.top, s.H, false}, {s.stride, s.left, s.W, false}, s.P, s.Q, s.kH, s.kW,
      s.C / s.groups};
  const int64_t width = s.K / s.groups, filter = patches.width(), pixels = s.N * s.P * s.Q,
                step = pixels_per_task<T>(filter), blocks = blocks_of(pixels, step);
  const int64_t room = kMostBytes / (gw.numel() * static_cast<int64_t>(sizeof(T)));
  const int64_t shares = std::clamp<int64_t>(std::min(room, blocks), 1, kMostShares);
  const Tensor partial = zeros({shares, gw.numel()}, gw.options());
  run_chunks(shares * s.groups, [&](int64_t chunk) {
    const int64_t share = chunk / s.groups, group = chunk % s.groups;
    const auto seen = scratch(step * filter * static_cast<int64_t>(sizeof(T)));
    T* const data = static_cast<T*>(seen.raw());
    auto sums =
        matrix(partial.data<T>() + share * gw.numel() + group * width * filter, width, filter, filter);
    for (int64_t block = blocks * share / shares; block < blocks * (share + 1) / shares; ++block) {
      const int64_t begin = block * step, count = std::min(pixels, begin + step) - begin;
      patches.gather(begin, begin + count, group, data);
      sums.noalias() += matrix(gz.data<T>() + begin * s.K + group * width, count, width, s.K).transpose() *
                        matrix(data, count, filter, filter);
    }
  });
  const T* const from = partial.data<T>();
  T* const to = gw.data<T>();
  parallel_for(kCpu, gw.numel(), [&](int64_t index) {
    double sum = 0;
    for (int64_t share = 0; share < shares; ++share)
      sum += static_cast<double>(from[share * gw.numel() + index]);
    to[index] = static_cast<T>(sum);
  });
}

void forward(const Conv2dProblem& s, const Tensors& inputs, const Tensor& weight, const Tensor& bias,
             const Tensor& y) {
  (s.dtype == DType::f64 ? forward_in<double> : forward_in<float>)(s, inputs, weight, bias, y);
}
void input_gradient(const Conv2dProblem& s, const Tensor& gz, const Tensor& weight,
                    const std::vector<int64_t>& channels, const Tensors& gx) {
  (s.dtype == DType::f64 ? input_gradient_in<double> : input_gradient_in<float>)(s, gz, weight, channels, gx);
}
void weight_gradient(const Conv2dProblem& s, const Tensors& inputs, const Tensor& gz, const Tensor& gw) {
  (s.dtype == DType::f64 ? weight_gradient_in<double> : weight_gradient_in<float>)(s, inputs, gz, gw);
}

// A depthwise product has one column: nothing to gain over the plain text.
bool takes(const Conv2dProblem& s) {
  return (s.dtype == DType::f32 || s.dtype == DType::f64) && s.C > 0 && !cpu::is_depthwise(s);
}

}  // namespace

void cpu::add_eigen(KernelTable<Conv2dKernels>& table) {
  // Eigen cuts its sums by the size of the caches; fixed sizes give the same bits on every processor.
  Eigen::setCpuCacheSizes(32 << 10, 512 << 10, 4 << 20);
  table.set(Device::Type::cpu, {"eigen", takes, forward, input_gradient, weight_gradient});
}

}  // namespace lux
