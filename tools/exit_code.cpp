#include "luxgrad/tools/exit_code.h"

#include <new>
#include <system_error>

#include "luxgrad/data/result.h"
#include "luxgrad/kernels/cuda/shared_library.h"
#include "luxgrad/tensor/cuda.h"
#include "luxgrad/tensor/raw.h"

namespace lux {
namespace {

ExitCode exit_code_of(FileErrorCode code) {
  if (code == FileErrorCode::unwritable) return ExitCode::exhausted;
  if (code == FileErrorCode::busy) return ExitCode::mismatch;
  return ExitCode::refused;
}

}  // namespace

void throw_not_finite(const std::string& name) {
  throw NotFinite(ExitCode::stopped,
                  cat(name, ": the network's result is not finite; its weights are too large for it"));
}

void check_finite(const Tensor& result, const std::string& name) {
  if (first_non_finite(result) >= 0) throw_not_finite(name);
}

Failure failure_of(const std::exception_ptr& error) {
  const auto sentence = [](const std::exception& e) { return printable(e.what()); };
  try {
    std::rethrow_exception(error);
  } catch (const CommandError& e) {
    Failure failure{e.code(), sentence(e)};
    for (const std::string& detail : e.details()) failure.details.push_back(printable(detail));
    return failure;
  } catch (const FileException& e) {
    return {exit_code_of(e.error().code), sentence(e)};
  } catch (const cuda::DeviceUnavailable& e) {
    return {ExitCode::stopped, sentence(e)};
  } catch (const cuda::OutOfDeviceMemory& e) {
    return {ExitCode::exhausted, sentence(e)};
  } catch (const OutOfMemory& e) {
    return {ExitCode::exhausted, sentence(e), {}, true};
  } catch (const std::bad_alloc&) {
    return {ExitCode::exhausted, "out of memory", {}, true};
  } catch (const std::system_error& e) {  // no room for a thread, a child, or for the listing of a folder
    const bool exhausted =
        e.code() == std::errc::resource_unavailable_try_again || e.code() == std::errc::not_enough_memory ||
        e.code() == std::errc::too_many_files_open || e.code() == std::errc::too_many_files_open_in_system;
    return {exhausted ? ExitCode::exhausted : ExitCode::refused, sentence(e)};
  } catch (const std::exception& e) {
    return {ExitCode::refused, sentence(e)};
  }
}

}  // namespace lux
