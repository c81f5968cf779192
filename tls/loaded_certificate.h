// tls/loaded_certificate.h - a certificate with its key as OpenSSL holds it. Internal to tls/.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "tls/certificate.h"
#include "tls/openssl_handles.h"

namespace segue::tls {

struct LoadedCertificate {
  X509Handle leaf;
  std::vector<X509Handle> chain;  // what follows the leaf in its file
  KeyHandle key;
  std::string ocsp;  // DER; empty: nothing to staple
  CertificateFacts facts;
};

[[nodiscard]] std::optional<LoadedCertificate> load_certificate(const CertificateFiles& files,
                                                                WallTime now,
                                                                std::vector<Finding>& findings);

/// The reason OpenSSL has for its latest failure; empties its queue.
[[nodiscard]] std::string openssl_reason();

}  // namespace segue::tls
