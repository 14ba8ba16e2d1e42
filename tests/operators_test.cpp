// Every operator row passes every check, and every operator has a row.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>

#include "luxgrad/autograd/op_case.h"
#include "op_harness.h"

using namespace lux;
namespace fs = std::filesystem;

namespace {

// Functions of the library that pass their first argument on to `differentiable`.
const std::set<std::string, std::less<>> kDoors = {"differentiable", "unary", "reduce", "reduce_dims"};

std::string text_of(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The literal first arguments of the doors in a source: `unary("relu"` gives relu.
void collect_operators(const std::string& text, std::set<std::string>& names) {
  for (size_t quote = text.find("(\""); quote != std::string::npos; quote = text.find("(\"", quote + 1)) {
    size_t begin = quote;
    while (begin > 0 &&
           (std::isalnum(static_cast<unsigned char>(text[begin - 1])) != 0 || text[begin - 1] == '_'))
      --begin;
    if (kDoors.contains(text.substr(begin, quote - begin)))
      names.insert(text.substr(quote + 2, text.find('"', quote + 2) - quote - 2));
  }
}

std::set<std::string> operators_in_sources() {
  std::set<std::string> names;
  for (const char* floor : {"kernels", "layers", "losses", "models"}) {
    if (!fs::exists(fs::path(LUX_SOURCE_DIR) / floor)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(LUX_SOURCE_DIR) / floor)) {
      const std::string extension = entry.path().extension().string();
      if (extension == ".cpp" || extension == ".cu") collect_operators(text_of(entry.path()), names);
    }
  }
  return names;
}

}  // namespace

TEST_CASE("every row passes every check") {
  MESSAGE("CUDA against CPU: skipped, this build has no CUDA backend");
  for (const OpCase& row : op_cases()) {
    for (const OpCheck& check : op_checks()) {
      CAPTURE(row.name);
      CAPTURE(std::string(check.name));
      const std::string failure = check.run(row);
      CHECK_MESSAGE(failure.empty(), failure);
    }
  }
}

TEST_CASE("every wrong use says what is wrong") {
  for (const ErrorCase& row : error_cases()) {
    const std::string failure = check_error(row);
    CHECK_MESSAGE(failure.empty(), row.op, ": ", failure);
  }
}

TEST_CASE("row names are unique") {
  std::set<std::string> names;
  for (const OpCase& row : op_cases()) CHECK_MESSAGE(names.insert(row.name).second, row.name);
}

TEST_CASE("every operator has a row that runs it, forward and backward") {
  const std::set<std::string> operators = operators_in_sources();
  CHECK(operators.size() >= 20);
  CHECK(operators.contains("conv2d"));
  CHECK(operators.contains("relu"));
  std::set<std::string> covered;
  for (const OpCase& row : op_cases()) {
    if (!operators.contains(row.op())) continue;
    const Announced found = announced_by(row);
    const auto has = [&](const std::vector<std::string>& names) {
      return std::find(names.begin(), names.end(), row.op()) != names.end();
    };
    CHECK_MESSAGE(has(found.forward), row.name, " does not run ", row.op());
    CHECK_MESSAGE(has(found.backward), row.name, " does not run the backward of ", row.op());
    covered.insert(row.op());
  }
  for (const std::string& name : operators) CHECK_MESSAGE(covered.contains(name), name, " has no row");
}

TEST_CASE("no operator hides behind a door that the test above does not know") {
  for (const char* floor : {"kernels", "layers", "losses", "models"}) {
    if (!fs::exists(fs::path(LUX_SOURCE_DIR) / floor)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(LUX_SOURCE_DIR) / floor)) {
      if (!entry.is_regular_file() || text_of(entry.path()).find("differentiable(name") == std::string::npos)
        continue;
      const std::string file = entry.path().filename().string();
      CHECK_MESSAGE((file == "unary.h" || file == "reductions.cpp"), file);
    }
  }
}
