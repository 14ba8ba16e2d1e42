// luxgrad video: films in, films out. The real binary runs as a child; its films are made by ffmpeg.
#include "films.h"
#include "luxgrad/data/video.h"
#include "luxgrad/data/y4m.h"
#include "luxgrad/kernels/cpu/isa.h"
#include "luxgrad/tensor/cuda.h"

using namespace lux;

namespace {

/// A Y4M stream of dark noise; with `still`, all frames are one.
std::string y4m_noise(int64_t width, int64_t height, int frames, bool still = false) {
  VideoFormat format;
  format.width = width;
  format.height = height;
  format.rate = {30000, 1001};
  std::string stream = y4m_header(format);
  for (int i = 0; i < frames; ++i) {
    Generator generator{still ? 1 : static_cast<uint64_t>(i + 1)};
    stream += "FRAME\n";
    for (int64_t k = 0; k < format.frame_bytes(); ++k) {
      const bool luma = k < width * height;
      stream += static_cast<char>(luma ? 50 + generator.below(40) : 120 + generator.below(16));
    }
  }
  return stream;
}

const std::map<std::string, std::string> kNoPrograms = {{"PATH", "/nonexistent"}};

}  // namespace

TEST_CASE("Y4M goes through pipes without any other program, and keeps form and size") {
  const Workplace here;
  for (const auto& [width, height] : {std::pair{16, 8}, {7, 5}, {1, 1}}) {
    spill(here.path("in.y4m"), y4m_noise(width, height, 4));
    const ChildOptions piped{.input = here.path("in.y4m"), .environment = kNoPrograms};
    const ChildResult same = here.run({"video", "-i", "-", "-o", "-", "-s", "0"}, piped);
    INFO(same.err);
    REQUIRE(same.code == 0);
    const std::string before = slurp(here.path("in.y4m"));
    REQUIRE(same.out.size() == before.size());
    for (size_t i = 0; i < before.size(); ++i)
      CHECK(std::abs(static_cast<uint8_t>(same.out[i]) - static_cast<uint8_t>(before[i])) <= 1);
    const ChildResult bright = here.run({"video", "-i", "-", "-o", "-"}, piped);
    CHECK(bright.out.size() == before.size());
    CHECK(bright.out != same.out);
    CHECK(here.run({"video", "in.y4m", "-o", "out.y4m", "--overwrite"}, {.environment = kNoPrograms}).code ==
          0);
    CHECK(slurp(here.path("out.y4m")) == bright.out);
    for (const char* threads : {"1", "5"})
      CHECK(here.run({"video", "-i", "-", "-o", "-", "-j", threads}, piped).out == bright.out);
  }
  CHECK(here.run({"video", "in.y4m", "-o", "part.y4m", "--from", "0.03", "--to", "0.1"}).code == 0);
  CHECK(lines_of(slurp(here.path("part.y4m"))) == 1 + 2);  // 1x1: frames at 0.033 and 0.067
}

TEST_CASE("a film that the device has too little memory for goes on there, with less of a frame at a time") {
  if (!cuda::absence().empty() || cuda::is_real()) {
    MESSAGE("skipped: only a device that the CPU plays can be given so little");
    return;
  }
  const Workplace here;
  spill(here.path("in.y4m"), y4m_noise(64, 48, 3));
  const auto enhanced = [&](const char* output, const char* memory) {
    const ChildResult result = here.run({"video", "in.y4m", "-o", output, "-g", "cuda:0"},
                                        {.environment = {{"LUX_EMULATED_MEMORY", memory}}});
    INFO(result.err);
    CHECK(result.code == 0);
    return result.err;
  };
  const std::string said = "in.y4m: goes on with less of a frame at a time, for cuda: the device has no ";
  CHECK_FALSE(contains(enhanced("whole.y4m", "1000000000"), "goes on"));
  const std::string err = enhanced("less.y4m", "1500000");
  CHECK(contains(err, said));
  CHECK(err.find("goes on") == err.rfind("goes on"));
  CHECK(slurp(here.path("less.y4m")) == slurp(here.path("whole.y4m")));
}

TEST_CASE("a film that the device has no memory for goes on on the CPU") {
  if (!cuda::absence().empty() || cuda::is_real()) {
    MESSAGE("skipped: only a device that the CPU plays can be given so little");
    return;
  }
  const Workplace here;
  spill(here.path("in.y4m"), y4m_noise(64, 48, 3));
  const ChildOptions little{.environment = {{"LUX_EMULATED_MEMORY", "700000"}}};
  for (const bool published : {false, true}) {
    const std::string cpu = cat("cpu", published, ".y4m"), moved = cat("moved", published, ".y4m");
    std::vector<std::string> command = {"video", "in.y4m"};
    if (published) command.insert(command.end(), {"--compat", "256"});
    const auto with = [&](std::vector<std::string> more) {
      more.insert(more.begin(), command.begin(), command.end());
      return here.run(more, little);
    };
    REQUIRE(with({"-o", cpu}).code == 0);
    const ChildResult result = with({"-o", moved, "-g", "cuda:0"});
    INFO(result.err);
    CHECK(result.code == 0);
    const std::string said = "in.y4m: goes on on the CPU, for cuda: the device has no ";
    CHECK(contains(result.err, said));
    CHECK(result.err.find(said) == result.err.rfind(said));
    CHECK(slurp(here.path(moved)) == slurp(here.path(cpu)));
  }
}

