// How much memory networks take, when they run and when they train, against what `info` says of them.
#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "luxgrad/kernels/derived_weights.h"
#include "luxgrad/kernels/kernel_table.h"
#include "luxgrad/models/enhance.h"
#include "luxgrad/models/liveness.h"
#include "luxgrad/tensor/memory.h"
#include "luxgrad/tensor/random.h"
#include "luxgrad/training/step_memory.h"
#include "narrow_models.h"

using namespace lux;

namespace {

Tensor dark_picture(int64_t height, int64_t width) {
  Tensor picture = empty({1, height, width, 3});
  Generator generator(1, "model_memory_test");
  fill_uniform_(picture, 0, 0.3, generator);
  return picture;
}

// What a step of the model's first recipe takes on a picture, and what it was predicted to take.
void check_prediction(const char* name, bool recompute) {
  TrainOptions options;
  options.model = name;
  options.recipe = make_recipe(name, "default");
  options.recompute = recompute;
  const int64_t height = 64, width = 64;
  const auto predicted = static_cast<double>(predicted_step_memory(options, height * width));
  const auto measured = static_cast<double>(measured_step_memory(options, {1, height, width, 3}));
  MESSAGE(std::string(name) << std::string(recompute ? ", recomputed" : "") << ": measured " << measured / 1e6
                            << " MB, predicted " << predicted / 1e6);
  CHECK(measured <= 1.15 * predicted);
  CHECK(predicted <= 1.15 * measured);
}

}  // namespace

// Plain kernels have no workspaces: what is above the optimum was released too late.
TEST_CASE("inference of every network holds hardly more than its layers' best peak") {
  const PlainKernels plain;
  const int64_t cap = set_derived_weight_cap(0);  // what is kept is the network's, for as long as it lives
  for (const ModelMaker make : kNarrowModels) {
    const int64_t before = memory::stats().live;
    const std::unique_ptr<Model> model = make();
    model->init_(Generator(1));
    const int64_t parameters = memory::stats().live - before;
    const Tensor x = dark_picture(64, 80);
    const int64_t optimum = Liveness(*model).optimum(x.size(1), x.size(2)) - parameters;
    memory::reset_peak();
    enhance(*model, x, {.order = EnhanceOptions::whole});
    const int64_t peak = memory::stats().peak - before - parameters;
    MESSAGE(model->name() << ": peak " << peak << " bytes, optimum " << optimum);
    CHECK(static_cast<double>(peak) <= 1.15 * static_cast<double>(optimum));
    CHECK(peak > x.storage()->bytes());
  }
  set_derived_weight_cap(cap);
}

TEST_CASE("the memory of a training step is predicted from two smaller ones") {
  for (const char* name : {"zero_dce", "zero_dce_plus", "unet"}) check_prediction(name, false);
  for (const char* name : {"reference_guided", "mirnet_v2", "gan"}) {
    check_prediction(name, false);
    check_prediction(name, true);
  }
}
