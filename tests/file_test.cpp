// data/file.h: whole files in and out, and what happens when the system says no.
#include "luxgrad/data/file.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <numeric>
#include <thread>

#include "child_process.h"
#include "file_ops_fakes.h"
#include "luxgrad/data/folder.h"
#include "temporary_folder.h"

using namespace lux;
namespace fs = std::filesystem;

namespace {

std::vector<uint8_t> some_bytes(size_t count, uint8_t first = 7) {
  std::vector<uint8_t> bytes(count);
  std::iota(bytes.begin(), bytes.end(), first);
  return bytes;
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename());
  return names;
}

std::string reason_of(const Result<std::vector<uint8_t>>& result) {
  REQUIRE_FALSE(result);
  return result.error().reason;
}

}  // namespace

TEST_CASE("a file that comes in pieces of any size is what they are together") {
  const TemporaryFolder folder;
  const std::string path = folder.path() / "pieces";
  std::vector<uint8_t> all;
  const int64_t written = write_file_atomically(path, 300000, [&](ByteSink sink) {
                            for (const size_t size : std::initializer_list<size_t>{1, 0, 65535, 2, 70000,
                                                                                   65536, 65537, 3, 33386}) {
                              const std::vector<uint8_t> piece(size, static_cast<uint8_t>(all.size() % 251));
                              all.insert(all.end(), piece.begin(), piece.end());
                              sink(piece);
                            }
                          }).value();
  CHECK(written == 300000);
  CHECK(all.size() == 300000);
  CHECK(read_file(path).value() == all);
}

TEST_CASE("a written file reads back, also empty and over an old one") {
  const TemporaryFolder folder;
  const std::string path = folder.path() / "weights with spaces \n.bin";
  for (const size_t count : {size_t{100000}, size_t{0}, size_t{1}}) {
    const auto bytes = some_bytes(count);
    CHECK(write_file_atomically(path, bytes).value() == static_cast<int64_t>(count));
    CHECK(read_file(path).value() == bytes);
  }
  CHECK(names_in(folder.path()).size() == 1);
}

TEST_CASE("a name of 255 bytes is written") {
  const TemporaryFolder folder;
  const std::string path = folder.path() / std::string(255, 'n');
  REQUIRE(write_file_atomically(path, some_bytes(3)));
  CHECK(read_file(path).value() == some_bytes(3));
}

TEST_CASE("reading refuses what is no regular file, at once") {
  const TemporaryFolder folder;
  const std::string directory = folder.path() / "x.png", pipe = folder.path() / "pipe";
  fs::create_directory(directory);
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(reason_of(read_file(directory)) == "is a directory, expected a regular file");
  CHECK(reason_of(read_file(pipe)) == "is a named pipe, expected a regular file");
  CHECK(reason_of(read_file("/dev/zero")) == "is a device, expected a regular file");
  CHECK(read_file(directory + "/none").error().code == FileErrorCode::missing);
  CHECK(reason_of(read_file(directory + "/none")) == "cannot be opened: No such file or directory");
  CHECK(reason_of(read_file("")) == "the name of the file is empty or has a zero byte");
  CHECK(reason_of(read_file("/proc/self/mem")) == "cannot be read: Input/output error");

  const std::string first = folder.path() / "first", second = folder.path() / "second";
  fs::create_symlink(second, first);
  fs::create_symlink(first, second);
  CHECK(reason_of(read_file(first)) == "cannot be opened: Too many levels of symbolic links");
}

TEST_CASE("reading stops at the limit") {
  const TemporaryFolder folder;
  const std::string path = folder.path() / "file";
  REQUIRE(write_file_atomically(path, some_bytes(100)));
  CHECK(read_file(path, 100).value().size() == 100);
  CHECK(read_file(path, 99).error().code == FileErrorCode::too_large);
  CHECK(reason_of(read_file(path, 99)) == "is larger than the limit of 99 bytes");
  CHECK(read_file("/proc/self/status", 10).error().code == FileErrorCode::too_large);  // its size says 0
}

