// loadtest/origin/origin.cc - an origin server for load tests: every resource of content.h, ranges,
// a delay before the first byte, and counts of what it was asked. Costs little, links nothing of
// Segue's. Runs until its standard input is closed.
//
// Prints "ready PORT" once it listens; PORT 0 takes a free one.
//
//   origin PORT [--delay-us N] [--track-bytes N] [--no-range]
//   origin --write FOLDER TRACKS TRACK_BYTES     writes /t/0 ... as files, for a file server
//
// GET /counts answers "requests N\nbytes N\nranges N\n"; it is not counted itself.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <queue>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "content.h"

namespace {

using loadtest::Block;
using loadtest::Resource;
using loadtest::take_number;
using Clock = std::chrono::steady_clock;

constexpr size_t kRequestBytesMax = 8192;
constexpr uint64_t kWriteBytes = 256 * 1024;

struct Options {
  uint16_t port = 0;
  std::chrono::microseconds delay{0};
  uint64_t track_bytes = 0;
  bool ranges = true;
};

struct Counts {
  uint64_t requests = 0;
  uint64_t bytes = 0;
  uint64_t ranges = 0;
};

struct Connection {
  uint64_t number = 0;  // never used again, unlike a descriptor
  int fd = -1;
  std::string request;
  std::string head;
  size_t head_sent = 0;
  Resource resource;
  uint64_t at = 0;
  uint64_t end = 0;
  bool waiting = false;  // for its delay
  bool wants_write = false;

  [[nodiscard]] bool sending() const { return head_sent < head.size() || at < end; }
};

struct Due {
  Clock::time_point when;
  uint64_t number;
  int fd;
  bool operator>(const Due& other) const { return when > other.when; }
};

// The value of a field, "" if there is none. Good enough for the caches this stands behind.
std::string_view field(std::string_view head, std::string_view name) {
  for (size_t line = head.find("\r\n"); line != std::string_view::npos;
       line = head.find("\r\n", line)) {
    line += 2;
    const std::string_view text = head.substr(line, head.find("\r\n", line) - line);
    if (text.size() <= name.size() || text[name.size()] != ':') continue;
    const bool same = std::equal(name.begin(), name.end(), text.begin(),
                                 [](char a, char b) { return (a | 0x20) == (b | 0x20); });
    if (!same) continue;
    std::string_view value = text.substr(name.size() + 1);
    while (value.starts_with(' ')) value.remove_prefix(1);
    return value;
  }
  return {};
}

struct Range {
  uint64_t first = 0;
  uint64_t end = 0;
};

// Nothing: no range, or one that is not understood (RFC 9110 §14.2: ignored).
std::optional<Range> parse_range(std::string_view value, uint64_t bytes) {
  if (!value.starts_with("bytes=") || value.find(',') != std::string_view::npos) return {};
  value.remove_prefix(6);
  if (value.starts_with('-')) {
    value.remove_prefix(1);
    const auto suffix = take_number(value);
    if (!suffix) return {};
    return Range{bytes - std::min(*suffix, bytes), *suffix == 0 ? 0 : bytes};
  }
  const auto first = take_number(value);
  if (!first || !value.starts_with('-')) return {};
  value.remove_prefix(1);
  const auto last = take_number(value);
  return Range{*first, last ? std::min(*last + 1, bytes) : bytes};
}

class Origin {
 public:
  explicit Origin(const Options& options) : options_(options), epoll_(epoll_create1(0)) {}

  bool listen_on();
  [[nodiscard]] uint16_t port() const;
  void run();

 private:
  void accept_all();
  void on_event(Connection& connection, uint32_t events);
  bool take_requests(Connection& connection);
  void answer(Connection& connection, std::string_view head);
  void answer_resource(Connection& connection, std::string_view head, std::string_view path);
  bool send(Connection& connection);
  void watch(Connection& connection);
  void run_due();
  void drop(int fd);
  [[nodiscard]] std::optional<timespec> until_next() const;