TEST_CASE("a film says once why a device runs its network launch by launch") {
  if (!cuda::absence().empty() || cuda::is_real()) {
    MESSAGE("skipped: only a device that the CPU plays can refuse all graphs");
    return;
  }
  const Workplace here;
  spill(here.path("in.y4m"), y4m_noise(16, 8, 4));
  const auto enhanced = [&](const char* output, const char* refuses) {
    return here.run({"video", "in.y4m", "-o", output, "-g", "cuda:0"},
                    {.environment = {{"LUX_EMULATED_NO_GRAPHS", refuses}}});
  };
  const std::string said =
      "cuda:0: runs launch by launch, not as a CUDA graph, because the work was not recorded: ";
  const ChildResult by_launches = enhanced("launches.y4m", "1"), as_graph = enhanced("graph.y4m", "");
  INFO(by_launches.err);
  CHECK(by_launches.code == 0);
  CHECK(contains(by_launches.err, said));
  CHECK(by_launches.err.find(said) == by_launches.err.rfind(said));
  CHECK(as_graph.code == 0);
  CHECK_FALSE(contains(as_graph.err, "launch by launch"));
  CHECK(slurp(here.path("launches.y4m")) == slurp(here.path("graph.y4m")));
}

TEST_CASE("a film with a frame that is not finite in bf16 goes on in f32") {
  std::vector<std::string> devices;
  if (cpu::isa() != nullptr && cpu::isa()->pairs != nullptr) devices.emplace_back("cpu");
  if (cuda::absence().empty()) devices.emplace_back("cuda:0");
  if (devices.empty()) MESSAGE("skipped: this processor has no products of bf16");
  const Workplace here;
  save_near_the_edge(here.path("edge.safetensors"));
  constexpr int64_t kWidth = 16, kHeight = 8, kFrame = kWidth * kHeight * 3 / 2, kHead = sizeof("FRAME");
  std::string film = y4m_noise(kWidth, kHeight, 4);
  const size_t white = film.size() - 2 * (kHead + kFrame) + kHead;  // the third
  std::fill_n(film.begin() + static_cast<int64_t>(white), kWidth * kHeight, static_cast<char>(235));
  std::fill_n(film.begin() + static_cast<int64_t>(white) + kWidth * kHeight, kWidth * kHeight / 2,
              static_cast<char>(128));
  spill(here.path("in.y4m"), film);
  for (const std::string& device : devices) {
    for (const std::string smoothing : {"0", "0.8"}) {
      const auto enhanced = [&](const char* precision) {
        return here.run({"video", "in.y4m", "-m", "edge.safetensors", "-g", device, "--precision", precision,
                         "--smoothing", smoothing, "-o", cat(precision, ".y4m"), "--overwrite"});
      };
      const ChildResult result = enhanced("bf16");
      INFO(device, result.err);
      CHECK(result.code == 0);
      const std::string said =
          "in.y4m: goes on in exact f32, for the network's result is not finite in bf16\n";
      CHECK(contains(result.err, said));
      CHECK(result.err.find(said) == result.err.rfind(said));
      CHECK(enhanced("exact").code == 0);
      const std::string coarse = slurp(here.path("bf16.y4m")), exact = slurp(here.path("exact.y4m"));
      REQUIRE(coarse.size() == film.size());
      REQUIRE(exact.size() == film.size());
      for (size_t i = 0; i < film.size(); ++i)
        CHECK(std::abs(static_cast<uint8_t>(coarse[i]) - static_cast<uint8_t>(exact[i])) <= 3);
      if (smoothing == "0") CHECK(coarse.substr(white) == exact.substr(white));
    }
  }
}

TEST_CASE("without ffmpeg one sentence says what is missing") {
  const Workplace here;
  spill(here.path("film.mp4"), "whatever");
  spill(here.path("in.y4m"), y4m_noise(8, 8, 2));
  const ChildResult in = here.run({"video", "film.mp4", "-o", "out.y4m"}, {.environment = kNoPrograms});
  CHECK(in.code == 3);
  CHECK(in.err ==
        "luxgrad: error: film.mp4: needs the program ffprobe, which is not installed (Debian: apt-get "
        "install ffmpeg)\n");
  const ChildResult out = here.run({"video", "in.y4m", "-o", "out.mp4"}, {.environment = kNoPrograms});
  CHECK(out.code == 3);
  CHECK(out.err ==
        "luxgrad: error: out.mp4: needs the program ffmpeg, which is not installed (Debian: apt-get "
        "install ffmpeg)\n");
  CHECK(here.files(".").size() == 4);  // nothing half written: two inputs, two models
}

