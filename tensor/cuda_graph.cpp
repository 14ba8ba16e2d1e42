#include "luxgrad/tensor/cuda_graph.h"

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/cuda_recording.h"
#include "luxgrad/tensor/raw.h"

namespace lux::cuda {
namespace {

constexpr Device kCuda{Device::Type::cuda, 0};

// Recursive: want of memory within a run forgets the graphs.
struct All {
  std::recursive_mutex mutex;
  std::vector<Graphs*> owners;
  bool wanted = true;
  std::string notice;
  bool noticed = false;
};

All& all() {
  static All* const all = [] {
    auto* const made = new All;  // never destroyed, as the device
    const char* const text = std::getenv("LUX_CUDA_GRAPHS");
    made->wanted = text == nullptr || std::string_view(text) != "0";
    return made;
  }();
  return *all;
}

// A graph of the driver. Destroyed when nothing of it runs any more.
class Executable {
 public:
  Executable() = default;
  ~Executable() {
    if (handle_ == nullptr) return;
    driver().synchronize(stream());
    driver().release_graph(handle_);
  }
  Executable(const Executable&) = delete;
  Executable& operator=(const Executable&) = delete;

  /// Ends what `begin_capture` began; the number of an error.
  int end_capture() { return driver().end_capture(&handle_, stream()); }
  void launch(const std::string& work) const {
    if (const int error = driver().launch_graph(handle_, stream()); error != 0)
      check_call(error, cat("launching the graph of ", work));
  }

 private:
  void* handle_ = nullptr;
};

Tensors on_device(const Tensors& inputs) {
  Tensors there;
  for (const Tensor& input : inputs) there.push_back(input.to(kCuda));
  return there;
}

bool same(const std::vector<std::weak_ptr<Storage>>& known, const Tensors& reads) {
  return std::equal(known.begin(), known.end(), reads.begin(), reads.end(),
                    [](const std::weak_ptr<Storage>& storage, const Tensor& tensor) {
                      return storage.lock() == tensor.storage();
                    });
}

}  // namespace

struct Graphs::Entry {
  std::string key;
  std::vector<std::weak_ptr<Storage>> reads;
  int64_t bytes = -1;    // that the work has needed; -1: it has not run
  bool refused = false;  // it cannot be recorded

  // Of the graph, where there is one. The last goes first: it refers to the others.
  Tensors inputs, results;
  GraphMemory memory;
  std::unique_ptr<Executable> graph;
};

Graphs::Graphs(size_t most) : most_(most) {
  const std::lock_guard lock(all().mutex);
  all().owners.push_back(this);
}

Graphs::~Graphs() {
  const std::lock_guard lock(all().mutex);
  std::erase(all().owners, this);
  clear();
}

void Graphs::clear() {
  const std::lock_guard lock(all().mutex);
  const OnStream where_they_run(nullptr);  // also for a copy that finds no memory
  entries_.clear();
}

size_t Graphs::size() const {
  const std::lock_guard lock(all().mutex);
  return static_cast<size_t>(std::count_if(entries_.begin(), entries_.end(),
                                           [](const auto& entry) { return entry->graph != nullptr; }));
}

// Moved to the front; where it reads other tensors than before it begins anew.
std::shared_ptr<Graphs::Entry> Graphs::entry(const std::string& key, const Tensors& inputs,
                                             const Tensors& reads) {
  std::string whole = key;
  for (const Tensor& input : inputs) whole += cat(" ", input.dtype(), input.shape());
  const auto known =
      std::find_if(entries_.begin(), entries_.end(), [&](const auto& entry) { return entry->key == whole; });
  if (known != entries_.end()) {
    if (same((*known)->reads, reads)) {
      entries_.splice(entries_.begin(), entries_, known);
      return entries_.front();
    }
    entries_.erase(known);
  }
  auto made = std::make_shared<Entry>();
  made->key = std::move(whole);
  for (const Tensor& tensor : reads) made->reads.push_back(tensor.storage());
  entries_.push_front(made);
  if (entries_.size() > most_) entries_.pop_back();
  return made;
}

// Whether the entry has a graph now. Nothing has run.
bool Graphs::record(Entry& entry, const Tensors& inputs, Work work) {
  const auto attempt = [&]() -> std::string {
    Tensors own, results;
    for (const Tensor& input : inputs) own.push_back(empty(input.shape(), {input.dtype(), kCuda}));
    auto graph = std::make_unique<Executable>();
    Recording recording(std::make_shared<Storage>(entry.bytes, kCuda));
    recording.graph().kept.push_back(recording.memory());
    check_call(driver().begin_capture(stream()), "beginning a graph");
    std::string failure;
    try {
      results = work(own);
    } catch (const std::exception& error) {
      failure = cat("failed: ", error.what());
    }
    const int error = graph->end_capture();
    if (error != 0) driver().last_error();  // else the next launch would report it
    if (!recording.refusal().empty() || !failure.empty() || error != 0) {
      entry.refused = !recording.outgrown();
      if (!recording.refusal().empty()) return recording.refusal();
      return error == 0 || !failure.empty() ? failure : cat("is not for graphs: ", driver().text_of(error));
    }
    entry.inputs = std::move(own);
    for (const Tensor& result : results) entry.results.push_back(result.detach());
    entry.memory = std::move(recording.graph());
    entry.graph = std::move(graph);
    return {};
  };
  std::string why;
  try {
    why = attempt();
  } catch (const std::exception& error) {  // such as want of memory
    entry.refused = true;
    why = cat("was not recorded: ", error.what());
  }
  if (entry.refused) note_not_recorded(why);
  return entry.graph != nullptr;
}

Tensors Graphs::run(const std::string& key, const Tensors& inputs, const Tensors& reads, Work work) {
  const std::lock_guard lock(all().mutex);
  const bool records =
      all().wanted && !is_blocking() && Recording::current() == nullptr && driver().begin_capture != nullptr;
  if (!records) return work(on_device(inputs));
  const std::shared_ptr<Entry> here = entry(key, inputs, reads);  // stays, whatever is forgotten meanwhile
  Entry& entry = *here;
  const bool recordable = entry.bytes >= 0 && !entry.refused;
  if (entry.graph == nullptr && !(recordable && record(entry, inputs, work))) {
    const Tensors there = on_device(inputs);
    const Recording measuring;
    Tensors results = work(there);
    entry.bytes = std::max(entry.bytes, measuring.bytes());
    return results;
  }
  for (size_t i = 0; i < inputs.size(); ++i) copy_(entry.inputs[i], inputs[i]);
  entry.graph->launch(entry.key);
  return entry.results;
}

bool set_graphs_wanted(bool wanted) {
  const std::lock_guard lock(all().mutex);
  return std::exchange(all().wanted, wanted);
}

bool forget_graphs() {
  const std::lock_guard lock(all().mutex);
  size_t graphs = 0;
  for (Graphs* const owner : all().owners) {
    graphs += owner->size();
    owner->clear();
  }
  return graphs > 0;
}

void keep_for_graph(std::shared_ptr<const void> thing) {
  Recording* const recording = Recording::current();
  if (recording != nullptr && recording->records()) recording->graph().kept.push_back(std::move(thing));
}

void note_not_recorded(const std::string& why) {
  const std::lock_guard lock(all().mutex);
  if (!all().wanted || std::exchange(all().noticed, true)) return;
  all().notice = cat("cuda:0: runs launch by launch, not as a CUDA graph, because the work ", why);
}

std::string take_graph_notice() {
  const std::lock_guard lock(all().mutex);
  return std::exchange(all().notice, {});
}

}  // namespace lux::cuda
