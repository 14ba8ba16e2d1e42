#include "disk_model.h"

#include <fcntl.h>

#include <algorithm>
#include <set>

#include "luxgrad/tensor/random.h"

using lux::FileOps;

std::string RecordingOps::inner(const std::string& path) const {
  std::string name = path.substr(root_.size());
  for (size_t at = name.find("//"); at != std::string::npos; at = name.find("//")) name.erase(at, 1);
  while (!name.empty() && name.back() == '/') name.pop_back();
  return name;
}

int RecordingOps::open(const char* path, int flags, mode_t mode) {
  const int descriptor = FileOps::open(path, flags, mode);
  if (descriptor < 0) return descriptor;
  if ((flags & O_DIRECTORY) != 0) {
    const std::string folder = std::string(path) + "/";
    if (below_root(folder)) open_[descriptor] = {.folder = inner(folder) + "/"};
    return descriptor;
  }
  if (!below_root(path)) return descriptor;
  const std::string name = inner(path);
  if (!names_.contains(name)) {
    names_[name] = static_cast<int>(lengths_.size());
    lengths_.push_back(0);
    events.push_back({.kind = DiskEvent::link, .path = name, .file = names_[name]});
  }
  const int file = names_[name];
  if ((flags & O_TRUNC) != 0) {
    lengths_[static_cast<size_t>(file)] = 0;
    events.push_back({.kind = DiskEvent::truncate, .file = file});
  }
  open_[descriptor] = {.file = file, .append = (flags & O_APPEND) != 0};
  return descriptor;
}

ssize_t RecordingOps::write(int descriptor, const void* data, size_t bytes) {
  const ssize_t written = FileOps::write(descriptor, data, std::min(bytes, chunk));
  const auto found = open_.find(descriptor);
  if (written <= 0 || found == open_.end()) return written;
  Open& open = found->second;
  if (open.append) open.offset = lengths_[static_cast<size_t>(open.file)];
  record_write(open, data, written);
  open.offset += written;
  return written;
}

ssize_t RecordingOps::write_at(int descriptor, const void* data, size_t bytes, off_t offset) {
  const ssize_t written = FileOps::write_at(descriptor, data, std::min(bytes, chunk), offset);
  if (const auto found = open_.find(descriptor); written > 0 && found != open_.end())
    record_write({.file = found->second.file, .offset = offset}, data, written);
  return written;
}

// Of a file, at the offset.
void RecordingOps::record_write(const Open& open, const void* data, ssize_t written) {
  const auto* const first = static_cast<const uint8_t*>(data);
  events.push_back({.kind = DiskEvent::write,
                    .file = open.file,
                    .offset = open.offset,
                    .bytes = {first, first + written}});
  int64_t& length = lengths_[static_cast<size_t>(open.file)];
  length = std::max(length, open.offset + written);
}

int RecordingOps::truncate(int descriptor, off_t length) {
  const int result = FileOps::truncate(descriptor, length);
  if (const auto found = open_.find(descriptor); result == 0 && found != open_.end()) {
    lengths_[static_cast<size_t>(found->second.file)] = length;
    events.push_back({.kind = DiskEvent::truncate, .file = found->second.file, .offset = length});
  }
  return result;
}

int RecordingOps::fsync(int descriptor) {
  const auto found = open_.find(descriptor);
  if (found == open_.end()) return 0;
  if (found->second.file < 0) {
    if (!forget_folder_flushes)
      events.push_back({.kind = DiskEvent::flush_folder, .path = found->second.folder});
  } else if (!forget_file_flushes) {
    events.push_back({.kind = DiskEvent::flush_file, .file = found->second.file});
  }
  return 0;  // the model is the disk
}

int RecordingOps::close(int descriptor) {
  open_.erase(descriptor);
  return FileOps::close(descriptor);
}

int RecordingOps::rename(const char* from, const char* to) {
  const int result = FileOps::rename(from, to);
  if (result == 0 && below_root(from)) {
    const int file = names_[inner(from)];
    names_.erase(inner(from));
    names_[inner(to)] = file;
    events.push_back({.kind = DiskEvent::rename, .path = inner(from), .to = inner(to), .file = file});
  }
  return result;
}

int RecordingOps::unlink(const char* path) {
  const int result = FileOps::unlink(path);
  if (result == 0 && below_root(path)) {
    names_.erase(inner(path));
    events.push_back({.kind = DiskEvent::unlink, .path = inner(path)});
  }
  return result;
}

int RecordingOps::mkdir(const char* path, mode_t mode) {
  const int result = FileOps::mkdir(path, mode);
  if (result == 0 && below_root(path))
    events.push_back({.kind = DiskEvent::make_folder, .path = inner(path)});
  return result;
}

namespace {

using Bytes = std::vector<uint8_t>;
using Names = std::map<std::string, int>;  // file by path, -1 for a folder

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "/" : path.substr(0, slash + 1);
}

