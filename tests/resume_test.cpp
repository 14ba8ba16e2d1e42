// A training that is stopped or killed, and resumed with another number of threads, ends with the bits of one
// that was left alone; and what signals, closed streams and full disks do to it. The real binary runs as a
// child.
#include <sys/stat.h>

#include "luxgrad/training/run_folder.h"
#include "tool_workplace.h"

using namespace lux;

namespace {

constexpr int64_t kSteps = 24;
#ifdef __SANITIZE_THREAD__  // takes twenty times as long, and any moment shows a race
constexpr int kMoments = 2;
#else
constexpr int kMoments = 10;  // of each signal
#endif

/// A workplace with four noise pictures: two steps are an epoch, and an epoch ends with a checkpoint.
class Studio : public Workplace {
 public:
  Studio() {
    fs::create_directory(path("photos"));
    for (uint64_t i = 1; i <= 4; ++i) save_noise(path(cat("photos/", i, ".png")), 40, 36, i);
  }

  static std::vector<std::string> training(const std::string& run, int64_t steps = kSteps,
                                           const char* recipe = "official") {
    return {"train", "zero_dce_plus", "--data", "photos", "--recipe", recipe,    "--size",  "32", "--batch",
            "2",     "--progress",    "json",   "--run",  run,        "--steps", cat(steps)};
  }

  ChildResult train(const std::string& name, int64_t steps = kSteps, const ChildOptions& options = {}) const {
    return run(training(name, steps), options);
  }
  ChildResult resume(const std::string& name) const {
    std::vector<std::string> command = training(name);
    command.emplace_back("--resume");
    return run(command);
  }
};

/// The lines of the log without the times.
std::vector<nlohmann::json> timeless(const std::string& log) {
  std::vector<nlohmann::json> lines = json_lines(log);
  for (nlohmann::json& line : lines) {
    line.erase("data_seconds");
    line.erase("step_seconds");
  }
  return lines;
}

/// The rows of log.csv without their last columns, the times among them.
std::vector<std::string> timeless_rows(const std::string& log) {
  std::vector<std::string> rows;
  std::istringstream stream(log);
  for (std::string row; std::getline(stream, row);) {
    for (int column = 0; column < 3; ++column) row.resize(row.rfind(','));
    rows.push_back(row);
  }
  return rows;
}

/// Everything that must be the same in two finished runs.
void check_same(const Studio& here, const std::string& one, const std::string& other) {
  const auto last = [&](const std::string& run) {
    return read_checkpoint(here.path(cat(run, "/checkpoints/", checkpoint_name(kSteps)))).value();
  };
  const auto text = [&](const std::string& run, const std::string& file) {
    return slurp(here.path(run + file));
  };
  Checkpoint a = last(one), b = last(other);
  a.progress.jsonl_bytes = b.progress.jsonl_bytes;  // times have more or fewer digits
  a.progress.csv_bytes = b.progress.csv_bytes;
  CHECK(serialize_checkpoint(a) == serialize_checkpoint(b));
  CHECK(text(one, "/best.safetensors") == text(other, "/best.safetensors"));
  const std::vector<std::string> samples = here.files(one + "/samples");
  CHECK(samples == here.files(other + "/samples"));
  for (const std::string& name : samples)
    CHECK(text(one, "/samples/" + name) == text(other, "/samples/" + name));
  CHECK(timeless(text(one, "/log.jsonl")) == timeless(text(other, "/log.jsonl")));
  CHECK(timeless_rows(text(one, "/log.csv")) == timeless_rows(text(other, "/log.csv")));
}

}  // namespace

