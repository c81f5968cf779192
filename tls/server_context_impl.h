// tls/server_context_impl.h - the inside of ServerContext, for Session. Internal to tls/.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tls/loaded_certificate.h"
#include "tls/server_context.h"

namespace segue::tls {

struct ServerContext::Impl {
  /// The certificates one connection may be shown: one of each kind (indexes; -1: none). OpenSSL
  /// takes what the client can verify.
  struct Pair {
    int ecdsa = -1;
    int rsa = -1;
    auto operator<=>(const Pair&) const = default;
  };
  struct Choice {
    Pair pair;
    ContextHandle context;
  };

  explicit Impl(const TicketKeys& keys) : tickets(keys) {}

  /// The context for a name; null: no certificate covers it. `host` is a normal_host().
  [[nodiscard]] const Choice* find(const std::string& host) const;
  /// Whether one of the certificates in `choice` covers the host of a request.
  [[nodiscard]] bool covers(const SSL_CTX* shown, std::string_view host) const;
  [[nodiscard]] Pair pair_of(const std::string& host) const;

  const TicketKeys& tickets;
  bool http2 = true;
  bool refuse_unknown_names = false;
  std::vector<LoadedCertificate> certificates;
  std::map<std::string, Pair, std::less<>> names;
  std::vector<Choice> choices;  // the first one is the default
};

}  // namespace segue::tls
