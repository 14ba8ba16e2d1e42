// luxgrad enhance for scripts and photographers, and what else it gives out: tables, pages, manuals. The real
// binary runs as a child.
#include <cmath>
#include <sstream>

#include "films.h"
#include "luxgrad/autograd/node.h"
#include "luxgrad/data/file.h"
#include "luxgrad/data/npy.h"
#include "luxgrad/data/orientation.h"
#include "luxgrad/data/sha256.h"
#include "luxgrad/data/transforms.h"
#include "luxgrad/models/curve_model.h"

using namespace lux;

namespace {

using Names = std::vector<std::string>;

double mean_difference(const Image& a, const Image& b) {
  const std::vector<double> first = to_tensor(a).to_vector(), second = to_tensor(b).to_vector();
  double sum = 0;
  for (size_t i = 0; i < first.size(); ++i) sum += std::abs(first[i] - second[i]);
  return sum / static_cast<double>(first.size());
}

/// A smooth dark picture, which lossy formats keep.
Image gentle(int64_t width, int64_t height, int channels = 3, int bits = 8) {
  Image image;
  image.allocate(width, height, channels, bits);
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width * channels; ++x) {
      const auto value = static_cast<uint16_t>((20 + x + y) * (bits == 16 ? 257 : 1));
      if (bits == 16)
        std::memcpy(image.row(y) + 2 * x, &value, 2);
      else
        image.row(y)[x] = static_cast<uint8_t>(value);
    }
  }
  return image;
}

/// A whole profile, for monitors: sRGB's primaries and white, and a power of 2.2 (ICC.1:2001-04).
std::vector<uint8_t> whole_profile() {
  std::vector<uint8_t> profile;
  const auto word = [&](uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) profile.push_back(static_cast<uint8_t>(value >> shift));
  };
  const auto text = [&](std::string_view letters) {
    profile.insert(profile.end(), letters.begin(), letters.end());
  };
  const auto fill_to = [&](size_t size) { profile.resize(size); };
  struct Tag {
    std::string_view name;
    uint32_t at, size;
  };
  constexpr uint32_t kDescribed = 240, kXyz = 344, kCurve = 424, kEnd = 440;
  const Tag tags[] = {{"desc", kDescribed, 104}, {"cprt", kDescribed, 104}, {"wtpt", kXyz, 20},
                      {"rXYZ", kXyz + 20, 20},   {"gXYZ", kXyz + 40, 20},   {"bXYZ", kXyz + 60, 20},
                      {"rTRC", kCurve, 14},      {"gTRC", kCurve, 14},      {"bTRC", kCurve, 14}};
  for (const uint32_t value : {kEnd, 0U, 0x02100000U}) word(value);
  text("mntrRGB XYZ ");
  fill_to(36);
  text("acsp");
  fill_to(68);
  for (const uint32_t value : {0xF6D6U, 0x10000U, 0xD32DU}) word(value);
  fill_to(128);
  word(std::size(tags));
  for (const Tag& tag : tags) {
    text(tag.name);
    word(tag.at);
    word(tag.size);
  }
  fill_to(kDescribed);
  text("desc");
  word(0);
  word(5);
  text("test");
  fill_to(kXyz);
  for (const auto& [x, y, z] : {std::array{0xF351U, 0x10000U, 0x116CCU},
                                {0x6FA2U, 0x38F5U, 0x390U},
                                {0x6299U, 0xB785U, 0x18DAU},
                                {0x24A0U, 0xF84U, 0xB6CFU}}) {
    text("XYZ ");
    for (const uint32_t value : {0U, x, y, z}) word(value);
  }
  text("curv");
  word(0);
  word(1);
  word(0x02330000);
  fill_to(kEnd);
  return profile;
}

}  // namespace

// waifu2x-ncnn-vulkan#99: results of killed runs were taken for done.
TEST_CASE("skip-existing leaves what is whole and makes the rest again") {
  const Workplace here;
  for (const char* name : {"in/a.png", "in/b.png", "in/c.png"}) save_noise(here.path(name));
  REQUIRE(here.run({"enhance", "-i", "in", "-o", "out"}).code == 0);
  const std::string a = slurp(here.path("out/a.png")), b = slurp(here.path("out/b.png"));
  spill(here.path("out/b.png"), b.substr(0, b.size() - 30));
  fs::remove(here.path("out/c.png"));
  const ChildResult result = here.run({"enhance", "-i", "in", "-o", "out", "--skip-existing", "--json"});
  CHECK(result.code == 0);
  const auto lines = json_lines(result.out);
  REQUIRE(lines.size() == 3);
  CHECK(lines[0]["status"] == "skipped");
  CHECK(lines[1]["status"] == "ok");
  CHECK(lines[2]["status"] == "ok");
  CHECK(slurp(here.path("out/a.png")) == a);
  CHECK(slurp(here.path("out/b.png")) == b);
}

