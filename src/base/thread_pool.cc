#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/unique_fd.h"

namespace corten {

void Cancellation::check() const {
  if (is_cancelled()) throw Error(ErrorCode::kCancelled, "cancelled");
}

ThreadPool::ThreadPool(unsigned threads) : most_(std::max(1u, threads)) {}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
    tasks_.clear();
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::submit(std::function<void()> task) {
  {
    std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    if (tasks_.size() > idle_threads_ && threads_.size() < most_) threads_.emplace_back([this] { work(); });
  }
  wake_.notify_one();
}

void ThreadPool::wait() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [&] { return tasks_.empty() && running_ == 0; });
  if (first_error_) std::rethrow_exception(std::exchange(first_error_, nullptr));
}

void ThreadPool::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    idle_threads_++;
    wake_.wait(lock, [&] { return closing_ || !tasks_.empty(); });
    idle_threads_--;
    if (tasks_.empty()) return;
    std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    running_++;
    lock.unlock();
    std::exception_ptr error;
    try {
      task();
    } catch (...) {
      error = std::current_exception();
    }
    task = nullptr;
    lock.lock();
    running_--;
    if (error && !first_error_) first_error_ = error;
    if (tasks_.empty() && running_ == 0) idle_.notify_all();
  }
}

// The quota of the cgroup that we see as our own (a container's root cgroup); 0: none.
static unsigned cgroup_quota() {
  const char* file = "/sys/fs/cgroup/cpu.max";
  if (!path_exists(file)) return 0;  // no cgroup v2 here
  try {
    auto words = split_words(read_file(file, 4096));
    if (words.size() != 2) return 0;
    auto quota = parse_int(words[0]), period = parse_int(words[1]);
    if (!quota || !period || *period <= 0) return 0;
    return static_cast<unsigned>((*quota + *period - 1) / *period);
  } catch (const Error&) {
    return 0;
  }
}

unsigned available_processors() {
  cpu_set_t set;
  unsigned count = sched_getaffinity(0, sizeof set, &set) == 0 ? static_cast<unsigned>(CPU_COUNT(&set)) : 1;
  if (unsigned quota = cgroup_quota()) count = std::min(count, quota);
  return std::max(1u, count);
}

void parallel_for(size_t count, unsigned threads, const std::function<void(size_t)>& f) {
  threads = static_cast<unsigned>(std::min<size_t>(threads, count));
  if (threads <= 1) {
    for (size_t i = 0; i < count; i++) f(i);
    return;
  }
  std::atomic<size_t> next = 0;
  ThreadPool pool(threads);
  for (unsigned t = 0; t < threads; t++)
    pool.submit([&] {
      for (size_t i; (i = next++) < count;) f(i);
    });
  pool.wait();
}

}  // namespace corten
