// The sentence that an action throws.
#pragma once

#include <string>

#include "luxgrad/tensor/error.h"

namespace lux {

template <class F>
std::string error_of(const F& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  } catch (const OutOfMemory& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace lux
