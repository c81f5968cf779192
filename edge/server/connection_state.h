// edge/server/connection_state.h - the life of a connection as a table; an edge that is
// not listed is a bug of ours and stops the process.
#pragma once
#include <cstdint>
#include <optional>

#include "base/assert.h"

namespace segue::edge {

//          ┌───────────────────────────────── BodyRead ────────────────────────────────┐
//          ▼                                                                           │
// Idle ─Bytes─► ReadingHead ─HeadRead─► (ReadingBody ─BodyRead─►) Serving ─ResponseEnded─► Flushing
//                                                                     │    ─Flushed─► DrainingBody
// (Handshaking ─ShakenHands─►) Idle          Handshaking ─Http2─► Multiplexed
// any ─Linger─► Lingering ─Dead─► Closed           any ─Dead─► Closed ◄┘
enum class ConnectionState : uint8_t {
  Handshaking,   // TLS only
  Idle,          // between requests: holds no memory but the connection itself
  ReadingHead,   // some bytes of a request are here
  ReadingBody,   // admin only: the handler wants the body before it answers
  Serving,       // the handler has the exchange
  Flushing,      // the response is over, its last bytes are not yet taken
  DrainingBody,  // the request's unread body is skipped, so that the next request can be found
  Multiplexed,   // HTTP/2 has it (h2_connection.h)
  Lingering,     // our side is shut; the client's bytes are discarded until it has read ours
  Closed,        // released at the end of the step
};

enum class ConnectionEvent : uint8_t {
  ShakenHands,
  Http2,  // shaken hands, and ALPN chose HTTP/2
  Bytes,
  HeadRead,       // parsed, or refused: a refusal is served like a request
  BodyWanted,     // the handler takes bodies and there is one
  BodyRead,       // the body is here, skipped, or there was none
  ResponseEnded,  // the handler gave the exchange back
  Flushed,
  Linger,
  Dead,
};

struct ConnectionEdge {
  ConnectionState from;
  ConnectionEvent event;
  ConnectionState to;
};

inline constexpr ConnectionEdge kConnectionEdges[] = {
    {ConnectionState::Handshaking, ConnectionEvent::ShakenHands, ConnectionState::Idle},
    {ConnectionState::Handshaking, ConnectionEvent::Http2, ConnectionState::Multiplexed},
    {ConnectionState::Multiplexed, ConnectionEvent::Linger, ConnectionState::Lingering},
    {ConnectionState::Multiplexed, ConnectionEvent::Dead, ConnectionState::Closed},
    {ConnectionState::Handshaking, ConnectionEvent::Linger, ConnectionState::Lingering},
    {ConnectionState::Handshaking, ConnectionEvent::Dead, ConnectionState::Closed},
    {ConnectionState::Idle, ConnectionEvent::Bytes, ConnectionState::ReadingHead},
    {ConnectionState::Idle, ConnectionEvent::Linger, ConnectionState::Lingering},
    {ConnectionState::Idle, ConnectionEvent::Dead, ConnectionState::Closed},
    {ConnectionState::ReadingHead, ConnectionEvent::BodyWanted, ConnectionState::ReadingBody},
    {ConnectionState::ReadingHead, ConnectionEvent::HeadRead, ConnectionState::Serving},
    {ConnectionState::ReadingHead, ConnectionEvent::Dead, ConnectionState::Closed},
    {ConnectionState::ReadingBody, ConnectionEvent::BodyRead, ConnectionState::Serving},
    {ConnectionState::ReadingBody, ConnectionEvent::Dead, ConnectionState::Closed},
    {ConnectionState::Serving, ConnectionEvent::ResponseEnded, ConnectionState::Flushing},
    {ConnectionState::Serving, ConnectionEvent::Linger, ConnectionState::Lingering},
    {ConnectionState::Serving, ConnectionEvent::Dead, ConnectionState::Closed},
    {ConnectionState::Flushing, ConnectionEvent::Flushed, ConnectionState::DrainingBody},
    {ConnectionState::Flushing, ConnectionEvent::Linger, ConnectionState::Lingering},
    {ConnectionState::Flushing, ConnectionEvent::Dead, ConnectionState::Closed},
    {ConnectionState::DrainingBody, ConnectionEvent::BodyRead, ConnectionState::Idle},
    {ConnectionState::DrainingBody, ConnectionEvent::Linger, ConnectionState::Lingering},
    {ConnectionState::DrainingBody, ConnectionEvent::Dead, ConnectionState::Closed},
    {ConnectionState::Lingering, ConnectionEvent::Dead, ConnectionState::Closed}};

[[nodiscard]] constexpr std::optional<ConnectionState> next(ConnectionState from,
                                                            ConnectionEvent event) noexcept {
  for (const ConnectionEdge& edge : kConnectionEdges) {
    if (edge.from == from && edge.event == event) return edge.to;
  }
  return std::nullopt;
}

// A closed connection stays closed, and an exchange that the handler holds cannot be skipped over.
static_assert(!next(ConnectionState::Closed, ConnectionEvent::Bytes));
static_assert(!next(ConnectionState::Handshaking, ConnectionEvent::Bytes));
static_assert(!next(ConnectionState::Serving, ConnectionEvent::HeadRead));
static_assert(!next(ConnectionState::Serving, ConnectionEvent::Bytes));

}  // namespace segue::edge
