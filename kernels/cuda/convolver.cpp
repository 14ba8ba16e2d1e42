#include "luxgrad/kernels/cuda/convolver.h"

#include <algorithm>
#include <array>
#include <utility>

#include "luxgrad/kernels/cuda/columns.h"
#include "luxgrad/tensor/cuda_graph.h"

namespace lux::cuda {
namespace {

constexpr size_t kMostPlans = 2048;  // pictures of ever other sizes must not fill the memory
constexpr int64_t kMostDepthwiseWorkspace = int64_t{2} << 20;
constexpr int kMostCandidates = 8, kTimings = 5, kRunsPerTiming = 4;

// Null where the engine needs what is not here, for example a driver that compiles.
std::shared_ptr<ReadyPlan> ready_plan(const std::shared_ptr<const Graph>& graph, Engine engine,
                                      const Target& target, bool autotuned) {
  try {
    Plan plan(engine, target);
    return std::make_shared<ReadyPlan>(ReadyPlan{graph, std::move(engine), std::move(plan), autotuned});
  } catch (const OutOfMemory&) {  // no reason for another engine, whose results would differ
    throw;
  } catch (const Error&) {
    return nullptr;
  }
}

// Dense engines run a depthwise convolution as well, with every channel copied into a group of its own.
int64_t most_workspace(const Conv2dProblem& s, int64_t most) {
  const bool depthwise = s.groups > 1 && s.groups == s.C && s.groups == s.K;
  return depthwise ? std::min(most, kMostDepthwiseWorkspace) : most;
}

std::vector<int64_t> channels_of(const Tensors& inputs) {
  std::vector<int64_t> channels;
  for (const Tensor& input : inputs) channels.push_back(input.size(3));
  return channels;
}

Conv2dProblem of_input(Conv2dProblem s, int64_t channels) {
  s.C = channels;
  return s;
}

// Whether several inputs are better read one after the other than as a concatenation, which is written and
// read: then it is the results, or their gradients, that are read again, and results written as well. cuDNN
// has to take all of them as they are.
bool reads_parts(const Conv2dProblem& s, const std::vector<int64_t>& channels, bool written_as_well) {
  const int64_t again = (static_cast<int64_t>(channels.size()) - 1) * s.P * s.Q * s.K;
  if (again == 0 || s.groups > 1 || again * (written_as_well ? 2 : 1) > 2 * s.H * s.W * s.C) return false;
  return shown_channels(s, s.K) == s.K && std::all_of(channels.begin(), channels.end(), [&](int64_t own) {
           return shown_channels(s, own) == own;
         });
}

// The weights of some of the inputs' channels.
Tensor slice(const Tensor& weight, int64_t first, int64_t channels) {
  Tensor own = empty(weight.shape().with(3, channels), weight.options());
  copy_columns({weight, first, weight.size(3)}, {own, 0, channels}, channels);
  return own;
}

}  // namespace

Convolver::Convolver(const ConvolutionDevice& device, const ConvolutionSettings& settings)
    : target_{device_from_json(*device.api, device.json), device.handle},
      stopwatch_(device.stopwatch),
      place_(cat("cudnn ", device.api->version(), " device ", hash_text(device.json))),
      settings_(settings) {}

GraphRequest Convolver::request(const Conv2dProblem& problem, Pass pass) const {
  const bool tf32 = problem.precision == Precision::tf32;
  GraphRequest request{.pass = pass, .problem = problem, .math = tf32 ? MathMode::tf32 : MathMode::f32};
  request.problem.C = shown_channels(problem, problem.C);
  request.problem.K = shown_channels(problem, problem.K);
  return request;
}

std::vector<GraphRequest> Convolver::forward_requests(const Conv2dProblem& problem, bool bias,
                                                      bool onto) const {
  GraphRequest sums = request(problem, Pass::forward);
  sums.onto = onto;
  std::vector<GraphRequest> requests;
  const bool relu = problem.activation == Activation::relu;
  if (sums.problem.K == problem.K && (bias || relu) && (relu || problem.activation == Activation::none)) {
    requests.push_back(sums);
    requests.back().bias = bias;
    requests.back().relu = relu;
  } else if (onto && bias && sums.problem.K == problem.K) {  // cuDNN has engines for both, few for sums alone
    requests.push_back(sums);
    requests.back().bias = true;
  }
  requests.push_back(sums);
  return requests;
}

std::optional<Convolver::Step> Convolver::step_of(const Conv2dProblem& problem, bool bias, bool onto) {
  for (const GraphRequest& request : forward_requests(problem, bias, onto)) {
    if (plan(request) != nullptr) return Step{problem, request};
  }
  return std::nullopt;
}

// All inputs at once; or one after the other, where that moves less. None where no engine is allowed.
std::vector<Convolver::Step> Convolver::steps_of(const Conv2dProblem& s, const std::vector<int64_t>& channels,
                                                 bool bias) {
  const bool one_by_one = reads_parts(s, channels, true);
  std::vector<Step> steps;
  for (size_t m = 0; one_by_one && m < channels.size(); ++m) {
    const bool last = m + 1 == channels.size();
    Conv2dProblem own = of_input(s, channels[m]);
    if (!last) own.activation = Activation::none;
    const auto step = step_of(own, last && bias, m > 0);
    if (!step) break;
    steps.push_back(*step);
  }
  if (steps.size() == channels.size()) return steps;
  steps.clear();
  if (const auto whole = step_of(s, bias, false)) steps.push_back(*whole);
  return steps;
}

void Convolver::run_step(const Step& step, const Tensor& x, const Tensor& weight, const Tensor& bias,
                         const Tensor& before, const Tensor& y) {
  const auto& [s, request] = step;
  const Conv2dProblem& shown = request.problem;
  const Tensor w = widened(weight, shown.K, shown.C / s.groups);
  const Tensor sums = shown.K == s.K && is_aligned(y) ? y : empty(y.shape().with(3, shown.K), y.options());
  Bindings bindings{{kX, x.raw()}, {kWeight, w.raw()}, {kY, sums.raw()}};
  if (request.bias) bindings.emplace_back(kBias, bias.raw());
  if (request.onto) bindings.emplace_back(kSums, before.raw());
  run(request, bindings, y.device());
  const bool activated = request.relu || s.activation == Activation::none;
  finish_sums({request.bias ? Tensor() : bias, activated ? Activation::none : s.activation, s.slope}, sums,
              shown.K, y);
}

bool Convolver::forward(const Conv2dProblem& s, const Tensors& inputs, const Tensor& weight,
                        const Tensor& bias, const Tensor& y) {
  const std::lock_guard lock(mutex_);
  const std::vector<Step> steps = steps_of(s, channels_of(inputs), bias.defined());
  if (steps.empty()) return false;
  if (steps.size() == 1) {
    run_step(steps[0], gathered(inputs, steps[0].request.problem.C), weight, bias, Tensor(), y);
    return true;
  }
  Tensor sums;
  int64_t first = 0;
  for (size_t m = 0; m < steps.size(); first += steps[m++].problem.C) {
    const bool last = m + 1 == steps.size();
    const Tensor to = last ? y : empty(y.shape(), y.options());
    const int64_t own = steps[m].problem.C;
    run_step(steps[m], widened(inputs[m], s.N, own), slice(weight, first, own), last ? bias : Tensor(), sums,
             to);
    sums = to;
  }
  return true;
}

bool Convolver::has_gradients_of_parts(const Conv2dProblem& s, Pass pass,
                                       const std::vector<int64_t>& channels) {
  return reads_parts(s, channels, false) && std::all_of(channels.begin(), channels.end(), [&](int64_t own) {
           return plan(request(of_input(s, own), pass)) != nullptr;
         });
}

bool Convolver::input_gradient(const Conv2dProblem& s, const Tensor& gz, const Tensor& weight,
                               const std::vector<int64_t>& channels, const Tensors& gx) {
  const std::lock_guard lock(mutex_);
  if (has_gradients_of_parts(s, Pass::input_gradient, channels)) {
    int64_t first = 0;
    for (size_t m = 0; m < gx.size(); first += channels[m++]) {
      if (gx[m].defined())
        input_gradient(of_input(s, channels[m]), gz, slice(weight, first, channels[m]), {channels[m]},
                       {gx[m]});
    }
    return true;
  }
  const GraphRequest wanted = request(s, Pass::input_gradient);
  if (plan(wanted) == nullptr) return false;
  const Conv2dProblem& shown = wanted.problem;
  const Tensor z = widened(gz, s.N, shown.K), w = widened(weight, shown.K, shown.C / s.groups);
  const bool whole = gx.size() == 1 && shown.C == s.C && is_aligned(gx[0]);
  const Tensor all = whole ? gx[0] : empty({s.N, s.H, s.W, shown.C}, gz.options());
  run(wanted, {{kX, all.raw()}, {kWeight, w.raw()}, {kY, z.raw()}}, gz.device());
  int64_t first = 0;
  for (size_t m = 0; !whole && m < gx.size(); first += channels[m++]) {
    if (gx[m].defined()) copy_columns({all, first, shown.C}, {gx[m], 0, channels[m]}, channels[m]);
  }
  return true;
}

bool Convolver::weight_gradient(const Conv2dProblem& s, const Tensors& inputs, const Tensor& gz,
                                const Tensor& gw) {
  const std::lock_guard lock(mutex_);
  if (has_gradients_of_parts(s, Pass::weight_gradient, channels_of(inputs))) {
    int64_t first = 0;
    for (const Tensor& input : inputs) {
      const int64_t own = input.size(3);
      const Tensor part = empty(gw.shape().with(3, own), gw.options());
      weight_gradient(of_input(s, own), {input}, gz, part);
      copy_columns({part, 0, own}, {gw, first, s.C}, own);
      first += own;
    }
    return true;
  }
  const GraphRequest wanted = request(s, Pass::weight_gradient);
  if (plan(wanted) == nullptr) return false;
  const Conv2dProblem& shown = wanted.problem;
  const Tensor x = gathered(inputs, shown.C), z = widened(gz, s.N, shown.K);
  const int64_t depth = shown.C / s.groups, own = s.C / s.groups;
  const bool whole = shown.K == s.K && depth == own && is_aligned(gw);
  const Tensor all = whole ? gw : empty({shown.K, s.kH, s.kW, depth}, gw.options());
  run(wanted, {{kX, x.raw()}, {kWeight, all.raw()}, {kY, z.raw()}}, gz.device());
  if (!whole) copy_columns({all, 0, depth}, {gw, 0, own}, own);
  return true;
}

std::string Convolver::book_key(const GraphRequest& request) const { return cat(place_, " ", request.key()); }

std::shared_ptr<const ReadyPlan> Convolver::plan(const GraphRequest& request) {
  const std::lock_guard lock(mutex_);
  return known_plan(request);
}

std::shared_ptr<ReadyPlan> Convolver::known_plan(const GraphRequest& request) {
  const std::string key = request.key();
  if (const auto known = plans_.find(key); known != plans_.end()) return known->second;
  std::shared_ptr<ReadyPlan> chosen = choose(request);
  keep(key, chosen);
  return chosen;
}

void Convolver::keep(const std::string& key, std::shared_ptr<ReadyPlan> ready) {
  if (plans_.size() >= kMostPlans) plans_.clear();
  plans_[key] = std::move(ready);
}

std::vector<Engine> Convolver::allowed_engines(const GraphRequest& request, const Graph& graph) const {
  std::vector<Engine> engines = offered_engines(graph, target_);
  std::erase_if(engines, [&](const Engine& engine) { return !is_allowed(engine, request); });
  return engines;
}

// The book's engine where the book has one and cuDNN offers it; else the first that fits the workspace.
std::shared_ptr<ReadyPlan> Convolver::choose(const GraphRequest& request) const {
  if (!has_graph(request.problem)) return nullptr;
  const auto graph = std::make_shared<const Graph>(make_graph(target_, request));
  std::vector<Engine> engines = allowed_engines(request, *graph);
  const std::string* const wanted = book_.find(book_key(request));
  const auto known = std::find_if(engines.begin(), engines.end(), [&](const Engine& engine) {
    return wanted != nullptr && engine.name == *wanted;
  });
  const bool by_book = known != engines.end();
  if (by_book) std::rotate(engines.begin(), known, known + 1);
  const int64_t most = most_workspace(request.problem, settings_.most_workspace);
  std::shared_ptr<ReadyPlan> least;
  for (Engine& engine : engines) {
    const bool first = &engine == engines.data();
    auto found = ready_plan(graph, std::move(engine), target_, by_book && first);
    if (found == nullptr) continue;
    if (found->plan.workspace() <= most) return found;
    if (least == nullptr || found->plan.workspace() < least->plan.workspace()) least = std::move(found);
  }
  return least;
}

void Convolver::run_plan(const ReadyPlan& ready, const Bindings& bindings, Device where) const {
  const int64_t bytes = ready.plan.workspace();
  const Tensor workspace = empty({(bytes + 7) / 8}, {DType::f64, where});
  ready.plan.execute(target_.handle, bindings, bytes == 0 ? nullptr : workspace.raw());
}

// Every candidate runs on the caller's own buffers: a graph overwrites its result and nothing else. Null
// where none fits the workspace and runs.
std::shared_ptr<ReadyPlan> Convolver::tune(const GraphRequest& request, const Bindings& bindings,
                                           Device where) {
  const auto graph = std::make_shared<const Graph>(make_graph(target_, request));
  std::shared_ptr<ReadyPlan> best;
  const int64_t most = most_workspace(request.problem, settings_.most_workspace);
  double least = 0;
  int tried = 0;
  for (Engine& engine : allowed_engines(request, *graph)) {
    if (tried == kMostCandidates) break;
    try {
      auto candidate = ready_plan(graph, std::move(engine), target_, true);
      if (candidate == nullptr || candidate->plan.workspace() > most) continue;
      run_plan(*candidate, bindings, where);  // the first run loads the kernel
      std::array<double, kTimings> seconds{};
      for (double& s : seconds) {
        s = stopwatch_([&] {
          for (int i = 0; i < kRunsPerTiming; ++i) run_plan(*candidate, bindings, where);
        });
      }
      std::nth_element(seconds.begin(), seconds.begin() + kTimings / 2, seconds.end());
      ++tried;
      if (best != nullptr && seconds[kTimings / 2] >= least) continue;
      least = seconds[kTimings / 2];
      best = std::move(candidate);
    } catch (const OutOfMemory&) {  // one that needs less may do
    } catch (const Error&) {        // that it does not run here shows only now
    }
  }
  return best;
}

void Convolver::run(const GraphRequest& request, const Bindings& bindings, Device where) {
  check(target_.handle != nullptr, "cuDNN: expected a device to run on, got only its description");
  std::shared_ptr<ReadyPlan> ready = known_plan(request);
  if (settings_.autotune && !ready->autotuned && stopwatch_ != nullptr) {
    ready->autotuned = true;  // asked once, even where nothing can be measured
    if (auto tuned = tune(request, bindings, where); tuned != nullptr) {
      book_.set(book_key(request), tuned->engine.name);
      keep(request.key(), tuned);
      ready = std::move(tuned);
    }
  }
  keep_for_graph(ready);  // plans may be forgotten, and with them the kernels that a graph launches
  run_plan(*ready, bindings, where);
  if (!std::exchange(ready->ran, true)) used_.set(book_key(request), ready->engine.name);
}

ConvolutionSettings Convolver::settings() const {
  const std::lock_guard lock(mutex_);
  return settings_;
}

void Convolver::set_settings(const ConvolutionSettings& settings) {
  forget_graphs();  // which have the plans of before
  const std::lock_guard lock(mutex_);
  settings_ = settings;
  plans_.clear();
}

PlanBook Convolver::book() const {
  const std::lock_guard lock(mutex_);
  return book_;
}

void Convolver::set_book(const PlanBook& book) {
  forget_graphs();
  const std::lock_guard lock(mutex_);
  book_ = book;
  plans_.clear();
}

std::string Convolver::hash() const {
  const std::lock_guard lock(mutex_);
  return used_.empty() ? std::string() : used_.hash();
}

}  // namespace lux::cuda
