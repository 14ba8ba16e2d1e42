#include "luxgrad/tools/batch.h"

#include <glob.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "luxgrad/data/dataset.h"
#include "luxgrad/models/curve_model.h"

namespace fs = std::filesystem;

namespace lux {
namespace {

bool is_folder(const std::string& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

/// Whether symbolic links lead from a place in the output folder out of it.
bool leaves(const std::string& path, const std::string& folder) {
  std::error_code ignored;  // a place that cannot be found is empty, and outside
  const fs::path root = fs::weakly_canonical(fs::absolute(fs::path(folder) / "x"), ignored).parent_path();
  const fs::path place = fs::weakly_canonical(fs::absolute(path).parent_path(), ignored);
  const fs::path way = place.lexically_relative(root);
  return way.empty() || *way.begin() == "..";
}

/// A picture that was found: its path, and the part of it that the output folder repeats.
struct Found {
  std::string path;
  std::string relative;
  std::optional<Failure> refused{};
};

Found refusal(const std::string& path, const std::string& reason) {
  return {path, fs::path(path).filename(), Failure{ExitCode::refused, printable(cat(path, ": ", reason))}};
}

/// The pictures in a folder, by name, then the folders that cannot be listed; nothing below the folders of
/// outputs and curves, so that results are not taken for inputs.
std::vector<Found> in_folder(const std::string& folder, const BatchOptions& options) {
  std::error_code ignored;
  const fs::path root = fs::weakly_canonical(folder, ignored);
  const auto below = [&](const std::string& results) -> std::string {
    return fs::weakly_canonical(fs::absolute(results), ignored).lexically_relative(root) / "";
  };
  const std::string results = below(options.output);
  const std::string curves = below(options.curves.empty() ? options.output : options.curves);
  std::vector<Found> found;
  std::vector<FileError> faults;
  std::vector<std::string> paths;
  try {
    paths = list_images(folder, options.recursive, faults);
  } catch (const FileException& error) {
    faults.push_back(error.error());
  }
  for (const std::string& path : paths) {
    std::string relative = fs::path(path).lexically_relative(folder);
    if (!relative.starts_with(results) && !relative.starts_with(curves))
      found.push_back({path, std::move(relative)});
  }
  for (const FileError& fault : faults) found.push_back(refusal(fault.file, fault.reason));
  if (found.empty()) found.push_back(refusal(folder, "is a folder without pictures"));
  return found;
}

std::vector<Found> matching(const std::string& pattern) {
  std::vector<Found> found;
  glob_t matches{};
  if (glob(pattern.c_str(), 0, nullptr, &matches) == 0) {
    for (size_t i = 0; i < matches.gl_pathc; ++i) {
      const std::string path = matches.gl_pathv[i];
      if (!is_folder(path)) found.push_back({path, fs::path(path).filename()});
    }
  }
  globfree(&matches);
  if (found.empty()) found.push_back(refusal(pattern, "matches no file"));
  return found;
}

/// Everything the inputs mean. `many` is set where they are more than one file by form, not by count.
std::vector<Found> expand(const BatchOptions& options, bool& many) {
  std::vector<Found> all;
  many = options.inputs.size() > 1;
  for (const std::string& input : options.inputs) {
    std::vector<Found> found;
    if (input == "-") {
      found = {{input, "stdin.png"}};
    } else if (is_folder(input)) {
      many = true;
      found = in_folder(input, options);
    } else if (!exists(input) && input.find_first_of("*?[") != std::string::npos) {
      many = true;
      found = matching(input);
    } else {
      found = {{input, fs::path(input).filename()}};
    }
    all.insert(all.end(), found.begin(), found.end());
  }
  return all;
}

const char* extension_of(ImageFormat format) {
  switch (format) {
    case ImageFormat::jpeg:
      return "jpg";
    case ImageFormat::bmp:
      return "bmp";
    case ImageFormat::pnm:
      return "ppm";
    case ImageFormat::webp:
      return "webp";
    case ImageFormat::tiff:
      return "tif";
    case ImageFormat::avif:
      return "avif";
    case ImageFormat::jxl:
      return "jxl";
    case ImageFormat::png:
      break;
  }
  return "png";
}

/// `relative` under the output folder, named by the template.
std::string in_output_folder(const std::string& relative, const BatchOptions& options) {
  const fs::path path = relative;
  const std::optional<ImageFormat> own = image_format_of(path);
  std::string extension = path.extension();
  if (!own || (options.format && *options.format != *own)) {
    extension = cat(".", extension_of(options.format.value_or(ImageFormat::png)));
  } else if (*own == ImageFormat::pnm) {
    extension = ".ppm";  // what comes out has colours, whatever went in
  }
  std::string name;
  for (size_t i = 0; i < options.name.size();) {
    if (options.name.compare(i, 6, "{name}") == 0) {
      name += path.stem().string();
      i += 6;
    } else if (options.name.compare(i, 5, "{ext}") == 0) {
      name += extension.substr(1);
      i += 5;
    } else {
      name += options.name[i++];
    }
  }
  return fs::path(options.output) / path.parent_path() / name;
}

void check_options(const BatchOptions& options, bool many, bool folder) {
  check_usage(!options.inputs.empty(), "no input; name a picture with -i");
  check_usage(!options.output.empty(), "no output; name a file or folder with -o");
  check_usage(!(options.overwrite && options.skip_existing),
              "--overwrite and --skip-existing exclude each other");
  check_usage(options.name.find('/') == std::string::npos && options.name.find("{name}") != std::string::npos,
              "--output-template needs {name} and must not contain /");
  for (size_t at = 0; (at = options.name.find('{', at)) != std::string::npos; ++at) {
    check_usage(options.name.compare(at, 6, "{name}") == 0 || options.name.compare(at, 5, "{ext}") == 0,
                "--output-template: expected {name} and {ext}, got ", options.name);
  }
  check_usage(std::count(options.inputs.begin(), options.inputs.end(), "-") < 2, "- can be read only once");
  if (options.output == "-") {
    check_usage(!many, "-o - takes one picture");
    return;
  }
  check_usage(!many || folder || !exists(options.output), options.output,
              ": is a file; several pictures need a folder");
  check_usage(options.inputs.size() < 2 || folder || !image_format_of(options.output), options.output,
              ": is the name of a picture; several need a folder, ", options.output,
              "/ for one of this name");
  check_usage(folder || many || options.format || image_format_of(options.output), options.output,
              ": expected a name that ends in .png, .jpg, .bmp, .ppm, .webp, .tif, .avif or .jxl, or a "
              "format with -f");
}

/// Claims all that a job writes; what it must not write refuses it.
void claim_outputs(Job& job, const BatchOptions& options, bool in_folder, Outputs& outputs) {
  using Claim = Outputs::Claim;
  const auto refuse = [&](const std::string& path, const char* reason) {
    job.refused = Failure{ExitCode::usage, printable(cat(path, ": ", reason))};
  };
  constexpr const char* kOutside = "is outside of the output folder, behind a symbolic link";
  if (job.output != "-") {
    const Claim answer = outputs.claim(job.output);
    job.skip = answer == Claim::exists && options.skip_existing;
    if (answer != Claim::granted && !job.skip) return refuse(job.output, Outputs::reason(answer));
    if (in_folder && leaves(job.output, options.output)) return refuse(job.output, kOutside);
  }
  std::vector<std::string> beside;
  if (!job.curves.empty()) {
    if (leaves(job.curves, options.curves)) return refuse(job.curves, kOutside);
    beside = curve_files(job.curves);
  }
  if (!options.page.empty()) beside.push_back(options.page);
  for (const std::string& path : beside) {
    const Claim answer = outputs.claim(path);
    if (answer == Claim::exists && options.skip_existing)
      job.kept.insert(path);
    else if (answer != Claim::granted)
      return refuse(path, Outputs::reason(answer));
  }
  if (!in_folder && job.output != "-") demand_folder(job.output);
  if (!options.page.empty()) demand_folder(options.page);
}

}  // namespace

std::vector<Job> plan_batch(const BatchOptions& options, Outputs& outputs) {
  const bool folder = is_folder(options.output) || options.output.ends_with('/');
  bool many = false;
  const std::vector<Found> pictures = expand(options, many);
  check_options(options, many, folder);

  for (const Found& picture : pictures) outputs.add_input(picture.path);
  std::vector<Job> jobs;
  int64_t number = 0;
  for (const Found& picture : pictures) {
    Job job{.input = picture.path, .output = options.output, .refused = picture.refused};
    const bool in_folder = many || folder;
    if (in_folder) job.output = in_output_folder(picture.relative, options);
    if (!options.curves.empty()) {
      const fs::path named = job.output == "-" ? picture.relative : job.output;
      const fs::path below = in_folder ? fs::path(picture.relative).parent_path() : fs::path();
      job.curves =
          options.curves / below / named.filename();  // whole: a.png and a.jpg have curves of their own
    }
    if (!job.refused) claim_outputs(job, options, in_folder, outputs);
    // Planned as a whole, so that every part refuses the same.
    if (number++ % options.shards == options.shard - 1) jobs.push_back(std::move(job));
  }
  return jobs;
}

std::vector<std::string> curve_files(const std::string& stem) {
  std::vector<std::string> files = {stem + "_curves.npz"};
  for (int n = 1; n <= CurveModel::kIterations; ++n) files.push_back(cat(stem, "_curve_", n, ".png"));
  return files;
}

void set_shard(BatchOptions& options, const std::string& text) {
  const char* const end = text.data() + text.size();
  const auto [slash, error] = std::from_chars(text.data(), end, options.shard);
  bool sound = error == std::errc() && slash != end && *slash == '/';
  if (sound) {
    const auto last = std::from_chars(slash + 1, end, options.shards);
    sound = last.ec == std::errc() && last.ptr == end;
  }
  check_usage(sound && options.shard >= 1 && options.shard <= options.shards,
              "--shard: expected I/N with I from 1 to N, got ", text);
}

ImageFormat format_named(const std::string& name) {
  const std::optional<ImageFormat> format = image_format_of("x." + name);
  if (!format) usage_error("expected a format among png, jpg, bmp, pnm, webp, tif, avif and jxl, got ", name);
  return *format;
}

ImageFormat format_of(const Job& job, const BatchOptions& options) {
  if (options.format) return *options.format;
  return image_format_of(job.output == "-" ? job.input : job.output).value_or(ImageFormat::png);
}

}  // namespace lux
