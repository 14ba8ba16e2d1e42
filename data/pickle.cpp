#include "luxgrad/data/pickle.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <unordered_map>

#include "luxgrad/data/byte_reader.h"
#include "luxgrad/data/torch_values.h"

namespace lux {
namespace {

using Kind = PickleValue::Kind;
using Meaning = TorchGlobal::Meaning;

constexpr const char* kWayOut =
    "; if you trust the file, Python turns it into safetensors: "
    "safetensors.torch.save_file(torch.load(FILE), NEW)";

/// Opcodes that are not read, by the names that their users know.
struct Unread {
  uint8_t opcode;
  const char* name;
};
constexpr std::array<Unread, 16> kUnread{{{'i', "INST"},
                                          {'o', "OBJ"},
                                          {'P', "PERSID"},
                                          {'0', "POP"},
                                          {'2', "DUP"},
                                          {0x81, "NEWOBJ"},
                                          {0x82, "EXT1"},
                                          {0x83, "EXT2"},
                                          {0x84, "EXT4"},
                                          {0x8b, "LONG4"},
                                          {0x8f, "EMPTY_SET"},
                                          {0x92, "NEWOBJ_EX"},
                                          {0x93, "STACK_GLOBAL"},
                                          {0x94, "MEMOIZE"},
                                          {0x95, "FRAME"},
                                          {0x96, "BYTEARRAY8"}}};

class Machine {
 public:
  Machine(std::span<const uint8_t> bytes, int64_t base, const PickleLimits& limits)
      : limits_(limits), whole_(bytes.size()), reader_(within(bytes, limits), base) {}

  Pickle run() {
    at_ = reader_.offset();
    if (reader_.remaining() < 2 || reader_.u8("the pickle") != 0x80)
      malformed("is no pickle of protocol 2 or later");
    if (const int protocol = reader_.u8("the pickle"); protocol != 2) {
      refuse(FileErrorCode::unsupported, reader_.offset() - 1, "is a pickle of protocol ", protocol,
             ", expected 2", kWayOut);
    }
    const int64_t begin = at_;
    for (int64_t steps = 0;; ++steps) {
      at_ = reader_.offset();
      if (steps == limits_.steps) exhausted("takes more than ", limits_.steps, " steps");
      if (reader_.remaining() == 0 && at_ - begin < static_cast<int64_t>(whole_))
        exhausted("has a pickle of more than ", limits_.bytes, " bytes");
      const uint8_t opcode = reader_.u8("its pickle");
      if (opcode == '.') break;
      step(opcode);
    }
    pickle_.result = pop();
    if (!stack_.empty() || !marks_.empty()) malformed("the pickle ends with more than one value");
    pickle_.length = static_cast<size_t>(reader_.offset() - begin);
    return std::move(pickle_);
  }

 private:
  static std::span<const uint8_t> within(std::span<const uint8_t> bytes, const PickleLimits& limits) {
    return bytes.first(std::min(bytes.size(), static_cast<size_t>(limits.bytes)));
  }
  template <class... Parts>
  [[noreturn]] void malformed(const Parts&... parts) const {
    refuse(FileErrorCode::malformed, at_, parts...);
  }
  template <class... Parts>
  [[noreturn]] void exhausted(const Parts&... parts) const {
    refuse(FileErrorCode::too_large, at_, parts...);
  }

  // --- The stack ---