TEST_CASE("what is no film, or names other files, is refused in a sentence") {
  const Workplace here;
  spill(here.path("empty.mp4"), "");
  spill(here.path("text.mp4"), "this is no film");
  spill(here.path("cut.y4m"), y4m_noise(8, 8, 2).substr(0, 100));
  fs::create_directory(here.path("x.mp4"));
  std::vector<std::string> inputs = {
      "x.mp4",   "absent.mp4", "http://127.0.0.1:9/a.mp4", "concat:a.mp4|b.mp4", "file:///etc/passwd",
      "cut.y4m", "empty.mp4"};
  if (!without_ffmpeg()) {
    // Lists of what would be read if it were named itself.
    make_film(here, "real.ts", "25", "0.2", {"-an"});
    CHECK(here.run({"video", "real.ts", "-o", "real.y4m"}).code == 0);
    const std::string path = here.path("real.ts");
    spill(here.path("list.m3u8"), "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nreal.ts\n#EXT-X-ENDLIST\n");
    spill(here.path("list.mp4"),
          "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n" + path + "\n#EXT-X-ENDLIST\n");
    spill(here.path("concat.mp4"), "ffconcat version 1.0\nfile real.ts\n");
    inputs.insert(inputs.end(), {"text.mp4", "list.m3u8", "list.mp4", "concat.mp4"});
  }
  for (const std::string& input : inputs) {
    const ChildResult result = here.run({"video", "-i", input, "-o", "out.y4m"});
    INFO(input, ": ", result.err);
    CHECK(result.code == 3);
    CHECK(result.out.empty());
    CHECK(contains(result.err, input == "cut.y4m" ? "cut.y4m: ends inside a frame" : input));
    CHECK(lines_of(result.err) == 1);
    CHECK_FALSE(contains(result.err, "root:"));
    CHECK_FALSE(fs::exists(here.path("out.y4m")));
  }
}

TEST_CASE("films are not replaced silently, inputs never; a wrong command line is usage") {
  const Workplace here;
  spill(here.path("in.y4m"), y4m_noise(8, 8, 1));
  spill(here.path("out.y4m"), "precious");
  const auto code = [&](const std::vector<std::string>& words) {
    std::vector<std::string> command = {"video", "-i", "in.y4m"};
    command.insert(command.end(), words.begin(), words.end());
    return here.run(command).code;
  };
  CHECK(code({"-o", "out.y4m"}) == 2);
  CHECK(slurp(here.path("out.y4m")) == "precious");
  CHECK(code({"-o", "in.y4m", "--overwrite"}) == 2);
  CHECK(code({"-o", "out.txt"}) == 2);
  CHECK(code({}) == 2);
  CHECK(code({"-o", "a.y4m", "--from", "1:2:3:4"}) == 2);
  CHECK(code({"-o", "a.y4m", "--from", "2", "--to", "0:01"}) == 2);
  CHECK(code({"-o", "a.mp4", "--codec", "-y"}) == 2);
  CHECK(code({"-o", "a.y4m", "--smoothing", "1"}) == 2);
  CHECK(code({"-o", "out.y4m", "--overwrite"}) == 0);
}

// video2x#1365, Real-ESRGAN PR#308, Real-ESRGAN-ncnn-vulkan#10: frames and sound that drift apart.
TEST_CASE("every rate keeps its length to under one frame, and every frame its time") {
  if (without_ffmpeg()) return;
  const Workplace here;
  struct Kind {
    const char* rate;
    const char* file;
    std::vector<std::string> more;
    std::string filter;
  };
  for (const Kind& kind :
       {Kind{"30000/1001", "a.mp4", {"-c:a", "aac"}, kDark},
        Kind{"24000/1001", "b.mkv", {"-c:a", "libvorbis"}, kDark}, Kind{"25", "c.mp4", {"-an"}, kDark},
        Kind{"60", "d.mov", {"-c:a", "pcm_s16le"}, kDark},
        Kind{"30",
             "e.mp4",
             {"-c:a", "aac", "-fps_mode", "vfr"},
             cat("select='not(mod(n\\,3))+gt(n\\,20)',", kDark)},  // ten a second, then thirty
        Kind{"30", "f.mkv", {"-c:a", "aac", "-fps_mode", "vfr"}, cat("setpts=PTS*(1+N/100),", kDark)}}) {
    make_film(here, kind.file, kind.rate, "1.5", kind.more, kind.filter);
    const std::string out = cat("out_", kind.file);
    const ChildResult result = here.run({"video", "-i", kind.file, "-o", out, "--preset", "ultrafast"});
    INFO(std::string(kind.file), ": ", result.err);
    REQUIRE(result.code == 0);
    const std::vector<double> before = frame_times(here, kind.file), after = frame_times(here, out);
    REQUIRE(before.size() > 20);
    REQUIRE(after.size() == before.size());
    for (size_t i = 0; i < before.size(); ++i) CHECK(std::abs(after[i] - before[i]) < 0.0011);  // mkv has ms
    CHECK(std::abs(picture_seconds(here, out) - picture_seconds(here, kind.file)) < 1.0 / 60);
    if (kind.more.front() != "-an") CHECK(packets_hash(here, out, "a") == packets_hash(here, kind.file, "a"));
    const auto facts = facts_of(here, out)["streams"][0];
    CHECK(facts["width"] == 48);
    CHECK(facts["height"] == 32);
    if (std::string(kind.rate).find('/') != std::string::npos) CHECK(facts["r_frame_rate"] == kind.rate);
  }
}

