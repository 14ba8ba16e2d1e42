// Zero-DCE and Zero-DCE++ against the reference implementations: every golden file of the two models,
// whatever its salt, sizes and options, and every tensor in it. Forward, losses, gradients and optimiser
// steps.
#include <doctest/doctest.h>

#include <filesystem>
#include <set>

#include "golden.h"
#include "luxgrad/autograd/engine.h"
#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/concat.h"
#include "luxgrad/kernels/curve.h"
#include "luxgrad/kernels/resize.h"
#include "luxgrad/losses/zero_dce.h"
#include "luxgrad/models/curve_model.h"
#include "luxgrad/models/registry.h"
#include "luxgrad/tensor/raw.h"
#include "luxgrad/training/optimizer.h"

using namespace lux;

namespace {

// One golden file in one precision. `compare` is the only way to a reference tensor, so what nobody compared
// is known.
class Proof {
 public:
  Proof(const Golden& golden, DType dtype)
      : golden_(golden), dtype_(dtype), tolerance_(dtype == DType::f64 ? 1e-9 : 2e-5) {
    for (const json& name : golden.config.value("zero_gradient_params", json::array()))
      zero_gradient_.insert(name.get<std::string>());
  }

  void run() {
    const auto model = network(options());
    low_ = golden_.at("input.low").to(dtype_).to(golden_device()).requires_grad_();
    compared_.insert("input.low");
    forward(*model);
    if (golden_.has("loss.total")) gradients(*model);
    terms();
    if (golden_.has("train.loss")) train(*model);
    for (const auto& [name, reference] : golden_.file.tensors)
      CHECK_MESSAGE(compared_.count(name) == 1, golden_.name << ": nothing was compared with " << name);
    MESSAGE(golden_.name << " " << name_of(dtype_) << ": " << compared_.size() << " tensors, off by at most "
                         << worst_ << " of their largest element, allowed " << tolerance_);
  }

 private:
  using json = nlohmann::json;

  bool exact() const { return dtype_ == DType::f64; }

  void compare(const std::string& name, const Tensor& actual, double absolute = 0) {
    compared_.insert(name);
    const std::string text =
        difference(name, actual.to(DType::f64), golden_.at(name).to(DType::f64), tolerance_, absolute);
    CHECK_MESSAGE(text.empty(), text);
    // What has to be 0 has no size to compare with.
    if (absolute == 0)
      worst_ = std::max(worst_, deviation(actual.to(DType::f64), golden_.at(name).to(DType::f64)));
  }
  void compare(const std::string& name, double actual, double absolute = 0) {
    compare(name, full({}, actual, {DType::f64, kCpu}), absolute);
  }
  void compare(const std::string& name, const std::vector<double>& actual) {
    compare(name, from_vector(actual, {static_cast<int64_t>(actual.size())}, {DType::f64, kCpu}));
  }

  // The file's options that the network knows; the others belong to the loss.
  ModelConfig options() const {
    ModelConfig config = make_model(golden_.metadata("model"))->config();
    const json given = golden_.config.value("options", json::object());
    for (auto& [name, value] : config) {
      if (given.contains(name))
        value = given[name].is_string() ? given[name].get<std::string>() : given[name].dump();
    }
    return config;
  }

  // With formula weights, or the published ones that the file names.
  std::unique_ptr<CurveModel> network(const ModelConfig& config) const {
    std::unique_ptr<Model> model = make_model(golden_.metadata("model"), config);
    State state;
    if (golden_.file.metadata.count("weights") == 1) {
      state = load_safetensors(golden_folder() + "/../" + golden_.metadata("weights")).tensors;
    } else {
      for (const auto& [name, tensor] : model->named_parameters())
        state[name] = golden_.parameter(name, tensor.shape());
    }
    model->load_state_dict(state);
    model->to(dtype_);
    model->to(golden_device());
    auto* const curve_model = dynamic_cast<CurveModel*>(model.release());
    REQUIRE(curve_model != nullptr);
    return std::unique_ptr<CurveModel>(curve_model);
  }

  void forward(const CurveModel& model) {
    const NoGrad no_grad;
    const std::string scaled = "_scale";
    for (const std::string& output : golden_.after("output.")) {
      const size_t at = output.find(scaled);
      ModelConfig config = model.config();
      if (at != std::string::npos) config["scale_factor"] = output.substr(at + scaled.size());
      const CurveEnhancement y = network(config)->forward(low_);
      const std::string what = output.substr(0, at), name = "output." + output;
      if (what == "enhanced") compare(name, y.enhanced);
      if (what == "curves") compare(name, y.curves);
      if (what == "iterate4") compare(name, curve_iterations(low_, narrow(y.curves, 3, 0, 12), 4));
      if (what == "downscaled") {
        const Shape& size = golden_.at(name).shape();
        compare(name, resize(low_, size[1], size[2]));
      }
    }
  }

  ZeroDceLossOptions loss_options() const {
    const json& loss = golden_.config.at("loss");
    ZeroDceLossOptions options;
    const std::string mode = golden_.config.at("options").at("loss");
    REQUIRE((mode == "official" || mode == "keras"));
    if (mode == "keras") options.mode = ZeroDceMode::keras;
    options.exp_patch = loss.at("exp_patch");
    options.exp_target = loss.at("exp_target");
    for (size_t i = 0; i < loss.at("terms").size(); ++i) {
      const std::string term = loss.at("terms")[i];
      const double weight = loss.at("weights")[i];
      if (term == "tv") options.tv = weight;
      if (term == "spa") options.spa = weight;
      if (term == "col") options.col = weight;
      if (term == "exp") options.exp = weight;
    }
    return options;
  }

