// A batch: which pictures a command line means, where each result goes, and what must not be written. Planned
// as a whole before the first picture is read.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "luxgrad/data/image.h"
#include "luxgrad/tools/exit_code.h"

namespace lux {

struct BatchOptions {
  std::vector<std::string> inputs;    ///< files, folders, globs, "-"
  std::string output;                 ///< a file, "-", or a folder
  std::string name = "{name}.{ext}";  ///< of files in the output folder
  std::optional<ImageFormat> format;  ///< none: that of the input, PNG where it cannot be written
  bool recursive = false;
  bool skip_existing = false;
  bool overwrite = false;
};

struct Job {
  std::string input;
  std::string output;
  bool skip = false;                 ///< the output exists, and may stay
  std::optional<Failure> refused{};  ///< why nothing will be done
};

/// The jobs in the order of the inputs; folders and globs sorted by name. Throws CommandError when the
/// command line as a whole makes no sense.
std::vector<Job> plan_batch(const BatchOptions& options);

/// The format named png, jpg, jpeg, bmp, pnm or ppm. Throws CommandError for others.
ImageFormat format_named(const std::string& name);

/// The format in which `job` is written.
ImageFormat format_of(const Job& job, const BatchOptions& options);

}  // namespace lux
