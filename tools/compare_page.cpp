#include "luxgrad/tools/compare_page.h"

#include "luxgrad/data/file.h"
#include "luxgrad/data/html.h"

namespace lux {
namespace {

constexpr const char* kHead =
    "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
    "content=\"width=device-width\">\n"
    "<style>body{margin:0;background:#222;color:#ddd;font:15px sans-serif}h1{font-size:15px;margin:.6em}\n"
    ".pair{position:relative;max-width:100%}.pair img{display:block;width:100%}\n"
    ".pair .before{position:absolute;top:0;left:0;clip-path:inset(0 calc(100% - var(--at,50%)) 0 0)}\n"
    "input{position:absolute;top:0;left:0;width:100%;height:100%;margin:0;opacity:0;cursor:ew-resize}\n"
    ".line{position:absolute;top:0;bottom:0;left:var(--at,50%);width:2px;background:#fff}</style>\n";

std::string picture_of(const Image& image) {
  return cat("src=\"data:image/jpeg;base64,", base64(encode_image(image, ImageFormat::jpeg, 92)), "\"");
}

}  // namespace

void save_compare_page(const std::string& path, const std::string& title, const Image& before,
                       const Image& after) {
  const std::string page = cat(
      kHead, "<title>", html_escaped(title), "</title></head><body><h1>", html_escaped(title),
      ": before | after</h1>\n<div class=\"pair\" style=\"width:", after.width, "px\">\n<img alt=\"after\" ",
      picture_of(after), ">\n<img class=\"before\" alt=\"before\" ", picture_of(before),
      ">\n<div class=\"line\"></div>\n<input type=\"range\" min=\"0\" max=\"100\" step=\"0.1\" value=\"50\" "
      "aria-label=\"how much of before\" "
      "oninput=\"this.parentNode.style.setProperty('--at',this.value+'%')\">\n"
      "</div></body></html>\n");
  (void)write_file_atomically(path, bytes_of(page)).value();
}

}  // namespace lux
