#include "luxgrad/training/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <limits>
#include <numeric>

#include "luxgrad/data/file.h"
#include "luxgrad/data/folder.h"
#include "luxgrad/data/sha256.h"
#include "luxgrad/data/tensor_file.h"

namespace lux {
namespace {

constexpr std::string_view kSchema = "3", kOptimizer = "optimizer/", kModel = "model", kConfig = "config.",
                           kProgress = "progress.", kDigest = "sha256", kPlans = "convolution_plans",
                           kStem = "step_", kEnding = ".safetensors";

// The counters by name, each with the least and the largest that a run reaches; one list for both directions.
template <class P, class F>
void each_counter(P& progress, const F& f) {
  constexpr int64_t kMost = int64_t{1} << 53;  // one more, or as many bytes, are no overflow
  constexpr double kFinite = std::numeric_limits<double>::max(),
                   kInfinite = std::numeric_limits<double>::infinity();
  f("step", progress.step, 0, kMost);
  f("epoch", progress.epoch, 0, kMost);
  f("batch", progress.batch, 0, kMost);
  f("epoch_over", progress.epoch_over, 0, 1);
  f("skipped", progress.skipped, 0, kMost);
  f("first_loss", progress.first_loss, -kFinite, kInfinite);
  f("epoch_loss", progress.epoch_loss, -kFinite, kFinite);
  f("epoch_steps", progress.epoch_steps, 0, kMost);
  f("best", progress.best, -kInfinite, kInfinite);  // a PSNR is infinite where pictures are the same
  f("rate", progress.rate, 0, 1);
  f("plateau_best", progress.plateau_best, -kInfinite, kInfinite);
  f("plateau_waited", progress.plateau_waited, 0, kMost);
  f("jsonl_bytes", progress.jsonl_bytes, 0, kMost);
  f("csv_bytes", progress.csv_bytes, 0, kMost);
}

std::string digest_of(TensorFile content) {
  content.metadata.erase(std::string(kDigest));
  Sha256 sum;
  serialize_safetensors(content, [&](std::span<const uint8_t> piece) { sum.add(piece); });
  return sum.digest();
}

// The content with its digest.
TensorFile sealed(TensorFile content) {
  content.metadata[std::string(kDigest)] = digest_of(content);
  return content;
}

// Whether content has a digest. Refuses what is not as it says, and a digest under a name with one wrong
// letter: a single damaged bit must not make a file with a checksum one without.
bool check_seal(const TensorFile& content) {
  const auto found = content.metadata.find(std::string(kDigest));
  const bool sealed = found != content.metadata.end();
  const auto almost = [](const auto& fact) {
    const std::string& key = fact.first;
    return key.size() == kDigest.size() && std::inner_product(key.begin(), key.end(), kDigest.begin(), 0,
                                                              std::plus<>(), std::not_equal_to<>()) == 1;
  };
  const bool renamed = !sealed && std::any_of(content.metadata.begin(), content.metadata.end(), almost);
  if (renamed || (sealed && found->second != digest_of(content)))
    refuse(FileErrorCode::malformed, -1, "its content is not what was written (checksum)");
  return sealed;
}

TensorFile to_file(const Checkpoint& checkpoint) {
  TensorFile file{checkpoint.weights, checkpoint.model};
  for (const auto& [name, tensor] : checkpoint.optimizer) file.tensors[cat(kOptimizer, name)] = tensor;
  for (const auto& [key, value] : checkpoint.config) file.metadata[cat(kConfig, key)] = value;
  each_counter(checkpoint.progress, [&](const char* name, auto value, auto, auto) {
    if constexpr (std::is_integral_v<decltype(value)>)
      file.metadata[cat(kProgress, name)] = std::to_string(value);
    else
      file.metadata[cat(kProgress, name)] = exact_text(value);
  });
  if (!checkpoint.convolution_plans.empty())
    file.metadata[std::string(kPlans)] = checkpoint.convolution_plans;
  file.metadata["schema"] = kSchema;
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
    refuse(FileErrorCode::unsupported, -1, "it is a checkpoint of schema ", in_quotes(schema),
           ", this program reads ", kSchema);
  }
  (void)fact(std::string(kDigest));
  check_seal(file);
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
    if (key == kPlans) checkpoint.convolution_plans = value;
    if (key.starts_with(kConfig)) checkpoint.config[key.substr(kConfig.size())] = value;
  }
  each_counter(checkpoint.progress, [&](const char* name, auto& value, auto least, auto most) {
    const std::string text = fact(cat(kProgress, name));
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool number = error == std::errc() && end == text.data() + text.size();
    if (!number || !(value >= least && value <= most)) {  // a NaN is neither
      refuse(FileErrorCode::malformed, -1, "its counter ", name, " is ", in_quotes(text));
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

bool is_checkpoint_name(std::string_view name) { return step_of(name) >= 0; }

std::vector<uint8_t> serialize_checkpoint(const Checkpoint& checkpoint) {
  return serialize_safetensors(sealed(to_file(checkpoint)));
}

void save_checkpoint(const std::string& path, const Checkpoint& checkpoint) {
  save_safetensors(path, sealed(to_file(checkpoint)));
}

Result<Checkpoint> parse_checkpoint(std::span<const uint8_t> bytes) {
  return attempt([&] { return from_file(parse_safetensors(bytes).value()); });
}

Result<Checkpoint> read_checkpoint(const std::string& path) {
  return attempt([&] {
           Checkpoint checkpoint = parse_checkpoint(read_file(path).value()).value();
           const int64_t named = step_of(path.substr(path.rfind('/') + 1)), step = checkpoint.progress.step;
           if (named >= 0 && named != step)
             refuse(FileErrorCode::mismatch, -1, "its name says step ", named, ", it holds step ", step);
           return checkpoint;
         })
      .in_file(path);
}

std::vector<std::string> checkpoint_paths(const std::string& folder) {
  std::vector<std::pair<int64_t, std::string>> found;
  for (const std::string& name : list_folder(folder).value()) {
    if (const int64_t step = step_of(name); step >= 0) found.emplace_back(step, cat(folder, "/", name));
  }
  std::sort(found.rbegin(), found.rend());
  std::vector<std::string> paths;
  paths.reserve(found.size());
  for (auto& [step, path] : found) paths.push_back(std::move(path));
  return paths;
}

std::optional<FoundCheckpoint> latest_checkpoint(const std::string& folder, std::vector<FileError>& damaged) {
  for (const std::string& path : checkpoint_paths(folder)) {
    auto checkpoint = read_checkpoint(path);
    if (checkpoint) return FoundCheckpoint{path, std::move(checkpoint).value()};
    damaged.push_back(checkpoint.error());
  }
  return std::nullopt;
}

void save_weights(const std::string& path, const State& state, const Facts& metadata) {
  save_safetensors(path, sealed({state, metadata}));
}

Weights load_weights(const std::string& path) {
  TensorFile file = load_tensor_file(path);
  return attempt([&] {
           if (file.metadata.contains("schema")) {
             Checkpoint checkpoint = from_file(file);
             return Weights{std::move(checkpoint.weights), std::move(checkpoint.model), true};
           }
           const bool sealed = check_seal(file);
           return Weights{std::move(file.tensors), std::move(file.metadata), sealed};
         })
      .in_file(path)
      .value();
}

}  // namespace lux
