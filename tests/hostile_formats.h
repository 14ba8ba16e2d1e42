// Every reader of bytes from outside, and what may be asked of it whatever the bytes are. One table serves
// the tests of damaged files and the fuzzers.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "mutate.h"

namespace hostile {

struct Format {
  std::string_view name;
  std::vector<Bytes> (*samples)();
  FindPieces pieces;
  /// Makes lengths and checksums of a damaged file right again where it can, so that what stands behind
  /// them is reached, too.
  void (*repair)(Bytes&);
  /// Reads and drops the content. Why the file was refused, empty if it was not.
  std::string (*refusal)(std::span<const uint8_t>);
  /// Reads twice and writes what was read. Throws lux::Error unless the file is refused in one printable
  /// sentence, or both readings are the same and the written content reads as that again.
  void (*prove)(std::span<const uint8_t>);
  /// Memory that `refusal` may take: `fixed` + `per_byte` times the length of the file, at most `ceiling`.
  int64_t fixed, per_byte, ceiling;
  /// Whether a file that is cut can be told from a whole one. A text without an end mark cannot.
  bool shows_cuts = true;
};

std::span<const Format> formats();
/// The one of this name. Throws lux::Error where there is none.
const Format& format_named(std::string_view name);

}  // namespace hostile
