// The documents say what is there: code in README.md is code that the suite compiles and runs, every
// `file#name` names a file of the project in which that name occurs, and every filter of test cases selects
// some.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <vector>

#include "child_process.h"
#include "luxgrad/data/image.h"
#include "luxgrad/models/default_weights.h"
#include "temporary_folder.h"

namespace fs = std::filesystem;

namespace {

const fs::path kRoot = LUX_SOURCE_DIR;

std::vector<fs::path> documents() {
  std::vector<fs::path> found = {kRoot / "README.md", kRoot / "CONTRIBUTING.md", kRoot / "SECURITY.md"};
  for (const auto& entry : fs::directory_iterator(kRoot / "docs")) {
    if (entry.path().extension() == ".md") found.push_back(entry.path());
  }
  return found;
}

std::vector<std::string> matches(const std::string& text, const char* pattern, size_t group) {
  const std::regex form(pattern);
  std::vector<std::string> found;
  for (std::sregex_iterator match(text.begin(), text.end(), form), end; match != end; ++match)
    found.push_back((*match)[group]);
  return found;
}

/// The ```cpp blocks of a document.
std::vector<std::string> code_blocks(const std::string& text) {
  std::vector<std::string> found;
  for (size_t begin = text.find("```cpp\n"); begin != std::string::npos;
       begin = text.find("```cpp\n", begin)) {
    begin += 7;
    const size_t end = text.find("```", begin);
    found.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return found;
}

/// Whether `name` occurs in `text` as a whole word.
bool has_word(const std::string& text, const std::string& name) {
  const auto letter = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
  for (size_t at = text.find(name); at != std::string::npos; at = text.find(name, at + 1)) {
    const size_t end = at + name.size();
    if ((at == 0 || !letter(text[at - 1])) && (end == text.size() || !letter(text[end]))) return true;
  }
  return false;
}

/// What is wrong with the `file` and `file#name` references of a document.
std::vector<std::string> broken_references(const std::string& text) {
  std::vector<std::string> broken;
  const char* form =
      "`((?:tensor|autograd|data|kernels|layers|losses|models|training|tools|tests|bench|docs|cmake)/"
      "[A-Za-z0-9_./]*)(?:#([A-Za-z0-9_]+))?`";
  const std::vector<std::string> files = matches(text, form, 1), names = matches(text, form, 2);
  for (size_t i = 0; i < files.size(); ++i) {
    if (!fs::exists(kRoot / files[i]))
      broken.push_back(files[i]);
    else if (!names[i].empty() && !has_word(slurp(kRoot / files[i]), names[i]))
      broken.push_back(files[i] + "#" + names[i]);
  }
  return broken;
}

/// The names of the test cases in a source.
std::vector<std::string> test_cases(const std::string& source) {
  std::vector<std::string> found;
  for (size_t at = 0; (at = source.find("TEST_CASE(", at)) != std::string::npos;) {
    at = std::min(source.find('"', at), source.size() - 1) + 1;
    found.push_back(source.substr(at, source.find("\")", at) - at));
    std::erase(found.back(), '\n');  // of a name in several lines
  }
  return found;
}

/// Whether doctest's option -tc selects a case: `*` stands for any characters, letters have no case.
bool selects(const std::string& filter, const std::string& name) {
  std::string form;
  for (const char c : filter) {
    if (c == '*') form += '.';
    if (c != '*' && std::isalnum(static_cast<unsigned char>(c)) == 0) form += '\\';
    form += c;
  }
  return std::regex_match(name, std::regex(form, std::regex::icase));
}

/// The commands of a document, `T/some_test -tc="one*,*other*"`, that run no test, and the filters in vain.
std::vector<std::string> idle_filters(const std::string& text) {
  const char* form = "T/([a-z0-9_]+_test)(?: -tc=\"([^\"]*)\")?";
  const std::vector<std::string> programs = matches(text, form, 1), filters = matches(text, form, 2);
  std::vector<std::string> idle;
  for (size_t i = 0; i < programs.size(); ++i) {
    const fs::path source = kRoot / "tests" / (programs[i] + ".cpp");
    if (!fs::exists(source)) {
      idle.push_back(programs[i]);
      continue;
    }
    const std::vector<std::string> cases = test_cases(slurp(source));
    for (const std::string& filter : matches(filters[i], "[^,]+", 0)) {
      if (std::none_of(cases.begin(), cases.end(),
                       [&](const std::string& name) { return selects(filter, name); }))
        idle.push_back(programs[i] + " " + filter);
    }
  }
  return idle;
}

}  // namespace

TEST_CASE("every test that a document names runs something") {
  size_t commands = 0;
  for (const fs::path& document : documents()) {
    const std::string text = slurp(document);
    for (const std::string& idle : idle_filters(text))
      FAIL_CHECK(document.filename().string() << " names " << idle << ", which selects no test");
    commands += matches(text, "-tc=", 0).size();
  }
  CHECK(commands > 50);
  CHECK(idle_filters("`T/docs_test -tc=\"Every file*,a reference that*\"`").empty());
  CHECK(idle_filters("`T/docs_test -tc=\"no such case*,every*\"`").size() == 1);
  CHECK(idle_filters("`T/no_such_test`").size() == 1);
}

TEST_CASE("every file and function that a document names exists") {
  size_t references = 0;
  for (const fs::path& document : documents()) {
    const std::string text = slurp(document);
    REQUIRE_FALSE(text.empty());
    for (const std::string& broken : broken_references(text))
      FAIL_CHECK(document.filename().string() << " names " << broken << ", which is not there");
    references += static_cast<size_t>(std::count(text.begin(), text.end(), '#'));
  }
  CHECK(references > 50);
}

TEST_CASE("a reference that leads nowhere is found") {
  CHECK(broken_references("see `tensor/shape.h#Shape` and `tools/`").empty());
  CHECK(broken_references("see `tensor/shape.h#Shap`").size() == 1);
  CHECK(broken_references("see `tensor/shapes.h`").size() == 1);
}

TEST_CASE("code in the README is code of the compiled examples") {
  std::string compiled;
  for (const auto& entry : fs::directory_iterator(kRoot / "docs/examples")) compiled += slurp(entry.path());
  const std::vector<std::string> blocks = code_blocks(slurp(kRoot / "README.md"));
  CHECK(blocks.size() == 2);
  for (const std::string& block : blocks) {
    INFO(block);
    CHECK(compiled.find(block) != std::string::npos);
  }
}

TEST_CASE("the example that trains lowers its loss") {
  const TemporaryFolder scratch;
  const ChildResult result = run_child(scratch.path(), {LUX_EXAMPLE_TRAIN});
  CHECK(result.code == 0);
  const std::vector<std::string> losses = matches(result.out, "loss ([0-9.]+)", 1);
  REQUIRE(losses.size() == 5);
  CHECK(std::stod(losses.back()) < 0.7 * std::stod(losses.front()));
}

TEST_CASE("the example that enhances writes a picture of the same size") {
  if (lux::default_weights("zero_dce").empty()) {
    MESSAGE("skipped: this build has no default weights");
    return;
  }
  const TemporaryFolder scratch;
  lux::Image dark;
  dark.allocate(20, 15, 3, 8);
  const std::string from = scratch.path() / "dark.png", to = scratch.path() / "bright.png";
  lux::save_image(from, dark);
  CHECK(run_child(scratch.path(), {LUX_EXAMPLE_ENHANCE, from, to}).code == 0);
  CHECK(lux::load_image(to).width == 20);
}
