// How one picture of a batch gets through the network in the memory that there is, and what the program takes
// for it: found from the header of its file, before anything is decoded.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <string>

#include "luxgrad/data/image_limits.h"
#include "luxgrad/kernels/precision.h"
#include "luxgrad/models/enhance.h"
#include "luxgrad/tools/picture_options.h"

namespace lux {

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

class PicturePlan {
 public:
  /// Of the picture in `file`, whose name stands in what is thrown. All of them outlive the plan.
  PicturePlan(const std::string& file, const PictureOptions& options, const Model& model, SharedPlans& plans)
      : file_(file), options_(options), model_(model), plans_(plans), curves_wanted_(options.curves) {}

  /// Takes what the header says, which is what the host holds: the network is left to `find`.
  void measure(const ImageCost& cost);
  /// Finds how the network runs where it is now, and what that takes. Room is left for other pictures where
  /// that makes no other picture of this one, and does not refuse it. Throws CommandError where the limit of
  /// the options does not suffice, or the network cannot do what they want; OutOfMemory.
  void find();
  /// Finds it anew where the precision is another by now.
  void follow_precision();
  /// Finds a way in about half the memory, after that was too much; false where none takes less.
  bool halve();
  /// The parameters of the curve are written: nothing is planned for them any more.
  void end_curves();
  /// Lets go of what was found, but for its numbers.
  void drop();

  const ImageCost& cost() const { return cost_; }
  const PictureBytes& bytes() const { return bytes_; }
  bool found() const { return upright_ != nullptr; }
  /// For the photo, or for it lying on its side.
  const Enhancer& network(bool lying) const { return lying ? *turned_ : *upright_; }
  /// Of the parameters of the curve; none where they are not wanted, or written.
  const Enhancer* curves() const { return curves_.get(); }
  /// Bytes of the parameters of the curve as pictures.
  int64_t map_bytes() const;
  EnhanceOptions how() const;
  /// Bytes that the network may take; 0: no limit.
  int64_t memory() const { return memory_; }
  /// Of the copy that statistics are taken from; 0: they are the picture's.
  int64_t reduction() const { return reduction_; }

  /// Other pictures take so many bytes meanwhile.
  void add_need(int64_t bytes) { need_ += bytes; }
  /// Bytes of the program with this picture; 0: nobody knows.
  int64_t need() const { return need_; }
  std::string need_sentence() const;

 private:
  void find_network();
  void find_within(int64_t room);
  int64_t pixels() const { return cost_.width * cost_.height; }
  int64_t bytes_of_result() const;
  int64_t bytes_around_network() const;

  const std::string& file_;
  const PictureOptions& options_;
  const Model& model_;
  SharedPlans& plans_;
  ImageCost cost_;
  PictureBytes bytes_;
  Precision found_in_ = Precision::exact;
  int64_t memory_ = 0, need_ = 0, reduction_ = 0;
  std::shared_ptr<const Enhancer> upright_, turned_;
  bool curves_wanted_;
  std::unique_ptr<const Enhancer> curves_;
};

}  // namespace lux