TEST_CASE("shards: every picture in one of them, and all the same as without") {
  const Workplace here;
  for (int i = 0; i < 7; ++i) save_noise(here.path(cat("in/", i, ".png")), 8, 6, static_cast<uint64_t>(i));
  REQUIRE(here.run({"enhance", "-i", "in", "-o", "whole"}).code == 0);
  for (const char* shard : {"1/3", "2/3", "3/3"}) {
    const size_t before = fs::exists(here.path("parts")) ? here.files("parts").size() : 0;
    CHECK(here.run({"enhance", "-i", "in", "-o", "parts", "--shard", shard}).code == 0);
    CHECK(here.files("parts").size() - before == (std::string(shard) == "1/3" ? 3u : 2u));
  }
  CHECK(here.files("parts") == here.files("whole"));
  for (const std::string& name : here.files("whole"))
    CHECK(slurp(here.path("parts/" + name)) == slurp(here.path("whole/" + name)));
  for (const char* wrong : {"0/3", "4/3", "1", "1/", "/3", "a/3", "1/3x", "-1/3"})
    CHECK(here.run({"enhance", "-i", "in", "-o", "x", "--shard", wrong}).code == 2);
}

// waifu2x-ncnn-vulkan#109, #206: one bad picture ended a batch; results differed with the number of threads.
TEST_CASE("stages at the same time: the same bytes, the same order, the bad ones named") {
  const Workplace here;
  for (int i = 0; i < 9; ++i) save_noise(here.path(cat("in/", i, ".png")), 8, 6, static_cast<uint64_t>(i));
  spill(here.path("in/4.png"), "no picture");
  Names bytes;
  for (const char* threads : {"1", "16", "1:1:1", "3:2:4"}) {
    const ChildResult result =
        here.run({"enhance", "-i", "in", "-o", "out", "--overwrite", "--json", "-j", threads});
    CHECK(result.code == 1);
    const auto lines = json_lines(result.out);
    REQUIRE(lines.size() == 9);
    std::string all;
    for (size_t i = 0; i < 9; ++i) {
      CHECK(lines[i]["input"] == cat("in/", i, ".png"));
      CHECK(lines[i]["status"] == (i == 4 ? "failed" : "ok"));
      if (i == 4) continue;
      const std::string file = slurp(here.path(cat("out/", i, ".png")));
      all += file;
      CHECK(lines[i]["bytes"] == file.size());
      CHECK(lines[i]["sha256"] == sha256({reinterpret_cast<const uint8_t*>(file.data()), file.size()}));
      CHECK(lines[i]["width"] == 8);
      CHECK(lines[i]["height"] == 6);
      CHECK(lines[i]["memory"].get<int64_t>() > 1'000'000);
      CHECK(lines[i]["seconds"].get<double>() >= lines[i]["network_seconds"].get<double>());
    }
    bytes.push_back(all);
  }
  for (const std::string& all : bytes) CHECK(all == bytes[0]);
  for (const char* wrong : {"0", "1:2", "1:2:3:4", "a", "1:0:1", "999"})
    CHECK(here.run({"enhance", "-i", "in", "-o", "out", "--overwrite", "-j", wrong}).code == 2);
}

TEST_CASE("a watched folder: what is there, what is moved in, and an orderly end") {
  const Workplace here;
  save_noise(here.path("in/first.png"));
  save_noise(here.path("later.png"), 5, 4);
  spill(here.path("lines.txt"), "");
  save_noise(here.path("again.png"), 6, 7);
  // A helper moves a picture in as soon as the first is done, and another onto it, then asks the program to
  // stop.
  const std::string script =
      "until [ -s lines.txt ]; do sleep 0.02; done; mv later.png in/later.png; "
      "until [ $(wc -l < lines.txt) -ge 2 ]; do sleep 0.02; done; mv again.png in/later.png; "
      "until [ $(wc -l < lines.txt) -ge 3 ]; do sleep 0.02; done; kill -TERM $tool; wait $tool; echo $?";
  const ChildResult result =
      here.run({"-c", cat(LUX_TOOL, " enhance --watch in -o out --json > lines.txt & tool=$!; ", script)}, {},
               "/bin/sh");
  INFO(result.err);
  CHECK(result.out == "0\n");
  CHECK(here.files("out") == Names{"first.png", "later.png"});
  CHECK(load_image(here.path("out/later.png")).width == 6);
  CHECK(here.run({"enhance", "--watch", "in", "-o", "in"}).code == 2);
  CHECK(here.run({"enhance", "--watch", "absent", "-o", "out"}).code == 3);
}

