// data/zip.h: archives are taken apart exactly, and everything ambiguous is refused.
#include "luxgrad/data/zip.h"

#include <doctest/doctest.h>

#include "zip_archive.h"

using namespace lux;

namespace {

const std::string kLong(3000, 'x');

/// The message of the first error in the directory or the content, or "accepted".
std::string reason_of(std::span<const uint8_t> bytes, const ZipLimits& limits = {}) {
  const auto entries = parse_zip(bytes, limits);
  if (!entries) return entries.error().message();
  for (const ZipEntry& entry : entries.value()) {
    const auto content = extract(entry);
    if (!content) return content.error().message();
  }
  return "accepted";
}

std::vector<std::pair<std::string, std::string>> contents(std::span<const uint8_t> bytes) {
  std::vector<std::pair<std::string, std::string>> all;
  for (const ZipEntry& entry : parse_zip(bytes).value()) {
    const auto content = extract(entry).value();
    all.emplace_back(entry.name, std::string(content.begin(), content.end()));
  }
  return all;
}

using Contents = std::vector<std::pair<std::string, std::string>>;

}  // namespace

TEST_CASE("stored and deflated entries come out, with and without descriptors") {
  const ZipArchive zip = zip_archive({{"a", "stored"},
                                      {"folder/b.txt", kLong, true},
                                      {"c", "with descriptor", false, 8},
                                      {"d", kLong, true, 0x808},
                                      {"empty", "", true}});
  CHECK(contents(zip.bytes) ==
        Contents{
            {"a", "stored"}, {"folder/b.txt", kLong}, {"c", "with descriptor"}, {"d", kLong}, {"empty", ""}});
  CHECK(contents(zip_archive({}).bytes).empty());
}

TEST_CASE("a descriptor may have no signature, and sizes of eight bytes") {
  const ZipArchive zip = zip_archive({{"a", "text", false, 8}});
  const size_t descriptor = 30 + 1 + 4;
  auto bare = zip.bytes;
  bare.erase(bare.begin() + descriptor, bare.begin() + descriptor + 4);
  bare[bare.size() - 6] = static_cast<uint8_t>(bare[bare.size() - 6] - 4);  // the directory begins earlier
  CHECK(contents(bare) == Contents{{"a", "text"}});
  auto wide = zip.bytes;
  const std::vector<uint8_t> zeros(4);
  wide.insert(wide.begin() + descriptor + 16, zeros.begin(), zeros.end());
  wide.insert(wide.begin() + descriptor + 12, zeros.begin(), zeros.end());
  wide[wide.size() - 6] = static_cast<uint8_t>(wide[wide.size() - 6] + 8);
  CHECK(contents(wide) == Contents{{"a", "text"}});
  wide[descriptor + 15] = 1;
  CHECK(reason_of(wide) == "the descriptor behind entry a and the directory disagree (at byte 35)");
}

TEST_CASE("every truncation and every byte before or behind is refused") {
  const ZipArchive zip = zip_archive({{"a", "stored"}, {"b", kLong, true, 8}});
  for (size_t size = 0; size < zip.bytes.size(); ++size) {
    CAPTURE(size);
    CHECK(reason_of({zip.bytes.data(), size}) != "accepted");
  }
  auto longer = zip.bytes;
  longer.push_back(0);
  CHECK(reason_of(longer) == "is no ZIP archive, or has bytes behind its end");
  longer = zip.bytes;
  longer.insert(longer.begin(), 0);
  CHECK(reason_of(longer) == "the directory does not end where the end record begins (at byte 211)");
}

