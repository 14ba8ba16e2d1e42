// What tests change for a scope, and leave as it was, also when something throws.
#pragma once

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

/// Blocks allocated meanwhile are laid out so; afterwards none are disturbed.
class Layout {
 public:
  explicit Layout(memory::TestLayout layout) { memory::set_test_layout(layout); }
  ~Layout() { memory::set_test_layout({}); }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;
};

}  // namespace lux
