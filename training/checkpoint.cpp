#include "luxgrad/training/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "luxgrad/data/file.h"
#include "luxgrad/data/safetensors.h"
#include "luxgrad/data/sha256.h"

namespace lux {
namespace {

constexpr std::string_view kSchema = "1", kOptimizer = "optimizer/", kModel = "model", kConfig = "config.",
                           kProgress = "progress.", kStem = "step_", kEnding = ".safetensors";

// The counters by name; one list for both directions.
template <class P, class F>
void each_counter(P& progress, const F& f) {
  f("step", progress.step);
  f("epoch", progress.epoch);
  f("batch", progress.batch);
  f("skipped", progress.skipped);
  f("epoch_loss", progress.epoch_loss);
  f("epoch_steps", progress.epoch_steps);
  f("best", progress.best);
  f("jsonl_bytes", progress.jsonl_bytes);
  f("csv_bytes", progress.csv_bytes);
}

// The shortest text that reads back as the same value.
template <class T>
std::string exact_text(T value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

std::string digest_of(TensorFile content) {
  content.metadata.erase("sha256");
  return sha256(serialize_safetensors(content));
}

TensorFile to_file(const Checkpoint& checkpoint) {
  TensorFile file{checkpoint.weights, checkpoint.model};
  for (const auto& [name, tensor] : checkpoint.optimizer) file.tensors[cat(kOptimizer, name)] = tensor;
  for (const auto& [key, value] : checkpoint.config) file.metadata[cat(kConfig, key)] = value;
  each_counter(checkpoint.progress, [&](const char* name, auto value) {
    file.metadata[cat(kProgress, name)] = exact_text(value);
  });
  file.metadata["schema"] = kSchema;
  file.metadata["sha256"] = digest_of(file);
  return file;
}

// Verifies the content and takes it apart; leaves through `refuse`.
Checkpoint from_file(const TensorFile& file) {
  const auto fact = [&](const std::string& key) {
    const auto found = file.metadata.find(key);
    if (found == file.metadata.end()) {
      refuse(FileErrorCode::malformed, -1, "it is no checkpoint: its metadata have no ", key);
    }
    return found->second;
  };
  if (const std::string schema = fact("schema"); schema != kSchema) {
    refuse(FileErrorCode::unsupported, -1, "it is a checkpoint of schema ", schema, ", this program reads ",
           kSchema);
  }
  if (fact("sha256") != digest_of(file)) {
    refuse(FileErrorCode::malformed, -1, "its content is not what was written (checksum)");
  }
  Checkpoint checkpoint;
  for (const auto& [name, tensor] : file.tensors) {
    if (name.starts_with(kOptimizer)) {
      checkpoint.optimizer[name.substr(kOptimizer.size())] = tensor;
    } else {
      checkpoint.weights[name] = tensor;
    }
  }
  for (const auto& [key, value] : file.metadata) {
    if (key.starts_with(kModel)) checkpoint.model[key] = value;
    if (key.starts_with(kConfig)) checkpoint.config[key.substr(kConfig.size())] = value;
  }
  each_counter(checkpoint.progress, [&](const char* name, auto& value) {
    const std::string text = fact(cat(kProgress, name));
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) {
      refuse(FileErrorCode::malformed, -1, "its counter ", name, " is '", text, "'");
    }
  });
  return checkpoint;
}

// The step in a checkpoint's file name, or -1.
int64_t step_of(std::string_view name) {
  if (!name.starts_with(kStem) || !name.ends_with(kEnding)) return -1;
  name.remove_prefix(kStem.size());
  name.remove_suffix(kEnding.size());
  int64_t step = -1;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), step);
  return error == std::errc() && end == name.data() + name.size() ? step : -1;
}

}  // namespace

std::string checkpoint_name(int64_t step) {
  const std::string digits = std::to_string(step);
  return cat(kStem, std::string(8 - std::min<size_t>(8, digits.size()), '0'), digits, kEnding);
}

void save_checkpoint(const std::string& path, const Checkpoint& checkpoint) {
  save_safetensors(path, to_file(checkpoint));
}

Result<Checkpoint> read_checkpoint(const std::string& path) {
  return attempt([&] {
           const auto bytes = read_file(path);
           return from_file(parse_safetensors(bytes.value()).value());
         })
      .in_file(path);
}

std::optional<FoundCheckpoint> latest_checkpoint(const std::string& folder, std::vector<FileError>& damaged) {
  std::vector<std::pair<int64_t, std::string>> candidates;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename();
    if (const int64_t step = step_of(name); step >= 0) candidates.emplace_back(step, entry.path());
  }
  std::sort(candidates.rbegin(), candidates.rend());
  for (const auto& [step, path] : candidates) {
    auto checkpoint = read_checkpoint(path);
    if (checkpoint) return FoundCheckpoint{path, std::move(checkpoint).value()};
    damaged.push_back(checkpoint.error());
  }
  return std::nullopt;
}

Weights load_weights(const std::string& path) {
  TensorFile file = load_safetensors(path);
  if (file.metadata.contains("schema")) {
    Checkpoint checkpoint = read_checkpoint(path).value();
    return {std::move(checkpoint.weights), std::move(checkpoint.model)};
  }
  return {std::move(file.tensors), std::move(file.metadata)};
}

}  // namespace lux
