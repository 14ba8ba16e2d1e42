// tensor/thread_pool.h and tensor/parallel.h: who runs what, and sums that do not depend on it.
#include "luxgrad/tensor/parallel.h"

#include <doctest/doctest.h>

#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <limits>
#include <mutex>
#include <numeric>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "luxgrad/tensor/error.h"
#include "luxgrad/tensor/many_at_work.h"
#include "scopes.h"

using namespace lux;

namespace {

// Whether this thread computes with denormals (true) or flushes them.
bool has_denormals() {
  volatile double tiny = std::numeric_limits<double>::min();
  volatile double half = tiny / 2;
  return half != 0;
}

}  // namespace

TEST_CASE("every chunk runs once, for any number of threads and chunks") {
  for (const int threads : {1, 2, 3, 5}) {
    const Threads scope(threads);
    CHECK(num_threads() == threads);
    for (const int64_t chunks : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<size_t>(chunks));
      run_chunks(chunks, [&](int64_t chunk) { ++runs[static_cast<size_t>(chunk)]; });
      for (const auto& count : runs) CHECK(count == 1);
    }
  }
}

TEST_CASE("sections of several chunks are counted, whoever runs them") {
  for (const int threads : {1, 3}) {
    const Threads scope(threads);
    const int64_t before = divided_sections();
    run_chunks(0, [](int64_t) {});
    run_chunks(1, [](int64_t) {});
    CHECK(divided_sections() == before);
    run_chunks(2, [](int64_t) {});
    CHECK(divided_sections() == before + 1);
  }
}

TEST_CASE("several threads take part") {
  const Threads scope(3);
  std::mutex mutex;
  std::set<std::thread::id> ids;
  std::atomic<int> waiting{0};
  run_chunks(3, [&](int64_t) {  // each chunk waits until all three have begun: only three threads can finish
    ++waiting;
    while (waiting < 3) std::this_thread::yield();
    const std::lock_guard lock(mutex);
    ids.insert(std::this_thread::get_id());
  });
  CHECK(ids.size() == 3);
  CHECK(ids.contains(std::this_thread::get_id()));
}

TEST_CASE("while several are at work their sections run in place, and the last has the pool again") {
  const Threads scope(4);
  const auto threads_of_a_section = [] {
    std::mutex mutex;
    std::set<std::thread::id> seen;
    run_chunks(100, [&](int64_t) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      const std::lock_guard lock(mutex);
      seen.insert(std::this_thread::get_id());
    });
    return seen.size();
  };
  const ManyAtWork one;
  CHECK(threads_of_a_section() > 1);
  {
    const ManyAtWork another;
    CHECK(threads_of_a_section() == 1);
  }
  CHECK(threads_of_a_section() > 1);
}

TEST_CASE("a section inside a task runs in place") {
  const Threads scope(3);
  std::atomic<int> runs{0};
  std::atomic<bool> moved{false};
  run_chunks(8, [&](int64_t) {
    const auto outer = std::this_thread::get_id();
    run_chunks(5, [&](int64_t) {
      ++runs;
      if (std::this_thread::get_id() != outer) moved = true;
    });
  });
  CHECK(runs == 40);
  CHECK_FALSE(moved);
}

