// Networks that run rows at a time give the bits of networks that run layer by layer, and need little memory.
#include "luxgrad/kernels/row_program.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <tuple>

#include "luxgrad/autograd/node.h"
#include "luxgrad/kernels/activations.h"
#include "luxgrad/kernels/amax.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/batch_norm.h"
#include "luxgrad/kernels/blur_pool.h"
#include "luxgrad/kernels/concat.h"
#include "luxgrad/kernels/conv2d.h"
#include "luxgrad/kernels/conv_transpose2d.h"
#include "luxgrad/kernels/dual_attention.h"
#include "luxgrad/kernels/expand.h"
#include "luxgrad/kernels/global_context.h"
#include "luxgrad/kernels/pool2d.h"
#include "luxgrad/kernels/precision.h"
#include "luxgrad/kernels/prelu.h"
#include "luxgrad/kernels/reductions.h"
#include "luxgrad/kernels/reshape.h"
#include "luxgrad/kernels/residual.h"
#include "luxgrad/kernels/resize.h"
#include "luxgrad/kernels/selective_kernel.h"
#include "luxgrad/kernels/softmax.h"
#include "luxgrad/layers/conv2d.h"
#include "luxgrad/layers/init.h"
#include "luxgrad/models/enhance.h"
#include "luxgrad/models/gan.h"
#include "luxgrad/models/mirnet_keras.h"
#include "luxgrad/models/mirnet_v1.h"
#include "luxgrad/models/mirnet_v2.h"
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

double largest_difference(const Tensor& a, const Tensor& b) {
  double largest = 0;
  for (int64_t i = 0; i < a.numel(); ++i)
    largest = std::max(largest, std::fabs(static_cast<double>(a.data<float>()[i] - b.data<float>()[i])));
  return largest;
}

// Networks that look at the whole picture, with few channels and blocks.
std::unique_ptr<Model> narrow_model(std::string_view name) {
  if (name == "mirnet_keras") return std::make_unique<MirnetKeras>(MirnetKeras::Compat::y2023, 16, 1);
  if (name == "mirnet_v1") return std::make_unique<MirnetV1>(16, 1);
  if (name == "mirnet_v2") return std::make_unique<MirnetV2>(16, 2);
  return std::make_unique<Gan>(8);
}

// The network on `picture`, `band` rows at a time.
Tensor by_rows(FunctionRef<Tensor(const Tensor&)> network, const Tensor& picture, int64_t band,
               int64_t side = 32) {
  const RowProgram program = RowProgram::record(network, side);
  REQUIRE(program.obstacle() == "");
  const int64_t row = picture.size(2) * 3;
  Tensors pieces;
  const auto source = [&](Rows rows, const Tensor& x) {
    std::copy_n(picture.data<float>() + rows.begin * row, rows.count() * row, x.data<float>());
  };
  const int64_t height = picture.size(1), width = picture.size(2);
  program.run(height, width, band, program.statistics(height, width, band, source), source,
              [&](Rows, const Tensor& y) { pieces.push_back(y.clone()); });
  return concat(pieces, 1);
}

// Pixels go from `picture` into rows, and from parts into `result`.
struct Carrier {
  const Tensor& picture;
  Tensor result = empty(picture.shape());

  void give(int64_t first, const Tensor& rows) const {
    std::copy_n(picture.data<float>() + first * picture.size(2) * 3, rows.numel(), rows.data<float>());
  }
  void take(int64_t row, int64_t column, const Tensor& part) const {
    const int64_t line = part.size(2) * 3;
    for (int64_t i = 0; i < part.size(1); ++i) {
      std::copy_n(part.data<float>() + i * line, line,
                  result.data<float>() + ((row + i) * picture.size(2) + column) * 3);
    }
  }
};

