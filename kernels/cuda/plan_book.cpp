#include "luxgrad/kernels/cuda/plan_book.h"

#include <algorithm>

#include "luxgrad/tensor/error.h"
#include "luxgrad/tensor/random.h"

namespace lux::cuda {
namespace {

constexpr std::string_view kHead = "luxgrad plans 1 ", kBetween = " = ";
constexpr size_t kMostBytes = size_t{1} << 20, kLongestLine = 400;

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
         std::string_view(" ,./>_=-").find(c) != std::string_view::npos;
}

[[noreturn]] void refuse(int64_t line, std::string_view what) { fail("plans: line ", line, ": ", what); }

}  // namespace

std::string hash_text(std::string_view text) {
  uint64_t value = fnv1a(text);
  std::string digits(16, '0');
  for (size_t i = digits.size(); i > 0; value >>= 4) digits[--i] = "0123456789abcdef"[value & 15];
  return digits;
}

std::string PlanBook::lines() const {
  std::string text;
  for (const auto& [key, engine] : entries_) text += cat(key, kBetween, engine, "\n");
  return text;
}

std::string PlanBook::hash() const { return hash_text(lines()); }

std::string PlanBook::text() const {
  const std::string rest = lines();
  return cat(kHead, hash_text(rest), "\n", rest);
}

const std::string* PlanBook::find(const std::string& key) const {
  const auto found = entries_.find(key);
  return found == entries_.end() ? nullptr : &found->second;
}

void PlanBook::add(const PlanBook& other) {
  for (const auto& [key, engine] : other.entries_) set(key, engine);
}

PlanBook PlanBook::read(std::string_view text) {
  if (text.size() > kMostBytes) refuse(1, "expected at most 1 MiB");
  const size_t head = text.find('\n');
  if (!text.starts_with(kHead) || head != kHead.size() + 16) refuse(1, "this is no book of plans");
  std::string_view rest = text.substr(head + 1);
  if (text.substr(kHead.size(), 16) != hash_text(rest)) refuse(1, "the checksum is another");
  PlanBook book;
  std::string last;
  for (int64_t number = 2; !rest.empty(); ++number) {
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) refuse(number, "the end is missing");
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    const size_t between = line.find(kBetween);
    if (line.size() > kLongestLine || !std::all_of(line.begin(), line.end(), is_plain) ||
        between == std::string_view::npos || between == 0 || between + kBetween.size() == line.size())
      refuse(number, "expected `graph = engine`");
    std::string key(line.substr(0, between));
    if (key <= last) refuse(number, "the lines are out of order");
    book.set(key, std::string(line.substr(between + kBetween.size())));
    last = std::move(key);
  }
  return book;
}

}  // namespace lux::cuda