  static const Tensor& term_of(const ZeroDceLoss& loss, const std::string& name) {
    if (name == "tv") return loss.tv;
    if (name == "spa") return loss.spa;
    if (name == "col") return loss.col;
    if (name == "exp") return loss.exp;
    REQUIRE(name == "total");
    return loss.total;
  }

  ZeroDceLoss loss_of(const CurveModel& model, const Tensor& low) const {
    const CurveEnhancement y = model.forward(low);
    return zero_dce_loss(low, y.enhanced, y.curves, loss_options());
  }

  void gradients(CurveModel& model) {
    const ZeroDceLoss loss = loss_of(model, low_);
    for (const std::string& term : golden_.after("loss.")) compare("loss." + term, term_of(loss, term));
    backward(loss.total);
    compare("grad.input.low", low_.grad());
    for (const auto& [name, parameter] : model.named_parameters()) {
      const std::string in_file = golden_.name_in_file(name);
      const double absolute = zero_gradient_.count(in_file) == 1 ? 1e-10 : 0;
      compare("grad_norm." + in_file, l2_norm(parameter.grad()), absolute);
      compare("grad_sample." + in_file, golden_sample(parameter.grad()), absolute);
    }
    model.zero_grad();
  }

  // Each term alone, from the reference's own outputs: gradients of the losses without the network.
  void terms() {
    for (const std::string& term : golden_.after("grad_term.")) {
      Tensor enhanced = golden_.at("output.enhanced").to(dtype_).to(golden_device()).clone().requires_grad_();
      Tensor curves = golden_.at("output.curves").to(dtype_).to(golden_device()).clone().requires_grad_();
      backward(term_of(zero_dce_loss(low_.detach(), enhanced, curves, loss_options()), term));
      compare("grad_term." + term, term == "tv" ? curves.grad() : enhanced.grad());
    }
  }

  void train(CurveModel& model) {
    const json& o = golden_.config.at("optimizer");
    AdamOptions options{.lr = o.at("lr"),
                        .beta1 = o.at("betas")[0],
                        .beta2 = o.at("betas")[1],
                        .eps = o.at("eps"),
                        .weight_decay = o.at("weight_decay")};
    REQUIRE(o.at("type") == "adam");
    options.form = o.at("form") == "keras" ? AdamForm::keras
                   : o.at("form") == "tf1" ? AdamForm::tf1
                                           : AdamForm::torch;
    Adam adam(model.named_parameters(), options);
    const Tensor low = low_.detach();
    std::vector<double> losses, norms, terms;
    for (int step = 0; step < golden_.config.at("steps"); ++step) {
      adam.zero_grad();
      const ZeroDceLoss loss = loss_of(model, low);
      backward(loss.total);
      losses.push_back(loss.total.item());
      for (const json& term : golden_.config.at("loss").at("terms"))
        terms.push_back(term_of(loss, term.get<std::string>()).item());
      const double no_limit = 1e300;
      const json clip = o.value("clip_norm", json());
      norms.push_back(
          clip_grad_norm_(model.named_parameters(), clip.is_null() ? no_limit : clip.get<double>()));
      adam.step();
    }
    compare("train.loss", losses);
    if (golden_.has("train.loss_after")) compare("train.loss_after", loss_of(model, low).total.item());
    for (const auto& [name, parameter] : model.named_parameters())
      compare("train.weight_norm." + golden_.name_in_file(name), l2_norm(parameter));
    trajectories(model, terms, norms);
  }

  // Single values after five steps: in f32 a tiny gradient may change its sign, and Adam then steps the other
  // way.
  void trajectories(const CurveModel& model, const std::vector<double>& terms,
                    const std::vector<double>& norms) {
    const auto compare_exactly = [&](const std::string& name, const Tensor& actual) {
      if (!golden_.has(name)) return;
      if (exact()) compare(name, actual);
      compared_.insert(name);
    };
    const auto column = [](const std::vector<double>& values, const Shape& shape) {
      return from_vector(values, shape, {DType::f64, kCpu});
    };
    compare_exactly("train.terms", column(terms, golden_.at("train.terms").shape()));
    compare_exactly("train.grad_norm", column(norms, {static_cast<int64_t>(norms.size())}));
    for (const auto& [name, parameter] : model.named_parameters())
      compare_exactly("train.weight_sample." + golden_.name_in_file(name), golden_sample(parameter));
  }

  const Golden& golden_;
  DType dtype_;
  double tolerance_, worst_ = 0;
  Tensor low_;
  std::set<std::string> zero_gradient_, compared_;
};

void prove(const char* model, DType dtype) {
  for (const Golden& golden : goldens_of_model(model)) {
    CAPTURE(golden.name);
    if (const auto weights = golden.file.metadata.find("weights");
        weights != golden.file.metadata.end() &&
        !std::filesystem::exists(golden_folder() + "/../" + weights->second)) {
      MESSAGE("skipped: " << golden.name << ", its weights " << weights->second << " are not here");
      continue;
    }
    Proof(golden, dtype).run();
  }
}

}  // namespace

TEST_CASE("zero_dce equals the reference in f64") { prove("zero_dce", DType::f64); }
TEST_CASE("zero_dce equals the reference in f32") { prove("zero_dce", DType::f32); }
TEST_CASE("zero_dce_plus equals the reference in f64") { prove("zero_dce_plus", DType::f64); }
TEST_CASE("zero_dce_plus equals the reference in f32") { prove("zero_dce_plus", DType::f32); }
