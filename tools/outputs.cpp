#include "luxgrad/tools/outputs.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <set>
#include <utility>

#include "luxgrad/tools/exit_code.h"

namespace fs = std::filesystem;

namespace lux {
namespace {

using FileId = std::pair<dev_t, ino_t>;

std::optional<FileId> id_of(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return {};
  return FileId{status.st_dev, status.st_ino};
}

/// One name for a place that has several. A link in it would be replaced, so it is a place of its own.
std::string place_of(const fs::path& path) {
  std::error_code ignored;
  return fs::weakly_canonical(fs::absolute(path).parent_path(), ignored) / path.filename();
}

}  // namespace

bool exists(const std::string& path) {
  struct stat status {};
  return lstat(path.c_str(), &status) == 0;
}

struct Outputs::Files {
  std::set<FileId> inputs;
  std::set<std::string> taken;
};

Outputs::Outputs(bool overwrite) : overwrite_(overwrite), files_(std::make_unique<Files>()) {}
Outputs::~Outputs() = default;

void Outputs::add_input(const std::string& path) {
  if (const auto id = id_of(path)) files_->inputs.insert(*id);
}

Outputs::Claim Outputs::claim(const std::string& path) {
  if (const auto id = id_of(path); id && files_->inputs.contains(*id)) return Claim::is_input;
  if (!files_->taken.insert(place_of(path)).second) return Claim::taken;
  return exists(path) && !overwrite_ ? Claim::exists : Claim::granted;
}

void Outputs::demand(const std::string& path) {
  if (const Claim answer = claim(path); answer != Claim::granted)
    usage_error(path, ": ", answer == Claim::exists ? "exists; --overwrite replaces it" : reason(answer));
  demand_folder(path);
}

const char* Outputs::reason(Claim refused) {
  switch (refused) {
    case Claim::is_input:
      return "is an input, and inputs are never overwritten";
    case Claim::taken:
      return "is already the output of another input";
    case Claim::exists:
      return "exists; --overwrite replaces it, --skip-existing leaves it";
    case Claim::granted:
      break;
  }
  return "";
}

void demand_folder(const std::string& path) {
  const std::string folder = fs::absolute(path).parent_path();
  struct stat status {};
  int reason = stat(folder.c_str(), &status) == 0 ? 0 : errno;
  if (reason == 0 && !S_ISDIR(status.st_mode)) reason = ENOTDIR;
  if (reason != 0)
    throw CommandError(ExitCode::exhausted, cat(path, ": cannot be created: ", std::strerror(reason)));
}

}  // namespace lux
