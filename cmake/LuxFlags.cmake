# Compiler flags of every luxgrad target, as the interface library lux_flags.
add_library(lux_flags INTERFACE)

# Sums must give the same bits from every compiler, so products and sums are fused only where a source asks for it.
target_compile_options(lux_flags INTERFACE -ffp-contract=off -fno-math-errno -fno-trapping-math
  -Wall -Wextra -Wconversion -Wformat=2 -Wimplicit-fallthrough -Wshadow=local)
if(LUX_WERROR)
  target_compile_options(lux_flags INTERFACE -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 sees overlapping copies where a std::string is assigned a short literal (GCC bug 105651).
  target_compile_options(lux_flags INTERFACE -Wno-psabi -Wno-restrict)
else()
  target_compile_options(lux_flags INTERFACE -Wno-unknown-pragmas -Wno-unknown-warning-option)  # those of GCC
endif()

# Hardening, as far as the compiler knows it.
include(CheckCXXCompilerFlag)
foreach(flag -fstack-clash-protection -fstack-protector-strong -fcf-protection=full -fno-delete-null-pointer-checks)
  string(MAKE_C_IDENTIFIER ${flag} name)
  check_cxx_compiler_flag(${flag} LUX_HAS${name})
  if(LUX_HAS${name})
    target_compile_options(lux_flags INTERFACE ${flag})
  endif()
endforeach()
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
target_compile_definitions(lux_flags INTERFACE _GLIBCXX_ASSERTIONS)
target_link_options(lux_flags INTERFACE -pie -Wl,-z,relro,-z,now,-z,noexecstack)

if(LUX_SANITIZE)
  target_compile_options(lux_flags INTERFACE -fsanitize=${LUX_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(lux_flags INTERFACE -fsanitize=${LUX_SANITIZE})
  # Among the sanitizers' own code GCC 12 sees uninitialised parts of every std::regex.
  target_compile_options(lux_flags INTERFACE -Wno-maybe-uninitialized)
elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
  target_compile_options(lux_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()
