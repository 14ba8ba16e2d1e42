// The context of a picture: the mean of its pixels, each weighed by how much attention a map asks for it
// (GCNet, Cao et al., ICCV Workshops 2019, Sec. 3.2; the residual contextual block of MIRNet-v2, Zamir et
// al., TPAMI 2022).
#pragma once

#include "luxgrad/tensor/tensor.h"

namespace lux {

/// Σ over all pixels p of softmax(logits)[p] · x[p]: x [N, H, W, C], logits [N, H, W, 1] -> [N, 1, 1, C]. The
/// product of both is not made. Throws Error for other shapes, dtypes that differ, and a picture without
/// pixels.
Tensor global_context(const Tensor& x, const Tensor& logits);

}  // namespace lux
