// A batch: which pictures a command line means, where each result goes, and what must not be written. Planned
// as a whole before the first picture is read.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "luxgrad/data/image.h"
#include "luxgrad/tools/exit_code.h"
#include "luxgrad/tools/outputs.h"

namespace lux {

struct BatchOptions {
  std::vector<std::string> inputs;    ///< files, folders, globs, "-"
  std::string output;                 ///< a file, "-", or a folder
  std::string name = "{name}.{ext}";  ///< of files in the output folder
  std::string curves{};               ///< folder for the curve parameters; empty: none
  std::string page{};                 ///< an HTML page to compare before and after; empty: none
  std::optional<ImageFormat> format;  ///< none: that of the input, PNG where it cannot be written
  bool recursive = false;
  bool skip_existing = false;
  bool overwrite = false;
  int64_t shard = 1, shards = 1;  ///< of all jobs only the first, or the second, … of every `shards`
};

struct Job {
  std::string input;
  std::string output;
  std::string curves{};              ///< how files of its curve parameters begin; empty: none
  bool skip = false;                 ///< the output exists, and may stay if it is whole
  std::set<std::string> kept{};      ///< files beside the output that exist and stay
  std::optional<Failure> refused{};  ///< why nothing will be done
};

/// The jobs in the order of the inputs; folders and globs sorted by name. Pictures become inputs of
/// `outputs`, and what the jobs write is claimed there. Throws CommandError when the command line as a whole
/// makes no sense.
std::vector<Job> plan_batch(const BatchOptions& options, Outputs& outputs);

/// The files of curve parameters whose names begin with `stem`: the arrays, then a picture for every
/// iteration of the curve that may have parameters of its own.
std::vector<std::string> curve_files(const std::string& stem);

/// Sets shard and shards from `3/8`. Throws CommandError for anything else.
void set_shard(BatchOptions& options, const std::string& text);

/// The format with the extension `name`. Throws CommandError for others.
ImageFormat format_named(const std::string& name);

/// The format in which `job` is written.
ImageFormat format_of(const Job& job, const BatchOptions& options);

}  // namespace lux
