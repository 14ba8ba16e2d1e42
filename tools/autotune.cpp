#include "luxgrad/tools/autotune.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "luxgrad/data/file.h"
#include "luxgrad/data/folder.h"
#include "luxgrad/kernels/cuda/vendor.h"
#include "luxgrad/tools/console.h"

namespace lux {
namespace {

constexpr int64_t kMostBytes = 1 << 20;

/// The book of a file, an empty one where there is no file. Throws Error for what is no book.
cuda::PlanBook read_plans(const std::string& path) {
  if (path.empty() || access(path.c_str(), F_OK) != 0) return {};
  const std::vector<uint8_t> bytes = read_file(path, kMostBytes).value();
  return cuda::PlanBook::read({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

}  // namespace

std::string plans_path() {
  const auto is_set = [](const char* value) { return value != nullptr && *value != '\0'; };
  const char* const cache = std::getenv("XDG_CACHE_HOME");
  if (is_set(cache)) return std::filesystem::path(cache) / "luxgrad/plans";
  const char* const home = std::getenv("HOME");
  return is_set(home) ? (std::filesystem::path(home) / ".cache/luxgrad/plans").string() : std::string();
}

Autotuning::Autotuning(const RunsOn& where)
    : tunes_(where.autotune && cuda::vendor_libraries_started()), path_(plans_path()) {
  if (!tunes_) return;
  try {
    cuda::set_convolution_plans(read_plans(path_));
  } catch (const std::exception& error) {
    print_note(cat("--autotune: begins anew, for ", path_, " cannot be used: ", error.what()));
  }
  known_ = cuda::convolution_plans().text();
  cuda::ConvolutionSettings settings = cuda::convolution_settings();
  settings.autotune = true;
  cuda::set_convolution_settings(settings);
}

Autotuning::~Autotuning() {
  if (!tunes_ || !cuda::vendor_libraries_started()) return;
  try {
    keep();
  } catch (const std::exception& error) {
    print_note(cat("--autotune: what was found is not kept: ", error.what()));
  }
}

void Autotuning::keep() const {
  cuda::ConvolutionSettings settings = cuda::convolution_settings();
  settings.autotune = false;
  cuda::set_convolution_settings(settings);
  const cuda::PlanBook found = cuda::convolution_plans();
  if (found.text() == known_) return;
  check(!path_.empty(), "neither XDG_CACHE_HOME nor HOME is set");
  (void)make_folders(std::filesystem::path(path_).parent_path()).value();
  cuda::PlanBook all;
  try {
    all = read_plans(path_);         // again: another process may have added to it
  } catch (const std::exception&) {  // replaced
  }
  all.add(found);
  (void)write_file_atomically(path_, bytes_of(all.text())).value();
}

}  // namespace lux