TEST_CASE("stopped or killed at random steps, a run ends with the bits of one left alone") {
  const Studio here;
  for (const char* const recipe : {"official", "default"}) {
    REQUIRE(here.run(Studio::training(cat("whole_", recipe), kSteps, recipe)).code == 0);
  }
  Generator generator(8, "interruptions");
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGKILL}) {
    int64_t interrupted = 0;
    for (int i = 0; i < kMoments; ++i) {
      const char* const recipe = i % 2 == 0 ? "official" : "default";
      const std::string run = cat("run_", signal, "_", i), log = here.path(run + "/log.jsonl");
      const Interruption at = {.file = log,
                               .lines = static_cast<int64_t>(1 + generator.below(12)),
                               .signals = {signal},
                               .delay = static_cast<useconds_t>(generator.below(20'000))};
      std::vector<std::string> command = Studio::training(run, kSteps, recipe);
      const ChildResult stopped = here.run(command, {.interruption = at});
      INFO("signal ", signal, " after line ", at.lines, ", ", recipe, ": ", stopped.err);
      if (stopped.code != 0) {
        ++interrupted;
        CHECK(stopped.code == 128 + signal);
        CHECK(contains(stopped.err, "--resume") == (signal != SIGKILL));
        CHECK(lines_of(slurp(log)) <= stopped.lines + 1);  // the step at work was the last
      }
      command.insert(command.end(), {"--resume", "-j", cat(1 + generator.below(4))});
      const ChildResult resumed = here.run(command);
      INFO(resumed.err);
      REQUIRE(resumed.code == 0);
      check_same(here, cat("whole_", recipe), run);
    }
    CHECK(10 * interrupted >= 8 * kMoments);  // the others were done before the signal
  }
}

TEST_CASE("a run that is put to sleep and woken ends with the bits of one left alone") {
  const Studio here;
  REQUIRE(here.train("whole").code == 0);
  for (const int64_t line : {1, 5, 9}) {
    CAPTURE(line);
    const std::string run = cat("run_", line), log = here.path(run + "/log.jsonl");
    const Interruption at = {.file = log,
                             .lines = line,
                             .signals = {SIGSTOP, SIGCONT, SIGSTOP, SIGCONT},
                             .delay = 3000,
                             .gap = 100'000};
    const ChildResult woken = here.train(run, kSteps, {.interruption = at});
    CHECK(woken.code == 0);
    CHECK(woken.err.find("--resume") == std::string::npos);
    check_same(here, "whole", run);
  }
}

TEST_CASE("a second Ctrl-C leaves in the middle of the step") {
  const Studio here;
  const Interruption twice = {.file = here.path("run/log.jsonl"), .signals = {SIGINT, SIGINT}};
  const ChildResult left = here.run({"train", "zero_dce", "--data", "photos", "--recipe", "official",
                                     "--size", "512", "--batch", "4", "--progress", "none", "--run", "run"},
                                    {.interruption = twice});
  CHECK(left.code == 128 + SIGINT);
  CHECK_FALSE(contains(left.err, "--resume"));
  CHECK(here.run({"info", "run/checkpoints/step_00000000.safetensors"}).code == 0);
}

TEST_CASE("standard streams that are closed, in every combination, cost nothing") {
  const Studio here;
  for (int missing = 0; missing < 8; ++missing) {
    CAPTURE(missing);
    ChildOptions options;
    for (const int descriptor : {0, 1, 2}) {
      if ((missing >> descriptor & 1) != 0) options.closed.push_back(descriptor);
    }
    const std::string run = cat("run_", missing);
    CHECK(here.train(run, 2, options).code == 0);
    CHECK(json_lines(slurp(here.path(run + "/log.jsonl"))).size() == 2);
    CHECK(read_checkpoint(here.path(run + "/checkpoints/step_00000002.safetensors")));
  }
}

TEST_CASE("a reader that leaves does not end the training") {
  const Studio here;
  std::string command = cat("(", LUX_TOOL);
  for (const std::string& word : Studio::training("run")) command += " " + word;
  command += " 2>&1; echo $? > code) | true";
  const TemporaryFolder scratch;
  (void)run_child(scratch.path(), {"/bin/sh", "-c", command}, {.folder = here.path("")});
  CHECK(slurp(here.path("code")) == "0\n");
  CHECK(read_checkpoint(here.path(cat("run/checkpoints/", checkpoint_name(kSteps)))));
}

TEST_CASE("a link at a log's place is replaced, and what it leads to is not touched") {
  const Studio here;
  for (const char* const log : {"log.jsonl", "log.csv"}) {
    for (const bool hard : {false, true}) {
      CAPTURE(log);
      CAPTURE(hard);
      const std::string run = cat("run_", hard, "_", log), place = here.path(run + "/" + log);
      const std::string victim = here.path("victim");
      const auto check_replaced = [&](const ChildResult& result, const std::string& content) {
        CHECK(result.code == 0);
        CHECK(slurp(victim) == content);
        CHECK(fs::symlink_status(place).type() == fs::file_type::regular);
        CHECK(fs::hard_link_count(place) == 1);
      };
      spill(victim, "precious\n");
      fs::create_directory(here.path(run));
      hard ? fs::create_hard_link(victim, place) : fs::create_symlink(victim, place);
      CHECK(here.train(run, 2).code == 4);  // somebody's log is there
      CHECK(slurp(victim) == "precious\n");
      spill(victim, "");
      check_replaced(here.train(run, 2), "");

      // On resuming, what a hard link shares goes on in a file of its own; a symbolic link is as no log.
      const std::string before = slurp(place);
      fs::rename(place, victim);
      hard ? fs::create_hard_link(victim, place) : fs::create_symlink(victim, place);
      const ChildResult resumed = here.resume(run);
      check_replaced(resumed, before);
      CHECK(slurp(place).starts_with(before) == hard);
      CHECK(contains(resumed.err, "is shorter than its checkpoint says") != hard);
    }
  }
}

TEST_CASE("a pipe or a folder at a log's place is refused before the first step, at once") {
  const Studio here;
  REQUIRE(here.train("trained", 2).code == 0);
  for (const std::string& log : {std::string("log.jsonl"), std::string("log.csv")}) {
    CAPTURE(log);
    for (const std::string& run : {"new_" + log, std::string("trained")}) {
      CAPTURE(run);
      const std::string place = here.path(run + "/" + log);
      fs::create_directory(here.path(run));
      fs::remove(place);
      const auto check_refused = [&](const std::string& kind) {
        const ChildResult result = run == "trained" ? here.resume(run) : here.train(run);
        CHECK(result.code == 6);
        CHECK(contains(result.err, cat(log, ": is ", kind, ", expected a regular file")));
        CHECK(here.files(run + "/checkpoints").size() == (run == "trained" ? 2 : 0));
      };
      REQUIRE(mkfifo(place.c_str(), 0600) == 0);
      check_refused("a named pipe");
      fs::remove(place);
      fs::create_directory(place);
      check_refused("a directory");
      fs::remove(place);
    }
  }
}

TEST_CASE("a pipe or a folder at a coming checkpoint's place is refused before the first step") {
  const Studio here;
  REQUIRE(here.train("run", 2).code == 0);
  const std::string place = here.path(cat("run/checkpoints/", checkpoint_name(6)));
  const auto check_refused = [&](const std::string& kind) {
    const ChildResult result = here.resume("run");
    CHECK(result.code == 6);
    CHECK(contains(result.err, cat(checkpoint_name(6), ": is ", kind, ", expected a regular file")));
    CHECK(lines_of(slurp(here.path("run/log.jsonl"))) == 2);
    fs::remove(place);
  };
  fs::create_directory(place);
  check_refused("a directory");
  REQUIRE(mkfifo(place.c_str(), 0600) == 0);
  check_refused("a named pipe");
  fs::create_directory_symlink(here.path("photos"), place);
  check_refused("a directory");
  fs::create_symlink(here.path("nowhere"), place);  // is replaced when its step comes
  CHECK(here.resume("run").code == 0);
  CHECK_FALSE(fs::exists(here.path("nowhere")));
}

TEST_CASE("a log that is shorter than its checkpoint says goes on after its last whole line") {
  const Studio here;
  REQUIRE(here.train("run", 2).code == 0);
  const std::string log = slurp(here.path("run/log.jsonl")), rows = slurp(here.path("run/log.csv"));
  fs::resize_file(here.path("run/log.jsonl"), log.size() - 10);
  fs::resize_file(here.path("run/log.csv"), rows.size() - 10);
  const ChildResult resumed = here.resume("run");
  CHECK(resumed.code == 0);
  for (const char* const name : {"log.jsonl", "log.csv"}) {
    const std::string notice = cat("run/", name, " is shorter than its checkpoint says: lines are lost");
    CHECK(contains(resumed.err, notice));
    CHECK(resumed.err.find(notice) == resumed.err.rfind(notice));
  }
  const std::vector<nlohmann::json> lines = json_lines(slurp(here.path("run/log.jsonl")));
  REQUIRE(lines.size() == kSteps - 1);
  CHECK(lines[0]["step"] == 1);
  CHECK(lines[1]["step"] == 3);
  const std::string longer = slurp(here.path("run/log.csv"));
  CHECK(lines_of(longer) == kSteps);  // the head, and all but the second
  const size_t kept = rows.rfind('\n', rows.size() - 2) + 1;
  CHECK(longer.substr(0, kept) == rows.substr(0, kept));
  CHECK(longer.substr(kept, 4) == "2,3,");
}

TEST_CASE("a log whose checkpoint ends inside a line of it goes on before that line, and that is said") {
  const Studio here;
  REQUIRE(here.train("run", 2).code == 0);
  const std::string log = slurp(here.path("run/log.jsonl"));
  spill(here.path("run/log.jsonl"),
        log.substr(0, log.find('\n')) + " " + log.substr(log.find('\n')) + "more\n");
  const ChildResult resumed = here.resume("run");
  CHECK(resumed.code == 0);
  CHECK(contains(resumed.err,
                 "run/log.jsonl is another one than its checkpoint knows, which ends inside a line"));
  CHECK_FALSE(contains(resumed.err, "shorter"));
  CHECK(json_lines(slurp(here.path("run/log.jsonl"))).size() == kSteps - 1);
}

TEST_CASE("a run folder whose name leads nowhere is refused in a sentence") {
  const Studio here;
  const std::string longest(300, 'a');
  fs::create_symlink(here.path("loop"), here.path("loop"));
  fs::create_directories(here.path("closed/run/checkpoints"));
  fs::create_directories(here.path("half/checkpoints"));
  fs::permissions(here.path("closed"), fs::perms::none);
  fs::permissions(here.path("half/checkpoints"), fs::perms::none);
  for (const auto& [run, sentence] :
       {std::pair<std::string, std::string>{longest,
                                            "/config.toml: cannot be looked at: File name too long\n"},
        {"loop", "loop/config.toml: cannot be looked at: Too many levels of symbolic links\n"},
        {"closed/run", "closed/run/config.toml: cannot be looked at: Permission denied\n"},
        {"half", "half/checkpoints: cannot be listed: Permission denied\n"}}) {
    CAPTURE(run);
    for (const char* const more : {"--seed=0", "--resume"}) {
      std::vector<std::string> command = Studio::training(run);
      command.emplace_back(more);
      const ChildResult result = here.run(command, {.obedient = true});
      CAPTURE(result.err);
      CHECK(result.code == 6);
      CHECK(contains(result.err, sentence));
      CHECK(lines_of(result.err) == 1);
    }
  }
  for (const char* const name : {"closed", "half/checkpoints"})
    fs::permissions(here.path(name), fs::perms::owner_all);
}

TEST_CASE("a run folder that takes no checkpoint is refused before the first step") {
  const Studio here;
  const ChildResult small = here.train("small", kSteps, {.file_bytes = 20'000});
  CHECK(small.code == 6);
  CHECK(contains(small.err, "step_00000000.safetensors: cannot be written: File too large"));
  CHECK_FALSE(fs::exists(here.path("small/log.jsonl")));

  fs::create_directories(here.path("locked/checkpoints"));
  fs::permissions(here.path("locked/checkpoints"), fs::perms::owner_read | fs::perms::owner_exec);
  const ChildResult locked = here.train("locked", kSteps, {.obedient = true});
  CHECK(locked.code == 6);
  CHECK(contains(locked.err, "cannot be created: Permission denied"));
  CHECK_FALSE(fs::exists(here.path("locked/log.jsonl")));
  fs::permissions(here.path("locked/checkpoints"), fs::perms::owner_all);
}

TEST_CASE("a run folder in use is refused with its own exit code") {
  const Studio here;
  REQUIRE(here.train("run", 2).code == 0);
  {
    const RunFolder other(here.path("run"));
    const ChildResult busy = here.resume("run");
    CHECK(busy.code == 4);
    CHECK(contains(busy.err, "run: another process works in it"));
  }
  CHECK(here.resume("run").code == 0);
}

TEST_CASE("where no checkpoint is left of what was trained, resuming does not begin anew") {
  const Studio here;
  REQUIRE(here.train("run", 2).code == 0);
  fs::remove_all(here.path("run/checkpoints"));
  const std::string log = slurp(here.path("run/log.jsonl")), rows = slurp(here.path("run/log.csv"));
  const std::string best = slurp(here.path("run/best.safetensors"));
  const auto check_refused = [&here] {
    const ChildResult result = here.resume("run");
    CHECK(result.code == 3);
    CHECK(contains(result.err, "put one back into its folder checkpoints, or begin a new run in another"));
    CHECK(here.files("run/checkpoints").empty());
  };
  check_refused();
  CHECK(slurp(here.path("run/log.jsonl")) == log);
  CHECK(slurp(here.path("run/best.safetensors")) == best);
  // Any one of the three shows that steps were done.
  for (const char* const kept : {"log.jsonl", "log.csv", "best.safetensors"}) {
    CAPTURE(kept);
    for (const char* const name : {"log.jsonl", "log.csv", "best.safetensors"})
      fs::remove(here.path(cat("run/", name)));
    const std::string name = kept;
    spill(here.path("run/" + name), name == "log.jsonl" ? log : name == "log.csv" ? rows : best);
    check_refused();
  }
  // Without a word of its configuration it is no unused folder.
  const std::string config = slurp(here.path("run/config.toml"));
  fs::remove(here.path("run/config.toml"));
  CHECK(here.train("run", 2).code == 4);
  CHECK(slurp(here.path("run/best.safetensors")) == best);
  spill(here.path("run/config.toml"), config);
  // As a process leaves it that was killed before its first checkpoint.
  fs::remove(here.path("run/best.safetensors"));
  const ChildResult anew = here.resume("run");
  CHECK(anew.code == 0);
  CHECK(contains(anew.err, "training begins anew"));
}

TEST_CASE("where no checkpoint can be read, resuming does not begin anew") {
  const Studio here;
  REQUIRE(here.train("run", 2).code == 0);
  for (const int64_t step : {0, 2}) {
    fs::resize_file(here.path(cat("run/checkpoints/", checkpoint_name(step))), 1000);
  }
  const ChildResult result = here.resume("run");
  CHECK(result.code == 3);
  CHECK(contains(result.err, "none of its checkpoints can be read"));
  CHECK(lines_of(slurp(here.path("run/log.jsonl"))) == 2);
}
