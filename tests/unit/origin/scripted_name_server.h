// tests/unit/origin/scripted_name_server.h - a DNS server that answers what a test tells it to: one
// thread, UDP, a free port of 127.0.0.1.
#pragma once
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace segue::origin {

class ScriptedNameServer {
 public:
  struct Answer {
    std::vector<std::string> ipv4{};  // as text
    std::vector<std::string> ipv6{};
    uint32_t ttl_seconds = 60;
    uint8_t response_code = 0;  // 2: SERVFAIL, 3: NXDOMAIN
    bool silent = false;
  };
  ScriptedNameServer();
  ~ScriptedNameServer();
  ScriptedNameServer(const ScriptedNameServer&) = delete;
  ScriptedNameServer& operator=(const ScriptedNameServer&) = delete;

  void on(const std::string& name, Answer answer);
  /// "127.0.0.1:PORT"
  [[nodiscard]] std::string address() const;
  [[nodiscard]] uint64_t queries() const;

 private:
  void serve();
  [[nodiscard]] std::string answer_to(const std::string& query);

  int fd_ = -1;
  uint16_t port_ = 0;
  std::thread thread_;
  mutable std::mutex mutex_;
  std::map<std::string, Answer> answers_;
  uint64_t queries_ = 0;
};

}  // namespace segue::origin
