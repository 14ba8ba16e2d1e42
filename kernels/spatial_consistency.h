// The spatial-consistency loss of Zero-DCE: neighbouring regions keep their contrast.
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// With Y and I the means of 4x4 regions over all channels, Y of the enhanced picture and I of the low one,
/// and e = Y - I, the mean over the regions i of
///   official  sum over the 4 neighbours j of (e_i - e_j)² (Li-Chongyi/Zero-DCE)
///   keras     (4 e_i² + sum over the left and right neighbour of (e_i - e_j)²) / 3
///   paper     sum over the neighbours inside of (|Y_i - Y_j| - |I_i - I_j|)² (arXiv:2001.06826, Eq. 4)
/// Neighbours outside the picture count with e_j = 0 in the first two forms. The Keras port reads its kernels
/// along the wrong axis, hence its form.
enum class SpatialForm { official, keras, paper };

/// The loss, shape []; pictures are [N, H, W, C] of equal shape and dtype, at least 4x4; rows and columns
/// beyond a multiple of 4 are not read. Throws Error otherwise.
Tensor spatial_consistency(const Tensor& enhanced, const Tensor& low, SpatialForm form);

}  // namespace lux
