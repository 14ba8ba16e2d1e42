#include "luxgrad/data/stb.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <new>
#include <utility>

#include "luxgrad/data/result.h"

namespace lux {
namespace {

class Arena;
thread_local Arena* arena = nullptr;  // of the decode at work

/// All memory of one decode: zeroed, because stb 2.27 reads tables that a damaged file never filled; capped;
/// and freed together, so that an exception may pass through stb at any point.
// NOLINTBEGIN(clang-analyzer-cplusplus.NewDelete): the analyzer loses track of the list inside stb
class Arena {
 public:
  explicit Arena(int64_t max_bytes) : left_(static_cast<size_t>(max_bytes)) { arena = this; }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena() {
    arena = nullptr;
    while (last_ != nullptr) release(last_ + 1);
  }

  void* allocate(size_t bytes) {
    if (bytes > left_) refuse(FileErrorCode::too_large, -1, "needs more memory than the limit for a picture");
    void* const memory = ::operator new(sizeof(Block) + bytes);
    std::memset(memory, 0, sizeof(Block) + bytes);
    left_ -= bytes;
    last_ = new (memory) Block{last_, nullptr, bytes};
    if (last_->before != nullptr) last_->before->after = last_;
    return last_ + 1;
  }

  void* reallocate(void* old, size_t bytes) {
    void* const memory = allocate(bytes);
    if (old != nullptr) {
      std::memcpy(memory, old, std::min(bytes, (static_cast<Block*>(old) - 1)->bytes));
      release(old);
    }
    return memory;
  }

  void release(void* memory) {
    if (memory == nullptr) return;
    Block* const block = static_cast<Block*>(memory) - 1;
    (block->after != nullptr ? block->after->before : last_) = block->before;
    if (block->before != nullptr) block->before->after = block->after;
    left_ += block->bytes;
    ::operator delete(block);
  }

 private:
  struct alignas(std::max_align_t) Block {
    Block* before;
    Block* after;
    size_t bytes;
  };
  Block* last_ = nullptr;
  size_t left_;
};
// NOLINTEND(clang-analyzer-cplusplus.NewDelete)

}  // namespace
}  // namespace lux

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wunknown-warning-option"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wimplicit-fallthrough"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wshadow"

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_JPEG
#define STBI_NO_STDIO
#define STBI_MAX_DIMENSIONS 65535
#define STBI_MALLOC(bytes) lux::arena->allocate(bytes)
#define STBI_REALLOC(memory, bytes) lux::arena->reallocate(memory, bytes)
#define STBI_FREE(memory) lux::arena->release(memory)
#define STBI_ASSERT(condition) \
  ((condition) ? void() : lux::refuse(lux::FileErrorCode::malformed, -1, "is a damaged JPEG"))
#include <stb/stb_image.h>

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
#include <stb/stb_image_write.h>

#pragma GCC diagnostic pop

namespace lux {

std::vector<uint8_t> stb_read_jpeg(std::span<const uint8_t> bytes, int64_t max_bytes) {
  if (!std::in_range<int>(bytes.size())) refuse(FileErrorCode::unsupported, -1, "is larger than 2 GiB");
  const Arena memory(max_bytes);
  int width = 0, height = 0, channels = 0;
  const uint8_t* const pixels =
      stbi_load_from_memory(bytes.data(), static_cast<int>(bytes.size()), &width, &height, &channels, 0);
  if (pixels == nullptr) refuse(FileErrorCode::malformed, -1, "is a damaged JPEG: ", stbi_failure_reason());
  return {pixels,
          pixels + static_cast<size_t>(width) * static_cast<size_t>(height) * static_cast<size_t>(channels)};
}

std::vector<uint8_t> stb_write_jpeg(int width, int height, int channels, const uint8_t* samples,
                                    int quality) {
  std::vector<uint8_t> bytes;
  const auto append = [](void* context, void* data, int size) {
    const auto* const first = static_cast<const uint8_t*>(data);
    static_cast<std::vector<uint8_t>*>(context)->insert(static_cast<std::vector<uint8_t>*>(context)->end(),
                                                        first, first + size);
  };
  stbi_write_jpg_to_func(append, &bytes, width, height, channels, samples, quality);
  return bytes;
}

}  // namespace lux
