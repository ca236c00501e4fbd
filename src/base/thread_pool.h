// Work on several cores, and the way to stop it.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace corten {

// Set once, seen by all. Copies share it. Thread-safe.
class Cancellation {
 public:
  void cancel() { *flag_ = true; }
  bool is_cancelled() const { return *flag_ || (parent_ && parent_->is_cancelled()); }
  // One that is cancelled with this one, or alone.
  Cancellation child() const {
    Cancellation made;
    made.parent_ = std::make_shared<const Cancellation>(*this);
    return made;
  }
  void check() const;  // throws Error(kCancelled)

 private:
  std::shared_ptr<std::atomic<bool>> flag_ = std::make_shared<std::atomic<bool>>(false);
  std::shared_ptr<const Cancellation> parent_;
};

// Threads that take tasks in the order they were given; one is made when a task finds none idle, up to a
// number. wait() gives back the first exception.
class ThreadPool {
 public:
  explicit ThreadPool(unsigned threads);
  ~ThreadPool();  // drops what has not begun, waits for what has
  void submit(std::function<void()> task);
  void wait();  // until all submitted tasks are done; rethrows the first exception

 private:
  void work();
  std::mutex mutex_;
  std::condition_variable wake_, idle_;
  std::deque<std::function<void()>> tasks_;
  const unsigned most_;
  size_t running_ = 0, idle_threads_ = 0;
  bool closing_ = false;
  std::exception_ptr first_error_;
  std::vector<std::thread> threads_;
};

// Processors that this process may use (affinity, cgroup v2 quota rounded up).
unsigned available_processors();

// Calls f(i) for i in [0, count) on up to `threads` threads; rethrows the first exception.
void parallel_for(size_t count, unsigned threads, const std::function<void(size_t)>& f);

}  // namespace corten
