#include "edge/node/service_manager.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <optional>

namespace segue::edge {
namespace {

constexpr int kFirstListener = 3;  // SD_LISTEN_FDS_START
constexpr uint64_t kListenersMax = 256;

/// The variable, taken out of the environment. Called before any other thread exists.
std::string take_variable(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  std::string text = value == nullptr ? "" : value;
  unsetenv(name);  // NOLINT(concurrency-mt-unsafe)
  return text;
}

std::optional<uint64_t> number_of(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

/// Both LISTEN_PID and WATCHDOG_PID say whom the offer is for: a shell in between passes the
/// variables on to a process they are not meant for.
bool is_for_us(const std::string& pid) {
  return pid.empty() || number_of(pid) == static_cast<uint64_t>(getpid());
}

bool is_listening(int fd) {
  int listening = 0;
  socklen_t bytes = sizeof listening;
  return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &bytes) == 0 && listening != 0;
}

std::expected<std::vector<int>, std::string> take_listeners() {
  const std::string pid = take_variable("LISTEN_PID");
  const std::string count_text = take_variable("LISTEN_FDS");
  static_cast<void>(take_variable("LISTEN_FDNAMES"));
  std::vector<int> listeners;
  if (count_text.empty() || pid.empty() || !is_for_us(pid)) return listeners;
  const auto count = number_of(count_text);
  if (!count || *count > kListenersMax) {
    return std::unexpected(fmt::format("LISTEN_FDS={}: allowed: a whole number up to {}",
                                       count_text.substr(0, 80), kListenersMax));
  }
  for (int fd = kFirstListener; fd < kFirstListener + static_cast<int>(*count); ++fd) {
    if (!is_listening(fd)) {
      return std::unexpected(
          fmt::format("descriptor {} was handed over (LISTEN_FDS={}), but it is "
                      "no listening stream socket; set Accept=no and "
                      "ListenStream= in the socket unit",
                      fd, count_text));
    }
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    // The descriptor's flags are shared with the manager and with the next run; we never clear it.
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    listeners.push_back(fd);
  }
  return listeners;
}

}  // namespace

std::expected<ServiceManager, std::string> ServiceManager::from_environment() {
  ServiceManager manager;
  manager.notify_path_ = take_variable("NOTIFY_SOCKET");
  const std::string watchdog_pid = take_variable("WATCHDOG_PID");
  const std::string watchdog_text = take_variable("WATCHDOG_USEC");
  if (!watchdog_text.empty() && is_for_us(watchdog_pid)) {
    const auto interval = number_of(watchdog_text);
    if (!interval || *interval == 0 || *interval > static_cast<uint64_t>(INT64_MAX) / 2) {
      return std::unexpected(fmt::format("WATCHDOG_USEC={}: allowed: a number of microseconds",
                                         watchdog_text.substr(0, 80)));
    }
    manager.watchdog_ = std::chrono::microseconds{*interval};
  }
  auto listeners = take_listeners();
  if (!listeners) return std::unexpected(listeners.error());
  manager.listeners_ = std::move(*listeners);
  return manager;
}

void ServiceManager::notify(std::string_view state) const noexcept {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (notify_path_.empty() || notify_path_.size() >= sizeof address.sun_path) return;
  std::memcpy(address.sun_path, notify_path_.data(), notify_path_.size());
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return;
  const auto bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + notify_path_.size());
  // A manager that is gone or full is no reason to fail: it will notice by its own means.
  [[maybe_unused]] const ssize_t sent = sendto(fd, state.data(), state.size(), MSG_NOSIGNAL,
                                               reinterpret_cast<const sockaddr*>(&address), bytes);
  close(fd);
}

void ServiceManager::notify_reloading(MonoTime now) const noexcept {
  const auto usec = std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch());
  notify(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", usec.count()));
}

}  // namespace segue::edge
