// The book of plans: which engine autotuning found best for which graph, on which device, by which cuDNN. As
// a text it is kept between runs. Nothing in it is trusted: an entry only chooses among the engines that
// cuDNN offers and that the rules allow.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace lux::cuda {

class PlanBook {
 public:
  /// The text of `text()`. Throws Error with the line for anything else: a wrong checksum, unknown
  /// characters, lines out of order, more than 1 MiB.
  static PlanBook read(std::string_view text);
  /// A head with the checksum of the rest, then `key = engine`, a line each, in order.
  std::string text() const;

  /// The name of the engine, or null.
  const std::string* find(const std::string& key) const;
  void set(const std::string& key, const std::string& engine) { entries_[key] = engine; }
  /// Everything that is in `other`, which wins.
  void add(const PlanBook& other);
  /// Sixteen hexadecimal digits that tell whether two books are the same.
  std::string hash() const;
  bool empty() const { return entries_.empty(); }

 private:
  std::string lines() const;

  std::map<std::string, std::string> entries_;
};

/// Sixteen hexadecimal digits of the text's 64-bit FNV-1a.
std::string hash_text(std::string_view text);

}  // namespace lux::cuda
