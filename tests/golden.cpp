#include "golden.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "gpu.h"
#include "luxgrad/data/file.h"
#include "luxgrad/tensor/random.h"

namespace lux {
namespace {

namespace fs = std::filesystem;

Golden read_golden(const fs::path& path) {
  Golden golden{path.stem(), load_safetensors(path), nlohmann::json::object(), "", 1};
  const auto& metadata = golden.file.metadata;
  if (metadata.contains("config")) golden.config = nlohmann::json::parse(metadata.at("config"));
  if (metadata.contains("salt")) golden.salt = metadata.at("salt");
  if (metadata.contains("gain")) golden.gain = std::stod(metadata.at("gain"));
  return golden;
}

std::optional<fs::path> find_golden(const std::string& name) {
  const std::string folder = golden_folder();
  if (folder.empty() || !fs::exists(fs::path(folder) / name)) {
    MESSAGE("skipped: ", name, " is not in ", folder.empty() ? "any golden folder" : folder);
    return std::nullopt;
  }
  return fs::path(folder) / name;
}

uint64_t mixed(uint64_t z) {
  z += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

/// A parameter's values are centre + spread·(2u - 1).
struct Range {
  double centre, spread;
};
Range range_of(const std::string& name, const Shape& shape, double gain) {
  if (shape.rank() >= 2) return {0, gain * std::sqrt(6.0 / static_cast<double>(shape.numel() / shape[0]))};
  if (name.ends_with(".running_var")) return {1, 0.2};
  if (!name.ends_with(".weight")) return {0, 0.1};
  return shape.numel() == 1 ? Range{0.25, 0.05} : Range{1, 0.2};
}

/// The position of flat index `i`, as `[0, 3, 1]`.
std::string position_of(const Shape& shape, int64_t i) {
  std::string text;
  for (int d = shape.rank() - 1; d >= 0; i /= shape[d--])
    text = cat(i % shape[d], text.empty() ? "" : ", ", text);
  return cat("[", text, "]");
}

}  // namespace

std::string golden_folder() {
  if (const char* chosen = std::getenv("LUX_GOLDEN")) {
    check(fs::is_directory(chosen), "LUX_GOLDEN: expected a folder, got ", chosen);
    return chosen;
  }
  for (const char* folder : {LUX_SOURCE_DIR "/../shared/golden", LUX_SOURCE_DIR "/tests/golden"}) {
    if (fs::is_directory(folder)) return folder;
  }
  return "";
}

Device golden_device() {
  const char* const name = std::getenv("LUX_GOLDEN_DEVICE");
  if (name == nullptr || std::string_view(name) == "cpu") return kCpu;
  check(std::string_view(name) == "cuda:0", "LUX_GOLDEN_DEVICE: expected cpu or cuda:0, got ", name);
  const std::string absence = absence_of_gpu();
  check(absence.empty(), "LUX_GOLDEN_DEVICE: ", absence);
  return kGpu;
}

std::optional<nlohmann::json> golden_json(const std::string& name) {
  const auto path = find_golden(name);
  if (!path) return std::nullopt;
  return nlohmann::json::parse(read_file(*path).value());
}

const std::string& Golden::metadata(const std::string& key) const {
  const auto found = file.metadata.find(key);
  check(found != file.metadata.end(), name, ": the metadata have no ", key);
  return found->second;
}

const Tensor& Golden::at(const std::string& tensor) const {
  const auto found = file.tensors.find(tensor);
  check(found != file.tensors.end(), name, ": there is no tensor ", tensor);
  return found->second;
}

std::vector<std::string> Golden::after(const std::string& prefix) const {
  std::vector<std::string> names;
  for (const auto& [tensor, unused] : file.tensors) {
    if (tensor.starts_with(prefix)) names.push_back(tensor.substr(prefix.size()));
  }
  return names;
}

std::string Golden::name_in_file(const std::string& parameter) const {
  const auto renamed = config.find("names_in_file");
  if (renamed == config.end()) return parameter;
  for (const auto& [ours, theirs] : renamed->items()) {
    if (parameter == ours || parameter.starts_with(ours + ".")) {
      return theirs.get<std::string>() + parameter.substr(ours.size());
    }
  }
  return parameter;
}

Tensor Golden::parameter(const std::string& parameter, const Shape& shape) const {
  return formula_parameter(name_in_file(parameter), shape, salt, gain);
}

std::optional<Golden> load_golden(const std::string& name) {
  const auto path = find_golden(name + ".safetensors");
  if (!path) return std::nullopt;
  return read_golden(*path);
}

std::vector<Golden> goldens_of_model(const std::string& model) {
  std::vector<fs::path> paths;
  const std::string folder = golden_folder();
  if (!folder.empty()) {
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.path().extension() == ".safetensors") paths.push_back(entry.path());
    }
  }
  std::sort(paths.begin(), paths.end());
  std::vector<Golden> goldens;
  for (const auto& path : paths) {
    Golden golden = read_golden(path);
    if (golden.metadata("model") == model) goldens.push_back(std::move(golden));
  }
  if (goldens.empty()) {
    MESSAGE("skipped: no file for ", model, " is in ", folder.empty() ? "any golden folder" : folder);
  }
  return goldens;
}