  const Options options_;
  const Block block_;
  const int epoll_;
  int listener_ = -1;
  uint64_t next_number_ = 1;
  Counts counts_;
  std::unordered_map<int, std::unique_ptr<Connection>> connections_;
  std::priority_queue<Due, std::vector<Due>, std::greater<>> due_;
};

bool Origin::listen_on() {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(options_.port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  epoll_event event{.events = EPOLLIN, .data = {.fd = listener_}};
  if (bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener_, 4096) != 0 || epoll_ctl(epoll_, EPOLL_CTL_ADD, listener_, &event) != 0) {
    return false;
  }
  event.data.fd = STDIN_FILENO;
  return epoll_ctl(epoll_, EPOLL_CTL_ADD, STDIN_FILENO, &event) == 0;
}

uint16_t Origin::port() const {
  sockaddr_in address{};
  socklen_t length = sizeof address;
  getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
  return ntohs(address.sin_port);
}

std::optional<timespec> Origin::until_next() const {
  if (due_.empty()) return {};
  const auto left = std::chrono::nanoseconds(due_.top().when - Clock::now()).count();
  const int64_t ns = std::max<int64_t>(left, 0);
  return timespec{.tv_sec = ns / 1'000'000'000, .tv_nsec = ns % 1'000'000'000};
}

void Origin::run() {
  std::array<epoll_event, 256> events;
  for (;;) {
    const auto wait = until_next();
    const int count = epoll_pwait2(epoll_, events.data(), static_cast<int>(events.size()),
                                   wait ? &*wait : nullptr, nullptr);
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<size_t>(i)];
      if (event.data.fd == STDIN_FILENO) return;
      if (event.data.fd == listener_) {
        accept_all();
      } else if (const auto found = connections_.find(event.data.fd); found != connections_.end()) {
        on_event(*found->second, event.events);
      }
    }
    run_due();
  }
}

void Origin::accept_all() {
  for (int fd = 0; (fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK)) >= 0;) {
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    auto connection = std::make_unique<Connection>();
    connection->fd = fd;
    connection->number = next_number_++;
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
    connections_[fd] = std::move(connection);
  }
}

void Origin::drop(int fd) {
  connections_.erase(fd);
  close(fd);
}

void Origin::on_event(Connection& connection, uint32_t events) {
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
    std::array<char, kRequestBytesMax> bytes;
    const ssize_t got = read(connection.fd, bytes.data(), bytes.size());
    if (got == 0 || (got < 0 && errno != EAGAIN)) return drop(connection.fd);
    if (got > 0) connection.request.append(bytes.data(), static_cast<size_t>(got));
    if (connection.request.size() > kRequestBytesMax) return drop(connection.fd);
  }
  if (!take_requests(connection)) drop(connection.fd);
}

// Answers what has been asked, one after the other. False: the connection is broken.
bool Origin::take_requests(Connection& connection) {
  for (;;) {
    if (connection.waiting) return true;
    if (connection.sending()) {
      if (!send(connection)) return false;
      if (connection.sending()) return true;
    }
    const size_t end = connection.request.find("\r\n\r\n");
    if (end == std::string::npos) return true;
    answer(connection, std::string_view(connection.request).substr(0, end + 2));
    connection.request.erase(0, end + 4);
    if (options_.delay.count() > 0) {
      connection.waiting = true;
      due_.push({Clock::now() + options_.delay, connection.number, connection.fd});
    }
  }
}

void Origin::run_due() {
  while (!due_.empty() && due_.top().when <= Clock::now()) {
    const Due due = due_.top();
    due_.pop();
    const auto found = connections_.find(due.fd);
    if (found == connections_.end() || found->second->number != due.number) continue;
    found->second->waiting = false;
    if (!take_requests(*found->second)) drop(due.fd);
  }
}

void Origin::answer(Connection& connection, std::string_view head) {
  const size_t from = head.find(' ') + 1;
  const std::string_view target = head.substr(from, head.find(' ', from) - from);
  const std::string_view path = target.substr(0, target.find('?'));
  connection.head_sent = 0;
  connection.at = connection.end = 0;
  if (path == "/counts") {
    connection.resource = {};
    connection.resource.text = "requests " + std::to_string(counts_.requests) + "\nbytes " +
                               std::to_string(counts_.bytes) + "\nranges " +
                               std::to_string(counts_.ranges) + "\n";
    connection.resource.bytes = connection.end = connection.resource.text.size();
    connection.head =
        "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(connection.end) + "\r\n\r\n";
    return;
  }
  ++counts_.requests;
  answer_resource(connection, head, path);
  counts_.bytes += connection.end - connection.at;
}