TEST_CASE("what is ambiguous or damaged is refused with its own reason") {
  const ZipArchive zip = zip_archive({{"a", "stored"}, {"b", kLong, true}});
  const size_t a = zip.local[0], b = zip.local[1], A = zip.central[0], B = zip.central[1], end = zip.end;
  struct Case {
    std::vector<uint8_t> bytes;
    std::string reason;
  };
  const auto zip_of = [](const std::string& name) { return zip_archive({{name, "x"}}).bytes; };
  const std::string disagree_a = "entry a and the directory disagree (at byte 0)";
  const Case cases[] = {
      {{}, "is no ZIP archive, or has bytes behind its end"},
      {zip.with(end, 4, 0x06064b50), "is no ZIP archive, or has bytes behind its end"},
      {zip.with(end + 20, 2, 4), cat("the end of the archive announces a comment (at byte ", end + 20, ")")},
      {zip.with(end + 4, 2, 1), cat("the archive spans several disks (at byte ", end + 4, ")")},
      {zip.with(end + 6, 2, 1), cat("the archive spans several disks (at byte ", end + 4, ")")},
      {zip.with(end + 8, 2, 1), cat("the archive spans several disks (at byte ", end + 4, ")")},
      {zip.with(A + 34, 2, 1), cat("the archive spans several disks (at byte ", A + 34, ")")},
      {zip.with(end + 8, 4, 0xffffffff), cat("has a zip64 directory (at byte ", end, ")")},
      {zip.with(end + 16, 4, 0xffffffff), cat("has a zip64 directory (at byte ", end, ")")},
      {zip.with(end + 12, 4, 1),
       cat("the directory does not end where the end record begins (at byte ", end + 12, ")")},
      {zip.with(end + 16, 4, end + 1),
       cat("the directory does not end where the end record begins (at byte ", end + 12, ")")},
      {zip.with(end + 8, 4, 0x10001),
       cat("the directory and its number of entries disagree (at byte ", B, ")")},
      {zip.with(end + 8, 4, 0x30003), cat("expected an entry of the directory (at byte ", end, ")")},
      {zip.with(A, 1, 0), cat("expected an entry of the directory (at byte ", A, ")")},
      {zip.with(B + 32, 2, 5),
       cat("the directory and its number of entries disagree (at byte ", end + 5, ")")},
      {zip.with(A + 8, 2, 1), cat("entry a is encrypted (at byte ", A + 8, ")")},
      {zip.with(A + 8, 2, 0x20), cat("entry a has unknown flags (at byte ", A + 8, ")")},
      {zip.with(A + 10, 2, 12),
       cat("entry a is compressed by method 12, expected 0 (stored) or 8 (deflate) (at byte ", A + 10, ")")},
      {zip.with(A + 20, 4, 0xffffffff), cat("entry a has zip64 sizes (at byte ", A + 20, ")")},
      {zip.with(A + 42, 4, 0xffffffff), cat("entry a has zip64 sizes (at byte ", A + 20, ")")},
      {zip.with(A + 42, 4, 1), "entry a overlaps another one or leaves a hole (at byte 1)"},
      {zip.with(B + 42, 4, a), "entry b overlaps another one or leaves a hole (at byte 0)"},
      {zip.with(a, 1, 0), "expected entry a (at byte 0)"},
      {zip.with(a + 6, 2, 2), disagree_a},
      {zip.with(a + 8, 2, 8), disagree_a},
      {zip.with(a + 14, 4, 1), disagree_a},
      {zip.with(a + 18, 4, 5), disagree_a},
      {zip.with(a + 22, 4, 7), disagree_a},
      {zip.with(a + 18, 8, UINT64_MAX), disagree_a},  // announces a zip64 field that is not there
      {zip.with(a + 26, 2, 2), disagree_a},
      {zip.with(a + 30, 1, 'z'), disagree_a},
      {zip.with(A + 20, 8, 5 | uint64_t{5} << 32), disagree_a},
      {zip.with(A + 24, 4, 7), "entry a cannot have 7 bytes in 6 (at byte 0)"},
      {zip.with(B + 24, 4, 40000), cat("entry b cannot have 40000 bytes in 20 (at byte ", b, ")")},
      {zip.with(a + 28, 2, 2), cat("entry b overlaps another one or leaves a hole (at byte ", b, ")")},
      {zip.with(b + 28, 2, 2), cat("has a hole or an overlap before its directory (at byte ", A + 2, ")")},
      {zip.with(a + 31, 1, 'S'), "entry a is damaged: its checksum is wrong (at byte 31)"},
      {zip.with(b + 31, 1, 0xff), cat("entry b does not inflate to its 3000 bytes (at byte ", b + 31, ")")},
      {zip_archive({{"a", "x"}, {"a", "y"}}).bytes, "has two entries named a (at byte 32)"},
      {zip_of(""), "an entry has the unsafe name \"\" (at byte 77)"},
      {zip_of("/a"), "an entry has the unsafe name \"/a\" (at byte 79)"},
      {zip_of("../a"), "an entry has the unsafe name \"../a\" (at byte 81)"},
      {zip_of("a/../../b"), "an entry has the unsafe name \"a/../../b\" (at byte 86)"},
      {zip_of("a\\b"), "an entry has the unsafe name \"a\\b\" (at byte 80)"},
      {zip_of(std::string("a\0b", 3)), "an entry has the unsafe name \"a\\x00b\" (at byte 80)"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.reason);
    CHECK(reason_of(c.bytes) == c.reason);
  }
  CHECK(reason_of(zip.bytes) == "accepted");
  CHECK(reason_of(zip_of("a..b/...")) == "accepted");
}

