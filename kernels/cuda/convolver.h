// Convolutions by cuDNN. A convolution is a graph; the plan of a graph is made once and kept. Inputs that
// cuDNN cannot read as they are (bf16 of a width that tensor cores do not take) are copied into memory of the
// call, never into a tensor. Several inputs go one after the other, where that moves less than to join them.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "luxgrad/kernels/cuda/convolution_graph.h"
#include "luxgrad/kernels/cuda/plan_book.h"
#include "luxgrad/tensor/function_ref.h"

namespace lux::cuda {

/// Seconds that the device takes for what `work` puts on the stream.
using Stopwatch = double (*)(FunctionRef<void()> work);

/// What convolutions run on.
struct ConvolutionDevice {
  const CudnnApi* api = nullptr;
  CudnnHandle handle = nullptr;  ///< null: plans can be made, not run
  std::string json{};            ///< cuDNN's description of the device
  Stopwatch stopwatch = nullptr;
};

struct ConvolutionSettings {
  /// Off: the first engine that is allowed, by cuDNN's own order, so that machines of one kind agree. On:
  /// graphs that the book does not know are run with up to eight engines, and the fastest is put into the
  /// book.
  bool autotune = false;
  /// Engines that need more are passed over, unless all do: then the least is taken.
  int64_t most_workspace = int64_t{256} << 20;
};

/// A plan, and what it was made of, which cuDNN may still look at.
struct ReadyPlan {
  std::shared_ptr<const Graph> graph;
  Engine engine;
  Plan plan;
  bool autotuned = false;  ///< nothing is left to measure: from the book, or tried
  bool ran = false;        ///< and is part of the hash
};

/// Thread-safe. All tensors are of the convolver's device.
class Convolver {
 public:
  explicit Convolver(const ConvolutionDevice& device, const ConvolutionSettings& settings = {});

  /// As the members of Conv2dKernels; false, with nothing done, where no engine is allowed. Throw Error and
  /// OutOfMemory.
  bool forward(const Conv2dProblem& problem, const Tensors& inputs, const Tensor& weight, const Tensor& bias,
               const Tensor& y);
  bool input_gradient(const Conv2dProblem& problem, const Tensor& gz, const Tensor& weight,
                      const std::vector<int64_t>& channels, const Tensors& gx);
  bool weight_gradient(const Conv2dProblem& problem, const Tensors& inputs, const Tensor& gz,
                       const Tensor& gw);

  /// The plan of a graph by the book or by cuDNN's order, made if need be; null where no engine is allowed.
  std::shared_ptr<const ReadyPlan> plan(const GraphRequest& request);
  /// The graphs that `forward` may run for a problem, best first: with bias and relu inside as far as that is
  /// possible, and the sums alone; `onto`: added to sums of before.
  std::vector<GraphRequest> forward_requests(const Conv2dProblem& problem, bool bias,
                                             bool onto = false) const;
  /// The problem with the channels that cuDNN sees, as a request.
  GraphRequest request(const Conv2dProblem& problem, Pass pass) const;

  ConvolutionSettings settings() const;
  void set_settings(const ConvolutionSettings& settings);
  /// What autotuning found, and what `set_book` gave. Plans that were made are made again.
  PlanBook book() const;
  void set_book(const PlanBook& book);
  /// The hash of the engine of every graph that ran, with graph, device and version of cuDNN; empty before
  /// the first.
  std::string hash() const;

 private:
  using Bindings = std::vector<std::pair<int64_t, void*>>;

  /// What one graph of `forward` does, and for which problem.
  struct Step {
    Conv2dProblem problem;
    GraphRequest request;
  };
  std::optional<Step> step_of(const Conv2dProblem& problem, bool bias, bool onto);
  std::vector<Step> steps_of(const Conv2dProblem& problem, const std::vector<int64_t>& channels, bool bias);
  void run_step(const Step& step, const Tensor& x, const Tensor& weight, const Tensor& bias,
                const Tensor& before, const Tensor& y);
  bool has_gradients_of_parts(const Conv2dProblem& problem, Pass pass, const std::vector<int64_t>& channels);
  std::string book_key(const GraphRequest& request) const;
  std::vector<Engine> allowed_engines(const GraphRequest& request, const Graph& graph) const;
  std::shared_ptr<ReadyPlan> choose(const GraphRequest& request) const;
  std::shared_ptr<ReadyPlan> known_plan(const GraphRequest& request);
  std::shared_ptr<ReadyPlan> tune(const GraphRequest& request, const Bindings& bindings, Device where);
  void run(const GraphRequest& request, const Bindings& bindings, Device where);
  void run_plan(const ReadyPlan& ready, const Bindings& bindings, Device where) const;
  void keep(const std::string& key, std::shared_ptr<ReadyPlan> ready);

  Target target_;
  Stopwatch stopwatch_;
  std::string place_;  // `cudnn 91900 device 0123456789abcdef`
  mutable std::recursive_mutex mutex_;
  ConvolutionSettings settings_;
  PlanBook book_;
  std::map<std::string, std::shared_ptr<ReadyPlan>> plans_;
  PlanBook used_;
};

}  // namespace lux::cuda
