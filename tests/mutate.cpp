#include "mutate.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

namespace hostile {
namespace {

using lux::Generator;

constexpr std::array<uint64_t, 14> kExtremes = {0,
                                                1,
                                                0x7F,
                                                0x80,
                                                0xFF,
                                                0x7FFF,
                                                0xFFFF,
                                                0x7FFFFFFF,
                                                0x80000000,
                                                0xFFFFFFFF,
                                                0x100000000,
                                                0x7FFFFFFFFFFFFFFF,
                                                0x8000000000000000,
                                                0xFFFFFFFFFFFFFFFF};
constexpr std::array<std::string_view, 12> kDecimals = {
    "0",   "-1",   "007",  "4294967296", "9223372036854775807", "9223372036854775808", "18446744073709551615",
    "1e9", "0.50", "null", "[]",         "99999999999999999999"};

class Damage {
 public:
  Damage(Bytes& bytes, const std::vector<Bytes>& others, FindPieces find_pieces, Generator& random)
      : bytes_(bytes), others_(others), find_pieces_(find_pieces), random_(random) {}

  void once() {
    if (bytes_.empty()) return bytes_.push_back(static_cast<uint8_t>(random_.next()));
    switch (random_.below(12)) {
      case 0:
      case 1:
        return flip_bit();
      case 2:
        return limit_byte();
      case 3:
      case 4:
        return change_number();
      case 5:
        return change_decimal();
      case 6:
        return cut();
      case 7:
        return insert_noise();
      case 8:
        return splice();
      case 9:
        return lose_piece();
      case 10:
        return double_piece();
      default:
        return swap_pieces();
    }
  }

 private:
  size_t below(size_t bound) { return static_cast<size_t>(random_.below(bound)); }
  std::ptrdiff_t signed_(size_t at) const { return static_cast<std::ptrdiff_t>(at); }
  auto at(size_t position) { return bytes_.begin() + signed_(position); }

  /// Anywhere, near the beginning, near the end, or in the head of a piece, where formats keep their numbers.
  size_t position() {
    const size_t kind = below(4), size = bytes_.size();
    if (kind == 0) return below(std::min<size_t>(64, size));
    if (kind == 1) return size - 1 - below(std::min<size_t>(64, size));
    if (kind == 2) {
      const Piece piece = any_piece();
      return piece.begin + below(std::min<size_t>(32, piece.end - piece.begin));
    }
    return below(size);
  }

  /// One of the format's pieces; a few bytes anywhere where it has none.
  Piece any_piece() {
    const std::vector<Piece> pieces = find_pieces_(bytes_);
    if (!pieces.empty()) return pieces[below(pieces.size())];
    const size_t begin = below(bytes_.size());
    return {begin, std::min(bytes_.size(), begin + 1 + below(16))};
  }

  void flip_bit() { bytes_[position()] ^= static_cast<uint8_t>(1u << below(8)); }

  void limit_byte() { bytes_[position()] = std::array<uint8_t, 6>{0, 1, 0x7F, 0x80, 0xFE, 0xFF}[below(6)]; }

  /// Sets a number of one to eight bytes to an extreme, or moves it by a little.
  void change_number() {
    const size_t where = position();
    const size_t width = std::min(size_t{1} << below(4), bytes_.size() - where);
    const bool big = below(2) == 0;
    const auto shift = [&](size_t i) { return 8 * (big ? width - 1 - i : i); };
    uint64_t value = 0;
    for (size_t i = 0; i < width; ++i) value |= uint64_t{bytes_[where + i]} << shift(i);
    const size_t kind = below(4);
    value = kind == 0   ? kExtremes[below(kExtremes.size())]
            : kind == 1 ? value + 1
            : kind == 2 ? value - 1
                        : value << 1;
    for (size_t i = 0; i < width; ++i) bytes_[where + i] = static_cast<uint8_t>(value >> shift(i));
  }

  /// Replaces a number that is written in digits, the next one behind a random place.
  void change_decimal() {
    const auto is_digit = [](uint8_t c) { return c >= '0' && c <= '9'; };
    const auto first = std::find_if(at(below(bytes_.size())), bytes_.end(), is_digit);
    const auto last = std::find_if_not(first, bytes_.end(), is_digit);
    const std::string_view text = kDecimals[below(kDecimals.size())];
    const auto place = bytes_.erase(first, last);
    bytes_.insert(place, text.begin(), text.end());
  }

  void cut() { bytes_.resize(below(bytes_.size())); }

  void insert_noise() {
    Bytes noise(1 + below(24));
    for (uint8_t& byte : noise) byte = static_cast<uint8_t>(random_.next());
    bytes_.insert(at(below(bytes_.size())), noise.begin(), noise.end());
  }

  /// The beginning of this file and the end of another one, or a part of the other one inside this.
  void splice() {
    const Bytes& other = others_[below(others_.size())];
    if (other.empty()) return;
    const auto from = other.begin() + signed_(below(other.size()));
    if (below(2) == 0) {
      bytes_.erase(at(below(bytes_.size())), bytes_.end());
      bytes_.insert(bytes_.end(), from, other.end());
    } else {
      const auto length = std::min<std::ptrdiff_t>(signed_(1 + below(200)), other.end() - from);
      bytes_.insert(at(below(bytes_.size())), from, from + length);
    }
  }

  void lose_piece() {
    const Piece piece = any_piece();
    bytes_.erase(at(piece.begin), at(piece.end));
  }

  void double_piece() {
    const Piece piece = any_piece();
    const Bytes copy(at(piece.begin), at(piece.end));
    bytes_.insert(at(below(2) == 0 ? piece.end : any_piece().begin), copy.begin(), copy.end());
  }

  void swap_pieces() {
    Piece first = any_piece(), second = any_piece();
    if (first.begin > second.begin) std::swap(first, second);
    if (first.end > second.begin) return;
    Bytes turned(at(second.begin), at(second.end));
    turned.insert(turned.end(), at(first.end), at(second.begin));
    turned.insert(turned.end(), at(first.begin), at(first.end));
    std::copy(turned.begin(), turned.end(), at(first.begin));
  }

  Bytes& bytes_;
  const std::vector<Bytes>& others_;
  FindPieces find_pieces_;
  Generator& random_;
};

}  // namespace

Bytes mutated(Bytes bytes, const std::vector<Bytes>& others, FindPieces find_pieces, Generator& random) {
  Damage damage(bytes, others, find_pieces, random);
  for (uint64_t changes = 1 + random.below(4); changes > 0; --changes) damage.once();
  return bytes;
}

}  // namespace hostile
