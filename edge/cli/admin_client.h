// edge/cli/admin_client.h - the other end of a node's admin listener: what `segue drain`,
// `explain`, `purge` and the like ask, and what they print. Plain HTTP over a unix socket or
// loopback.
//
// For command lines only: every call waits, and none belongs on a loop.
#pragma once
#include <chrono>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace segue::edge {

/// Where the admin listener is: a unix socket, else an IP literal with its port.
struct AdminPlace {
  std::string unix_path;
  std::string ip;  // IPv6 without brackets
  uint16_t port = 0;
};

struct AdminCall {
  enum class Method : uint8_t { Get, Post } method = Method::Get;
  std::string target;  // path and query, escaped
  std::chrono::milliseconds within{60'000};
};

struct AdminAnswer {
  long status = 0;
  std::string body;
};

[[nodiscard]] AdminCall drain_call();
[[nodiscard]] AdminCall stats_call();
[[nodiscard]] AdminCall listens_call(bool csv);
[[nodiscard]] AdminCall explain_call(std::string_view url);
/// One statement: `scope` is "url" or "prefix". Soft: stale instead of gone; cut: end running
/// responses too.
[[nodiscard]] AdminCall purge_call(std::string_view scope, std::string_view url, bool soft,
                                   bool cut);

/// Asks once; waits at most `call.within` (a purge is acknowledged when it is on every drive). The
/// error is a sentence for the operator.
[[nodiscard]] std::expected<AdminAnswer, std::string> ask(const AdminPlace& place,
                                                          const AdminCall& call);

/// ask(), then the body to standard output, or the reason to standard error. The exit code: 0 if
/// the answer was 2xx, else 1.
[[nodiscard]] int ask_and_print(const AdminPlace& place, const AdminCall& call);

}  // namespace segue::edge
