// A save that is killed, refused by the system or out of room leaves the checkpoints that were there, and the
// next start finds them. Each test is made to fail once with a saver that writes in place.
#include <doctest/doctest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>

#include "file_ops_fakes.h"
#include "luxgrad/tensor/random.h"
#include "savers.h"
#include "temporary_folder.h"

using namespace lux;
namespace fs = std::filesystem;

namespace {

/// Runs `body` in a process of its own, which ends with what it returns.
template <class Body>
pid_t spawn(const Body& body) {
  const pid_t child = fork();
  check(child >= 0, "fork failed");
  if (child != 0) return child;
  int code = 99;
  try {
    code = body();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "child: %s\n", error.what());
  }
  _exit(code);
}

/// Its exit code, or 128 + n after signal n.
int wait_for(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// What the next start finds in a run folder.
struct Findings {
  int64_t newest = 0;  ///< step of the newest checkpoint that verifies, 0 for none
  int64_t good = 0;    ///< how many verify
  bool clean = true;   ///< no file but checkpoints is left among them
  bool best = true;    ///< the best weights verify, or none were saved
};

Findings start_again(const std::string& folder) {
  Findings found;
  const RunFolder run(folder);
  std::vector<FileError> damaged;
  if (const auto latest = run.latest(damaged)) found.newest = latest->checkpoint.progress.step;
  for (const auto& entry : fs::directory_iterator(folder + "/checkpoints")) {
    found.good += static_cast<bool>(read_checkpoint(entry.path()));
    found.clean = found.clean && entry.path().filename().string().starts_with("step_");
  }
  found.best = best_verifies(folder);
  return found;
}

/// Kills a process that saves without end, at `times` random moments. Returns how often the last step it
/// reported, or a newer one, was not there afterwards.
int64_t killed_at_random(const Saver& saver, int64_t times) {
  Generator generator(4, "moments");
  int64_t lost = 0, last = 0;
  for (int64_t i = 0; i < times; ++i) {
    int ends[2];
    check(pipe(ends) == 0, "pipe failed");
    const pid_t child = spawn([&] {
      saver.save(last + 1, INT64_MAX, [&](int64_t step) { (void)!write(ends[1], &step, sizeof step); });
      return 0;
    });
    close(ends[1]);
    int64_t reported = last;
    if (i % 4 != 0) (void)!read(ends[0], &reported, sizeof reported);  // after a save, or at any moment
    usleep(static_cast<useconds_t>(generator.below(12'000)));
    kill(child, SIGKILL);
    wait_for(child);
    while (read(ends[0], &reported, sizeof reported) > 0) {
    }
    close(ends[0]);
    const Findings found = start_again(saver.folder);
    const bool kept = found.newest == reported || found.newest == reported + 1;
    const bool two = saver.in_place || found.newest < 2 || found.good >= 2;
    lost += !(kept && two && found.clean && found.best);
    last = std::max(reported, found.newest);
  }
  return lost;
}

struct KillingOps : WatchedOps {
  int64_t left = 0;
  int before(const std::string&) override {
    if (--left == 0) kill(getpid(), SIGKILL);
    return 0;
  }
};

/// A saver with two steps saved, in a folder of its own.
Saver two_saved(const TemporaryFolder& folder, const std::string& name, bool in_place) {
  Saver saver{.folder = folder.path() / name, .in_place = in_place};
  Unflushed quick;
  const OpsScope scope(quick);
  saver.save(1, 2);
  return saver;
}

/// Whether what is on the disk after the third save, complete or not, is a good state.
bool sound(const Saver& saver) {
  const Findings found = start_again(saver.folder);
  return (found.newest == 2 || found.newest == 3) && found.clean && found.best &&
         (saver.in_place || found.good >= 2);
}

struct Tally {
  int64_t points = 0, unsound = 0;
};

/// Kills the third save at every one of its system calls.
Tally killed_at_every_call(bool in_place) {
  const TemporaryFolder folder(in_memory());
  Tally tally;
  for (int64_t call = 1;; ++call) {
    const Saver saver = two_saved(folder, std::to_string(call), in_place);
    const int code = wait_for(spawn([&] {
      KillingOps killer;
      killer.chunk = 300;
      killer.left = call;
      set_file_ops(&killer);
      saver.save(3, 3);
      return 0;
    }));
    if (code == 0) return tally;
    check(code == 128 + SIGKILL, "the saving process ended with code ", code);
    ++tally.points;
    tally.unsound += !sound(saver);
  }
}

int64_t open_descriptors() {
  return std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator());
}

/// Lets every system call of the third save fail with `code`: alone, or with all that come after it.
Tally refused_at_every_call(bool in_place, int code, bool lasting) {
  const TemporaryFolder folder(in_memory());
  Tally tally;
  for (int call = 0;; ++call) {
    const Saver saver = two_saved(folder, std::to_string(call), in_place);
    const int64_t before = open_descriptors();
    FaultyOps faulty;
    faulty.chunk = 300;
    faulty.code = code;
    faulty.after = call;
    faulty.times = lasting ? INT32_MAX : 1;
    std::string message;
    {
      const OpsScope scope(faulty);
      try {
        saver.save(3, 3);
      } catch (const FileException& error) {
        message = error.what();
      }
    }
    if (faulty.failed.empty()) return tally;
    ++tally.points;
    INFO(message, " after ", faulty.failed);
    if (!message.empty()) {
      CHECK(message.starts_with(saver.folder));
      CHECK(message.find(std::strerror(code)) != std::string::npos);
    }
    CHECK(open_descriptors() == before);
    tally.unsound += !sound(saver);
  }
}

}  // namespace

TEST_CASE("SIGKILL at two hundred random moments of saving costs no reported checkpoint") {
  const TemporaryFolder folder(in_memory());
  CHECK(killed_at_random({.folder = folder.path() / "sound", .values = 50'000}, 200) == 0);
  const int64_t caught =
      killed_at_random({.folder = folder.path() / "in_place", .values = 50'000, .in_place = true}, 200);
  MESSAGE("writing in place lost the checkpoint ", caught, " times of 200");
  CHECK(caught > 0);
}

TEST_CASE("SIGKILL at every system call of a save leaves the old checkpoints or the new one") {
  const Tally tally = killed_at_every_call(false);
  MESSAGE(tally.points, " system calls");
  CHECK(tally.points >= 30);
  CHECK(tally.unsound == 0);
  CHECK(killed_at_every_call(true).unsound > 0);
}

TEST_CASE("every errno at every system call of a save: a sentence, and the old checkpoints are there") {
  int64_t points = 0, caught = 0;
  for (const int code : {ENOSPC, EDQUOT, EIO, EACCES, EROFS, EINTR}) {
    for (const bool lasting : {false, true}) {
      if (code == EINTR && lasting) continue;  // interruptions without end are repeated without end
      CAPTURE(std::strerror(code));
      CAPTURE(lasting);
      const Tally tally = refused_at_every_call(false, code, lasting);
      CHECK(tally.unsound == 0);
      points += tally.points;
      caught += refused_at_every_call(true, code, lasting).unsound;
    }
  }
  MESSAGE(points, " refusals");
  CHECK(points > 300);
  CHECK(caught > 0);
}

TEST_CASE("an interrupted system call is made again") {
  for (const char* const call : {"open", "write", "fsync", "close"}) {
    CAPTURE(call);
    const TemporaryFolder folder(in_memory());
    const Saver saver = two_saved(folder, "run", false);
    FaultyOps faulty;
    faulty.target = call;
    faulty.code = EINTR;
    faulty.times = 3;
    const OpsScope scope(faulty);
    CHECK_NOTHROW(saver.save(3, 3));
    CHECK(faulty.times == 0);
  }
}

namespace {

/// A disk that says nothing of its room, so that writing has to find out.
struct SilentDisk : FileOps {
  int64_t free_bytes(const char*) override { return -1; }
};

constexpr int kLost = 50, kNeverFull = 51, kNoMount = 52;

/// Saves on file systems of a hundred sizes until they are full. Runs in a process of its own, as mounts are
/// private to it.
int fill_disks(const std::string& place, bool in_place) {
  if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return kNoMount;
  Generator generator(5, "disks");
  SilentDisk silent;
  int64_t refused = 0;
  for (int i = 0; i < 100; ++i) {
    const uint64_t kilobytes = uint64_t{64} << generator.below(7),
                   size = kilobytes + generator.below(kilobytes);
    if (mount("tmpfs", place.c_str(), "tmpfs", 0, cat("size=", size, "k").c_str()) != 0) return kNoMount;
    const auto values = static_cast<int64_t>(1024 * size / 4 / (1 + generator.below(4)));
    Saver saver{.folder = place + "/run", .in_place = in_place};
    set_file_ops(i % 2 == 0 ? &silent : nullptr);
    int64_t last = 0;
    try {
      for (int64_t step = 1; step <= 4; ++step) {
        saver.values = values * step / 2;  // grows, so that not even the place of the old one is enough
        saver.save(step, step);
        last = step;
      }
    } catch (const FileException& error) {
      const std::string reason = error.error().reason;
      const bool full = reason.find("No space left") != std::string::npos ||
                        reason.find("its disk has") != std::string::npos;
      check(full || in_place, reason);
      ++refused;
    }
    set_file_ops(nullptr);
    const Findings found = fs::exists(saver.checkpoints()) ? start_again(saver.folder) : Findings{};
    const bool kept = last == 0 || found.newest == last;
    check(umount(place.c_str()) == 0, "umount failed");
    if (!kept || !found.clean) return kLost;
  }
  return refused > 50 ? 0 : kNeverFull;
}

}  // namespace

TEST_CASE("a full disk refuses the new checkpoint and keeps the old one, at a hundred sizes") {
  const TemporaryFolder folder;
  const std::string place = folder.path();
  const int code = wait_for(spawn([&] { return fill_disks(place, false); }));
  if (code == kNoMount) {
    MESSAGE("skipped: no file system may be mounted here");
    return;
  }
  CHECK(code == 0);
  CHECK(wait_for(spawn([&] { return fill_disks(place, true); })) == kLost);
}

TEST_CASE("a file that may not grow is refused, and the old checkpoint stays") {
  for (const bool in_place : {false, true}) {
    const TemporaryFolder folder;
    const Saver saver = two_saved(folder, "run", in_place);
    const int code = wait_for(spawn([&] {
      std::signal(SIGXFSZ, SIG_IGN);
      const rlimit limit{500, 500};
      setrlimit(RLIMIT_FSIZE, &limit);
      try {
        saver.save(3, 3);
      } catch (const FileException& error) {
        return error.error().reason.ends_with("File too large") ? 0 : 1;
      }
      return 2;
    }));
    CHECK(code == 0);
    CHECK(sound(saver) == !in_place);
  }
}
