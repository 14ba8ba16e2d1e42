// What a command line asks for every picture of a batch, and the memory that there is for each.
#pragma once

#include <cstdint>

#include "luxgrad/layers/module.h"

namespace lux {

struct PictureOptions {
  double strength = 1;
  int quality = 95;
  bool augment = false;       ///< mean over the eight flips and quarter turns
  bool strip = false;         ///< leave out what the photo tells about where and how it was made
  bool raw_linear = false;    ///< values of the input are proportional to light
  bool curves = false;        ///< write the parameters of the curve, too
  bool compared = false;      ///< before and after are shown together, so both are needed as a whole
  bool side_by_side = false;  ///< in one picture
  int64_t memory = 0;         ///< bytes that the program may take for one picture; 0: no limit
  int64_t program = 0;        ///< bytes of the program with its network, before any picture
  int64_t together = 1;       ///< pictures that would like to be read or enhanced at the same time
  int64_t files = 0;          ///< bytes of encoded photos that loaders hold while these wait for memory
  int64_t loading = 0;  ///< bytes that the process took at most until its network was there; none needs less
  bool memory_asked = false;  ///< by the user: say before the work what it needs; devices have the limit, too
  int64_t tile = 0;           ///< columns at a time, or side of squares; 0: by memory
  bool exact = false;         ///< refuse what would only be approximate
  bool verify_tiles = false;  ///< run a part of the picture both ways and say how they differ
  State weights{};            ///< of the network, as try_precision returned them
};

}  // namespace lux
