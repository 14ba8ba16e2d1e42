// The supervised networks against their reference implementations: every golden file of each model, whatever
// its salt, sizes and options, and every tensor in it.
#include <doctest/doctest.h>

#include "golden_proof.h"
#include "luxgrad/autograd/engine.h"
#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/activations.h"
#include "luxgrad/kernels/concat.h"
#include "luxgrad/kernels/hsv.h"
#include "luxgrad/kernels/reflect_pad.h"
#include "luxgrad/losses/adversarial.h"
#include "luxgrad/losses/pixel.h"
#include "luxgrad/losses/reference_guided.h"
#include "luxgrad/models/gan.h"
#include "luxgrad/models/mirnet_keras.h"
#include "luxgrad/models/mirnet_v1.h"
#include "luxgrad/models/mirnet_v2.h"
#include "luxgrad/models/reference_guided.h"
#include "luxgrad/models/registry.h"
#include "luxgrad/models/unet.h"
#include "luxgrad/tensor/raw.h"

using namespace lux;

namespace {

template <class Network>
class Proof : public GoldenProof {
 public:
  Proof(const Golden& golden, DType dtype) : GoldenProof(golden, dtype) {
    model_.load_state_dict(formula_state(model_));
    model_.to(dtype);
    model_.to(golden_device());
  }

 protected:
  Module& network() override { return model_; }

  Network model_;
};

class UnetProof final : public Proof<Unet> {
  using Proof::Proof;
  Named outputs() override { return {{"image", model_.forward(input("low"))}}; }
  Named losses() override {
    const Tensor mse = mse_loss(model_.forward(input("low")), input("high"));
    return {{"mse", mse}, {"total", mse}};
  }
};

class MirnetKerasProof final : public GoldenProof {
 public:
  MirnetKerasProof(const Golden& golden, DType dtype)
      : GoldenProof(golden, dtype),
        model_(golden.config.at("options").at("compat") == "2021" ? MirnetKeras::Compat::y2021
                                                                  : MirnetKeras::Compat::y2023) {
    model_.load_state_dict(formula_state(model_));
    model_.to(dtype);
    model_.to(golden_device());
  }

 private:
  Module& network() override { return model_; }
  Named outputs() override { return {{"image", model_.forward(input("low"))}}; }
  Named losses() override {
    const Tensor loss = charbonnier(model_.forward(input("low")), input("high"));
    return {{"charbonnier", loss}, {"total", loss}};
  }

  MirnetKeras model_;
};

class MirnetV1Proof final : public Proof<MirnetV1> {
  using Proof::Proof;
  Named outputs() override { return {{"restored", model_.forward(input("low"))}}; }
  Named losses() override {
    const Tensor loss = charbonnier(clamp(model_.forward(input("low")), 0, 1), input("high"));
    return {{"charbonnier", loss}, {"total", loss}};
  }
};

class MirnetV2Proof final : public Proof<MirnetV2> {
  using Proof::Proof;
  Named outputs() override {
    const Tensor& low = input("low");
    const int64_t below = (4 - low.size(1) % 4) % 4, beside = (4 - low.size(2) % 4) % 4;
    const Tensor padded = model_.forward(reflect_pad(low, {0, below, 0, beside}));
    const Tensor restored = reflect_pad(padded, {0, -below, 0, -beside});
    return {{"restored", restored}, {"clamped", clamp(restored, 0, 1)}};
  }
  Named losses() override {
    const Tensor loss = l1_loss(model_.forward(input("low")), input("high"));
    return {{"l1", loss}, {"total", loss}};
  }
};

class ReferenceGuidedProof final : public Proof<ReferenceGuided> {
  using Proof::Proof;
  Named outputs() override {
    const ReferenceGuided::Encoding low = model_.encode(input("low")), high = model_.encode(input("high"));
    const Tensor enhanced = model_.decode(low, high.luminance());
    Named named{{"enhanced", enhanced},
                {"feature_low", low.features},
                {"feature_ref", high.features},
                {"feature_mixed", concat({high.luminance(), low.content()}, 1)},
                {"feature_enhanced", model_.encode(enhanced).features},
                {"hsv_low", rgb_to_hsv(input("low"))},
                {"hsv_enhanced", rgb_to_hsv(enhanced)}};
    if (golden_.has("input.reference2")) {
      const ReferenceGuided::Encoding other = model_.encode(input("reference2"));
      named["feature_ref2"] = other.features;
      named["enhanced2"] = model_.decode(low, other.luminance());
    }
    return named;
  }
  Named losses() override {
    const bool hsv_gradient = golden_.config.at("options").at("hsv_gradient");
    const ReferenceGuided::Encoding low = model_.encode(input("low")), high = model_.encode(input("high"));
    const Tensor enhanced = model_.decode(low, high.luminance());
    const ReferenceGuidedLoss loss =
        reference_guided_loss({input("low"), input("high"), enhanced, low.features, high.features,
                               model_.encode(enhanced).features},
                              {.hsv_gradient = hsv_gradient});
    return {{"rest", loss.rest},
            {"lum", loss.lum},
            {"con", loss.con},
            {"cont", loss.cont},
            {"total", loss.total},
            {"lum_d_ap", loss.distance_to_reference},
            {"lum_d_an", loss.distance_to_low},
            {"hue_distance", loss.hue},
            {"sat_distance", loss.saturation}};
  }
};

class GanProof : public Proof<Gan> {
 public:
  using Proof::Proof;