  void push(PickleValue* value) {
    stack_.push_back(value);
    check_depth();
  }
  void check_depth() const {
    if (static_cast<int64_t>(stack_.size() + marks_.size()) > limits_.depth)
      exhausted("the pickle stacks more than ", limits_.depth, " values");
  }
  PickleValue& make(Kind kind) {
    if (static_cast<int64_t>(pickle_.values.size()) == limits_.values)
      exhausted("the pickle makes more than ", limits_.values, " values");
    PickleValue& value = pickle_.values.emplace_back();
    value.kind = kind;
    value.offset = at_;
    return value;
  }
  void push_number(Kind kind, int64_t number) {
    PickleValue& value = make(kind);
    value.number = number;
    push(&value);
  }
  PickleValue* pop() {
    if (stack_.size() <= floor()) malformed("the pickle takes a value from an empty stack");
    PickleValue* const value = stack_.back();
    stack_.pop_back();
    return value;
  }
  PickleValue& pop(Kind kind, const char* what) {
    PickleValue& value = *pop();
    if (value.kind != kind) malformed(what, " is ", name_of(value.kind), ", not ", name_of(kind));
    return value;
  }
  /// The stack may be taken down to the newest mark.
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  std::vector<PickleValue*> pop_to_mark() {
    if (marks_.empty()) malformed("the pickle returns to a mark that is not set");
    const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<PickleValue*> items(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return items;
  }
  std::vector<PickleValue*> pop_items(size_t count) {
    std::vector<PickleValue*> items(count);
    for (size_t i = count; i-- > 0;) items[i] = pop();
    return items;
  }
  PickleValue& top(Kind kind, const char* what) {
    if (stack_.size() <= floor()) malformed("the pickle takes a value from an empty stack");
    PickleValue& value = *stack_.back();
    if (value.kind != kind) malformed(what, " is ", name_of(value.kind), ", not ", name_of(kind));
    return value;
  }

  // --- Arguments of opcodes ---

  std::string_view text(size_t length) {
    if (static_cast<int64_t>(length) > limits_.text_bytes)
      exhausted("has a text of ", length, " bytes, at most ", limits_.text_bytes, " are read");
    const auto bytes = reader_.take(length, "a text of its pickle");
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  uint32_t little32() { return lux::little32(reader_.take(4, "its pickle").data()); }
  std::string_view line() {
    constexpr size_t kLongest = 256;
    const auto rest = reader_.rest().first(std::min(reader_.remaining(), kLongest));
    const auto end = std::find(rest.begin(), rest.end(), '\n');
    if (end == rest.end()) malformed("the name of a global does not end");
    const auto length = static_cast<size_t>(end - rest.begin());
    const std::string_view name = text(length);
    reader_.u8("its pickle");
    return name;
  }
  int64_t long_integer() {
    const size_t length = reader_.u8("its pickle");
    if (length > 8) malformed("an integer has ", length, " bytes, at most 8 are read");
    const auto bytes = reader_.take(length, "an integer of its pickle");
    uint64_t bits = length > 0 && bytes[length - 1] >= 0x80 ? ~uint64_t{0} : 0;
    for (size_t i = length; i-- > 0;) bits = bits << 8 | bytes[i];
    return static_cast<int64_t>(bits);
  }

  // --- Opcodes ---

  void step(uint8_t opcode) {
    switch (opcode) {
      case 'N':
        return push(&make(Kind::none));
      case 0x88:
      case 0x89:
        return push_number(Kind::boolean, opcode == 0x88 ? 1 : 0);
      case 'J':
        return push_number(Kind::integer, static_cast<int32_t>(little32()));
      case 'K':
        return push_number(Kind::integer, reader_.u8("its pickle"));
      case 'M':
        return push_number(Kind::integer, little16(reader_.take(2, "its pickle").data()));
      case 0x8a:
        return push_number(Kind::integer, long_integer());
      case 'G':
        reader_.take(8, "a number of its pickle");
        return push(&make(Kind::real));  // no weight depends on its value
      case 'X':
        return push_text(little32());
      case 'U':
        return push_text(reader_.u8("its pickle"));
      case '(':
        marks_.push_back(stack_.size());
        return check_depth();
      case ')':
        return push(&make(Kind::tuple));
      case ']':
        return push(&make(Kind::list));
      case '}':
        return push(&make(Kind::dict));
      case 't':
        return push_tuple(pop_to_mark());
      case 0x85:
      case 0x86:
      case 0x87:
        return push_tuple(pop_items(opcode - size_t{0x84}));
      case 'a':
        return append(pop_items(1));
      case 'e':
        return append(pop_to_mark());
      case 's':
        return set(pop_items(2));
      case 'u':
        return set(pop_to_mark());
      case 'q':
        return remember(reader_.u8("its pickle"));
      case 'r':
        return remember(little32());
      case 'h':
        return recall(reader_.u8("its pickle"));
      case 'j':
        return recall(little32());
      case 'c':
        return push_global();
      case 'Q':
        return push_storage();
      case 'R':
        return reduce();
      case 'b':
        pop(Kind::dict, "the state that an object is given");  // attributes, such as _metadata
        top(Kind::dict, "an object that is given a state");
        return;
      default:
        refuse_opcode(opcode);
    }
  }

  [[noreturn]] void refuse_opcode(uint8_t opcode) const {
    constexpr const char* kHex = "0123456789abcdef";
    const char code[] = {'0', 'x', kHex[opcode >> 4], kHex[opcode & 15], '\0'};
    const auto* const known = std::find_if(kUnread.begin(), kUnread.end(),
                                           [&](const Unread& unread) { return unread.opcode == opcode; });
    refuse(FileErrorCode::unsupported, at_, "has the pickle opcode ", code,
           known == kUnread.end() ? "" : cat(" (", known->name, ")"), ", which weights do not need", kWayOut);
  }

  void push_text(size_t length) {
    const std::string_view content = text(length);
    PickleValue& value = make(Kind::text);
    value.text = content;
    push(&value);
  }
  void push_tuple(std::vector<PickleValue*> items) {
    PickleValue& value = make(Kind::tuple);
    value.items = std::move(items);
    push(&value);
  }
  void append(const std::vector<PickleValue*>& items) {
    PickleValue& list = top(Kind::list, "what is appended to");
    list.items.insert(list.items.end(), items.begin(), items.end());
  }
  void set(const std::vector<PickleValue*>& items) {
    PickleValue& dict = top(Kind::dict, "what items are set of");
    if (items.size() % 2 != 0) malformed("a dictionary is given a key without a value");
    for (size_t i = 0; i < items.size(); i += 2) check_key(*items[i]);
    dict.items.insert(dict.items.end(), items.begin(), items.end());
  }
  void check_key(const PickleValue& key) const {
    if (key.kind != Kind::text && key.kind != Kind::integer)
      malformed("a key of a dictionary is ", name_of(key.kind), ", expected a text or an integer");
  }
  void remember(uint32_t number) {
    if (stack_.size() <= floor()) malformed("the pickle takes a value from an empty stack");
    memo_[number] = stack_.back();
    if (static_cast<int64_t>(memo_.size()) > limits_.values)
      exhausted("the pickle remembers more than ", limits_.values, " values");
  }
  void recall(uint32_t number) {
    const auto found = memo_.find(number);
    if (found == memo_.end()) malformed("the pickle recalls value ", number, ", which it did not store");
    push(found->second);
  }

  void push_global() {
    const std::string_view module = line(), name = line();
    const int64_t number = torch_global(module, name);
    if (number < 0) {
      refuse(FileErrorCode::unsupported, at_, "asks for ",
             in_quotes(cat(std::string(module), ".", std::string(name))), ", which weights do not need",
             kWayOut);
    }
    push_number(Kind::global, number);
  }

  void push_storage() {
    PickleValue& id = pop(Kind::tuple, "a persistent id");
    const TorchStorage storage = torch_storage(id, at_);
    const auto [first, is_new] = pickle_.storages.emplace(storage.key, &id);
    const TorchStorage known = torch_storage(*first->second, at_);
    if (known.numel != storage.numel || known.type.name != storage.type.name) {
      malformed("storage ", std::string(storage.key), " is ", known.numel, " elements of ",
                std::string(known.type.name), " and ", storage.numel, " of ", std::string(storage.type.name));
    }
    PickleValue& value = make(Kind::storage);
    value.items = id.items;
    push(&value);
  }

  void reduce() {
    const PickleValue& arguments = pop(Kind::tuple, "what a function is called with");
    const TorchGlobal& function = torch_global(pop(Kind::global, "what is called").number);
    const auto& items = arguments.items;
    switch (function.meaning) {
      case Meaning::ordered_dict:
        return push_dict(items);
      case Meaning::tensor:
      case Meaning::tensor_v2: {
        if ((items.size() == 4) != (function.meaning == Meaning::tensor))
          wrong_arguments(function, items.size());
        torch_tensor(arguments, at_);
        PickleValue& tensor = make(Kind::tensor);
        tensor.items = items;
        return push(&tensor);
      }
      case Meaning::parameter:
        if (items.size() != 3 || items[0]->kind != Kind::tensor || items[1]->kind != Kind::boolean ||
            items[2]->kind != Kind::dict || !items[2]->items.empty())
          wrong_arguments(function, items.size());
        return push(items[0]);
      case Meaning::size:
        if (items.size() != 1 || items[0]->kind != Kind::tuple) wrong_arguments(function, items.size());
        return push(items[0]);
      case Meaning::device:
        return push(&make(Kind::none));
      case Meaning::storage_type:
        wrong_arguments(function, items.size());
    }
  }

  [[noreturn]] void wrong_arguments(const TorchGlobal& function, size_t count) const {
    malformed("calls ", std::string(function.name), " with ", count, " values that it does not take");
  }

  /// OrderedDict() or, as Python 2 has it, OrderedDict([[key, value], …]).
  void push_dict(const std::vector<PickleValue*>& arguments) {
    PickleValue& dict = make(Kind::dict);
    if (arguments.size() > 1 || (arguments.size() == 1 && arguments[0]->kind != Kind::list))
      malformed("an OrderedDict is made of ", arguments.size(), " values, expected a list of pairs");
    if (!arguments.empty()) {
      // Used again and again, a short list would fill memory.
      if (std::exchange(arguments[0]->number, 1) != 0) malformed("two OrderedDicts are made of one list");
      for (const PickleValue* pair : arguments[0]->items) {
        if ((pair->kind != Kind::list && pair->kind != Kind::tuple) || pair->items.size() != 2)
          malformed("an OrderedDict is made of something else than pairs");
        check_key(*pair->items[0]);
        dict.items.insert(dict.items.end(), pair->items.begin(), pair->items.end());
      }
    }
    push(&dict);
  }

  const PickleLimits& limits_;
  size_t whole_;  // bytes there are, whatever the limit
  ByteReader reader_;
  int64_t at_ = 0;  // the opcode at work
  Pickle pickle_;
  std::vector<PickleValue*> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, PickleValue*> memo_;
};

}  // namespace

const char* name_of(PickleValue::Kind kind) {
  constexpr const char* kNames[] = {"None",    "a boolean",    "an integer", "a number",  "a text",  "a list",
                                    "a tuple", "a dictionary", "a name",     "a storage", "a tensor"};
  return kNames[static_cast<size_t>(kind)];
}

Result<Pickle> evaluate_pickle(std::span<const uint8_t> bytes, int64_t base, const PickleLimits& limits) {
  return attempt([&] { return Machine(bytes, base, limits).run(); });
}

}  // namespace lux
