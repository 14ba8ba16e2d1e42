// The two things that a page which holds everything in itself needs: text that cannot become markup, and
// bytes as text.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace lux {

/// The text with what HTML would take for markup escaped.
std::string html_escaped(const std::string& text);

/// Base64 (RFC 4648), padded.
std::string base64(std::span<const uint8_t> bytes);

}  // namespace lux
