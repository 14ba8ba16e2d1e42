// Checkpoints: everything a training run knows, as one safetensors file that also serves as a weight file.
//
// Weights keep their names, the optimiser's tensors stand under `optimizer/`, counters and configuration in
// the metadata together with a SHA-256 of all the rest. Random numbers need no state of their own: every
// stream is keyed by the run's seed and a counter (epoch, picture, step). So a resumed run continues with the
// same bits.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "luxgrad/data/result.h"
#include "luxgrad/layers/module.h"

namespace lux {

/// How far a run has come, and what it must remember to go on.
struct Progress {
  int64_t step = 0;        ///< updates done or skipped
  int64_t epoch = 0;       ///< epochs finished
  int64_t batch = 0;       ///< batches of the current epoch that are done
  int64_t epoch_over = 0;  ///< 1: they or the run's steps are all done, but what ends an epoch is not
  int64_t skipped = 0;     ///< steps in a row without an update, because something was not finite
  /// Of the first step that was not skipped; infinite before.
  double first_loss = std::numeric_limits<double>::infinity();
  double epoch_loss = 0;    ///< sum of the losses of the current epoch
  int64_t epoch_steps = 0;  ///< and how many they are
  /// Lowest mean loss of an epoch, or lowest negative validation PSNR where pictures validate.
  double best = std::numeric_limits<double>::infinity();
  double rate = 1;  ///< factor of the learning rate, lowered where validation stands still
  double plateau_best = -std::numeric_limits<double>::infinity();
  int64_t plateau_waited = 0;
  int64_t jsonl_bytes = 0;  ///< length of the log so far
  int64_t csv_bytes = 0;
};

/// Text by key: the effective configuration of a run, or what a weight file says about its network.
using Facts = std::map<std::string, std::string>;

struct Checkpoint {
  Facts model;      ///< name and options, as models/registry.h writes them
  State weights;    ///< of the network
  State optimizer;  ///< of its optimiser
  Facts config;
  Progress progress;
  std::string convolution_plans{};  ///< the hash of those that a GPU ran (kernels/cuda/vendor.h); empty: none
};

/// `step_00001234.safetensors`
std::string checkpoint_name(int64_t step);
bool is_checkpoint_name(std::string_view name);

/// The bytes of a checkpoint's file.
std::vector<uint8_t> serialize_checkpoint(const Checkpoint& checkpoint);
/// Writes them atomically. Throws FileException.
void save_checkpoint(const std::string& path, const Checkpoint& checkpoint);

/// Refuses what is no checkpoint, one of another schema, and one whose content is not what was written.
Result<Checkpoint> parse_checkpoint(std::span<const uint8_t> bytes);
/// `parse_checkpoint` of a file, which is refused, too, where its name says another step.
Result<Checkpoint> read_checkpoint(const std::string& path);

/// Paths of the checkpoints in a folder by their names, newest first. Throws FileException where the folder
/// cannot be listed.
std::vector<std::string> checkpoint_paths(const std::string& folder);

struct FoundCheckpoint {
  std::string path;
  Checkpoint checkpoint;
};

/// The checkpoint with the highest step in a folder that reads and verifies; what is wrong with newer ones is
/// appended to `damaged`. There is no pointer file that could be wrong. Throws as `checkpoint_paths`.
std::optional<FoundCheckpoint> latest_checkpoint(const std::string& folder, std::vector<FileError>& damaged);

/// Writes atomically, with a SHA-256 of the content in the metadata. Throws FileException.
void save_weights(const std::string& path, const State& state, const Facts& metadata);

/// Weights and metadata of a weight file of any kind (data/tensor_file.h) or a checkpoint; what carries a
/// SHA-256 must agree with it, and one whose name has a wrong letter is refused. Throws FileException.
struct Weights {
  State state;
  Facts metadata;
  bool sealed = false;  ///< it carries one
};
Weights load_weights(const std::string& path);

}  // namespace lux
