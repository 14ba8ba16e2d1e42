// The rules of the house (docs/house.md), read off the sources: which floor may include which, where foreign
// libraries may be named, where launch syntax may stand. A violation is reported as `file:line: what`.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace fs = std::filesystem;

namespace {

using Names = std::set<std::string, std::less<>>;

const std::map<std::string, Names, std::less<>> kMayInclude = {
    {"tensor", {"tensor"}},
    {"autograd", {"tensor", "autograd"}},
    {"data", {"tensor", "data"}},
    {"kernels", {"tensor", "autograd", "kernels"}},
    {"layers", {"tensor", "autograd", "kernels", "layers"}},
    {"losses", {"tensor", "autograd", "kernels", "losses"}},
    {"models", {"tensor", "autograd", "kernels", "layers", "models"}},
    {"training", {"tensor", "autograd", "kernels", "layers", "losses", "models", "data", "training"}},
    {"tools", {"tensor", "autograd", "kernels", "layers", "losses", "models", "data", "training", "tools"}},
};

/// A foreign library: how its includes begin, and the folders that may name it.
struct Foreign {
  std::string_view prefix;
  std::vector<std::string_view> folders;
  bool in_headers;
};

const std::vector<Foreign> kForeign = {
    {"Eigen/", {"kernels/cpu/"}, true},
    {"unsupported/Eigen/", {}, false},
    {"cuda", {"tensor/", "kernels/cuda/"}, true},
    {"cudnn", {"kernels/cuda/"}, true},
    {"cublas", {"kernels/cuda/"}, true},
    {"nlohmann/", {"data/", "training/", "tools/"}, false},
    {"CLI/", {"data/", "training/", "tools/"}, false},
    {"stb/", {"data/"}, false},
    {"zlib.h", {"data/"}, false},
    {"doctest/", {}, false},
};

/// Standard headers too heavy, or too broad, for a header of ours.
const Names kNotInHeaders = {"iostream", "functional", "regex"};

bool is_header(std::string_view path) { return path.ends_with(".h") || path.ends_with(".cuh"); }

bool may_launch(std::string_view path) {
  return path == "tensor/cuda_launch.h" || path == "tensor/dtype.h" || path.ends_with(".cu") ||
         path.ends_with(".cuh");
}

/// The file named by an #include line with its opening bracket or quote, `"luxgrad/…` or `<vector`; empty
/// for other lines.
std::string included(std::string_view line) {
  const size_t hash = line.find_first_not_of(" \t");
  if (hash == std::string_view::npos || line[hash] != '#') return {};
  const size_t word = line.find_first_not_of(" \t", hash + 1);
  if (word == std::string_view::npos || !line.substr(word).starts_with("include")) return {};
  const size_t open = line.find_first_of("<\"", word);
  if (open == std::string_view::npos) return {};
  const size_t close = line.find_first_of(">\"", open + 1);
  return std::string(line.substr(open, close == std::string_view::npos ? close : close - open));
}

/// What is wrong with including `name` (as `included` returns it) in the file `path`; empty if nothing.
std::string wrong_include(std::string_view path, const std::string& name) {
  const std::string floor(path.substr(0, path.find('/')));
  const std::string file = name.substr(1);
  if (file.find("..") != std::string::npos) return "write the path without .., not " + file;
  if (name[0] == '"' || file.starts_with("luxgrad/")) {
    if (!file.starts_with("luxgrad/")) return "write \"luxgrad/<floor>/<file>.h\", not \"" + file + "\"";
    const std::string target = file.substr(8, file.find('/', 8) - 8);
    if (kMayInclude.at(floor).contains(target)) return {};
    return floor + " must not include " + file;
  }
  for (const Foreign& library : kForeign) {
    if (!file.starts_with(library.prefix)) continue;
    const bool inside = std::any_of(library.folders.begin(), library.folders.end(),
                                    [&](std::string_view folder) { return path.starts_with(folder); });
    if (!inside) return floor + " must not name <" + file + ">";
    if (is_header(path) && !library.in_headers) return "<" + file + "> belongs in a .cpp, not in a header";
  }
  if (is_header(path) && kNotInHeaders.contains(file)) return "<" + file + "> is too heavy for a header";
  return {};
}

/// Every violation in a source file of a floor; `path` is relative to the source folder.
std::vector<std::string> violations(const std::string& path, std::istream& text) {
  std::vector<std::string> found;
  std::string line;
  for (int number = 1; std::getline(text, line); ++number) {
    const auto report = [&](const std::string& what) {
      found.push_back(path + ":" + std::to_string(number) + ": " + what);
    };
    if (const std::string name = included(line); !name.empty()) {
      if (const std::string what = wrong_include(path, name); !what.empty()) report(what);
    }
    const std::string code = line.substr(0, line.find("//"));
    for (const char* mark : {"<<<", "__CUDACC__"}) {
      if (code.find(mark) != std::string::npos && !may_launch(path))
        report(std::string(mark) + " belongs in tensor/cuda_launch.h or a .cu file");
    }
  }
  return found;
}

std::vector<std::string> violations(const std::string& path, const std::string& text) {
  std::istringstream stream(text);
  return violations(path, stream);
}

bool is_source(const fs::path& path) {
  static const Names kEndings = {".h", ".cpp", ".cu", ".cuh"};
  return kEndings.contains(path.extension().string());
}

/// What the first include of a text names, as `included` returns it.
std::string first_included(std::istream& text) {
  std::string line, name;
  while (name.empty() && std::getline(text, line)) name = included(line);
  return name;
}

/// All sources of the floors, relative to the folder of all.
std::vector<std::string> sources() {
  const fs::path root = LUX_SOURCE_DIR;
  std::vector<std::string> found;
  for (const auto& [floor, below] : kMayInclude) {
    if (!fs::is_directory(root / floor)) continue;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(root / floor)) {
      if (entry.is_regular_file() && is_source(entry.path()))
        found.push_back(fs::relative(entry.path(), root).generic_string());
    }
  }
  return found;
}