TEST_CASE("a real drive at night keeps its length and its sound") {
  if (without_ffmpeg()) return;
  const std::string film =
      fs::weakly_canonical(LUX_SOURCE_DIR "/../shared/data/video/night_drive_640x360.mp4");
  if (!fs::exists(film)) {
    MESSAGE("skipped: no ../shared/data/video/night_drive_640x360.mp4");
    return;
  }
  const Workplace here;
  output_of(here, "ffmpeg", {"-i", film, "-t", "0.6", "-c", "copy", "part.mp4"});
  REQUIRE(here.run({"video", "part.mp4", "-o", "out.mp4", "--preset", "ultrafast"}).code == 0);
  // Its packets hold frames before its start, too, which nobody is shown.
  CHECK(std::abs(static_cast<double>(frame_times(here, "out.mp4").size()) - 0.6 * 30000 / 1001) <= 1);
  const double frame = 1001.0 / 30000;
  CHECK(std::abs(picture_seconds(here, "out.mp4") - picture_seconds(here, "part.mp4")) < frame);
  CHECK(packets_hash(here, "out.mp4", "a") == packets_hash(here, "part.mp4", "a"));
}

TEST_CASE("two sounds, subtitles, chapters and titles come along") {
  if (without_ffmpeg()) return;
  const Workplace here;
  spill(here.path("words.srt"), "1\n00:00:00,200 --> 00:00:00,800\nIt is dark.\n");
  spill(here.path("facts.txt"),
        ";FFMETADATA1\ntitle=Night drive\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=500\ntitle=first\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=500\nEND=1000\ntitle=second\n");
  const auto make = [&](const std::string& name, const std::string& subtitles) {
    output_of(here, "ffmpeg",
              {"-f",
               "lavfi",
               "-i",
               "testsrc2=s=48x32:r=30000/1001:d=1",
               "-f",
               "lavfi",
               "-i",
               "sine=d=1",
               "-f",
               "lavfi",
               "-i",
               "sine=f=200:d=1",
               "-i",
               "words.srt",
               "-i",
               "facts.txt",
               "-map",
               "0",
               "-map",
               "1",
               "-map",
               "2",
               "-map",
               "3",
               "-map_metadata",
               "4",
               "-metadata:s:a:1",
               "language=fra",
               "-c:a",
               "aac",
               "-c:s",
               subtitles,
               "-c:v",
               "libx264",
               "-preset",
               "ultrafast",
               "-pix_fmt",
               "yuv420p",
               "-vf",
               kDark,
               name});
  };
  make("in.mkv", "subrip");
  make("in.mp4", "mov_text");
  for (const auto& [in, out] :
       {std::pair{"in.mkv", "out.mkv"}, {"in.mp4", "out.mp4"}, {"in.mkv", "turned.mp4"}}) {
    const ChildResult result = here.run({"video", in, "-o", out, "--preset", "ultrafast"});
    INFO(std::string(in), " ", std::string(out), ": ", result.err);
    REQUIRE(result.code == 0);
    const nlohmann::json facts = facts_of(here, out);
    std::string kinds;
    for (const auto& stream : facts["streams"]) kinds += stream["codec_type"].get<std::string>().substr(0, 1);
    CHECK(kinds.substr(0, 4) == "vaas");
    CHECK(facts["streams"][2]["tags"]["language"] == "fra");
    CHECK(facts["format"]["tags"]["title"] == "Night drive");
    REQUIRE(facts["chapters"].size() == 2);
    CHECK(facts["chapters"][1]["tags"]["title"] == "second");
    CHECK(packets_hash(here, out, "a") == packets_hash(here, in, "a"));
    if (fs::path(in).extension() == fs::path(out).extension())
      CHECK(packets_hash(here, out, "s") == packets_hash(here, in, "s"));
    CHECK(frame_times(here, out).size() == 30);
  }
}

