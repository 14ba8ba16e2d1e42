// The weights that come with the library, one file per model, as bytes in the program. The files are
// models/weights/<model>.safetensors at build time; reading them is the caller's business.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace lux {

/// The safetensors file for a model of the registry; empty where the library has none.
std::span<const uint8_t> default_weights(std::string_view model);

}  // namespace lux
