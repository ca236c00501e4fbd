// A thread that calls a function again and again, until it is stopped.
#pragma once
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace corten::report {

class Ticker {
 public:
  Ticker(int64_t period_ms, std::function<void()> tick)
      : tick_(std::move(tick)), thread_([this, period_ms] { run(std::chrono::milliseconds(period_ms)); }) {}
  ~Ticker() {
    {
      std::lock_guard lock(mutex_);
      is_stopped_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }

 private:
  void run(std::chrono::milliseconds period) {
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, period, [&] { return is_stopped_; })) tick_();
  }

  std::function<void()> tick_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool is_stopped_ = false;
  std::thread thread_;
};

}  // namespace corten::report