std::ifstream opened(const std::string& path) {
  std::ifstream text(fs::path(LUX_SOURCE_DIR) / path);
  REQUIRE(text.good());
  return text;
}

std::string content_of(const std::string& path) {
  std::ifstream text = opened(path);
  return {std::istreambuf_iterator<char>(text), {}};
}

/// Whether a source hands kernels to the device that a tensor is on, and not only to the CPU.
bool runs_on_devices(const std::string& content) {
  for (const std::string driver :
       {"parallel_for(", "parallel_rows(", "parallel_reduce(", "parallel_pixels(", "reduce_columns("}) {
    for (size_t at = content.find(driver); at != std::string::npos; at = content.find(driver, at + 1)) {
      const size_t device = content.find_first_not_of(" \n", at + driver.size());
      if (device != std::string::npos && content.compare(device, 5, "kCpu,") != 0) return true;
    }
  }
  return false;
}

/// The names between the brackets of every `lux_kernels(…)` of a folder.
Names kernel_sources(const std::string& folder) {
  const std::string text = content_of(folder + "/CMakeLists.txt"), call = "lux_kernels(";
  Names names;
  for (size_t at = text.find(call); at != std::string::npos; at = text.find(call, at + 1)) {
    const size_t begin = at + call.size();
    std::istringstream list(text.substr(begin, text.find(')', begin) - begin));
    names.insert(std::istream_iterator<std::string>(list), {});
  }
  return names;
}

}  // namespace

TEST_CASE("no include runs up the house") {
  const std::vector<std::string> all = sources();
  for (const std::string& path : all) {
    std::ifstream text = opened(path);
    for (const std::string& violation : violations(path, text)) FAIL_CHECK(violation);
  }
  CHECK(all.size() >= 20);
}

// Headers without a source have one made for them by tests/CMakeLists.txt.
TEST_CASE("a source includes its header first, which so compiles alone, and every header may be read twice") {
  int headers = 0;
  for (const std::string& path : sources()) {
    if (!path.ends_with(".h")) continue;
    ++headers;
    std::ifstream text = opened(path);
    const std::string content{std::istreambuf_iterator<char>(text), {}};
    CHECK_MESSAGE(content.find("\n#pragma once\n") != std::string::npos, path);
    const std::string source = path.substr(0, path.size() - 1) + "cpp";
    if (!fs::exists(fs::path(LUX_SOURCE_DIR) / source)) continue;
    std::ifstream source_text = opened(source);
    CHECK_MESSAGE(first_included(source_text) == "\"luxgrad/" + path, source);
  }
  CHECK(headers >= 100);
}