TEST_CASE("bad pictures of a watched folder are named as they come and counted at the end") {
  const Workplace here;
  for (const char* name : {"in/first.png", "later.png"}) spill(here.path(name), "no picture");
  save_noise(here.path("good.png"));
  spill(here.path("lines.txt"), "");
  const std::string script =
      "until [ -s lines.txt ]; do sleep 0.02; done; mv later.png good.png in; "
      "until [ $(wc -l < lines.txt) -ge 3 ]; do sleep 0.02; done; kill -TERM $tool; wait $tool; echo $?";
  const ChildResult result =
      here.run({"-c", cat(LUX_TOOL, " enhance --watch in -o out --json > lines.txt & tool=$!; ", script)}, {},
               "/bin/sh");
  CHECK(result.out == "1\n");
  CHECK(here.files("out") == Names{"good.png"});
  const std::string reason =
      ": is not a picture that can be read, expected JPEG, PNG, BMP or PNM (at byte 0)\n";
  CHECK(result.err == cat("luxgrad: error: in/first.png", reason, "luxgrad: error: in/later.png", reason,
                          "luxgrad: pictures that failed: 2\n"));
}

TEST_CASE("a watched folder that is full: a signal ends the work after the picture at hand") {
  const Workplace here;
  const int count = 40;
  for (int i = 0; i < count; ++i) save_noise(here.path(cat("in/", i, ".png")), 400, 300);
  spill(here.path("lines.txt"), "");
  const std::string script =
      "until [ -s lines.txt ]; do sleep 0.02; done; kill -TERM $tool; wait $tool; echo $?";
  const ChildResult result =
      here.run({"-c", cat(LUX_TOOL, " enhance --watch in -o out --json > lines.txt & tool=$!; ", script)}, {},
               "/bin/sh");
  INFO(result.err);
  CHECK(result.out == "0\n");
  CHECK(here.files("out").size() < count / 2);
  for (const std::string& name : here.files("out")) CHECK(load_image(here.path("out/" + name)).width == 400);
}

TEST_CASE("a bad picture that was named gives its own code, one of a folder that of many") {
  const Workplace here;
  spill(here.path("in/bad.png"), "no picture");
  CHECK(here.run({"enhance", "in/bad.png", "-o", "out.png"}).code == 3);
  CHECK(here.run({"enhance", "in", "-o", "out"}).code == 1);
  CHECK(here.run({"enhance", "in/*.png", "-o", "out"}).code == 1);
  save_noise(here.path("in/good.png"));
  CHECK(here.run({"enhance", "in", "-o", "out", "--shard", "1/2"}).code == 1);
}

