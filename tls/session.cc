#include "tls/session.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "base/assert.h"
#include "base/out_of_memory.h"
#include "tls/host_names.h"
#include "tls/openssl_handles.h"
#include "tls/server_context_impl.h"

namespace segue::tls {
namespace {

// One packet of any path: 1,280 bytes (RFC 8200 §5) would be the least; 1,400 fit nearly all.
constexpr size_t kFirstRecordBytes = 1300;
// With the first one within ten packets, what TCP sends before the first acknowledgement (RFC
// 6928).
constexpr size_t kEarlyRecordBytes = 4 * KiB;
constexpr uint64_t kEarlyBytes = 13 * KiB;
// After that long without a byte the congestion window is small again.
constexpr std::chrono::seconds kPause{1};
// A piece shorter than this shares a record with what follows it, where that is short as well or
// all there is (a head with a small body: a record more costs as much as copying 16 KiB), or where
// the record is a small one for the sake of the first byte.
constexpr size_t kJoinBelowBytes = 2 * KiB;
constexpr size_t kJoinedBytesMax = SealedPool::kJoinBytes;

using Pieces = std::span<const iovec>;

/// How many bytes of `pieces`, from `skip` on in the first, go into one record of at most `record`
/// bytes; those of more than one piece have to be copied together.
size_t joined_bytes(Pieces pieces, size_t skip, size_t record) noexcept {
  const size_t first = pieces.front().iov_len - skip;
  if (first >= kJoinBelowBytes || first >= record || pieces.size() == 1) return first;
  const size_t bytes_max = std::min(record, kJoinedBytesMax);
  size_t bytes = first;
  for (const iovec& piece : pieces.subspan(1)) {
    const bool fits = bytes + piece.iov_len <= bytes_max;
    // Of a large piece no front is copied: it goes out from where it lies.
    if (!fits && piece.iov_len >= kJoinBelowBytes && record > kEarlyRecordBytes) break;
    if (!fits) return bytes_max;
    bytes += piece.iov_len;
  }
  return bytes;
}

HandshakeEnd end_of(int reason) noexcept {
  switch (reason) {
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SHARED_GROUPS:
    case SSL_R_NO_APPLICATION_PROTOCOL:
    case SSL_R_INAPPROPRIATE_FALLBACK:
      return HandshakeEnd::NoCommonProtocol;
    case SSL_R_CALLBACK_FAILED:
    case SSL_R_CLIENTHELLO_TLSEXT:
      return HandshakeEnd::UnknownName;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
      return HandshakeEnd::ClientCertificate;
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
      return HandshakeEnd::Closed;
    default:
      return HandshakeEnd::Malformed;
  }
}

}  // namespace

struct Session::Impl {
  SslHandle ssl;
};

/// The two ends of OpenSSL's I/O: reads ask the session's source, writes go to its batch.
struct BioOf {
  static Session& session(BIO* bio) { return *static_cast<Session*>(BIO_get_data(bio)); }

  static int read(BIO* bio, char* into, int bytes) {
    BIO_clear_retry_flags(bio);
    Session& self = session(bio);
    if (self.source_ == nullptr || bytes <= 0) {
      BIO_set_retry_read(bio);
      return -1;
    }
    const int64_t got =
        self.source_->read(std::as_writable_bytes(std::span(into, static_cast<size_t>(bytes))));
    if (got >= 0) return static_cast<int>(got);
    if (got == Source::kNothing) {
      BIO_set_retry_read(bio);
    } else {
      self.source_dead_ = true;
    }
    return -1;
  }

  static int write(BIO* bio, const char* from, int bytes) {
    BIO_clear_retry_flags(bio);
    Session& self = session(bio);
    const auto count = static_cast<size_t>(std::max(bytes, 0));
    if (!self.take_batch() || count > SealedBatch::kBytes - self.batch_->end) {
      BIO_set_retry_write(bio);
      return -1;
    }
    std::memcpy(self.batch_->bytes.data() + self.batch_->end, from, count);
    self.batch_->end += count;
    return bytes;
  }

  static long control(BIO* /*bio*/, int command, long /*number*/, void* /*pointer*/) {
    return command == BIO_CTRL_FLUSH ? 1 : 0;
  }

