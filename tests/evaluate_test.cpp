// Evaluation: every protocol is what its name says, baselines and bootstrap are their definitions, tables
// are complete.
#include "luxgrad/training/evaluate.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <set>

#include "error_of.h"
#include "luxgrad/data/image.h"
#include "luxgrad/tensor/random.h"
#include "luxgrad/training/baselines.h"
#include "luxgrad/training/metrics.h"
#include "temporary_folder.h"

using namespace lux;

namespace {

Tensor noise(const Shape& shape, double high, uint64_t seed) {
  Tensor picture = empty(shape);
  Generator generator(seed, "evaluate_test");
  fill_uniform_(picture, 0, high, generator);
  return picture;
}

/// 10·log10(1 / mean of (f(result) − g(reference))²) over pixels, f and g of a pixel's red, green and blue.
template <class F, class G>
double plain_psnr(const Tensor& result, const Tensor& reference, const F& f, const G& g) {
  const std::vector<double> a = result.to_vector(), b = reference.to_vector();
  double sum = 0;
  for (size_t i = 0; i < a.size(); i += 3) {
    const double d = f(a[i], a[i + 1], a[i + 2]) - g(b[i], b[i + 1], b[i + 2]);
    sum += d * d;
  }
  return 10 * std::log10(static_cast<double>(a.size() / 3) / sum);
}

double y_of(double r, double g, double b) { return (65.481 * r + 128.553 * g + 24.966 * b + 16) / 255; }
double level(double v) { return std::floor(std::clamp(v, 0.0, 1.0) * 255 + 0.5) / 255; }
double y_of_levels(double r, double g, double b) { return y_of(level(r), level(g), level(b)); }

/// Two pairs of noise; one has a name that a CSV file must quote.
struct Pairs {
  Pairs() {
    for (const char* part : {"low", "high"}) std::filesystem::create_directories(folder.path() / part);
    for (const std::string name : {"b.png", "a, \"x\".png"}) {
      save_image(folder.path() / "low" / name, from_tensor(noise({1, 17, 13, 3}, 0.3, name.size())));
      save_image(folder.path() / "high" / name, from_tensor(noise({1, 17, 13, 3}, 1, 7)));
    }
    list = paired_folder(folder.path() / "low", folder.path() / "high");
  }
  TemporaryFolder folder;
  PictureList list;
};

const auto kUnchanged = [](const Tensor& low, const Tensor& /*high*/) { return low; };

}  // namespace

TEST_CASE("every protocol is named once and scored") {
  std::set<std::string> names;
  for (const Protocol& protocol : protocols()) CHECK(names.insert(protocol.name).second);
  const Scores scores = score(noise({1, 14, 12, 3}, 1, 1), noise({1, 14, 12, 3}, 1, 2));
  CHECK(scores.size() == names.size());
  for (const std::string& name : names) CHECK(scores.contains(name));
  CHECK(protocols()[0].name == "psnr");
  CHECK(protocols()[1].name == "ssim");
}

TEST_CASE("protocols agree with plain readings of their definitions") {
  const Tensor result = noise({1, 14, 12, 3}, 0.8, 1), reference = noise({1, 14, 12, 3}, 1, 2);
  const Scores scores = score(result, reference);
  const auto approx = [](double x) { return doctest::Approx(x).epsilon(1e-12); };
  CHECK(scores.at("psnr_y") == approx(plain_psnr(result, reference, y_of, y_of)));
  CHECK(scores.at("psnr_y_uint8") == approx(plain_psnr(result, reference, y_of_levels, y_of_levels)));
  using metrics::quantize_8bit;
  const Tensor result8 = quantize_8bit(result), reference8 = quantize_8bit(reference);
  CHECK(scores.at("ssim_y") == metrics::ssim(metrics::luma(result), metrics::luma(reference)));
  CHECK(scores.at("ssim_y_uint8") == metrics::ssim(metrics::luma(result8), metrics::luma(reference8)));
  const Tensor gray8 = quantize_8bit(metrics::gray(result8)),
               wanted8 = quantize_8bit(metrics::gray(reference8));
  CHECK(scores.at("ssim_gray_uint8") == metrics::ssim(gray8, wanted8));
  CHECK(scores.at("ssim_uniform_gray_uint8") ==
        metrics::ssim(gray8, wanted8, metrics::SsimProtocol::skimage()));
  CHECK(scores.at("ssim_volume") == metrics::ssim(result, reference, metrics::SsimProtocol::matlab_volume()));
  const auto matched = [&](metrics::GtMean form) { return metrics::match_mean(result, reference, form); };
  CHECK(scores.at("psnr_gt_mean_uint8") ==
        metrics::psnr(quantize_8bit(matched(metrics::GtMean::gray)), reference8));
  CHECK(scores.at("ssim_gt_mean_uint8") ==
        metrics::ssim(quantize_8bit(matched(metrics::GtMean::gray)), reference8));
  for (const auto& [name, form] : {std::pair("retinexformer", metrics::GtMean::retinexformer),
                                   std::pair("llflow", metrics::GtMean::llflow)}) {
    CHECK(scores.at(cat("psnr_gt_mean_", name)) == metrics::psnr(matched(form), reference));
    CHECK(scores.at(cat("ssim_gt_mean_", name)) == metrics::ssim(matched(form), reference));
  }
}

