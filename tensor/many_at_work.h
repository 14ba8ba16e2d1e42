// Several threads that compute side by side, each at work of its own.
#pragma once

namespace lux {

/// While several of them live, in as many threads, parallel sections run in the thread that begins them:
/// there is work for all, so that none waits for the others at the end of a section. The one that is left has
/// the pool again. Results are the same bits.
class ManyAtWork {
 public:
  ManyAtWork();
  ~ManyAtWork();
  ManyAtWork(const ManyAtWork&) = delete;
  ManyAtWork& operator=(const ManyAtWork&) = delete;
};

}  // namespace lux
