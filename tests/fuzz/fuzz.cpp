// A libFuzzer program: bytes of any kind to the reader named by LUX_FORMAT. What the proof of the format
// (hostile_formats.h) throws ends the program, and that is a finding.
#include <algorithm>

#include "../hostile_formats.h"

// NOLINTBEGIN(readability-identifier-naming): libFuzzer calls by these names
extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t limit);

namespace {

const hostile::Format& format = hostile::format_named(LUX_FORMAT);

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  format.prove({data, size});
  return 0;
}

/// Half of libFuzzer's changes get their checksums repaired; some are ours, which know the format.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t limit, unsigned seed) {
  lux::Generator random(seed, LUX_FORMAT);
  if (random.below(4) != 0) size = LLVMFuzzerMutate(data, size, limit);
  hostile::Bytes bytes(data, data + size);
  if (random.below(4) == 0) bytes = hostile::mutated(bytes, {bytes}, format.pieces, random);
  if (random.below(2) == 0) format.repair(bytes);
  bytes.resize(std::min(bytes.size(), limit));
  std::copy(bytes.begin(), bytes.end(), data);
  return bytes.size();
}
// NOLINTEND(readability-identifier-naming)
