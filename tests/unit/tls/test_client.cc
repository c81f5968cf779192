#include "tests/unit/tls/test_client.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstring>

#include "tls/openssl_handles.h"

namespace segue::tls {
namespace {

class StringSource final : public Source {
 public:
  StringSource(std::string& from, bool closed) : from_(from), closed_(closed) {}
  int64_t read(std::span<std::byte> into) noexcept override {
    if (from_.empty()) return closed_ ? 0 : kNothing;
    const size_t count = std::min(from_.size(), into.size());
    std::memcpy(into.data(), from_.data(), count);
    from_.erase(0, count);
    return static_cast<int64_t>(count);
  }

 private:
  std::string& from_;
  const bool closed_;
};

}  // namespace

struct TestClient::Impl {
  ContextHandle context;
  SslHandle ssl;
  BIO* in = nullptr;
  BIO* out = nullptr;
};

TestClient::TestClient(const Options& options) : impl_(std::make_unique<Impl>()) {
  impl_->context.reset(SSL_CTX_new(TLS_client_method()));
  SSL_CTX* context = impl_->context.get();
  SSL_CTX_load_verify_file(context, options.ca_file.c_str());
  if (options.version != 0) {
    SSL_CTX_set_min_proto_version(context, options.version);
    SSL_CTX_set_max_proto_version(context, options.version);
    SSL_CTX_set_security_level(context, 0);
  }
  if (options.signatures != nullptr) SSL_CTX_set1_sigalgs_list(context, options.signatures);
  if (options.ciphers != nullptr) SSL_CTX_set_cipher_list(context, options.ciphers);
  if (!options.certificate_file.empty()) {
    SSL_CTX_use_certificate_file(context, options.certificate_file.c_str(), SSL_FILETYPE_PEM);
    SSL_CTX_use_PrivateKey_file(context, options.key_file.c_str(), SSL_FILETYPE_PEM);
  }
  impl_->ssl.reset(SSL_new(context));
  SSL* ssl = impl_->ssl.get();
  if (!options.name.empty()) SSL_set_tlsext_host_name(ssl, options.name.c_str());
  if (options.ask_status) SSL_set_tlsext_status_type(ssl, TLSEXT_STATUSTYPE_ocsp);
  std::string protocols;
  for (const std::string& each : options.protocols) {
    protocols += static_cast<char>(each.size());
    protocols += each;
  }
  SSL_set_alpn_protos(ssl, reinterpret_cast<const unsigned char*>(protocols.data()),
                      static_cast<unsigned>(protocols.size()));
  if (!options.ticket.empty()) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(options.ticket.data());
    SSL_SESSION* session =
        d2i_SSL_SESSION(nullptr, &bytes, static_cast<long>(options.ticket.size()));
    SSL_set_session(ssl, session);
    SSL_SESSION_free(session);
  }
  impl_->in = BIO_new(BIO_s_mem());
  impl_->out = BIO_new(BIO_s_mem());
  SSL_set_bio(ssl, impl_->in, impl_->out);
  SSL_set_connect_state(ssl);
}

TestClient::~TestClient() = default;

void TestClient::take_written() {
  std::string some(65536, 0);
  for (int got = 0; (got = BIO_read(impl_->out, some.data(), 65536)) > 0;)
    to_server.append(some.data(), static_cast<size_t>(got));
}

void TestClient::take_some(Session& server, size_t bytes) {
  const auto some = server.unsent().first(bytes);
  half_record_.append(reinterpret_cast<const char*>(some.data()), some.size());
  BIO_write(impl_->in, some.data(), static_cast<int>(some.size()));
  server.sent(some.size());
}

void TestClient::give(Session& server) {
  while (!server.unsent().empty()) take_some(server, server.unsent().size());
  while (half_record_.size() >= 5) {
    const auto high = static_cast<unsigned char>(half_record_[3]);
    const auto low = static_cast<unsigned char>(half_record_[4]);
    const size_t length = size_t{high} * 256 + low;
    if (half_record_.size() < 5 + length) break;
    record_lengths_.push_back(length);
    half_record_.erase(0, 5 + length);
  }
}

