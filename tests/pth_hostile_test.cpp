// data/pth.h against programs that PyTorch would never write: each is refused by the name of what it asks
// for, in bounded steps and memory.
#include <doctest/doctest.h>

#include <string>

#include "failing_new.h"
#include "luxgrad/data/pth.h"
#include "luxgrad/tensor/memory.h"
#include "pth_file.h"

using namespace lux;
using pth::Bytes;

namespace {

std::string reason_of(std::span<const uint8_t> bytes, const PthLimits& limits = {}) {
  const auto result = parse_pth(bytes, limits);
  return result ? "accepted" : result.error().message();
}

/// Reads, and returns the most memory in use meanwhile.
int64_t bytes_to_read(std::span<const uint8_t> bytes) {
  memory::reset_peak();
  heap::peak = heap::bytes.load();
  const int64_t before = heap::bytes + memory::stats().live;
  (void)parse_pth(bytes);
  return heap::peak + memory::stats().peak - before;
}

bool begins_with(const std::string& text, const std::string& start) {
  INFO(text);
  CHECK(text.substr(0, start.size()) == start);
  return text.starts_with(start);
}

}  // namespace

TEST_CASE("programs that weights do not need are refused by the name of what they ask for") {
  struct Row {
    std::string value, reason;
  };
  const std::string os = "cposix\nsystem\n", command = pth::text("id");
  const Row rows[] = {
      {pth::call(os, command + "\x85"), "asks for \"posix.system\", which weights do not need"},
      {pth::global("builtins", "eval"), "asks for \"builtins.eval\""},
      {pth::global("__builtin__", "getattr"), "asks for \"__builtin__.getattr\""},
      {pth::global("torch", "load"), "asks for \"torch.load\""},
      {pth::global("torch.FloatStorage", ""), "asks for \"torch.FloatStorage.\""},
      {pth::global("numpy.core.multiarray", "scalar"), "asks for \"numpy.core.multiarray.scalar\""},
      {pth::global("__main__", "Net\x1b[2J"), "asks for \"__main__.Net\\x1b[2J\""},
      {pth::text("os") + pth::text("system") + "\x93", "has the pickle opcode 0x93 (STACK_GLOBAL)"},
      {"(iposix\nsystem\n", "has the pickle opcode 0x69 (INST)"},
      {"(" + pth::global("torch", "Size") + "o", "has the pickle opcode 0x6f (OBJ)"},
      {pth::global("collections", "OrderedDict") + ")\x81", "has the pickle opcode 0x81 (NEWOBJ)"},
      {pth::global("collections", "OrderedDict") + ")}\x92", "has the pickle opcode 0x92 (NEWOBJ_EX)"},
      {"\x82\x01", "has the pickle opcode 0x82 (EXT1)"},
      {"Pposix\n", "has the pickle opcode 0x50 (PERSID)"},
      {"N2", "has the pickle opcode 0x32 (DUP)"},
      {std::string("\x95\1\0\0\0\0\0\0\0N", 10), "has the pickle opcode 0x95 (FRAME)"},
      {"N\x94", "has the pickle opcode 0x94 (MEMOIZE)"},
      {"\x8f", "has the pickle opcode 0x8f (EMPTY_SET)"},
      {"\x80\2N", "has the pickle opcode 0x80"},
      {std::string("\0", 1), "has the pickle opcode 0x00"},
      {pth::call(pth::global("torch", "FloatStorage"), pth::integer(9) + "\x85"),
       "calls FloatStorage with 1 values"},
      {pth::call("N", ")"), "what is called is None, not a name"},
      {pth::call(pth::text("posix.system"), ")"), "what is called is a text, not a name"},
      {pth::call(pth::global("torch", "Size"), "N"), "what a function is called with is None, not a tuple"},
  };
  for (const Row& row : rows) {
    const std::string reason = reason_of(pth::file_of(row.value));
    CHECK(begins_with(reason, row.reason));
    CHECK(reason.find(" (at byte ") != std::string::npos);
  }
  const std::string reason = reason_of(pth::file_of(pth::call(os, command + "\x85")));
  CHECK(reason.find("Python turns it into safetensors: safetensors.torch.save_file(") != std::string::npos);
  const size_t place = 30 + 13 + 2 + 2 + 6;  // in the archive: header, name, and what stands before it
  CHECK(reason.ends_with(cat(" (at byte ", place, ")")));
}

