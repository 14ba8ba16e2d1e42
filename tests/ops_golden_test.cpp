// Single operators against PyTorch and TensorFlow in float64: every case of ops_torch and ops_keras whose
// operator is here, forward and gradients, in f64 and f32. Convolution and optimisers have tests of their
// own.
#include <doctest/doctest.h>

#include <map>
#include <set>

#include "golden.h"
#include "luxgrad/autograd/engine.h"
#include "luxgrad/kernels/activations.h"
#include "luxgrad/kernels/amax.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/batch_norm.h"
#include "luxgrad/kernels/blur_pool.h"
#include "luxgrad/kernels/concat.h"
#include "luxgrad/kernels/conv_transpose2d.h"
#include "luxgrad/kernels/hsv.h"
#include "luxgrad/kernels/linear.h"
#include "luxgrad/kernels/pool2d.h"
#include "luxgrad/kernels/prelu.h"
#include "luxgrad/kernels/reductions.h"
#include "luxgrad/kernels/reflect_pad.h"
#include "luxgrad/kernels/reshape.h"
#include "luxgrad/kernels/resize.h"
#include "luxgrad/kernels/selective_kernel.h"
#include "luxgrad/kernels/softmax.h"
#include "luxgrad/losses/pixel.h"
#include "luxgrad/losses/ssim.h"
#include "luxgrad/training/metrics.h"

using namespace lux;
using nlohmann::json;