std::vector<size_t> TestClient::take_record_lengths() { return std::exchange(record_lengths_, {}); }

std::optional<HandshakeEnd> TestClient::handshake(Session& server) {
  std::optional<HandshakeEnd> end;
  for (int i = 0; i < 10; ++i) {
    ERR_clear_error();
    const int result = SSL_do_handshake(impl_->ssl.get());
    const bool failed =
        result != 1 && SSL_get_error(impl_->ssl.get(), result) != SSL_ERROR_WANT_READ;
    if (failed) {
      const char* reason = ERR_reason_error_string(ERR_peek_last_error());
      alert_ = reason != nullptr ? reason : "failed";
      ERR_clear_error();
      return end;
    }
    take_written();
    StringSource source(to_server, closed);
    if (!end) end = server.handshake(source);
    give(server);
    if (end && result == 1 && to_server.empty()) break;
  }
  return end;
}

std::string TestClient::receive(Session& server) {
  give(server);
  std::string all;
  std::string some(65536, 0);
  ERR_clear_error();
  while (true) {
    const int got = SSL_read(impl_->ssl.get(), some.data(), 65536);
    if (got <= 0) {
      ended_ = SSL_get_error(impl_->ssl.get(), got) == SSL_ERROR_ZERO_RETURN;
      return all;
    }
    all.append(some.data(), static_cast<size_t>(got));
  }
}

std::string TestClient::send(Session& server, std::string_view text) {
  if (!text.empty()) SSL_write(impl_->ssl.get(), text.data(), static_cast<int>(text.size()));
  take_written();
  StringSource source(to_server, closed);
  std::string all;
  std::string some(100, 0);
  size_t bytes = 0;
  while (server.receive(source, some, bytes) == Session::Received::Bytes)
    all.append(some.data(), bytes);
  return all;
}

bool TestClient::trusts_server() const {
  return SSL_get_verify_result(impl_->ssl.get()) == X509_V_OK;
}
bool TestClient::shook_hands() const { return SSL_is_init_finished(impl_->ssl.get()) == 1; }
std::string TestClient::protocol() const {
  const unsigned char* name = nullptr;
  unsigned bytes = 0;
  SSL_get0_alpn_selected(impl_->ssl.get(), &name, &bytes);
  return {reinterpret_cast<const char*>(name), bytes};
}
std::string TestClient::version() const { return SSL_get_version(impl_->ssl.get()); }
std::string TestClient::key_kind() const {
  X509* shown = SSL_get0_peer_certificate(impl_->ssl.get());
  if (shown == nullptr) return "none";
  return EVP_PKEY_get_base_id(X509_get0_pubkey(shown)) == EVP_PKEY_EC ? "EC" : "RSA";
}
std::string TestClient::first_name() const {
  X509* shown = SSL_get0_peer_certificate(impl_->ssl.get());
  auto* names =
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(shown, NID_subject_alt_name, nullptr, nullptr));
  std::string name;
  if (sk_GENERAL_NAME_num(names) > 0) {
    const ASN1_STRING* text = sk_GENERAL_NAME_value(names, 0)->d.dNSName;
    name.assign(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                static_cast<size_t>(ASN1_STRING_length(text)));
  }
  GENERAL_NAMES_free(names);
  return name;
}
std::string TestClient::staple() const {
  const unsigned char* bytes = nullptr;
  const long length = SSL_get_tlsext_status_ocsp_resp(impl_->ssl.get(), static_cast<void*>(&bytes));
  if (length <= 0) return {};
  return {reinterpret_cast<const char*>(bytes), static_cast<size_t>(length)};
}
std::string TestClient::session() const {
  SSL_SESSION* session = SSL_get1_session(impl_->ssl.get());
  unsigned char* bytes = nullptr;
  const int length = i2d_SSL_SESSION(session, &bytes);
  std::string text(reinterpret_cast<const char*>(bytes), static_cast<size_t>(length));
  OPENSSL_free(bytes);
  SSL_SESSION_free(session);
  return text;
}

WallTime TlsTest::now() { return SystemClock().wall(); }

}  // namespace segue::tls
