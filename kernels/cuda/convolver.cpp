#include "luxgrad/kernels/cuda/convolver.h"

#include <algorithm>

#include "luxgrad/kernels/cuda/columns.h"
#include "luxgrad/tensor/cuda_graph.h"

namespace lux::cuda {
namespace {

constexpr size_t kMostPlans = 2048;  // pictures of ever other sizes must not fill the memory
constexpr int64_t kMostDepthwiseWorkspace = int64_t{2} << 20;
constexpr int kMostCandidates = 8, kTimings = 5, kRunsPerTiming = 4;

// Null where the engine needs what is not here, for example a driver that compiles.
std::shared_ptr<const ReadyPlan> ready_plan(const std::shared_ptr<const Graph>& graph, Engine engine,
                                            const Descriptor& device, bool autotuned) {
  try {
    Plan plan(engine, device);
    return std::make_shared<const ReadyPlan>(ReadyPlan{graph, std::move(engine), std::move(plan), autotuned});
  } catch (const Error&) {
    return nullptr;
  }
}

// Dense engines run a depthwise convolution as well, with every channel copied into a group of its own.
int64_t most_workspace(const Conv2dProblem& s, int64_t most) {
  const bool depthwise = s.groups > 1 && s.groups == s.C && s.groups == s.K;
  return depthwise ? std::min(most, kMostDepthwiseWorkspace) : most;
}

}  // namespace

Convolver::Convolver(const ConvolutionDevice& device, const ConvolutionSettings& settings)
    : device_(device),
      description_(device_from_json(*device.api, device.json)),
      place_(cat("cudnn ", device.api->version(), " device ", hash_text(device.json))),
      settings_(settings) {}

GraphRequest Convolver::request(const Conv2dProblem& problem, Pass pass) const {
  const bool tf32 = problem.precision == Precision::tf32;
  GraphRequest request{.pass = pass, .problem = problem, .math = tf32 ? MathMode::tf32 : MathMode::f32};
  request.problem.C = shown_channels(problem, problem.C);
  request.problem.K = shown_channels(problem, problem.K);
  return request;
}

std::vector<GraphRequest> Convolver::forward_requests(const Conv2dProblem& problem, bool bias) const {
  const GraphRequest sums = request(problem, Pass::forward);
  std::vector<GraphRequest> requests;
  const bool relu = problem.activation == Activation::relu;
  if (sums.problem.K == problem.K && (bias || relu) && (relu || problem.activation == Activation::none)) {
    requests.push_back(sums);
    requests.back().bias = bias;
    requests.back().relu = relu;
  }
  requests.push_back(sums);
  return requests;
}

bool Convolver::forward(const Conv2dProblem& s, const Tensors& inputs, const Tensor& weight,
                        const Tensor& bias, const Tensor& y) {
  const std::lock_guard lock(mutex_);
  const std::vector<GraphRequest> requests = forward_requests(s, bias.defined());
  const auto found = std::find_if(requests.begin(), requests.end(),
                                  [&](const GraphRequest& request) { return plan(request) != nullptr; });
  if (found == requests.end()) return false;
  const Conv2dProblem& shown = found->problem;
  const Tensor x = gathered(inputs, shown.C), w = widened(weight, shown.K, shown.C / s.groups);
  const Tensor sums = shown.K == s.K && is_aligned(y) ? y : empty(y.shape().with(3, shown.K), y.options());
  Bindings bindings{{kX, x.raw()}, {kWeight, w.raw()}, {kY, sums.raw()}};
  if (found->bias) bindings.emplace_back(kBias, bias.raw());
  run(*found, bindings, y.device());
  const bool activated = found->relu || s.activation == Activation::none;
  finish_sums({found->bias ? Tensor() : bias, activated ? Activation::none : s.activation, s.slope}, sums,
              shown.K, y);
  return true;
}

bool Convolver::input_gradient(const Conv2dProblem& s, const Tensor& gz, const Tensor& weight,
                               const std::vector<int64_t>& channels, const Tensors& gx) {
  const std::lock_guard lock(mutex_);
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
  const std::string key = request.key();
  if (const auto known = plans_.find(key); known != plans_.end()) return known->second;
  std::shared_ptr<const ReadyPlan> chosen = choose(request);
  keep(key, chosen);
  return chosen;
}

void Convolver::keep(const std::string& key, std::shared_ptr<const ReadyPlan> ready) {
  if (plans_.size() >= kMostPlans) plans_.clear();
  if (ready != nullptr) used_.set(cat(place_, " ", key), ready->engine.name);
  plans_[key] = std::move(ready);
}

std::vector<Engine> Convolver::allowed_engines(const GraphRequest& request, const Graph& graph) const {
  std::vector<Engine> engines = offered_engines(graph, description_);
  std::erase_if(engines, [&](const Engine& engine) { return !is_allowed(engine, request); });
  return engines;
}

// The book's engine where the book has one and cuDNN offers it; else the first that fits the workspace.
std::shared_ptr<const ReadyPlan> Convolver::choose(const GraphRequest& request) const {
  if (!has_graph(request.problem)) return nullptr;
  const auto graph = std::make_shared<const Graph>(make_graph(*device_.api, request));
  std::vector<Engine> engines = allowed_engines(request, *graph);
  const std::string* const wanted = book_.find(book_key(request));
  const auto known = std::find_if(engines.begin(), engines.end(), [&](const Engine& engine) {
    return wanted != nullptr && engine.name == *wanted;
  });
  const bool by_book = known != engines.end();
  if (by_book) std::rotate(engines.begin(), known, known + 1);
  const int64_t most = most_workspace(request.problem, settings_.most_workspace);
  std::shared_ptr<const ReadyPlan> least;
  for (Engine& engine : engines) {
    const bool first = &engine == engines.data();
    auto found = ready_plan(graph, std::move(engine), description_, by_book && first);
    if (found == nullptr) continue;
    if (found->plan.workspace() <= most) return found;
    if (least == nullptr || found->plan.workspace() < least->plan.workspace()) least = std::move(found);
  }
  return least;
}

void Convolver::run_plan(const ReadyPlan& ready, const Bindings& bindings, Device where) const {
  const int64_t bytes = ready.plan.workspace();
  const Tensor workspace = empty({(bytes + 7) / 8}, {DType::f64, where});
  ready.plan.execute(device_.handle, bindings, bytes == 0 ? nullptr : workspace.raw());
}

// Every candidate runs on the caller's own buffers: a graph overwrites its result and nothing else.
std::shared_ptr<const ReadyPlan> Convolver::tune(const GraphRequest& request, const Bindings& bindings,
                                                 Device where) {
  const auto graph = std::make_shared<const Graph>(make_graph(*device_.api, request));
  std::shared_ptr<const ReadyPlan> best;
  const int64_t most = most_workspace(request.problem, settings_.most_workspace);
  double least = 0;
  int tried = 0;
  for (Engine& engine : allowed_engines(request, *graph)) {
    if (tried == kMostCandidates) break;
    auto candidate = ready_plan(graph, std::move(engine), description_, true);
    if (candidate == nullptr || candidate->plan.workspace() > most) continue;
    try {
      run_plan(*candidate, bindings, where);  // the first run loads the kernel
      std::array<double, kTimings> seconds{};
      for (double& s : seconds) {
        s = device_.stopwatch([&] {
          for (int i = 0; i < kRunsPerTiming; ++i) run_plan(*candidate, bindings, where);
        });
      }
      std::nth_element(seconds.begin(), seconds.begin() + kTimings / 2, seconds.end());
      ++tried;
      if (best != nullptr && seconds[kTimings / 2] >= least) continue;
      least = seconds[kTimings / 2];
      best = std::move(candidate);
    } catch (const OutOfMemory&) {  // one that needs less may do
    }
  }
  return best;
}

void Convolver::run(const GraphRequest& request, const Bindings& bindings, Device where) {
  check(device_.handle != nullptr, "cuDNN: expected a device to run on, got only its description");
  std::shared_ptr<const ReadyPlan> ready = plan(request);
  if (settings_.autotune && !ready->autotuned && device_.stopwatch != nullptr) {
    if (auto tuned = tune(request, bindings, where); tuned != nullptr) {
      book_.set(book_key(request), tuned->engine.name);
      keep(request.key(), tuned);
      ready = std::move(tuned);
    }
  }
  keep_for_graph(ready);  // plans may be forgotten, and with them the kernels that a graph launches
  run_plan(*ready, bindings, where);
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
