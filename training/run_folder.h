// The folder of one training run: what was asked for, what happened at every step, and what came of it.
//
//     config.toml    manifest.jsonl    log.jsonl  log.csv    best.safetensors    lock
//     checkpoints/step_00001234.safetensors    samples/epoch_012.png    not_finite.safetensors
//
// It belongs to one process at a time. Whatever ends that process, or the power, at whatever moment: two
// checkpoints that verify are on the disk as soon as two were saved.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "luxgrad/data/folder.h"
#include "luxgrad/training/checkpoint.h"
#include "luxgrad/training/report.h"

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
  /// Good checkpoints that are kept besides the best weights.
  static constexpr int64_t kKept = 2;

  /// Whether a run was started in the folder `path` before: any of its files is there. Throws FileException
  /// (unwritable) where the system does not say.
  static bool used(const std::string& path);
  /// Whether it came further than what stands before the first step: there are lines in a log, or best
  /// weights.
  static bool trained(const std::string& path);

  /// Makes the folder where it is missing, locks it, and removes what killed processes left half-written.
  /// Throws FileException where it cannot be made or written to, and where another process works in it.
  explicit RunFolder(std::string path);

  const std::string& path() const { return path_; }

  /// config.toml. Throws FileException.
  void write_config(const Facts& config) const;

  /// manifest.jsonl (training/manifest.h). Throws FileException.
  void write_manifest(const std::string& text) const;
  /// Its text, empty where it cannot be read.
  std::string manifest() const;

  /// Appends a line to both logs, which readers see at once. False when the system refused it.
  bool log(const StepRecord& record);
  /// Appends `{"epoch":3,"validation_psnr":18.2}` to log.jsonl. False when the system refused it.
  bool log_validation(int64_t epoch, double psnr);
  /// Cuts the logs back to the lengths that a checkpoint knows, or to the last whole lines before, where they
  /// are shorter or have no line that ends there, and continues from there, each in a new file
  /// (`keep_lines`). Returns a sentence about each of those. Throws FileException.
  std::vector<std::string> rewind_logs(const Progress& progress);
  int64_t jsonl_bytes() const { return jsonl_bytes_; }
  int64_t csv_bytes() const { return csv_bytes_; }

  /// Writes checkpoints/step_….safetensors and reads it back, then removes what is older than the newest
  /// kKept good ones. Throws FileException.
  std::string save(const Checkpoint& checkpoint) const;
  /// Throws FileException where the folder cannot be listed.
  std::optional<FoundCheckpoint> latest(std::vector<FileError>& damaged) const;
  /// How many more files of the size of `path` the disk has room for; -1 where that is not known.
  int64_t room_for(const std::string& path) const;
  /// best.safetensors: weights and metadata only. Throws FileException.
  void save_best(const State& weights, const Facts& metadata) const;
  /// not_finite.safetensors: what a step worked with that ended the run; returns its path. Throws
  /// FileException.
  std::string save_not_finite(const State& tensors, const Facts& metadata) const;
  /// report.html (training/report.h). False when the system refused it.
  bool write_report(const Facts& config);
  /// samples/epoch_012.png: pictures [1, H, W, 3] of one size side by side. Throws FileException.
  void save_sample(int64_t epoch, const Tensors& pictures) const;

 private:
  std::string checkpoints() const { return path_ + "/checkpoints"; }

  std::string path_;
  Report report_;
  FolderLock lock_;
  int64_t jsonl_bytes_ = 0, csv_bytes_ = 0;
};

}  // namespace lux
