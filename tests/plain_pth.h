// A second reading of PyTorch's checkpoints that shares nothing with the first: it walks over the opcodes of
// an honest file, keeps texts and numbers in the order they come, and takes a tensor to be what stands around
// its persistent id. It understands honest files, no more.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace plain_pth {

struct Found {
  std::vector<int64_t> sizes;
  std::vector<uint8_t> bytes;
};

using Bytes = std::vector<uint8_t>;

inline uint64_t number_at(const Bytes& file, size_t at, size_t width) {
  uint64_t value = 0;
  std::memcpy(&value, file.data() + at, std::min<size_t>(width, 8));  // of the magic number, a part
  return value;
}

/// Where the data of the archive's entry whose name ends so begin.
inline size_t entry_data(const Bytes& file, const std::string& ending) {
  for (size_t at = 0; at + 30 < file.size(); ++at) {
    if (std::memcmp(file.data() + at, "PK\3\4", 4) != 0) continue;
    const size_t name = number_at(file, at + 26, 2), extra = number_at(file, at + 28, 2);
    const std::string text(file.begin() + static_cast<std::ptrdiff_t>(at) + 30,
                           file.begin() + static_cast<std::ptrdiff_t>(at + 30 + name));
    if (text.ends_with(ending)) return at + 30 + name + extra;
  }
  throw std::runtime_error("no entry " + ending);
}

struct Tensor {
  std::string name, key;
  bool wide = false;  // 64-bit integers; everything else in honest files is f32
  int64_t first = 0;  // element of the storage
  int64_t numel = 0;  // of the storage
  std::vector<int64_t> sizes, strides;
};

struct Walk {
  std::vector<Tensor> tensors;
  std::vector<std::string> texts;
  size_t end = 0;
};

/// From the opcode at `at` to STOP.
inline Walk walk(const Bytes& file, size_t at) {
  Walk result;
  std::map<uint64_t, std::string> memo;  // texts, and "" for all else
  std::string latest, name;
  std::vector<int64_t> numbers;
  std::vector<std::string> since;  // texts since the last tensor
  bool wide = false;
  int to_come = 0;  // of a tensor: 2 for sizes and strides, 1 for strides
  const auto say = [&](const std::string& text) {
    latest = text;
    since.push_back(text);
    result.texts.push_back(text);
  };
  const auto tuple_ends = [&] {
    if (to_come == 2) {
      result.tensors.back().first = numbers.at(0);
      result.tensors.back().sizes.assign(numbers.begin() + 1, numbers.end());
    } else if (to_come == 1) {
      result.tensors.back().strides = numbers;
    }
    if (to_come > 0) {
      numbers.clear();
      --to_come;
    }
    latest.clear();
  };
  for (;;) {
    const uint8_t opcode = file.at(at++);
    const auto take = [&](size_t width) { return number_at(file, (at += width) - width, width); };
    const auto take_text = [&](size_t length) {
      at += length;
      return std::string(reinterpret_cast<const char*>(file.data()) + at - length, length);
    };
    switch (opcode) {
      case '.':
        result.end = at;
        return result;
      case 0x80:
        at += 1;
        break;
      case 'X':
        say(take_text(take(4)));
        break;
      case 'U':
        say(take_text(take(1)));
        break;
      case 'K':
        numbers.push_back(static_cast<int64_t>(take(1)));
        break;
      case 'M':
        numbers.push_back(static_cast<int64_t>(take(2)));
        break;
      case 'J':
        numbers.push_back(static_cast<int32_t>(take(4)));
        break;
      case 0x8a: {
        const size_t length = take(1);
        numbers.push_back(static_cast<int64_t>(take(length)));
        break;
      }
      case 'c': {
        std::string global;
        for (int lines = 0; lines < 2; at++) {
          global += static_cast<char>(file.at(at));
          lines += file.at(at) == '\n' ? 1 : 0;
        }
        latest = "global " + global;
        if (global.find("Storage") != std::string::npos) wide = global.find("Long") != std::string::npos;
        break;
      }
      case 'q':
        memo[take(1)] = latest;
        break;
      case 'r':
        memo[take(4)] = latest;
        break;
      case 'h':
      case 'j': {
        const std::string& recalled = memo[take(opcode == 'h' ? 1 : 4)];
        if (recalled.starts_with("global ")) {
          if (recalled.find("Storage") != std::string::npos)
            wide = recalled.find("Long") != std::string::npos;
        } else if (!recalled.empty()) {
          say(recalled);
        }
        break;
      }
      case 'Q': {  // …, name, "storage", key, device; numel is the last number
        const size_t count = since.size();
        result.tensors.push_back({since.at(count - 4), since.at(count - 2), wide, 0, numbers.back(), {}, {}});
        numbers.clear();
        to_come = 2;
        latest.clear();
        break;
      }
      case 't':
      case ')':
      case 0x85:
      case 0x86:
      case 0x87:
        tuple_ends();
        break;
      default:
        latest.clear();
    }
  }
}

/// Tensors by the key that stands before them.
inline std::map<std::string, Found> read(const Bytes& file) {
  const bool archive = file.at(0) == 'P';
  Walk program;
  std::map<std::string, size_t> places;
  if (archive) {
    program = walk(file, entry_data(file, "/data.pkl"));
    for (const Tensor& tensor : program.tensors) places[tensor.key] = entry_data(file, "/data/" + tensor.key);
  } else {
    size_t at = 0;
    for (int i = 0; i < 3; ++i) at = walk(file, at).end;
    program = walk(file, at);
    const Walk keys = walk(file, program.end);
    at = keys.end;
    std::map<std::string, bool> wide;
    for (const Tensor& tensor : program.tensors) wide[tensor.key] = tensor.wide;
    for (const std::string& key : keys.texts) {
      places[key] = at + 8;
      at += 8 + number_at(file, at, 8) * (wide.at(key) ? 8 : 4);
    }
  }
  std::map<std::string, Found> found;
  for (const Tensor& tensor : program.tensors) {
    const size_t width = tensor.wide ? 8 : 4;
    int64_t numel = 1;
    for (const int64_t size : tensor.sizes) numel *= size;
    Bytes bytes;
    for (int64_t i = 0; i < numel; ++i) {
      int64_t rest = i, position = tensor.first;
      for (size_t d = tensor.sizes.size(); d-- > 0; rest /= tensor.sizes[d])
        position += rest % tensor.sizes[d] * tensor.strides.at(d);
      const size_t begin = places.at(tensor.key) + static_cast<size_t>(position) * width;
      for (size_t b = 0; b < width; ++b) bytes.push_back(file.at(begin + b));
    }
    found[tensor.name] = {tensor.sizes, bytes};
  }
  return found;
}

}  // namespace plain_pth
