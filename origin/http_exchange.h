// origin/http_exchange.h - one fetch over HTTP from its start to its last byte: choice of server,
// name, attempts, timeouts, redirects, retries, failover, resume. Loop-owned.
#pragma once
#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/loop/event_loop.h"
#include "origin/counters.h"
#include "origin/curl_driver.h"
#include "origin/fetcher.h"
#include "origin/head_check.h"
#include "origin/health.h"
#include "origin/http_transfer.h"
#include "origin/options.h"
#include "origin/resolver.h"

namespace segue::origin {

/// What all fetches of one fetcher use. Outlives them.
struct HttpParts {
  EventLoop& loop;
  const OriginOptions& options;
  const std::vector<ServerAddress>& servers;
  CurlDriver& driver;
  Resolver& resolver;
  Health& health;
  OriginCounters& counters;
};

// Naming ─Named─► Asking ─HeadCame─► Receiving ─BodyEnded─► Complete
//   ▲  │ ▲           │ TryAgain          │ TryAgain (resume)
//   └──┘ └───────────┴───────────────────┘              all three ─GaveUp─► Failed
enum class FetchPhase : uint8_t { Naming, Asking, Receiving, Complete, Failed };
enum class FetchEvent : uint8_t { Named, HeadCame, BodyEnded, TryAgain, GaveUp };

/// Shared between the stream and the tasks that wait on it, so that the stream may be dropped while
/// such a task still has to end.
class HttpExchange final : public std::enable_shared_from_this<HttpExchange>, TransferOwner {
 public:
  HttpExchange(HttpParts& parts, FetchRequest request);
  ~HttpExchange() override;
  HttpExchange(const HttpExchange&) = delete;
  HttpExchange& operator=(const HttpExchange&) = delete;

  /// Sends the first request or starts the look-up it needs. Errors: {Origin, Refused} if no
  /// breaker lets us.
  [[nodiscard]] Result<Done> start();
  /// Ends it at once; a task that waits ends with {Self, Closed}.
  void drop();
  [[nodiscard]] static Task<Result<const FetchHead*>> head(std::shared_ptr<HttpExchange> self);
  [[nodiscard]] static Task<Result<size_t>> read(std::shared_ptr<HttpExchange> self,
                                                 std::span<std::byte> into);

 private:
  struct NameNode : ReadyNode {
    explicit NameNode(HttpExchange& exchange) : ReadyNode(&NameNode::run), owner(exchange) {}
    static void run(ReadyNode& node);
    HttpExchange& owner;
  };
  struct DeadlineTimer : Timer {
    explicit DeadlineTimer(HttpExchange& exchange) : Timer(&DeadlineTimer::run), owner(exchange) {}
    static void run(Timer& timer);
    HttpExchange& owner;
  };

  // --- attempts ---
  [[nodiscard]] bool choose_server(uint32_t server);
  [[nodiscard]] bool choose_next_server();
  [[nodiscard]] bool another_server_may_do() const;
  void begin_attempt();
  void look_up();
  void send(std::span<const std::string> addresses);
  [[nodiscard]] RequestForm form() const;
  void attempt_failed(Fault fault, int32_t os_errno);
  [[nodiscard]] bool try_again(Fault fault);
  [[nodiscard]] bool try_resume(Fault fault);
  [[nodiscard]] bool can_resume() const;
  void follow_redirect();
  void complete();
  void give_up(Fault fault, int32_t os_errno);
  void report(Outcome outcome);
  void go(FetchEvent event);
  [[nodiscard]] bool ended() const noexcept {
    return phase_ == FetchPhase::Complete || phase_ == FetchPhase::Failed;
  }
  [[nodiscard]] uint64_t body_first() const noexcept;
  [[nodiscard]] uint64_t body_end() const noexcept;

  // --- from inside libcurl ---
  Verdict on_head(const HeadCollector& head) override;
  Verdict on_body(std::span<const std::byte> bytes) override;
  [[nodiscard]] Verdict take_first_head(FetchHead made);
  [[nodiscard]] Verdict take_resumed_head(const FetchHead& made);
  [[nodiscard]] Verdict stop(Fault fault) noexcept;
  void count_head(const FetchHead& made);

  // --- from the ready list ---
  void on_ended(Fault fault, int32_t os_errno) override;
  void on_deadline();
  void take_carried();
  void let_flow();

  // constant after construction
  HttpParts& parts_;
  const FetchRequest request_;
  // loop-owned
  FetchPhase phase_ = FetchPhase::Naming;
  bool dropped_ = false;
  Signal signal_;
  Error error_{};
  // this attempt
  uint32_t server_ = 0;
  Health::Permission permission_ = Health::Permission::Denied;
  ServerAddress address_;  // of the server, or where a redirect led
  std::string target_;
  bool fresh_connection_ = false;
  MonoTime attempt_begun_{};
  WallTime request_time_{};
  std::unique_ptr<HttpTransfer> transfer_;
  Fault stop_fault_ = Fault::None;  // why on_head() or on_body() stopped the transfer
  std::string redirect_location_;   // or it was this
  // over all attempts
  MonoTime head_deadline_ = kNever;
  uint32_t tried_ = 0;  // bit per server
  uint32_t retries_left_ = 0;
  uint32_t resumes_left_ = 0;
  uint32_t redirects_left_ = kRedirectsMax;
  Fault body_fault_ = Fault::None;  // the first cut of the body, if any
  NameNode name_node_;
  ResolveWait name_wait_;
  DeadlineTimer timer_;
  // the answer
  std::optional<FetchHead> head_;
  uint64_t received_ = 0;  // bytes of the body taken from libcurl
  bool paused_ = false;
  MonoTime last_progress_{};
  std::span<std::byte> into_;  // of the read() that waits
  size_t copied_ = 0;
  // What did not fit into `into_`: at most one write of libcurl's.
  std::unique_ptr<std::array<std::byte, CURL_MAX_WRITE_SIZE>> carried_;
  size_t carried_first_ = 0;
  size_t carried_end_ = 0;
};

}  // namespace segue::origin
