#include "luxgrad/tools/help.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <memory>
#include <numeric>

#include "luxgrad/data/image.h"
#include "luxgrad/tensor/error.h"
#include "luxgrad/tools/exit_code.h"

namespace lux {
namespace {

/// CLI11's help, with the footer (the example) moved to the top.
class ExampleFirst : public CLI::Formatter {
 public:
  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override {
    std::string help = app->get_footer() + "\n\n" + Formatter::make_help(app, std::move(name), mode);
    return help.substr(0, help.find_last_not_of('\n') + 1);
  }
  std::string make_footer(const CLI::App* /*app*/) const override { return ""; }
  std::string make_positionals(const CLI::App* /*app*/) const override { return ""; }  // they are options too
  std::string make_option_opts(const CLI::Option* option) const override {
    return option->get_type_size() == 0 ? "" : " " + option->get_type_name();
  }
};

/// Insertions, deletions, replacements and swaps of neighbours that turn a into b.
size_t edits(const std::string& a, const std::string& b) {
  std::vector<std::vector<size_t>> rows(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) rows[i][0] = i;
  std::iota(rows[0].begin(), rows[0].end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = rows[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      rows[i][j] = std::min({rows[i - 1][j] + 1, rows[i][j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        rows[i][j] = std::min(rows[i][j], rows[i - 2][j - 2] + 1);
    }
  }
  return rows[a.size()][b.size()];
}

}  // namespace

void begin_help_with(CLI::App& app, const std::string& example) {
  app.footer(example);
  const auto formatter = std::make_shared<ExampleFirst>();
  formatter->column_width(34);
  app.formatter(formatter);
}

std::string nearest(const std::string& word, const std::vector<std::string>& words) {
  std::string best;
  size_t fewest = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : words) {
    const bool begins = word.size() >= 2 && candidate.starts_with(word);
    const size_t distance = begins ? 1 : edits(word, candidate);
    if (distance < fewest) {
      fewest = distance;
      best = candidate;
    }
  }
  return best;
}

std::string unknown_argument(const CLI::App& app, const std::string& argument) {
  const std::string name = argument.substr(0, argument.find('='));
  if (!name.starts_with('-')) return cat("unexpected argument ", name);
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& word : option->get_lnames()) names.push_back("--" + word);
  }
  const std::string meant = name.starts_with("--") ? nearest(name, names) : nearest("-" + name, names);
  return cat("unknown option ", name, meant.empty() ? "" : cat(", did you mean ", meant, "?"));
}

std::pair<int64_t, int64_t> size_from(const std::string& text) {
  const auto side = [&](size_t begin, size_t end) {
    int64_t value = 0;
    const char* const last = text.data() + end;
    const auto [stopped, error] = std::from_chars(text.data() + begin, last, value);
    check_usage(error == std::errc() && stopped == last && value >= 1 && value <= ImageLimits{}.side,
                "--size: expected WIDTHxHEIGHT, for example 256x256, got ", text);
    return value;
  };
  const size_t x = std::min(text.find('x'), text.size());
  const int64_t width = side(0, x);
  return {width, side(std::min(x + 1, text.size()), text.size())};
}

}  // namespace lux
