#include "luxgrad/tools/picture_work.h"

#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "luxgrad/data/file.h"
#include "luxgrad/data/folder.h"
#include "luxgrad/data/foreign_image.h"
#include "luxgrad/data/npy.h"
#include "luxgrad/data/orientation.h"
#include "luxgrad/data/sha256.h"
#include "luxgrad/data/zip_writer.h"
#include "luxgrad/kernels/activations.h"
#include "luxgrad/kernels/amax.h"
#include "luxgrad/kernels/arithmetic.h"
#include "luxgrad/kernels/bytes.h"
#include "luxgrad/kernels/concat.h"
#include "luxgrad/kernels/derived_weights.h"
#include "luxgrad/kernels/reductions.h"
#include "luxgrad/kernels/reshape.h"
#include "luxgrad/models/curve_model.h"
#include "luxgrad/models/enhance.h"
#include "luxgrad/tensor/many_at_work.h"
#include "luxgrad/tensor/memory.h"
#include "luxgrad/tensor/parallel.h"
#include "luxgrad/tensor/raw.h"
#include "luxgrad/tensor/thread_pool.h"
#include "luxgrad/tools/compare_page.h"
#include "luxgrad/tools/console.h"
#include "luxgrad/tools/measure.h"
#include "luxgrad/tools/on_cpu.h"
#include "luxgrad/tools/precision_choice.h"
#include "luxgrad/training/step_numbers.h"

namespace fs = std::filesystem;