Tensor formula_parameter(const std::string& name, const Shape& shape, const std::string& salt, double gain) {
  Tensor tensor = empty(shape);
  auto* const values = tensor.data<float>();
  const auto [centre, spread] = range_of(name, shape, gain);
  const uint64_t hash = fnv1a(salt + name);
  for (int64_t i = 0; i < shape.numel(); ++i) {
    const double u = static_cast<double>(mixed(hash + static_cast<uint64_t>(i)) >> 40) * 0x1p-24;
    values[i] = static_cast<float>(centre + spread * (2 * u - 1));
  }
  return tensor;
}

std::string difference(const std::string& what, const Tensor& actual, const Tensor& reference,
                       double relative, double absolute) {
  if (actual.shape() != reference.shape()) {
    return cat(what, ": expected shape ", reference.shape(), ", got ", actual.shape());
  }
  const auto a = actual.to_vector(), r = reference.to_vector();
  double largest = 0, worst = -1;
  size_t worst_at = 0;
  for (size_t i = 0; i < r.size(); ++i) {
    largest = std::max(largest, std::abs(r[i]));
    const double delta = std::isfinite(a[i]) && std::isfinite(r[i]) ? std::abs(a[i] - r[i]) : HUGE_VAL;
    if (delta > worst) {
      worst = delta;
      worst_at = i;
    }
  }
  if (r.empty() || worst <= relative * largest + absolute) return "";
  char numbers[160];
  std::snprintf(numbers, sizeof numbers, "expected %.17g, got %.17g: off by %.2e, allowed %.2e of max %.3g",
                r[worst_at], a[worst_at], worst, relative * largest + absolute, largest);
  return cat(what, " at ", position_of(reference.shape(), static_cast<int64_t>(worst_at)), ": ", numbers);
}

std::string difference(const std::string& what, double actual, double reference, double relative,
                       double absolute) {
  const TensorOptions f64{DType::f64, kCpu};
  return difference(what, from_vector({actual}, {}, f64), from_vector({reference}, {}, f64), relative,
                    absolute);
}

double deviation(const Tensor& actual, const Tensor& reference) {
  const auto a = actual.to_vector(), r = reference.to_vector();
  double largest = 0, worst = 0;
  for (size_t i = 0; i < std::min(a.size(), r.size()); ++i) {
    largest = std::max(largest, std::abs(r[i]));
    worst = std::max(worst, std::abs(a[i] - r[i]));
  }
  return largest > 0 ? worst / largest : 0;
}

Tensor golden_sample(const Tensor& tensor) {
  const auto values = tensor.to_vector();
  std::vector<double> sample;
  for (int64_t k = 0; k < 8; ++k) sample.push_back(values[static_cast<size_t>(k * (tensor.numel() - 1) / 7)]);
  return from_vector(sample, {8}, {DType::f64, kCpu});
}

}  // namespace lux
