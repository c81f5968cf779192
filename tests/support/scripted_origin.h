// tests/support/scripted_origin.h - an origin server that does what a test tells it to, byte for
// byte: one thread per connection, on a free port of 127.0.0.1. Everything is decided by the
// script, nothing by time.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace segue::testing {

/// What the origin does with one request, step by step. After the last step the connection waits
/// for the next request.
class Reply {
 public:
  Reply& send(std::string bytes) { return step(Step::Kind::Send, std::move(bytes)); }
  /// Stands still until ScriptedOrigin::release(), one call for one wait().
  Reply& wait() { return step(Step::Kind::Wait, {}); }
  Reply& close() { return step(Step::Kind::Close, {}); }
  /// RST instead of FIN.
  Reply& reset() { return step(Step::Kind::Reset, {}); }

  /// A whole answer: status line, `fields` ("Name: value\r\n"...), Content-Length, body.
  [[nodiscard]] static Reply whole(std::string_view status, std::string_view fields,
                                   std::string_view body);
  /// Exactly these bytes.
  [[nodiscard]] static Reply raw(std::string bytes) { return Reply().send(std::move(bytes)); }

  struct Step {
    enum class Kind : uint8_t { Send, Wait, Close, Reset } kind;
    std::string bytes;
  };
  [[nodiscard]] const std::vector<Step>& steps() const noexcept { return steps_; }

 private:
  Reply& step(Step::Kind kind, std::string bytes) {
    steps_.push_back({kind, std::move(bytes)});
    return *this;
  }
  std::vector<Step> steps_;
};

/// A representation served as a good origin would: Range, If-Range, If-None-Match; with cuts.
struct Content {
  std::string bytes{};
  std::string etag{};               // as in the field; empty: none
  std::string fields{};             // further "Name: value\r\n"
  uint64_t cut_after = UINT64_MAX;  // bytes of a body after which the connection is closed...
  uint32_t cuts = 0;                // ...in so many answers
  bool reset = false;               // by RST
  std::string etag_after_cuts{};    // if set: the ETag changes when the cuts are used up
};

class ScriptedOrigin {
 public:
  /// PEM files; the server then speaks TLS. With `http2` it speaks HTTP/2 to whoever offers it:
  /// requests are not decoded there, so replies are those of on("*"), each one send() of a whole
  /// HTTP/1.1 response; any further step resets the stream behind it.
  struct Tls {
    std::string certificate_file;
    std::string key_file;
    bool http2 = false;
    std::string client_ca_file = {};  // not empty: clients must show a certificate of these CAs
  };
  ScriptedOrigin() : ScriptedOrigin(std::nullopt) {}
  explicit ScriptedOrigin(const std::optional<Tls>& tls);
  ~ScriptedOrigin();
  ScriptedOrigin(const ScriptedOrigin&) = delete;
  ScriptedOrigin& operator=(const ScriptedOrigin&) = delete;

  /// Replies to `target` in the order given; the last one again and again. A target without reply
  /// is answered by 404.
  void on(std::string target, Reply reply);
  void serve(std::string target, Content content);
  /// Lets `waits` wait() steps go on, now or when they come.
  void release(uint32_t waits = 1);

  [[nodiscard]] uint16_t port() const noexcept;
  /// "http://127.0.0.1:PORT" or "https://localhost:PORT".
  [[nodiscard]] std::string url() const;
  [[nodiscard]] uint64_t connections() const;
  [[nodiscard]] uint64_t requests() const;
  [[nodiscard]] uint64_t requests(const std::string& target) const;
  /// Replies whose last step is done.
  [[nodiscard]] uint64_t played() const;
  /// Replies that stand in a wait() step.
  [[nodiscard]] uint64_t waiting() const;
  /// The heads of all requests so far, in order of arrival, with their line ends.
  [[nodiscard]] std::vector<std::string> heads() const;

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

/// The value of a field in a head that ScriptedOrigin recorded; names ignore case.
[[nodiscard]] std::optional<std::string> field_in(const std::string& head, std::string_view name);

}  // namespace segue::testing
