// Waiting for many things in one thread: descriptors and times.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "base/unique_fd.h"

namespace corten::container {

// Not thread-safe. Handlers may add and remove descriptors and timers, their own included.
class EventLoop {
 public:
  using Handler = std::function<void(uint32_t events)>;  // EPOLLIN, ...

  EventLoop();
  void watch(int fd, uint32_t events, Handler handler);
  void change(int fd, uint32_t events);
  void forget(int fd);  // before it is closed

  // Once, after that many nanoseconds. Gives a number for cancel().
  uint64_t after(int64_t ns, std::function<void()> action);
  void cancel(uint64_t timer);

  void run_once();

 private:
  struct Watch {
    uint64_t generation;
    std::shared_ptr<Handler> handler;
  };
  void fire_timers();

  UniqueFd epoll_;
  std::map<int, Watch> watches_;
  uint64_t next_ = 1;
  std::map<std::pair<int64_t, uint64_t>, std::function<void()>> timers_;  // by time
};

}  // namespace corten::container