namespace {

ResizeOptions resize_options(const json& o, bool keras) {
  // TensorFlow takes the nearest centre, PyTorch the pixel that holds the corner.
  const auto nearest = keras ? ResizeOptions::nearest_exact : ResizeOptions::nearest;
  return {.mode = o.at("mode") == "bilinear" ? ResizeOptions::bilinear : nearest,
          .align_corners = o.at("align_corners").get<bool>(),
          .ratio_h = o.at("ratio")[0].get<double>(),
          .ratio_w = o.at("ratio")[1].get<double>()};
}

Tensors softmax_over_streams(const Tensors& logits) {
  const Tensor shares = softmax(concat(logits, 1), 1);  // [N, streams, 1, C]
  return split(shares, std::vector<int64_t>(logits.size(), logits[0].size(1)), 1);
}

using Operator = Tensor (*)(const Tensors& x, const json& options, bool keras);

const std::map<std::string, Operator, std::less<>> kOperators = {
    {"relu", [](const Tensors& x, const json&, bool) { return relu(x[0]); }},
    {"leaky_relu",
     [](const Tensors& x, const json& o, bool) { return leaky_relu(x[0], o.at("slope").get<double>()); }},
    {"sigmoid", [](const Tensors& x, const json&, bool) { return sigmoid(x[0]); }},
    {"tanh", [](const Tensors& x, const json&, bool) { return tanh(x[0]); }},
    {"clamp", [](const Tensors& x, const json& o,
                 bool) { return clamp(x[0], o.at("min").get<double>(), o.at("max").get<double>()); }},
    {"avg_pool2d",
     [](const Tensors& x, const json& o, bool) {
       return avg_pool2d(x[0], {.kernel_size = o.at("kernel").get<int64_t>(),
                                .stride = o.at("stride").get<int64_t>(),
                                .ceil_mode = o.at("ceil").get<bool>(),
                                .count_include_pad = o.at("count_pad").get<bool>()});
     }},
    {"global_avg_pool",
     [](const Tensors& x, const json&, bool) {
       return mean(x[0], {1, 2}, true);
     }},
    {"channel_mean", [](const Tensors& x, const json&, bool) { return mean(x[0], {3}, true); }},
    {"resize",
     [](const Tensors& x, const json& o, bool keras) {
       return resize(x[0], o.at("out")[0].get<int64_t>(), o.at("out")[1].get<int64_t>(),
                     resize_options(o, keras));
     }},
    {"stream_weighted_sum",  // three streams, weighted by the softmax over three vectors
     [](const Tensors& x, const json&, bool) {
       return weighted_sum({x[0], x[1], x[2]}, softmax_over_streams({x[3], x[4], x[5]}));
     }},
    {"softmax",
     [](const Tensors& x, const json& o, bool) {
       const auto axis = o.at("axis").get<std::string>();
       if (axis == "channels") return softmax(x[0], -1);
       if (axis == "hw")
         return softmax(reshape(x[0], {x[0].size(0), x[0].size(1) * x[0].size(2), x[0].size(3)}), 1);
       return concat(softmax_over_streams(x), 3);
     }},
    {"conv_transpose2d",
     [](const Tensors& x, const json& o, bool) {
       const auto crop = o.at("crop").get<std::vector<int64_t>>();
       return conv_transpose2d(
           x[0], x[1], x.size() > 2 ? x[2] : Tensor(),
           {.stride = o.at("stride").get<int64_t>(), .padding = {crop[0], crop[1], crop[2], crop[3]}});
     }},
    {"max_pool2d",
     [](const Tensors& x, const json& o, bool) {
       return max_pool2d(x[0], {.kernel_size = o.at("kernel").get<int64_t>(),
                                .stride = o.at("stride").get<int64_t>(),
                                .ceil_mode = o.at("ceil").get<bool>()});
     }},
    {"batch_norm",
     [](const Tensors& x, const json& o, bool) {
       const double eps = o.at("eps").get<double>();
       if (o.at("training").get<bool>()) return batch_norm(x[0], x[1], x[2], eps).y;
       return batch_norm(x[0], x[1], x[2], {x[3], x[4]}, eps);
     }},
    {"global_max_pool",
     [](const Tensors& x, const json&, bool) {
       return max_pool2d(x[0], {.kernel_size = std::max(x[0].size(1), x[0].size(2)), .ceil_mode = true});
     }},
    {"channel_max", [](const Tensors& x, const json&, bool) { return amax(x[0]); }},
    {"channel_mean_max",
     [](const Tensors& x, const json&, bool) {
       return concat({mean(x[0], {3}, true), amax(x[0])}, -1);
     }},
    {"prelu", [](const Tensors& x, const json&, bool) { return prelu(x[0], x[1]); }},
    {"elu", [](const Tensors& x, const json&, bool) { return elu(x[0]); }},
    {"reflect_pad",
     [](const Tensors& x, const json& o, bool) {
       const auto pads = o.at("pads").get<std::vector<int64_t>>();
       return reflect_pad(x[0], {pads[0], pads[1], pads[2], pads[3]});
     }},
    {"blur_pool", [](const Tensors& x, const json&, bool) { return blur_pool(x[0]); }},
    {"context_pool",
     [](const Tensors& x, const json&, bool) {
       return sum(x[0] * x[1], {1, 2}, true);
     }},
    {"linear", [](const Tensors& x, const json&, bool) { return linear(x[0], x[1], x[2]); }},
    {"rgb_to_hsv", [](const Tensors& x, const json&, bool) { return rgb_to_hsv(x[0]); }},
    {"huber", [](const Tensors& x, const json& o,
                 bool) { return huber_loss(x[0], x[1], o.at("delta").get<double>()); }},
    {"bce", [](const Tensors& x, const json&, bool) { return binary_cross_entropy(x[0], x[1]); }},
    {"l1", [](const Tensors& x, const json&, bool) { return l1_loss(x[0], x[1]); }},
    {"mse", [](const Tensors& x, const json&, bool) { return mse_loss(x[0], x[1]); }},
    {"charbonnier", [](const Tensors& x, const json& o,
                       bool) { return charbonnier(x[0], x[1], o.at("eps").get<double>()); }},
};

// Checked by conv2d_test and optimizer_test, and below.
const std::set<std::string, std::less<>> kElsewhere = {"conv2d", "optimizer", "psnr_ssim"};

// Inputs in the order of the operator, with the names of their gradients.
std::vector<std::pair<std::string, std::string>> inputs_of(const Golden& golden, const std::string& prefix) {
  std::vector<std::pair<std::string, std::string>> names;
  if (golden.has(prefix + "in")) names.emplace_back(prefix + "in", prefix + "gin");
  for (int i = 0; golden.has(cat(prefix, "in", i)); ++i)
    names.emplace_back(cat(prefix, "in", i), cat(prefix, "gin", i));
  for (const char* const name : {"w", "b", "running_mean", "running_var", "target"}) {
    const bool constant = std::string_view(name).starts_with("running");
    if (golden.has(prefix + name)) names.emplace_back(prefix + name, constant ? "" : cat(prefix, "g", name));
  }
  return names;
}

void check_case(const Golden& golden, const json& entry, Operator op, DType dtype, double bound) {
  const auto name = entry.at("name").get<std::string>();
  const std::string prefix = cat("op.", name, "."), what = cat(golden.name, " ", name, " ", dtype, " ");
  const auto names = inputs_of(golden, prefix);
  Tensors x;
  for (const auto& [input, gradient] : names) {
    x.push_back(golden.at(input).to(dtype).clone());
    if (golden.has(gradient)) x.back().requires_grad_();
  }
  const Tensor y = op(x, entry.at("options"), golden.name == "ops_keras");
  const Tensor& expected = golden.at(prefix + "out");
  const std::string forward =
      difference(what + "out", y.detach().with_shape(expected.shape()), expected, bound);
  CHECK_MESSAGE(forward.empty(), forward);
  if (!y.requires_grad()) return;

  const Tensor gy =
      golden.has(prefix + "gy") ? golden.at(prefix + "gy").to(dtype) : full({}, 1, {dtype, kCpu});
  backward(y, gy.with_shape(y.shape()));
  for (size_t i = 0; i < names.size(); ++i) {
    if (!x[i].requires_grad()) continue;
    const std::string text =
        difference(what + names[i].second, x[i].grad(), golden.at(names[i].second), bound);
    CHECK_MESSAGE(text.empty(), text);
  }
}

}  // namespace

