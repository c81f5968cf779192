#include "origin/http_exchange.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "origin/redirect.h"

namespace segue::origin {
namespace {

struct PhaseEdge {
  FetchPhase from;
  FetchEvent event;
  FetchPhase to;
};
constexpr PhaseEdge kPhaseEdges[] = {
    {FetchPhase::Naming, FetchEvent::Named, FetchPhase::Asking},
    {FetchPhase::Naming, FetchEvent::TryAgain, FetchPhase::Naming},
    {FetchPhase::Naming, FetchEvent::GaveUp, FetchPhase::Failed},
    {FetchPhase::Asking, FetchEvent::HeadCame, FetchPhase::Receiving},
    {FetchPhase::Asking, FetchEvent::TryAgain, FetchPhase::Naming},
    {FetchPhase::Asking, FetchEvent::GaveUp, FetchPhase::Failed},
    {FetchPhase::Receiving, FetchEvent::BodyEnded, FetchPhase::Complete},
    {FetchPhase::Receiving, FetchEvent::TryAgain, FetchPhase::Naming},
    {FetchPhase::Receiving, FetchEvent::GaveUp, FetchPhase::Failed},
};

[[nodiscard]] constexpr std::optional<FetchPhase> next(FetchPhase from, FetchEvent event) {
  for (const PhaseEdge& edge : kPhaseEdges) {
    if (edge.from == from && edge.event == event) return edge.to;
  }
  return std::nullopt;
}
static_assert(!next(FetchPhase::Failed, FetchEvent::TryAgain));  // an end is an end

[[nodiscard]] bool is_busy(int status) noexcept { return status >= 502 && status <= 504; }
/// What a final answer says about its server. A busy one is asked after the others, but it lives:
/// an open breaker would refuse every other track for what may be one path's trouble.
[[nodiscard]] Outcome outcome_of(int status) noexcept {
  return is_busy(status) ? Outcome::Dropped : Outcome::Good;
}

}  // namespace

HttpExchange::HttpExchange(HttpParts& parts, FetchRequest request)
    : parts_(parts),
      request_(std::move(request)),
      retries_left_(parts.options.retries),
      resumes_left_(parts.options.resumes_max),
      name_node_(*this),
      name_wait_(name_node_),
      timer_(*this) {}

HttpExchange::~HttpExchange() { SEGUE_ASSERT(dropped_); }

void HttpExchange::go(FetchEvent event) {
  const auto to = next(phase_, event);
  SEGUE_ASSERT(to.has_value());
  phase_ = *to;
}

// --- attempts ---

Result<Done> HttpExchange::start() {
  const auto& options = parts_.options;
  head_deadline_ =
      std::min(parts_.loop.now() + options.timeout.total, request_.first_byte_deadline);
  const auto count = static_cast<uint32_t>(parts_.servers.size());
  const bool preferred =
      request_.preferred_server >= 0 && request_.preferred_server < static_cast<int32_t>(count);
  const uint32_t first = preferred ? static_cast<uint32_t>(request_.preferred_server) : 0;
  server_ = first;
  // A kept connection may be closed under a request that must not be sent twice.
  fresh_connection_ = request_.is_relayed();
  if (!choose_server(first) && !choose_next_server()) {
    phase_ = FetchPhase::Failed;
    parts_.counters.faults[static_cast<size_t>(Fault::NoServer)].add();
    return fail(error_of(Fault::NoServer));
  }
  begin_attempt();
  return Done{};
}

/// Aims at `server`, if its breaker lets us.
bool HttpExchange::choose_server(uint32_t server) {
  const auto permission = parts_.health.ask(server, parts_.loop.now());
  if (permission == Health::Permission::Denied) return false;
  permission_ = permission;
  server_ = server;
  tried_ |= 1U << server;
  address_ = parts_.servers[server];
  target_ = address_.base_path + request_.target;
  return true;
}

bool HttpExchange::choose_next_server() {
  const auto count = static_cast<uint32_t>(parts_.servers.size());
  for (uint32_t step = 1; step <= count; ++step) {
    const uint32_t server = (server_ + step) % count;
    if ((tried_ & 1U << server) == 0 && choose_server(server)) return true;
  }
  return false;
}

bool HttpExchange::another_server_may_do() const {
  for (uint32_t server = 0; server < parts_.servers.size(); ++server) {
    if ((tried_ & 1U << server) == 0 && parts_.health.may_ask(server, parts_.loop.now())) {
      return true;
    }
  }
  return false;
}

void HttpExchange::begin_attempt() {
  SEGUE_ASSERT(transfer_ == nullptr);
  SEGUE_ASSERT(phase_ == FetchPhase::Naming);
  stop_fault_ = Fault::None;
  redirect_location_.clear();
  paused_ = false;
  // The clock, not the turn's time: a long turn would count against the origin.
  attempt_begun_ = parts_.loop.clock().mono();
  request_time_ = parts_.loop.clock().wall();
  MonoTime deadline = attempt_begun_ + parts_.options.timeout.first_byte;
  if (!head_) deadline = std::min(deadline, head_deadline_);
  parts_.loop.arm(timer_, deadline);
  look_up();
}

void HttpExchange::look_up() {
  if (address_.ip_literal) return send({});
  const auto found = parts_.resolver.find(address_.host, name_wait_);
  if (!found) return attempt_failed(Fault::NameUnknown, 0);
  if (*found != nullptr) send(**found);
}

void HttpExchange::NameNode::run(ReadyNode& node) { static_cast<NameNode&>(node).owner.look_up(); }

RequestForm HttpExchange::form() const {
  if (head_) {
    return {.range_form = FetchRequest::RangeForm::Bounded,
            .range = {body_first() + received_, body_end()},
            .conditions = false,
            .if_range = std::string(strong_etag_of(*head_))};
  }
  return {.range_form = request_.range_form,
          .range = request_.range,
          .suffix_length = request_.suffix_length,
          .if_range = {}};
}

void HttpExchange::send(std::span<const std::string> addresses) {
  go(FetchEvent::Named);
  parts_.counters.requests.add();
  transfer_ = std::make_unique<HttpTransfer>(parts_.driver, parts_.options,
                                             static_cast<TransferOwner&>(*this));
  const bool started = transfer_->start({.server = address_,
                                         .addresses = addresses,
                                         .target = target_,
                                         .fields = request_fields(parts_.options, request_, form()),
                                         .fresh_connection = fresh_connection_,
                                         .method = request_.method,
                                         .body = request_.body});
  if (!started) attempt_failed(Fault::OutOfMemory, 0);
}

void HttpExchange::report(Outcome outcome) {
  const auto permission = std::exchange(permission_, Health::Permission::Denied);
  if (permission == Health::Permission::Denied) return;  // reported already
  parts_.health.report(server_, permission, outcome, parts_.loop.now());
}

void HttpExchange::attempt_failed(Fault fault, int32_t os_errno) {
  SEGUE_ASSERT(fault != Fault::None);
  transfer_.reset();
  name_wait_.stop();
  parts_.loop.cancel_ready(name_node_);
  parts_.counters.faults[static_cast<size_t>(fault)].add();
  // A probe that ends in any fault has not shown that the server is well.
  const bool bad = is_server_failure(fault) || permission_ == Health::Permission::Probe;
  report(bad ? Outcome::Bad : Outcome::Dropped);
  if (head_ && body_fault_ == Fault::None) body_fault_ = fault;
  if (head_ ? try_resume(fault) : try_again(fault)) {
    go(FetchEvent::TryAgain);
    begin_attempt();
    return;
  }
  // Of a body that could not be resumed the cut itself is told, unless the rest was another body.
  const bool mismatch = fault == Fault::ResumeMismatch || fault == Fault::BodyLong;
  give_up(head_ && !mismatch ? body_fault_ : fault, os_errno);
}

bool HttpExchange::try_again(Fault fault) {
  if (request_.is_relayed()) return false;
  if (parts_.loop.clock().mono() >= head_deadline_) return false;
  // A stale connection costs no retry: the fresh one that follows cannot be stale.
  const bool stale = fault == Fault::StaleConnection;
  if (deserves_fresh_connection(fault) && (stale || retries_left_ > 0) && choose_server(server_)) {
    if (!stale) --retries_left_;
    fresh_connection_ = true;
    parts_.counters.retries.add();
    return true;
  }
  const bool elsewhere = may_fail_over(fault) || deserves_fresh_connection(fault);
  if (!elsewhere || !choose_next_server()) return false;
  parts_.counters.failovers.add();
  return true;
}

/// Only a strong entity tag proves that the rest belongs to what came so far (RFC 9110 §15.3.7.3).
bool HttpExchange::can_resume() const {
  if (request_.is_relayed() || (head_->status != 200 && head_->status != 206)) return false;
  return head_->content_length.has_value() && received_ < *head_->content_length &&
         head_->complete_length.has_value() && !strong_etag_of(*head_).empty();
}

bool HttpExchange::try_resume(Fault fault) {
  const bool worth = may_resume(fault) || may_fail_over(fault) || deserves_fresh_connection(fault);
  if (!worth || resumes_left_ == 0 || !can_resume()) return false;
  --resumes_left_;
  // The next server first; the same one again on a fresh connection where there is no other.
  tried_ = 1U << server_;
  if (!choose_next_server() && !choose_server(server_)) return false;
  fresh_connection_ = true;
  parts_.counters.resumes.add();
  return true;
}

void HttpExchange::follow_redirect() {
  const auto target =
      redirect_target(address_, target_, redirect_location_, parts_.servers, parts_.options);
  if (!target) return attempt_failed(target.error(), 0);
  if (redirects_left_ == 0) return attempt_failed(Fault::RedirectLoop, 0);
  --redirects_left_;
  parts_.counters.redirects.add();
  address_ = target->server;
  target_ = target->target;
  go(FetchEvent::TryAgain);
  begin_attempt();
}

void HttpExchange::complete() {
  transfer_.reset();
  parts_.loop.disarm(timer_);
  report(outcome_of(head_->status));
  parts_.counters.bodies_complete.add();
  go(FetchEvent::BodyEnded);
  signal_.raise();
}

void HttpExchange::give_up(Fault fault, int32_t os_errno) {
  parts_.loop.disarm(timer_);
  error_ = error_of(fault, os_errno);
  go(FetchEvent::GaveUp);
  signal_.raise();
}

void HttpExchange::drop() {
  SEGUE_ASSERT(!dropped_);
  dropped_ = true;
  if (head_ && !ended()) parts_.counters.bodies_dropped.add();
  // A consumer that has enough says nothing against the server; after a head it answered.
  report(head_ ? outcome_of(head_->status) : Outcome::Dropped);
  transfer_.reset();
  name_wait_.stop();
  parts_.loop.cancel_ready(name_node_);
  parts_.loop.disarm(timer_);
  into_ = {};
  carried_.reset();
  carried_first_ = carried_end_ = 0;
  if (signal_.waiting()) signal_.raise();
}

uint64_t HttpExchange::body_first() const noexcept {
  return head_->content_range ? head_->content_range->first : 0;
}

uint64_t HttpExchange::body_end() const noexcept {
  return body_first() + head_->content_length.value_or(0);
}

// --- from inside libcurl ---

HttpExchange::Verdict HttpExchange::stop(Fault fault) noexcept {
  stop_fault_ = fault;
  return Verdict::Stop;
}

HttpExchange::Verdict HttpExchange::on_head(const HeadCollector& head) {
  if (const long made = transfer_->connections_made(); made == 0) {
    parts_.counters.connections_reused.add();
  }
  if (is_redirect(head.status()) && !request_.is_relayed()) {
    if (const auto location = head.fields().find("location")) {
      redirect_location_ = *location;
      return Verdict::Stop;
    }
  }
  if (is_busy(head.status()) && !request_.is_relayed() && (head_ || another_server_may_do())) {
    return stop(Fault::ServerBusy);
  }
  const RequestForm sent = form();
  const bool conditional =
      !head_ && (!request_.if_none_match.empty() || !request_.if_modified_since.empty());
  auto made = check_head({.range_form = sent.range_form,
                          .range = sent.range,
                          .suffix_length = sent.suffix_length,
                          .if_none_match = head_ ? std::string() : request_.if_none_match,
                          .conditional = conditional},
                         head);
  if (head_) return made ? take_resumed_head(*made) : stop(Fault::ResumeMismatch);
  return made ? take_first_head(std::move(*made)) : stop(made.error());
}

HttpExchange::Verdict HttpExchange::take_first_head(FetchHead made) {
  const MonoTime now = parts_.loop.clock().mono();
  made.server = static_cast<int32_t>(server_);
  made.request_time = request_time_;
  made.response_time = parts_.loop.clock().wall();
  made.first_byte_latency = now - attempt_begun_;
  count_head(made);
  head_ = std::move(made);
  // A probe is over with the head: its body may be long, and others wait for the verdict.
  if (permission_ == Health::Permission::Probe) {
    report(outcome_of(head_->status));
  }
  last_progress_ = now;
  go(FetchEvent::HeadCame);
  parts_.loop.arm(timer_, now + parts_.options.timeout.idle);
  signal_.raise();
  return Verdict::GoOn;
}

HttpExchange::Verdict HttpExchange::take_resumed_head(const FetchHead& made) {
  const Fault fault = check_resumed(*head_, made, body_first() + received_, body_end());
  if (fault != Fault::None) return stop(fault);
  if (permission_ == Health::Permission::Probe) report(Outcome::Good);
  parts_.counters.resumed.add();
  last_progress_ = parts_.loop.clock().mono();
  go(FetchEvent::HeadCame);
  parts_.loop.arm(timer_, last_progress_ + parts_.options.timeout.idle);
  return Verdict::GoOn;
}

void HttpExchange::count_head(const FetchHead& made) {
  parts_.counters.heads.add();
  parts_.counters.heads_by_class[static_cast<size_t>(made.status / 100)].add();
  parts_.counters.first_byte_count.add();
  parts_.counters.first_byte_ns_sum.add(static_cast<uint64_t>(made.first_byte_latency.count()));
}

HttpExchange::Verdict HttpExchange::on_body(std::span<const std::byte> bytes) {
  const auto& announced = head_->content_length;
  if (announced && bytes.size() > *announced - received_) return stop(Fault::BodyLong);
  const size_t room = into_.size() - copied_;
  const size_t direct = std::min(room, bytes.size());
  if (direct < bytes.size() && carried_end_ > carried_first_) {
    // Nobody reads: libcurl keeps these bytes and stops reading the socket, so a slow consumer
    // slows the origin down and holds no memory here.
    paused_ = true;
    parts_.counters.pauses.add();
    return Verdict::Pause;
  }
  if (direct > 0) std::memcpy(into_.data() + copied_, bytes.data(), direct);
  copied_ += direct;
  if (const auto rest = bytes.subspan(direct); !rest.empty()) {
    SEGUE_ASSERT(rest.size() <= CURL_MAX_WRITE_SIZE);
    if (carried_ == nullptr) carried_.reset(new std::array<std::byte, CURL_MAX_WRITE_SIZE>);
    std::memcpy(carried_->data(), rest.data(), rest.size());
    carried_first_ = 0;
    carried_end_ = rest.size();
  }
  received_ += bytes.size();
  parts_.counters.body_bytes.add(bytes.size());
  last_progress_ = parts_.loop.now();
  if (copied_ > 0) signal_.raise();
  return Verdict::GoOn;
}

// --- from the ready list ---

void HttpExchange::on_ended(Fault fault, int32_t os_errno) {
  transfer_.reset();
  if (!redirect_location_.empty()) return follow_redirect();
  if (stop_fault_ != Fault::None) return attempt_failed(stop_fault_, 0);
  if (fault != Fault::None) return attempt_failed(fault, os_errno);
  const auto& announced = head_->content_length;
  if (announced && received_ < *announced) return attempt_failed(Fault::BodyShort, 0);
  complete();
}

void HttpExchange::DeadlineTimer::run(Timer& timer) {
  static_cast<DeadlineTimer&>(timer).owner.on_deadline();
}

void HttpExchange::on_deadline() {
  const MonoTime now = parts_.loop.clock().mono();
  if (phase_ == FetchPhase::Receiving) {
    if (paused_) return;  // we wait for the consumer, not for the origin; let_flow() arms again
    const MonoTime deadline = last_progress_ + parts_.options.timeout.idle;
    if (now < deadline) return parts_.loop.arm(timer_, deadline);
    return attempt_failed(Fault::IdleTimeout, 0);
  }
  if (!head_ && now >= head_deadline_) return attempt_failed(Fault::TotalTimeout, 0);
  attempt_failed(phase_ == FetchPhase::Naming ? Fault::NameTimeout : Fault::FirstByteTimeout, 0);
}

Task<Result<const FetchHead*>> HttpExchange::head(std::shared_ptr<HttpExchange> self) {
  while (!self->dropped_ && !self->head_ && !self->ended()) {
    co_await self->signal_.wait(kNever);
  }
  if (self->dropped_) co_return fail(Side::Self, Kind::Closed, "stream dropped");
  if (!self->head_) co_return fail(self->error_);
  co_return &*self->head_;
}

void HttpExchange::take_carried() {
  const size_t count = std::min(into_.size() - copied_, carried_end_ - carried_first_);
  if (count == 0) return;
  std::memcpy(into_.data() + copied_, carried_->data() + carried_first_, count);
  copied_ += count;
  carried_first_ += count;
}

void HttpExchange::let_flow() {
  if (!paused_ || transfer_ == nullptr || copied_ == into_.size()) return;
  paused_ = false;
  last_progress_ = parts_.loop.clock().mono();
  parts_.loop.arm(timer_, last_progress_ + parts_.options.timeout.idle);
  if (transfer_->unpause()) return;
  attempt_failed(stop_fault_ == Fault::None ? Fault::BodyClosed : stop_fault_, 0);
}

Task<Result<size_t>> HttpExchange::read(std::shared_ptr<HttpExchange> self,
                                        std::span<std::byte> into) {
  SEGUE_ASSERT(!into.empty());
  if (self->dropped_) co_return fail(Side::Self, Kind::Closed, "stream dropped");
  self->into_ = into;
  self->copied_ = 0;
  self->take_carried();
  self->let_flow();
  while (!self->dropped_ && self->copied_ == 0 && !self->ended()) {
    co_await self->signal_.wait(kNever);
  }
  const size_t copied = std::exchange(self->copied_, 0);
  self->into_ = {};
  if (self->dropped_) co_return fail(Side::Self, Kind::Closed, "stream dropped");
  if (copied > 0) co_return copied;
  if (self->phase_ == FetchPhase::Failed) co_return fail(self->error_);
  co_return size_t{0};
}

}  // namespace segue::origin
