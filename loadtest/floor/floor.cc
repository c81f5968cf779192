// loadtest/floor/floor.cc - the least work that can answer a range request: epoll, one read, one
// writev from huge-page memory.
//
// No HTTP parser, no cache, no log, no time-outs: what a server costs above this is its own. It is
// a floor and not a toy only while its memory is as large as the cache it stands for (a floor that
// sends from the L2 cache flatters nobody), the request sequence is the same, and its head is as
// long as the server's: both are options. Links nothing of Segue's. Runs until its standard input
// is closed.
//
//   floor PORT TRACKS TRACK_BYTES HEAD_BYTES
// answers "GET /t/<number> ..." with "Range: bytes=<first>-<last>".
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace {

constexpr size_t kRequestBytesMax = 4096;
constexpr size_t kHeadBytesMax = 4096;
constexpr uint64_t kWriteBatchBytes = 256 * 1024;

struct Connection {
  int fd = -1;
  size_t received = 0;
  uint64_t body_first = 0;  // what is left to send, in bytes of memory
  uint64_t body_end = 0;
  size_t head_left = 0;
  size_t head_size = 0;
  std::array<char, kRequestBytesMax> request;
  std::array<char, kHeadBytesMax> head;
};

struct Floor {
  char* memory = nullptr;
  uint64_t tracks = 0;
  uint64_t track_bytes = 0;
  size_t head_bytes = 0;
  int epoll_fd = -1;
};

uint64_t number_at(std::string_view text) {
  uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

// The head is padded to the length asked for, so that both servers move as many bytes.
void write_head(const Floor& floor, Connection& connection, uint64_t first, uint64_t end) {
  int length = std::snprintf(
      connection.head.data(), connection.head.size(),
      "HTTP/1.1 206 Partial Content\r\nContent-Length: %llu\r\nContent-Range: bytes "
      "%llu-%llu/%llu\r\nX: ",
      static_cast<unsigned long long>(end - first), static_cast<unsigned long long>(first),
      static_cast<unsigned long long>(end - 1), static_cast<unsigned long long>(floor.track_bytes));
  auto used = static_cast<size_t>(std::max(length, 0));
  const size_t wanted = std::clamp(floor.head_bytes, used + 5, connection.head.size());
  std::memset(connection.head.data() + used, '.', wanted - used);
  std::memcpy(connection.head.data() + wanted - 4, "\r\n\r\n", 4);
  connection.head_size = connection.head_left = wanted;
}

bool start_response(const Floor& floor, Connection& connection) {
  const std::string_view request(connection.request.data(), connection.received);
  if (!request.ends_with("\r\n\r\n")) return connection.received < kRequestBytesMax;
  const size_t target = request.find("/t/");
  const size_t range = request.find("bytes=");
  if (target == std::string_view::npos || range == std::string_view::npos) return false;
  const size_t dash = request.find('-', range);
  const uint64_t track = number_at(request.substr(target + 3)) % floor.tracks;
  const uint64_t first = number_at(request.substr(range + 6));
  const uint64_t end = std::min(number_at(request.substr(dash + 1)) + 1, floor.track_bytes);
  if (first >= end) return false;
  write_head(floor, connection, first, end);
  connection.body_first = track * floor.track_bytes + first;
  connection.body_end = track * floor.track_bytes + end;
  connection.received = 0;
  return true;
}

// False: close. Sends until the socket is full or all is sent.
bool send_response(const Floor& floor, Connection& connection) {
  while (connection.head_left + (connection.body_end - connection.body_first) > 0) {
    const uint64_t body = std::min(connection.body_end - connection.body_first, kWriteBatchBytes);
    iovec parts[2] = {{connection.head.data() + (connection.head_size - connection.head_left),
                       connection.head_left},
                      {floor.memory + connection.body_first, body}};
    ssize_t sent = writev(connection.fd, connection.head_left > 0 ? parts : parts + 1,
                          connection.head_left > 0 ? 2 : 1);
    if (sent < 0) return errno == EAGAIN;
    const size_t of_head = std::min(static_cast<size_t>(sent), connection.head_left);
    connection.head_left -= of_head;
    connection.body_first += static_cast<size_t>(sent) - of_head;
  }
  return true;
}

void want(const Floor& floor, const Connection& connection, uint32_t events, int operation) {
  epoll_event event{};
  event.events = events;
  event.data.fd = connection.fd;
  epoll_ctl(floor.epoll_fd, operation, connection.fd, &event);
}

bool serve(const Floor& floor, Connection& connection, uint32_t events) {
  const bool was_sending = connection.head_left > 0 || connection.body_first < connection.body_end;
  if ((events & EPOLLIN) != 0 && !was_sending) {
    ssize_t got = read(connection.fd, connection.request.data() + connection.received,
                       kRequestBytesMax - connection.received);
    if (got <= 0) return false;
    connection.received += static_cast<size_t>(got);
    if (!start_response(floor, connection)) return false;
  }
  if (!send_response(floor, connection)) return false;
  const bool sending = connection.head_left > 0 || connection.body_first < connection.body_end;
  if (sending != was_sending) want(floor, connection, sending ? EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
  return true;
}

char* map_memory(uint64_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  madvise(memory, bytes, MADV_HUGEPAGE);
  // Touched with bytes that differ per page: the kernel must not share a zero page.
  auto* bytes_of = static_cast<char*>(memory);
  for (uint64_t at = 0; at < bytes; at += 4096) bytes_of[at] = static_cast<char>(at >> 12 | 1);
  return bytes_of;
}

int listen_on(uint16_t port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(fd, 1024) != 0)
    return -1;
  return fd;
}

void run(Floor& floor, int listener) {
  std::unordered_map<int, std::unique_ptr<Connection>> connections;
  Connection gate;
  for (int fd : {listener, STDIN_FILENO}) {
    gate.fd = fd;
    want(floor, gate, EPOLLIN | (fd == STDIN_FILENO ? EPOLLHUP : 0U), EPOLL_CTL_ADD);
  }
  std::array<epoll_event, 256> events;
  for (;;) {
    int count = epoll_wait(floor.epoll_fd, events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<size_t>(i)].data.fd;
      if (fd == STDIN_FILENO) return;
      if (fd == listener) {
        int accepted = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
        if (accepted < 0) continue;
        int on = 1;
        setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        auto connection = std::make_unique<Connection>();
        connection->fd = accepted;
        want(floor, *connection, EPOLLIN, EPOLL_CTL_ADD);
        connections[accepted] = std::move(connection);
        continue;
      }
      auto found = connections.find(fd);
      if (found != connections.end() &&
          !serve(floor, *found->second, events[static_cast<size_t>(i)].events)) {
        close(fd);
        connections.erase(found);
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: floor PORT TRACKS TRACK_BYTES HEAD_BYTES\n");
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);  // a client that leaves in the middle of a body
  Floor floor;
  floor.tracks = number_at(argv[2]);
  floor.track_bytes = number_at(argv[3]);
  floor.head_bytes = number_at(argv[4]);
  if (floor.tracks == 0 || floor.track_bytes == 0) return 2;
  floor.memory = map_memory(floor.tracks * floor.track_bytes);
  floor.epoll_fd = epoll_create1(0);
  const int listener = listen_on(static_cast<uint16_t>(number_at(argv[1])));
  if (floor.memory == nullptr || listener < 0) {
    std::perror("floor");
    return 1;
  }
  std::puts("ready");
  std::fflush(stdout);
  run(floor, listener);
}
