// --autotune: convolutions run by the fastest engine of the GPU's libraries instead of the one that they
// estimate to be, and what was found is kept in a file for the next time.
#pragma once

#include <string>

#include "luxgrad/tools/model_choice.h"

namespace lux {

/// $XDG_CACHE_HOME/luxgrad/plans, else ~/.cache/luxgrad/plans; empty where neither is set.
std::string plans_path();

/// While it lives, convolutions are tuned where that was asked for and a GPU is in use; on the CPU it does
/// nothing. At first the file is read, at last what was found is added to it. A file that cannot be read or
/// written is a note and no error: all of it can be found again.
class Autotuning {
 public:
  explicit Autotuning(const RunsOn& where);
  ~Autotuning();
  Autotuning(const Autotuning&) = delete;
  Autotuning& operator=(const Autotuning&) = delete;

 private:
  void keep() const;

  bool tunes_;
  std::string path_, known_;  // what the file held
};

}  // namespace lux
