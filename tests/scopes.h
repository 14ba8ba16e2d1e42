// What tests change for a scope, and leave as it was, also when something throws.
#pragma once

#include <pthread.h>

#include "luxgrad/tensor/memory.h"
#include "luxgrad/tensor/thread_pool.h"

namespace lux {

class Threads {
 public:
  explicit Threads(int count) : before_(num_threads()) { set_num_threads(count); }
  ~Threads() { set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

/// Threads cannot be started meanwhile: nobody has room for their stacks.
class NoNewThreads {
 public:
  NoNewThreads() {
    pthread_getattr_default_np(&before_);
    pthread_attr_t huge;
    pthread_getattr_default_np(&huge);
    pthread_attr_setstacksize(&huge, size_t{1} << 48);
    pthread_setattr_default_np(&huge);
    pthread_attr_destroy(&huge);
  }
  ~NoNewThreads() {
    pthread_setattr_default_np(&before_);
    pthread_attr_destroy(&before_);
  }
  NoNewThreads(const NoNewThreads&) = delete;
  NoNewThreads& operator=(const NoNewThreads&) = delete;

 private:
  pthread_attr_t before_{};
};

/// Blocks allocated meanwhile are laid out so; afterwards none are disturbed.
class Layout {
 public:
  explicit Layout(memory::TestLayout layout) { memory::set_test_layout(layout); }
  ~Layout() { memory::set_test_layout({}); }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;
};

}  // namespace lux
