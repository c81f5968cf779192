// A TLS client on a non-blocking socket: what the server's loop serves between its calls.
#pragma once
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <string>
#include <string_view>

#include "tls/openssl_handles.h"

namespace segue::edge {

class TlsClient {
 public:
  /// Does not own the descriptor.
  TlsClient(int fd, const std::string& ca_file, const std::string& name)
      : context_(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX_load_verify_file(context_.get(), ca_file.c_str());
    SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_fd(ssl_.get(), fd);
    SSL_set_tlsext_host_name(ssl_.get(), name.c_str());
    SSL_set_connect_state(ssl_.get());
  }
  /// Before the handshake: asks for an OCSP response, too.
  void ask_status() { SSL_set_tlsext_status_type(ssl_.get(), TLSEXT_STATUSTYPE_ocsp); }
  /// After it: whether the certificate shown covers `name`.
  [[nodiscard]] bool shows(const std::string& name) const {
    const tls::X509Handle shown(SSL_get1_peer_certificate(ssl_.get()));
    return shown != nullptr && X509_check_host(shown.get(), name.c_str(), 0, 0, nullptr) == 1;
  }
  /// One step; true once it is done.
  bool handshake() { return SSL_do_handshake(ssl_.get()) == 1; }
  void send(std::string_view text) {
    SSL_write(ssl_.get(), text.data(), static_cast<int>(text.size()));
  }
  /// What has arrived; sets ended() where the server said goodbye.
  std::string receive() {
    std::string all;
    std::string some(16384, 0);
    for (int got = 0; (got = SSL_read(ssl_.get(), some.data(), 16384)) > 0;)
      all.append(some.data(), static_cast<size_t>(got));
    ended_ = (SSL_get_shutdown(ssl_.get()) & SSL_RECEIVED_SHUTDOWN) != 0;
    return all;
  }
  [[nodiscard]] bool ended() const { return ended_; }

 private:
  tls::ContextHandle context_;
  tls::SslHandle ssl_;
  bool ended_ = false;
};

}  // namespace segue::edge
