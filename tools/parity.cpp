// luxgrad parity: the same numbers on two devices, in two precisions, or by tuned and plain kernels, and
// where they part.
#include <CLI/CLI.hpp>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>

#include "luxgrad/autograd/engine.h"
#include "luxgrad/autograd/observer.h"
#include "luxgrad/autograd/op_case.h"
#include "luxgrad/kernels/kernel_table.h"
#include "luxgrad/kernels/precision.h"
#include "luxgrad/models/registry.h"
#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/random.h"
#include "luxgrad/tools/command.h"
#include "luxgrad/tools/console.h"
#include "luxgrad/tools/help.h"
#include "luxgrad/tools/model_choice.h"
#include "luxgrad/tools/number_option.h"

namespace lux {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kNone = std::numeric_limits<double>::infinity();

/// What a side computes in, the finest first, and how far a whole network may be from a finer one. Gradients
/// of half precision may lie far off, for what falls on the other side of a kink has another slope: up to
/// 0.84 of their size was seen (f16, mirnet_keras). Their bound finds what is missing, endless or wild; how
/// exact they are is judged operator by operator.
struct Numbers {
  const char* name;
  DType dtype;
  bool tf32;
  double results, gradients;
};
constexpr Numbers kNumbers[] = {{"f64", DType::f64, false, 1e-10, 1e-8},
                                {"f32", DType::f32, false, 1e-4, 2e-2},
                                {"tf32", DType::f32, true, 0.1, 2},
                                {"f16", DType::f16, false, 0.1, 2},
                                {"bf16", DType::bf16, false, 0.2, 2}};

bool is_half(const Numbers& precision) { return precision.tf32 || size_of(precision.dtype) == 2; }

/// DEVICE[/PRECISION[/plain]]
struct Side {
  std::string text;
  Device device;
  const Numbers* precision = nullptr;
  bool plain = false;

  explicit Side(const std::string& text) : text(text) {
    const size_t first = std::min(text.find('/'), text.size()),
                 second = std::min(text.find('/', first + 1), text.size());
    device = apply({.device = text.substr(0, first)});
    const std::string named = first < text.size() ? text.substr(first + 1, second - first - 1) : "f32";
    for (const Numbers& each : kNumbers) {
      if (named == each.name) precision = &each;
    }
    check_usage(precision != nullptr, text, ": expected f64, f32, tf32, f16 or bf16 behind the device, got ",
                named);
    check_usage(!precision->tf32 || device != kCpu, text, ": only CUDA devices have tf32");
    const std::string last = second < text.size() ? text.substr(second + 1) : "";
    check_usage(second == text.size() || last == "plain", text,
                ": expected /plain or nothing behind the precision, got ", last);
    plain = last == "plain";
  }

  /// work() as this side computes.
  template <class Work>
  auto run(const Work& work) const {
    const PrecisionScope products(precision->tf32 ? Precision::tf32 : Precision::exact);
    if (!plain) return work();
    const PlainKernels scope;
    return work();
  }
};

Tensor in_f64(const Tensor& tensor) {
  return tensor.defined() ? tensor.detach().to(kCpu).to(DType::f64) : Tensor();
}

/// Sums over the elements of tensors that belong together.
struct Deviation {
  double difference = 0, largest = 0;  // of any element, and of the reference
  double squares = 0, all = 0;         // the sums of the squares of both

