#include "luxgrad/kernels/cuda/shared_library.h"

#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

namespace fs = std::filesystem;

namespace lux::cuda {
namespace {

std::string environment(const std::string& variable) {
  const char* const value = variable.empty() ? nullptr : std::getenv(variable.c_str());
  return value == nullptr ? std::string() : value;
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

/// Folders in `path` whose names begin with `prefix`, sorted; none where there is no such folder.
std::vector<fs::path> folders_in(const fs::path& path, const std::string& prefix = "") {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->path().filename().string().starts_with(prefix) && is_folder(entry->path()))
      found.push_back(entry->path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

/// nvidia/cudnn/lib, nvidia/cu13/lib, … of one site-packages.
void add_wheels(const fs::path& packages, std::vector<std::string>& folders) {
  for (const fs::path& package : folders_in(packages / "nvidia")) {
    if (is_folder(package / "lib")) folders.push_back(package / "lib");
  }
}

/// Of a library that is at .../site-packages/nvidia/cudnn/lib, or anywhere else.
std::vector<std::string> folders_beside(const fs::path& library) {
  if (!library.has_parent_path()) return {};
  const fs::path folder = library.parent_path(), packages = folder.parent_path().parent_path();
  std::vector<std::string> folders{folder};
  if (packages.filename() == "nvidia") add_wheels(packages.parent_path(), folders);
  return folders;
}

std::string path_of(void* handle, const std::string& otherwise) {
  link_map* map = nullptr;
  if (dlinfo(handle, RTLD_DI_LINKMAP, static_cast<void*>(&map)) != 0 || map == nullptr ||
      map->l_name[0] == '\0')
    return otherwise;
  return map->l_name;
}

/// Opens one file after the other, and remembers why one that exists does not open.
struct Attempts {
  void* handle = nullptr;
  std::string path, refusal;

  bool open(const std::string& file) {
    handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle != nullptr) {
      path = path_of(handle, file);
      return true;
    }
    const char* const said = dlerror();
    std::error_code ignored;
    const bool there = file.find('/') != std::string::npos && fs::exists(file, ignored);
    if (there && refusal.empty()) refusal = said == nullptr ? file : said;
    return false;
  }
  bool open_any(const std::string& folder, const std::vector<std::string>& files) {
    return std::any_of(files.begin(), files.end(),
                       [&](const std::string& file) { return open(folder + file); });
  }
};

}  // namespace

std::vector<std::string> library_folders() {
  std::vector<std::string> folders;
  for (const std::string& toolkit :
       {environment("CUDA_PATH"), environment("CUDA_HOME"), std::string("/usr/local/cuda")}) {
    if (toolkit.empty()) continue;
    for (const char* below : {"lib64", "lib"}) {
      if (is_folder(fs::path(toolkit) / below)) folders.push_back(fs::path(toolkit) / below);
    }
  }
  for (const char* variable : {"LUX_PYTHON", "VIRTUAL_ENV", "CONDA_PREFIX"}) {
    const std::string root = environment(variable);
    if (root.empty()) continue;
    add_wheels(root, folders);
    if (is_folder(fs::path(root) / "lib")) folders.push_back(fs::path(root) / "lib");  // conda's
    for (const fs::path& python : folders_in(fs::path(root) / "lib", "python"))
      add_wheels(python / "site-packages", folders);
  }
  return folders;
}

SharedLibrary SharedLibrary::open(const LibraryName& name) {
  Attempts attempts;
  if (const std::string named = environment(name.variable); !named.empty()) {
    if (is_folder(named) ? attempts.open_any(named + "/", name.files) : attempts.open(named))
      return {name.title, attempts.path, attempts.handle};
    throw DeviceUnavailable(cat(name.title, ": expected ", name.files[0], " where ", name.variable,
                                " says, got ", named, attempts.refusal.empty() ? "" : ": ",
                                attempts.refusal));
  }
  for (const std::string& folder : folders_beside(name.companion)) {
    if (attempts.open_any(folder + "/", name.files)) return {name.title, attempts.path, attempts.handle};
  }
  if (attempts.open_any("", name.files)) return {name.title, attempts.path, attempts.handle};
  for (const std::string& folder : library_folders()) {
    if (attempts.open_any(folder + "/", name.files)) return {name.title, attempts.path, attempts.handle};
  }
  throw DeviceUnavailable(
      cat(name.title, ": expected ", name.files[0],
          " where the loader looks, in a CUDA toolkit (CUDA_PATH), in a Python environment (LUX_PYTHON)",
          name.variable.empty() ? "" : " or where ", name.variable, name.variable.empty() ? "" : " says",
          ", found none", attempts.refusal.empty() ? "" : ": ", attempts.refusal));
}

void* SharedLibrary::symbol(const char* name) const {
  void* const found = dlsym(handle_, name);
  if (found == nullptr)
    throw DeviceUnavailable(cat(title_, ": expected ", name, " in ", path_, ", found none"));
  return found;
}

}  // namespace lux::cuda
