#include "luxgrad/training/protocols.h"

#include <utility>

#include "luxgrad/training/metrics.h"

namespace lux {
namespace {

using metrics::GtMean;
using metrics::SsimProtocol;

struct Pair {
  Tensor result, reference;
  const Lpips* lpips = nullptr;
};

Pair eight_bits(const Pair& pair) {
  return {metrics::quantize_8bit(pair.result), metrics::quantize_8bit(pair.reference), pair.lpips};
}
Pair luma(const Pair& pair) { return {metrics::luma(pair.result), metrics::luma(pair.reference)}; }
Pair gray(const Pair& pair) { return {metrics::gray(pair.result), metrics::gray(pair.reference)}; }

template <GtMean form>
Pair matched(const Pair& pair) {
  return {metrics::match_mean(pair.result, pair.reference, form), pair.reference};
}

enum Measure : uint8_t { kPsnr = 1, kSsim = 2, kUniform = 4, kVolume = 8, kMae = 16, kLpips = 32 };

struct MeasureRow {
  Measure measure;
  const char* name;
  const char* title;
  double (*of)(const Pair&);
};
constexpr MeasureRow kMeasures[] = {
    {kPsnr, "psnr", "PSNR", [](const Pair& p) { return metrics::psnr(p.result, p.reference); }},
    {kSsim, "ssim", "SSIM", [](const Pair& p) { return metrics::ssim(p.result, p.reference); }},
    {kUniform, "ssim_uniform", "SSIM 7x7",
     [](const Pair& p) { return metrics::ssim(p.result, p.reference, SsimProtocol::skimage()); }},
    {kVolume, "ssim_volume", "SSIM 3-D",
     [](const Pair& p) { return metrics::ssim(p.result, p.reference, SsimProtocol::matlab_volume()); }},
    {kMae, "mae", "MAE", [](const Pair& p) { return metrics::mae(p.result, p.reference); }},
    {kLpips, "lpips", "LPIPS", [](const Pair& p) { return (*p.lpips)(p.result, p.reference); }},
};

// What is compared, and the measures that anybody publishes of it.
struct View {
  const char* suffix;
  const char* title;
  Pair (*of)(const Pair& rgb);
  unsigned measures;
};
constexpr View kViews[] = {
    {"", "RGB", [](const Pair& rgb) { return rgb; }, kPsnr | kSsim | kUniform | kVolume | kMae | kLpips},
    {"_uint8", "RGB, 8 bits", eight_bits, kPsnr | kSsim | kUniform | kVolume | kMae | kLpips},
    {"_y", "Y", luma, kPsnr | kSsim},
    {"_y_uint8", "Y, 8 bits", [](const Pair& rgb) { return luma(eight_bits(rgb)); }, kPsnr | kSsim},
    {"_gray", "gray", gray, kSsim | kUniform},
    {"_gray_uint8", "gray, 8 bits", [](const Pair& rgb) { return eight_bits(gray(eight_bits(rgb))); },
     kSsim | kUniform},
    {"_gt_mean", "RGB, GT mean", matched<GtMean::gray>, kPsnr | kSsim},
    {"_gt_mean_uint8", "RGB, GT mean, 8 bits",
     [](const Pair& rgb) { return eight_bits(matched<GtMean::gray>(rgb)); }, kPsnr | kSsim},
    {"_gt_mean_retinexformer", "RGB, Retinexformer's GT mean", matched<GtMean::retinexformer>, kPsnr | kSsim},
    {"_gt_mean_llflow", "RGB, LLFlow's GT mean", matched<GtMean::llflow>, kPsnr | kSsim},
};

// Calls f(view, measure) for every protocol, in order.
template <class F>
void each_protocol(bool with_lpips, const F& f) {
  for (const View& view : kViews) {
    for (const MeasureRow& row : kMeasures) {
      if ((view.measures & row.measure) != 0 && (with_lpips || row.measure != kLpips)) f(view, row);
    }
  }
}

std::string name_of(const View& view, const MeasureRow& row) { return cat(row.name, view.suffix); }

}  // namespace

std::vector<Protocol> protocols(bool with_lpips) {
  std::vector<Protocol> rows;
  each_protocol(with_lpips, [&](const View& view, const MeasureRow& row) {
    rows.push_back({name_of(view, row), view.title, row.title});
  });
  return rows;
}

Scores score(const Tensor& result, const Tensor& reference, const Lpips* lpips) {
  const Pair rgb{result, reference, lpips};
  Scores scores;
  const View* last = nullptr;
  Pair seen;
  each_protocol(lpips != nullptr, [&](const View& view, const MeasureRow& row) {
    if (std::exchange(last, &view) != &view) seen = view.of(rgb);
    scores[name_of(view, row)] = row.of(seen);
  });
  return scores;
}

}  // namespace lux
