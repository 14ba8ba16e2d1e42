// What a command line may write: nothing that it reads, nothing twice, and what exists only on request. The
// one place where that is decided, for results and for all that is written beside them.
#pragma once

#include <memory>
#include <string>

namespace lux {

/// Whether there is something of this name, be it a link that leads nowhere.
bool exists(const std::string& path);

class Outputs {
 public:
  /// `overwrite`: what exists may be replaced.
  explicit Outputs(bool overwrite);
  ~Outputs();
  Outputs(const Outputs&) = delete;
  Outputs& operator=(const Outputs&) = delete;

  /// Says that the command reads `path`, before the first claim. No name of this file, nor a link to it, can
  /// be claimed.
  void add_input(const std::string& path);

  enum class Claim : unsigned char { granted, exists, is_input, taken };
  /// Asks to write `path`; whoever is granted it has it alone.
  Claim claim(const std::string& path);
  /// The same, where anything else than a grant is an error of the command line, and so that `demand_folder`
  /// holds. Throws CommandError.
  void demand(const std::string& path);

  /// What follows the name of the file in a sentence that refuses a claim.
  static const char* reason(Claim refused);

 private:
  struct Files;
  bool overwrite_;
  std::unique_ptr<Files> files_;
};

/// Throws CommandError where the folder of `path` is not there: nobody should hear so after minutes of work.
void demand_folder(const std::string& path);

}  // namespace lux
