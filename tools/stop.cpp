#include "luxgrad/tools/stop.h"

#include <unistd.h>

#include <csignal>

#include "luxgrad/data/file.h"

namespace lux {

std::atomic<bool> stop_requested{false};
PicturesSoFar pictures_so_far;

namespace {

std::atomic<int> last{0};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int64_t>::is_always_lock_free,
              "signal handlers may use nothing else");

// A sentence of few words and numbers, without memory and locks.
class Sentence {
 public:
  Sentence& operator<<(const char* text) {
    while (*text != '\0' && size_ < sizeof(text_)) text_[size_++] = *text++;
    return *this;
  }
  Sentence& operator<<(int64_t number) {
    if (number >= 10) *this << number / 10;
    const char digit[] = {static_cast<char>('0' + number % 10), '\0'};
    return *this << digit;
  }
  void print() const {
    if (write(STDERR_FILENO, text_, size_) < 0) return;  // there is nobody to tell
  }

 private:
  char text_[160];
  size_t size_ = 0;
};

void say_how_far() {
  const int64_t all = pictures_so_far.all;
  if (all < 2) return;
  Sentence sentence;
  sentence << "\nluxgrad: stopped: " << pictures_so_far.done << " of " << all
           << " pictures are done, and --skip-existing goes on from there\n";
  sentence.print();
}

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
  say_how_far();
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