TEST_CASE("what a program says about tensors has to be true, and of the right kind") {
  struct Row {
    std::string value, reason;
  };
  const std::string store = pth::storage("Float", "0", 6), hooks = pth::ordered_dict();
  const auto tensor_of = [](const std::vector<std::string>& arguments,
                            const char* name = "_rebuild_tensor_v2") {
    return pth::call(pth::global("torch._utils", name), pth::tuple(arguments));
  };
  const std::string one = pth::integers({1}), zero = pth::integer(0);
  const Row rows[] = {
      {pth::tensor(pth::storage("Float", "0", int64_t{1} << 62), 0, {1}, {1}),
       "a storage of 4611686018427387904"},
      {pth::tensor(pth::storage("Float", "0", int64_t{1} << 60), 0, {1}, {1}),
       "storage 0 has 24 bytes, expected 4611686018427387904"},
      {pth::tensor(pth::storage("Float", "0", -6), 0, {1}, {1}), "the length of a storage is -6"},
      {pth::tensor(pth::storage("Float", "0", 7), 0, {1}, {1}), "storage 0 has 24 bytes, expected 28"},
      {pth::tensor(pth::storage("Float", "0", 5), 0, {1}, {1}), "storage 0 has 24 bytes, expected 20"},
      {pth::tensor(pth::storage("Float", "1", 6), 0, {1}, {1}), "has no storage 1"},
      {pth::tensor(pth::storage("Float", "../../x", 6), 0, {1}, {1}), "a storage has the key \"../../x\""},
      {pth::tensor(pth::storage("Float", "", 6), 0, {1}, {1}), "a storage has the key \"\""},
      {pth::six(-1, {1}, {1}), "the offset of a tensor is -1"},
      {pth::six(6, {1}, {1}), "a tensor reaches to element 7 of storage 0, which has 6"},
      {pth::six(7, {0}, {1}), "a tensor reaches to element 7 of storage 0, which has 6"},
      {pth::six(INT64_MAX, {1}, {1}), "a tensor has sizes and strides too large"},
      {pth::six(0, {7}, {1}), "a tensor reaches to element 7"},
      {pth::six(0, {2, 3}, {4, 1}), "a tensor reaches to element 7"},
      {pth::six(0, {-1}, {1}), "the sizes of a tensor is -1"},
      {pth::six(0, {2}, {-1}), "the strides of a tensor is -1"},
      {pth::six(0, {3}, {INT64_MAX}), "a tensor has sizes and strides too large for any file"},
      {pth::six(0, {INT64_MAX, 2}, {0, 0}), "a tensor has a shape too large for any file"},
      {pth::six(0, {0, INT64_MAX, 2}, {0, 0, 0}), "a tensor has a shape too large for any file"},
      {pth::six(0, {int64_t{1} << 40}, {0}), "repeats its elements until they take more than 8 times"},
      {pth::six(0, {1, 1, 1, 1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1, 1, 1, 1}), "a tensor has 9 dimensions"},
      {pth::six(0, {1}, {1, 1}), "a tensor has 1 sizes and 2 strides"},
      {pth::dict({{pth::text("a"), pth::six(0, {1}, {1})},
                  {pth::text("b"), pth::tensor(pth::storage("Int", "0", 6), 0, {1}, {1})}}),
       "storage 0 is 6 elements of FloatStorage and 6 of IntStorage"},
      {tensor_of({}), "a tensor is described by 0 values"},
      {tensor_of(std::vector<std::string>(50, "N")), "a tensor is described by 50 values"},
      {tensor_of({store, zero, one, one}), "calls _rebuild_tensor_v2 with 4 values"},
      {tensor_of({store, zero, one, one, "\x89", hooks}, "_rebuild_tensor"),
       "calls _rebuild_tensor with 6 values"},
      {tensor_of({"N", zero, one, one, "\x89", hooks}), "the storage of a tensor is None, not a storage"},
      {tensor_of({store, "N", one, one, "\x89", hooks}), "the offset of a tensor is None, not an integer"},
      {tensor_of({store, zero, "N", one, "\x89", hooks}), "the sizes of a tensor is None, not a tuple"},
      {tensor_of({store, zero, pth::tuple({"N"}), one, "\x89", hooks}),
       "the sizes of a tensor is None, not an"},
      {tensor_of({store, zero, one, one, "N", hooks}), "requires_grad of a tensor is None, not a boolean"},
      {tensor_of({store, zero, one, one, "\x89", pth::dict({{pth::text("a"), "N"}})}),
       "a tensor has hooks, which are code"},
      {tensor_of({store, zero, one, one, "\x89", hooks, pth::dict({{pth::text("neg"), "\x88"}})}),
       "a tensor has metadata"},
      {pth::tuple({}) + "Q", "a persistent id has 0 parts"},
      {pth::text("0") + "Q", "a persistent id is a text, not a tuple"},
      {pth::tuple({pth::text("module"), "N", "N", "N", "N"}) + "Q", "a persistent id is of no storage"},
      {pth::tuple({pth::text("storage"), hooks, "N", "N", "N"}) + "Q",
       "the type of a storage is a dictionary"},
      {pth::tuple({pth::text("storage"), pth::global("torch", "Size"), "N", "N", "N"}) + "Q",
       "a storage has the type Size, which is none of storages"},
      {pth::call(pth::global("torch._utils", "_rebuild_parameter"), pth::tuple({"N", "\x88", hooks})),
       "calls _rebuild_parameter"},
      {pth::six(0, {1}, {1}) + pth::text("a") + "Ns", "what items are set of is a tensor, not a dictionary"},
      {"](NNu", "what items are set of is a list, not a dictionary"},
      {"}(NNu", "a key of a dictionary is None"},
      {"}(" + pth::text("a") + "u", "a dictionary is given a key without a value"},
      {"}Na", "what is appended to is a dictionary, not a list"},
      {"]}b", "an object that is given a state is a list, not a dictionary"},
      {"}]b", "the state that an object is given is a list, not a dictionary"},
      {pth::call(pth::global("collections", "OrderedDict"), pth::tuple({"N"})),
       "an OrderedDict is made of 1 values"},
      {pth::call(pth::global("collections", "OrderedDict"), "](Ne\x85"),
       "an OrderedDict is made of something else"},
      {"h\7", "the pickle recalls value 7, which it did not store"},
      {"j\xff\xff\xff\xff", "the pickle recalls value 4294967295"},
      {"\x8a\x09" + std::string(9, '\1'), "an integer has 9 bytes"},
      {std::string("X\xff\xff\xff\xff", 5), "has a text of 4294967295 bytes, at most 65536"},
      {std::string("X\xff\xff\0\0", 5), "ends inside a text of its pickle"},
      {"ctorch", "the name of a global does not end"},
      {pth::dict({{pth::text("a"), "N"}, {pth::text("a"), "N"}}), "a dictionary has the key \"a\" twice"},
      {pth::dict({{pth::text("0"), pth::six(0, {1}, {1})}, {pth::integer(0), pth::six(0, {1}, {1})}}),
       "has two tensors named \"w/0\""},
      {pth::dict({{pth::text("a\n"), pth::six(0, {1}, {1})}}), "has a tensor with the name \"w/a\\x0a\""},
      {pth::dict({{"U\1\xff", pth::six(0, {1}, {1})}}), "has a tensor with the name \"w/\\xff\""},
      {pth::dict({{pth::text(std::string(2000, 'n')), pth::six(0, {1}, {1})}}),
       "has a tensor with a name of more than 1024 bytes"},
  };
  for (const Row& row : rows) {
    const Bytes file = pth::file_of(row.value);
    CAPTURE(row.reason);
    CHECK(begins_with(reason_of(file), row.reason));
    CHECK(bytes_to_read(file) < (64 << 10) + 128 * static_cast<int64_t>(file.size()));
  }
  CHECK(begins_with(reason_of(pth::zip_file("N", {})), "holds None, expected a dictionary of tensors"));
  CHECK(begins_with(reason_of(pth::zip_file(pth::six(0, {6}, {1}), pth::kSix)),
                    "holds a tensor, expected a dictionary"));
  CHECK(begins_with(reason_of(pth::zip_file("}", {})), "holds no tensors"));
}

