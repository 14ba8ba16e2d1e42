#include "luxgrad/models/official_weights.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

namespace lux {
namespace {

/// A name that a model's weights have, and those of no other model.
struct Sign {
  std::string_view model, name;
  bool official;  ///< its checkpoints come from PyTorch, under these names
};
constexpr std::array<Sign, 8> kSigns{{{"zero_dce", "e_conv7.weight", true},
                                      {"zero_dce_plus", "e_conv7.point_conv.weight", true},
                                      {"mirnet_v1", "body.0.body.0.blocks.0.0.body.0.weight", true},
                                      {"mirnet_v2", "body.0.body.0.dau_top.body.0.weight", true},
                                      {"mirnet_keras", "rrg.0.mrb.0.dau_b.2.ca1.weight", false},
                                      {"reference_guided", "encoder.conv1_1.weight", false},
                                      {"gan", "generator.out.bn.running_mean", false},
                                      {"unet", "skip2.up.weight", false}}};

bool is_official(const std::string& model) {
  return std::any_of(kSigns.begin(), kSigns.end(),
                     [&](const Sign& sign) { return sign.official && sign.model == model; });
}

/// The dictionary of weights among the others of a checkpoint, without what is no weight.
State unwrapped(const State& file) {
  std::string wrapper;
  for (const char* const name : {"state_dict/", "model_state_dict/", "params_ema/", "params/", "model/"}) {
    const auto first = file.lower_bound(name);
    if (first == file.end() || !first->first.starts_with(name)) continue;
    wrapper = name;
    break;
  }
  State weights;
  for (const auto& [name, tensor] : file) {
    if (name.starts_with(wrapper) && !name.ends_with(".num_batches_tracked"))
      weights.emplace(name.substr(wrapper.size()), tensor);
  }
  constexpr std::string_view kModule = "module.";
  const bool parallel = std::all_of(weights.begin(), weights.end(),
                                    [&](const auto& entry) { return entry.first.starts_with(kModule); });
  if (!parallel) return weights;
  State plain;
  for (const auto& [name, tensor] : weights) plain.emplace(name.substr(kModule.size()), tensor);
  return plain;
}

/// Our name of an entry in the official checkpoint of MIRNet, empty for its fixed blur filters. The second
/// column of attention units is the first one again, and all of them share one slope.
std::string name_in_mirnet_v1(const std::string& official) {
  if (official.ends_with(".filt")) return "";
  constexpr std::string_view kBlocks = ".blocks.", kSlope = "body.1.weight";
  const size_t blocks = official.find(kBlocks), column = blocks + kBlocks.size() + 2;  // ".blocks.2.1."
  if (blocks == std::string::npos || official.size() <= column + 2 || official[column + 1] != '.')
    return official;
  const std::string rest = official.substr(column + 2);
  if (rest == kSlope) return cat("body.0.body.0.blocks.0.0.", kSlope);
  return cat(official.substr(0, column), "0.", rest);
}

bool same_value(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::memcmp(a.raw(), b.raw(), static_cast<size_t>(a.numel()) * size_of(a.dtype())) == 0;
}

/// Every value once.
State untied_from_mirnet_v1(const State& official) {
  State ours;
  for (const auto& [name, tensor] : official) {
    const std::string own = name_in_mirnet_v1(name);
    if (own.empty()) continue;
    const auto [first, is_new] = ours.emplace(own, tensor);
    if (!is_new && !same_value(first->second, tensor)) {
      throw StateMismatch(cat("load_state_dict: the weights do not fit the network:\n  ", printable(name),
                              ": expected the values of ", own, ", which the network has once"));
    }
  }
  return ours;
}

using Order = std::array<int, 4>;
constexpr Order kConvolution = {0, 2, 3, 1}, kTransposed = {1, 2, 3, 0};

/// Where the sizes of a weight stand in PyTorch's layout. The residual up-sampling modules of MIRNet have a
/// transposed convolution, their down-sampling ones a plain one of that name.
Order torch_order(const std::string& model, const std::string& name) {
  const bool up = name.find(".last_up.") != std::string::npos || name.find(".up.") != std::string::npos;
  return model == "mirnet_v1" && up && name.ends_with(".top.2.weight") ? kTransposed : kConvolution;
}

Shape reordered(const Shape& shape, const Order& order) {
  return {shape[order[0]], shape[order[1]], shape[order[2]], shape[order[3]]};
}

Tensor reordered(const Tensor& tensor, const Order& order) {
  const Shape& from = tensor.shape();
  const Shape to = reordered(from, order);
  Tensor result = empty(to, tensor.options());
  const std::array<int64_t, 4> strides = {from[1] * from[2] * from[3], from[2] * from[3], from[3], 1};
  const auto stride = [&](size_t i) { return strides[static_cast<size_t>(order[i])]; };
  const size_t width = size_of(tensor.dtype());
  const auto* const source = static_cast<const uint8_t*>(tensor.raw());
  auto* target = static_cast<uint8_t*>(result.raw());
  for (int64_t a = 0; a < to[0]; ++a) {
    for (int64_t b = 0; b < to[1]; ++b) {
      for (int64_t c = 0; c < to[2]; ++c) {
        for (int64_t d = 0; d < to[3]; ++d, target += width) {
          const int64_t at = a * stride(0) + b * stride(1) + c * stride(2) + d * stride(3);
          std::memcpy(target, source + static_cast<size_t>(at) * width, width);
        }
      }
    }
  }
  return result;
}

/// Our layout, where more weights fit the network when they are taken for PyTorch's.
State in_our_layout(const Module& network, const std::string& model, State state) {
  const State known = network.state_dict();
  int64_t as_they_are = 0, turned = 0;
  const auto each_weight = [&](const auto& f) {
    for (auto& [name, tensor] : state) {
      const auto own = known.find(name);
      if (own != known.end() && own->second.shape().rank() == 4 && tensor.shape().rank() == 4)
        f(tensor, own->second.shape(), torch_order(model, name));
    }
  };
  each_weight([&](const Tensor& tensor, const Shape& shape, const Order& order) {
    as_they_are += tensor.shape() == shape ? 1 : 0;
    turned += reordered(tensor.shape(), order) == shape ? 1 : 0;
  });
  if (turned > as_they_are)
    each_weight([](Tensor& tensor, const Shape&, const Order& order) { tensor = reordered(tensor, order); });
  return state;
}

}  // namespace

std::string model_of_weights(const State& file) {
  const State weights = unwrapped(file);
  for (const Sign& sign : kSigns) {
    if (weights.contains(std::string(sign.name))) return std::string(sign.model);
  }
  return "";
}

State adapted_weights(const Model& model, const State& file) {
  State weights = unwrapped(file);
  if (model.name() == "mirnet_v1") weights = untied_from_mirnet_v1(weights);
  return is_official(model.name()) ? in_our_layout(model, model.name(), std::move(weights)) : weights;
}

State trunk_weights(const Module& trunk, const State& file) {
  const State known = trunk.state_dict();
  State weights = unwrapped(file);
  std::erase_if(weights, [&](const auto& entry) { return !known.contains(entry.first); });
  return in_our_layout(trunk, "", std::move(weights));
}

}  // namespace lux