void apply_to_names(const DiskEvent& event, Names& names) {
  switch (event.kind) {
    case DiskEvent::link:
      names[event.path] = event.file;
      break;
    case DiskEvent::make_folder:
      names[event.path] = -1;
      break;
    case DiskEvent::unlink:
      names.erase(event.path);
      break;
    case DiskEvent::rename:
      if (names.contains(event.path) && names[event.path] == event.file) names.erase(event.path);
      names[event.to] = event.file;
      break;
    default:
      break;
  }
}

void apply_to_bytes(const DiskEvent& event, Bytes& bytes) {
  const auto offset = static_cast<size_t>(event.offset);
  if (event.kind == DiskEvent::truncate) {
    bytes.resize(offset);
  } else {
    bytes.resize(std::max(bytes.size(), offset + event.bytes.size()));
    std::copy(event.bytes.begin(), event.bytes.end(), bytes.begin() + event.offset);
  }
}

/// What the disk holds for sure, and what may have reached it since.
struct Disk {
  Names names;
  std::vector<DiskEvent> open_names;
  std::map<int, Bytes> bytes;
  std::map<int, std::vector<DiskEvent>> open_bytes;

  void take(const DiskEvent& event) {
    switch (event.kind) {
      case DiskEvent::write:
      case DiskEvent::truncate:
        open_bytes[event.file].push_back(event);
        break;
      case DiskEvent::flush_file:
        for (const DiskEvent& change : open_bytes[event.file]) apply_to_bytes(change, bytes[event.file]);
        open_bytes.erase(event.file);
        break;
      case DiskEvent::flush_folder:
        std::erase_if(open_names, [&](const DiskEvent& change) {
          const bool here = folder_of(change.path) == event.path;
          if (here) apply_to_names(change, names);
          return here;
        });
        break;
      case DiskEvent::mark:
        break;
      default:
        open_names.push_back(event);
    }
  }
};

/// Which of the changes of names reached the disk: all up to one, one alone, or any.
std::vector<Names> possible_names(const Disk& disk, lux::Generator& generator) {
  const size_t count = disk.open_names.size();
  std::vector<Names> all;
  const auto add = [&](const auto& reached) {
    Names names = disk.names;
    for (size_t i = 0; i < count; ++i) {
      if (reached(i)) apply_to_names(disk.open_names[i], names);
    }
    all.push_back(std::move(names));
  };
  for (size_t end = 0; end <= count; ++end) add([&](size_t i) { return i < end; });
  for (size_t only = 0; only < count; ++only) add([&](size_t i) { return i == only; });
  for (size_t k = 0; k < count; ++k) add([&](size_t) { return generator.below(2) == 0; });
  return all;
}

enum class Fate { lost, written, zeroed, half, any };

/// The content of a file whose open changes met that fate: all of them the same, or each its own.
Bytes after(Fate fate, const Bytes& safe, const std::vector<DiskEvent>& changes, lux::Generator& generator) {
  Bytes bytes = safe;
  for (DiskEvent change : changes) {
    const Fate own = fate == Fate::any ? static_cast<Fate>(generator.below(4)) : fate;
    if (own == Fate::lost) continue;
    if (own == Fate::zeroed) std::fill(change.bytes.begin(), change.bytes.end(), uint8_t{0});
    if (own == Fate::half) change.bytes.resize(change.bytes.size() / 2);
    apply_to_bytes(change, bytes);
  }
  return bytes;
}

/// The state that names and bytes make. What lies in a folder without a name is not there.
DiskState state_of(const Names& names, const std::map<int, Bytes>& contents) {
  DiskState state;
  for (const auto& [path, file] : names) {
    const std::string folder = folder_of(path);
    if (folder != "/" && !state.contains(folder)) continue;
    const auto content = contents.find(file);
    state[file < 0 ? path + "/" : path] = content == contents.end() ? Bytes() : content->second;
  }
  return state;
}

}  // namespace

void each_state_after_power_loss(const std::vector<DiskEvent>& events,
                                 const std::function<void(const DiskState&, int64_t mark)>& visit) {
  lux::Generator generator(6, "power");
  std::set<std::pair<int64_t, DiskState>> seen;
  Disk disk;
  int64_t mark = 0;
  for (const DiskEvent& event : events) {
    disk.take(event);
    if (event.kind == DiskEvent::mark) mark = event.offset;
    for (const Names& names : possible_names(disk, generator)) {
      for (int fate = 0; fate < 12; ++fate) {
        std::map<int, Bytes> contents = disk.bytes;
        for (const auto& [file, changes] : disk.open_bytes) {
          contents[file] =
              after(std::min(static_cast<Fate>(fate), Fate::any), disk.bytes[file], changes, generator);
        }
        const auto [state, is_new] = seen.emplace(mark, state_of(names, contents));
        if (is_new) visit(state->second, mark);
      }
    }
  }
}
