// Dark pictures with known answers: a normal photo is taken back into the dark by the physics of a camera.
//
// In linear light the scene may get more contrast (light^γ), the exposure is divided by 2^stops, the light
// arrives as photons (shot noise) at a sensor that adds its own noise (read noise), and the camera encodes
// the rest as 8-bit sRGB. The photo is what should come out again.
#pragma once

#include "luxgrad/tensor/random.h"
#include "luxgrad/tensor/tensor.h"

namespace lux {

/// The transfer function of sRGB (IEC 61966-2-1) and its inverse, for one value in [0, 1].
double srgb_to_linear(double value);
double linear_to_srgb(double value);

/// What varies from picture to picture; each pair is the range that a picture's value is drawn from. Linear
/// light is measured in units of white.
struct RelightOptions {
  double dark_share = 0.8;                  ///< how many pictures get `dark_stops`; the others `dim_stops`
  double dark_stops[2] = {3, 6.75};         ///< uniform
  double dim_stops[2] = {0, 3};             ///< uniform
  double deep_share = 0.7;                  ///< how many pictures get deeper shadows first (`deepen`)
  double black = 0.25;                      ///< at most so much becomes black there
  double gamma[2] = {1, 1};                 ///< of the scene's light, uniform: above 1 shadows sink further
  double white_balance = 0.03;              ///< standard deviation of each channel's gain around 1
  double shot_variance[2] = {1e-5, 3e-4};   ///< variance per unit of light, uniform in its logarithm
  double read_deviation[2] = {3e-5, 6e-4};  ///< standard deviation, uniform in its logarithm
};

/// `photo` [H, W, 3] f32 in [0, 1] with what is darker than `black` made black, and the rest stretched to
/// fill the range; hues stay. Well-exposed photos show little that is black, nights much: without it
/// everything dark would be taken for something to be brightened.
Tensor deepen(const Tensor& photo, double black);

/// A dark copy of `photo` [H, W, 3] f32 in [0, 1], of the same shape, in multiples of 1/255. Throws Error for
/// another shape or dtype.
Tensor darken(const Tensor& photo, const RelightOptions& options, Generator& generator);

/// `photo` exposed again, in linear light, so that the mean of its sRGB values comes close to `mean`; by a
/// factor between 1 and 3, for a photo is not made darker, nor a night made day. Highlights are compressed,
/// never clipped to gray.
Tensor expose(const Tensor& photo, double mean);

}  // namespace lux
