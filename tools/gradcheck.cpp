// luxgrad gradcheck: every gradient against finite differences, on this machine.
#include "luxgrad/autograd/gradcheck.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <nlohmann/json.hpp>
#include <regex>

#include "luxgrad/autograd/op_case.h"
#include "luxgrad/tools/command.h"
#include "luxgrad/tools/console.h"
#include "luxgrad/tools/model_choice.h"

namespace lux {
namespace {

nlohmann::ordered_json report_of(const GradcheckResult& result) {
  const auto number = [](double x) { return std::isfinite(x) ? nlohmann::json(x) : nlohmann::json(cat(x)); };
  return {{"name", result.name},
          {"passed", result.passed},
          {"input", result.input},
          {"index", result.index},
          {"analytic", number(result.analytic)},
          {"numeric", number(result.numeric)},
          {"error", number(result.error)},
          {"reason", result.reason}};
}

class Gradcheck final : public Command {
 public:
  explicit Gradcheck(CLI::App& app) {
    app.add_option("--filter", filter_, "Only cases with a match of this regular expression in their name")
        ->type_name("REGEX");
    add_device_options(app, where_);
    app.add_flag("--json", json_, "Print one JSON object per case");
  }

  ExitCode run() override {
    const Device device = apply(where_);
    std::regex pattern;
    try {
      pattern = std::regex(filter_);
    } catch (const std::regex_error& error) {
      usage_error("--filter: ", filter_, " is no regular expression: ", error.what());
    }
    int64_t checked = 0, failed = 0;
    for (const OpCase& row : op_cases()) {
      if (!std::regex_search(row.name, pattern)) continue;
      const GradcheckResult result = gradcheck(row, device);
      ++checked;
      failed += result.passed ? 0 : 1;
      print_result(json_ ? report_of(result).dump() : result.message());
      flush_results();
    }
    check_usage(checked > 0, "--filter: no case matches ", filter_);
    if (!json_) print_result(cat(checked - failed, " passed, ", failed, " failed"));
    return failed == 0 ? ExitCode::ok : ExitCode::check_failed;
  }

 private:
  std::string filter_;
  RunsOn where_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_gradcheck(CLI::App& app) { return std::make_unique<Gradcheck>(app); }

}  // namespace lux