TEST_CASE("standard input is read to its end") {
  const TemporaryFolder folder;
  const std::string path = folder.path() / "file";
  REQUIRE(write_file_atomically(path, some_bytes(200000)));
  const int saved = dup(STDIN_FILENO), descriptor = open(path.c_str(), O_RDONLY);
  REQUIRE(dup2(descriptor, STDIN_FILENO) == STDIN_FILENO);
  const auto result = read_file("-");
  if (saved >= 0) dup2(saved, STDIN_FILENO);
  close(saved);
  close(descriptor);
  CHECK(result.value() == some_bytes(200000));
}

TEST_CASE("short and interrupted writes are continued") {
  const TemporaryFolder folder;
  FaultyOps faulty;
  faulty.chunk = 7;
  faulty.target = "write";
  faulty.code = EINTR;
  faulty.times = 3;
  const OpsScope scope(faulty);
  const std::string path = folder.path() / "file";
  REQUIRE(write_file_atomically(path, some_bytes(1000)));
  CHECK(read_file(path).value() == some_bytes(1000));
}

TEST_CASE("a failed write leaves the old file and no temporary one") {
  struct Case {
    const char* call;
    int code;
    int after;
    const char* reason;
  };
  for (const Case& c : {Case{"open", EACCES, 0, "cannot be created: Permission denied"},
                        Case{"write", ENOSPC, 1, "cannot be written: No space left on device"},
                        Case{"fsync", EIO, 0, "cannot be written: Input/output error"},
                        Case{"close", EDQUOT, 0, "cannot be written: Disk quota exceeded"},
                        Case{"rename", EROFS, 0, "cannot be replaced: Read-only file system"}}) {
    CAPTURE(c.call);
    const TemporaryFolder folder;
    const std::string path = folder.path() / "file";
    REQUIRE(write_file_atomically(path, some_bytes(50)));
    FaultyOps faulty;
    faulty.target = c.call;
    faulty.code = c.code;
    faulty.after = c.after;
    faulty.chunk = 10;
    const auto result = [&] {
      const OpsScope scope(faulty);
      return write_file_atomically(path, some_bytes(80, 1));
    }();
    REQUIRE_FALSE(result);
    CHECK(result.error().code == FileErrorCode::unwritable);
    CHECK(result.error().reason == c.reason);
    CHECK(read_file(path).value() == some_bytes(50));
    CHECK(names_in(folder.path()) == std::vector<std::string>{"file"});
  }
}

TEST_CASE("a process that ends removes what it has not finished, and nothing else") {
  const TemporaryFolder folder;
  const std::string kept = folder.path() / "kept", unfinished = folder.path() / "unfinished";
  NewFile first = NewFile::create(kept).value();
  CHECK(first.keep());
  const NewFile second = NewFile::create(unfinished).value();
  CHECK(std::filesystem::exists(second.temporary()));
  remove_unfinished_files();
  CHECK_FALSE(std::filesystem::exists(second.temporary()));
  CHECK(std::filesystem::exists(kept));
  for (int i = 0; i < 100; ++i) (void)NewFile::create(unfinished).value();  // a slot each, given back
  const NewFile last = NewFile::create(unfinished).value();
  remove_unfinished_files();
  CHECK_FALSE(std::filesystem::exists(last.temporary()));
}

TEST_CASE("a process that ends knows of a file as soon as it is there") {
  struct Interrupted : FaultyOps {
    int open(const char* path, int flags, mode_t mode) override {
      const int descriptor = FaultyOps::open(path, flags, mode);
      remove_unfinished_files();
      return descriptor;
    }
  };
  const TemporaryFolder folder;
  Interrupted ops;
  const OpsScope scope(ops);
  const NewFile file = NewFile::create(folder.path() / "file").value();
  CHECK(names_in(folder.path()).empty());
}

