// A TLS client in memory, joined to a Session under test: what one writes the other reads, and the
// records on the way are seen.
#pragma once
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/throwaway_ca.h"
#include "tls/server_context.h"
#include "tls/session.h"

namespace segue::tls {

class TestClient {
 public:
  struct Options {
    std::string name = {};  // SNI; empty: none
    std::string ca_file = {};
    std::vector<std::string> protocols = {};  // ALPN
    int version = 0;                          // TLS1_2_VERSION or TLS1_3_VERSION; 0: both
    const char* signatures = nullptr;         // "RSA-PSS+SHA256"
    const char* ciphers = nullptr;            // of TLS 1.2
    bool ask_status = false;
    std::string certificate_file = {}, key_file = {};
    std::string ticket = {};  // session of an earlier client (session())
  };
  explicit TestClient(const Options& options);
  ~TestClient();
  TestClient(const TestClient&) = delete;
  TestClient& operator=(const TestClient&) = delete;

  /// Handshakes until both are done or one fails; the server's outcome.
  std::optional<HandshakeEnd> handshake(Session& server);
  /// The server's unsent records to the client; the plaintext the client then has.
  std::string receive(Session& server);
  /// Sends plaintext; what the server reads of it.
  std::string send(Session& server, std::string_view text);

  /// Takes the next `bytes` of what is unsent, as a socket that is full then.
  void take_some(Session& server, size_t bytes);
  /// Lengths of the records received since the last call, without their headers.
  std::vector<size_t> take_record_lengths();
  [[nodiscard]] bool trusts_server() const;
  [[nodiscard]] std::string protocol() const;    // ALPN
  [[nodiscard]] std::string version() const;     // "TLSv1.3"
  [[nodiscard]] std::string key_kind() const;    // of the certificate shown: "EC" or "RSA"
  [[nodiscard]] std::string first_name() const;  // of it
  [[nodiscard]] std::string staple() const;
  [[nodiscard]] std::string session() const;
  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] bool shook_hands() const;
  [[nodiscard]] std::string alert() const { return alert_; }

  /// What the client has written and the server has not read.
  std::string to_server;
  bool closed = false;

 private:
  struct Impl;
  void give(Session& server);
  void take_written();
  std::unique_ptr<Impl> impl_;
  std::vector<size_t> record_lengths_;
  std::string half_record_;
  std::string alert_;
  bool ended_ = false;
};

/// Sessions, contexts and certificates of a test.
class TlsTest : public ::testing::Test {
 protected:
  std::shared_ptr<const ServerContext> context(const ServerOptions& options) {
    findings.clear();
    return ServerContext::create(options, tickets, now(), findings);
  }
  static CertificateFiles files(const testing::ThrowawayCa::Files& issued) {
    return {issued.certificate_file, issued.key_file, ""};
  }
  static WallTime now();
  CertificateFiles issue(const std::string& host) { return files(ca.issue(host)); }
  TestClient::Options client(const std::string& name) {
    return {.name = name, .ca_file = ca.ca_file()};
  }

  testing::ThrowawayCa ca;
  MonoTime start{std::chrono::seconds{1000}};
  TicketKeys tickets{start};
  SealedPool pool{8};
  std::vector<Finding> findings;
};

}  // namespace segue::tls
