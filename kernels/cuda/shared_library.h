// Libraries that are opened when they are first needed, so that one binary starts everywhere, with NVIDIA's
// libraries or without. What is not there costs one sentence.
#pragma once

#include <string>
#include <vector>

#include "luxgrad/tensor/error.h"

namespace lux::cuda {

/// A library that the device needs is not there, or not of a version that fits.
class DeviceUnavailable : public Error {
 public:
  using Error::Error;
};

/// How a library is called, in a sentence, on disk and in the environment.
struct LibraryName {
  std::string title;               ///< cuDNN
  std::vector<std::string> files;  ///< libcudnn.so.9, best first
  std::string variable;            ///< LUX_CUDNN: the file, or the folder that it is in; empty: none
  std::string companion = {};      ///< the path of an open library that it is to fit, if any
};

/// An open library. It stays open until the process ends: NVIDIA's libraries keep threads and device memory.
class SharedLibrary {
 public:
  /// The first that opens: what the variable names and nothing else if it is set; otherwise what lies beside
  /// the companion, in its folder or in the other packages of its Python environment; then where the loader
  /// looks, then the toolkit (CUDA_PATH, CUDA_HOME, /usr/local/cuda), then the folders nvidia/*/lib of a
  /// Python environment (LUX_PYTHON, VIRTUAL_ENV, CONDA_PREFIX; LUX_PYTHON may also name its
  /// site-packages). Throws DeviceUnavailable, which says where it looked and what the loader said of a file
  /// that was there.
  static SharedLibrary open(const LibraryName& name);

  /// The file it came from, as far as the loader tells.
  const std::string& path() const { return path_; }

  /// A function of the library. Throws DeviceUnavailable where it has none of that name.
  template <class Function>
  void bind(Function*& function, const char* name) const {
    function = reinterpret_cast<Function*>(symbol(name));
  }

 private:
  SharedLibrary(std::string title, std::string path, void* handle)
      : title_(std::move(title)), path_(std::move(path)), handle_(handle) {}
  void* symbol(const char* name) const;

  std::string title_, path_;
  void* handle_;
};

/// The places beyond the loader's own, in the order in which `open` tries them: existing folders only.
std::vector<std::string> library_folders();

}  // namespace lux::cuda