TEST_CASE("short programs that would take for ever, or all memory, end at a limit") {
  const auto repeated = [](const std::string& part, size_t count) {
    std::string all;
    for (size_t i = 0; i < count; ++i) all += part;
    return all;
  };
  // A list in a list in a list, each twice in the next one: 2^64 values to look at.
  const std::string zero(1, '\0');
  std::string laughs = "]q" + zero;
  for (int i = 0; i < 40; ++i)
    laughs += cat("](h", std::string(1, static_cast<char>(i)), "h", std::string(1, static_cast<char>(i)),
                  "eq", std::string(1, static_cast<char>(i + 1)));
  std::string pairs = "](";
  for (int i = 0; i < 100; ++i) pairs += "](" + pth::text(cat(i)) + "Ne";
  pairs += "eq\x01\x85";
  const std::string ordered = pth::global("collections", "OrderedDict") + "q\x02";
  struct Row {
    std::string value, reason;
  };
  const Row rows[] = {
      {repeated("(", 1'000'000), "the pickle stacks more than 10000 values"},
      {repeated("]", 1'000'000), "the pickle stacks more than 10000 values"},
      {"N" + repeated("\x85", 1'000'000), "the pickle makes more than 500000 values"},
      {"]q" + zero + "h" + zero + "a", "nests values more than 64 deep"},
      {"}q" + zero + pth::text("a") + "h" + zero + "s", "nests values more than 64 deep"},
      {repeated("]", 100) + repeated("a", 99), "nests values more than 64 deep"},
      {"](" + laughs + "e", "nests more than 300000 values"},
      {"](" + ordered + pairs + "R" + repeated("h\2h\1\x85R", 1000) + "e",
       "two OrderedDicts are made of one list"},
      {"Nq" + zero + "]" + repeated("h" + zero + "a", 2'600'000), "takes more than 5000000 steps"},
      {"N" + repeated("r\xff\xff\xff\xff", 3'400'000), "has a pickle of more than 16777216 bytes"},
  };
  for (const Row& row : rows) {
    const Bytes file = pth::file_of(row.value);
    CAPTURE(row.reason);
    CHECK(begins_with(reason_of(file), row.reason));
    CHECK(bytes_to_read(file) <= (64 << 20));
  }
  Bytes memo;
  {
    std::string program = "N";
    for (uint32_t i = 0; i < 1000; ++i) program += "r" + pth::little(i, 4);
    memo = pth::file_of(program);
  }
  CHECK(
      begins_with(reason_of(memo, {.pickle = {.values = 100}}), "the pickle remembers more than 100 values"));
  CHECK(
      begins_with(reason_of(pth::file_of(pth::six(0, {1}, {1})), {.tensors = 0}), "has more than 0 tensors"));
}
