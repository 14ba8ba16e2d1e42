#include "luxgrad/data/deflate.h"

#include <zlib.h>

#include <array>
#include <new>

namespace lux {

Deflater::Deflater(DeflateForm form, std::vector<uint8_t>& out)
    : out_(out), stream_(std::make_unique<z_stream_s>()) {
  // On filtered rows of photographs Z_RLE comes within a tenth of the default's size in a sixth of its time.
  const bool runs = form == DeflateForm::zlib_runs;
  if (deflateInit2(stream_.get(), Z_DEFAULT_COMPRESSION, Z_DEFLATED, runs ? MAX_WBITS : -MAX_WBITS, 8,
                   runs ? Z_RLE : Z_DEFAULT_STRATEGY) != Z_OK)
    throw std::bad_alloc();
}

Deflater::~Deflater() { deflateEnd(stream_.get()); }

void Deflater::write(std::span<const uint8_t> piece) {
  constexpr size_t kAtOnce = size_t{1} << 30;  // zlib counts in 32 bits
  for (; piece.size() > kAtOnce; piece = piece.subspan(kAtOnce)) run(piece.first(kAtOnce), Z_NO_FLUSH);
  run(piece, Z_NO_FLUSH);
}
void Deflater::finish() { run({}, Z_FINISH); }

void Deflater::run(std::span<const uint8_t> piece, int flush) {
  std::array<uint8_t, 1 << 15> buffer;
  stream_->next_in = const_cast<Bytef*>(piece.data());  // zlib only reads it
  stream_->avail_in = static_cast<uInt>(piece.size());
  do {
    stream_->next_out = buffer.data();
    stream_->avail_out = static_cast<uInt>(buffer.size());
    deflate(stream_.get(), flush);
    out_.insert(out_.end(), buffer.begin(), buffer.end() - stream_->avail_out);
  } while (stream_->avail_out == 0);
}

}  // namespace lux
