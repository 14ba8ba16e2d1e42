// The power goes at any moment of a training: in every state that the disk may be found in, the last
// checkpoint whose save returned, or a newer one, is there. SIGKILL cannot show this, as it spares the
// system's memory; a model of the disk can (disk_model.h).
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "child_process.h"
#include "disk_model.h"
#include "file_ops_fakes.h"
#include "savers.h"
#include "temporary_folder.h"

using namespace lux;
namespace fs = std::filesystem;

namespace {

struct Verdict {
  int64_t states = 0;
  int64_t lost = 0;   ///< what was saved last is not there
  int64_t alone = 0;  ///< two were saved, but fewer are there
  int64_t best = 0;   ///< the best weights are not
  int64_t torn = 0;   ///< the checkpoint speaks of lines that the log has not
};

struct Protocol {
  int64_t saves = 3;
  bool in_place = false, file_flushes = true, folder_flushes = true;
};

/// Makes a folder that holds the state.
void build(const fs::path& folder, const DiskState& state) {
  fs::remove_all(folder);
  fs::create_directory(folder);
  for (const auto& [path, bytes] : state) {
    if (path.ends_with('/')) {
      fs::create_directory(folder / path);
    } else {
      spill(folder / path, {bytes.begin(), bytes.end()});
    }
  }
}

/// Starts in the folder as a resumed training does, and judges what it finds.
void judge(const std::string& folder, int64_t promised, const std::string& whole_log, Verdict& verdict) {
  Unflushed quick;
  const OpsScope scope(quick);
  const RunFolder run(folder + "/run");
  std::vector<FileError> damaged;
  const auto latest = run.latest(damaged);
  ++verdict.states;
  verdict.best += promised > 0 && !best_verifies(folder + "/run");
  if (!latest) {
    verdict.lost += promised > 0;
    return;
  }
  const Progress& progress = latest->checkpoint.progress;
  verdict.lost += progress.step < promised;
  const auto lines = static_cast<size_t>(progress.jsonl_bytes);
  verdict.torn += slurp(folder + "/run/log.jsonl").substr(0, lines) != whole_log.substr(0, lines);
  int64_t good = 0;
  for (const std::string& path : checkpoint_paths(folder + "/run/checkpoints")) {
    good += static_cast<bool>(read_checkpoint(path));
  }
  verdict.alone += promised >= 2 && good < 2;
}

/// Saves a few times, then looks at every state in which the disk may be found on the way.
Verdict after_power_loss(const Protocol& protocol) {
  const TemporaryFolder disk(in_memory()), found(in_memory());
  RecordingOps recording(disk.path());
  recording.chunk = 80;
  recording.forget_file_flushes = !protocol.file_flushes;
  recording.forget_folder_flushes = !protocol.folder_flushes;
  const Saver saver{.folder = disk.path() / "run", .values = 100, .in_place = protocol.in_place};
  {
    const OpsScope scope(recording);
    saver.save(1, protocol.saves, [&](int64_t step) { recording.mark(step); });
  }
  const std::string log = slurp(saver.folder + "/log.jsonl");
  Verdict verdict;
  each_state_after_power_loss(recording.events, [&](const DiskState& state, int64_t promised) {
    build(found.path() / "disk", state);
    judge(found.path() / "disk", promised, log, verdict);
  });
  return verdict;
}

}  // namespace

TEST_CASE("after a loss of power the last saved checkpoint is there, in every state of the disk") {
  const Verdict verdict = after_power_loss({.saves = 12});
  MESSAGE(verdict.states, " states");
  CHECK(verdict.states >= 2000);
  CHECK(verdict.lost == 0);
  CHECK(verdict.alone == 0);
  CHECK(verdict.best == 0);
  CHECK(verdict.torn == 0);
}

TEST_CASE("the model of the disk catches a saver that writes in place or leaves out a flush") {
  for (const Protocol& protocol :
       {Protocol{.in_place = true}, Protocol{.file_flushes = false}, Protocol{.folder_flushes = false}}) {
    CAPTURE(protocol.in_place);
    CAPTURE(protocol.file_flushes);
    const Verdict verdict = after_power_loss(protocol);
    MESSAGE(verdict.lost, " of ", verdict.states, " states without the last saved checkpoint");
    CHECK(verdict.lost > 0);
  }
}
