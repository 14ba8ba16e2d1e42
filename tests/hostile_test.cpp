// Damaged files of every format: each is refused with a reason or read as what it says, in memory bounded by
// its length. The generators, checks and bounds stand in hostile_formats.h.
#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "failing_new.h"
#include "hostile_films.h"
#include "hostile_formats.h"
#include "luxgrad/data/npy.h"
#include "luxgrad/data/nut.h"
#include "luxgrad/tensor/memory.h"
#include "zip_archive.h"

using namespace lux;
using hostile::Bytes;
using hostile::Format;

namespace {

struct Reading {
  bool accepted;
  int64_t bytes;  ///< most memory in use at once, tensors and all else
};

Reading read(const Format& format, std::span<const uint8_t> bytes) {
  memory::reset_peak();
  heap::peak = heap::bytes.load();
  const int64_t before = heap::bytes + memory::stats().live;
  const bool accepted = format.refusal(bytes).empty();
  return {accepted, heap::peak + memory::stats().peak - before};
}

int64_t bound(const Format& format, size_t length) {
  return format.fixed + std::min(format.ceiling, format.per_byte * static_cast<int64_t>(length));
}

Bytes head_of(const Bytes& bytes, size_t length) {
  return {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length)};
}

/// Files per format: LUX_MUTATIONS, or 2,000.
int rounds() {
  const char* const more = std::getenv("LUX_MUTATIONS");
  return more != nullptr ? std::stoi(more) : 2000;
}

}  // namespace

TEST_CASE("at least thirty valid files of every format are accepted, and prove sound") {
  for (const Format& format : hostile::formats()) {
    const std::string name(format.name);
    const auto files = format.samples();
    CHECK(files.size() >= 30);
    for (size_t i = 0; i < files.size(); ++i) {
      CAPTURE(name);
      CAPTURE(i);
      const Reading reading = read(format, files[i]);
      CHECK(reading.accepted);
      CHECK(reading.bytes <= bound(format, files[i].size()));
      CHECK_NOTHROW(format.prove(files[i]));
      Bytes repaired = files[i];
      format.repair(repaired);
      CHECK(repaired == files[i]);
    }
  }
}

TEST_CASE("no valid file cut at 99 places is accepted") {
  for (const Format& format : hostile::formats()) {
    if (!format.shows_cuts) continue;
    for (const Bytes& file : format.samples()) {
      for (size_t hundredth = 1; hundredth < 100; ++hundredth) {
        const std::string name(format.name);
        const size_t length = file.size() * hundredth / 100;
        CAPTURE(name);
        CAPTURE(length);
        REQUIRE(format.refusal(head_of(file, length)) != "");
      }
    }
  }
}

TEST_CASE("mutated files are refused with a reason or read as what they say, in bounded memory") {
  for (const Format& format : hostile::formats()) {
    const std::string name(format.name);
    const std::vector<Bytes> files = format.samples();
    Generator random(12, name);
    int accepted = 0;
    int64_t most = 0;
    for (int round = 0; round < rounds(); ++round) {
      const Bytes& file = files[random.below(files.size())];
      Bytes bytes = hostile::mutated(file, files, format.pieces, random);
      if (random.below(4) != 0) format.repair(bytes);
      CAPTURE(name);
      CAPTURE(round);
      const Reading reading = read(format, bytes);
      accepted += reading.accepted ? 1 : 0;
      most = std::max(most, reading.bytes);
      REQUIRE(reading.bytes <= bound(format, bytes.size()));
      REQUIRE_NOTHROW(format.prove(bytes));
    }
    CHECK(accepted > 0);
    CHECK(accepted < rounds() / 2);
    MESSAGE(name, ": ", accepted, " of ", rounds(), " mutations are read, with at most ", most >> 10, " KiB");
  }
}

namespace {

Bytes bytes_of(std::string_view text) { return {text.begin(), text.end()}; }

Bytes safetensors_of(uint64_t length, std::string_view header) {
  Bytes bytes(8 + header.size());
  std::memcpy(bytes.data(), &length, 8);
  std::memcpy(bytes.data() + 8, header.data(), header.size());
  return bytes;
}

Bytes safetensors_of(std::string_view header) { return safetensors_of(header.size(), header); }

std::string npy_of(std::string_view type, std::string_view shape, std::string_view payload) {
  const std::string header = cat("{'descr': '", std::string(type),
                                 "', 'fortran_order': False, 'shape': ", std::string(shape), "}\n");
  std::string file("\x93NUMPY\1\0", 8);
  file += {static_cast<char>(header.size()), '\0'};
  return file + header + std::string(payload);
}

/// Two entries that share their bytes, as the archives that hold terabytes in kilobytes do.
Bytes overlapping_zip() {
  ZipArchive zip = zip_archive({{"a.npy", std::string(30000, '0'), true}, {"b.npy", "b", true}});
  return zip.with(zip.central[1] + 42, 4, zip.local[0]);
}

}  // namespace

