# Writes a C++ source that holds files as bytes: cmake "-DFILES=a;b" -DOUTPUT=x.cpp -P EmbedFiles.cmake
# Plain C++, because assembler directives and linker tricks differ between platforms and generators.
set(arrays "")
set(cases "")
set(index 0)
foreach(file IN LISTS FILES)
  get_filename_component(name ${file} NAME_WE)
  file(READ ${file} bytes HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  string(APPEND arrays "alignas(64) constexpr uint8_t file_${index}[] = {${bytes}};\n")
  string(APPEND cases "  if (model == \"${name}\") return file_${index};\n")
  math(EXPR index "${index} + 1")
endforeach()
file(WRITE ${OUTPUT} "// Made by cmake/EmbedFiles.cmake.
#include \"luxgrad/models/default_weights.h\"

namespace lux {
namespace {
${arrays}}  // namespace

std::span<const uint8_t> default_weights([[maybe_unused]] std::string_view model) {
${cases}  return {};
}

}  // namespace lux
")
