#include "tests/unit/origin/scripted_name_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"

namespace segue::origin {
namespace {

constexpr size_t kHeaderBytes = 12;
constexpr uint16_t kTypeA = 1;
constexpr uint16_t kTypeAaaa = 28;

void put16(std::string& out, uint32_t value) {
  out.push_back(static_cast<char>(value >> 8 & 0xff));
  out.push_back(static_cast<char>(value & 0xff));
}

void put_record(std::string& out, uint16_t type, uint32_t ttl, const std::string& address) {
  unsigned char bytes[16];
  const int family = type == kTypeA ? AF_INET : AF_INET6;
  SEGUE_ASSERT(inet_pton(family, address.c_str(), bytes) == 1);
  const uint16_t length = type == kTypeA ? 4 : 16;
  put16(out, 0xc00c);  // the name of the question
  put16(out, type);
  put16(out, 1);  // IN
  put16(out, ttl >> 16);
  put16(out, ttl & 0xffff);
  put16(out, length);
  out.append(reinterpret_cast<const char*>(bytes), length);
}

}  // namespace

ScriptedNameServer::ScriptedNameServer() {
  fd_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  SEGUE_ASSERT(bind(fd_, generic, length) == 0);
  SEGUE_ASSERT(getsockname(fd_, generic, &length) == 0);
  port_ = ntohs(address.sin_port);
  thread_ = std::thread(&ScriptedNameServer::serve, this);
}

ScriptedNameServer::~ScriptedNameServer() {
  shutdown(fd_, SHUT_RDWR);
  thread_.join();
  close(fd_);
}

void ScriptedNameServer::on(const std::string& name, Answer answer) {
  const std::lock_guard lock(mutex_);
  answers_[name] = std::move(answer);
}

std::string ScriptedNameServer::address() const { return "127.0.0.1:" + std::to_string(port_); }

uint64_t ScriptedNameServer::queries() const {
  const std::lock_guard lock(mutex_);
  return queries_;
}

void ScriptedNameServer::serve() {
  for (;;) {
    char bytes[512];
    sockaddr_in from{};
    socklen_t length = sizeof(from);
    auto* generic = reinterpret_cast<sockaddr*>(&from);
    const ssize_t got = recvfrom(fd_, bytes, sizeof(bytes), 0, generic, &length);
    if (got <= 0) return;
    const std::string answer = answer_to(std::string(bytes, static_cast<size_t>(got)));
    if (!answer.empty()) (void)sendto(fd_, answer.data(), answer.size(), 0, generic, length);
  }
}

std::string ScriptedNameServer::answer_to(const std::string& query) {
  std::string name;
  size_t at = kHeaderBytes;
  while (at < query.size() && query[at] != 0) {
    const auto length = static_cast<size_t>(static_cast<unsigned char>(query[at]));
    if (!name.empty()) name += '.';
    name += query.substr(at + 1, length);
    at += length + 1;
  }
  const size_t question_end = at + 5;  // the root label, type and class
  if (question_end > query.size()) return {};
  const auto type = static_cast<uint16_t>(static_cast<unsigned char>(query[at + 2]));
  const std::lock_guard lock(mutex_);
  ++queries_;
  const auto found = answers_.find(name);
  Answer answer{.response_code = 3};
  if (found != answers_.end()) answer = found->second;
  if (answer.silent) return {};
  const auto& addresses = type == kTypeA ? answer.ipv4 : answer.ipv6;
  const bool known = answer.response_code == 0 && (type == kTypeA || type == kTypeAaaa);
  std::string out = query.substr(0, 2);
  put16(out, 0x8180U | answer.response_code);
  put16(out, 1);
  put16(out, known ? static_cast<uint32_t>(addresses.size()) : 0);
  put16(out, 0);
  put16(out, 0);
  out += query.substr(kHeaderBytes, question_end - kHeaderBytes);
  if (!known) return out;
  for (const std::string& address : addresses) put_record(out, type, answer.ttl_seconds, address);
  return out;
}

}  // namespace segue::origin