// What else would be refused on a GPU, and nowhere else: tensor/cuda_launch.h.
TEST_CASE("sources that hand kernels to a device are compiled for it") {
  int kernels = 0;
  for (const std::string& path : sources()) {
    if (!path.ends_with(".cpp") || !runs_on_devices(content_of(path))) continue;
    ++kernels;
    const size_t name = path.rfind('/') + 1;
    CHECK_MESSAGE(kernel_sources(path.substr(0, name - 1)).contains(path.substr(name)), path,
                  " is none of the lux_kernels of its folder");
  }
  CHECK(kernels >= 30);
  CHECK(runs_on_devices("parallel_for(\n  x.device(), n, f)"));
  CHECK_FALSE(runs_on_devices("parallel_rows(kCpu, n, f)"));
}

TEST_CASE("a planted violation is found, with file and line") {
  const std::string up = "// kernel\n#include <vector>\n\n#include \"luxgrad/models/registry.h\"\n";
  CHECK(violations("kernels/relu.cpp", up) ==
        std::vector<std::string>{"kernels/relu.cpp:4: kernels must not include luxgrad/models/registry.h"});
  CHECK(violations("models/unet.cpp", up).empty());

  const auto rejects = [](const char* path, const char* line) { return violations(path, line).size() == 1; };
  CHECK(rejects("autograd/engine.cpp", "#include \"luxgrad/kernels/arithmetic.h\""));
  CHECK(rejects("kernels/concat.cpp", "#include \"luxgrad/data/image.h\""));
  CHECK(rejects("data/image.cpp", "#  include \"luxgrad/autograd/node.h\""));
  CHECK(rejects("losses/ssim.cpp", "#include \"luxgrad/layers/module.h\""));
  CHECK(rejects("models/zero_dce.cpp", "#include \"luxgrad/losses/zero_dce.h\""));
  CHECK(rejects("training/trainer.cpp", "#include \"luxgrad/tools/exit_code.h\""));
  CHECK(rejects("tensor/shape.cpp", "#include \"shape.h\""));
  CHECK(rejects("kernels/relu.cpp", "#include <luxgrad/models/registry.h>"));
  CHECK(rejects("data/image.cpp", "#include \"luxgrad/tensor/../tools/console.h\""));
  CHECK(rejects("kernels/conv2d.cpp", "#include <Eigen/Core>"));
  CHECK(rejects("kernels/conv2d.cpp", "#include <cudnn.h>"));
  CHECK(rejects("tools/main.cpp", "#include <doctest/doctest.h>"));
  CHECK(rejects("tools/json.h", "#include <nlohmann/json.hpp>"));
  CHECK(rejects("models/registry.cpp", "#include <nlohmann/json.hpp>"));
  CHECK(rejects("layers/module.h", "#include <functional>"));
  CHECK(rejects("kernels/conv2d.cpp", "  conv<<<blocks, threads>>>(x);"));
  CHECK(rejects("kernels/unary.h", "#ifdef __CUDACC__"));
}

TEST_CASE("what the house allows passes") {
  const auto allows = [](const char* path, const char* line) { return violations(path, line).empty(); };
  CHECK(allows("kernels/cpu/gemm.cpp", "#include <Eigen/Core>"));
  CHECK(allows("tools/info.cpp", "#include <nlohmann/json.hpp>"));
  CHECK(allows("data/safetensors.cpp", "#include <nlohmann/json.hpp>"));
  CHECK(allows("tensor/cuda_launch.h", "#ifdef __CUDACC__"));
  CHECK(allows("kernels/cuda/conv.cu", "conv<<<blocks, threads>>>(x);"));
  CHECK(allows("kernels/unary.h", "// launched with <<< >>> in tensor/cuda_launch.h"));
  CHECK(allows("layers/module.cpp", "#include <functional>"));
  CHECK(allows("losses/ssim.cpp", "#include \"luxgrad/kernels/conv2d.h\""));
}
