// The folder of one training run: what was asked for, what happened at every step, and what came of it.
//
//     config.toml    log.jsonl  log.csv    best.safetensors
//     checkpoints/step_00001234.safetensors    samples/epoch_012.png
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "luxgrad/training/checkpoint.h"

namespace lux {

/// What one step did; a line of the logs.
struct StepRecord {
  int64_t epoch = 0;  ///< from 1
  int64_t step = 0;   ///< from 1
  double lr = 0;
  std::vector<std::pair<std::string, double>> losses{};  ///< `total` first, then the unweighted terms
  double grad_norm = 0;                                  ///< before clipping
  double data_seconds = 0;                               ///< waiting for the batch
  double step_seconds = 0;                               ///< all the rest
  bool skipped = false;                                  ///< no update, because something was not finite
};

class RunFolder {
 public:
  /// Checkpoints that are kept besides the best weights.
  static constexpr int64_t kKept = 3;

  /// Makes the folder where it is missing. Throws FileException where it cannot be made or written to.
  explicit RunFolder(std::string path);

  const std::string& path() const { return path_; }
  /// Whether a run was started here before.
  bool used() const;

  /// config.toml. Throws FileException.
  void write_config(const Facts& config) const;

  /// Appends a line to both logs, which readers see at once. False when the system refused it.
  bool log(const StepRecord& record);
  /// Cuts the logs back to the lengths that a checkpoint knows and continues from there.
  void rewind_logs(const Progress& progress);
  int64_t jsonl_bytes() const { return jsonl_bytes_; }
  int64_t csv_bytes() const { return csv_bytes_; }

  /// Writes checkpoints/step_….safetensors, then removes all but the newest kKept. Throws FileException.
  std::string save(const Checkpoint& checkpoint) const;
  std::optional<FoundCheckpoint> latest(std::vector<FileError>& damaged) const;
  /// best.safetensors: weights and metadata only. Throws FileException.
  void save_best(const State& weights, const Facts& metadata) const;
  /// samples/epoch_012.png: pictures [1, H, W, 3] of one size side by side. Throws FileException.
  void save_sample(int64_t epoch, const Tensors& pictures) const;

 private:
  std::string path_;
  int64_t jsonl_bytes_ = 0, csv_bytes_ = 0;
};

}  // namespace lux
