// Two ways to save, for the same tests: the run folder's, which must pass, and one that writes over the old
// file, which must be caught, or the tests would prove nothing.
#pragma once

#include <fcntl.h>

#include <algorithm>
#include <string>
#include <vector>

#include "luxgrad/data/file_ops.h"
#include "luxgrad/data/folder.h"
#include "luxgrad/training/run_folder.h"

/// A checkpoint of about 4 · `values` bytes.
inline lux::Checkpoint sized_checkpoint(int64_t step, int64_t values = 200) {
  lux::Checkpoint checkpoint;
  checkpoint.model = {{"model", "zero_dce"}};
  checkpoint.weights = {{"w", lux::full({values}, static_cast<double>(step))}};
  checkpoint.progress.step = step;
  return checkpoint;
}

/// Whether the best weights of a run folder are there and what they were, or there are no checkpoints either.
inline bool best_verifies(const std::string& folder) {
  try {
    return lux::load_weights(folder + "/best.safetensors").sealed;
  } catch (const lux::FileException& error) {
    return error.error().code == lux::FileErrorCode::missing &&
           lux::checkpoint_paths(folder + "/checkpoints").empty();
  }
}

/// A run folder that something saves into, the best weights before each checkpoint.
struct Saver {
  std::string folder;
  int64_t values = 200;
  bool in_place = false;

  std::string checkpoints() const { return folder + "/checkpoints"; }

  /// Saves the steps `first` to `last`; tells each that is done.
  template <class Done>
  void save(int64_t first, int64_t last, const Done& done) const {
    lux::RunFolder run(folder);
    for (int64_t step = first; step <= last; ++step) {
      run.log({.epoch = 1, .step = step});
      lux::Checkpoint checkpoint = sized_checkpoint(step, values);
      checkpoint.progress.jsonl_bytes = run.jsonl_bytes();
      if (in_place) overwrite(checkpoint);
      run.save_best(checkpoint.weights, checkpoint.model);
      if (!in_place) (void)run.save(checkpoint);
      done(step);
    }
  }
  void save(int64_t first, int64_t last) const {
    save(first, last, [](int64_t) {});
  }

 private:
  /// One file for every step, emptied and written again before it gets its new name.
  void overwrite(const lux::Checkpoint& checkpoint) const {
    const std::string name = checkpoints() + "/" + lux::checkpoint_name(checkpoint.progress.step);
    const std::vector<std::string> old = lux::checkpoint_paths(checkpoints());
    const std::string path = old.empty() ? name : old.front();
    const std::vector<uint8_t> bytes = lux::serialize_checkpoint(checkpoint);
    lux::FileOps& ops = lux::file_ops();
    const int descriptor = ops.open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    size_t done = 0;
    while (descriptor >= 0 && done < bytes.size()) {
      const ssize_t written =
          ops.write(descriptor, bytes.data() + done, std::min<size_t>(4096, bytes.size() - done));
      if (written <= 0) break;
      done += static_cast<size_t>(written);
    }
    if (descriptor >= 0) ops.close(descriptor);
    if (done < bytes.size() || ops.rename(path.c_str(), name.c_str()) != 0)
      throw lux::FileException(lux::system_error(lux::FileErrorCode::unwritable, path, "in place"));
  }
};
