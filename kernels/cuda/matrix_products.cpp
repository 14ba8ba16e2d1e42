#include "luxgrad/kernels/cuda/matrix_products.h"

#include <limits>

#include "luxgrad/kernels/cuda/columns.h"
#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/operator_scope.h"

namespace lux::cuda {
namespace {

constexpr int kMajorVersion = 0, kAsIs = 0, kTransposed = 1, kDefaultAlgorithm = -1;
// By itself cuBLAS would allocate one for every graph that is recorded. 16 KiB are enough to run, and so many
// are the default but for Hopper.
constexpr int64_t kWorkspaceBytes = int64_t{4} << 20;
constexpr int kComputeF32 = 68, kComputeTf32 = 77;
// Left to itself, cuBLAS may add up parts of a sum of bf16 or f16 in that type. Whether factors are rounded
// to TF32 is said with each product.
constexpr int kDefaultMath = 0, kNoReducedPrecisionReduction = 16;

int type_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return 0;
    case DType::f16:
      return 2;
    case DType::bf16:
      return 14;
    default:
      fail("cuBLAS: expected f32, bf16 or f16, got ", dtype);
  }
}

int to_int(int64_t size) {
  check(size <= std::numeric_limits<int>::max(), "cuBLAS: expected sizes of 31 bits, got ", size);
  return static_cast<int>(size);
}

}  // namespace

void fail_cublas(int status, const std::string& what) {
  const std::string text = cat("cuBLAS: ", what, " failed with status ", status, OperatorScope::text());
  if (status == kCublasAllocationFailed) throw OutOfDeviceMemory(text);
  fail(text);
}

CublasApi open_cublas(const std::string& cudnn) {
  CublasApi api{SharedLibrary::open({"cuBLAS", {"libcublas.so.13", "libcublas.so.12"}, "LUX_CUBLAS", cudnn})};
  const SharedLibrary& library = api.library;
  library.bind(api.property, "cublasGetProperty");
  int major = 0;
  api.property(kMajorVersion, &major);
  if (major < 12)
    throw DeviceUnavailable(
        cat("cuBLAS: expected version 12 or later, got ", major, " from ", library.path()));
  library.bind(api.create, "cublasCreate_v2");
  library.bind(api.destroy, "cublasDestroy_v2");
  library.bind(api.set_stream, "cublasSetStream_v2");
  library.bind(api.set_math_mode, "cublasSetMathMode");
  library.bind(api.set_workspace, "cublasSetWorkspace_v2");
  library.bind(api.gemm, "cublasGemmEx");
  return api;
}

bool is_product(const Conv2dProblem& s) {
  return has_graph(s) && s.kH == 1 && s.kW == 1 && s.groups == 1 && s.H == 1 && s.P == 1 && s.Q == s.W &&
         s.top == 0 && s.left == 0 && (s.stride == 1 || s.W == 1) && (s.N == 1 || s.W == 1);
}

MatrixProducts::MatrixProducts(const CublasApi& api, CublasHandle handle) : api_(&api), handle_(handle) {
  const int status = api.set_math_mode(handle, kDefaultMath | kNoReducedPrecisionReduction);
  check(status == 0, "cuBLAS: asking for sums in f32 failed with status ", status);
}

void MatrixProducts::need_workspace(Device device) const {
  if (workspace_.defined()) return;
  const Tensor bytes = empty({kWorkspaceBytes}, {DType::u8, device});
  const int status = api_->set_workspace(handle_, bytes.raw(), static_cast<size_t>(kWorkspaceBytes));
  check(status == 0, "cuBLAS: giving it memory failed with status ", status);
  workspace_ = bytes;
}

// to [rows, columns] = a [rows, depth] · b [depth, columns], rows first. A matrix with rows first is the
// transposed of one with columns first, so cuBLAS is asked for toᵀ = bᵀ · aᵀ.
void MatrixProducts::multiply(Precision precision, const Matrix& a, const Matrix& b, const Tensor& to,
                              int64_t rows, int64_t columns, int64_t depth) const {
  const float one = 1, zero = 0;
  const DType dtype = to.dtype();
  const int type = type_of(dtype);
  const bool tf32 = dtype == DType::f32 && precision == Precision::tf32;
  need_workspace(to.device());
  const int status = with_room(kCublasAllocationFailed, [&] {
    return api_->gemm(handle_, b.transposed ? kTransposed : kAsIs, a.transposed ? kTransposed : kAsIs,
                      to_int(columns), to_int(rows), to_int(depth), &one, b.tensor.raw(), type,
                      to_int(b.width), a.tensor.raw(), type, to_int(a.width), &zero, to.raw(), type,
                      to_int(columns), tf32 ? kComputeTf32 : kComputeF32, kDefaultAlgorithm);
  });
  if (status != 0)
    fail_cublas(status, cat("a product of [", rows, ", ", depth, "] and [", depth, ", ", columns, "]"));
}

void MatrixProducts::forward(const Conv2dProblem& s, const Tensors& inputs, const Tensor& weight,
                             const Tensor& bias, const Tensor& y) const {
  const Tensor x = gathered(inputs, s.C);
  multiply(s.precision, {x, s.C}, {weight, s.C, true}, y, s.N * s.W, s.K, s.C);
  finish_sums({bias, s.activation, s.slope}, y, s.K, y);
}

void MatrixProducts::input_gradient(const Conv2dProblem& s, const Tensor& gz, const Tensor& weight,
                                    const std::vector<int64_t>& channels, const Tensors& gx) const {
  const bool whole = gx.size() == 1;
  const Tensor all = whole ? gx[0] : empty({s.N, s.H, s.W, s.C}, gz.options());
  multiply(s.precision, {gz, s.K}, {weight, s.C}, all, s.N * s.W, s.C, s.K);
  int64_t first = 0;
  for (size_t m = 0; !whole && m < gx.size(); first += channels[m++]) {
    if (gx[m].defined()) copy_columns({all, first, s.C}, {gx[m], 0, channels[m]}, channels[m]);
  }
}

void MatrixProducts::weight_gradient(const Conv2dProblem& s, const Tensors& inputs, const Tensor& gz,
                                     const Tensor& gw) const {
  const Tensor x = gathered(inputs, s.C);
  multiply(s.precision, {gz, s.K, true}, {x, s.C}, gw, s.K, s.C, s.N * s.W);
}

}  // namespace lux::cuda
