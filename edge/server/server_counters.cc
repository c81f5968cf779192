#include "edge/server/server_counters.h"

#include "edge/metrics/registry.h"

namespace segue::edge {

Counter* ServerCounters::refused(int status) noexcept {
  switch (status) {
    case 400:
      return &refused_400;
    case 408:
      return &refused_408;
    case 413:
      return &refused_413;
    case 414:
      return &refused_414;
    case 421:
      return &misdirected;
    case 431:
      return &refused_431;
    case 501:
      return &refused_501;
    case 505:
      return &refused_505;
    default:
      return nullptr;
  }
}

namespace {

/// `count(name, help, counter, labels)` adds the listener's label.
template <class Count>
void add_handshakes(const Count& count, const ServerCounters& counters) {
  constexpr const char* kHandshakes = "segue_tls_handshakes_total";
  constexpr const char* kHandshakesHelp = "TLS handshakes, by how they ended.";
  for (size_t i = 0; i < tls::kHandshakeEnds; ++i) {
    const std::string result(tls::name_of(static_cast<tls::HandshakeEnd>(i)));
    count(kHandshakes, kHandshakesHelp, counters.handshakes[i], {{"result", result}});
  }
  count(kHandshakes, kHandshakesHelp, counters.handshakes_timed_out, {{"result", "timeout"}});
  count(kHandshakes, kHandshakesHelp, counters.handshakes_crowded_out, {{"result", "crowded_out"}});
}

template <class Count>
void add_http2(const Count& count, const ServerCounters& counters) {
  count("segue_http2_requests_total", "Requests that came over HTTP/2.", counters.http2_requests);
  count("segue_http2_streams_refused_total",
        "Streams refused because their connection had too many or was draining.",
        counters.http2_refused_streams);
  constexpr const char* kResets = "segue_http2_resets_total";
  constexpr const char* kResetsHelp = "Streams ended by RST_STREAM, by who sent it.";
  count(kResets, kResetsHelp, counters.http2_resets_received, {{"by", "client"}});
  count(kResets, kResetsHelp, counters.http2_resets_sent, {{"by", "node"}});
  count("segue_http2_errors_total", "HTTP/2 connections ended for breaking the protocol.",
        counters.http2_errors);
  count("segue_http2_memory_spent_total",
        "HTTP/2 connections ended because their frames needed too much memory.",
        counters.http2_memory_spent);
  for (size_t i = 0; i < kFloods; ++i) {
    const std::string flood(name_of(static_cast<Flood>(i)));
    count("segue_http2_calmed_total",
          "HTTP/2 connections ended for too many frames of a kind (ENHANCE_YOUR_CALM).",
          counters.http2_calmed[i], {{"flood", flood}});
  }
}

}  // namespace

void register_metrics(Registry& registry, const ServerCounters& counters, const char* listener) {
  const auto count = [&](const char* name, const char* help, const Counter& counter,
                         Labels labels = {}) {
    labels.insert(labels.begin(), {"listener", listener});
    registry.add_counter(name, help, std::move(labels), counter);
  };
  count("segue_connections_accepted_total", "Connections accepted.", counters.accepted);
  registry.add_gauge("segue_connections_active", "Connections open now.", {{"listener", listener}},
                     counters.active);
  constexpr const char* kRefused = "segue_connections_refused_total";
  constexpr const char* kRefusedHelp = "Connections refused at accept, by reason.";
  count(kRefused, kRefusedHelp, counters.refused_limit, {{"reason", "limit"}});
  count(kRefused, kRefusedHelp, counters.refused_overload, {{"reason", "overload"}});
  count(kRefused, kRefusedHelp, counters.refused_client, {{"reason", "client"}});
  count(kRefused, kRefusedHelp, counters.refused_proxy, {{"reason", "proxy"}});
  count(kRefused, kRefusedHelp, counters.refused_fd, {{"reason", "descriptors"}});
  count("segue_accept_errors_total", "Failed accepts.", counters.accept_errors);
  count("segue_accept_pauses_total", "Times a listener paused because accepting could not work.",
        counters.accept_pauses);
  count("segue_http_requests_total", "Requests whose head was read.", counters.requests);
  count("segue_http_received_bytes_total", "Bytes read from clients.", counters.bytes_received);
  count("segue_http_sent_bytes_total", "Bytes written to clients, heads and framing included.",
        counters.bytes_sent);
  constexpr const char* kMalformed = "segue_http_refused_total";
  constexpr const char* kMalformedHelp = "Requests refused by the parser, by status.";
  count(kMalformed, kMalformedHelp, counters.refused_400, {{"status", "400"}});
  count(kMalformed, kMalformedHelp, counters.refused_408, {{"status", "408"}});
  count(kMalformed, kMalformedHelp, counters.refused_413, {{"status", "413"}});
  count(kMalformed, kMalformedHelp, counters.refused_414, {{"status", "414"}});
  count(kMalformed, kMalformedHelp, counters.refused_431, {{"status", "431"}});
  count(kMalformed, kMalformedHelp, counters.refused_501, {{"status", "501"}});
  count(kMalformed, kMalformedHelp, counters.refused_505, {{"status", "505"}});
  count(kMalformed, kMalformedHelp, counters.misdirected, {{"status", "421"}});
  add_handshakes(count, counters);
  count("segue_tls_batches_reclaimed_total",
        "Connections cut because too many kept sealed bytes, and of them they had taken none "
        "longest.",
        counters.batches_reclaimed);
  registry.add_gauge("segue_connections_wide",
                     "Connections that may hold more unsent bytes than others, for they have taken "
                     "all that came before.",
                     {{"listener", listener}}, counters.wide_sockets);
  registry.add_gauge("segue_http2_connections", "HTTP/2 connections open now.",
                     {{"listener", listener}}, counters.http2_connections);
  add_http2(count, counters);
  constexpr const char* kTimeouts = "segue_connection_timeouts_total";
  constexpr const char* kTimeoutsHelp = "Connections ended by a timeout, by kind.";
  count(kTimeouts, kTimeoutsHelp, counters.timeout_keep_alive, {{"kind", "keep_alive"}});
  count(kTimeouts, kTimeoutsHelp, counters.timeout_head, {{"kind", "head"}});
  count(kTimeouts, kTimeoutsHelp, counters.timeout_stall, {{"kind", "stall"}});
  count(kTimeouts, kTimeoutsHelp, counters.timeout_half_close, {{"kind", "half_close"}});
  count(kTimeouts, kTimeoutsHelp, counters.timeout_body, {{"kind", "body"}});
  count(kTimeouts, kTimeoutsHelp, counters.timeout_linger, {{"kind", "linger"}});
  count("segue_http_bodies_too_long_total",
        "Unread request bodies that were too long to skip; the connection was closed.",
        counters.bodies_too_long);
  count("segue_http_clients_gone_total", "Clients that left while a response was under way.",
        counters.clients_gone);
}

}  // namespace segue::edge
