#include "luxgrad/tools/console.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <nlohmann/json.hpp>

#include "luxgrad/data/result.h"
#include "luxgrad/tensor/cuda_graph.h"
#include "luxgrad/tools/measure.h"

namespace lux {
namespace {

int output_error = 0;  // the first errno of standard output

std::mutex console;      // of both streams: any thread may have something to say
bool bar_drawn = false;  // in the last line of the terminal

void clear_bar() {
  if (bar_drawn) std::fputs("\r\033[K", stderr);
  bar_drawn = false;
}

bool terminal(int descriptor) {
  const char* kind = std::getenv("TERM");
  return isatty(descriptor) == 1 && kind != nullptr && std::strcmp(kind, "dumb") != 0;
}

bool colors(int descriptor) {
  const char* off = std::getenv("NO_COLOR");
  return terminal(descriptor) && (off == nullptr || *off == '\0');
}

void write_error_line(const std::string& line) {
  const std::string whole = line + "\n";
  const std::lock_guard lock(console);
  clear_bar();
  std::fwrite(whole.data(), 1, whole.size(), stderr);
}

/// Printable, but for its line breaks.
std::string printable_lines(std::string_view text) {
  std::string safe;
  for (;;) {
    const size_t end = std::min(text.find('\n'), text.size());
    safe += printable(std::string(text.substr(0, end)));
    if (end == text.size()) return safe;
    safe += '\n';
    text.remove_prefix(end + 1);
  }
}

std::string duration(double seconds) {
  const auto whole = static_cast<int64_t>(std::lround(seconds));
  return whole < 60 ? cat(whole, " s") : cat(whole / 60, " min ", whole % 60, " s");
}

/// Columns of the terminal on standard error, 80 where it does not say.
size_t columns() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : size_t{80};
}

/// At most so many bytes of UTF-8, so that a line of progress stays one line.
std::string shortened(const std::string& text, size_t most) {
  size_t length = std::min(most, text.size());
  while (length > 0 && length < text.size() && (static_cast<unsigned char>(text[length]) & 0xc0u) == 0x80)
    --length;
  return text.substr(0, length);
}

}  // namespace

void print_result(std::string_view lines) {
  const std::string text = cat(printable_lines(lines), "\n");
  const std::lock_guard lock(console);
  clear_bar();
  errno = 0;
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() && output_error == 0)
    output_error = errno;
}

void print_note(std::string_view line) { write_error_line(printable(std::string(line))); }

void print_graph_notice() {
  if (const std::string why = cuda::take_graph_notice(); !why.empty()) print_note(why);
}

void print_error(std::string_view message) {
  const bool red = colors(STDERR_FILENO);
  write_error_line(
      cat("luxgrad: ", red ? "\033[31merror:\033[0m " : "error: ", printable(std::string(message))));
}

void print_failure(const Failure& failure) {
  const int64_t held = failure.out_of_memory ? peak_address_bytes() : -1;
  print_error(held < 0 ? failure.message
                       : cat(failure.message, "; more than ", megabytes(held), " are needed"));
  for (const std::string& detail : failure.details) print_note("  " + detail);
}

void flush_results() {
  errno = 0;
  if (std::fflush(stdout) != 0 && output_error == 0) output_error = errno;
  const int error = std::exchange(output_error, 0);
  if (error != 0 && error != EPIPE)
    throw CommandError(ExitCode::exhausted, cat("standard output: ", std::strerror(error)));
}

void write_result_bytes(std::span<const uint8_t> bytes) {
  flush_results();
  while (!bytes.empty()) {
    const ssize_t written = write(STDOUT_FILENO, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) throw CommandError(ExitCode::exhausted, cat("standard output: ", std::strerror(errno)));
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

std::string fixed(double value, int digits) {
  std::array<char, 512> text{};
  std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return text.data();
}

ProgressStyle progress_style(std::string_view name) {
  return name == "none" ? ProgressStyle::none : name == "json" ? ProgressStyle::json : ProgressStyle::bar;
}

ProgressLine::ProgressLine(ProgressStyle style) : style_(style), terminal_(terminal(STDERR_FILENO)) {}

ProgressLine::~ProgressLine() {
  const std::lock_guard lock(console);
  clear_bar();
}

std::string ProgressLine::remaining(int64_t done, int64_t total) const {
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  return duration(seconds / static_cast<double>(std::max<int64_t>(1, done - first_)) *
                  static_cast<double>(std::max<int64_t>(0, total - done)));
}

void ProgressLine::draw(const std::string& line) {
  const std::string text = cat("\r\033[K", shortened(line, columns() - 1));
  const std::lock_guard lock(console);
  std::fputs(text.c_str(), stderr);
  bar_drawn = true;
}

void ProgressLine::expect(int64_t done, int64_t total, const std::string& name, int64_t bytes) {
  const std::string text = cat(name, " needs about ", megabytes(bytes));
  if (style_ == ProgressStyle::json) {
    const nlohmann::ordered_json line = {
        {"done", done}, {"total", total}, {"detail", name}, {"memory_estimate", bytes}};
    write_error_line(line.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace));
  } else if (style_ == ProgressStyle::bar && terminal_ && total == 1) {
    draw(printable(text));
  } else if (style_ == ProgressStyle::bar && terminal_) {
    show(done, total, text);
  }
}

void ProgressLine::show(int64_t done, int64_t total, const std::string& detail) {
  if (style_ == ProgressStyle::none) return;
  if (first_ < 0) first_ = done - 1;
  const Clock::time_point now = Clock::now();
  if (style_ == ProgressStyle::json) {
    const nlohmann::ordered_json line = {{"done", done}, {"total", total}, {"detail", detail}};
    write_error_line(line.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace));
  } else if (terminal_ && total < 0) {
    draw(cat(done, "  ", printable(detail)));
  } else if (terminal_ && total > 1) {
    constexpr int64_t kWidth = 24;
    std::string bar(static_cast<size_t>(kWidth), '.');
    std::fill_n(bar.begin(), kWidth * std::min(done, total) / total, '#');
    const std::string left = done == 0 ? "" : cat(", ", remaining(done, total), " left");
    draw(cat("[", bar, "] ", done, "/", total, left, "  ", printable(detail)));
  } else if (!terminal_ && total != 1 && now - last_line_ >= std::chrono::seconds(10)) {
    last_line_ = now;
    print_note(total < 0 ? cat(done, "  ", detail)
                         : cat(done, "/", total, ", ", remaining(done, total), " left  ", detail));
  }
}

}  // namespace lux
