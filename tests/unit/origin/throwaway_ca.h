// tests/unit/origin/throwaway_ca.h - a certificate authority that lives as long as a test.
#pragma once
#include <memory>
#include <string>

namespace segue::origin {

/// Makes keys and certificates (P-256, valid for a day) in a folder of its own.
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

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace segue::origin
