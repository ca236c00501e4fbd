#include "container/event_loop.h"

#include <sys/epoll.h>

#include "base/clock.h"
#include "base/error.h"

namespace corten::container {

EventLoop::EventLoop() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  if (!epoll_) fail_errno("make an event queue");
}

// An event carries the descriptor and the number of its watch: one that was forgotten in the same round is
// not taken for a new one with its number.
static epoll_event event_of(int fd, uint64_t generation, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = generation << 32 | static_cast<uint32_t>(fd);
  return event;
}

void EventLoop::watch(int fd, uint32_t events, Handler handler) {
  Watch watch{next_++ & 0xFFFFFFFF, std::make_shared<Handler>(std::move(handler))};
  epoll_event event = event_of(fd, watch.generation, events);
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) fail_errno("watch a descriptor");
  watches_[fd] = std::move(watch);
}

void EventLoop::change(int fd, uint32_t events) {
  epoll_event event = event_of(fd, watches_.at(fd).generation, events);
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) != 0) fail_errno("watch a descriptor");
}

void EventLoop::forget(int fd) {
  if (watches_.erase(fd) != 0) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

uint64_t EventLoop::after(int64_t ns, std::function<void()> action) {
  uint64_t number = next_++;
  timers_[{monotonic_ns() + ns, number}] = std::move(action);
  return number;
}

void EventLoop::cancel(uint64_t timer) {
  for (auto at = timers_.begin(); at != timers_.end(); ++at)
    if (at->first.second == timer) {
      timers_.erase(at);
      return;
    }
}

void EventLoop::fire_timers() {
  while (!timers_.empty() && timers_.begin()->first.first <= monotonic_ns()) {
    auto action = std::move(timers_.begin()->second);
    timers_.erase(timers_.begin());
    action();
  }
}

void EventLoop::run_once() {
  int64_t pause_ms = -1;
  if (!timers_.empty())
    pause_ms = std::clamp<int64_t>((timers_.begin()->first.first - monotonic_ns() + 999'999) / 1'000'000, 0,
                                   1 << 30);
  epoll_event events[32];
  int count = epoll_wait(epoll_.get(), events, 32, static_cast<int>(pause_ms));
  if (count < 0 && errno != EINTR) fail_errno("wait for events");
  for (int i = 0; i < count; i++) {
    auto watch = watches_.find(static_cast<int>(events[i].data.u64 & 0xFFFFFFFF));
    if (watch == watches_.end() || watch->second.generation != events[i].data.u64 >> 32) continue;
    std::shared_ptr<Handler> handler = watch->second.handler;
    (*handler)(events[i].events);
  }
  fire_timers();
}

}  // namespace corten::container
