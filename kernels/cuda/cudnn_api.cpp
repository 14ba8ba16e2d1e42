#include "luxgrad/kernels/cuda/cudnn_api.h"

#include <array>

#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/operator_scope.h"

namespace lux::cuda {
namespace {

constexpr size_t kOldest = 90800, kTooNew = 100000;
constexpr int kDeviceAllocationFailed = 4004;

}  // namespace

void CudnnApi::check(int status, const char* what) const {
  if (status == 0) return;
  std::array<char, 1024> reason{};
  last_error(reason.data(), reason.size() - 1);
  const std::string text = cat("cuDNN: ", what, " failed", OperatorScope::text(), ": ", error_string(status),
                               reason[0] == '\0' ? "" : ": ", std::string_view(reason.data()));
  if (status == kDeviceAllocationFailed) throw OutOfDeviceMemory(text);
  fail(text);
}

void CudnnApi::check_with_room(FunctionRef<int()> call, const char* what) const {
  check(with_room(kDeviceAllocationFailed, call), what);
}

std::string cudnn_version_text(size_t version) {
  const size_t major = version < 10000 ? 1000 : 10000;  // since 9 the minor number has two digits more
  return cat(version / major, ".", version % major / 100, ".", version % 100);
}

CudnnApi open_cudnn() {
  CudnnApi api{SharedLibrary::open({"cuDNN", {"libcudnn.so.9"}, "LUX_CUDNN"})};
  const SharedLibrary& library = api.library;
  library.bind(api.version, "cudnnGetVersion");
  if (const size_t version = api.version(); version < kOldest || version >= kTooNew) {
    throw DeviceUnavailable(cat("cuDNN: expected version ", cudnn_version_text(kOldest),
                                " or a later 9, got ", cudnn_version_text(version), " from ",
                                library.path()));
  }
  library.bind(api.error_string, "cudnnGetErrorString");
  library.bind(api.last_error, "cudnnGetLastErrorString");
  library.bind(api.create, "cudnnCreate");
  library.bind(api.destroy, "cudnnDestroy");
  library.bind(api.set_stream, "cudnnSetStream");
  library.bind(api.create_descriptor, "cudnnBackendCreateDescriptor");
  library.bind(api.destroy_descriptor, "cudnnBackendDestroyDescriptor");
  library.bind(api.finalize, "cudnnBackendFinalize");
  library.bind(api.set_attribute, "cudnnBackendSetAttribute");
  library.bind(api.get_attribute, "cudnnBackendGetAttribute");
  library.bind(api.execute, "cudnnBackendExecute");
  return api;
}

}  // namespace lux::cuda
