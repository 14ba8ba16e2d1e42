// A page to look at: the picture before and after under a slider, everything in one file.
#pragma once

#include <string>

#include "luxgrad/data/image.h"

namespace lux {

/// Writes the page. Both pictures have one size; they become JPEGs in the page. Throws FileException.
void save_compare_page(const std::string& path, const std::string& title, const Image& before,
                       const Image& after);

}  // namespace lux
