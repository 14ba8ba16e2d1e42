#include "luxgrad/data/settings.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "luxgrad/data/file.h"
#include "luxgrad/tensor/text.h"

namespace lux {
namespace {

constexpr std::string_view kBlanks = " \t\r";
constexpr std::string_view kEndsOfWords = " \t\r\n,[]\"'#";
constexpr std::string_view kLettersOfNames =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  std::vector<Setting> settings() {
    std::vector<Setting> found;
    std::set<std::string, std::less<>> names;
    for (skip_lines(); at_ < text_.size(); skip_lines()) {
      found.push_back(setting());
      if (!names.insert(found.back().name).second) stop(in_quotes(found.back().name), " stands there twice");
      skip_blanks();
      if (at_ < text_.size() && text_[at_] != '\n') stop("after a value, the line goes on");
    }
    return found;
  }

 private:
  template <class... Parts>
  [[noreturn]] void stop(const Parts&... reason) const {
    refuse(FileErrorCode::malformed, -1, "line ", line_, ": ", reason...);
  }

  Setting setting() {
    if (next_is('[')) stop("expected name = value, not a [table]");
    Setting setting;
    setting.line = line_;
    const size_t end = std::min(text_.find_first_not_of(kLettersOfNames, at_), text_.size());
    setting.name = text_.substr(at_, end - at_);
    at_ = end;
    skip_blanks();
    if (setting.name.empty() || !take('=')) stop("expected name = value");
    skip_blanks();
    if (take('[')) {
      list(setting.values);
    } else {
      setting.values.push_back(value());
    }
    return setting;
  }

  // Behind its bracket; may go over several lines.
  void list(std::vector<std::string>& values) {
    for (skip_lines(); !take(']'); skip_lines()) {
      values.push_back(value());
      skip_lines();
      if (!take(',') && !next_is(']')) stop("expected , or ] in a list");
    }
  }

  std::string value() {
    if (next_is('"') || next_is('\'')) return quoted(text_[at_++]);
    const size_t end = std::min(text_.find_first_of(kEndsOfWords, at_), text_.size());
    if (end == at_) stop("expected a value");
    return std::string(text_.substr(std::exchange(at_, end), end - at_));
  }

  // Behind its quote. Only " knows escapes.
  std::string quoted(char quote) {
    std::string value;
    while (!take(quote)) {
      if (at_ == text_.size() || text_[at_] == '\n') stop("a quote is not closed");
      const bool escaped = quote == '"' && take('\\');
      if (escaped && !next_is('"') && !next_is('\\')) stop("of the escapes, only \\\" and \\\\ are known");
      value += text_[at_++];
    }
    return value;
  }

  void skip_blanks() {
    at_ = std::min(text_.find_first_not_of(kBlanks, at_), text_.size());
    if (next_is('#')) at_ = std::min(text_.find('\n', at_), text_.size());
  }

  void skip_lines() {
    for (skip_blanks(); take('\n'); skip_blanks()) ++line_;
  }

  bool next_is(char c) const { return at_ < text_.size() && text_[at_] == c; }
  bool take(char c) {
    if (!next_is(c)) return false;
    ++at_;
    return true;
  }

  std::string_view text_;
  size_t at_ = 0;
  int64_t line_ = 1;
};

void check_printable(std::string_view text) {
  int64_t line = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    ++line;
    std::string content(text.substr(begin, end - begin));
    std::replace(content.begin(), content.end(), '\t', ' ');
    if (!content.empty() && content.back() == '\r') content.pop_back();
    if (printable(content) != content)
      refuse(FileErrorCode::malformed, -1, "line ", line, ": is no printable UTF-8 text");
    begin = end + 1;
  }
}

}  // namespace

Result<std::vector<Setting>> parse_settings(std::span<const uint8_t> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return attempt([&] {
    check_printable(text);
    return Parser(text).settings();
  });
}

Result<std::vector<Setting>> read_settings(const std::string& path) {
  return attempt(
      [&] { return parse_settings(read_file(path, kMaxSettingsBytes).value()).in_file(path).value(); });
}

}  // namespace lux