TEST_CASE("EXIF goes on request, profiles stay") {
  const Workplace here;
  Image photo = noise(10, 8);
  photo.exif = {'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x0F, 1, 3, 0, 1, 0, 0, 0, 77, 0, 0, 0, 0, 0, 0, 0};
  photo.icc.assign(128, 3);
  save_image(here.path("in.png"), photo);
  REQUIRE(here.run({"enhance", "in.png", "-o", "kept.png"}).code == 0);
  REQUIRE(here.run({"enhance", "in.png", "-o", "bare.png", "--strip"}).code == 0);
  CHECK(load_image(here.path("kept.png")).exif == photo.exif);
  CHECK(load_image(here.path("kept.png")).icc == photo.icc);
  CHECK(load_image(here.path("bare.png")).exif.empty());
  CHECK(load_image(here.path("bare.png")).icc == photo.icc);
}

TEST_CASE("test-time augmentation is the mean over eight ways to lay a picture") {
  const Workplace here;
  save_image(here.path("in.png"), noise(9, 6, 3, 16));
  REQUIRE(here.run({"enhance", "in.png", "-o", "mean.png", "-x"}).code == 0);
  const Tensor dark = to_tensor(load_image(here.path("in.png")));
  std::vector<double> sum(static_cast<size_t>(dark.numel()));
  for (int way = 0; way < 8; ++way) {
    const Tensor laid = rotate90(way < 4 ? dark : flip_left_right(dark), way % 4);
    save_image(here.path("laid.png"), from_tensor(laid, 16));
    REQUIRE(here.run({"enhance", "laid.png", "-o", "bright.png", "--overwrite"}).code == 0);
    Tensor bright = rotate90(to_tensor(load_image(here.path("bright.png"))), -(way % 4));
    if (way >= 4) bright = flip_left_right(bright);
    const std::vector<double> values = bright.to_vector();
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += values[i] / 8;
  }
  const std::vector<double> mean = to_tensor(load_image(here.path("mean.png"))).to_vector();
  for (size_t i = 0; i < sum.size(); ++i) CHECK(std::abs(mean[i] - sum[i]) < 3.0 / 65535);
}

TEST_CASE("linear values become display values first") {
  const Workplace here;
  save_image(here.path("linear.png"), gentle(8, 6, 3, 16));
  save_image(here.path("bytes.png"), gentle(8, 6));
  REQUIRE(here.run({"enhance", "linear.png", "-o", "out.png", "--raw-linear", "-s", "0"}).code == 0);
  const std::vector<double> linear = to_tensor(load_image(here.path("linear.png"))).to_vector();
  const std::vector<double> shown = to_tensor(load_image(here.path("out.png"))).to_vector();
  for (size_t i = 0; i < linear.size(); ++i)
    CHECK(shown[i] == doctest::Approx(1.055 * std::pow(linear[i], 1 / 2.4) - 0.055).epsilon(1e-3));
  const ChildResult refused = here.run({"enhance", "bytes.png", "-o", "x.png", "--raw-linear"});
  CHECK(refused.code == 3);
  CHECK(contains(refused.err, "bytes.png: has 8 bits, too few for linear values"));
}

TEST_CASE("other formats go through ffmpeg, and without it one sentence says so") {
  const Workplace here;
  save_image(here.path("in.png"), gentle(24, 16));
  spill(here.path("fake.webp"), std::string("RIFF\x10\0\0\0WEBPVP8 ", 16));
  const ChildOptions alone{.environment = {{"PATH", "/nonexistent"}}};
  const ChildResult in = here.run({"enhance", "fake.webp", "-o", "x.png"}, alone);
  CHECK(in.code == 3);
  CHECK(contains(in.err, "fake.webp: needs the program ffmpeg, which is not installed"));
  const ChildResult out = here.run({"enhance", "in.png", "-o", "x.webp"}, alone);
  CHECK(out.code == 3);
  CHECK(contains(out.err, "x.webp: needs the program ffmpeg, which is not installed"));
  if (without_ffmpeg()) return;
  CHECK(here.run({"enhance", "fake.webp", "-o", "x.png"}).code == 3);
  for (const char* name : {"x.webp", "x.tif", "x.avif", "x.jxl"}) {
    const ChildResult to = here.run({"enhance", "in.png", "-o", name, "-s", "0", "-q", "100"});
    INFO(name, ": ", to.err);
    REQUIRE(to.code == 0);
    const ChildResult from = here.run({"enhance", name, "-o", "back.png", "-s", "0", "--overwrite"});
    INFO(from.err);
    REQUIRE(from.code == 0);
    const Image back = load_image(here.path("back.png")), before = load_image(here.path("in.png"));
    CHECK(back.width == 24);
    CHECK(back.height == 16);
    CHECK(mean_difference(back, before) < (std::string(name) == "x.avif" ? 0.02 : 0.001));
  }
  // EXIF and the profile through WebP, with and without alpha; turned ones come out upright.
  for (const int channels : {3, 4}) {
    Image photo = gentle(11, 8, channels, 8);
    for (uint8_t& sample : photo.samples) sample |= 1;  // colours that nobody sees are not kept
    photo.exif = {'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 77};
    for (int i = 0; i < 131; ++i) photo.icc.push_back(static_cast<uint8_t>(i));
    save_image(here.path("noted.webp"), photo, {.format = {}, .quality = 100});
    const Image kept = load_image(here.path("noted.webp"));
    CHECK(kept.exif == photo.exif);
    CHECK(kept.icc == photo.icc);
    CHECK(mean_difference(kept, photo) == 0);
    CHECK(output_of(here, "ffprobe",
                    {"-show_entries", "stream=width,height", "-of", "csv=p=0", "noted.webp"}) == "11,8\n");
    std::string lying = slurp(here.path("noted.webp"));
    const size_t tag = lying.rfind("II*");
    lying[tag + 18] = 6;
    spill(here.path("lying.webp"), lying);
    photo.exif[18] = 6;
    CHECK(mean_difference(load_image(here.path("lying.webp")), upright(photo)) == 0);
    CHECK(load_image(here.path("lying.webp")).exif == kept.exif);
    REQUIRE(
        here.run({"enhance", "lying.webp", "-o", "up.webp", "-s", "0", "-q", "100", "--overwrite"}).code ==
        0);
    CHECK(load_image(here.path("up.webp")).height == 11);
    CHECK(load_image(here.path("up.webp")).exif == kept.exif);
  }
  // 16 bits and alpha through TIFF.
  const Image deep = gentle(6, 5, 4, 16);
  save_image(here.path("deep.png"), deep);
  REQUIRE(here.run({"enhance", "deep.png", "-o", "deep.tif", "-s", "0"}).code == 0);
  REQUIRE(here.run({"enhance", "deep.tif", "-o", "deep2.png", "-s", "0"}).code == 0);
  CHECK(load_image(here.path("deep2.png")).samples == deep.samples);
  // A folder of everything.
  fs::rename(here.path("x.webp"), here.path("in/a.webp"));
  fs::rename(here.path("x.tif"), here.path("in/b.tif"));
  save_noise(here.path("in/c.png"));
  CHECK(here.run({"enhance", "-i", "in", "-o", "all", "--skip-existing"}).code == 0);
  CHECK(here.files("all") == Names{"a.webp", "b.tif", "c.png"});
}

TEST_CASE("what a format has no place for is said, once the picture is written") {
  const Workplace here;
  Image photo = gentle(24, 16, 4);
  photo.icc = whole_profile();
  save_image(here.path("in.png"), photo);
  const std::string profile = ": is written without the colour profile of in.png",
                    alpha = ": is written without the transparency of in.png";
  struct Kind {
    std::string name;
    bool profile, alpha;  // kept
  };
  std::vector<Kind> kinds = {
      {"a.png", true, true}, {"a.jpg", true, false}, {"a.bmp", false, true}, {"a.ppm", false, false}};
  if (!without_ffmpeg())
    kinds.insert(
        kinds.end(),
        {{"a.webp", true, true}, {"a.tif", false, true}, {"a.avif", false, false}, {"a.jxl", false, true}});
  for (const Kind& kind : kinds) {
    const ChildResult result = here.run({"enhance", "in.png", "-o", kind.name});
    INFO(kind.name, ": ", result.err);
    REQUIRE(result.code == 0);
    CHECK(contains(result.err, kind.name + profile) == !kind.profile);
    CHECK(contains(result.err, kind.name + alpha) == !kind.alpha);
    CHECK(lines_of(result.err) == (kind.profile ? 0 : 1) + (kind.alpha ? 0 : 1));
    const Image written = load_image(here.path(kind.name));
    CHECK(written.has_alpha() == kind.alpha);
    if (kind.profile) CHECK(written.icc == photo.icc);
    const ChildResult again = here.run({"enhance", "in.png", "-o", "absent/" + kind.name});
    CHECK(again.code != 0);
    CHECK_FALSE(contains(again.err, "is written"));
  }
  CHECK(contains(here.run({"enhance", "-i", "in.png", "-o", "-", "-f", "jpg"}).err, alpha));
  const ChildResult alone =
      here.run({"enhance", "in.png", "-o", "x.jxl"}, {.environment = {{"PATH", "/nonexistent"}}});
  CHECK(alone.code == 3);
  CHECK_FALSE(contains(alone.err, "is written"));
}

TEST_CASE(
    "a gray photo keeps a profile for colours, which the result has, and loses one for gray by a note") {
  const Workplace here;
  Image photo = gentle(24, 16, 1, 16);
  for (const bool colors : {true, false}) {
    photo.icc = whole_profile();
    if (!colors) std::memcpy(photo.icc.data() + 16, "GRAY", 4);
    save_image(here.path("in.png"), photo);
    for (const std::string name : {"out.jpg", "out.png"}) {
      for (const char* more : {"--overwrite", "-x", "--compare", "--compare=page.html"}) {
        CAPTURE(more);
        const ChildResult result = here.run({"enhance", "in.png", "-o", name, "--overwrite", more});
        REQUIRE(result.code == 0);
        CHECK(load_image(here.path(name)).icc == (colors ? photo.icc : std::vector<uint8_t>{}));
        CHECK(result.err == (colors ? ""
                                    : name + ": is written without the colour profile of in.png, which is "
                                             "for gray; the result has colours\n"));
      }
    }
    const ChildResult bmp = here.run({"enhance", "in.png", "-o", "out.bmp", "--overwrite"});
    CHECK(lines_of(bmp.err) == 1);
    // The profile is that of the values as they were.
    CHECK(here.run({"enhance", "in.png", "-o", "raw.png", "--raw-linear", "--overwrite"}).err.empty());
  }
}

TEST_CASE("before and after are compared in the colours of one profile") {
  const Workplace here;
  Image photo = gentle(24, 16);
  photo.icc = whole_profile();
  save_image(here.path("in.png"), photo);
  REQUIRE(here.run({"enhance", "in.png", "-o", "both.png", "--compare"}).code == 0);
  CHECK(load_image(here.path("both.png")).width > 48);
  CHECK(load_image(here.path("both.png")).icc == photo.icc);
  REQUIRE(here.run({"enhance", "in.png", "-o", "out.png", "--compare", "page.html"}).code == 0);
  const std::string page = slurp(here.path("page.html")), mark = "data:image/jpeg;base64,";
  const size_t after = page.find(mark), before = page.rfind(mark);
  REQUIRE(before > after);
  const size_t notes = 4 * (20 + 18 + photo.icc.size()) / 3;  // a JPEG's start, and the profile in a segment
  CHECK(page.substr(before, mark.size() + notes) == page.substr(after, mark.size() + notes));
}

TEST_CASE("an animation is refused by name, and what ffmpeg says comes without addresses") {
  const Workplace here;
  const std::string facts("\x12\0\0\0\0\0\0\0\0\0", 10);
  spill(here.path("moves.webp"), std::string("RIFF\x16\0\0\0WEBPVP8X\x0A\0\0\0", 20) + facts);
  const ChildResult moves = here.run({"enhance", "moves.webp", "-o", "x.png"});
  CHECK(moves.code == 3);
  CHECK(moves.err == "luxgrad: error: moves.webp: is an animation, expected one picture\n");
  if (without_ffmpeg()) return;
  spill(here.path("fake.webp"), std::string("RIFF\x10\0\0\0WEBPVP8 \x08\0\0\0nonsense", 28));
  const ChildResult fake = here.run({"enhance", "fake.webp", "-o", "x.png"});
  CHECK(fake.code == 3);
  CHECK(contains(fake.err, "fake.webp: cannot be read as a picture: "));
  CHECK_FALSE(contains(fake.err, "0x"));
}

TEST_CASE("a full disk refuses a picture of every format, and the old one stays") {
  const Workplace here;
  if (without_ffmpeg() || without_mounts(here)) return;
  save_image(here.path("in.png"), gentle(24, 16));
  save_noise(here.path("large.png"), 400, 300);
  for (const std::string format : {"webp", "tif", "avif", "jxl", "png"}) {
    const std::string old = "old." + format;
    save_image(here.path(old), gentle(24, 16));
    for (const auto& [input, kilobytes] : {std::pair{"in.png", 0}, {"large.png", 8}}) {
      CAPTURE(kilobytes);
      const ChildResult result =
          run_on_full_disk(here, cat("enhance -s 0 -q 100 -i ", input), "a." + format, kilobytes, old);
      CHECK(result.code == 6);
      CHECK(contains(result.err, cat("disk/a.", format, ": cannot be written: it needs ")));
    }
  }
}

TEST_CASE("what the system has no more of for ffmpeg is no fault of a picture") {
  if (without_ffmpeg()) return;
  const Workplace here;
  save_noise(here.path("in.png"), 400, 300);
  save_noise(here.path("in.webp"));
  const auto limited = [&](const std::string& limit, const std::string& files) {
    return here.run({"-c", cat("ulimit ", limit, "; exec ", LUX_TOOL, " enhance -s 0 ", files)}, {},
                    "/bin/sh");
  };
  for (const auto& [files, named] :
       {std::pair{"-i in.webp -o out.png", "in.webp"}, {"-i in.png -o out.webp", "out.webp"}}) {
    if (kInstrumented) {
      MESSAGE("skipped: sanitizers and gcov need descriptors of their own");
      break;
    }
    const ChildResult result = limited("-n 6", files);
    CHECK(result.code == 6);
    CHECK(contains(result.err, cat(named, ": ffmpeg cannot be started: Too many open files")));
  }
  for (const char* format : {"webp", "tif", "avif", "jxl"}) {
    const ChildResult result = limited("-f 2", cat("-i in.png -q 100 -o out.", format));
    CHECK(result.code == 6);
    CHECK(
        contains(result.err, cat("out.", format, ": cannot be encoded: signal 25 ended ffmpeg: File size ")));
  }
}

// The child that encodes made its file anew, after whoever was stopped had removed it.
TEST_CASE("a signal while ffmpeg encodes leaves nothing") {
  if (without_ffmpeg()) return;
  const Workplace here;
  save_image(here.path("in.png"), gentle(24, 16));
  fs::create_directory(here.path("slow"));
  fs::create_directory(here.path("out"));
  spill(here.path("slow/ffmpeg"),
        cat("#!/bin/sh\necho >started\nsleep 0.3\nexec ", program_path("ffmpeg"), " \"$@\"\n"));
  fs::permissions(here.path("slow/ffmpeg"), fs::perms::all);
  ChildOptions options{.environment = {{"PATH", here.path("slow") + ":" + std::getenv("PATH")}}};
  options.interruption = {.file = here.path("started"), .lines = 1, .signals = {SIGTERM}};
  for (const char* format : {"webp", "tif", "avif", "jxl"}) {
    CAPTURE(format);
    spill(here.path("started"), "");
    CHECK(here.run({"enhance", "in.png", "-o", cat("out/a.", format)}, options).code == 128 + SIGTERM);
    usleep(1'000'000);  // the child is at work still
    CHECK(here.files("out").empty());
  }
}

TEST_CASE("a page with before and after needs nothing else") {
  const Workplace here;
  save_noise(here.path("a<b>.png"));
  REQUIRE(here.run({"enhance", "-i", "a<b>.png", "-o", "out.png", "--compare", "page.html"}).code == 0);
  CHECK(load_image(here.path("out.png")).width == 12);
  const std::string page = slurp(here.path("page.html"));
  CHECK(contains(page, "a&lt;b>.png"));
  CHECK(contains(page, "type=\"range\""));
  size_t pictures = 0;
  const std::string mark = "data:image/jpeg;base64,/9j/";  // how every JPEG begins
  for (size_t at = page.find(mark); at != std::string::npos; at = page.find(mark, at + 1)) ++pictures;
  CHECK(pictures == 2);
  CHECK_FALSE(contains(page, "http"));
  CHECK(here.run({"enhance", "-i", "a<b>.png", "-o", "x.png", "--compare", "page.txt"}).code == 2);
}

TEST_CASE("curve parameters as arrays and pictures") {
  const Workplace here;
  save_noise(here.path("dark.png"), 10, 7);
  for (const auto& [model, maps] : {std::pair{"zero_dce", 8}, {"zero_dce_plus", 1}}) {
    REQUIRE(
        here.run({"enhance", "dark.png", "-o", "out.png", "--overwrite", "-n", model, "--save-curves", model})
            .code == 0);
    CHECK(here.files(model).size() == static_cast<size_t>(maps) + 1);
    const Tensor curves = load_npz(here.path(cat(model, "/out.png_curves.npz"))).at("curves");
    CHECK(curves.shape() == Shape({1, 7, 10, 3 * maps}));
    const Image map = load_image(here.path(cat(model, "/out.png_curve_1.png")));
    CHECK(map.width == 10);
    CHECK(std::abs(to_tensor(map).to_vector()[4] -
                   (0.5 - 0.5 * curves.to_vector()[static_cast<size_t>(3 * maps + 1)])) < 1.0 / 255);
  }
}

TEST_CASE("curves that come row by row are those of the picture as a whole, file for file") {
  const NoGrad no_grad;
  const Workplace here;
  save_noise(here.path("dark.png"), 180, 140);
  for (const std::string scale : {"", "4"}) {
    const auto model = make_model(scale.empty() ? "zero_dce" : "zero_dce_plus",
                                  scale.empty() ? ModelConfig{} : ModelConfig{{"scale_factor", scale}});
    model->init_(Generator{7});
    save_safetensors(here.path("curves.safetensors"), {model->state_dict(), to_metadata(*model)});
    REQUIRE(here.run({"enhance", "dark.png", "-o", "out.png", "--overwrite", "-m", "curves.safetensors", "-x",
                      "-t", scale.empty() ? "64" : "0", "--save-curves", "curves"})
                .code == 0);
    const Tensor curves =
        dynamic_cast<const CurveModel&>(*model).curves(to_tensor(load_image(here.path("dark.png"))));
    CHECK(read_file(here.path("curves/out.png_curves.npz")).value() == serialize_npz({{"curves", curves}}));
    const Tensor map = empty({1, 140, 180, 3});
    for (int64_t i = 0; i < map.numel(); ++i) {
      const int64_t at = i / 3 * curves.size(3) + i % 3;
      map.data<float>()[i] = 0.5F - 0.5F * curves.data<float>()[at];
    }
    CHECK(read_file(here.path("curves/out.png_curve_1.png")).value() ==
          encode_image(from_tensor(map), ImageFormat::png));
  }
}

TEST_CASE("a look as a table: ffmpeg makes of the photo what the network made of it") {
  const Workplace here;
  save_image(here.path("dark.png"), gentle(60, 40));
  const ChildResult result = here.run({"lut", "-i", "dark.png", "-o", "look.cube"});
  INFO(result.err);
  REQUIRE(result.code == 0);
  CHECK(contains(slurp(here.path("look.cube")), "LUT_3D_SIZE 65\n"));
  CHECK(here.run({"lut", "-i", "dark.png", "-o", "look.cube"}).code == 2);
  if (without_ffmpeg()) return;
  REQUIRE(here.run({"enhance", "dark.png", "-o", "bright.png"}).code == 0);
  output_of(here, "ffmpeg", {"-i", "dark.png", "-vf", "lut3d=look.cube", "table.png"});
  CHECK(mean_difference(load_image(here.path("table.png")), load_image(here.path("bright.png"))) < 0.02);
}

TEST_CASE("what is said of a table is what ffmpeg makes of a real photo, and much is warned of") {
  if (without_ffmpeg()) return;
  const Workplace here;
  for (const auto& [name, much] : {std::pair{"110", false}, {"51", true}}) {
    const std::string photo =
        fs::weakly_canonical(cat(LUX_SOURCE_DIR, "/../shared/data/lol/eval/low/", name, ".png"));
    if (!fs::exists(photo)) {
      MESSAGE("skipped: no ../shared/data/lol/eval/low/", name, ".png");
      continue;
    }
    const std::string weights = LUX_SOURCE_DIR "/models/weights/zero_dce.safetensors";
    const ChildResult result =
        here.run({"lut", "-i", photo, "-o", "look.cube", "-m", weights, "--overwrite"});
    INFO(result.out, result.err);
    REQUIRE(result.code == 0);
    const std::string before = "mean difference on this photo ";
    REQUIRE(contains(result.out, before));
    const double said = std::stod(result.out.substr(result.out.find(before) + before.size()));
    CHECK(contains(result.err, cat("warning: look.cube: misses ")) == much);
    CHECK(contains(result.err, "--size 129 may come nearer") == much);
    CHECK((said > 2) == much);
    REQUIRE(here.run({"enhance", "-i", photo, "-o", "bright.png", "-m", weights, "--overwrite"}).code == 0);
    output_of(here, "ffmpeg", {"-y", "-i", photo, "-vf", "lut3d=look.cube", "table.png"});
    const double real =
        100 * mean_difference(load_image(here.path("table.png")), load_image(here.path("bright.png")));
    INFO("said ", said, ", found ", real);
    CHECK(std::abs(said - real) < 0.05);
  }
}

TEST_CASE("command lines are completed, and manuals name every option") {
  const Workplace here;
  const ChildResult bash = here.run({"completion", "bash"});
  REQUIRE(bash.code == 0);
  spill(here.path("c.sh"), bash.out);
  const auto completed = [&](const std::string& words, int at) {
    return here
        .run({"-c", cat("source ./c.sh; COMP_WORDS=(", words, "); COMP_CWORD=", at,
                        "; _luxgrad; echo ${COMPREPLY[*]}")},
             {}, "/bin/bash")
        .out;
  };
  CHECK(completed("luxgrad enh", 1) == "enhance\n");
  CHECK(completed("luxgrad enhance --skip", 2) == "--skip-existing\n");
  CHECK(completed("luxgrad video -n mirnet_v", 3) == "mirnet_v1 mirnet_v2\n");
  CHECK(completed("luxgrad train zero", 2) == "zero_dce zero_dce_plus\n");
  CHECK(completed("luxgrad bench --precision ''", 3) == "exact fp32 tf32 bf16\n");
  CHECK(completed("luxgrad man v", 2) == "video verify\n");
  CHECK(completed("luxgrad train unet --data zero", 4) == "\n");  // files
  CHECK(completed("luxgrad enhance dark", 2) == "\n");            // files
  const std::string zsh = here.run({"completion", "zsh"}).out, fish = here.run({"completion", "fish"}).out;
  CHECK(contains(zsh, "'--skip-existing["));
  CHECK(contains(zsh, "'--with[DEVICE[/PRECISION[/plain\\]\\]: "));  // what ends a description there
  CHECK(contains(fish, " -l skip-existing "));
  CHECK(contains(fish, "'DEVICE[/PRECISION[/plain]]: "));
  CHECK(contains(zsh, "]:KIND:{ compadd -- none flips all }'"));
  CHECK(contains(zsh, "'*:argument:{ compadd -- reference_guided "));
  CHECK(contains(zsh, "unet; _files }'"));  // models and files of info
  CHECK(contains(fish, " -l turns -x -a 'none flips all' -d "));
  CHECK(contains(fish, " -f -a 'bash zsh fish'\n"));
  std::istringstream fish_lines(fish);
  for (std::string line; std::getline(fish_lines, line);)
    CHECK((line.starts_with("complete -c luxgrad ") || line.starts_with("# ")));
  CHECK(here.run({"completion", "tcsh"}).code == 2);

  CHECK(contains(here.run({"man"}).out, ".TH luxgrad 1"));
  for (const char* command : {"enhance", "video", "train", "man"}) {
    const std::string page = here.run({"man", command}).out, help = here.run({command, "--help"}).out;
    CHECK(contains(page, cat(".TH luxgrad\\-", command, " 1")));
    std::istringstream lines(help);
    for (std::string line; std::getline(lines, line);) {
      const size_t begin = line.find("--");
      if (begin == std::string::npos || begin > 6 || line[0] != ' ') continue;
      std::string name = line.substr(begin, line.find_first_of(" ,", begin) - begin), escaped;
      for (const char c : name) escaped += c == '-' ? "\\-" : std::string(1, c);
      INFO(name);
      CHECK(contains(page, escaped));
    }
  }
  CHECK(here.run({"man", "enhanc"}).code == 2);
}