TEST_CASE("sizes that lie about a deflated entry are refused") {
  const ZipArchive zip = zip_archive({{"b", kLong, true}});
  for (const uint64_t size : {2999u, 3001u, 0u}) {
    auto bytes = zip.with(zip.central[0] + 24, 4, size);
    for (size_t k = 0; k < 4; ++k) bytes[22 + k] = static_cast<uint8_t>(size >> (8 * k));
    CHECK(reason_of(bytes) == cat("entry b does not inflate to its ", size, " bytes (at byte 31)"));
  }
}

TEST_CASE("a zip64 record may stand there, and repeats the end record") {
  const ZipArchive zip = zip_archive({{"a", "stored", false, 0x808}, {"b", kLong}});
  const auto bytes = zip.with_zip64_record();
  CHECK(contents(bytes) == Contents{{"a", "stored"}, {"b", kLong}});
  const size_t record = zip.end, locator = record + 56;
  // Sizes, disks, numbers of entries, bytes and beginning of the directory; then disk, place, number of
  // disks.
  for (const size_t field :
       {4u, 16u, 20u, 24u, 32u, 40u, 44u, 48u, 52u, 56u + 4, 56u + 8, 56u + 12, 56u + 16}) {
    auto damaged = bytes;
    damaged[record + field] ^= 1;
    CAPTURE(field);
    CHECK(reason_of(damaged) == cat("the zip64 record and the end record disagree (at byte ", locator, ")"));
  }
  auto unsigned_record = bytes;
  unsigned_record[record] ^= 1;
  CHECK(reason_of(unsigned_record).starts_with("the zip64 record and the end record disagree"));
  auto no_locator = bytes;
  no_locator[locator] ^= 1;
  CHECK(reason_of(no_locator).starts_with("the directory does not end where the end record begins"));
}

TEST_CASE("a stored entry can be read in its place") {
  const ZipArchive zip = zip_archive({{"a", "text"}, {"b", kLong, true}});
  const auto entries = parse_zip(zip.bytes).value();
  const auto content = stored_content(entries[0]).value();
  CHECK(content.data() == zip.bytes.data() + entries[0].offset);
  CHECK(std::string(content.begin(), content.end()) == "text");
  CHECK(stored_content(entries[1]).error().reason == "entry b is compressed, expected stored");
  const auto damaged = zip.with(zip.local[0] + 31, 1, 'T');
  CHECK(stored_content(parse_zip(damaged).value()[0]).error().reason ==
        "entry a is damaged: its checksum is wrong");
}

TEST_CASE("limits are kept") {
  const ZipArchive zip = zip_archive({{"a", kLong, true}, {"b", kLong, true}});
  CHECK(reason_of(zip.bytes, {.entries = 2, .total_bytes = 6000}) == "accepted");
  CHECK(reason_of(zip.bytes, {.entries = 1}) == "has 2 entries, at most 1 are read");
  CHECK(reason_of(zip.bytes, {.total_bytes = 5999}).starts_with("holds more than 5999 bytes"));
}
