// Work that repeats itself on the device, such as a network on pictures of one size: recorded once as a CUDA
// graph, from then on launched as a whole. What runs is the same, in the same order on the same bits; what
// goes is the host's time between the launches.
//
// A graph repeats launches and copies with their addresses and numbers. So it has memory of its own for all
// that the work allocates, gets its inputs copied to where it reads them, and is forgotten when the weights
// that it reads are other ones. What changes from run to run must be an input: a number that the host hands
// to a kernel stays what it was. Work that looks at the device's results, or waits for them, cannot be
// recorded, and runs launch by launch as before.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>

#include "luxgrad/tensor/function_ref.h"
#include "luxgrad/tensor/tensor.h"

namespace lux::cuda {

/// Graphs of one owner's work, those used last. Thread-safe; one runs at a time, as there is one stream.
class Graphs {
 public:
  using Work = FunctionRef<Tensors(const Tensors& inputs)>;

  /// At most `most` graphs, and notes on as many other shapes.
  explicit Graphs(size_t most = 4);
  ~Graphs();
  Graphs(const Graphs&) = delete;
  Graphs& operator=(const Graphs&) = delete;

  /// `work(inputs)`, with the inputs on the device, wherever they are given. The first time it runs as ever,
  /// and what it needs is measured; the second time it is recorded. `key` names the work, also in errors, and
  /// the numbers that it is made with; shapes and dtypes of the inputs are added. `reads`: what it reads and
  /// writes besides its inputs and its own, such as weights. The results may be the graph's own: its next run
  /// overwrites them. Throws what `work` throws.
  Tensors run(const std::string& key, const Tensors& inputs, const Tensors& reads, Work work);

  /// Forgets all of them, whose memory goes back to the pool.
  void clear();
  /// How many graphs there are.
  size_t size() const;

 private:
  struct Entry;

  std::shared_ptr<Entry> entry(const std::string& key, const Tensors& inputs, const Tensors& reads);
  bool record(Entry& entry, const Tensors& inputs, Work work);

  size_t most_;
  std::list<std::shared_ptr<Entry>> entries_;  // the one used last first
};

/// Whether work is recorded from now on; on, unless LUX_CUDA_GRAPHS is 0. Not in a blocking run
/// (tensor/cuda.h). Returns what it was before.
bool set_graphs_wanted(bool wanted);
/// Forgets the graphs of all owners, because memory is short or the kernels become other ones. Returns
/// whether there were any.
bool forget_graphs();
/// Keeps something alive as long as the graph that this thread is recording, if it is.
void keep_for_graph(std::shared_ptr<const void> thing);

/// Says why some work is not even tried to be recorded: `draws random numbers`.
void note_not_recorded(const std::string& why);
/// Why work was not recorded, as a sentence, for whoever runs the program: the first time that this is asked
/// after it has happened, then empty.
std::string take_graph_notice();

}  // namespace lux::cuda
