// Tasks on threads. Which thread takes a task changes no result: a task writes to its own memory,
// and sums over tasks are made in their order.
#pragma once

#ifdef __SSE__
#include <xmmintrin.h>
#endif

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

namespace lightpfp {

/// Memory aligned to a pack.
class Scratch {
 public:
  explicit Scratch(int64_t bytes)
      : memory_(std::aligned_alloc(64, size_t(bytes + 127) / 64 * 64), std::free) {
    if (!memory_) throw std::bad_alloc();
  }
  void* data() const { return memory_.get(); }

 private:
  std::unique_ptr<void, decltype(&std::free)> memory_;
};

/// While it lives, numbers too small for their exponent (float32: below 1e-38) are zero on this
/// thread. Products of saturated neurons are such, and a processor takes a hundred times as long.
class TinyIsZero {
#ifdef __SSE__
 public:
  TinyIsZero() : before_(_mm_getcsr()) { _mm_setcsr(before_ | flush_results | flush_inputs); }
  ~TinyIsZero() { _mm_setcsr(before_); }

 private:
  static constexpr unsigned flush_results = 0x8000, flush_inputs = 0x0040;
  unsigned before_;
#endif
};

/// Calls f(task, scratch) for every task, on at most `n_threads` threads with scratch of their own.
template <class F>
void in_parallel(int64_t n_tasks, int n_threads, int64_t scratch_bytes, F f) {
  std::atomic<int64_t> next{0};
  std::exception_ptr failure;
  std::mutex guard;
  const auto work = [&] {
    try {
      const Scratch scratch(scratch_bytes);
      [[maybe_unused]] const TinyIsZero mode;
      for (int64_t task; (task = next++) < n_tasks;) f(task, scratch.data());
    } catch (...) {
      const std::lock_guard<std::mutex> lock(guard);
      failure = std::current_exception();
    }
  };
  std::vector<std::thread> others;
  for (int64_t n = 1; n < n_threads && n < n_tasks; ++n) others.emplace_back(work);
  work();
  for (std::thread& each : others) each.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace lightpfp
