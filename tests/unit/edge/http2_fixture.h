// An Http2Connection between a host of memory and nghttp2's own client.
#pragma once
#include <nghttp2/nghttp2.h>

#include <map>
#include <string>

#include "edge/server/h2_connection.h"
#include "tests/unit/edge/server_fixture.h"

namespace segue::edge {

/// Keeps what is written; says that it can take `room` bytes, and takes `take_max` at a time.
struct MemoryHost final : Http2Host {
  size_t room() noexcept override { return flushed() ? room_bytes : 0; }
  Result<Wire::Written> write(std::span<const iovec> pieces) override {
    if (broken) return fail(Side::Client, Kind::Closed, "host");
    Wire::Written written;
    for (const iovec& piece : pieces) {
      const size_t take = std::min(piece.iov_len, take_max - written.taken);
      const auto* from = static_cast<const char*>(piece.iov_base);
      if (from >= body.data() && from < body.data() + body.size()) from_body += take;
      out.append(static_cast<const char*>(piece.iov_base), take);
      written.taken += take;
    }
    written.blocked = !flushed();
    return written;
  }
  bool flushed() const noexcept override { return !full && out.size() - seen < blocked_at; }
  bool covers(std::string_view host) override { return host != "not-covered.example"; }
  void pace(uint64_t /*bytes_per_second*/) noexcept override {}
  void wake() noexcept override { woken = true; }

  size_t room_bytes = 65'536;
  size_t take_max = SIZE_MAX;
  size_t blocked_at = 1;  // with so many bytes that the client has not seen
  bool full = false;      // takes nothing
  size_t seen = 0;
  std::string_view body;  // bytes written from where these lie are counted
  size_t from_body = 0;
  std::string out;
  bool woken = false;
  bool broken = false;
};

struct MemoryClient {
  MemoryClient() {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        callbacks,
        [](nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t bytes, void* self) {
          static_cast<MemoryClient*>(self)->bodies[id].append(reinterpret_cast<const char*>(data),
                                                              bytes);
          return 0;
        });
    nghttp2_session_callbacks_set_on_frame_recv_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* self) {
          auto& client = *static_cast<MemoryClient*>(self);
          const int32_t id = frame->hd.stream_id;
          if (frame->hd.type == NGHTTP2_RST_STREAM)
            client.resets[id] = frame->rst_stream.error_code;
          if (frame->hd.type == NGHTTP2_GOAWAY) client.goaways.push_back(frame->goaway.error_code);
          const bool can_end = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
          if (can_end && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) client.ended[id] = true;
          return 0;
        });
    nghttp2_session_client_new(&session, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, nullptr, 0);
  }
  ~MemoryClient() { nghttp2_session_del(session); }
  MemoryClient(const MemoryClient&) = delete;
  MemoryClient& operator=(const MemoryClient&) = delete;

  using Fields = std::vector<std::pair<std::string, std::string>>;
  /// `flags`: without END_STREAM the request goes on: trailers() end it.
  void ask(std::string_view path, const Fields& more = {},
           uint8_t flags = NGHTTP2_FLAG_END_STREAM) {
    const auto field = [](std::string_view name, std::string_view value) {
      const auto bytes_of = [](std::string_view text) {
        return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()));
      };
      return nghttp2_nv{bytes_of(name), bytes_of(value), name.size(), value.size(),
                        NGHTTP2_NV_FLAG_NONE};
    };
    std::vector<nghttp2_nv> fields{field(":method", "GET"), field(":scheme", "https"),
                                   field(":authority", "a.example"), field(":path", path)};
    for (const auto& [name, value] : more) fields.push_back(field(name, value));
    nghttp2_submit_headers(session, flags, -1, nullptr, fields.data(), fields.size(), nullptr);
  }
  void trailers(int32_t id) {
    nghttp2_submit_headers(session, NGHTTP2_FLAG_END_STREAM, id, nullptr, nullptr, 0, nullptr);
  }
  void reset(int32_t id) {
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
  }
  std::string to_send() {
    std::string all;
    const uint8_t* data = nullptr;
    for (ssize_t bytes = 0; (bytes = nghttp2_session_mem_send(session, &data)) > 0;)
      all.append(reinterpret_cast<const char*>(data), static_cast<size_t>(bytes));
    return all;
  }

  nghttp2_session* session = nullptr;
  std::map<int32_t, std::string> bodies;
  std::map<int32_t, bool> ended;
  std::map<int32_t, uint32_t> resets;
  std::vector<uint32_t> goaways;
};

class Http2Test : public ServerTest {
 protected:
  void start(size_t room, ConnectionLimits limits = {}) { start(room, limits, *handler); }
  void start(size_t room, ConnectionLimits limits, RequestHandler& answers) {
    const Loop::Turn turn(*loop);
    context = std::make_unique<ConnectionContext>(*loop, answers, limits);
    host = std::make_unique<MemoryHost>();
    host->room_bytes = room;
    client = std::make_unique<MemoryClient>();
    connection = std::make_unique<Http2Connection>(*context, *host, who);
  }
  void ask(std::string_view path, const MemoryClient::Fields& more = {}) {
    client->ask(path, more);
  }
  /// Bytes to and fro, and what is ready on the loop.
  void run(int rounds) {
    for (int i = 0; i < rounds; ++i) {
      const Loop::Turn turn(*loop);
      const std::string sent = client->to_send();
      connection->receive(sent);
      connection->advance();
      while (loop->run_one()) {
      }
      const std::string_view unseen = std::string_view(host->out).substr(host->seen);
      host->seen = host->out.size();
      EXPECT_GE(
          nghttp2_session_mem_recv(client->session, reinterpret_cast<const uint8_t*>(unseen.data()),
                                   unseen.size()),
          0);
    }
  }
  void stop() {
    {
      const Loop::Turn turn(*loop);
      connection->abandon();
      while (loop->run_one()) {
      }
      connection->advance();
      while (loop->run_one()) {
      }
      EXPECT_NE(connection->status(), Http2Connection::Status::Open);
      connection.reset();
    }
    EXPECT_EQ(context->exchanges.in_use(), 0U);
    EXPECT_EQ(context->request_memories.in_use(), 0U);
    EXPECT_EQ(context->http2.streams.in_use(), 0U);
    EXPECT_EQ(context->http2.memory_bytes.get(), 0U);
    context.reset();
  }

  const Client who{.address = "192.0.2.1", .address_hash = 7, .tls = true, .http2 = true};
  std::unique_ptr<ConnectionContext> context;
  std::unique_ptr<MemoryHost> host;
  std::unique_ptr<MemoryClient> client;
  std::unique_ptr<Http2Connection> connection;
};

}  // namespace segue::edge
