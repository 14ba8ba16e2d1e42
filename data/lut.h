// A look as a table: what a network did to one photo, as a function of colour alone, for programs that know
// .cube files (Adobe's Cube LUT specification 1.0).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// Colours at the nodes of a cube, red fastest; between them the four of a tetrahedron are mixed, as ffmpeg's
/// `lut3d` and other programs do that care for gray axes.
struct ColorLut {
  int64_t size = 0;           ///< nodes along an edge
  std::vector<float> values;  ///< size³·3

  /// The table's colour for one in [0, 1]³.
  std::array<float, 3> at(const std::array<float, 3>& color) const;
};

/// The table that turns `before` into `after` best, both [1, H, W, 3] in [0, 1], in the mean of squares over
/// the pixels. Where the photo has no colours, each of red, green and blue follows what it did elsewhere.
/// Throws Error for other shapes, and for sizes outside 2 … 129.
ColorLut fit_lut(const Tensor& before, const Tensor& after, int64_t size);

/// The text of a .cube file.
std::string cube_text(const ColorLut& lut, const std::string& title);

}  // namespace lux