TEST_CASE("baselines are their definitions") {
  // Channels of four pixels: levels 0 51 51 102; a constant; 10 20 30 40.
  const auto at = [](double v) { return v / 255; };
  const Tensor picture = from_vector({at(0), at(77), at(10), at(51), at(77), at(20),  //
                                      at(51), at(77), at(30), at(102), at(77), at(40)},
                                     {1, 2, 2, 3});
  const auto levels = [&](const char* name) {
    std::vector<double> values = baseline(name, picture).to_vector();
    for (double& value : values) value = std::round(255e3 * value) / 1e3;
    return values;
  };
  CHECK(levels("identity") == std::vector<double>{0, 77, 10, 51, 77, 20, 51, 77, 30, 102, 77, 40});
  CHECK(levels("auto_contrast") ==
        std::vector<double>{0, 77, 0, 127.5, 77, 85, 127.5, 77, 170, 255, 77, 255});
  // Of four pixels one has the smallest level: (3 - 1)/(4 - 1) of 255 for the middle ones.
  CHECK(levels("equalize") == std::vector<double>{0, 77, 0, 170, 77, 85, 170, 77, 170, 255, 77, 255});
  CHECK(baseline("gamma", picture).to_vector()[3] == doctest::Approx(std::cbrt(0.2)).epsilon(1e-6));
  CHECK(baseline_names() == std::vector<std::string>{"identity", "gamma", "auto_contrast", "equalize"});
  CHECK(error_of([&] { baseline("magic", picture); }) ==
        "baseline: expected identity, gamma, auto_contrast or equalize, got 'magic'");
  CHECK(error_of([] {
          baseline("gamma", zeros({2, 2, 1}));
        }) == "baseline: expected an f32 picture [..., 3], got f32 [2, 2, 1]");
}

TEST_CASE("the bootstrap's interval is where the theory of means puts it") {
  std::vector<std::vector<double>> rows;
  Generator generator(3);
  for (int i = 0; i < 200; ++i) rows.push_back({generator.normal(), 5});
  double mean = 0, squares = 0;
  for (const auto& row : rows) mean += row[0] / 200, squares += row[0] * row[0] / 200;
  const double deviation = std::sqrt((squares - mean * mean) / 200);  // of the mean
  const std::vector<Interval> intervals = bootstrap_means(rows);
  CHECK(intervals[0].low == doctest::Approx(mean - 1.96 * deviation).epsilon(0.05));
  CHECK(intervals[0].high == doctest::Approx(mean + 1.96 * deviation).epsilon(0.05));
  CHECK(intervals[1].low == 5);
  CHECK(intervals[1].high == 5);
  CHECK(bootstrap_means(rows)[0].low == intervals[0].low);
  CHECK(bootstrap_means(rows, {.seed = 1})[0].low != intervals[0].low);
  CHECK(bootstrap_means(rows, {.coverage = 0.5})[0].low > intervals[0].low);
}