TEST_CASE("sound that a container cannot hold is encoded anew; what it cannot hold at all is named") {
  if (without_ffmpeg()) return;
  const Workplace here;
  spill(here.path("words.srt"), "1\n00:00:00,200 --> 00:00:00,800\nIt is dark.\n");
  make_film(here, "plain.mp4", "30000/1001", "2", {"-c:a", "aac"});
  output_of(here, "ffmpeg",
            {"-i", "plain.mp4", "-i", "words.srt", "-map", "0", "-map", "1", "-c", "copy", "-c:a",
             "pcm_s16le", "in.mkv"});
  struct Kind {
    const char *in, *out, *sound;
    bool subtitles;
  };
  for (const Kind& kind :
       {Kind{"plain.mp4", "a.webm", "opus", false}, Kind{"in.mkv", "b.webm", "opus", true},
        Kind{"in.mkv", "c.mp4", "aac", true}, Kind{"in.mkv", "d.avi", "pcm_s16le", false},
        Kind{"plain.mp4", "e.ts", "aac", false}, Kind{"plain.mp4", "f.avi", "aac", false}}) {
    std::vector<std::string> words = {"video", kind.in, "-o", kind.out};
    if (!contains(kind.out, "webm")) words.insert(words.end(), {"--preset", "ultrafast"});
    const ChildResult result = here.run(words);
    INFO(std::string(kind.out), ": ", result.err);
    REQUIRE(result.code == 0);
    const auto facts = facts_of(here, kind.out);
    const auto& streams = facts["streams"];
    REQUIRE(streams.size() == (kind.subtitles ? 3 : 2));
    CHECK(streams[1]["codec_name"] == kind.sound);
    CHECK(contains(result.err, "has no place for subtitle (subrip), which is left out") ==
          (std::string(kind.out) == "d.avi"));
    CHECK(frame_times(here, kind.out).size() == 60);
    CHECK(std::abs(std::stod(facts["format"]["duration"].get<std::string>()) - 2.0) < 0.1);
    if (contains(kind.out, "avi")) {
      CHECK(streams[0]["avg_frame_rate"] == "30000/1001");
      CHECK(streams[0]["nb_frames"] == "60");
    }
  }
}

TEST_CASE("every child that opens a stranger's film does so behind lists and limits") {
  if (without_ffmpeg()) return;
  const Workplace here;
  make_film(here, "in.mp4", "25", "0.2", {"-c:a", "aac"});
  fs::create_directory(here.path("watched"));
  for (const char* program : {"ffmpeg", "ffprobe"}) {  // notes its limit and its words
    spill(here.path(cat("watched/", program)),
          cat("#!/bin/bash\necho $(ulimit -v) \"$@\" >>words\nexec ", program_path(program), " \"$@\"\n"));
    fs::permissions(here.path(cat("watched/", program)), fs::perms::all);
  }
  const ChildOptions watched{.environment = {{"PATH", here.path("watched") + ":" + std::getenv("PATH")}}};
  REQUIRE(here.run({"video", "in.mp4", "-o", "out.mp4"}, watched).code == 0);
  std::istringstream lines(slurp(here.path("words")));
  int64_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    INFO(line);
    const int64_t limit = std::stoll(line);  // KiB
    CHECK(limit >= 4 << 20);
    CHECK(contains(line, "-protocol_whitelist file -format_whitelist mov,mp4"));
    CHECK(contains(line, cat("-max_pixels ", int64_t{64} << 20)));
    CHECK(contains(line, "-i file:in.mp4"));
  }
  CHECK(count == 3);
}

// upscayl#1488 for films: phones store them lying and say how to turn them.
TEST_CASE("a film that is to be turned comes out upright, once") {
  if (without_ffmpeg()) return;
  const Workplace here;
  make_film(here, "flat.mp4", "25", "0.2", {"-an"});
  output_of(here, "ffmpeg", {"-i", "flat.mp4", "-c", "copy", "-metadata:s:v:0", "rotate=90", "lying.mp4"});
  REQUIRE(here.run({"video", "lying.mp4", "-o", "out.mp4", "-s", "0", "--crf", "0"}).code == 0);
  const auto stream = facts_of(here, "out.mp4")["streams"][0];
  CHECK(stream["width"] == 32);
  CHECK(stream["height"] == 48);
  CHECK_FALSE(stream.contains("side_data_list"));
  const std::string shown = y4m_of(here, "lying.mp4"), got = y4m_of(here, "out.mp4");
  REQUIRE(shown.size() == got.size());
  int64_t different = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const int difference = static_cast<uint8_t>(shown[i]) - static_cast<uint8_t>(got[i]);
    different += std::abs(difference) > 2 ? 1 : 0;
  }
  CHECK(different < static_cast<int64_t>(got.size()) / 50);
}

TEST_CASE("a part of a film: its frames, and its sound") {
  if (without_ffmpeg()) return;
  const Workplace here;
  make_film(here, "in.mp4", "25", "2", {"-c:a", "aac", "-g", "12"});
  const ChildResult result =
      here.run({"video", "in.mp4", "-o", "out.mp4", "--from", "0:00:00.6", "--to", "1.4", "--json"});
  REQUIRE(result.code == 0);
  CHECK(json_lines(result.out)[0]["frames"] == 20);
  const std::vector<double> times = frame_times(here, "out.mp4");
  REQUIRE(times.size() == 20);
  CHECK(times[0] < 0.04);
  CHECK(std::abs(picture_seconds(here, "out.mp4") - 0.8) < 0.04);
  const auto sound = facts_of(here, "out.mp4")["streams"][1];
  CHECK(std::abs(std::stod(sound["duration"].get<std::string>()) - 0.8) < 0.06);
}

