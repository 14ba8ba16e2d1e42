// The tiles of AMX where the processor has none: the instructions that it refuses are carried out by a signal
// handler, as Intel's manual describes them. So the kernels that use tiles are run, slowly, by tests on any
// processor with AVX512_BF16.
#pragma once

namespace lux::test {

/// From now on this process runs the kernels for AMX. False, and nothing is changed, where the processor
/// cannot run the rest of them either. A tile that is used before its thread configured it, or with another
/// configuration than 16 rows of 64 bytes, ends the process with a message.
bool emulate_amx();

}  // namespace lux::test
