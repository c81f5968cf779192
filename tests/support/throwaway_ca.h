// tests/support/throwaway_ca.h - a certificate authority that lives as long as a test.
#pragma once
#include <memory>
#include <string>
#include <vector>

namespace segue::testing {

/// Makes keys and certificates (valid for a day, keys readable by the owner alone) in a folder of
/// its own.
class ThrowawayCa {
 public:
  ThrowawayCa();
  ~ThrowawayCa();
  ThrowawayCa(const ThrowawayCa&) = delete;
  ThrowawayCa& operator=(const ThrowawayCa&) = delete;

  [[nodiscard]] std::string ca_file() const;
  struct Files {
    std::string certificate_file;
    std::string key_file;
  };
  /// A server certificate for the DNS name `host`.
  [[nodiscard]] Files issue(const std::string& host, bool expired = false);
  /// The same with more to choose.
  struct Wanted {
    std::vector<std::string> names =
        {};  // "DNS:a.example", "IP:127.0.0.1"; none: no subjectAltName
    bool expired = false;
    bool rsa = false;  // 2,048 bits, else P-256
  };
  [[nodiscard]] Files issue(const Wanted& wanted);
  /// A file with an OCSP response that calls `certificate_file` good (or revoked) and has been, or
  /// is, valid for a day.
  [[nodiscard]] std::string ocsp(const std::string& certificate_file, bool good, bool stale);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace segue::testing
