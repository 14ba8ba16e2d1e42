// Networks that run rows at a time give the bits of networks that run layer by layer, and need little memory.
#include "luxgrad/kernels/row_program.h"

#include <doctest/doctest.h>

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/activations.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/concat.h"
#include "luxgrad/kernels/conv2d.h"
#include "luxgrad/kernels/conv_transpose2d.h"
#include "luxgrad/kernels/expand.h"
#include "luxgrad/kernels/pool2d.h"
#include "luxgrad/kernels/reductions.h"
#include "luxgrad/kernels/reshape.h"
#include "luxgrad/kernels/resize.h"
#include "luxgrad/models/enhance.h"
#include "luxgrad/models/gan.h"
#include "luxgrad/models/registry.h"
#include "luxgrad/tensor/memory.h"
#include "luxgrad/tensor/random.h"
#include "same_bits.h"

namespace lux {
namespace {

Tensor noise(const Shape& shape, uint64_t seed) {
  Tensor x = empty(shape);
  Generator generator(seed);
  fill_uniform_(x, 0, 1, generator);
  return x;
}

// The network on `picture`, `band` rows at a time.
Tensor by_rows(FunctionRef<Tensor(const Tensor&)> network, const Tensor& picture, int64_t band,
               int64_t side = 32) {
  const RowProgram program = RowProgram::record(network, side);
  REQUIRE(program.obstacle() == "");
  const int64_t row = picture.size(2) * 3;
  Tensors pieces;
  program.run(
      picture.size(1), picture.size(2), band,
      [&](Rows rows, const Tensor& x) {
        std::copy_n(picture.data<float>() + rows.begin * row, rows.count() * row, x.data<float>());
      },
      [&](Rows, const Tensor& y) { pieces.push_back(y.clone()); });
  return concat(pieces, 1);
}

void check_network(FunctionRef<Tensor(const Tensor&)> network) {
  const NoGrad no_grad;
  for (const auto& [height, width] : {std::pair<int64_t, int64_t>{16, 24}, {52, 20}, {24, 40}}) {
    CAPTURE(height);
    const Tensor picture = noise({1, height, width, 3}, 3);
    const Tensor whole = network(picture);
    for (const int64_t band : {1, 4, 12, 100}) {
      CAPTURE(band);
      CHECK(same_bits(by_rows(network, picture, band), whole));
    }
  }
}

TEST_CASE("every operator that describes itself runs rows at a time, to the bit") {
  const Tensor w3 = noise({5, 3, 3, 3}, 1), w4 = noise({4, 4, 4, 3}, 2), b5 = noise({5}, 3);
  const Tensor up = noise({2, 3, 3, 3}, 4), up2 = noise({2, 2, 2, 3}, 5);
  SUBCASE("convolution") {
    check_network([&](const Tensor& x) { return conv2d(x, w3, b5, {.padding = 1}); });
  }
  SUBCASE("convolution, two inputs, uneven padding") {
    const Tensor w = noise({4, 4, 4, 6}, 6);
    check_network([&](const Tensor& x) { return conv2d({x, x * 2.0}, w, {}, {.padding = {1, 2, 1, 2}}); });
  }
  SUBCASE("convolution, stride 2") {
    check_network([&](const Tensor& x) { return conv2d(x, w3, b5, {.stride = 2, .padding = {0, 1, 0, 1}}); });
  }
  SUBCASE("transposed convolution, kernels 3 and 2") {
    check_network([&](const Tensor& x) {
      return conv_transpose2d(x, up, {}, {.stride = 2, .padding = {0, 1, 0, 1}});
    });
    check_network([&](const Tensor& x) { return conv_transpose2d(x, up2, noise({2}, 7), {.stride = 2}); });
  }
  SUBCASE("pooling, cropping") {
    check_network([&](const Tensor& x) { return max_pool2d(x, {}); });
    check_network([&](const Tensor& x) {
      return max_pool2d(max_pool2d(x, {}), {.kernel_size = 3, .stride = 2, .ceil_mode = true});
    });
    check_network([&](const Tensor& x) {
      return crop_as(conv_transpose2d(max_pool2d(x, {.kernel_size = 3, .stride = 2, .ceil_mode = true}), up2,
                                      {}, {.stride = 2}),
                     x);
    });
  }
  SUBCASE("resizing") {
    for (const auto mode : {ResizeOptions::nearest, ResizeOptions::nearest_exact, ResizeOptions::bilinear}) {
      check_network([&](const Tensor& x) { return resize(x, x.size(1) * 2, x.size(2) * 2, {.mode = mode}); });
      check_network([&](const Tensor& x) { return resize(x, x.size(1) / 4, x.size(2) / 4, {.mode = mode}); });
    }
    check_network([&](const Tensor& x) {
      return resize(resize(x, x.size(1) / 4, x.size(2) / 4), x.size(1), x.size(2), {.align_corners = true});
    });
  }
  SUBCASE("elements, channels") {
    check_network([&](const Tensor& x) {
      return concat({tanh(x) * x, 1.0 - x, narrow(x, 3, 1, 2), noise({1, 1, 1, 3}, 8) * x}, 3);
    });
  }
  SUBCASE("means over all pixels") {
    check_network([&](const Tensor& x) {
      const Tensor first = mean(x, {1, 2}, true);
      const Tensor second = mean(conv2d(x * first, w3, b5), {1, 2});
      const Tensor gain = reshape(second, {1, 1, 1, 5});
      return x + sigmoid(narrow(gain, 3, 0, 3)) * narrow(expand_as(gain, x), 3, 2, 3);
    });
  }
}

TEST_CASE("an operator that needs its picture as a whole is named") {
  const RowProgram program = RowProgram::record([](const Tensor& x) { return x - sum(x); }, 16);
  CHECK(program.obstacle() == "sum");
  CHECK_THROWS_WITH_AS(program.run(
                           16, 16, 4, [](Rows, const Tensor&) {}, [](Rows, const Tensor&) {}),
                       "rows: sum needs its picture as a whole", Error);
}

TEST_CASE("networks run rows at a time, to the bit, at any size") {
  for (const char* const name : {"zero_dce", "zero_dce_plus", "unet", "reference_guided", "gan"}) {
    CAPTURE(name);
    const std::unique_ptr<Model> model = make_model(name);
    model->init_(Generator{5});
    if (auto* const gan = dynamic_cast<Gan*>(model.get()))
      gan->set_inference({.statistics = BatchNormMode::running});
    CHECK(obstacle_to_rows(*model) == "");
    for (const auto& [height, width] : {std::pair<int64_t, int64_t>{37, 29}, {70, 18}}) {
      CAPTURE(height);
      const Tensor picture = noise({1, height, width, 3}, 9);
      for (const double strength : {1.0, 0.5}) {
        const Tensor whole = enhance(*model, picture, {.strength = strength, .order = EnhanceOptions::whole});
        CHECK(same_bits(enhance(*model, picture, {.strength = strength, .order = EnhanceOptions::by_rows}),
                        whole));
      }
    }
  }
}

TEST_CASE("rows that come and go one band at a time give the same bits, whichever way the network runs") {
  for (const char* const name :
       {"zero_dce", "unet", "gan"}) {  // the last one by the statistics of its picture
    CAPTURE(name);
    const std::unique_ptr<Model> model = make_model(name);
    model->init_(Generator{5});
    for (const auto& [height, width] : {std::pair<int64_t, int64_t>{150, 131}, {33, 20}}) {
      CAPTURE(height);
      const Tensor picture = noise({1, height, width, 3}, 9), result = empty(picture.shape());
      const int64_t row = width * 3;
      int64_t next = 0;
      enhance_rows(
          *model, height, width,
          [&](int64_t first, const Tensor& rows) {
            std::copy_n(picture.data<float>() + first * row, rows.numel(), rows.data<float>());
          },
          [&](int64_t first, const Tensor& rows) {
            CHECK(first == next);
            next = first + rows.size(1);
            std::copy_n(rows.data<float>(), rows.numel(), result.data<float>() + first * row);
          });
      CHECK(next == height);
      CHECK(same_bits(result, enhance(*model, picture, {.order = EnhanceOptions::whole})));
    }
  }
}

TEST_CASE("a limit of memory makes bands narrower, makes passes of means, or refuses before any work") {
  const NoGrad no_grad;
  const int64_t height = 136, width = 144;
  const Tensor picture = noise({1, height, width, 3}, 9);
  for (const char* const name : {"zero_dce", "unet", "reference_guided"}) {
    CAPTURE(name);
    const std::unique_ptr<Model> model = make_model(name);
    model->init_(Generator{5});
    const Tensor whole = enhance(*model, picture, {.order = EnhanceOptions::whole});
    const int64_t usual = enhance_bytes(*model, height, width);
    const int64_t least = enhance_bytes(*model, height, width, {.memory = 1});
    CHECK(least < usual);
    for (const int64_t memory : {least, (least + usual) / 2, usual}) {
      const EnhanceOptions options{.memory = memory};
      CHECK(enhance_bytes(*model, height, width, options) <= memory);
      CHECK(same_bits(enhance(*model, picture, options), whole));
    }
    CHECK_THROWS_AS(enhance(*model, picture, {.memory = least - 1}), OutOfMemory);
  }
}

TEST_CASE("memory does not grow with the height of the picture") {
  const std::unique_ptr<Model> model = make_model("zero_dce");
  model->init_(Generator{5});
  const auto peak = [&](int64_t height) {
    const Tensor picture = noise({1, height, 64, 3}, 9);
    const int64_t before = memory::stats().live;
    memory::reset_peak();
    (void)enhance(*model, picture, {.order = EnhanceOptions::by_rows});
    return memory::stats().peak - before - picture.storage()->bytes();
  };
  const int64_t small = peak(256), large = peak(1024);
  CHECK(large - small < small / 50);  // bands end where they fall
}

}  // namespace
}  // namespace lux
