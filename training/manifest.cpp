#include "luxgrad/training/manifest.h"

#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "luxgrad/tensor/text.h"

namespace lux {
namespace {

std::string quoted(const std::string& text) { return nlohmann::json(printable(text)).dump(); }

/// Hashes by name; lines that are none of a manifest are passed over.
std::map<std::string, std::string> hashes_in(const std::string& manifest) {
  std::map<std::string, std::string> hashes;
  std::istringstream lines(manifest);
  for (std::string line; std::getline(lines, line);) {
    const nlohmann::json entry = nlohmann::json::parse(line, nullptr, false);
    const auto is_text = [&entry](const char* key) { return entry.contains(key) && entry[key].is_string(); };
    if (entry.is_object() && is_text("file") && is_text("sha256")) hashes[entry["file"]] = entry["sha256"];
  }
  return hashes;
}

}  // namespace

std::string manifest_of(const std::vector<ScannedFile>& files) {
  std::string text;
  for (const ScannedFile& file : files) {
    text += cat("{\"file\":", quoted(file.name), ",\"bytes\":", file.bytes, ",\"width\":", file.width,
                ",\"height\":", file.height, ",\"sha256\":\"", file.sha256, "\"}\n");
  }
  return text;
}

std::string changes_between(const std::string& before, const std::string& now) {
  constexpr size_t kShown = 5;
  const auto old_hashes = hashes_in(before), new_hashes = hashes_in(now);
  std::vector<std::string> changes;
  for (const auto& [name, hash] : old_hashes) {
    const auto found = new_hashes.find(name);
    if (found == new_hashes.end()) changes.push_back(name + " is gone");
    if (found != new_hashes.end() && found->second != hash) changes.push_back(name + " has other content");
  }
  for (const auto& [name, hash] : new_hashes)
    if (!old_hashes.contains(name)) changes.push_back(name + " is new");
  std::string text;
  for (size_t i = 0; i < std::min(kShown, changes.size()); ++i) text += (i == 0 ? "" : ", ") + changes[i];
  return changes.size() <= kShown ? text : cat(text, ", and ", changes.size() - kShown, " more");
}

}  // namespace lux
