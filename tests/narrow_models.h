// Every network with so few channels that a test can run them all.
#pragma once

#include <memory>

#include "luxgrad/models/gan.h"
#include "luxgrad/models/mirnet_keras.h"
#include "luxgrad/models/mirnet_v1.h"
#include "luxgrad/models/mirnet_v2.h"
#include "luxgrad/models/reference_guided.h"
#include "luxgrad/models/unet.h"
#include "luxgrad/models/zero_dce.h"
#include "luxgrad/models/zero_dce_plus.h"

namespace lux {

using ModelMaker = std::unique_ptr<Model> (*)();
inline constexpr ModelMaker kNarrowModels[] = {
    [] { return std::unique_ptr<Model>(new ReferenceGuided({.width = 8})); },
    [] { return std::unique_ptr<Model>(new MirnetKeras(MirnetKeras::Compat::y2023, 8, 1)); },
    [] { return std::unique_ptr<Model>(new MirnetKeras(MirnetKeras::Compat::y2021, 8, 1)); },
    [] { return std::unique_ptr<Model>(new MirnetV1(16, 1)); },
    [] { return std::unique_ptr<Model>(new MirnetV2(16, 2)); },
    [] { return std::unique_ptr<Model>(new Gan(4)); },
    [] { return std::unique_ptr<Model>(new Unet(8)); },
    [] { return std::unique_ptr<Model>(new ZeroDce()); },
    [] { return std::unique_ptr<Model>(new ZeroDcePlus()); },
};

}  // namespace lux
