// The two streams of the tool: results go to standard output, everything else to standard error. What drives
// a terminal in a text that is handed over, a hostile name for example, is printed as \xNN (tensor/text.h);
// codes of the tool's own appear only on a terminal that wants them.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "luxgrad/tools/exit_code.h"

namespace lux {

/// Writes one line or more to standard output. A name that must not break its line is made printable before.
void print_result(std::string_view lines);
/// Writes the line to standard error.
void print_note(std::string_view line);
/// Like print_note, as `luxgrad: error: …`, red where that is possible.
void print_error(std::string_view message);
/// Like print_note, the first time that work of a device was not for a graph, why (tensor/cuda_graph.h).
void print_graph_notice();
/// Its sentence and details; where memory is wanted, with how much of it was not enough.
void print_failure(const Failure& failure);
/// Writes what is still buffered for standard output. Throws CommandError when any of it was lost; a reader
/// that left early is no error.
void flush_results();
/// Writes bytes to standard output. Throws CommandError when it does not take them all.
void write_result_bytes(std::span<const uint8_t> bytes);

/// The number with so many digits behind the point.
std::string fixed(double value, int digits);

enum class ProgressStyle { none, bar, json };
/// The style named `none`, `bar` or `json`.
ProgressStyle progress_style(std::string_view name);

/// How far a long work is: a bar on a terminal, elsewhere a line every ten seconds, or JSON objects; all on
/// standard error. A line of another kind makes room for itself.
class ProgressLine {
 public:
  explicit ProgressLine(ProgressStyle style);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  /// `done` of `total` (-1: nobody knows) are done; `detail` says more, a name for example.
  void show(int64_t done, int64_t total, const std::string& detail);
  /// Before the work on the next one, `name`: the memory that it is expected to take.
  void expect(int64_t done, int64_t total, const std::string& name, int64_t bytes);

 private:
  using Clock = std::chrono::steady_clock;
  std::string remaining(int64_t done, int64_t total) const;
  void draw(const std::string& line);

  ProgressStyle style_;
  bool terminal_;
  int64_t first_ = -1;  // done before the first call
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_line_ = start_;
};

}  // namespace lux