namespace lux {
namespace {

using Clock = std::chrono::steady_clock;

/// Both pictures, of the same form, in one, with a gap of a hundredth of their width.
Image beside(const Image& before, const Image& after) {
  const int64_t gap = std::max<int64_t>(1, before.width / 100);
  Image both;
  both.allocate(2 * before.width + gap, before.height, before.channels, before.bits);
  both.icc = after.icc;
  std::fill(both.samples.begin(), both.samples.end(), uint8_t{255});
  for (int64_t y = 0; y < before.height; ++y) {
    std::memcpy(both.row(y), before.row(y), before.row_bytes());
    const size_t right = static_cast<size_t>(before.width + gap) * both.pixel_bytes();
    std::memcpy(both.row(y) + right, after.row(y), after.row_bytes());
  }
  return both;
}

Image admitted(const std::string& path, const ImageAdmission& admit) {
  return load_image(path, {.admit = &admit});
}

/// The error at work; where memory was wanted, with the file and what the network needs for such a picture.
[[noreturn]] void rethrow_with_need(const std::string& file, const Model& model, int64_t width,
                                    int64_t height) {
  const std::exception_ptr error = std::current_exception();
  const Failure failure = failure_of(error);
  if (!failure.out_of_memory) std::rethrow_exception(error);
  std::string need;
  try {
    need = megabytes(enhance_plan(model, height, width).bytes);
  } catch (const std::bad_alloc&) {  // not even that can be found out
    throw OutOfMemory(cat(file, ": ", failure.message));
  }
  throw CommandError(
      ExitCode::exhausted,
      cat(file, ": ", failure.message, "; ", model.name(), " needs at least ", need, " for ", width, " x ",
          height, " pixels", num_threads() > 1 ? "; fewer --threads take less" : ""));
}

/// Values proportional to light become display values (IEC 61966-2-1, sRGB), which the networks know.
void encode_srgb(const Tensor& picture) {
  float* const values = picture.data<float>();
  parallel_for(kCpu, picture.numel(), [=](int64_t i) {
    const float v = values[i];
    values[i] = v <= 0.0031308F ? 12.92F * v : 1.055F * std::pow(v, 1 / 2.4F) - 0.055F;
  });
}

/// Where the pixels of a picture of height x width, mirrored if so and then turned counterclockwise, stood in
/// it: at first + y·down + x·right.
struct LaidBack {
  LaidBack(bool mirrored, int turns, int64_t height, int64_t width) {
    const auto place = [&](int64_t y, int64_t x) {
      const int64_t rows[] = {y, x, height - 1 - y, height - 1 - x};
      const int64_t columns[] = {x, width - 1 - y, width - 1 - x, y};
      return rows[turns] * width + (mirrored ? width - 1 - columns[turns] : columns[turns]);
    };
    first = place(0, 0);
    down = place(1, 0) - first;
    right = place(0, 1) - first;
  }
  int64_t first, down, right;
};

/// Map `n` of curve parameters [1, rows, W, C] as a picture. Gray leaves a pixel as it is, white brightens it
/// most: the sign of A is that of the code (curve_model.cpp).
Tensor curve_map(const Tensor& curves, int64_t n) {
  Tensor map = empty({1, curves.size(1), curves.size(2), 3});
  const int64_t channels = curves.size(3);
  const float* const from = curves.data<float>() + 3 * n;
  float* const to = map.data<float>();
  parallel_for(kCpu, map.numel() / 3, [=](int64_t i) {
    for (int64_t c = 0; c < 3; ++c) to[3 * i + c] = 0.5F - 0.5F * from[i * channels + c];
  });
  return map;
}

}  // namespace

template <class F>
void PictureWork::attempt(double& seconds, const F& f) {
  if (settled()) return;
  const auto start = Clock::now();
  try {
    f();
  } catch (...) {
    failure_ = failure_of(std::current_exception());
  }
  if (failure_) {
    before_ = after_ = {};
    drop_copies();
  }
  seconds += std::chrono::duration<double>(Clock::now() - start).count();
}

// Where memory is wanted, the failure says what the network needs.
template <class F>
void PictureWork::with_need(const F& f) const {
  try {
    f();
  } catch (...) {
    rethrow_with_need(job_.input, model_, width(), height());
  }
}

void PictureWork::load() {
  std::call_once(measure_once_, [] {});  // what measures it has done so, and nobody will
  failure_ = job_.refused;
  attempt(load_seconds_, [&] {
    if (job_.skip) {
      try {  // what a killed run or a full disk left is no result
        admitted(job_.output, [&](const ImageCost& cost) { at_work_.reserve(number_, cost.decoding); });
        skipped_ = true;
        return;
      } catch (const FileException&) {
      }
    }
    before_ = admitted(job_.input, [&](const ImageCost& cost) { admit(cost); });
    if (travels()) begin_upload();
  });
  load_seconds_ -= waited_;
  if (!settled()) return;
  measured_ = true;
  at_work_.release(number_);
}

void PictureWork::measure() {
  struct Measured : std::exception {};
  const auto format = image_format_of(job_.input);
  if (job_.refused || job_.skip || !format || is_foreign(*format)) return;
  std::call_once(measure_once_, [&] {
    try {
      admitted(job_.input, [&](const ImageCost& cost) {
        make_plan(cost);
        throw Measured();
      });
    } catch (const Measured&) {
      measured_ = true;
    } catch (const std::exception&) {  // `load` meets it again, and says so
    }
  });
}

// On a device only what the host holds: its plan is found where the network is used, one picture after the
// other.
void PictureWork::make_plan(const ImageCost& cost) {
  if (options_.raw_linear && cost.bits != 16)
    throw CommandError(ExitCode::refused, cat(job_.input,
                                              ": has 8 bits, too few for linear values; --raw-linear "
                                              "expects 16"));
  plan_.measure(cost);
  if (!on_device_) with_need([&] { plan_.find(); });
}

// What the whole work takes is asked for before the photo is decoded.
void PictureWork::admit(const ImageCost& cost) {
  const auto start = Clock::now();
  if (measured_ && cost != plan_.cost())
    throw CommandError(ExitCode::refused, cat(job_.input, ": changes while it is read"));
  if (!measured_) make_plan(cost);
  measured_ = true;
  at_work_.reserve(number_, plan_.bytes().most);
  waited_ = std::chrono::duration<double>(Clock::now() - start).count();
}

// Whether photo and result go to a device and back while it computes other pictures.
bool PictureWork::travels() const {
  return on_device_ && !options_.compared && !options_.augment && options_.tile == 0 &&
         !options_.memory_asked && !options_.verify_tiles;
}

void PictureWork::begin_upload() {
  try {
    if (options_.raw_linear) {
      const Tensor picture = empty({1, height(), width(), 3});
      read_rows(0, picture);
      upload_.emplace(picture.raw(), picture.shape(), picture.dtype());
    } else {
      const auto pixel = static_cast<int64_t>(before_.pixel_bytes());
      upload_.emplace(before_.samples.data(), Shape{1, height(), width(), pixel}, DType::u8);
    }
  } catch (const std::bad_alloc&) {  // it goes when its turn has come, or not at all
  }
}

void PictureWork::drop_copies() {
  upload_.reset();
  not_finite_.reset();
  download_.reset();
}

void PictureWork::say_need() const {
  if (options_.memory_asked) print_note(cat(job_.input, ": ", plan_.need_sentence()));
}

void PictureWork::say_approximate() const {
  const int64_t reduction = plan_.reduction();
  if (reduction == 0) return;
  const std::string copy = reduction > 1 ? cat("of a copy ", reduction, " times smaller") : "made before";
  print_note(cat(job_.input, ": approximate, with statistics ", copy, "; --exact refuses that",
                 options_.verify_tiles ? "" : ", --verify-tiles measures it"));
}

// The middle of the picture, as a whole and tile by tile.
void PictureWork::verify_tiles() const {
  constexpr int64_t kSide = 256, kTile = 64;
  EnhanceOptions tiled = plan_.how();
  tiled.memory = 0;
  if (tiled.tile == 0) tiled.tile = kTile;
  tiled.tile = enhance_plan(model_, height(), width(), tiled).tile;  // on the network's grid; 0: one tile
  const int64_t side = std::max(kSide, 2 * tiled.tile), tall = std::min(height(), side),
                wide = std::min(width(), side);
  if (tiled.tile == 0) {
    print_note(cat(job_.input, ": is one tile, so there is nothing to verify"));
    return;
  }
  const Tensor rows = empty({1, tall, width(), 3});
  to_rows(before_, (height() - tall) / 2, rows);
  const Tensor part = narrow(rows, 2, (width() - wide) / 2, wide);
  tiled.reduction = plan_.reduction();
  const Tensor difference =
      abs(lux::enhance(model_, part, tiled) -
          lux::enhance(model_, part, {.strength = options_.strength, .order = EnhanceOptions::whole}));
  const Tensor all = reshape(difference, {1, difference.numel()});
  print_note(cat(job_.input, ": tile by tile differs from the whole by at most ",
                 exact_text(amax(all).item()), ", ", exact_text(mean(all).item()), " on average, of 1 (",
                 wide, " x ", tall, " pixels in the middle, tiles of ", tiled.tile, ")"));
}

template <class F>
void PictureWork::attempt_network(const F& f) {
  attempt(network_seconds_, [&] { with_need(f); });
}

void PictureWork::begin(int64_t beside, FunctionRef<void(int64_t bytes)> expects) {
  attempt_network([&] {
    try {
      if (on_device_) plan_.find();
    } catch (const std::bad_alloc&) {
      if (model_.device() == kCpu) throw;
      plan_.drop();  // it will be found out again, on the CPU
    }
    say_approximate();
    if (plan_.need() == 0) return;
    plan_.add_need(beside);
    say_need();
    expects(plan_.need());
  });
}

void PictureWork::enhance() {
  {
    const ManyAtWork at_work;
    attempt_network([&] {
      const auto work = [&] {
        if (!plan_.found()) plan_.find();  // on the CPU
        if (options_.verify_tiles) verify_tiles();
        run_network();
      };
      on_cpu_if_exhausted(model_, job_.input, work, [&] {
        plan_.find();
        say_approximate();
        say_need();
        work();
      });
      dropped_profile_ = !before_.icc.empty() && after_.icc.empty();
      if (options_.strip) after_.exif.clear();
      before_ = {};
    });
  }
  plan_.drop();
  at_work_.release(number_, settled() ? 0 : plan_.bytes().writing);
}

void PictureWork::run_network() {
  if (options_.raw_linear) before_.icc.clear();  // it describes what the values were
  in_f32_if_not_finite(model_, options_.weights, job_.input, [&] { run_in_precision(); });
}

void PictureWork::run_in_precision() {
  plan_.follow_precision();
  if (model_.device() == kCpu) drop_copies();
  run_in_memory();
  print_graph_notice();
}

// Where memory ends before the limit does, once more with half as much at a time, as long as there is a way.
void PictureWork::run_in_memory() {
  bool smaller = false;
  for (;;) {
    try {
      run_once();
      break;
    } catch (const std::bad_alloc&) {
      drop_copies();
      if (!plan_.halve()) throw;
      smaller = true;
    }
  }
  if (smaller) {
    print_note(cat(job_.input, ": memory ran out; done with less at a time, ", megabytes(plan_.memory()),
                   plan_.reduction() > 0 ? ", approximately; --exact refuses that" : ""));
  }
}

// Rows go from the photo through the network into the result, which takes the least memory, unless something
// is made of the picture as a whole.
void PictureWork::run_once() {
  const KeepDerivedWeights keep(KeepDerivedWeights::kEverySize);  // for all bands, and the next photos
  if (const Enhancer* const curves = plan_.curves()) save_curves(*curves);
  if (upload_) return enhance_uploaded(*upload_);
  options_.compared ? enhance_tensor() : options_.augment ? enhance_eight_ways() : enhance_rows_of_photo();
}

void PictureWork::read_rows(int64_t first, const Tensor& rows) const {
  to_rows(before_, first, rows);
  if (options_.raw_linear) encode_srgb(rows);
}

// Leaves the result on its way; what the device is still at is awaited by who saves it, or here where f32 may
// have to do it again. Photos go there and back as the samples of their files.
void PictureWork::enhance_uploaded(cuda::Upload& upload) {
  after_ = blank_like(before_);
  Tensor photo = upload.arrived();
  if (photo.dtype() == DType::u8) photo = from_samples(photo, before_.channels, model_.dtype());
  const Tensor bright = lux::enhance(model_, photo, plan_.how());
  const Tensor mark = gathered({zeros({}, {DType::f32, bright.device()})});
  mark_not_finite_(mark, 0, {bright});
  const cuda::Download& sent = not_finite_.emplace(mark);
  download_.emplace(to_samples(bright, after_.bits));
  upload_.reset();
  if (rounds_more(model_.device())) check_mark(sent);
}

void PictureWork::check_mark(const cuda::Download& not_finite) {
  if (*static_cast<const double*>(not_finite.arrived()) == 0) return;
  drop_copies();
  throw_not_finite(job_.input);
}

void PictureWork::receive(const cuda::Download& samples, const cuda::Download& not_finite) {
  check_mark(not_finite);
  put_colors(samples.arrived(), after_);
  drop_copies();
}

void PictureWork::enhance_rows_of_photo() {
  after_ = blank_like(before_);
  network().rows([&](int64_t first, const Tensor& rows) { read_rows(first, rows); },
                 [&](int64_t row, int64_t column, const Tensor& part) {
                   check_finite(part, job_.input);
                   from_part(part, row, column, after_);
                 });
}

// The photo itself is turned, so that there is one of it: mirrored after four turns, upright after eight.
void PictureWork::lay_next() {
  constexpr int kMirrored = 2, kCounterclockwise = 8;
  memory::trim();  // so that what the network gave back makes room for the second
  before_ = oriented(std::move(before_), kCounterclockwise);
  if (laid_ % 4 == 3) before_ = oriented(std::move(before_), kMirrored);
  laid_ = (laid_ + 1) % 8;
}

// Adds the result of the photo as it lies to `sum` [1, H, W, 3], which is upright.
void PictureWork::add_result_laid_back(const Tensor& sum) {
  const LaidBack place(laid_ >= 4, laid_ % 4, height(), width());
  network().rows(
      [&](int64_t first, const Tensor& rows) { read_rows(first, rows); },
      [&](int64_t row, int64_t column, const Tensor& part) {
        const float* const from = part.data<float>();
        float* const to = sum.data<float>();
        const int64_t width = part.size(2), first = place.first + row * place.down + column * place.right;
        parallel_rows(kCpu, part.size(1), 3 * width, [=](const Team&, int64_t y) {
          for (int64_t x = 0; x < width; ++x) {
            for (int64_t c = 0; c < 3; ++c)
              to[3 * (first + y * place.down + x * place.right) + c] += from[3 * (y * width + x) + c];
          }
        });
      });
}

Tensor PictureWork::mean_of_eight() {
  while (laid_ != 0) lay_next();  // where memory ended half-way
  Tensor sum = zeros({1, height(), width(), 3});
  do {
    add_result_laid_back(sum);
    lay_next();
  } while (laid_ != 0);
  scale_(sum, 1.0 / 8);
  check_finite(sum, job_.input);
  return sum;
}

// The result takes the place of the photo.
void PictureWork::enhance_eight_ways() {
  {
    const Tensor mean = mean_of_eight();
    after_ = before_.colors() == 3 ? std::move(before_) : blank_like(before_);
    from_part(mean, 0, 0, after_);
  }
  memory::trim();  // so that the sum makes room for the file
}

void PictureWork::enhance_tensor() {
  const Tensor picture = empty({1, height(), width(), 3});
  read_rows(0, picture);
  const Tensor bright = options_.augment ? mean_of_eight() : network()(picture);
  check_finite(bright, job_.input);
  after_ = from_tensor(bright, before_);
  if (options_.side_by_side) after_ = beside(from_tensor(picture, before_), after_);
  if (!batch_.page.empty()) picture_ = picture;
}

void PictureWork::save() {
  attempt(save_seconds_, [&] {
    try {
      if (download_ && not_finite_) receive(*download_, *not_finite_);
      write_files();
    } catch (const std::bad_alloc&) {
      throw OutOfMemory(cat(job_.output, ": no memory left to write ", width(), " x ", height(), " pixels, ",
                            megabytes(static_cast<int64_t>(after_.samples.size())),
                            " before they are packed"));
    }
  });
  after_ = {};  // reports may wait
  picture_ = {};
  at_work_.release(number_);
}

void PictureWork::write_files() {
  const ImageFormat format = format_of(job_, batch_);
  if (job_.output == "-") {
    const std::vector<uint8_t> bytes = encode_image(after_, format, options_.quality);
    write_result_bytes(bytes);
    written_ = static_cast<int64_t>(bytes.size());
    hash_ = sha256(bytes);
  } else {
    const fs::path folder = fs::path(job_.output).parent_path();
    if (!folder.empty() && job_.output != batch_.output) (void)make_folders(folder).value();
    if (is_foreign(format)) {
      written_ = write_foreign_image(job_.output, after_, format, options_.quality).value();
      hash_ = sha256(read_file(job_.output).value());
    } else {
      const std::vector<uint8_t> bytes = encode_image(after_, format, options_.quality);
      written_ = write_file_atomically(job_.output, bytes).value();
      hash_ = sha256(bytes);
    }
  }
  if (dropped_profile_)
    print_note(cat(job_.output, ": is written without the colour profile of ", job_.input,
                   ", which is for gray; the result has colours"));
  const Losses lost = losses_of(after_, format);
  if (lost.profile)
    print_note(cat(job_.output, ": is written without the colour profile of ", job_.input,
                   ", its colours will look others; PNG, JPEG and WebP keep it"));
  if (lost.alpha)
    print_note(cat(job_.output, ": is written without the transparency of ", job_.input,
                   "; PNG, WebP, TIFF, JPEG XL and BMP keep it"));
  if (picture_.defined() && !job_.kept.contains(batch_.page)) {
    Image before = from_tensor(picture_);
    before.icc = after_.icc;
    save_compare_page(batch_.page, job_.input, before, after_);
  }
}

// The arrays go into their file row by row; of the maps each sample takes a byte.
void PictureWork::save_curves(const Enhancer& curves) {
  const std::vector<std::string> files = curve_files(job_.curves);
  (void)make_folders(fs::path(job_.curves).parent_path()).value();
  std::vector<Image> maps(static_cast<size_t>(dynamic_cast<const CurveModel&>(model_).maps()));
  for (Image& map : maps) map.allocate(width(), height(), 3, 8);

  NewFile file = NewFile::create(files[0]).value();
  ZipWriter archive(file);
  const Shape shape{1, height(), width(), 3 * static_cast<int64_t>(maps.size())};
  const std::vector<uint8_t> header = npy_header(shape);
  archive.begin("curves.npy",
                static_cast<int64_t>(header.size()) + shape.numel() * static_cast<int64_t>(sizeof(float)));
  archive.write(header);
  curves.rows([&](int64_t first, const Tensor& rows) { read_rows(first, rows); },
              [&](int64_t row, int64_t column, const Tensor& part) {
                archive.write({static_cast<const uint8_t*>(part.raw()),
                               static_cast<size_t>(part.numel()) * sizeof(float)});
                for (size_t n = 0; n < maps.size(); ++n) {
                  const Tensor map = curve_map(part, static_cast<int64_t>(n));
                  check_finite(map, job_.input);
                  from_part(map, row, column, maps[n]);
                }
              });
  archive.finish();
  memory::trim();  // so that what the network gave back makes room for the files

  if (!job_.kept.contains(files[0])) (void)file.keep().value();
  for (size_t n = 0; n < maps.size(); ++n) {
    if (!job_.kept.contains(files[n + 1])) save_image(files[n + 1], maps[n]);
  }
  plan_.end_curves();
}

std::string PictureWork::json_line() const {
  nlohmann::ordered_json line = {{"input", job_.input}, {"output", job_.output}};
  line["status"] = failure_ ? "failed" : skipped_ ? "skipped" : "ok";
  if (failure_) {
    line["error"] = failure_->message;
    line["code"] = static_cast<int>(failure_->code);
  } else if (!skipped_) {
    line["width"] = width();
    line["height"] = height();
    line["model"] = model_.name();
    line["seconds"] = load_seconds_ + network_seconds_ + save_seconds_;
    line["load_seconds"] = load_seconds_;
    line["network_seconds"] = network_seconds_;
    line["save_seconds"] = save_seconds_;
    if (plan_.reduction() > 0) line["approximate"] = true;
    line["memory"] = peak_resident_bytes();
    if (plan_.need() > 0) line["memory_estimate"] = plan_.need();
    line["bytes"] = written_;
    line["sha256"] = hash_;
  }
  return line.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

}  // namespace lux
