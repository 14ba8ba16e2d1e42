// Seeded damage that knows where a format keeps its pieces and its numbers: the source of hostile files for
// every reader.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "luxgrad/tensor/random.h"

namespace hostile {

using Bytes = std::vector<uint8_t>;

/// A chunk, segment, entry or record of a file: what its format lets stand, move or go as a whole.
struct Piece {
  size_t begin = 0, end = 0;
};

/// The pieces of a file in their order, as far as it is intact.
using FindPieces = std::vector<Piece> (*)(const Bytes&);

/// One to four random changes of `bytes`: bits, bytes and numbers at their limits (little or big endian, or
/// decimal), pieces lost, doubled or swapped, cuts, noise, and parts of another file of `others`. The same
/// state of `random` gives the same file.
Bytes mutated(Bytes bytes, const std::vector<Bytes>& others, FindPieces find_pieces, lux::Generator& random);

}  // namespace hostile