TEST_CASE("a process that ends waits for a file that is being created, and creates no other") {
  struct SlowOps : FaultyOps {
    int open(const char* path, int flags, mode_t mode) override {
      ++begun;
      usleep(50'000);
      return FaultyOps::open(path, flags, mode);
    }
    std::atomic<int> begun{0};
  };
  const TemporaryFolder folder;
  const pid_t child = fork();
  if (child == 0) {
    SlowOps ops;
    const OpsScope scope(ops);
    const auto create = [&](const char* name) {
      const Result<NewFile> file = NewFile::create(folder.path() / name);
      pause();
    };
    const std::jthread first(create, "first");
    while (ops.begun == 0) usleep(100);
    refuse_new_files();
    remove_unfinished_files();
    const std::jthread second(create, "second");
    usleep(100'000);
    _exit(ops.begun);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WEXITSTATUS(status) == 1);
  CHECK(names_in(folder.path()).empty());
}

TEST_CASE("what the disk has no room for is refused before anything is written") {
  struct SmallDisk : FaultyOps {
    int64_t free_bytes(const char*) override { return 100; }
  };
  const TemporaryFolder folder;
  SmallDisk disk;
  const OpsScope scope(disk);
  const std::string path = folder.path() / "file";
  CHECK(write_file_atomically(path, some_bytes(100)));
  disk.calls = 0;
  const auto result = write_file_atomically(path, some_bytes(101));
  REQUIRE_FALSE(result);
  CHECK(result.error().reason == "cannot be written: it needs 101 bytes, its disk has 100 left");
  CHECK(disk.calls == 0);
}

TEST_CASE("a flush that failed is not tried again, an interrupted one is") {
  const TemporaryFolder folder;
  for (const int code : {EIO, EINTR}) {
    FaultyOps faulty;
    faulty.target = "fsync";
    faulty.code = code;
    faulty.times = 1;
    const OpsScope scope(faulty);
    const bool written = static_cast<bool>(write_file_atomically(folder.path() / "file", some_bytes(10)));
    CHECK(written == (code == EINTR));
  }
}

TEST_CASE("text is appended whole or not at all") {
  const TemporaryFolder folder;
  const std::string path = folder.path() / "log";
  const auto text = [&] {
    const auto bytes = read_file(path).value();
    return std::string(bytes.begin(), bytes.end());
  };
  CHECK(append_to_file(path, "one\n").value() == 4);
  FaultyOps faulty;
  faulty.target = "write";
  faulty.code = ENOSPC;
  faulty.after = 1;
  faulty.chunk = 2;
  {
    const OpsScope scope(faulty);
    CHECK(append_to_file(path, "two\n").error().reason == "cannot be written: No space left on device");
  }
  CHECK(text() == "one\n");
  CHECK(append_to_file(path, "two\n").value() == 4);
  CHECK(text() == "one\ntwo\n");
  CHECK(flush_file(path).value() == 8);
}

TEST_CASE("lines are kept up to a length, and no part of one") {
  const TemporaryFolder folder;
  const std::string path = folder.path() / "log", other = folder.path() / "other";
  const auto kept = [&](int64_t bytes) {
    spill(path, "one\ntwo\nthr");
    const int64_t length = keep_lines(path, bytes).value();
    std::string text = length > 0 ? slurp(path) : "";
    CHECK(static_cast<int64_t>(text.size()) == length);
    CHECK(fs::exists(path) == (length > 0));
    return text;
  };
  CHECK(kept(100) == "one\ntwo\n");
  CHECK(kept(8) == "one\ntwo\n");
  CHECK(kept(7) == "one\n");
  CHECK(kept(4) == "one\n");
  CHECK(kept(3) == "");
  CHECK(kept(0) == "");
  CHECK(keep_lines(path, 4).value() == 0);

  spill(other, "precious\nof another\n");
  fs::create_hard_link(other, path);
  CHECK(keep_lines(path, 9).value() == 9);
  CHECK(append_to_file(path, "mine\n"));
  CHECK(slurp(path) == "precious\nmine\n");
  CHECK(slurp(other) == "precious\nof another\n");
}

TEST_CASE("what is written in place is a regular file: no link is followed, no pipe waited for") {
  const TemporaryFolder folder;
  const std::string link = folder.path() / "link", pipe = folder.path() / "pipe",
                    target = folder.path() / "t";
  spill(target, "precious\n");
  fs::create_symlink(target, link);
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  const auto reasons = [](const std::string& path) {
    return append_to_file(path, "x").error().reason + ", " + flush_file(path).error().reason;
  };
  const std::string loop = "cannot be opened: Too many levels of symbolic links";
  CHECK(reasons(link) == loop + ", " + loop);
  const std::string nobody = "cannot be opened: No such device or address";
  CHECK(reasons(pipe) == nobody + ", " + nobody);
  const int reader = open(pipe.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  const std::string refused = "is a named pipe, expected a regular file";
  CHECK(reasons(pipe) == refused + ", " + refused);
  close(reader);
  CHECK(append_to_file("/dev/full", "x").error().reason == "is a device, expected a regular file");
  CHECK(keep_lines(pipe, 4).error().reason == refused);
  CHECK(keep_lines(folder.path(), 0).error().reason == "is a directory, expected a regular file");
  CHECK(keep_lines(link, 4).value() == 0);
  CHECK_FALSE(fs::is_symlink(link));
  CHECK(slurp(target) == "precious\n");
}

TEST_CASE("folders are made with those above them, each flushed into its holder") {
  const TemporaryFolder folder;
  FaultyOps counting;  // fails nothing
  const OpsScope scope(counting);
  const std::string path = folder.path() / "a" / "b" / "";
  CHECK(make_folders(path).value() == 2);
  CHECK(counting.calls == 2 * 4);  // mkdir, open, fsync, close
  CHECK(make_folders(path).value() == 0);
  REQUIRE(write_file_atomically(folder.path() / "file", {}));
  CHECK(make_folders(folder.path() / "file" / "c").error().reason == "cannot be made: Not a directory");
  CHECK(list_folder(folder.path()).value() == std::vector<std::string>{"a", "file"});
  CHECK(list_folder(folder.path() / "none").error().reason == "cannot be listed: No such file or directory");
}

TEST_CASE("writing refuses targets that are no regular files") {
  const TemporaryFolder folder;
  const std::string pipe = folder.path() / "pipe";
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  const auto reason = [](const std::string& path) {
    const auto result = write_file_atomically(path, {});
    REQUIRE_FALSE(result);
    return result.error().reason;
  };
  CHECK(reason(folder.path()) == "is a directory, expected a regular file");
  CHECK(reason(folder.path() / "") == "is not the name of a file");
  CHECK(reason("") == "is not the name of a file");
  CHECK(reason(pipe) == "is a named pipe, expected a regular file");
  CHECK(reason("/dev/null") == "is a device, expected a regular file");
  CHECK(reason(folder.path() / "none" / "file") == "cannot be created: No such file or directory");
  CHECK(names_in(folder.path()) == std::vector<std::string>{"pipe"});
}

TEST_CASE("a symbolic link is replaced, its target stays") {
  const TemporaryFolder folder;
  const std::string target = folder.path() / "target", link = folder.path() / "link";
  REQUIRE(write_file_atomically(target, some_bytes(5)));
  fs::create_symlink(target, link);
  REQUIRE(write_file_atomically(link, some_bytes(9)));
  CHECK(read_file(target).value() == some_bytes(5));
  CHECK(read_file(link).value() == some_bytes(9));
  CHECK_FALSE(fs::is_symlink(link));
}

TEST_CASE("a result gives its value or throws its error as one printable sentence") {
  Result<int> result =
      FileError{FileErrorCode::malformed, "a\x1b[31m\n.bin", 12, "the header ends too early"};
  CHECK_FALSE(result);
  CHECK_THROWS_WITH_AS(result.value(), "a\\x1b[31m\\x0a.bin: the header ends too early (at byte 12)",
                       FileException);
  CHECK(Result<int>(3).value() == 3);
  const auto parsed =
      attempt([]() -> int { refuse(FileErrorCode::truncated, 4, "ends after ", 4, " bytes"); }).in_file("f");
  CHECK(parsed.error().message() == "f: ends after 4 bytes (at byte 4)");
}

TEST_CASE("printable text keeps UTF-8 and escapes the rest") {
  CHECK(printable("plain ümläut 漢 🙂") == "plain ümläut 漢 🙂");
  CHECK(printable("a\nb\x1b[m\x7f") == "a\\x0ab\\x1b[m\\x7f");
  CHECK(printable("\xc2\x9b") == "\\xc2\\x9b");                    // a C1 control
  CHECK(printable("\xff \xc3") == "\\xff \\xc3");                  // never valid; cut short
  CHECK(printable("\xc0\xaf") == "\\xc0\\xaf");                    // overlong
  CHECK(printable("\xed\xa0\x80") == "\\xed\\xa0\\x80");           // a surrogate
  CHECK(printable("\xf4\x90\x80\x80") == "\\xf4\\x90\\x80\\x80");  // beyond U+10FFFF
}
