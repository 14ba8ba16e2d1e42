#include "luxgrad/kernels/cuda/vendor.h"

#include <chrono>

#include "luxgrad/kernels/cuda/matrix_products.h"
#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/cuda_graph.h"

namespace lux::cuda {
namespace {

/// The handles and what keeps plans for them. Destroyed in reverse, and never at the end of the process: by
/// then the device may be gone.
class Vendor {
 public:
  explicit Vendor(const DeviceStream& device)
      : device_(device), cudnn_(open_cudnn()), cublas_(open_cublas(cudnn_.library.path())) {
    void* handle = nullptr;
    cudnn_.check_with_room([&] { return cudnn_.create(&handle); }, "making a handle");
    cudnn_handle_ = {handle, cudnn_.destroy};
    cudnn_.check(cudnn_.set_stream(handle, device.stream()), "choosing a stream");
    convolver_ = std::make_unique<Convolver>(ConvolutionDevice{.api = &cudnn_,
                                                               .handle = handle,
                                                               .json = json_of(device_of(cudnn_, handle)),
                                                               .stopwatch = seconds_of});
    const int status = with_room(kCublasAllocationFailed, [&] { return cublas_.create(&handle); });
    if (status != 0) fail_cublas(status, "making a handle");
    cublas_handle_ = {handle, cublas_.destroy};
    lux::check(cublas_.set_stream(handle, device.stream()) == 0, "cuBLAS: choosing a stream failed");
    products_ = std::make_unique<MatrixProducts>(cublas_, handle);
  }

  void wait() const { device_.synchronize(); }
  std::string versions() const {
    int parts[3] = {};  // major, minor, patch
    for (int which = 0; which < 3; ++which) cublas_.property(which, &parts[which]);
    return cat("cuDNN ", cudnn_version_text(cudnn_.version()), ", cuBLAS ", parts[0], ".", parts[1], ".",
               parts[2]);
  }

  std::string device() const { return json_of(device_of(cudnn_, cudnn_handle_.get())); }

  const std::unique_ptr<Convolver>& convolver() const { return convolver_; }
  const std::unique_ptr<MatrixProducts>& products() const { return products_; }

 private:
  using Handle = std::unique_ptr<void, int (*)(void*)>;
  static double seconds_of(FunctionRef<void()> work);

  DeviceStream device_;
  CudnnApi cudnn_;
  CublasApi cublas_;
  Handle cudnn_handle_{nullptr, nullptr}, cublas_handle_{nullptr, nullptr};
  std::unique_ptr<Convolver> convolver_;
  std::unique_ptr<MatrixProducts> products_;
};

std::unique_ptr<Vendor>& slot() {
  static auto* const kept = new std::unique_ptr<Vendor>;
  return *kept;
}

Vendor& vendor() {
  check(slot() != nullptr, "cuDNN: expected start_vendor_libraries before its use");
  return *slot();
}

double Vendor::seconds_of(FunctionRef<void()> work) {
  vendor().wait();
  const auto begin = std::chrono::steady_clock::now();
  work();
  vendor().wait();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

const Conv2dKernels& plain_kernels_of(Device device, const Conv2dProblem& s) {
  const PlainKernels scope;
  return conv2d_kernels().pick(device, s);
}

bool takes_graph(const Conv2dProblem& s) { return vendor_libraries_started() && has_graph(s); }
bool takes_product(const Conv2dProblem& s) { return vendor_libraries_started() && is_product(s); }

// In a blocking run what a library's kernels did wrong is noticed here, where the operator is known.
void launched(const char* library, const Tensor& tensor) {
  if (tensor.device() != kCpu) check_launch(library, tensor.numel());
}

void convolve(const Conv2dProblem& s, const Tensors& inputs, const Tensor& weight, const Tensor& bias,
              const Tensor& y) {
  if (!vendor().convolver()->forward(s, inputs, weight, bias, y))
    plain_kernels_of(y.device(), s).forward(s, inputs, weight, bias, y);
  launched("cuDNN", y);
}
void convolve_input_gradient(const Conv2dProblem& s, const Tensor& gz, const Tensor& weight,
                             const std::vector<int64_t>& channels, const Tensors& gx) {
  if (!vendor().convolver()->input_gradient(s, gz, weight, channels, gx))
    plain_kernels_of(gz.device(), s).input_gradient(s, gz, weight, channels, gx);
  launched("cuDNN", gz);
}
void convolve_weight_gradient(const Conv2dProblem& s, const Tensors& inputs, const Tensor& gz,
                              const Tensor& gw) {
  if (!vendor().convolver()->weight_gradient(s, inputs, gz, gw))
    plain_kernels_of(gz.device(), s).weight_gradient(s, inputs, gz, gw);
  launched("cuDNN", gw);
}

void multiply(const Conv2dProblem& s, const Tensors& inputs, const Tensor& weight, const Tensor& bias,
              const Tensor& y) {
  vendor().products()->forward(s, inputs, weight, bias, y);
  launched("cuBLAS", y);
}
void multiply_input_gradient(const Conv2dProblem& s, const Tensor& gz, const Tensor& weight,
                             const std::vector<int64_t>& channels, const Tensors& gx) {
  vendor().products()->input_gradient(s, gz, weight, channels, gx);
  launched("cuBLAS", gz);
}
void multiply_weight_gradient(const Conv2dProblem& s, const Tensors& inputs, const Tensor& gz,
                              const Tensor& gw) {
  vendor().products()->weight_gradient(s, inputs, gz, gw);
  launched("cuBLAS", gw);
}

}  // namespace

void start_vendor_libraries(const DeviceStream& device) {
  stop_vendor_libraries();
  slot() = std::make_unique<Vendor>(device);
}

void stop_vendor_libraries() {
  forget_graphs();
  slot().reset();
}
bool vendor_libraries_started() { return slot() != nullptr; }

void add_vendor(KernelTable<Conv2dKernels>& table, Device::Type type) {
  table.set(type, {"cudnn", takes_graph, convolve, convolve_input_gradient, convolve_weight_gradient});
  table.set(type, {"cublas", takes_product, multiply, multiply_input_gradient, multiply_weight_gradient});
}

std::string vendor_versions() { return slot() == nullptr ? std::string() : slot()->versions(); }

ConvolutionSettings convolution_settings() { return vendor().convolver()->settings(); }

std::string vendor_device() { return slot() == nullptr ? std::string() : slot()->device(); }

void set_convolution_settings(const ConvolutionSettings& settings) {
  vendor().convolver()->set_settings(settings);
}

PlanBook convolution_plans() { return vendor().convolver()->book(); }
void set_convolution_plans(const PlanBook& book) { vendor().convolver()->set_book(book); }
std::string convolution_plans_hash() {
  return slot() == nullptr ? std::string() : slot()->convolver()->hash();
}

}  // namespace lux::cuda