  static const BIO_METHOD* method() {
    static const BIO_METHOD* const only = [] {
      BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "segue");
      if (made == nullptr) end_out_of_memory("a BIO method of OpenSSL");  // once in a process
      BIO_meth_set_read(made, &BioOf::read);
      BIO_meth_set_write(made, &BioOf::write);
      BIO_meth_set_ctrl(made, &BioOf::control);
      return made;
    }();
    return only;
  }
};

std::string_view name_of(HandshakeEnd end) noexcept {
  switch (end) {
    case HandshakeEnd::Full:
      return "full";
    case HandshakeEnd::Resumed:
      return "resumed";
    case HandshakeEnd::Closed:
      return "closed";
    case HandshakeEnd::NoCommonProtocol:
      return "no_common_protocol";
    case HandshakeEnd::UnknownName:
      return "unknown_name";
    case HandshakeEnd::ClientCertificate:
      return "client_certificate";
    case HandshakeEnd::Malformed:
      return "malformed";
    case HandshakeEnd::NoMemory:
      return "no_memory";
  }
  return "malformed";
}

Session::Session(std::shared_ptr<const ServerContext> context, SealedPool& pool)
    : context_(std::move(context)), pool_(pool), impl_(std::make_unique<Impl>()) {
  impl_->ssl.reset(SSL_new(context_->impl_->choices.front().context.get()));
  BIO* bio = BIO_new(BioOf::method());
  if (impl_->ssl == nullptr || bio == nullptr) {
    BIO_free(bio);
    impl_->ssl.reset();
    broken_ = true;
    ERR_clear_error();
    return;
  }
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(impl_->ssl.get(), bio, bio);
  SSL_set_accept_state(impl_->ssl.get());
}

Session::~Session() { drop_unsent(); }

bool Session::take_batch() {
  if (batch_ != nullptr) return true;
  batch_ = pool_.take();
  plain_bytes_ = 0;
  if (batch_ == nullptr) pool_spent_ = true;
  return batch_ != nullptr;
}

HandshakeEnd Session::why_failed(int error) const {
  if (error == SSL_ERROR_ZERO_RETURN || source_dead_ || ERR_peek_error() == 0)
    return HandshakeEnd::Closed;
  // What a lower layer has to say (a bad signature) comes first; what it meant comes behind it.
  while (const auto reason = ERR_get_error()) {
    if (ERR_GET_REASON(reason) == ERR_R_MALLOC_FAILURE) return HandshakeEnd::NoMemory;
    if (ERR_GET_LIB(reason) != ERR_LIB_SSL) continue;
    const HandshakeEnd end = end_of(ERR_GET_REASON(reason));
    if (end != HandshakeEnd::Malformed) return end;
  }
  return HandshakeEnd::Malformed;
}

std::optional<HandshakeEnd> Session::handshake(Source& source) {
  if (impl_->ssl == nullptr) return HandshakeEnd::NoMemory;
  ERR_clear_error();
  source_ = &source;
  const int result = SSL_do_handshake(impl_->ssl.get());
  source_ = nullptr;
  if (result == 1) {
    return SSL_session_reused(impl_->ssl.get()) == 1 ? HandshakeEnd::Resumed : HandshakeEnd::Full;
  }
  const int error = SSL_get_error(impl_->ssl.get(), result);
  if (error == SSL_ERROR_WANT_READ) return std::nullopt;
  if (error == SSL_ERROR_WANT_WRITE && !pool_spent_ && !unsent().empty()) return std::nullopt;
  broken_ = true;
  const HandshakeEnd end = why_failed(error);
  ERR_clear_error();
  return end;
}

bool Session::has_more_of_flight() const noexcept {
  return !broken_ && SSL_want(impl_->ssl.get()) == SSL_WRITING;
}

