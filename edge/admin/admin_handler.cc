#include "edge/admin/admin_handler.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "edge/admin/page_files.h"
#include "edge/admin/purge_request.h"
#include "edge/metrics/json.h"
#include "http/target.h"

namespace segue::edge {

namespace {

constexpr std::string_view kPrometheusText = "text/plain; version=0.0.4; charset=utf-8";
constexpr std::string_view kPlainText = "text/plain; charset=utf-8";

struct Route {
  std::string_view path;
  bool is_post;
};
constexpr Route kRoutes[] = {{"/metrics", false},    {"/live", false},      {"/ready", false},
                             {"/stats.json", false}, {"/explain", false},   {"/drain", true},
                             {"/purge", true},       {"/node.json", false}, {"/feed", true},
                             {"/listens", false}};

[[nodiscard]] Stream::End end_of(const Result<Done>& sent) noexcept {
  if (sent) return Stream::End::Complete;
  return sent.error().side == Side::Client ? Stream::End::Gone : Stream::End::Cut;
}

}  // namespace

AdminHandler::AdminHandler(Loop& loop, const Registry& registry, AdminActions& actions,
                           Options options)
    : registry_(registry),
      actions_(actions),
      options_(std::move(options)),
      tasks_(loop, options_.requests_max) {}

AdminHandler::Reply AdminHandler::failure(int status, std::string_view reason) {
  Reply reply{.status = status};
  reply.body = "{\"error\":";
  append_json_string(reason, reply.body);
  reply.body.append("}\n");
  return reply;
}

AdminHandler::Reply AdminHandler::failure_of(const Error& error) {
  if (error.side == Side::Client) return failure(400, error.where);
  const bool later = error.kind == Kind::Full || error.kind == Kind::Overloaded;
  Reply reply = failure(later ? 503 : 500, fmt::format("{}: {}", name_of(error.kind), error.where));
  reply.retry_after = later;
  return reply;
}

bool AdminHandler::is_known_host(std::string_view host) const noexcept {
  const auto is_it = [host](std::string_view known) {
    return http::equals_ignore_case(host, known);
  };
  return is_it("localhost") || is_it("127.0.0.1") || is_it("[::1]") ||
         std::ranges::any_of(options_.hosts, is_it);
}

bool AdminHandler::comes_from_elsewhere(const http::Request& request) const noexcept {
  // Browsers send Origin with every cross-origin POST (WHATWG Fetch); curl and Prometheus do not.
  const auto origin = request.fields.find("Origin");
  if (!origin) return false;
  const size_t scheme_end = origin->find("://");
  if (scheme_end == std::string_view::npos) return true;  // "null"
  // Another port of this host is another origin: some other program's page.
  const std::string_view authority = origin->substr(scheme_end + 3);
  const auto from = http::parse_host_port(authority);
  return !from || !is_known_host(from->host) ||
         !http::equals_ignore_case(authority,
                                   request.fields.find("Host").value_or(std::string_view()));
}

void AdminHandler::serve(Exchange& exchange, std::string_view body) {
  counters_.requests.add();
  const http::Request& request = exchange.request;
  if (!is_known_host(request.host)) {
    counters_.refused_hosts.add();
    return start(exchange, answer(exchange, failure(421, "unknown host name")));
  }
  if (comes_from_elsewhere(request)) {
    counters_.refused_origins.add();
    return start(exchange, answer(exchange, failure(403, "sent by a page of another origin")));
  }
  const std::string_view path = request.origin_form.substr(0, request.origin_form.find('?'));
  const std::string_view query =
      request.origin_form.substr(std::min(path.size() + 1, request.origin_form.size()));
  const bool is_get = request.method == http::Method::Get || request.method == http::Method::Head;
  if (const PageFile* file = find_page_file(path); file != nullptr && is_get) {
    return start(exchange, answer(exchange, {.content_type = file->content_type,
                                             .body = std::string(file->text),
                                             .is_page = true}));
  }
  const auto* route = std::ranges::find(kRoutes, path, &Route::path);
  if (route == std::end(kRoutes)) {
    return start(exchange, answer(exchange, failure(404, "no such page")));
  }
  const bool allowed = route->is_post ? request.method == http::Method::Post : is_get;
  if (!allowed) {
    Reply reply = failure(405, "method not allowed");
    reply.allow = route->is_post ? "POST" : "GET, HEAD";
    return start(exchange, answer(exchange, std::move(reply)));
  }
  if (path == "/purge") {
    auto purge = body.empty() ? parse_purge_query(query) : parse_purge_body(body);
    if (!purge) return start(exchange, answer(exchange, failure(400, purge.error())));
    counters_.purges.add();
    return start(exchange, answer_purge(exchange, *std::move(purge)));
  }
  if (path == "/explain") {
    const auto encoded = http::find_query_parameter(query, "url");
    auto url = decode_query_value(encoded.value_or(""));
    if (!url || url->empty()) {
      return start(exchange, answer(exchange, failure(400, "give a percent-encoded url=")));
    }
    return start(exchange, answer_explain(exchange, *std::move(url)));
  }
  if (path == "/feed") return start(exchange, answer(exchange, answer_feed(body)));
  if (path == "/drain") {
    counters_.drains.add();
    actions_.drain();
    return start(exchange, answer(exchange, {.status = 202, .body = "{\"draining\":true}\n"}));
  }
  start(exchange, answer(exchange, answer_get(path, query)));
}

AdminHandler::Reply AdminHandler::answer_feed(std::string_view body) {
  counters_.feeds.add();
  const FeedOutcome outcome = actions_.feed(body);
  if (outcome.off) return failure(409, "prefetch is off: [prefetch] mode");
  Reply reply;
  reply.body = fmt::format("{{\"read\":{},\"taken\":{},\"malformed\":{}}}\n", outcome.read,
                           outcome.taken, outcome.malformed);
  if (outcome.taken == 0 && outcome.malformed > 0) reply.status = 400;
  if (outcome.too_fast) {
    reply.status = 429;
    reply.retry_after = true;
  }
  return reply;
}

AdminHandler::Reply AdminHandler::answer_get(std::string_view path, std::string_view query) {
  if (path == "/listens") {
    const bool csv = http::find_query_parameter(query, "format") == "csv";
    auto text = actions_.listens(csv);
    if (!text) return failure(404, "listening is not counted: set listens.count");
    return {.content_type = csv ? "text/csv; charset=utf-8" : "application/x-ndjson",
            .body = *std::move(text)};
  }
  if (path == "/metrics") {
    return {.content_type = kPrometheusText, .body = registry_.prometheus_text()};
  }
  if (path == "/stats.json") return {.body = registry_.json()};
  if (path == "/node.json") return {.body = actions_.node_json()};
  if (path == "/live") return {.body = "{\"live\":true}\n"};
  const NodeReadiness readiness = actions_.ready();
  Reply reply{.status = readiness.ready ? 200 : 503};
  reply.body = fmt::format("{{\"ready\":{},\"reason\":", readiness.ready);
  append_json_string(readiness.reason, reply.body);
  reply.body.append("}\n");
  return reply;
}

void AdminHandler::refuse(Exchange& exchange, int status, std::string_view reason) {
  Reply reply = failure(status, reason);
  reply.close = true;
  start(exchange, answer(exchange, std::move(reply)));
}

void AdminHandler::start(Exchange& exchange, Task<void> task) {
  if (tasks_.try_spawn(std::move(task))) return;
  exchange.head.status = 503;
  exchange.head.content_length = 0;
  exchange.head.add("Retry-After", "1");
  const auto sent = exchange.stream.try_send(&exchange.head, {});
  exchange.stream.finished(sent ? Stream::End::Complete : Stream::End::Gone);
}

Task<Result<Done>> AdminHandler::send(Exchange& exchange, Reply reply) {
  ResponseHead& head = exchange.head;
  head.status = reply.status;
  head.content_length = reply.body.size();
  head.bodyless = exchange.request.method == http::Method::Head;
  head.close = reply.close;
  head.add("Content-Type", reply.content_type);
  // What stands here changes by the second, and some of it is not for others.
  head.add("Cache-Control", "no-store");
  head.add("X-Content-Type-Options", "nosniff");
  // Players may be tried from anywhere; everything else is our own.
  if (reply.is_page)
    head.add("Content-Security-Policy",
             "default-src 'self'; connect-src *; media-src *; img-src 'self' data:; "
             "frame-ancestors 'none'");
  if (!reply.allow.empty()) head.add("Allow", reply.allow);
  if (reply.retry_after) head.add("Retry-After", "1");
  size_t at = head.bodyless ? reply.body.size() : 0;
  while (true) {
    const iovec piece{reply.body.data() + at, reply.body.size() - at};
    const auto sent = exchange.stream.try_send(&head, {&piece, piece.iov_len == 0 ? 0U : 1U});
    if (!sent) co_return fail(sent.error());
    at += *sent;
    if (at == reply.body.size() && exchange.stream.flushed()) co_return Done{};
    exchange.stream.want_writable();
    (void)co_await exchange.signal.wait(kNever);  // the connection has a limit for stalled clients
  }
}

Task<void> AdminHandler::answer(Exchange& exchange, Reply reply) {
  exchange.stream.finished(end_of(co_await send(exchange, std::move(reply))));
}

Task<void> AdminHandler::answer_purge(Exchange& exchange, PurgeRequest purge) {
  // Not given up where the client leaves: it may have left because it takes long, and it cannot
  // tell a purge that was made from one that was not.
  const auto outcome = co_await actions_.purge(std::move(purge));
  Reply reply;
  if (outcome) {
    reply.body = fmt::format("{{\"purged\":true,\"sequence\":{}}}\n", outcome->sequence);
  } else {
    reply = failure_of(outcome.error());
  }
  exchange.stream.finished(end_of(co_await send(exchange, std::move(reply))));
}

Task<void> AdminHandler::answer_explain(Exchange& exchange, std::string url) {
  auto text = co_await actions_.explain(std::move(url));
  Reply reply;
  if (text) {
    reply.content_type = kPlainText;
    reply.body = *std::move(text);
  } else {
    reply = failure_of(text.error());
  }
  exchange.stream.finished(end_of(co_await send(exchange, std::move(reply))));
}

void register_metrics(Registry& registry, const AdminCounters& counters) {
  registry.add_counter("segue_admin_requests_total", "Requests to the admin listener.", {},
                       counters.requests);
  constexpr const char* kRefused = "segue_admin_refused_total";
  constexpr const char* kHelp = "Admin requests refused for where they came from.";
  registry.add_counter(kRefused, kHelp, {{"reason", "host"}}, counters.refused_hosts);
  registry.add_counter(kRefused, kHelp, {{"reason", "origin"}}, counters.refused_origins);
  registry.add_counter("segue_admin_purges_total", "Purges asked for.", {}, counters.purges);
  registry.add_counter("segue_admin_feeds_total", "Batches of feed lines sent.", {},
                       counters.feeds);
  registry.add_counter("segue_admin_drains_total", "Drains asked for.", {}, counters.drains);
}

}  // namespace segue::edge
