// What a process holds of the system: open files, threads, memory.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>

inline int64_t entries_of(const char* folder) {
  const std::filesystem::directory_iterator entries(folder);
  return std::distance(begin(entries), end(entries));
}

/// Open files of this process, one of which is the counting itself.
inline int64_t open_files() { return entries_of("/proc/self/fd"); }
inline int64_t running_threads() { return entries_of("/proc/self/task"); }

/// Bytes of this process in memory.
inline int64_t resident_memory() {
  int64_t mapped = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> mapped >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}