TEST_CASE("a part without a frame is refused in a sentence about the film") {
  const Workplace here;
  std::vector<std::string> inputs = {"in.y4m"};
  spill(here.path("in.y4m"), y4m_noise(16, 8, 4));
  if (!without_ffmpeg()) {
    make_film(here, "in.mp4", "25", "0.4", {"-c:a", "aac"});
    inputs.emplace_back("in.mp4");
  }
  for (const std::string& input : inputs) {
    for (const std::string output : {"out.y4m", "out.mp4"}) {
      if (inputs.size() == 1 && output == "out.mp4") continue;
      const ChildResult result = here.run({"video", input, "-o", output, "--from", "5"});
      CHECK(result.code == 3);
      CHECK(result.err == cat("luxgrad: error: ", input, ": has no frame from 5 s on\n"));
      const ChildResult part = here.run({"video", input, "-o", output, "--from", "5", "--to", "6.5"});
      CHECK(part.code == 3);
      CHECK(part.err == cat("luxgrad: error: ", input, ": has no frame from 5 s to 6.5 s\n"));
      CHECK_FALSE(fs::exists(here.path(output)));
    }
  }
}

TEST_CASE("a part of a film: subtitles and chapters end with it, and nothing shifts the pictures") {
  if (without_ffmpeg()) return;
  const Workplace here;
  // Over before the part, under way at its begin, inside, under way at its end, behind it.
  spill(here.path("words.srt"),
        "1\n00:00:00,100 --> 00:00:00,400\nover\n\n2\n00:00:00,450 --> 00:00:00,700\nbegun\n\n"
        "3\n00:00:00,740 --> 00:00:00,860\nwhole\n\n4\n00:00:00,900 --> 00:00:01,900\nlong\n\n"
        "5\n00:00:02,000 --> 00:00:02,300\nlater\n");
  spill(here.path("facts.txt"),
        ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=600\ntitle=first\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=600\nEND=1000\ntitle=second\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=1000\nEND=2500\ntitle=third\n");
  make_film(here, "plain.mp4", "25", "2.5", {"-c:a", "aac", "-g", "12"});
  for (const auto& [name, kind] : {std::pair{"in.mkv", "subrip"}, {"in.mp4", "mov_text"}}) {
    output_of(here, "ffmpeg",
              {"-i", "plain.mp4", "-i", "words.srt", "-i", "facts.txt", "-map", "0", "-map", "1",
               "-map_metadata", "2", "-c", "copy", "-c:s", kind, name});
  }
  constexpr double kFrame = 1.0 / 25, kLength = 0.5;
  for (const auto& [in, out] :
       {std::pair{"in.mkv", "a.mkv"}, {"in.mp4", "b.mp4"}, {"in.mkv", "c.mp4"}, {"in.mp4", "d.mkv"}}) {
    const ChildResult result =
        here.run({"video", in, "-o", out, "--from", "0.5", "--to", "1", "-s", "0", "--preset", "ultrafast"});
    INFO(std::string(in), " ", std::string(out), ": ", result.err);
    REQUIRE(result.code == 0);
    const nlohmann::json facts = facts_of(here, out);
    const auto number = [](const nlohmann::json& value) { return std::stod(value.get<std::string>()); };
    const bool turned = fs::path(in).extension() != fs::path(out).extension();
    const bool outlasts =
        turned && contains(out, "mkv");  // a text that was turned and is under way at the end
    if (!outlasts) CHECK(std::abs(number(facts["format"]["duration"]) - kLength) < kFrame);
    REQUIRE(facts["chapters"].size() == 2);
    CHECK(facts["chapters"][0]["tags"]["title"] == "first");
    CHECK(std::abs(number(facts["chapters"][0]["end_time"]) - 0.1) < kFrame);
    CHECK(std::abs(number(facts["chapters"][1]["end_time"]) - kLength) < kFrame);
    const auto packets = nlohmann::json::parse(output_of(
        here, "ffprobe",
        {"-show_entries", "packet=codec_type,pts_time,duration_time,size", "-of", "json", out}))["packets"];
    for (const std::string kind : {"video", "audio", "subtitle"}) {
      double first = 1e9, last = 0;
      int64_t texts = 0;
      for (const auto& packet : packets) {
        if (packet["codec_type"] != kind) continue;
        first = std::min(first, number(packet["pts_time"]));
        if (packet.contains("duration_time"))
          last = std::max(last, number(packet["pts_time"]) + number(packet["duration_time"]));
        texts += number(packet["size"]) > 2 ? 1 : 0;  // the text of .mp4 is empty where there is none
      }
      INFO(kind, " from ", first, " to ", last);
      if (kind == "subtitle") CHECK(texts == (!turned ? 3 : outlasts ? 2 : 1));
      if (kind == "subtitle" && turned) continue;
      CHECK(std::abs(first) < kFrame);
      CHECK(std::abs(last - kLength) < kFrame);
    }
  }
}

// Ctrl-C on Real-ESRGAN's and video2x's runs of hours left nothing that plays.
TEST_CASE("a signal leaves a film that plays as far as it got") {
  if (without_ffmpeg()) return;
  const Workplace here;
  make_film(here, "long.mp4", "25", "60", {"-c:a", "aac"});
  for (const int number : {SIGINT, SIGTERM}) {
    ChildOptions options{.terminal = here.path("progress.txt")};
    options.interruption = {.file = here.path("progress.txt"), .lines = 40, .signals = {number}};
    spill(here.path("progress.txt"), "");
    const ChildResult result = here.run(
        {"video", "long.mp4", "-o", "out.mp4", "--progress", "json", "--preset", "ultrafast", "--overwrite"},
        options);
    CHECK(result.code == 128 + number);
    const double seconds = picture_seconds(here, "out.mp4");
    CHECK(seconds > 0.9);
    CHECK(seconds < 59);
    CHECK_FALSE(y4m_of(here, "out.mp4").empty());
    const auto streams = facts_of(here, "out.mp4")["streams"];
    REQUIRE(streams.size() == 2);
    CHECK(std::abs(std::stod(streams[1]["duration"].get<std::string>()) - seconds) < 5);
    const std::vector<std::string> files = here.files(".");
    CHECK(std::none_of(files.begin(), files.end(),
                       [](const std::string& name) { return contains(name, ".tmp."); }));
  }
}

// The child that writes looks at its inputs first; whoever stops that early has less, and still a film.
TEST_CASE("a signal within the first frames leaves a film, too, and before them nothing") {
  if (without_ffmpeg()) return;
  const Workplace here;
  make_film(here, "long.mp4", "25", "60", {"-c:a", "aac"});
  for (const int64_t frames : {1, 2, 12}) {
    ChildOptions options{.terminal = here.path("progress.txt")};
    options.interruption = {.file = here.path("progress.txt"), .lines = frames};
    spill(here.path("progress.txt"), "");
    const ChildResult result = here.run(
        {"video", "long.mp4", "-o", "out.mp4", "--progress", "json", "--preset", "ultrafast", "--overwrite"},
        options);
    INFO(frames, " frames: ", slurp(here.path("progress.txt")));
    CHECK(result.code == 130);
    REQUIRE(fs::exists(here.path("out.mp4")));
    CHECK(frame_times(here, "out.mp4").size() >= static_cast<size_t>(frames));
    const auto streams = facts_of(here, "out.mp4")["streams"];
    const bool sound = streams.size() == 2;
    CHECK((sound || frames < 12));  // it may end a few frames earlier
    if (sound) CHECK(std::stod(streams[1]["duration"].get<std::string>()) < 10);
    fs::remove(here.path("out.mp4"));
  }
  // A reader that says nothing yet: no frame, no file.
  fs::create_directory(here.path("slow"));
  spill(here.path("slow/ffmpeg"), "#!/bin/sh\necho >started\nexec sleep 60\n");
  fs::permissions(here.path("slow/ffmpeg"), fs::perms::all);
  ChildOptions options{.environment = {{"PATH", here.path("slow") + ":" + std::getenv("PATH")}}};
  options.interruption = {.file = here.path("started"), .lines = 1};
  const ChildResult result = here.run({"video", "long.mp4", "-o", "out.mp4"}, options);
  CHECK(result.code == 130);
  CHECK(result.err == "luxgrad: stopped by signal 2 before the first frame; out.mp4 is not written\n");
  CHECK_FALSE(fs::exists(here.path("out.mp4")));
}

TEST_CASE("an encoder that is not there, or that fails, is a sentence, and nothing is left") {
  if (without_ffmpeg()) return;
  const Workplace here;
  spill(here.path("in.y4m"), y4m_noise(16, 16, 3));
  const ChildResult result = here.run({"video", "in.y4m", "-o", "out.mp4", "--codec", "nonsense"});
  CHECK(result.code == 2);
  CHECK(contains(result.err, "--codec: out.mp4: cannot be encoded: Unknown encoder 'nonsense'"));
  for (const char* codec : {"h264", "hevc", "av1"}) {
    const ChildResult preset =
        here.run({"video", "in.y4m", "-o", "out.mp4", "--codec", codec, "--preset", "nonsense"});
    INFO(preset.err);
    CHECK(preset.code == 2);
    CHECK(contains(preset.err, "--preset: out.mp4: cannot be encoded: "));
  }
  CHECK(here.files(".").size() == 3);
}

// ffmpeg's exit code is 0 where the disk did not take its last bytes.
TEST_CASE("a full disk refuses a film of every container, and the old one stays") {
  const Workplace here;
  if (without_ffmpeg() || without_mounts(here)) return;
  spill(here.path("in.y4m"), y4m_noise(128, 96, 8));
  for (const std::string container : {"mp4", "mov", "mkv", "webm", "ts", "avi"}) {
    const std::string name = "v." + container;
    REQUIRE(here.run({"video", "-i", "in.y4m", "-s", "0", "--crf", "8", "-o", name}).code == 0);
    REQUIRE(fs::file_size(here.path(name)) > 44 << 10);
    for (const int kilobytes : {0, 40}) {
      for (const std::string& old : {std::string(), name}) {
        CAPTURE(name);
        CAPTURE(kilobytes);
        const ChildResult result =
            run_on_full_disk(here, "video -i in.y4m -s 0 --crf 8", name, kilobytes, old);
        CAPTURE(result.err);
        CHECK(result.code == 6);
        CHECK(contains(result.err, cat("disk/", name, ": cannot be ")));
        CHECK(contains(result.err, "No space left on device"));
      }
    }
  }
}

TEST_CASE("films of other forms: odd sizes, 10 bits, full range, red, green and blue, damaged") {
  if (without_ffmpeg()) return;
  const Workplace here;
  const auto make = [&](const std::string& name, const std::vector<std::string>& words) {
    std::vector<std::string> all = {"-f", "lavfi", "-i", "testsrc=s=47x33:r=25:d=0.2"};
    all.insert(all.end(), words.begin(), words.end());
    all.push_back(name);
    output_of(here, "ffmpeg", all);
  };
  make("odd.mkv", {"-c:v", "ffv1", "-pix_fmt", "yuv420p"});
  make("deep.mkv", {"-c:v", "ffv1", "-pix_fmt", "yuv422p10le"});
  make("full.mkv",
       {"-c:v", "ffv1", "-vf", "scale=out_range=pc", "-color_range", "pc", "-pix_fmt", "yuv444p"});
  make("rgb.mkv", {"-c:v", "ffv1", "-pix_fmt", "gbrp"});
  make("gray.mkv", {"-c:v", "ffv1", "-pix_fmt", "gray"});
  for (const char* name : {"odd", "deep", "full", "rgb", "gray"}) {
    const std::string in = cat(name, ".mkv"), out = cat(name, "_out.mkv");
    const ChildResult result = here.run({"video", in, "-o", out, "-s", "0", "--codec", "ffv1"});
    INFO(std::string(name), ": ", result.err);
    REQUIRE(result.code == 0);
    const auto stream = facts_of(here, out)["streams"][0];
    CHECK(stream["width"] == 47);
    CHECK(stream["height"] == 33);
    CHECK(contains(stream["pix_fmt"], "10") == (std::string(name) == "deep"));
    // As a player shows them: the same colours.
    const auto shown = [&](const std::string& film) {
      return output_of(here, "ffmpeg",
                       {"-i", film, "-vf", "scale=flags=accurate_rnd+full_chroma_int", "-pix_fmt", "rgb24",
                        "-f", "rawvideo", "-"});
    };
    const std::string before = shown(in), after = shown(out);
    REQUIRE(before.size() == after.size());
    double sum = 0;
    for (size_t i = 0; i < before.size(); ++i)
      sum += std::abs(static_cast<uint8_t>(before[i]) - static_cast<uint8_t>(after[i]));
    CHECK(sum / static_cast<double>(before.size()) < 2.5);  // edges of halved colours
  }
  make_film(here, "whole.mp4", "25", "1", {"-an"}, kDark, "96x64");
  std::string film = slurp(here.path("whole.mp4"));
  std::fill_n(film.begin() + static_cast<int64_t>(film.size() / 2), 300, 'x');
  spill(here.path("damaged.mp4"), film);
  const ChildResult damaged = here.run({"video", "damaged.mp4", "-o", "x.mkv", "--codec", "ffv1"});
  CHECK(damaged.code == 0);
  CHECK(contains(damaged.err, "damaged.mp4: "));
  CHECK(contains(damaged.err, " faults while reading; the first: "));
  CHECK(frame_times(here, "x.mkv").size() > 5);
}

TEST_CASE("live: whoever is fast enough shows every frame; what is dropped is counted") {
  const Workplace here;
  spill(here.path("in.y4m"), y4m_noise(16, 8, 40));
  REQUIRE(here.run({"video", "in.y4m", "-o", "all.y4m"}).code == 0);
  const ChildResult patient = here.run({"video", "in.y4m", "-o", "live.y4m", "--latency", "1e7", "--json"});
  CHECK(json_lines(patient.out)[0]["dropped"] == 0);
  CHECK(slurp(here.path("live.y4m")) == slurp(here.path("all.y4m")));
  const ChildResult hasty = here.run({"video", "in.y4m", "-o", "hasty.y4m", "--latency", "0", "--json"});
  REQUIRE(hasty.code == 0);
  const auto line = json_lines(hasty.out)[0];
  const int64_t frames = line["frames"], dropped = line["dropped"];
  CHECK(frames >= 1);
  CHECK(frames + dropped >= 40);  // those dropped behind the first are shown as the one before
  const size_t frame = 6 + 16 * 8 * 3 / 2, header = slurp(here.path("all.y4m")).size() - 40 * frame;
  CHECK(slurp(here.path("hasty.y4m")).size() == header + static_cast<size_t>(frames) * frame);
}

TEST_CASE("the published program's artefacts are repeated on request only") {
  const Workplace here;
  spill(here.path("in.y4m"), y4m_noise(20, 12, 2));
  CHECK(here.run({"video", "in.y4m", "-o", "plain.y4m"}).code == 0);
  CHECK(here.run({"video", "in.y4m", "-o", "published.y4m", "--compat", "256"}).code == 0);
  const std::string plain = slurp(here.path("plain.y4m")), published = slurp(here.path("published.y4m"));
  CHECK(plain.size() == published.size());
  CHECK(plain != published);
}
