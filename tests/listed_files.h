// What tests of listings share: trees of empty files, and the names that a list holds.
#pragma once

#include <doctest/doctest.h>

#include <filesystem>

#include "luxgrad/data/dataset.h"
#include "luxgrad/data/file.h"
#include "temporary_folder.h"

namespace fs = std::filesystem;

/// Makes empty files, for functions that only look at names.
inline void touch(const fs::path& folder, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    fs::create_directories((folder / name).parent_path());
    REQUIRE(lux::write_file_atomically(folder / name, {}));
  }
}

inline std::vector<std::string> names_of(const lux::PictureList& pictures) {
  std::vector<std::string> names;
  for (const auto& paths : pictures) names.push_back(paths.name);
  return names;
}

using Names = std::vector<std::string>;
