// luxgrad verify: reads every file to its last byte and says which are what was once written.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "luxgrad/data/dataset.h"
#include "luxgrad/data/film.h"
#include "luxgrad/data/image.h"
#include "luxgrad/data/tensor_file.h"
#include "luxgrad/tools/command.h"
#include "luxgrad/tools/console.h"
#include "luxgrad/training/checkpoint.h"

namespace lux {
namespace {

namespace fs = std::filesystem;

// What the file turned out to be. Throws what is wrong with it.
std::string kind_of(const std::string& path) {
  if (!has_tensor_file_name(path)) {
    const Image image = load_image(path);
    return cat("picture, ", image.width, "x", image.height);
  }
  if (is_checkpoint_name(fs::path(path).filename().native()))
    return cat(read_checkpoint(path).value().weights.size(), " tensors");
  const Weights weights = load_weights(path);
  const size_t count = weights.state.size();
  return cat(count, " tensors", weights.sealed ? "" : ", without a checksum");
}

// The weights, checkpoints and pictures below a folder; the newest checkpoint last.
std::vector<std::string> files_below(const std::string& folder) {
  std::vector<std::string> files = list_images(folder, true);
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    if (has_tensor_file_name(entry->path().native())) files.push_back(entry->path());
  }
  if (error) throw FileException({FileErrorCode::unreadable, folder, -1, error.message()});
  std::sort(files.begin(), files.end());
  return files;
}

class Verify final : public Command {
 public:
  explicit Verify(CLI::App& app) {
    app.add_option("-i,--input,input", inputs_,
                   "Weights, checkpoints, pictures, or folders of them, such as a run")
        ->type_name("PATH")
        ->required();
    app.add_flag("--json", json_, "Print JSON lines");
  }

  ExitCode run() override {
    std::vector<std::string> files;
    for (const std::string& input : inputs_) {
      std::error_code ignored;
      if (fs::is_directory(input, ignored)) {
        const std::vector<std::string> below = files_below(input);
        if (below.empty())
          throw CommandError(ExitCode::refused, cat(input, ": holds no weights, checkpoints or pictures"));
        files.insert(files.end(), below.begin(), below.end());
      } else if (is_film_name(input)) {
        print_note(cat(input, ": is passed over, films cannot be verified"));
      } else {
        files.push_back(input);
      }
    }
    if (files.empty()) throw CommandError(ExitCode::refused, "nothing to verify");
    const auto damaged =
        std::count_if(files.begin(), files.end(), [&](const auto& file) { return !good(file); });
    print_note(cat(files.size() - static_cast<size_t>(damaged), " good, ", damaged, " damaged"));
    if (damaged == 0) return ExitCode::ok;
    return files.size() == 1 ? ExitCode::refused : ExitCode::some_failed;
  }

 private:
  bool good(const std::string& path) const {
    nlohmann::ordered_json report{{"file", path}};
    std::string line;
    try {
      report["ok"] = true;
      report["kind"] = kind_of(path);
      line = cat("ok       ", printable(path), ": ", report["kind"].get<std::string>());
    } catch (const FileException& refused) {
      report["ok"] = false;
      report["error"] = refused.what();
      line = cat("damaged  ", refused.what());
    }
    print_result(json_ ? report.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace) : line);
    return report["ok"];
  }

  std::vector<std::string> inputs_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_verify(CLI::App& app) { return std::make_unique<Verify>(app); }

}  // namespace lux
