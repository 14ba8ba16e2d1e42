// Golden files: outputs of the reference implementations in float64, and the formula that gives the same
// parameters here and there. Where the folder is absent, what a test skips is printed.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "luxgrad/data/safetensors.h"

namespace lux {

/// `$LUX_GOLDEN`, else `../shared/golden` beside the sources, else `tests/golden`; empty where none exists.
/// Throws Error when LUX_GOLDEN names no folder.
std::string golden_folder();

/// Where networks are proved: `$LUX_GOLDEN_DEVICE`, cpu or cuda:0, else the CPU. Throws Error for another
/// name, and where there is no such device.
Device golden_device();

/// A file of the folder that is JSON, such as optimisers.json. Nothing, and a message, where it is absent.
std::optional<nlohmann::json> golden_json(const std::string& name);

/// One golden safetensors file.
struct Golden {
  std::string name;  ///< file name without folder and ending
  TensorFile file;
  nlohmann::json config;  ///< metadata `config`, an empty object where absent
  std::string salt;
  double gain = 1;

  const std::string& metadata(const std::string& key) const;
  bool has(const std::string& tensor) const { return file.tensors.contains(tensor); }
  /// Throws Error naming file and tensor where there is none.
  const Tensor& at(const std::string& tensor) const;
  /// What follows `prefix` in the names that begin with it: `after("grad_norm.")` lists parameters.
  std::vector<std::string> after(const std::string& prefix) const;
  /// A parameter's name in luxgrad as this file spells it (`names_in_file`).
  std::string name_in_file(const std::string& parameter) const;
  /// The f32 values of a parameter by the formula, from its name in luxgrad.
  Tensor parameter(const std::string& parameter, const Shape& shape) const;
};

/// The file `<name>.safetensors`. Nothing, and a message, where it is absent.
std::optional<Golden> load_golden(const std::string& name);

/// All files of the folder whose metadata say `model`, sorted by name. None, and a message, where it is
/// absent.
std::vector<Golden> goldens_of_model(const std::string& model);

/// f32 values from salt + name: weights of rank 2 and more ±gain·√(6 / fan_in), biases and running means
/// ±0.1, scales and running variances 1 ± 0.2, a single weight (the slope of a PReLU) 0.25 ± 0.05.
Tensor formula_parameter(const std::string& name, const Shape& shape, const std::string& salt, double gain);

/// Empty where every |actual - reference| ≤ relative·max|reference| + absolute; else a sentence with the
/// worst element's index and both values. Shapes must agree and all values be finite.
std::string difference(const std::string& what, const Tensor& actual, const Tensor& reference,
                       double relative, double absolute = 0);
/// The same for two numbers.
std::string difference(const std::string& what, double actual, double reference, double relative,
                       double absolute = 0);
/// max|actual - reference| / max|reference|, for reports; 0 where the reference is 0 everywhere.
double deviation(const Tensor& actual, const Tensor& reference);

/// The eight elements at floor(k (numel - 1) / 7) that `grad_sample` and `weight_sample` hold.
Tensor golden_sample(const Tensor& tensor);

}  // namespace lux
