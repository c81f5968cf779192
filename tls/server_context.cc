#include "tls/server_context.h"

#include <fmt/format.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "tls/host_names.h"
#include "tls/server_context_impl.h"

namespace segue::tls {
namespace {

// Mozilla's "intermediate" of 2025 (guidelines 5.7) without its one DHE suite: no client that plays
// audio needs it, and its key exchange costs a core a millisecond.
constexpr const char* kCiphers12 =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
// AES-128 first: a third less CPU than AES-256 for every byte. A client without AES in hardware
// puts ChaCha20 first and gets it (SSL_OP_PRIORITIZE_CHACHA).
constexpr const char* kCiphers13 =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
constexpr const char* kGroups = "X25519:P-256:P-384";
// As long as an own ticket key opens at least (tls/ticket_keys.h).
constexpr std::chrono::seconds kSessionLifetime = kTicketKeyPeriod;

ServerContext::Impl& impl_of(void* argument) {
  return *static_cast<ServerContext::Impl*>(argument);
}

/// SNI (RFC 6066 §3). Called without a name, too.
int on_server_name(SSL* ssl, int* alert, void* argument) {
  ServerContext::Impl& self = impl_of(argument);
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  const auto host = name != nullptr ? normal_host(name) : std::nullopt;
  const ServerContext::Impl::Choice* choice = host ? self.find(*host) : nullptr;
  if (choice == nullptr) {
    if (self.refuse_unknown_names) {
      *alert = SSL_AD_UNRECOGNIZED_NAME;
      return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    return SSL_TLSEXT_ERR_NOACK;
  }
  // Else the client would be shown the certificate of another name.
  if (SSL_set_SSL_CTX(ssl, choice->context.get()) == nullptr) {
    *alert = SSL_AD_INTERNAL_ERROR;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  return SSL_TLSEXT_ERR_OK;
}

/// ALPN (RFC 7301 §3.2): an offer without a common protocol ends the handshake.
int on_protocols(SSL* /*ssl*/, const unsigned char** chosen, unsigned char* chosen_bytes,
                 const unsigned char* offered, unsigned int offered_bytes, void* argument) {
  static constexpr std::array<unsigned char, 12> kBoth{2,   'h', '2', 8,   'h', 't',
                                                       't', 'p', '/', '1', '.', '1'};
  const std::span<const unsigned char> ours =
      impl_of(argument).http2 ? std::span<const unsigned char>(kBoth)
                              : std::span<const unsigned char>(kBoth).subspan(3);
  unsigned char* found = nullptr;
  const int result =
      SSL_select_next_proto(&found, chosen_bytes, ours.data(), static_cast<unsigned>(ours.size()),
                            offered, offered_bytes);
  if (result != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_ALERT_FATAL;
  *chosen = found;
  return SSL_TLSEXT_ERR_OK;
}

/// OCSP stapling (RFC 6066 §8): the response of the certificate that is shown.
int on_status(SSL* ssl, void* argument) {
  const X509* shown = SSL_get_certificate(ssl);
  for (const LoadedCertificate& certificate : impl_of(argument).certificates) {
    if (X509_cmp(certificate.leaf.get(), shown) != 0 || certificate.ocsp.empty()) continue;
    // OpenSSL takes the copy and frees it.
    void* copy = OPENSSL_memdup(certificate.ocsp.data(), certificate.ocsp.size());
    if (copy == nullptr) return SSL_TLSEXT_ERR_NOACK;
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, static_cast<long>(certificate.ocsp.size()));
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_NOACK;
}

bool set_ticket_key(const TicketKey& key, const unsigned char* iv, EVP_CIPHER_CTX* cipher,
                    EVP_MAC_CTX* mac, bool sealing) {
  std::array<char, 7> digest{"SHA256"};
  const std::array<OSSL_PARAM, 3> parameters{
      OSSL_PARAM_construct_octet_string(
          OSSL_MAC_PARAM_KEY, const_cast<unsigned char*>(key.sign.data()), key.sign.size()),
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.data(), 0),
      OSSL_PARAM_construct_end()};
  return EVP_MAC_CTX_set_params(mac, parameters.data()) == 1 &&
         EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), nullptr, key.seal.data(), iv,
                           sealing ? 1 : 0) == 1;
}

/// Tickets (RFC 5077 §4). Called with the context the connection began with, whatever SNI chose.
int on_ticket(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
              EVP_MAC_CTX* mac, int sealing) {
  const auto* self =
      static_cast<const ServerContext::Impl*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
  if (sealing == 1) {
    TicketKey key = self->tickets.current();
    std::memcpy(name, key.name.data(), key.name.size());
    const bool ready =
        RAND_bytes(iv, EVP_MAX_IV_LENGTH) == 1 && set_ticket_key(key, iv, cipher, mac, true);
    OPENSSL_cleanse(&key, sizeof key);
    return ready ? 1 : -1;
  }
  auto found = self->tickets.find({name, TicketKey::kNameBytes});
  if (!found) return 0;  // a full handshake
  const bool ready = set_ticket_key(found->key, iv, cipher, mac, false);
  OPENSSL_cleanse(&found->key, sizeof found->key);
  if (!ready) return -1;
  return found->is_current ? 1 : 2;  // 2: opened, and a new ticket is to be given
}

/// Builds contexts and collects what is wrong.
class Builder {
 public:
  Builder(const ServerOptions& options, ServerContext::Impl& impl, std::vector<Finding>& findings)
      : options_(options), impl_(impl), findings_(findings) {}