void Origin::answer_resource(Connection& connection, std::string_view head, std::string_view path) {
  auto found = loadtest::find_resource(path, options_.track_bytes);
  if (!found) {
    connection.head = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    return;
  }
  const uint64_t bytes = found->bytes;
  const std::string tag =
      "\"" + std::to_string(loadtest::hash_path(path)) + "-" + std::to_string(bytes) + "\"";
  const std::string common = "Content-Type: " + std::string(found->type) + "\r\nETag: " + tag +
                             "\r\nCache-Control: public, max-age=86400\r\nLast-Modified: Thu, 01 "
                             "Jan 2026 00:00:00 GMT\r\nAccept-Ranges: bytes\r\n";
  connection.resource = std::move(*found);
  if (field(head, "If-None-Match") == tag) {
    connection.head = "HTTP/1.1 304 Not Modified\r\n" + common + "\r\n";
    return;
  }
  const std::string_view if_range = field(head, "If-Range");
  const bool ranged = options_.ranges && (if_range.empty() || if_range == tag);
  const auto range = ranged ? parse_range(field(head, "Range"), bytes) : std::nullopt;
  if (range && range->first >= range->end) {
    connection.head =
        "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\nContent-Range: bytes */" +
        std::to_string(bytes) + "\r\n\r\n";
    return;
  }
  connection.at = range ? range->first : 0;
  connection.end = range ? range->end : bytes;
  counts_.ranges += range ? 1 : 0;
  connection.head = range
                        ? "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes " +
                              std::to_string(range->first) + "-" + std::to_string(range->end - 1) +
                              "/" + std::to_string(bytes) + "\r\n"
                        : "HTTP/1.1 200 OK\r\n";
  connection.head +=
      common + "Content-Length: " + std::to_string(connection.end - connection.at) + "\r\n\r\n";
  if (head.starts_with("HEAD ")) connection.at = connection.end;
}

// False: the connection is broken.
bool Origin::send(Connection& connection) {
  while (connection.sending()) {
    const std::string_view head = std::string_view(connection.head).substr(connection.head_sent);
    const std::string_view body = block_.at(connection.resource, connection.at,
                                            std::min(connection.end - connection.at, kWriteBytes));
    iovec parts[2] = {{const_cast<char*>(head.data()), head.size()},
                      {const_cast<char*>(body.data()), body.size()}};
    const ssize_t sent = writev(connection.fd, parts, 2);
    if (sent < 0 && errno != EAGAIN) return false;
    if (sent < 0) break;
    const size_t of_head = std::min(static_cast<size_t>(sent), head.size());
    connection.head_sent += of_head;
    connection.at += static_cast<size_t>(sent) - of_head;
  }
  watch(connection);
  return true;
}

void Origin::watch(Connection& connection) {
  if (connection.wants_write == connection.sending()) return;
  connection.wants_write = connection.sending();
  epoll_event event{};
  event.events = connection.wants_write ? EPOLLOUT : EPOLLIN;
  event.data.fd = connection.fd;
  epoll_ctl(epoll_, EPOLL_CTL_MOD, connection.fd, &event);
}

bool write_files(const std::string& folder, uint64_t tracks, uint64_t bytes) {
  const Block block;
  mkdir(folder.c_str(), 0755);
  mkdir((folder + "/t").c_str(), 0755);
  for (uint64_t number = 0; number < tracks; ++number) {
    const std::string path = "/t/" + std::to_string(number);
    const auto resource = loadtest::find_resource(path, bytes);
    const int fd = open((folder + path).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || !resource) return false;
    for (uint64_t at = 0; at < resource->bytes;) {
      const std::string_view part = block.at(*resource, at, 1 << 20);
      const ssize_t n = write(fd, part.data(), part.size());
      if (n <= 0) return false;
      at += static_cast<uint64_t>(n);
    }
    close(fd);
  }
  return true;
}

uint64_t number_of(std::string_view text) { return take_number(text).value_or(0); }

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string_view> words(argv + 1, argv + argc);
  if (words.size() == 4 && words[0] == "--write") {
    return write_files(std::string(words[1]), number_of(words[2]), number_of(words[3])) ? 0 : 1;
  }
  Options options;
  bool port_given = false;
  for (size_t i = 0; i < words.size(); ++i) {
    const bool more = i + 1 < words.size();
    if (words[i] == "--no-range") {
      options.ranges = false;
    } else if (words[i] == "--delay-us" && more) {
      options.delay = std::chrono::microseconds(number_of(words[++i]));
    } else if (words[i] == "--track-bytes" && more) {
      options.track_bytes = number_of(words[++i]);
    } else {
      options.port = static_cast<uint16_t>(number_of(words[i]));
      port_given = true;
    }
  }
  if (!port_given) {
    std::fprintf(stderr,
                 "usage: origin PORT [--delay-us N] [--track-bytes N] [--no-range]\n"
                 "       origin --write FOLDER TRACKS TRACK_BYTES\n");
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);
  Origin origin(options);
  if (!origin.listen_on()) {
    std::perror("origin");
    return 1;
  }
  std::printf("ready %u\n", origin.port());
  std::fflush(stdout);
  origin.run();
}