  void add(const Tensor& tensor, const Tensor& reference) {
    if (!reference.defined() && !tensor.defined()) return;
    if (!reference.defined() || !tensor.defined()) difference = squares = kNone;
    for (int64_t i = 0; difference < kNone && i < reference.numel(); ++i) {
      const double expected = reference.data<double>()[i];
      const double distance = std::fabs(tensor.data<double>()[i] - expected);
      if (!std::isfinite(distance)) {  // and stays so: NaN would lose every comparison
        difference = squares = kNone;
        return;
      }
      difference = std::max(difference, distance);
      largest = std::max(largest, std::fabs(expected));
      squares += distance * distance;
      all += expected * expected;
    }
  }
  double worst() const { return largest > 0 ? difference / largest : difference; }
  double rms() const { return all > 0 ? std::sqrt(squares / all) : std::sqrt(squares); }
};

/// What an operator made: its result, or the gradients that its backward gave; the operators that a backward
/// is made of belong to it.
struct Event {
  std::string name;
  bool backward;
  Tensors tensors;  // f64, on the CPU
};

class Recorder final : public Observer {
 public:
  void on_forward(const char* name, const Tensor& y, const Tensors&) override {
    events.push_back({name, backwards_, {in_f64(y)}});
  }
  void on_backward(const char* name, const Grads& grads) override {
    backwards_ = true;
    events.push_back({name, true, {}});
    for (const Tensor& grad : grads) events.back().tensors.push_back(in_f64(grad));
  }
  std::vector<Event> events;

 private:
  bool backwards_ = false;
};

bool same_operator(const Event& a, const Event& b) {
  const auto same_shape = [](const Tensor& x, const Tensor& y) {
    return !x.defined() || !y.defined() || x.shape() == y.shape();  // a gradient may be missing: an error
  };
  return a.name == b.name && a.backward == b.backward &&
         std::equal(a.tensors.begin(), a.tensors.end(), b.tensors.begin(), b.tensors.end(), same_shape);
}

/// The places in two lists of events at which both ran the same operators, in order. Where the sides part, a
/// device takes another way through a layer than the CPU, and they meet at the next that both have.
std::vector<std::pair<size_t, size_t>> common_operators(const std::vector<Event>& a,
                                                        const std::vector<Event>& b) {
  std::vector<std::pair<size_t, size_t>> common;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    size_t ahead = 0, skipped = 0;  // of both lists together, and those of a
    const auto meets = [&] {
      const size_t x = i + skipped, y = j + ahead - skipped;
      return x < a.size() && y < b.size() && same_operator(a[x], b[y]);
    };
    while (!meets()) {
      if (skipped++ < ahead) continue;
      skipped = 0;
      if (++ahead > a.size() + b.size()) return common;
    }
    common.emplace_back(i += skipped, j += ahead - skipped);
    ++i, ++j;
  }
  return common;
}

// Of all gradients together: that of a bias in front of a norm is nothing but rounding errors.
double deviation(const Event& event, const Event& reference) {
  Deviation sum;
  for (size_t i = 0; i < event.tensors.size(); ++i) sum.add(event.tensors[i], reference.tensors[i]);
  return sum.rms();
}

double worst(const Tensor& tensor, const Tensor& reference) {
  Deviation sum;
  sum.add(tensor, reference);
  return sum.worst();
}

/// A line of the table.
struct Line {
  std::string name;
  int64_t calls = 0;
  double result = 0, gradient = 0;                      // deviations
  double result_bound = kNone, gradient_bound = kNone;  // of them

  bool passed() const { return result <= result_bound && gradient <= gradient_bound; }
};

class Parity final : public Command {
 public:
  explicit Parity(CLI::App& app) {
    add_model_options(app, model_);
    app.add_option("--with", with_,
                   "DEVICE[/PRECISION[/plain]]: cpu or cuda:0; f64, f32, tf32, f16 or bf16; plain kernels "
                   "(default: the GPU, else cpu/f32)")
        ->type_name("SIDE");
    app.add_option("--against", against_, "What it is held against (default cpu/f64)")->type_name("SIDE");
    app.add_option("--filter", filter_,
                   "Without -n: only cases with a match of this regular expression in their name")
        ->type_name("REGEX");
    app.add_option("--size", size_, "With -n: of the picture (default 64x64)")->type_name("WxH");
    app.add_option("--seed", seed_, "Of weights and picture (default 0)")
        ->type_name("N")
        ->check(whole_number());
    app.add_option("--bound", bound_,
                   "The largest deviation allowed, of the largest value of a tensor (default: of the "
                   "operator, or by precision)")
        ->type_name("X")
        ->check(finite_number(kAboveZero));
    app.add_flag("--json", json_, "Print one JSON object per line of the table");
  }

