// Threads. Each task runs with the default floating-point environment (round to nearest, denormals
// kept), whatever the caller's is, and the caller's is put back afterwards.
//
// Two pools on the same cores disturb each other: OpenMP's workers spin for milliseconds after
// torch's last operation. So work goes to torch's own OpenMP workers where the loader has found
// them (GOMP_parallel is the C ABI of both GNU's and LLVM's runtime), and to a small pool of our
// own elsewhere: without OpenMP, and in a forked child, where OpenMP's workers no longer exist.
#pragma once

#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace qt {

class FloatEnvironment {
 public:
#if defined(__SSE2__)
  FloatEnvironment() : saved_(_mm_getcsr()) { _mm_setcsr(0x1f80); }
  ~FloatEnvironment() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
#endif
};

using OpenMP = void (*)(void (*)(void *), void *, unsigned threads, unsigned flags);

class Pool {
 public:
  // The process's pool. A forked child gets a fresh one: threads do not survive a fork.
  static Pool &instance() {
    static std::atomic<Pool *> pool{nullptr};
    static std::once_flag once;
    std::call_once(once, [] {
      pool = new Pool;
      pthread_atfork(nullptr, nullptr, [] { pool = new Pool; });
    });
    return *pool;
  }

  // Use these workers from now on, in this process.
  void share(OpenMP openmp) {
    std::lock_guard<std::mutex> one_caller(callers_);
    openmp_ = openmp;
    openmp_process_ = getpid();
  }

  // Runs body(context, task) for task = 0 .. tasks - 1 on at most `threads` threads, the caller
  // among them, and returns when all are done.
  void run(void (*body)(const void *, int64_t), const void *context, int64_t tasks, int threads) {
    if (threads > tasks) threads = int(tasks);
    if (threads <= 1) {
      FloatEnvironment environment;
      for (int64_t task = 0; task < tasks; ++task) body(context, task);
      return;
    }
    std::lock_guard<std::mutex> one_caller(callers_);
    if (openmp_ && openmp_process_ == getpid()) {
      body_ = body;
      context_ = context;
      tasks_ = tasks;
      next_ = 0;
      openmp_([](void *self) { ((Pool *)self)->work(); }, this, unsigned(threads), 0);
      return;
    }
    {
      std::lock_guard<std::mutex> lock(mutex_);
      body_ = body;
      context_ = context;
      tasks_ = tasks;
      next_ = 0;
      wanted_ = running_ = threads - 1;
      ++generation_;
      while (int(workers_.size()) < wanted_) {
        int number = int(workers_.size());
        workers_.emplace_back([this, number] { serve(number); });
        workers_.back().detach();
      }
    }
    wake_.notify_all();
    work();
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return running_ == 0; });
  }

 private:
  void work() {
    FloatEnvironment environment;
    for (int64_t task; (task = next_.fetch_add(1)) < tasks_;) body_(context_, task);
  }

  void serve(int number) {
    uint64_t seen = 0;
    for (;;) {
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return generation_ != seen && number < wanted_; });
        seen = generation_;
      }
      work();
      std::lock_guard<std::mutex> lock(mutex_);
      if (--running_ == 0) done_.notify_one();
    }
  }

  std::mutex callers_, mutex_;
  std::condition_variable wake_, done_;
  std::vector<std::thread> workers_;
  void (*body_)(const void *, int64_t) = nullptr;
  const void *context_ = nullptr;
  int64_t tasks_ = 0;
  std::atomic<int64_t> next_{0};
  int wanted_ = 0, running_ = 0;
  OpenMP openmp_ = nullptr;
  pid_t openmp_process_ = 0;
  uint64_t generation_ = 0;
};

template <class Body>
void parallel(int64_t tasks, int threads, const Body &body) {
  Pool::instance().run([](const void *context, int64_t task) { (*(const Body *)context)(task); },
                       &body, tasks, threads);
}

}  // namespace qt
