// conv2d_test with the kernels for AMX, whose tiles an emulator plays. Its own program, because doctest would
// take the signal by which the emulator learns of them.
#define DOCTEST_CONFIG_IMPLEMENT
#define DOCTEST_CONFIG_NO_POSIX_SIGNALS
#include <doctest/doctest.h>

#include <cstdio>

#include "amx_emulator.h"

int main(int count, char** arguments) {
  if (!lux::test::emulate_amx()) {
    std::puts("skipped: this processor has no products of bf16");
    return 0;
  }
  doctest::Context context(count, arguments);
  return context.run();
}