  ExitCode run() override {
    const Side with(with_.empty() ? (cuda::is_real() && absence_of_cuda().empty() ? "cuda:0" : "cpu")
                                  : with_),
        against(against_);
    const bool rows = model_.name.empty() && model_.weights.empty();
    return rows ? operators(with, against) : network(with, against);
  }

 private:
  /// The head of the table, once there is a line to stand below it.
  void print_head(const Side& with, const Side& against, const char* measure) const {
    if (json_) return;
    print_result(cat(with.text, " against ", against.text, ", ", measure));
    print_result("         result of bound         gradient of bound   operator");
  }

  /// Every row by itself.
  ExitCode operators(const Side& with, const Side& against) {
    std::regex pattern;
    try {
      pattern = std::regex(filter_);
    } catch (const std::regex_error& error) {
      usage_error("--filter: ", filter_, " is no regular expression: ", error.what());
    }
    int64_t compared = 0;
    std::string first;
    for (const OpCase& row : op_cases()) {
      if (row.options.only_gradients || !std::regex_search(row.name, pattern)) continue;
      if (is_half(coarser(with, against)) && !row.options.half) continue;
      const Event expected = evaluated(row, against, with), actual = evaluated(row, with, against);
      const double bound = bound_of(row, with, against);
      Line line{row.name, 1, worst(actual.tensors[0], expected.tensors[0]), 0, bound, bound};
      for (size_t i = 1; i < expected.tensors.size(); ++i)
        line.gradient = std::max(line.gradient, worst(actual.tensors[i], expected.tensors[i]));
      if (compared++ == 0) print_head(with, against, "largest difference over largest value");
      print(line);
      if (!line.passed() && first.empty()) first = line.name;
    }
    check_usage(compared > 0, "--filter: no case matches ", filter_);
    return verdict(first);
  }

  static const Numbers& coarser(const Side& a, const Side& b) {
    return a.precision > b.precision ? *a.precision : *b.precision;
  }

  double bound_of(const OpCase& row, const Side& with, const Side& against) const {
    if (bound_ > 0) return bound_;
    const Numbers& precision = coarser(with, against);
    if (precision.dtype == DType::bf16) return row.options.bf16_bound;
    if (precision.dtype == DType::f16 || precision.tf32) return row.options.f16_bound;
    if (precision.dtype == DType::f64) return precision.results;
    return std::max(row.options.f32_bound, row.options.tuned_bound);
  }

  /// Result, then gradients, from inputs that both sides can hold.
  static Event evaluated(const OpCase& row, const Side& side, const Side& other) {
    Tensors values = draw(row.inputs, DType::f32);
    for (Tensor& value : values) value = value.to(coarser(side, other).dtype).to(side.precision->dtype);
    return side.run([&] {
      const Tensors x = leaves(row.inputs, values, side.device);
      const Tensor y = row.run(x);
      Tensor gy = empty(y.shape());
      Generator generator(1, "gradient of the result");
      fill_uniform_(gy, -1, 1, generator);
      backward(y, gy.to(coarser(side, other).dtype).to(y.dtype()).to(side.device));
      Event event{row.name, false, {in_f64(y)}};
      for (const Tensor& leaf : x) event.tensors.push_back(in_f64(leaf.grad()));
      return event;
    });
  }