TEST_CASE("operators agree with PyTorch and TensorFlow") {
  for (const char* const file : {"ops_torch", "ops_keras"}) {
    const auto golden = load_golden(file);
    if (!golden) continue;
    int checked = 0;
    std::string missing;
    for (const json& entry : json::parse(golden->metadata("cases"))) {
      const auto op = entry.at("op").get<std::string>();
      if (const auto found = kOperators.find(op); found != kOperators.end()) {
        check_case(*golden, entry, found->second, DType::f64, 1e-9);
        check_case(*golden, entry, found->second, DType::f32, 2e-5);
        ++checked;
      } else if (!kElsewhere.contains(op)) {
        missing += cat(" ", op, ":", entry.at("name").get<std::string>());
      }
    }
    CHECK(checked > 0);
    MESSAGE(golden->name, ": ", checked, " cases within 1e-9 in f64, within 2e-5 in f32");
    if (!missing.empty())
      MESSAGE(golden->name, ": not checked, because the operator is not here yet:", missing);
  }
}

TEST_CASE("PSNR and SSIM agree with TensorFlow, as metrics and as a loss") {
  const auto golden = load_golden("ops_keras");
  if (!golden) return;
  const Tensor x = golden->at("op.ssim_psnr.in"), y = golden->at("op.ssim_psnr.target");
  double mean_ssim = 0;
  for (int64_t n = 0; n < x.size(0); ++n) {
    const Tensor result = narrow(x, 0, n, 1), reference = narrow(y, 0, n, 1);
    const double psnr = narrow(golden->at("op.ssim_psnr.psnr"), 0, n, 1).item();
    const double ssim = narrow(golden->at("op.ssim_psnr.ssim"), 0, n, 1).item();
    CHECK(difference("psnr", metrics::psnr(result, reference), psnr, 1e-9) == "");
    CHECK(difference("ssim", metrics::ssim(result, reference), ssim, 1e-9) == "");
    mean_ssim += ssim / static_cast<double>(x.size(0));
  }
  CHECK(difference("loss", ssim(x.to(DType::f64), y.to(DType::f64)).item(), mean_ssim, 1e-9) == "");
}
