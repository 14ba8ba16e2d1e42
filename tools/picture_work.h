// What happens to one picture of a batch, in three stages that may run at the same time as those of others.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <string>

#include "luxgrad/data/image.h"
#include "luxgrad/tensor/cuda_copies.h"
#include "luxgrad/tensor/function_ref.h"
#include "luxgrad/tools/batch.h"
#include "luxgrad/tools/memory_at_work.h"
#include "luxgrad/tools/picture_plan.h"

namespace lux {

class PictureWork {
 public:
  /// Of the job with this number in the list of `at_work`. A network on a device that has no memory left for
  /// the picture enhances it on the CPU.
  PictureWork(size_t number, const Job& job, const BatchOptions& batch, const PictureOptions& options,
              Model& model, SharedPlans& plans, MemoryAtWork& at_work)
      : number_(number),
        job_(job),
        batch_(batch),
        options_(options),
        model_(model),
        at_work_(at_work),
        on_device_(model.device() != kCpu),
        plan_(job.input, options, model, plans) {}

  /// Leaves out what is not begun.
  void skip() { skipped_ = true; }
  // None of them throws; after a failure the later ones do nothing.
  /// Reads the header, so that `bytes` is known before the photo is loaded; once, and not where that needs
  /// another program. What is wrong with the file, `load` will find. For any thread.
  void measure();
  /// Waits until there is memory for all stages beside other pictures.
  void load();
  /// `beside`: bytes that other pictures are thought to take meanwhile. `expects` is told before the work how
  /// many the program is.
  void begin(int64_t beside, FunctionRef<void(int64_t bytes)> expects);
  void enhance();
  void save();

  /// None before its header is read, zeros where nothing is to be done. For any thread.
  std::optional<PictureBytes> bytes() const {
    return measured_ ? std::optional(plan_.bytes()) : std::nullopt;
  }
  const std::optional<Failure>& failure() const { return failure_; }
  /// What a script wants to know: one JSON object in a line.
  std::string json_line() const;

 private:
  template <class F>
  void attempt(double& seconds, const F& f);
  template <class F>
  void with_need(const F& f) const;
  template <class F>
  void attempt_network(const F& f);
  bool settled() const { return failure_.has_value() || skipped_; }
  int64_t height() const { return plan_.cost().height; }
  int64_t width() const { return plan_.cost().width; }
  const Enhancer& network() const { return plan_.network(laid_ % 2 == 1); }
  bool travels() const;
  void begin_upload();
  void make_plan(const ImageCost& cost);
  void admit(const ImageCost& cost);
  void say_need() const;
  void say_approximate() const;
  void verify_tiles() const;
  void run_network();
  void run_in_precision();
  void run_in_memory();
  void run_once();
  void read_rows(int64_t first, const Tensor& rows) const;
  void drop_copies();
  void enhance_uploaded(cuda::Upload& upload);
  void check_mark(const cuda::Download& not_finite);
  void receive(const cuda::Download& samples, const cuda::Download& not_finite);
  void enhance_rows_of_photo();
  void enhance_tensor();
  void lay_next();
  void add_result_laid_back(const Tensor& sum);
  Tensor mean_of_eight();
  void enhance_eight_ways();
  void write_files();
  void save_curves(const Enhancer& curves);

  const size_t number_;
  const Job& job_;
  const BatchOptions& batch_;
  const PictureOptions& options_;
  Model& model_;
  MemoryAtWork& at_work_;
  const bool on_device_;  // at first: what it has no memory for is done on the CPU
  PicturePlan plan_;      // known once `measured_` is true
  Image before_, after_;
  std::optional<cuda::Upload> upload_;  // of a photo that waits for the network
  // Of a result that waits to be written, as samples; and of a number that is 0 where it is finite.
  std::optional<cuda::Download> download_, not_finite_;
  Tensor picture_;
  int laid_ = 0;  // how `before_` lies: quarter turns, from 4 on of the mirrored picture
  std::optional<Failure> failure_{};
  bool skipped_ = false;
  bool dropped_profile_ = false;  // for gray, which the colours of the result do not fit
  int64_t written_ = 0;
  std::once_flag measure_once_;
  std::atomic<bool> measured_ = false;
  std::string hash_;
  double load_seconds_ = 0, network_seconds_ = 0, save_seconds_ = 0;
  double waited_ = 0;  // for memory, while it was loaded
};

}  // namespace lux