 protected:
  // The moving statistics after one forward that updates them.
  void more() override {
    const NoGrad no_grad;
    model_.load_state_dict(formula_state(model_));
    model_.to(dtype_);
    forward({BatchNormMode::batch, true});
    for (const auto& [name, tensor] : model_.state_dict()) {
      if (golden_.has("bn_after_forward." + name)) compare("bn_after_forward." + name, l2_norm(tensor));
    }
    model_.load_state_dict(formula_state(model_));
    model_.to(dtype_);
  }
  virtual Tensor forward(const BatchNormMode& mode) = 0;
};

class GeneratorProof final : public GanProof {
  using GanProof::GanProof;
  Tensor forward(const BatchNormMode& mode) override {
    return model_.generator(input("low"), {.norm = mode});
  }
  Named outputs() override { return {{"fake", forward({})}}; }
  Named losses() override {
    const Tensor loss = l1_loss(forward({}), input("high"));
    return {{"l1", loss}, {"total", loss}};
  }
};

class DiscriminatorProof final : public GanProof {
  using GanProof::GanProof;
  Tensor forward(const BatchNormMode& mode) override {
    return model_.discriminator(input("source"), input("target"), mode);
  }
  Tensor loss_for(bool real) {
    return adversarial_loss(model_.discriminator.logits(input("source"), input("target"), {}), real);
  }
  Named outputs() override { return {{"patch", forward({})}}; }
  Named losses() override {
    const Tensor real = loss_for(true);
    return {{"bce_label1", real}, {"bce_label0", loss_for(false)}, {"total", real}};
  }
  void more() override {
    GanProof::more();
    model_.requires_grad_();
    model_.zero_grad();
    backward(loss_for(false));
    for (const auto& [name, parameter] : model_.named_parameters()) {
      if (!golden_.has("label0.grad_norm." + name)) continue;
      compare("label0.grad_norm." + name, l2_norm(parameter.grad()), absolute_for(name));
      compare("label0.grad_sample." + name, golden_sample(parameter.grad()), absolute_for(name));
    }
  }
};

/// All files of a model, or those of one variant.
template <class P>
void prove(const char* model, DType dtype, const std::string& variant = "") {
  for (const Golden& golden : goldens_of_model(model)) {
    if (!variant.empty() && golden.metadata("variant") != variant) continue;
    CAPTURE(golden.name);
    P proof(golden, dtype);
    proof.set_noise([&] { return P(golden, DType::f64).gradient_noise(); });
    proof.run();
  }
}

}  // namespace

TEST_CASE("reference_guided equals the reference in f64") {
  prove<ReferenceGuidedProof>("reference_guided", DType::f64);
}
TEST_CASE("reference_guided equals the reference in f32") {
  prove<ReferenceGuidedProof>("reference_guided", DType::f32);
}
TEST_CASE("mirnet_keras equals the reference in f64") { prove<MirnetKerasProof>("mirnet_keras", DType::f64); }
TEST_CASE("mirnet_keras equals the reference in f32") { prove<MirnetKerasProof>("mirnet_keras", DType::f32); }
TEST_CASE("mirnet_v1 equals the reference in f64") { prove<MirnetV1Proof>("mirnet_v1", DType::f64); }
TEST_CASE("mirnet_v1 equals the reference in f32") { prove<MirnetV1Proof>("mirnet_v1", DType::f32); }
TEST_CASE("mirnet_v2 equals the reference in f64") { prove<MirnetV2Proof>("mirnet_v2", DType::f64); }
TEST_CASE("mirnet_v2 equals the reference in f32") { prove<MirnetV2Proof>("mirnet_v2", DType::f32); }
TEST_CASE("the generator of gan equals the reference in f64") {
  prove<GeneratorProof>("gan", DType::f64, "generator");
}
TEST_CASE("the generator of gan equals the reference in f32") {
  prove<GeneratorProof>("gan", DType::f32, "generator");
}
TEST_CASE("the discriminator of gan equals the reference in f64") {
  prove<DiscriminatorProof>("gan", DType::f64, "discriminator");
}
TEST_CASE("the discriminator of gan equals the reference in f32") {
  prove<DiscriminatorProof>("gan", DType::f32, "discriminator");
}
TEST_CASE("unet equals the reference in f64") { prove<UnetProof>("unet", DType::f64); }
TEST_CASE("unet equals the reference in f32") { prove<UnetProof>("unet", DType::f32); }
