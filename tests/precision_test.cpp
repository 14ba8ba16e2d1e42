// kernels/precision: names, and what each does to the results of whole networks. CTest runs it with
// LUX_KERNELS=pairs, too, where fp32 is by products of bf16 as on a processor with AMX.
#include "luxgrad/kernels/precision.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>

#include "luxgrad/kernels/cpu/isa.h"
#include "luxgrad/models/enhance.h"
#include "luxgrad/models/registry.h"
#include "luxgrad/tensor/random.h"

using namespace lux;

TEST_CASE("precisions have names") {
  for (const Precision precision : {Precision::exact, Precision::fp32, Precision::tf32, Precision::bf16})
    CHECK(precision_named(name_of(precision)) == precision);
  CHECK_FALSE(precision_named("half").has_value());
  CHECK(precision() == Precision::fp32);
  {
    const PrecisionScope scope(Precision::bf16);
    CHECK(precision() == Precision::bf16);
  }
  CHECK(precision() == Precision::fp32);
}

TEST_CASE("networks in fp32 and bf16 are near those in exact") {
  const char* const kernels = std::getenv("LUX_KERNELS");
  const bool has_pairs = cpu::isa() != nullptr && cpu::isa()->pairs != nullptr,
             split = has_pairs && (cpu::isa()->pairs->tiles || (kernels != nullptr && *kernels != '\0'));
  for (const std::string& name : model_names()) {
    CAPTURE(name);
    const std::unique_ptr<Model> model = make_model(name);
    model->init_(Generator{3});
    Tensor picture = empty({1, 32, 48, 3});
    Generator generator(1);
    fill_uniform_(picture, 0, 0.3, generator);
    const auto enhanced = [&](Precision precision) {
      const PrecisionScope scope(precision);
      return enhance(*model, picture).to_vector();
    };
    const std::vector<double> exact = enhanced(Precision::exact);
    const auto largest = [&](const std::vector<double>& values) {
      double difference = 0;
      for (size_t i = 0; i < exact.size(); ++i)
        difference = std::fmax(difference, std::fabs(values[i] - exact[i]));
      return difference;
    };
    const double fine = largest(enhanced(Precision::fp32)), coarse = largest(enhanced(Precision::bf16));
    MESSAGE(name << ": fp32 " << fine << ", bf16 " << coarse);
    CHECK(fine <= 1e-4);
    CHECK(coarse <= 0.02);
    if (!split) CHECK(fine == 0);
    if (split) CHECK(coarse > fine);
  }
}
