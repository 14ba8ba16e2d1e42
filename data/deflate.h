// Deflate, fed piece by piece: what PNG and ZIP writers compress with.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

struct z_stream_s;

namespace lux {

enum class DeflateForm : uint8_t {
  zlib_runs,  ///< with zlib's header and checksum, looking for runs only: for filtered rows of a picture
  raw,        ///< the bare stream that ZIP entries hold
};

class Deflater {
 public:
  /// Compressed bytes are appended to `out`, which must outlive this. Throws std::bad_alloc.
  Deflater(DeflateForm form, std::vector<uint8_t>& out);
  ~Deflater();
  Deflater(const Deflater&) = delete;
  Deflater& operator=(const Deflater&) = delete;

  void write(std::span<const uint8_t> piece);
  /// Ends the stream; nothing may be written behind it.
  void finish();

 private:
  void run(std::span<const uint8_t> piece, int flush);

  std::vector<uint8_t>& out_;
  std::unique_ptr<z_stream_s> stream_;
};

}  // namespace lux