void check_network(FunctionRef<Tensor(const Tensor&)> network) {
  const NoGrad no_grad;
  for (const auto& [height, width] : {std::pair<int64_t, int64_t>{16, 24}, {52, 20}, {24, 40}, {20, 152}}) {
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
  SUBCASE("a depthwise convolution and the pointwise one behind it, which run as one") {
    const Tensor w = noise({6, 3, 3, 1}, 6), b = noise({6}, 7), mix = noise({32, 1, 1, 6}, 8),
                 b32 = noise({32}, 9);
    const Tensor wide = noise({64, 3, 3, 1}, 10), back = noise({3, 1, 1, 64}, 11);
    check_network([&](const Tensor& x) {
      const Tensor filtered =
          conv2d({x, x * 2.0}, w, b, {.padding = 1, .groups = 6, .activation = Activation::relu});
      const Tensor y = conv2d(filtered, mix, b32, {.activation = Activation::relu});
      const Tensor z = conv2d({y, y + 1.0}, wide, {}, {.padding = 1, .groups = 64});
      return conv2d(z, back, {}, {.activation = Activation::sigmoid});
    });
    const Tensor first = noise({40, 1, 1, 3}, 12), some = noise({40, 3, 3, 1}, 13), b40 = noise({40}, 14);
    for (const int64_t outputs : {5, 8, 24, 64}) {  // channels that are no multiple of a slice
      CAPTURE(outputs);
      const Tensor mix40 = noise({outputs, 1, 1, 40}, 15), bias = noise({outputs}, 16);
      for (const Activation activation : {Activation::none, Activation::leaky_relu}) {
        check_network([&](const Tensor& x) {
          const Tensor filtered =
              conv2d(conv2d(x, first), some, b40, {.padding = 1, .groups = 40, .activation = activation});
          return conv2d(filtered, mix40, bias, {.activation = Activation::relu});
        });
      }
    }
    check_network([&](const Tensor& x) {  // padding that reaches beyond a block at one side only
      const Tensor filtered = conv2d(conv2d(x, first), some, {}, {.padding = {2, 0, 11, 0}, .groups = 40});
      return conv2d(filtered, noise({8, 1, 1, 40}, 17));
    });
    check_network([&](const Tensor& x) {  // of which somebody else reads what is between them
      const Tensor filtered = conv2d({x, x}, w, b, {.padding = 1, .groups = 6});
      return concat({conv2d(filtered, mix), conv2d(filtered, w, b, {.padding = 1, .groups = 6})}, 3);
    });
    check_network([&](const Tensor& x) {
      return conv2d(conv2d({x, x}, w, b, {.stride = 2, .padding = {0, 1, 0, 1}, .groups = 6}), mix);
    });
  }
  SUBCASE("transposed convolution, kernels 3 and 2") {
    check_network([&](const Tensor& x) {
      return conv_transpose2d(x, up, {}, {.stride = 2, .padding = {0, 1, 0, 1}});
    });
    check_network([&](const Tensor& x) { return conv_transpose2d(x, up2, noise({2}, 7), {.stride = 2}); });
  }
  SUBCASE("convolutions of many channels, which are made in tiles") {
    const Tensor wide = noise({32, 1, 1, 3}, 8), w = noise({33, 3, 3, 32}, 12),
                 up3 = noise({33, 3, 3, 32}, 9), up4 = noise({33, 4, 4, 32}, 10);
    for (const Precision precision : {Precision::fp32, Precision::bf16}) {
      const PrecisionScope scope(precision);
      CAPTURE(precision);
      check_network([&](const Tensor& x) { return conv2d(conv2d(x, wide), w, {}, {.padding = 1}); });
      for (const Padding& padding : {Padding{0, 1, 0, 1}, {1, 0, 1, 0}}) {
        check_network([&](const Tensor& x) {
          return conv_transpose2d(conv2d(x, wide), up3, {},
                                  {.stride = 2, .padding = padding, .activation = Activation::leaky_relu});
        });
      }
      for (const Padding& padding : {Padding{1}, {0, 2, 0, 2}}) {
        check_network([&](const Tensor& x) {
          return conv_transpose2d(conv2d(x, wide), up4, noise({33}, 11), {.stride = 2, .padding = padding});
        });
      }
    }
    const RowProgram program = RowProgram::record(
        [&](const Tensor& x) {
          return conv_transpose2d(conv2d(x, wide, {}, {.stride = 2}), up4, {}, {.stride = 2, .padding = 1});
        },
        32);
    CHECK(program.halo_to_the_bit() > program.halo());
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
  SUBCASE("averages, blur") {
    check_network([&](const Tensor& x) { return avg_pool2d(x, {}); });
    check_network([&](const Tensor& x) {
      return avg_pool2d(x, {.kernel_size = 3, .ceil_mode = true, .count_include_pad = false});
    });
    check_network([&](const Tensor& x) { return blur_pool(blur_pool(x)); });
  }
  SUBCASE("attention") {
    check_network([&](const Tensor& x) {
      const auto [largest, average, mean] = attention_pool(x);
      const Tensor y = attention_scale(x, largest, mean, AttentionOrder::pixels_first);
      return weighted_sum({prelu(narrow(y, 3, 0, 3), full({1}, -0.5)), average * x},
                          {softmax(mean, 3), narrow(softmax(concat({mean, mean * 2.0}, 1), 1), 1, 1, 1)});
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
  SUBCASE("a convolution added to what it skips") {
    check_network([&](const Tensor& x) { return conv2d(x, noise({3, 3, 3, 3}, 9), {}, {.padding = 1}, x); });
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
  const RowProgram program = RowProgram::record([](const Tensor& x) { return x - sum(x) * 2.0; }, 16);
  CHECK(program.obstacle() == "sum");
  const auto nothing = [](Rows, const Tensor&) {};
  CHECK_THROWS_WITH_AS(program.run(16, 16, 4, {}, nothing, nothing), "rows: sum needs its picture as a whole",
                       Error);
}

TEST_CASE("with the statistics of a picture, its parts are those of the whole, to the bit") {
  const NoGrad no_grad;
  const Tensor w = noise({6, 3, 3, 3}, 1), w6 = noise({3, 3, 3, 6}, 2), one = noise({6}, 3);
  const auto network = [&](const Tensor& x) {
    Tensor y = batch_norm(conv2d(x, w, {}, {.padding = 1}), one, one, 1e-3).y;
    y = residual(y, global_context(y, amax(y)), 0.2, y);
    y = conv2d(blur_pool(y), w6, {}, {.padding = 1});
    y = resize(y, 2 * y.size(1), 2 * y.size(2));
    const Tensor sum = pooled_sum({x, y});
    return weighted_sum({x, y}, {sum, softmax(sum, 3)});
  };
  const RowProgram program = RowProgram::record(network, 32);
  REQUIRE(program.obstacle() == "");
  CHECK(program.statistic_count() == 4);
  CHECK_FALSE(program.makes_statistics());
  CHECK(program.grid() == 8);
  CHECK(program.halo() == 9);  // of which resizing reads two to spare
  const Tensor picture = noise({1, 64, 48, 3}, 4), whole = network(picture);
  const Tensors statistics = RowProgram::statistics_of(network, picture);
  CHECK(same_bits(program.run_at_once(picture, statistics), whole));
  const Carrier carrier{picture};
  program.run(
      64, 48, 4, statistics, [&](Rows rows, const Tensor& x) { carrier.give(rows.begin, x); },
      [&](Rows rows, const Tensor& y) { carrier.take(rows.begin, 0, y); });
  CHECK(same_bits(carrier.result, whole));
  CHECK(program.halo_to_the_bit() > program.halo());
  CHECK(program.halo_to_the_bit() <= 16);
  const Tensor part = program.run_at_once(narrow(narrow(picture, 1, 8, 56), 2, 8, 40), statistics);
  CHECK(same_bits(narrow(narrow(part, 1, 16, 40), 2, 16, 24), narrow(narrow(whole, 1, 24, 40), 2, 24, 24)));
  CHECK_THROWS_WITH_AS(program.run_at_once(picture, {}), "rows: expected 4 statistics, got 0", Error);
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
      const Tensor picture = noise({1, height, width, 3}, 9);
      const Carrier carrier{picture};
      int64_t next = 0;
      enhance_rows(
          *model, height, width, [&](int64_t first, const Tensor& rows) { carrier.give(first, rows); },
          [&](int64_t row, int64_t column, const Tensor& part) {
            CHECK(column == 0);
            CHECK(row == next);
            next = row + part.size(1);
            carrier.take(row, column, part);
          });
      CHECK(next == height);
      CHECK(same_bits(carrier.result, enhance(*model, picture, {.order = EnhanceOptions::whole})));
    }
  }
}

TEST_CASE("how pictures of a size run is found out once, before the first") {
  struct Looking final : Model {
    std::string name() const override { return "looking"; }
    ModelConfig config() const override { return {}; }
    ModelTraits traits() const override { return {}; }
    void init_(const Generator& /*generator*/) override {}
    Tensor enhance(const Tensor& x, double /*strength*/) const override {
      ++looks;
      return layer(x);
    }
    Conv2d layer{*this, "layer", {3, 3, 3, {.padding = 1}}};
    mutable int looks = 0;
  };
  Looking model;
  init_fan_in_uniform_(model, Generator{5});
  const Tensor picture = noise({1, 150, 131, 3}, 9);
  const Enhancer enhancer(model, 150, 131, {.memory = 1 << 20});
  CHECK(enhancer.plan().band > 0);
  const int looks = model.looks;
  for (int again = 0; again < 2; ++again) {
    const Carrier carrier{picture};
    enhancer.rows([&](int64_t first, const Tensor& rows) { carrier.give(first, rows); },
                  [&](int64_t row, int64_t column, const Tensor& part) { carrier.take(row, column, part); });
    CHECK(same_bits(carrier.result, enhancer(picture)));
  }
  CHECK(model.looks == looks);
}

TEST_CASE("a plan serves other limits of memory only where it would be the same") {
  const int64_t height = 136, width = 144;
  const std::vector<int64_t> limits = {0, 1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26, 1 << 30};
  for (const char* const name : {"zero_dce", "reference_guided", "mirnet_v2"}) {
    CAPTURE(name);
    const std::unique_ptr<Model> model = make_model(name);
    model->init_(Generator{5});
    int served = 0;
    for (const int64_t own : limits) {
      const Enhancer enhancer(*model, height, width, {.memory = own, .approximate = true});
      for (const int64_t limit : limits) {
        CAPTURE(own);
        CAPTURE(limit);
        const EnhanceOptions options{.memory = limit, .approximate = true};
        const bool serves = enhancer.serves(height, width, options);
        const EnhancePlan plan = enhancer.plan();
        if (own == limit && own > 0) CHECK(serves == (plan.bytes <= own));
        if (own == (1 << 30) && limit == (1 << 26)) CHECK(serves == (plan.bytes <= limit));
        if (!serves) continue;
        ++served;
        const EnhancePlan other = enhance_plan(*model, height, width, options);
        CHECK(std::tuple(plan.band, plan.tile, plan.halo, plan.reduction, plan.bytes) ==
              std::tuple(other.band, other.tile, other.halo, other.reduction, other.bytes));
      }
    }
    CHECK(served > 6);
    const Enhancer enhancer(*model, height, width, {.memory = 1 << 30});
    CHECK(enhancer.serves(height, width, {.memory = 1 << 30}));
    CHECK_FALSE(enhancer.serves(width, height, {.memory = 1 << 30}));
    CHECK_FALSE(enhancer.serves(height, width, {.strength = 0.5, .memory = 1 << 30}));
    CHECK_FALSE(enhancer.serves(height, width, {.order = EnhanceOptions::whole, .memory = 1 << 30}));
    const PrecisionScope exact(Precision::exact);
    CHECK_FALSE(enhancer.serves(height, width, {.memory = 1 << 30}));
  }
}

TEST_CASE("a limit of memory makes bands narrower, makes passes of means, or refuses before any work") {
  const NoGrad no_grad;
  for (const char* const name : {"zero_dce", "unet", "reference_guided"}) {
    CAPTURE(name);
    // In a smaller picture through reference_guided there is little but weights: rows take more than the
    // whole.
    const int64_t scale = std::string_view(name) == "reference_guided" ? 2 : 1;
    const int64_t height = 136 * scale, width = 144 * scale;
    const Tensor picture = noise({1, height, width, 3}, 9);
    const std::unique_ptr<Model> model = make_model(name);
    model->init_(Generator{5});
    const Tensor whole = enhance(*model, picture, {.order = EnhanceOptions::whole});
    const int64_t usual = enhance_plan(*model, height, width).bytes;
    const int64_t least = enhance_plan(*model, height, width, {.memory = 1}).bytes;
    CHECK(least < usual);
    for (const int64_t memory : {least, (least + usual) / 2, usual}) {
      const EnhanceOptions options{.memory = memory};
      CHECK(enhance_plan(*model, height, width, options).bytes <= memory);
      CHECK(same_bits(enhance(*model, picture, options), whole));
    }
    CHECK_THROWS_AS(enhance(*model, picture, {.memory = least - 1}), OutOfMemory);
  }
}

TEST_CASE("a limit that neither rows nor the whole picture keep asks for the lesser of them") {
  const std::unique_ptr<Model> model = make_model("reference_guided");
  model->init_(Generator{5});
  const int64_t whole = enhance_plan(*model, 136, 144).bytes;
  const EnhancePlan least = enhance_plan(*model, 136, 144, {.memory = 1});
  const int64_t rows = enhance_plan(*model, 136, 144, {.order = EnhanceOptions::by_rows, .memory = 1}).bytes;
  CHECK(least.bytes == std::min(whole, rows));  // which is less, the kernels of the processor decide
  CHECK((least.band == 0) == (whole < rows));
}

TEST_CASE("tile by tile is the whole, to the bit, where statistics of the whole are those of the picture") {
  const NoGrad no_grad;
  Generator sizes(11);
  for (const char* const name : {"zero_dce", "unet", "reference_guided", "gan"}) {
    CAPTURE(name);
    const std::unique_ptr<Model> model = make_model(name);
    model->init_(Generator{5});
    if (auto* const gan = dynamic_cast<Gan*>(model.get()))
      gan->set_inference({.statistics = BatchNormMode::running});
    for (int i = 0; i < 3; ++i) {
      const int64_t height = 40 + static_cast<int64_t>(sizes.below(60)),
                    width = 250 + static_cast<int64_t>(sizes.below(80));
      CAPTURE(height);
      CAPTURE(width);
      const Tensor picture = noise({1, height, width, 3}, 9);
      const EnhanceOptions options{.tile = 16};
      const EnhancePlan plan = enhance_plan(*model, height, width, options);
      CHECK(plan.tile >= 16);
      CHECK(plan.tile < width);
      CHECK(same_bits(enhance(*model, picture, options),
                      enhance(*model, picture, {.order = EnhanceOptions::whole})));
    }
  }
}

TEST_CASE("at any size and three limits of memory a picture comes out as the whole, to the bit") {
  const NoGrad no_grad;
  Generator sizes(23);
  const int count = std::getenv("LUX_ALL_SIZES") != nullptr ? 50 : 5;  // of each network
  for (const char* const name : {"zero_dce", "zero_dce_plus", "unet", "reference_guided", "gan"}) {
    CAPTURE(name);
    const std::unique_ptr<Model> model =
        std::string_view(name) == "gan" ? narrow_model(name) : make_model(name);
    model->init_(Generator{5});
    if (auto* const gan = dynamic_cast<Gan*>(model.get()))
      gan->set_inference({.statistics = BatchNormMode::running});
    for (int i = 0; i < count; ++i) {
      const int64_t height = 1 + static_cast<int64_t>(sizes.below(90)),
                    width = 1 + static_cast<int64_t>(sizes.below(90));
      CAPTURE(height);
      CAPTURE(width);
      const Tensor picture = noise({1, height, width, 3}, 9);
      const Tensor whole = enhance(*model, picture, {.order = EnhanceOptions::whole});
      const int64_t least = enhance_plan(*model, height, width, {.memory = 1}).bytes;
      const int64_t most = enhance_plan(*model, height, width, {.order = EnhanceOptions::whole}).bytes;
      for (const int64_t memory : {least, (3 * least + most) / 4, (least + most) / 2}) {
        CAPTURE(memory);
        CHECK(same_bits(enhance(*model, picture, {.memory = memory}), whole));
      }
    }
  }
}

TEST_CASE("networks that need statistics of the whole picture run tile by tile with those of a copy") {
  const NoGrad no_grad;
  for (const char* const name : {"mirnet_keras", "mirnet_v1", "mirnet_v2", "gan"}) {
    CAPTURE(name);
    const std::unique_ptr<Model> model = narrow_model(name);
    model->init_(Generator{5});
    CHECK(obstacle_to_rows(*model) == "");
    const Tensor picture = noise({1, 90, 130, 3}, 9);
    const Tensor whole = enhance(*model, picture);
    CHECK_THROWS_AS(enhance(*model, picture, {.tile = 32}), Error);
    CHECK_THROWS_AS(enhance(*model, picture, {.memory = 1000}), OutOfMemory);
    // A copy of the same size has the same statistics.
    const EnhanceOptions exact{.tile = 32, .approximate = true, .reduction = 1};
    CHECK(enhance_plan(*model, 90, 130, exact).tile == 32);
    CHECK(largest_difference(enhance(*model, picture, exact), whole) < 1e-5);
    const EnhanceOptions half{.tile = 32, .approximate = true, .reduction = 2};
    CHECK(largest_difference(enhance(*model, picture, half), whole) > 1e-5);
    // Without a tile given, squares are as large as memory allows.
    const int64_t need = enhance_plan(*model, 90, 130, {.order = EnhanceOptions::whole}).bytes;
    const EnhanceOptions limited{.memory = need * 3 / 4, .approximate = true};
    const EnhancePlan plan = enhance_plan(*model, 90, 130, limited);
    CHECK(plan.bytes <= limited.memory);
    CHECK(plan.tile > 0);
    CHECK(plan.reduction > 1);
    CHECK(enhance(*model, picture, limited).shape() == picture.shape());
  }
}

TEST_CASE("maps in full size do not wait for many rows of small ones") {
  const std::unique_ptr<Model> model = make_model("reference_guided");
  model->init_(Generator{5});
  const RowProgram program = RowProgram::record([&](const Tensor& x) { return model->enhance(x, 1); }, 64);
  // Four rows of conv5_1 are made of 64 rows of the picture and more, each of 32 channels; were all of them
  // there at a time, these two maps alone would be larger.
  const int64_t width = 6000, map = 32 * 64 * width * static_cast<int64_t>(sizeof(float));
  CHECK(program.statistics_bytes(4000, width, 4) < 7 * map);
}

TEST_CASE("without tiles of Winograd's, no rows are kept but those that are still to be read") {
  const std::unique_ptr<Model> model = make_model("zero_dce_plus");
  model->init_(Generator{5});
  const RowProgram program = RowProgram::record([&](const Tensor& x) { return model->enhance(x, 1); }, 64);
  // Of bands of four rows: the first three maps, which are read a second time at the end, keep 16, 12 and 8,
  // the other three 6, all of 32 channels; the pictures have few.
  const int64_t row = 32 * 1200 * static_cast<int64_t>(sizeof(float));
  CHECK(program.bytes(900, 1200, 4) < 60 * row);
}

TEST_CASE("bands are low where few weights are read for each") {
  const EnhancePlan few = enhance_plan(*make_model("zero_dce_plus"), 900, 1200),
                    many = enhance_plan(*make_model("zero_dce"), 900, 1200);
  CHECK(few.band == 8);
  CHECK(few.bytes < int64_t{12} << 20);
  CHECK(many.band == 28);
}

TEST_CASE("a wide picture goes by columns whose rows stay in the cache, where few are computed twice") {
  const NoGrad no_grad;
  const std::unique_ptr<Model> few = make_model("zero_dce_plus"), many = make_model("zero_dce");
  few->init_(Generator{5});
  const EnhancePlan plan = enhance_plan(*few, 900, 4000);
  CHECK(plan.tile == 800);
  CHECK(plan.halo < 10);
  CHECK(plan.bytes < int64_t{9} << 20);
  CHECK(enhance_plan(*few, 900, 800).tile == 0);
  CHECK(enhance_plan(*many, 900, 4000).tile == 0);  // 28 columns on each side
  const Tensor picture = noise({1, 12, 1700, 3}, 4);
  REQUIRE(enhance_plan(*few, 12, 1700).tile > 0);
  CHECK(same_bits(enhance(*few, picture), enhance(*few, picture, {.order = EnhanceOptions::whole})));
}

TEST_CASE("memory does not grow with the height of the picture") {
  const std::unique_ptr<Model> model = make_model("zero_dce");
  model->init_(Generator{5});
  const auto peak = [&](int64_t height) {
    const Tensor picture = noise({1, height, 256, 3}, 9);
    const int64_t before = memory::stats().live;
    memory::reset_peak();
    (void)enhance(*model, picture, {.order = EnhanceOptions::by_rows});
    return memory::stats().peak - before - picture.storage()->bytes();
  };
  const int64_t small = peak(512), large = peak(2048);
  CHECK(large - small < small / 50);  // bands end where they fall
}

}  // namespace
}  // namespace lux
