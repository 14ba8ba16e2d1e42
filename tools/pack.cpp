// luxgrad pack: two folders of pictures become the NPZ archive of pairs that NumPy and `luxgrad train` read.
#include <CLI/CLI.hpp>
#include <filesystem>

#include "luxgrad/data/picture_pack.h"
#include "luxgrad/tools/command.h"
#include "luxgrad/tools/console.h"
#include "luxgrad/tools/help.h"
#include "luxgrad/tools/outputs.h"
#include "luxgrad/tools/words.h"

namespace lux {
namespace {

class Pack final : public Command {
 public:
  explicit Pack(CLI::App& app) {
    app.add_option("low", low_, "Folder of dark pictures")->type_name("LOW");
    app.add_option("high", high_, "Folder of their references, with the same names")->type_name("HIGH");
    app.add_option("-o,--output", output_, "The archive: arr_0 references, arr_1 dark pictures, f32 0 to 255")
        ->type_name("FILE.npz");
    app.add_option("--size", size_, "Of every picture, by the nearest pixel (default 256x256)")
        ->type_name("WxH");
    app.add_flag("--overwrite", overwrite_, "Replace an output that exists");
    app.add_option("--progress", progress_, "none, bar or json, on standard error (default bar)")
        ->type_name("KIND")
        ->check(one_of({"none", "bar", "json"}));
  }

  ExitCode run() override {
    check_usage(!low_.empty() && !high_.empty() && !output_.empty(),
                "name both folders and the archive: luxgrad pack LOW HIGH -o FILE.npz");
    check_usage(output_.ends_with(".npz"), "--output: expected a name that ends in .npz, got ", output_);
    const auto [width, height] = size_from(size_);
    std::error_code unknown;
    check_usage(overwrite_ || !std::filesystem::exists(output_, unknown), output_,
                ": exists; --overwrite replaces it");
    demand_folder(output_);
    const PictureList pairs = paired_folder(low_, high_);
    ProgressLine progress(progress_style(progress_));
    int64_t done = 0;
    const int64_t bytes = save_picture_pack(output_, pairs, height, width, [&](const std::string& name) {
      progress.show(++done, static_cast<int64_t>(pairs.size()), name);
    });
    print_result(
        printable(cat(output_, ": ", pairs.size(), " pairs of ", width, "x", height, ", ", bytes, " bytes")));
    return ExitCode::ok;
  }

 private:
  std::string low_, high_, output_;
  std::string size_ = "256x256";
  bool overwrite_ = false;
  std::string progress_ = "bar";
};

}  // namespace

std::unique_ptr<Command> make_pack(CLI::App& app) { return std::make_unique<Pack>(app); }

}  // namespace lux
