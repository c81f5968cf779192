// edge/admin/admin_handler.h - answers the admin listener: a RequestHandler of its own, on the same
// connections and parser as the public side, without the cache.
//
//   GET  /             the page for operators, with /page.js, /page.css, /chart.js
//   GET  /listens     plays and listeners, lines of JSON; ?format=csv
//   GET  /node.json    name, version, addresses, sites
//   GET  /metrics      Prometheus text
//   GET  /live         200 while the loop runs
//   GET  /ready        200 or 503 with the reason
//   GET  /stats.json   every number as JSON
//   GET  /explain?url= what the node knows of a URL
//   POST /drain        retire
//   POST /purge        JSON body or query, see purge_request.h
//   POST /feed         lines of a recommendation feed (conf/feed.md), at most kFeedBodyBytesMax;
//   the
//                      answer says how many were read. 429: come again with those after them
//
// Whoever can reach it may do all of this, so it listens on a unix socket or loopback only. A page
// in an operator's browser can reach loopback too: hence only known Host names are answered (421;
// DNS rebinding), and a request that a page of another origin sent is not (403).
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/counter.h"
#include "base/loop/task.h"
#include "edge/admin/admin_actions.h"
#include "edge/metrics/registry.h"
#include "edge/server/request_handler.h"

namespace segue::edge {

inline constexpr uint32_t kAdminBodyBytesMax = 64 * 1024;
// Of POST /feed: the longest line with its end, and what comes with it.
inline constexpr uint32_t kFeedBodyBytesMax = 2 * kAdminBodyBytesMax;
inline constexpr uint32_t kAdminRequestsMax = 64;  // at once; more: 503

struct AdminCounters {
  Counter requests, refused_hosts, refused_origins, purges, drains, feeds;
};

/// Loop-owned.
class AdminHandler final : public RequestHandler {
 public:
  struct Options {
    /// Host names answered besides localhost, 127.0.0.1 and [::1]; any case, no port.
    std::vector<std::string> hosts;
    uint32_t requests_max = kAdminRequestsMax;  // at once; more: 503
  };
  /// All outlive the handler; `registry` is complete.
  AdminHandler(Loop& loop, const Registry& registry, AdminActions& actions, Options options);

  void serve(Exchange& exchange, std::string_view body) override;
  void refuse(Exchange& exchange, int status, std::string_view reason) override;
  [[nodiscard]] uint32_t body_bytes_max(const http::Request& request) const noexcept override {
    return request.origin_form == "/feed" ? kFeedBodyBytesMax : kAdminBodyBytesMax;
  }

  /// Waits until no request is being answered; the server's connections are cut or finished before.
  [[nodiscard]] TaskGroup::Drain drain() noexcept { return tasks_.drain(); }
  [[nodiscard]] const AdminCounters& counters() const noexcept { return counters_; }

 private:
  /// A whole answer; lives in the frame of the task that sends it.
  struct Reply {
    int status = 200;
    std::string_view content_type = "application/json";  // static storage
    std::string body{};
    std::string_view allow{};  // of a 405; static storage
    bool is_page = false;      // of our own files: told to load nothing from elsewhere
    bool retry_after = false;
    bool close = false;
  };

  [[nodiscard]] static Reply failure(int status, std::string_view reason);
  [[nodiscard]] static Reply failure_of(const Error& error);
  [[nodiscard]] bool is_known_host(std::string_view host) const noexcept;
  [[nodiscard]] bool comes_from_elsewhere(const http::Request& request) const noexcept;
  [[nodiscard]] Reply answer_feed(std::string_view body);
  void start(Exchange& exchange, Task<void> task);
  [[nodiscard]] Reply answer_get(std::string_view path, std::string_view query);
  Task<Result<Done>> send(Exchange& exchange, Reply reply);
  Task<void> answer(Exchange& exchange, Reply reply);
  Task<void> answer_purge(Exchange& exchange, PurgeRequest purge);
  Task<void> answer_explain(Exchange& exchange, std::string url);

  // constant after construction
  const Registry& registry_;
  AdminActions& actions_;
  const Options options_;
  // loop-owned
  TaskGroup tasks_;
  AdminCounters counters_;
};

/// segue_admin_*.
void register_metrics(Registry& registry, const AdminCounters& counters);

}  // namespace segue::edge
