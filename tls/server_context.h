// tls/server_context.h - what all TLS connections of a listener share: certificates by SNI,
// protocol and ciphers, tickets. Immutable once made; a reload makes a new one, and connections
// that began on the old one end on it.
#pragma once
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tls/certificate.h"
#include "tls/ticket_keys.h"

namespace segue::tls {

struct ServerOptions {
  std::vector<CertificateFiles> certificates =
      {};             // the first one stands in where SNI names no host
  bool tls12 = true;  // false: TLS 1.3 only
  bool http2 = true;  // offered by ALPN before http/1.1
  /// A name that no certificate covers, or none at all: refused by an alert (RFC 6066 §3) instead
  /// of being shown the first certificate.
  bool refuse_unknown_names = false;
  /// Not empty: clients must show a certificate that this file's CAs signed (fleet-internal
  /// listeners).
  std::string client_ca = {};
};

class ServerContext {
 public:
  /// Reads every file; waits for them. Where a finding is unusable there is no context. Findings
  /// that are none are to be logged as warnings. `tickets` outlives the context.
  [[nodiscard]] static std::shared_ptr<const ServerContext> create(const ServerOptions& options,
                                                                   const TicketKeys& tickets,
                                                                   WallTime now,
                                                                   std::vector<Finding>& findings);
  ~ServerContext();
  ServerContext(const ServerContext&) = delete;
  ServerContext& operator=(const ServerContext&) = delete;

  /// Of the certificate that expires first; for the metric.
  [[nodiscard]] WallTime not_after() const noexcept;

  struct Impl;  // tls/ only

 private:
  friend class Session;
  explicit ServerContext(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace segue::tls
