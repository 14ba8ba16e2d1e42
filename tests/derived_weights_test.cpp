// kernels/derived_weights: what is kept is used, goes with the weights, and never shows in a result.
#include "luxgrad/kernels/derived_weights.h"

#include <doctest/doctest.h>

#include <thread>

#include "luxgrad/kernels/conv2d.h"
#include "luxgrad/kernels/conv_transpose2d.h"
#include "luxgrad/models/enhance.h"
#include "luxgrad/models/registry.h"
#include "luxgrad/tensor/memory.h"
#include "luxgrad/tensor/random.h"
#include "luxgrad/tensor/raw.h"
#include "same_bits.h"
#include "scopes.h"

namespace lux {
namespace {

Tensor noise(const Shape& shape, uint64_t seed) {
  Tensor tensor = empty(shape);
  Generator generator(seed);
  fill_uniform_(tensor, -1, 1, generator);
  return tensor;
}

struct Cap {
  explicit Cap(int64_t bytes) { set_derived_weight_cap(bytes); }
  ~Cap() { set_derived_weight_cap(int64_t{64} << 20); }
  Cap(const Cap&) = delete;
  Cap& operator=(const Cap&) = delete;
};

// One convolution of every kernel that derives weights.
struct Form {
  const char* name;
  Shape weight;
  Tensor (*run)(const Tensor& x, const Tensor& w);
};
const Form kForms[] = {
    {"winograd",
     {8, 3, 3, 16},
     [](const Tensor& x, const Tensor& w) { return conv2d({x}, w, {}, {.padding = 1}); }},
    {"tiles",
     {8, 3, 3, 16},
     [](const Tensor& x, const Tensor& w) { return conv2d({x}, w, {}, {.stride = 2, .padding = 1}); }},
    {"pointwise", {8, 1, 1, 16}, [](const Tensor& x, const Tensor& w) { return conv2d({x}, w); }},
    {"groups",
     {8, 3, 3, 4},
     [](const Tensor& x, const Tensor& w) { return conv2d({x}, w, {}, {.padding = 1, .groups = 4}); }},
    {"depthwise",
     {16, 3, 3, 1},
     [](const Tensor& x, const Tensor& w) { return conv2d({x}, w, {}, {.padding = 1, .groups = 16}); }},
    {"transposed",
     {8, 2, 2, 16},
     [](const Tensor& x, const Tensor& w) { return conv_transpose2d(x, w, {}, {.stride = 2}); }},
};

TEST_CASE("what is kept gives the same bits, and is not made twice") {
  const Tensor x = noise({1, 12, 20, 16}, 1);
  for (const Form& form : kForms) {
    CAPTURE(std::string(form.name));
    const Tensor w = noise(form.weight, 2), expected = form.run(x, w);
    CHECK(w.storage()->derived() == nullptr);
    const KeepDerivedWeights keep;
    CHECK(same_bits(form.run(x, w), expected));
    CHECK(w.storage()->derived() != nullptr);
    const int64_t kept = derived_weight_bytes();
    CHECK(same_bits(form.run(x, w), expected));
    CHECK(derived_weight_bytes() == kept);
  }
}

TEST_CASE("written weights are derived anew, and give back what was kept") {
  const Tensor x = noise({1, 12, 20, 16}, 1);
  for (const Form& form : kForms) {
    CAPTURE(std::string(form.name));
    const int64_t before = derived_weight_bytes(), live = memory::stats().live;
    {
      const Tensor w = noise(form.weight, 2), other = noise(form.weight, 3);
      const Tensor expected = form.run(x, other);
      const KeepDerivedWeights keep;
      (void)form.run(x, w);
      CHECK(derived_weight_bytes() > before);
      copy_(w, other);
      CHECK(derived_weight_bytes() == before);
      CHECK(same_bits(form.run(x, w), expected));
    }
    CHECK(derived_weight_bytes() == before);
    CHECK(memory::stats().live == live);
  }
}

TEST_CASE("one storage keeps one form per use") {
  const Tensor x = noise({1, 12, 20, 16}, 1), w = noise({16, 3, 3, 16}, 2);
  const auto twice = [&] { return std::pair{kForms[0].run(x, w), kForms[1].run(x, w)}; };
  const auto expected = twice();
  const KeepDerivedWeights keep;
  for (int turn = 0; turn < 2; ++turn) {
    const auto results = twice();
    CHECK(same_bits(results.first, expected.first));
    CHECK(same_bits(results.second, expected.second));
  }
}

TEST_CASE("nothing is kept beyond the cap, outside of the scope, or for large pictures") {
  const Tensor x = noise({1, 12, 20, 16}, 1), w = noise({16, 3, 3, 16}, 2);
  const Tensor expected = kForms[0].run(x, w);
  {
    const KeepDerivedWeights keep;
    CHECK(worth_keeping(1 << 13));
    CHECK_FALSE(worth_keeping((1 << 13) + 1));
    const Cap none(derived_weight_bytes());
    CHECK(same_bits(kForms[0].run(x, w), expected));
    CHECK(w.storage()->derived() == nullptr);
  }
  CHECK_FALSE(worth_keeping(1));
  const KeepDerivedWeights films(KeepDerivedWeights::kEverySize), one;
  CHECK(worth_keeping(int64_t{1} << 40));
}

TEST_CASE("of rows of something no form is kept, for others of it would find it") {
  const Tensor x = noise({1, 12, 20, 16}, 1), all = noise({2, 16, 3, 3, 16}, 2);
  const KeepDerivedWeights keep;
  for (const int64_t part : {0, 1}) {
    const Tensor w(all.storage(), {16, 3, 3, 16}, DType::f32, part * all.storage()->bytes() / 2);
    CHECK(same_bits(kForms[0].run(x, w), kForms[0].run(x, w.clone())));
  }
}

TEST_CASE("where making fails, nothing has changed") {
  const Tensor w = noise({16, 3, 3, 16}, 2);
  const int64_t kept = derived_weight_bytes(), live = memory::stats().live;
  const DerivedKey key{kTilePacking, 1};
  CHECK_THROWS_AS(derived_weights(w, key, true, []() -> Tensor { throw OutOfMemory("no"); }), OutOfMemory);
  CHECK(derived_weight_bytes() == kept);
  CHECK(memory::stats().live == live);
  CHECK(same_bits(derived_weights(w, key, true, [&] { return w.clone(); }), w));
}

TEST_CASE("threads may ask for the same weights at the same time") {
  const Tensor w = noise({16, 3, 3, 16}, 2);
  const int64_t kept = derived_weight_bytes();
  std::vector<Tensor> results(8);
  std::vector<std::thread> threads;
  for (Tensor& result : results) {
    threads.emplace_back([&] {
      for (int64_t form = 0; form < 20; ++form)
        result = derived_weights(w, {kTilePacking, form}, true, [&] { return w.clone(); });
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Tensor& result : results) CHECK(result.storage() == results[0].storage());
  CHECK(derived_weight_bytes() - kept == 20 * w.storage()->bytes());
}

TEST_CASE("enhancing keeps weights, except under a limit of memory, and the bits are the same") {
  const std::unique_ptr<Model> model = make_model("unet");
  model->init_(Generator{5});
  const Tensor picture = noise({1, 48, 40, 3}, 4);
  const int64_t kept = derived_weight_bytes();
  const Tensor expected = enhance(*model, picture, {.memory = int64_t{1} << 40});
  CHECK(derived_weight_bytes() == kept);
  for (const auto order : {EnhanceOptions::whole, EnhanceOptions::by_rows}) {
    CHECK(same_bits(enhance(*model, picture, {.order = order}), expected));
    CHECK(derived_weight_bytes() > kept);
  }
}

}  // namespace
}  // namespace lux