  bool build(WallTime now) {
    impl_.http2 = options_.http2;
    impl_.refuse_unknown_names = options_.refuse_unknown_names;
    bool usable = true;
    for (const CertificateFiles& files : options_.certificates) {
      auto loaded = load_certificate(files, now, findings_);
      usable = usable && loaded.has_value();
      if (loaded) impl_.certificates.push_back(std::move(*loaded));
    }
    if (!usable) return false;
    if (impl_.certificates.empty()) {
      findings_.push_back({true, "tls", "has no certificate"});
      return false;
    }
    fill_names();
    // What the first certificate covers is the default; its other kind stands beside it.
    if (!add_choice(impl_.pair_of(example_of(impl_.certificates.front())))) return false;
    for (const auto& [name, pair] : impl_.names) {
      const ServerContext::Impl::Pair whole = impl_.pair_of(name);
      const auto has = [&](const auto& choice) { return choice.pair == whole; };
      if (std::ranges::none_of(impl_.choices, has) && !add_choice(whole)) return false;
    }
    return true;
  }

 private:
  static std::string example_of(const LoadedCertificate& certificate) {
    return certificate.facts.names.front();
  }

  /// Of two certificates of one kind for the same name the first one given is shown.
  void fill_names() {
    for (size_t i = 0; i < impl_.certificates.size(); ++i) {
      const CertificateFacts& facts = impl_.certificates[i].facts;
      for (const std::string& name : facts.names) {
        ServerContext::Impl::Pair& pair = impl_.names[name];
        int& place = facts.ecdsa ? pair.ecdsa : pair.rsa;
        if (place < 0) place = static_cast<int>(i);
      }
    }
  }

  bool add_certificate(SSL_CTX* context, int index) {
    if (index < 0) return true;
    const LoadedCertificate& certificate = impl_.certificates[static_cast<size_t>(index)];
    bool good = SSL_CTX_use_certificate(context, certificate.leaf.get()) == 1 &&
                SSL_CTX_use_PrivateKey(context, certificate.key.get()) == 1;
    for (const X509Handle& each : certificate.chain)
      good = good && SSL_CTX_add1_chain_cert(context, each.get()) == 1;
    if (!good)
      findings_.push_back({true, options_.certificates[static_cast<size_t>(index)].chain,
                           "is refused by OpenSSL: " + openssl_reason()});
    return good;
  }

  bool add_choice(ServerContext::Impl::Pair pair) {
    ContextHandle context(SSL_CTX_new(TLS_server_method()));
    SSL_CTX* raw = context.get();
    const bool made = raw != nullptr && SSL_CTX_set_app_data(raw, &impl_) == 1 &&
                      set_protocol(raw) && set_callbacks(raw);
    if (!made) {
      findings_.push_back({true, "tls", "cannot be set up: " + openssl_reason()});
      return false;
    }
    if (!add_certificate(raw, pair.ecdsa) || !add_certificate(raw, pair.rsa)) return false;
    if (!options_.client_ca.empty() && !require_client_certificate(raw)) return false;
    impl_.choices.push_back({pair, std::move(context)});
    return true;
  }

  [[nodiscard]] bool set_protocol(SSL_CTX* context) const {
    bool set = SSL_CTX_set_min_proto_version(context,
                                             options_.tls12 ? TLS1_2_VERSION : TLS1_3_VERSION) == 1;
    set = set && SSL_CTX_set_cipher_list(context, kCiphers12) == 1;
    set = set && SSL_CTX_set_ciphersuites(context, kCiphers13) == 1;
    set = set && SSL_CTX_set1_groups_list(context, kGroups) == 1;
    // 0-RTT stays off (OpenSSL's default): a replayed request would count as a second one.
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                     SSL_OP_IGNORE_UNEXPECTED_EOF);
    // Tickets alone resume: a cache of sessions would be a lock between loops.
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(context, kSessionLifetime.count());
    SSL_CTX_set_read_ahead(context, 1);  // one read(2) for a record instead of two
    return set;
  }

