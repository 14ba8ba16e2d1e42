// Result: a value, or the reason why a file did not give one. Parsers return it; nothing a file contains can
// make them throw, abort or exit. The `load_*` facades turn the error into a FileException.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "luxgrad/tensor/error.h"

namespace lux {

enum class FileErrorCode : uint8_t {
  missing,      ///< there is no such file
  unreadable,   ///< it exists, but the system refuses it, or it is no regular file
  truncated,    ///< it ends before its content does
  malformed,    ///< its bytes contradict the format
  unsupported,  ///< valid, but of a kind that luxgrad does not read
  too_large,    ///< beyond a limit that protects memory and time
  mismatch,     ///< files that belong together do not fit
  unwritable,   ///< the system refused to write it
  busy,         ///< another process works in it
};

// NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign): has a value from the start
struct FileError {
  FileErrorCode code = FileErrorCode::malformed;
  std::string file;     ///< the name as given; empty for bytes in memory
  int64_t offset = -1;  ///< byte at which the problem was seen, -1 where that says nothing
  std::string reason;   ///< the rest of a sentence that begins with the file: "the header ends too early"

  /// `name.png: the header ends too early (at byte 8)`, printable.
  std::string message() const;
};

/// A text from a file for a reason: in quotes, and short.
std::string in_quotes(const std::string& text);

/// What the `load_*` and `save_*` facades throw.
class FileException : public Error {
 public:
  explicit FileException(FileError error) : Error(error.message()), error_(std::move(error)) {}
  const FileError& error() const { return error_; }

 private:
  FileError error_;
};

/// A T or a FileError.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : content_(std::move(value)) {}          // NOLINT(google-explicit-constructor)
  Result(FileError error) : content_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

  explicit operator bool() const { return std::holds_alternative<T>(content_); }

  /// The value. Throws FileException where there is an error instead.
  T& value() & { return checked(), std::get<T>(content_); }
  const T& value() const& { return checked(), std::get<T>(content_); }
  T value() && { return checked(), std::get<T>(std::move(content_)); }
  T& operator*() { return value(); }
  T* operator->() { return &value(); }

  /// The error; only where there is one.
  const FileError& error() const { return std::get<FileError>(content_); }

  /// This result, its error completed with the name of the file the bytes came from.
  Result in_file(std::string name) && {
    if (!*this) std::get<FileError>(content_).file = std::move(name);
    return std::move(*this);
  }

 private:
  void checked() const {
    if (const auto* error = std::get_if<FileError>(&content_)) throw FileException(*error);
  }
  std::variant<T, FileError> content_;
};

/// Leaves a parser from any depth; `attempt` at its edge makes it a value.
template <class... Parts>
[[noreturn]] void refuse(FileErrorCode code, int64_t offset, const Parts&... reason) {
  throw FileException({code, "", offset, cat(reason...)});
}

/// Runs `parse` and returns what it returns, or the error it was left with by `refuse`.
template <class F>
Result<std::invoke_result_t<F>> attempt(F&& parse) {
  try {
    return parse();
  } catch (const FileException& refused) {
    return refused.error();
  }
}

}  // namespace lux
