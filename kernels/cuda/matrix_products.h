// Convolutions that are products of matrices, by cuBLAS: `linear`, and the vectors of attention.
#pragma once

#include "luxgrad/kernels/conv2d_kernels.h"
#include "luxgrad/kernels/cuda/convolution_graph.h"
#include "luxgrad/kernels/cuda/shared_library.h"

namespace lux::cuda {

using CublasHandle = void*;

/// The functions of an open cuBLAS; they return 0 for success. Its numbers and signatures are a stable binary
/// interface, written down here like those of cuDNN (kernels/cuda/cudnn_api.h).
struct CublasApi {
  SharedLibrary library;
  int (*property)(int which, int* value) = nullptr;
  int (*create)(CublasHandle*) = nullptr;
  int (*destroy)(CublasHandle) = nullptr;
  int (*set_stream)(CublasHandle, void* stream) = nullptr;
  int (*set_math_mode)(CublasHandle, int mode) = nullptr;
  int (*set_workspace)(CublasHandle, void* bytes, size_t count) = nullptr;
  /// C [m, n] = alpha · op(A) · op(B) + beta · C, columns first.
  int (*gemm)(CublasHandle, int op_a, int op_b, int m, int n, int k, const void* alpha, const void* a,
              int a_type, int a_stride, const void* b, int b_type, int b_stride, const void* beta, void* c,
              int c_type, int c_stride, int compute_type, int algorithm) = nullptr;
};
inline constexpr int kCublasAllocationFailed = 3;

/// Throws what a `status` that is not success says: OutOfDeviceMemory or Error, which names `what`.
[[noreturn]] void fail_cublas(int status, const std::string& what);

/// Opens cuBLAS 12 or later, best the one that came with cuDNN, which opens parts of it by their version:
/// `cudnn` is where that was found. Throws DeviceUnavailable.
CublasApi open_cublas(const std::string& cudnn = "");

/// Whether a convolution is one product of matrices with few rows: one pixel wide, a picture of one row.
bool is_product(const Conv2dProblem& problem);

/// As the members of Conv2dKernels, for problems that are products. The stream is the handle's; products have
/// the same bits in every run, and sums in f32. Throw Error where cuBLAS does not run them.
class MatrixProducts {
 public:
  /// Sets the handle's math mode. Throws Error where cuBLAS refuses.
  MatrixProducts(const CublasApi& api, CublasHandle handle);

  void forward(const Conv2dProblem& problem, const Tensors& inputs, const Tensor& weight, const Tensor& bias,
               const Tensor& y) const;
  void input_gradient(const Conv2dProblem& problem, const Tensor& gz, const Tensor& weight,
                      const std::vector<int64_t>& channels, const Tensors& gx) const;
  void weight_gradient(const Conv2dProblem& problem, const Tensors& inputs, const Tensor& gz,
                       const Tensor& gw) const;

 private:
  struct Matrix {
    const Tensor& tensor;
    int64_t width;  // of its rows
    bool transposed = false;
  };
  void multiply(Precision precision, const Matrix& a, const Matrix& b, const Tensor& to, int64_t rows,
                int64_t columns, int64_t depth) const;

  void need_workspace(Device device) const;

  const CublasApi* api_;
  CublasHandle handle_;
  mutable Tensor workspace_;  // from the first product on
};

}  // namespace lux::cuda