  /// A whole network, operator by operator: deviations add up along the way.
  ExitCode network(const Side& with, const Side& against) {
    const std::vector<Event> expected = events_of(against), actual = events_of(with);
    const auto common = common_operators(expected, actual);
    check(!common.empty() && common.back() == std::pair(expected.size() - 1, actual.size() - 1),
          "parity: the sides end with different operators");
    const Numbers& precision = coarser(with, against);
    std::vector<Line> lines;
    std::map<std::string, size_t> places;
    std::string first;
    for (const auto& [i, j] : common) {
      const Event& event = expected[i];
      const auto [place, is_new] = places.emplace(event.name, lines.size());
      if (is_new) lines.push_back({.name = event.name});
      Line& line = lines[place->second];
      line.result_bound = bound_ > 0 ? bound_ : precision.results;
      line.gradient_bound = bound_ > 0 ? bound_ : precision.gradients;
      const double error = deviation(actual[j], event);
      double& worst = event.backward ? line.gradient : line.result;
      worst = std::max(worst, error);
      line.calls += event.backward ? 0 : 1;
      if (first.empty() && error > (event.backward ? line.gradient_bound : line.result_bound)) {
        first = cat(event.backward ? "the gradient of " : "", event.name, " ",
                    event.tensors[0].defined() ? cat(event.tensors[0].shape()) : "", ", operator ", i + 1,
                    " of ", expected.size());
      }
    }
    print_head(with, against, "root mean squares of difference over value");
    if (const size_t alone = expected.size() + actual.size() - 2 * common.size(); alone > 0)
      print_note(cat("operators that only one side ran, as its device's way through a layer: ", alone));
    for (const Line& line : lines) print(line);
    return verdict(first);
  }

  std::vector<Event> events_of(const Side& side) const {
    const auto [width, height] = size_from(size_);
    const std::unique_ptr<Model> model = network_of();
    model->to(side.precision->dtype);
    model->to(side.device);
    model->requires_grad_();
    Tensor picture = empty({1, height, width, 3});
    Generator generator(seed_, "parity: picture");
    fill_uniform_(picture, 0, 1, generator);
    const Recorder recorder;
    return side.run([&] {
      const Tensor y = model->enhance(picture.to(side.precision->dtype).to(side.device), 1);
      Tensor gy = empty(y.shape());
      Generator gradient(seed_, "parity: gradient of the result");
      fill_uniform_(gy, -1, 1, gradient);
      backward(y, gy.to(side.precision->dtype).to(side.device));
      return recorder.events;
    });
  }

  std::unique_ptr<Model> network_of() const {
    if (!model_.weights.empty()) return load_model(model_).model;
    check_model_name(model_.name);
    std::unique_ptr<Model> model = make_model(model_.name, config_of(model_));
    model->init_(Generator(seed_, "parity: weights"));
    return model;
  }

  void print(const Line& line) const {
    if (json_) {
      const auto number = [](double x) { return std::isfinite(x) ? nlohmann::json(x) : nlohmann::json(); };
      print_result(Json{{"name", line.name},
                        {"calls", line.calls},
                        {"error", number(line.result)},
                        {"bound", line.result_bound},
                        {"gradient_error", number(line.gradient)},
                        {"gradient_bound", number(line.gradient_bound)},
                        {"passed", line.passed()}}
                       .dump());
    } else {
      std::array<char, 80> text{};
      std::snprintf(text.data(), text.size(), "%c %9.1e of %7.1e %9.1e of %7.1e  ", line.passed() ? ' ' : '!',
                    line.result, line.result_bound, line.gradient, line.gradient_bound);
      print_result(cat(text.data(), line.name, line.calls > 1 ? cat(", ", line.calls, " calls") : ""));
    }
    flush_results();
  }

  ExitCode verdict(const std::string& first) const {
    if (!json_)
      print_result(first.empty() ? "all within their bounds" : cat("first beyond its bound: ", first));
    return first.empty() ? ExitCode::ok : ExitCode::check_failed;
  }

  ModelChoice model_;
  std::string with_, against_ = "cpu/f64", filter_, size_ = "64x64";
  uint64_t seed_ = 0;
  double bound_ = 0;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_parity(CLI::App& app) { return std::make_unique<Parity>(app); }

}  // namespace lux