TEST_CASE("sections started by several threads at once all finish") {
  const Threads scope(3);
  std::atomic<int> runs{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([&] {
      for (int i = 0; i < 200; ++i) run_chunks(6, [&](int64_t) { ++runs; });
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(runs == 4 * 200 * 6);
}

TEST_CASE("the first exception reaches the caller after the other chunks have run") {
  for (const int threads : {1, 3}) {
    const Threads scope(threads);
    std::atomic<int> runs{0};
    const auto section = [&] {
      run_chunks(50, [&](int64_t chunk) {
        if (chunk == 7 || chunk == 30) throw std::runtime_error("chunk");
        ++runs;
      });
    };
    CHECK_THROWS_WITH_AS(section(), "chunk", std::runtime_error);
    CHECK(runs == 48);
    run_chunks(4, [&](int64_t) { ++runs; });  // the pool still works
    CHECK(runs == 52);
  }
}

TEST_CASE("the number of threads is checked") {
  CHECK_THROWS_WITH_AS(set_num_threads(0), "threads: expected 1 to 256, got 0", Error);
  CHECK_THROWS_WITH_AS(set_num_threads(257), "threads: expected 1 to 256, got 257", Error);
  CHECK_THROWS_WITH_AS(run_chunks(1, [](int64_t) { set_num_threads(2); }),
                       "threads: cannot be changed by a task", Error);
}

TEST_CASE("denormals are flushed in every task, and the caller's mode comes back") {
#if defined(__x86_64__)
  REQUIRE(has_denormals());
  for (const int threads : {1, 2, 5}) {
    const Threads scope(threads);
    std::atomic<int> kept{0};
    std::atomic<int> waiting{0};
    run_chunks(threads, [&](int64_t) {
      ++waiting;
      while (waiting < threads) std::this_thread::yield();  // so that every thread gets one
      kept += has_denormals() ? 1 : 0;
    });
    CHECK(kept == 0);
    CHECK(has_denormals());
  }
  {
    const FlushDenormals flush;
    CHECK_FALSE(has_denormals());
    run_chunks(4, [](int64_t) {});
    CHECK_FALSE(has_denormals());  // still the caller's mode
  }
  CHECK(has_denormals());
#else
  MESSAGE("skipped: this processor's floating-point mode is left alone");
#endif
}

namespace {

// Terms whose sum depends on the order in floating point.
struct Terms {
  std::vector<double>* results;
  double term(int64_t o, int64_t i) const {
    return std::sin(static_cast<double>(i * 7 + o)) * std::exp2(static_cast<double>(i % 40));
  }
  void finish(int64_t o, double sum) const { (*results)[static_cast<size_t>(o)] = sum; }
};

struct ColumnTerms {
  std::vector<double>* results;
  int64_t columns;
  double term(int64_t row, int64_t c) const {
    return std::sin(static_cast<double>(row * 7 + c)) * std::exp2(static_cast<double>(row % 40));
  }
  void finish(int64_t g, int64_t c, double sum) const {
    (*results)[static_cast<size_t>(g * columns + c)] = sum;
  }
};

template <class F>
void check_fixed_order(const F& compute) {
  std::vector<double> first;
  for (const int threads : {1, 2, 3, 5}) {
    const Threads scope(threads);
    const std::vector<double> results = compute();
    if (first.empty()) first = results;
    for (size_t i = 0; i < results.size(); ++i)
      CHECK(std::bit_cast<uint64_t>(results[i]) == std::bit_cast<uint64_t>(first[i]));
  }
}

}  // namespace

TEST_CASE("parallel_for visits every index once") {
  for (const int64_t n : {0, 1, 8191, 8192, 8193, 50000}) {
    const Threads scope(3);
    std::vector<int> visits(static_cast<size_t>(n));
    struct Visit {
      int* visits;
      void operator()(int64_t i) const { ++visits[i]; }
    };
    parallel_for(kCpu, n, Visit{visits.data()});
    CHECK(std::accumulate(visits.begin(), visits.end(), int64_t{0}) == n);
    parallel_for(kCpu, n, Visit{visits.data()}, 3);
    for (const int count : visits) REQUIRE(count == 2);
  }
}

TEST_CASE("a team sums, maximises and visits") {
  const Threads scope(3);
  struct Row {
    double* out;
    void operator()(const Team& team, int64_t row) const {
      const double sum = team.sum(10, [&](int64_t i) { return static_cast<double>(row * i); });
      const int64_t largest = team.max(10, [&](int64_t i) { return (i - 4) * (row % 2 == 0 ? 1 : -1); });
      double visited = 0;
      team.each(10, [&](int64_t i) { visited += static_cast<double>(i); });
      out[row] = sum + static_cast<double>(largest) + visited;
    }
  };
  std::vector<double> out(1000);
  parallel_rows(kCpu, 1000, 10, Row{out.data()});
  for (int64_t row = 0; row < 1000; ++row)
    CHECK(out[static_cast<size_t>(row)] == static_cast<double>(45 * row + (row % 2 == 0 ? 5 : 4) + 45));
}

TEST_CASE("parallel_reduce sums in a fixed order") {
  for (const int64_t n : {0, 1, 15, 16, 17, 4095, 4096, 4097, 100000}) {
    for (const int64_t cost : {1, 300, 1000000}) {
      CAPTURE(n);
      std::vector<double> results(3);
      const auto compute = [&] {
        parallel_reduce(kCpu, 3, n, Terms{&results}, cost);
        return results;
      };
      check_fixed_order(compute);
      for (int64_t o = 0; o < 3; ++o) {
        long double exact = 0, size = 0;
        for (int64_t i = 0; i < n; ++i) {
          const double term = Terms{}.term(o, i);
          exact += term;
          size += std::fabs(term);
        }
        CHECK(std::fabs(static_cast<double>(results[static_cast<size_t>(o)] - exact)) <=
              1e-15 * static_cast<double>(size));
      }
    }
  }
}

TEST_CASE("parallel_reduce over many outputs") {
  std::vector<double> results(20000);
  check_fixed_order([&] {
    parallel_reduce(kCpu, 20000, 5, Terms{&results});
    return results;
  });
  CHECK(results[19999] == doctest::Approx([] {
          double sum = 0;
          for (int64_t i = 0; i < 5; ++i) sum += Terms{}.term(19999, i);
          return sum;
        }()));
}

TEST_CASE("reduce_columns sums in a fixed order") {
  for (const int64_t rows : {0, 1, 1023, 1024, 1025, 20000}) {
    CAPTURE(rows);
    constexpr int64_t kGroups = 2, kColumns = 5;
    std::vector<double> results(kGroups * kColumns);
    check_fixed_order([&] {
      reduce_columns(kCpu, kGroups, rows, kColumns, ColumnTerms{&results, kColumns});
      return results;
    });
    for (int64_t o = 0; o < kGroups * kColumns; ++o) {
      long double exact = 0, size = 0;
      for (int64_t row = 0; row < rows; ++row) {
        const double term = ColumnTerms{}.term(o / kColumns * rows + row, o % kColumns);
        exact += term;
        size += std::fabs(term);
      }
      CHECK(std::fabs(static_cast<double>(results[static_cast<size_t>(o)] - exact)) <=
            1e-13 * static_cast<double>(size));
    }
  }
}
