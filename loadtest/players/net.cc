#include "loadtest/players/net.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace loadtest {

Net::Net() : epoll_(epoll_create1(EPOLL_CLOEXEC)), now_(std::chrono::steady_clock::now()) {}
Net::~Net() { close(epoll_); }

void Net::watch(int fd, uint32_t events, Watcher& watcher) {
  epoll_event event{.events = events, .data = {.ptr = &watcher}};
  epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
}

void Net::change(int fd, uint32_t events, Watcher& watcher) {
  epoll_event event{.events = events, .data = {.ptr = &watcher}};
  epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event);
}

void Net::forget(int fd) { epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr); }

void Net::wake_at(Sleeper& sleeper, Time when) {
  sleeper.armed_ = ++timers_;
  due_.push({when, sleeper.armed_, &sleeper});
}

void Net::run_due() {
  while (!due_.empty() && due_.top().when <= now_) {
    const Due due = due_.top();
    due_.pop();
    if (due.sleeper->armed_ != due.number) continue;  // replaced since
    due.sleeper->armed_ = 0;
    due.sleeper->on_time();
  }
}

void Net::run(Time end) {
  std::array<epoll_event, 256> events;
  stopped_ = false;
  while (!stopped_ && now_ < end) {
    const Time next = due_.empty() ? end : std::min(end, due_.top().when);
    const auto wait = std::chrono::ceil<std::chrono::nanoseconds>(next - now_).count();
    const int64_t ns = std::max<int64_t>(wait, 0);
    const timespec limit{.tv_sec = ns / 1'000'000'000, .tv_nsec = ns % 1'000'000'000};
    const int count =
        epoll_pwait2(epoll_, events.data(), static_cast<int>(events.size()), &limit, nullptr);
    now_ = std::chrono::steady_clock::now();
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<size_t>(i)];
      static_cast<Watcher*>(event.data.ptr)->on_ready(event.events);
    }
    run_due();
    graves_.clear();
  }
}

}  // namespace loadtest
