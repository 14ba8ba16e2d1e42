#include "luxgrad/tools/stop.h"

#include <unistd.h>

#include <csignal>

#include "luxgrad/data/file.h"

namespace lux {

std::atomic<bool> stop_requested{false};

namespace {

std::atomic<int> last{0};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free,
              "signal handlers may set nothing else");

void remove_what_is_not_whole() {
  refuse_new_files();
  remove_unfinished_files();
}

void on_signal(int number) {
  if (stop_requested) {
    remove_what_is_not_whole();
    _exit(128 + number);
  }
  last = number;
  stop_requested = true;
}

void leave(int number) {
  remove_what_is_not_whole();
  std::signal(number, SIG_DFL);
  std::raise(number);
}

void handle(void (*handler)(int)) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) {
    struct sigaction action {};
    sigaction(number, nullptr, &action);
    if (action.sa_handler == SIG_IGN) continue;
    action = {};
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    sigaction(number, &action, nullptr);
  }
}

}  // namespace

void clean_up_on_signals() { handle(leave); }
void stop_on_signals() { handle(on_signal); }

int last_signal() { return last; }

}  // namespace lux