TEST_CASE("headers that promise more than the file holds are refused before memory is spent") {
  const std::string deep(100'000, '[');
  const std::string long_name(60'000, 'n');
  const ZipArchive named = zip_archive({{long_name, "x"}});
  const ZipArchive sized = zip_archive({{"a.npy", npy_of("|u1", "(3,)", "abc"), true}});
  struct Bomb {
    std::string_view format;
    Bytes bytes;
    std::string reason;
  };
  const Bomb bombs[] = {
      {"safetensors", safetensors_of(uint64_t{1} << 63, "{}"), "the header claims 9223372036854775808 bytes"},
      {"safetensors", safetensors_of(UINT64_MAX, "{}"), "the header claims 18446744073709551615 bytes"},
      {"safetensors", safetensors_of(16 << 20, "{}"), "the header claims 16777216 bytes, the file has 2"},
      {"safetensors",
       safetensors_of(R"({"w":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}})"),
       "ends inside tensor \"w\""},
      {"safetensors",
       safetensors_of(R"({"w":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})"),
       "tensor \"w\" has a shape too large"},
      {"safetensors",
       safetensors_of(R"({"w":{"dtype":"U8","shape":[0,4294967296,4294967296],"data_offsets":[0,0]}})"),
       "tensor \"w\" has a shape too large"},
      {"safetensors", safetensors_of("{\"w\":" + deep), "\"w\" is a list"},
      {"safetensors", safetensors_of("{\"" + long_name + "\":0}"), "\"nnn"},
      {"npy", bytes_of(npy_of("<f4", "(1099511627776,)", "abc")), "shape [1099511627776] of f4 needs"},
      {"npy", bytes_of(npy_of("<f8", "(0, 4294967296, 4294967296)", "")), "has a shape too large"},
      {"npy", bytes_of(std::string("\x93NUMPY\2\0\xff\xff\xff\xff", 12)),
       "the header has 4294967295 characters"},
      {"npz", overlapping_zip(), "entry b.npy overlaps another one"},
      {"npz", sized.with(sized.central[0] + 24, 4, 0xFFFFFFFE),
       "entry a.npy cannot have 4294967294 bytes in"},
      {"npz", sized.with(sized.central[0] + 20, 4, 0x7FFFFFFF), ""},
      {"npz", named.bytes, "an entry has a name of 60000 bytes"},
      {"npz", Bytes{}, "is no ZIP archive"},
      {"checkpoint", safetensors_of(R"({"__metadata__":{"schema":")" + long_name + "\"}}"),
       "it is a checkpoint of"},
  };
  for (const Bomb& bomb : bombs) {
    const Format& format = hostile::format_named(bomb.format);
    CAPTURE(bomb.reason);
    const Reading reading = read(format, bomb.bytes);
    CHECK_FALSE(reading.accepted);
    CHECK(reading.bytes <= (64 << 10) + 12 * static_cast<int64_t>(bomb.bytes.size()));
    CHECK_NOTHROW(format.prove(bomb.bytes));
    CHECK(format.refusal(bomb.bytes).find(bomb.reason) == 0);
  }
}

TEST_CASE("a NUT stream has a clock, times within bounds, and headers of which every bit is checked") {
  VideoFormat format;
  format.width = 6;
  format.height = 4;
  const Bytes header = nut_header(format);
  constexpr size_t kLength = 33, kClocks = 39, kFlags = 42,
                   kStep = 44;  // behind the name and the starting code
  REQUIRE(header[kClocks] == 1);
  REQUIRE(header[kFlags] == 105);
  const auto place = [&](size_t at) { return static_cast<std::ptrdiff_t>(at); };
  const auto refusal_of = [](Bytes bytes) {
    hostile::repair_nut(bytes);
    return hostile::refuse_nut(bytes);
  };
  CHECK(refusal_of(header) == "has no frame");

  Bytes timeless = header;
  timeless.erase(timeless.begin() + place(kClocks + 1), timeless.begin() + place(kClocks + 3));
  timeless[kClocks] = 0;
  timeless[kLength] -= 2;
  CHECK(refusal_of(timeless) == "has no clock in a NUT stream");

  Bytes leaping = header;  // each frame 2^62 ticks behind the last
  leaping[kFlags] = 1 | 32;
  leaping[kStep] = 0x7F;
  leaping.insert(leaping.begin() + place(kStep), 8, 0xFF);
  leaping[kLength] += 8;
  leaping.insert(leaping.end(), {0, static_cast<uint8_t>(format.frame_bytes())});
  leaping.insert(leaping.end(), static_cast<size_t>(format.frame_bytes()), 7);
  CHECK(refusal_of(leaping) == "has a frame at time 4611686018427387904");

  Bytes whole = header;
  whole.insert(whole.end(), {0, 1, static_cast<uint8_t>(format.frame_bytes()), 0, 0, 0, 0});
  whole.insert(whole.end(), static_cast<size_t>(format.frame_bytes()), 7);
  CHECK(hostile::refuse_nut(whole) == "");
  for (size_t bit = 0; bit < 8 * header.size(); ++bit) {
    Bytes flipped = whole;
    flipped[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    CAPTURE(bit);
    CHECK(hostile::refuse_nut(flipped) != "");
  }
}

TEST_CASE("an archive may hold no more than its limit in memory, however narrow its elements are") {
  const std::string bytes(400'000, '\1');
  for (const std::string type : {"|u1", "|i1"}) {
    const ZipArchive zip = zip_archive({{"a.npy", npy_of(type, "(400000,)", bytes), true}});
    const auto arrays = parse_npz(zip.bytes, {.total_bytes = 1 << 20});
    CAPTURE(type);
    CHECK(static_cast<bool>(arrays) == (type == "|u1"));
    if (!arrays)
      CHECK(arrays.error().reason == "entry a.npy: shape [400000] takes more than the 1048576 bytes left");
  }
}