  [[nodiscard]] bool set_callbacks(SSL_CTX* context) {
    SSL_CTX_set_tlsext_servername_callback(context, &on_server_name);
    SSL_CTX_set_tlsext_servername_arg(context, &impl_);
    SSL_CTX_set_alpn_select_cb(context, &on_protocols, &impl_);
    SSL_CTX_set_tlsext_status_cb(context, &on_status);
    SSL_CTX_set_tlsext_status_arg(context, &impl_);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(context, &on_ticket);
    // A ticket of a listener that asks for no client certificate must not open one that does.
    const std::string purpose = "segue" + options_.client_ca;
    std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
    return EVP_Digest(purpose.data(), purpose.size(), hash.data(), nullptr, EVP_sha256(),
                      nullptr) == 1 &&
           SSL_CTX_set_session_id_context(context, hash.data(), SSL_MAX_SID_CTX_LENGTH) == 1;
  }

  bool require_client_certificate(SSL_CTX* context) {
    auto* names = SSL_load_client_CA_file(options_.client_ca.c_str());
    const bool loaded =
        names != nullptr && SSL_CTX_load_verify_file(context, options_.client_ca.c_str()) == 1;
    if (!loaded) {
      sk_X509_NAME_pop_free(names, X509_NAME_free);
      findings_.push_back(
          {true, options_.client_ca, "has no CA certificates in PEM: " + openssl_reason()});
      return false;
    }
    SSL_CTX_set_client_CA_list(context, names);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    // A ticket would let in who was let in once, also when the CA or the certificate is no longer
    // good. Nodes that talk to each other do so over few connections, and long.
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(context, 0);
    return true;
  }

  const ServerOptions& options_;
  ServerContext::Impl& impl_;
  std::vector<Finding>& findings_;
};

}  // namespace

/// An exact name wins over a wildcard, kind by kind: a name with an ECDSA certificate of its own is
/// served the wildcard's RSA one to old clients.
ServerContext::Impl::Pair ServerContext::Impl::pair_of(const std::string& host) const {
  Pair pair;
  const auto take = [&](const std::string& name) {
    const auto found = names.find(name);
    if (found == names.end()) return;
    if (pair.ecdsa < 0) pair.ecdsa = found->second.ecdsa;
    if (pair.rsa < 0) pair.rsa = found->second.rsa;
  };
  take(host);
  if (const std::string wildcard = wildcard_of(host); !wildcard.empty()) take(wildcard);
  return pair;
}

const ServerContext::Impl::Choice* ServerContext::Impl::find(const std::string& host) const {
  const Pair pair = pair_of(host);
  if (pair == Pair{}) return nullptr;
  const auto found =
      std::ranges::find_if(choices, [&](const Choice& choice) { return choice.pair == pair; });
  return found == choices.end() ? nullptr : &*found;
}

bool ServerContext::Impl::covers(const SSL_CTX* shown, std::string_view host) const {
  const auto choice = std::ranges::find_if(
      choices, [&](const Choice& each) { return each.context.get() == shown; });
  const auto normal = normal_host(host);
  if (choice == choices.end() || !normal) return false;
  const std::string wildcard = wildcard_of(*normal);
  const auto in = [&](int index) {
    if (index < 0) return false;
    const auto& listed = certificates[static_cast<size_t>(index)].facts.names;
    return std::ranges::any_of(listed, [&](const std::string& name) {
      return name == *normal || (!wildcard.empty() && name == wildcard);
    });
  };
  return in(choice->pair.ecdsa) || in(choice->pair.rsa);
}

ServerContext::ServerContext(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ServerContext::~ServerContext() = default;

std::shared_ptr<const ServerContext> ServerContext::create(const ServerOptions& options,
                                                           const TicketKeys& tickets, WallTime now,
                                                           std::vector<Finding>& findings) {
  ERR_clear_error();
  auto impl = std::make_unique<Impl>(tickets);
  if (!Builder(options, *impl, findings).build(now)) return nullptr;
  return std::shared_ptr<const ServerContext>(new ServerContext(std::move(impl)));
}

WallTime ServerContext::not_after() const noexcept {
  WallTime first = WallTime::max();
  for (const LoadedCertificate& certificate : impl_->certificates)
    first = std::min(first, certificate.facts.not_after);
  return first;
}

}  // namespace segue::tls