TEST_CASE("quantiles lie between sorted averages, one picture has no spread, infinity stays infinite") {
  // The averages of two draws from {0, 1}: 0, 1/2 or 1. All samples together are one sorted list of them.
  const std::vector<std::vector<double>> rows{{0}, {1}};
  const Interval whole = bootstrap_means(rows, {.samples = 1000, .coverage = 0.999999})[0];
  CHECK(whole.low == 0);
  CHECK(whole.high == 1);
  // Of two averages m ≤ n the quantile at 1/4 is m + (n − m)/4.
  const Interval quarter = bootstrap_means(rows, {.samples = 2, .coverage = 0.5, .seed = 2})[0];
  const Interval both = bootstrap_means(rows, {.samples = 2, .coverage = 1 - 1e-12, .seed = 2})[0];
  REQUIRE(both.low < both.high);
  CHECK(quarter.low == doctest::Approx(both.low + (both.high - both.low) / 4).epsilon(1e-9));
  CHECK(quarter.high == doctest::Approx(both.high - (both.high - both.low) / 4).epsilon(1e-9));
  const double infinity = std::numeric_limits<double>::infinity();
  CHECK(bootstrap_means({{infinity}})[0].low == infinity);
  CHECK(bootstrap_means({{infinity}, {1}})[0].high == infinity);
  CHECK(bootstrap_means({{3.5}})[0].high == 3.5);
  CHECK(error_of([] { bootstrap_means({}); }) == "bootstrap_means: expected at least one row");
  CHECK(error_of([] {
          bootstrap_means({{1}, {1, 2}});
        }) == "bootstrap_means: expected rows of one length, got 1 and 2");
  CHECK(error_of([] { bootstrap_means({{1}}, {.coverage = 1}); }) ==
        "bootstrap_means: expected at least one sample and a coverage between 0 and 1, got 10000 and 1");
}

TEST_CASE("evaluation compares every picture with its reference and averages") {
  const Pairs pairs;
  int64_t seen = 0;
  const Evaluation evaluation =
      evaluate("identity", kUnchanged, pairs.list, [&](const ImageScores&) { ++seen; });
  CHECK(seen == 2);
  REQUIRE(evaluation.images.size() == 2);
  double sum = 0;
  for (size_t i = 0; i < 2; ++i) {
    const Tensor low = to_tensor(load_image(pairs.list[i].low)),
                 high = to_tensor(load_image(pairs.list[i].high));
    CHECK(evaluation.images[i].scores == score(low, high));
    sum += metrics::psnr(low, high);
  }
  CHECK(evaluation.mean.at("psnr") == doctest::Approx(sum / 2).epsilon(1e-14));
  const Interval interval = intervals_of(evaluation).at("psnr");
  const auto of = [&](size_t i) { return evaluation.images[i].scores.at("psnr"); };
  CHECK(interval.low == std::min(of(0), of(1)));  // both pictures the same one: a quarter of all samples
  CHECK(interval.high == std::max(of(0), of(1)));
  const Evaluation oracle = evaluate(
      "oracle", [](const Tensor&, const Tensor& high) { return high; }, pairs.list);
  CHECK(oracle.mean.at("psnr") == std::numeric_limits<double>::infinity());
}

TEST_CASE("the table has a line per picture and method") {
  const Pairs pairs;
  const Evaluation one = evaluate("identity", kUnchanged, pairs.list);
  const Evaluation other = evaluate(
      "gamma", [](const Tensor& low, const Tensor&) { return baseline("gamma", low); }, pairs.list);
  const std::string csv = to_csv({one, other});
  CHECK(csv.starts_with("image,method,psnr,ssim,"));
  CHECK(csv.find("\n\"a, \"\"x\"\".png\",identity," + exact_text(one.images[0].scores.at("psnr")) + ",") !=
        std::string::npos);
  CHECK(csv.find("\nmean,gamma," + exact_text(other.mean.at("psnr")) + ",") != std::string::npos);
  CHECK(std::count(csv.begin(), csv.end(), '\n') == 7);
  const size_t header = csv.find('\n');
  CHECK(std::count(csv.begin(), csv.begin() + static_cast<int64_t>(header), ',') ==
        static_cast<int64_t>(protocols().size()) + 1);
}

TEST_CASE("what evaluation refuses") {
  const TemporaryFolder folder;
  const std::string low = folder.path() / "low.png", high = folder.path() / "high.png";
  save_image(low, from_tensor(full({1, 16, 16, 3}, 0.1)));
  save_image(high, from_tensor(full({1, 16, 17, 3}, 0.5)));
  const auto refusal = [](const PictureList& pairs) {
    return error_of([&] { evaluate("identity", kUnchanged, pairs); });
  };
  CHECK(refusal({}) == "evaluate: expected at least one pair of pictures");
  CHECK(refusal({{"x", low, ""}}) == "evaluate: expected a reference for x");
  CHECK(refusal({{"x", low, high}}) == low + ": is 16 x 16, its reference 17 x 16");
}

TEST_CASE("the hash of the data knows every byte and the order") {
  const Pairs pairs;
  const std::string before = sha256_of(pairs.list);
  CHECK(before == sha256_of(pairs.list));
  CHECK(before.size() == 64);
  CHECK(sha256_of({pairs.list[1], pairs.list[0]}) != before);
  save_image(pairs.list[1].high, from_tensor(noise({1, 17, 13, 3}, 1, 8)));
  CHECK(sha256_of(pairs.list) != before);
}
