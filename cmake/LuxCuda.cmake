# The CUDA backend: who compiles the kernels. LUX_CUDA is
#   OFF       nobody; the host compiler compiles everything, and there is no device
#   ON        nvcc compiles the sources that hold kernels, for host and device; its host compiler gets the flags that
#             all others get, so that the bits of the CPU stay what they are
#   emulated  the host compiler, and a device is played by the CPU: for tests, hundreds of times slower
set(LUX_CUDA OFF CACHE STRING "CUDA backend: OFF, ON or emulated")
set_property(CACHE LUX_CUDA PROPERTY STRINGS OFF ON emulated)
option(LUX_CUDA_F64 "Also build kernels of float64 for the device, which gradcheck asks for there" OFF)

if(LUX_CUDA STREQUAL "ON")
  if(NOT CMAKE_CUDA_COMPILER)
    find_program(CMAKE_CUDA_COMPILER nvcc PATHS /usr/local/cuda/bin $ENV{CUDA_HOME}/bin)
  endif()
  if(NOT CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 90)  # code for it, and PTX for what comes later
  endif()
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  enable_language(CUDA)
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 knows none
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
  endif()
  find_package(CUDAToolkit 12 REQUIRED)  # nvcc knows sm_100 and sm_120, of the preset cuda-all, from 12.8 on
endif()

# lux_kernels(<source.cpp>…): adds sources of this directory that run kernels on either device to luxgrad.
function(lux_kernels)
  target_sources(luxgrad PRIVATE ${ARGN})
  if(LUX_CUDA STREQUAL "ON")
    # Products and sums apart, denormals flushed, as on the CPU: so a kernel has the same bits on both.
    set_source_files_properties(${ARGN} TARGET_DIRECTORY luxgrad PROPERTIES
      LANGUAGE CUDA COMPILE_OPTIONS "-fmad=false;-ftz=true")
  elseif(LUX_CUDA STREQUAL "emulated")
    set_source_files_properties(${ARGN} TARGET_DIRECTORY luxgrad PROPERTIES COMPILE_DEFINITIONS LUX_CUDA_EMULATED)
  endif()
  if(LUX_CUDA_F64)
    set_property(SOURCE ${ARGN} TARGET_DIRECTORY luxgrad APPEND PROPERTY COMPILE_DEFINITIONS LUX_CUDA_F64)
  endif()
endfunction()
