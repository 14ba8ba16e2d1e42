// What `info` tells about a network: its layers, what it needs, and what its training would need.
#pragma once

#include <string>

#include "luxgrad/models/model.h"

namespace lux {

/// The sizes that it is told for.
struct AboutSizes {
  int64_t width, height;  ///< of a picture to be enhanced
  int64_t batch = 0;      ///< of a training step; 0: the recipe's
  bool given = false;     ///< width and height hold for the training too; else the recipe's size
  bool measure = false;   ///< also enhance a picture of this size, and tell the memory that took
};

/// Layers, parameters, multiply-adds, traits, the memory that `enhance` is predicted to take, the least of a
/// run as a whole, and the memory that a step of the model's first recipe is predicted to take: a JSON
/// object.
std::string about_model(const Model& model, const AboutSizes& sizes);

/// The same for people, printed.
void print_model(const std::string& about);

}  // namespace lux
