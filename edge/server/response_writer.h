// edge/server/response_writer.h - one HTTP/1.1 response onto a wire: head, body and framing in as
// few writev(2) as can be, and what the socket did not take kept for the next try.
#pragma once
#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/limits.h"
#include "base/result.h"
#include "edge/delivery/response_head.h"
#include "edge/server/head_text.h"
#include "edge/server/memory_pool.h"
#include "edge/server/wire.h"

namespace segue::edge {

/// Bytes of a head and of chunk framing that the socket did not take. Taken from the pool only
/// then: a client whose socket takes its head, as nearly all do, never needs one.
struct UnsentText {
  static constexpr size_t kBytes = kResponseHeadBytesMax + 64;  // 64: chunk framing around it
  size_t begin = 0;
  size_t end = 0;
  std::array<char, kBytes> text;  // not initialised

  [[nodiscard]] std::string_view view() const noexcept {
    return {text.data() + begin, end - begin};
  }
};

/// What the writers of one loop share.
struct WriterShared {
  static constexpr uint32_t kUnsentKeptMax = 64;
  std::array<char, UnsentText::kBytes> scratch;  // a head lives here between rendering and writev
  ObjectPool<UnsentText> unsent{kUnsentKeptMax};
  DateText date;
};

/// The two times a response needs: of its records (tls/session.h) and of its Date.
struct Now {
  MonoTime mono;
  WallTime wall;
};

/// Loop-owned; part of a connection. Nothing here waits.
class ResponseWriter {
 public:
  explicit ResponseWriter(WriterShared& shared) noexcept : shared_(shared) {}
  ResponseWriter(const ResponseWriter&) = delete;
  ResponseWriter& operator=(const ResponseWriter&) = delete;
  ~ResponseWriter() { drop_unsent(); }

  /// What of the request decides how the response is written.
  struct Asked {
    uint8_t version_minor = 1;
    bool to_head = false;
    bool close = false;  // the connection will not outlive this response
  };
  void begin(Asked asked) noexcept;
  /// The connection is not to outlive this response; no effect on a head already written.
  void set_close() noexcept { asked_.close = true; }

  struct Sent {
    size_t socket_bytes = 0;  // all the socket took
    size_t body_bytes = 0;    // of them, bytes of `body`
  };
  /// As Stream::try_send. Errors: those of Wire::write(); {Self, Full}: the head is larger than
  /// kResponseHeadBytesMax; nothing was written, and another head may be tried; {Self, Mismatch}:
  /// `body` is longer than announced; nothing of it was written, and the response cannot be ended.
  [[nodiscard]] Result<Sent> try_send(Wire& wire, Now now, const ResponseHead* head,
                                      std::span<const iovec> body);
  /// Ends the body. False: it is not complete (no head, or fewer bytes than announced), so the
  /// connection must end in a way the client notices.
  [[nodiscard]] bool end_body() noexcept;
  /// Tries to write what is kept.
  [[nodiscard]] Result<Sent> flush(Wire& wire, MonoTime now) { return write_pieces(wire, {}, now); }
  /// Forgets what is kept: the connection is given up.
  void drop_unsent() noexcept;

  [[nodiscard]] bool head_written() const noexcept { return head_written_; }
  [[nodiscard]] bool flushed() const noexcept { return unsent_ == nullptr; }
  [[nodiscard]] Framing framing() const noexcept { return framing_; }
  /// The connection ends with this response.
  [[nodiscard]] bool closes() const noexcept { return asked_.close; }

 private:
  [[nodiscard]] Result<Done> render(const ResponseHead& head, WallTime now);
  void open_chunk(size_t bytes) noexcept;
  void append_text(std::string_view text) noexcept;
  [[nodiscard]] std::string_view text() const noexcept;
  void keep_text(size_t taken) noexcept;
  [[nodiscard]] Result<Sent> write_pieces(Wire& wire, std::span<const iovec> body, MonoTime now);
  [[nodiscard]] Result<Sent> write_once(Wire& wire, std::span<const iovec> body, size_t skip,
                                        size_t bytes, MonoTime now);

  WriterShared& shared_;
  Asked asked_;
  Framing framing_ = Framing::None;
  bool head_written_ = false;
  bool chunk_open_ = false;   // a chunk was begun: its data is to be followed by CRLF
  bool blocked_ = false;      // the last writev took less than it was given
  uint64_t body_left_ = 0;    // Framing::Length
  size_t chunk_left_ = 0;     // announced by the chunk's size line, not yet taken
  size_t scratch_bytes_ = 0;  // text in shared_.scratch, within one call only
  UnsentText* unsent_ = nullptr;
};

}  // namespace segue::edge
