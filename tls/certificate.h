// tls/certificate.h - certificates and keys from files, and everything that can be wrong with them
// said in words an operator can act on. Reads files: start-up, `segue check` and reload only.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop/clock.h"

namespace segue::tls {

/// Where one certificate lies.
struct CertificateFiles {
  std::string chain;  // PEM: the server's certificate first, then what leads to the CA
  std::string key;    // PEM, without a pass phrase
  std::string ocsp;   // DER of an OCSP response to staple; empty: none
};

/// Something wrong with a certificate or one of its files.
struct Finding {
  /// Unusable: no server can be started, and no reload done, with it. What is not (an expired
  /// certificate, a key that others may read, a stale OCSP response) is served all the same, with a
  /// warning, because the other hosts of the node are not to suffer for it.
  bool unusable = false;
  std::string file;
  std::string what;
};

/// What a set of certificates covers, for `segue check` and the log.
struct CertificateFacts {
  std::vector<std::string> names;  // DNS names and IP literals, lower case
  WallTime not_after{};
  bool ecdsa = false;  // else RSA
};

/// What we show to servers, and by whom we know them; empty: nothing of the kind.
struct ClientFiles {
  std::string certificate;  // PEM; with `key`, or neither
  std::string key;
  std::string ca;
};

/// What is wrong with them. A name in the certificate is not needed.
[[nodiscard]] std::vector<Finding> check_client_files(const ClientFiles& files, WallTime now);

/// Reads and checks one certificate at `now`; every finding is added to `findings`. Nothing is
/// returned if it is unusable.
[[nodiscard]] std::optional<CertificateFacts> check_certificate(const CertificateFiles& files,
                                                                WallTime now,
                                                                std::vector<Finding>& findings);

}  // namespace segue::tls
