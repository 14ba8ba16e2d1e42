// What happens to one picture of a batch, in three stages that may run at the same time as those of others.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "luxgrad/data/image.h"
#include "luxgrad/kernels/precision.h"
#include "luxgrad/models/enhance.h"
#include "luxgrad/tensor/cuda_copies.h"
#include "luxgrad/tensor/function_ref.h"
#include "luxgrad/tools/batch.h"
#include "luxgrad/tools/memory_at_work.h"

namespace lux {

struct PictureOptions {
  double strength = 1;
  int quality = 95;
  bool augment = false;       ///< mean over the eight flips and quarter turns
  bool strip = false;         ///< leave out what the photo tells about where and how it was made
  bool raw_linear = false;    ///< values of the input are proportional to light
  bool side_by_side = false;  ///< write before and after in one picture
  int64_t memory = 0;         ///< bytes that the program may take for one picture; 0: no limit
  int64_t program = 0;        ///< bytes of the program with its network, before any picture
  int64_t together = 1;       ///< pictures that would like to be read or enhanced at the same time
  int64_t files = 0;          ///< bytes of encoded photos that loaders hold while these wait for memory
  int64_t loading = 0;  ///< bytes that the process took at most until its network was there; none needs less
  bool memory_asked = false;  ///< by the user: say before the work what it needs; devices have the limit, too
  int64_t tile = 0;           ///< columns at a time, or side of squares; 0: by memory
  bool exact = false;         ///< refuse what would only be approximate
  bool verify_tiles = false;  ///< run a part of the picture both ways and say how they differ
  State weights{};            ///< of the network, as try_precision returned them
};

/// What pictures of one size share: how the network runs is found out once, and not for each.
class SharedPlans {
 public:
  explicit SharedPlans(const Model& model) : model_(model) {}
  /// As the constructor of Enhancer.
  std::shared_ptr<const Enhancer> of(int64_t height, int64_t width, const EnhanceOptions& options);

 private:
  const Model& model_;
  std::mutex mutex_;
  std::deque<std::shared_ptr<const Enhancer>> latest_;  // the last first
};

/// Bytes that a picture takes, from stage to stage.
struct PictureBytes {
  int64_t reading = 0;  ///< the most until the photo is there
  int64_t waiting = 0;  ///< of the photo, until its turn has come
  int64_t most = 0;     ///< in any stage
  int64_t writing = 0;  ///< from when it is enhanced on
};

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
        plans_(plans),
        at_work_(at_work),
        on_device_(model.device() != kCpu) {}

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
  std::optional<PictureBytes> bytes() const { return measured_ ? std::optional(bytes_) : std::nullopt; }
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
  bool needs_tensors() const;
  bool travels() const;
  void begin_upload();
  void find_bytes(const ImageCost& cost);
  void admit(const ImageCost& cost);
  EnhanceOptions how() const;
  void plan_network();
  const Enhancer& network() const;
  int64_t bytes_of_result() const;
  int64_t bytes_around_network() const;
  void plan_within(int64_t room);
  void check_memory();
  std::string need_sentence() const;
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
  int64_t map_bytes() const;
  void save_curves();

  const size_t number_;
  const Job& job_;
  const BatchOptions& batch_;
  const PictureOptions& options_;
  Model& model_;
  SharedPlans& plans_;
  MemoryAtWork& at_work_;
  bool on_device_;  // as long as there is memory
  Image before_, after_;
  std::optional<cuda::Upload> upload_;  // of a photo that waits for the network
  // Of a result that waits to be written, as samples; and of a number that is 0 where it is finite.
  std::optional<cuda::Download> download_, not_finite_;
  Tensor picture_;
  int laid_ = 0;  // how `before_` lies: quarter turns, from 4 on of the mirrored picture
  std::optional<Failure> failure_{};
  bool skipped_ = false, curves_written_ = false;
  int64_t width_ = 0, height_ = 0, written_ = 0;
  ImageCost cost_;  // of the photo
  std::once_flag measure_once_;
  PictureBytes bytes_;
  std::atomic<bool> measured_ = false;  // and those are known
  Precision planned_in_ = Precision::exact;
  int64_t memory_ = 0;  // that the network may take, 0: no limit
  int64_t need_ = 0;    // of the program with this picture, before the work; 0: nobody knows
  std::shared_ptr<const Enhancer> upright_, turned_;  // for the photo, and for it lying on its side
  std::unique_ptr<const Enhancer> curves_;            // until they are written
  int64_t reduction_ = 0;  // of the copy that statistics are taken from; 0: they are the picture's
  std::string hash_;
  double load_seconds_ = 0, network_seconds_ = 0, save_seconds_ = 0;
  double waited_ = 0;  // for memory, while it was loaded
};

}  // namespace lux