Session::Received Session::receive(Source& source, std::span<char> into, size_t& bytes) {
  if (broken_) return Received::Dead;
  ERR_clear_error();
  source_ = &source;
  const int result = SSL_read_ex(impl_->ssl.get(), into.data(), into.size(), &bytes);
  source_ = nullptr;
  if (result == 1) return Received::Bytes;
  bytes = 0;
  switch (SSL_get_error(impl_->ssl.get(), result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return Received::Nothing;
    case SSL_ERROR_ZERO_RETURN:
      return Received::End;
    default:
      broken_ = true;
      ERR_clear_error();
      return Received::Dead;
  }
}

bool Session::has_pending() const noexcept {
  return !broken_ && SSL_has_pending(impl_->ssl.get()) == 1;
}

size_t Session::record_bytes() const noexcept {
  if (since_pause_ == 0) return kFirstRecordBytes;
  return since_pause_ < kEarlyBytes ? kEarlyRecordBytes : kRecordBytesMax;
}

Result<size_t> Session::seal(std::span<const iovec> pieces, size_t skip, size_t bytes_max,
                             MonoTime now) {
  if (broken_) return fail(Side::Self, Kind::IoError, "tls session is over");
  if (rest_ != nullptr) return 0;
  if (now - sealed_at_ > kPause) since_pause_ = 0;
  sealed_at_ = now;
  if (!take_batch()) return fail(Side::Self, Kind::Overloaded, "tls batches");
  size_t sealed = 0;
  auto piece = pieces.begin();
  while (sealed < bytes_max && plain_bytes_ < kBatchBytes) {
    while (piece != pieces.end() && skip >= piece->iov_len) skip -= (piece++)->iov_len;
    if (piece == pieces.end()) break;
    size_t record = std::min({record_bytes(), bytes_max - sealed, kBatchBytes - plain_bytes_});
    if (SealedBatch::kBytes - batch_->end < record + kRecordOverheadBytesMax) break;
    const auto* from = static_cast<const std::byte*>(piece->iov_base) + skip;
    const size_t here = piece->iov_len - skip;
    record = std::min(record, joined_bytes({piece, pieces.end()}, skip, record));
    if (record > here) {
      const std::span<std::byte, SealedPool::kJoinBytes> room = pool_.join_room();
      size_t joined = 0;
      auto part = piece;
      for (size_t at = skip; part != pieces.end() && joined < record; ++part, at = 0) {
        const size_t take = std::min(part->iov_len - at, record - joined);
        std::memcpy(room.data() + joined, static_cast<const std::byte*>(part->iov_base) + at, take);
        joined += take;
      }
      from = room.data();
    }
    ERR_clear_error();
    size_t written = 0;
    if (SSL_write_ex(impl_->ssl.get(), from, record, &written) != 1) {
      broken_ = true;
      ERR_clear_error();
      return fail(Side::Self, Kind::IoError, "tls write");
    }
    sealed += record;
    skip += record;
    plain_bytes_ += record;
    since_pause_ += record;
  }
  return sealed;
}

void Session::seal_end() noexcept {
  if (broken_ || SSL_in_init(impl_->ssl.get()) == 1) return;
  ERR_clear_error();
  SSL_shutdown(impl_->ssl.get());
  ERR_clear_error();
}

std::span<const std::byte> Session::unsent() const noexcept {
  if (rest_ != nullptr)
    return {rest_.get() + rest_begin_, static_cast<size_t>(rest_end_ - rest_begin_)};
  if (batch_ == nullptr) return {};
  return {batch_->bytes.data() + batch_->begin, batch_->end - batch_->begin};
}

void Session::sent(size_t count) {
  SEGUE_ASSERT(count <= unsent().size());
  if (rest_ != nullptr) {
    rest_begin_ += static_cast<uint16_t>(count);
    if (rest_begin_ == rest_end_) rest_.reset();
    return;
  }
  if (batch_ == nullptr) return;
  batch_->begin += count;
  const std::span<const std::byte> left = unsent();
  if (left.size() > kRestBytesMax) return;
  if (!left.empty()) {
    rest_ = std::make_unique_for_overwrite<std::byte[]>(left.size());
    std::memcpy(rest_.get(), left.data(), left.size());
    rest_begin_ = 0;
    rest_end_ = static_cast<uint16_t>(left.size());
  }
  give_back_batch();
}

void Session::drop_unsent() noexcept {
  rest_.reset();
  give_back_batch();
}

void Session::give_back_batch() noexcept {
  if (batch_ == nullptr) return;
  pool_.give_back(batch_);
  batch_ = nullptr;
}

void Session::release_buffers() noexcept {
  if (!broken_) SSL_free_buffers(impl_->ssl.get());
}

bool Session::is_http2() const noexcept {
  const unsigned char* name = nullptr;
  unsigned bytes = 0;
  SSL_get0_alpn_selected(impl_->ssl.get(), &name, &bytes);
  return bytes == 2 && std::memcmp(name, "h2", 2) == 0;
}

bool Session::covers(std::string_view host) const {
  return context_->impl_->covers(SSL_get_SSL_CTX(impl_->ssl.get()), host);
}

}  // namespace segue::tls
