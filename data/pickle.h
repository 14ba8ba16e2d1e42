// A closed evaluator of Python's pickles: the part of the language that PyTorch writes weights in.
//
// A pickle is a program for a small stack machine, and in Python it may call anything. Here nothing can be
// called: a value is one of eleven kinds of data, and the few functions that weights mention are names in a
// list (data/torch_values.h), each of which makes one of those kinds from its arguments, after a check of
// every one of them. There is no way from a pickle to code, to files, or to memory beyond the limits.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <string_view>
#include <vector>

#include "luxgrad/data/result.h"

namespace lux {

struct PickleValue {
  enum class Kind : uint8_t {
    none,
    boolean,
    integer,
    real,
    text,
    list,
    tuple,
    dict,
    global,
    storage,
    tensor
  };

  Kind kind = Kind::none;
  int64_t offset = 0;       ///< of the opcode that made it, in the file
  int64_t number = 0;       ///< of a boolean or an integer; which one of the globals
  std::string_view text{};  ///< of a text, within the bytes of the pickle
  /// Of a list and a tuple; a key and a value in turn of a dictionary; the checked arguments that describe a
  /// storage or a tensor.
  std::vector<PickleValue*> items{};
};

/// What a value is, for a message: "a list".
const char* name_of(PickleValue::Kind kind);

struct PickleLimits {
  int64_t bytes = int64_t{16} << 20;
  int64_t steps = 5'000'000;
  int64_t values = 500'000;  ///< made, and remembered by number
  int64_t depth = 10'000;    ///< of the stack, marks included
  int64_t text_bytes = int64_t{64} << 10;
};

struct Pickle {
  std::deque<PickleValue> values;  ///< all that were made; they refer to each other
  const PickleValue* result = nullptr;
  std::map<std::string_view, const PickleValue*> storages;  ///< by key; one key has one type and length
  size_t length = 0;                                        ///< of the program
};

/// Evaluates the pickle of protocol 2 that `bytes` begin with; `base` is where they begin in their file.
/// Texts of the result point into `bytes`. Refuses every opcode and every global that is not in its lists, by
/// name.
Result<Pickle> evaluate_pickle(std::span<const uint8_t> bytes, int64_t base, const PickleLimits& limits = {});

}  // namespace lux
