// Goal: who is shown which certificate, who resumes, who is refused and why. Method: whole
// handshakes in memory with a client that verifies.
#include "tls/server_context.h"

#include <openssl/ssl.h>

#include <fstream>

#include "tests/unit/tls/test_client.h"

namespace segue::tls {
namespace {

class ServerContextTest : public TlsTest {
 protected:
  struct Shown {
    std::optional<HandshakeEnd> end;
    std::string name, kind, ticket;
    bool trusted = false;
  };
  Shown shake(const std::shared_ptr<const ServerContext>& server,
              const TestClient::Options& options) {
    Session session(server, pool);
    TestClient client(options);
    Shown shown;
    shown.end = client.handshake(session);
    client.receive(session);  // the tickets
    if (!client.shook_hands()) return shown;
    shown.name = client.first_name();
    shown.kind = client.key_kind();
    shown.trusted = client.trusts_server();
    shown.ticket = client.session();
    return shown;
  }
};

TEST_F(ServerContextTest, TheNameAskedForDecidesExactBeforeWildcard) {
  const auto server = context(
      {.certificates = {issue("first.example"), issue("*.b.example"), issue("a.b.example")}});
  ASSERT_NE(server, nullptr);
  const std::pair<const char*, const char*> cases[] = {{"first.example", "first.example"},
                                                       {"FIRST.example", "first.example"},
                                                       {"x.b.example", "*.b.example"},
                                                       {"a.b.example", "a.b.example"},
                                                       {"b.example", "first.example"},
                                                       {"x.y.b.example", "first.example"},
                                                       {"", "first.example"}};
  for (const auto& [asked, expected] : cases) {
    const Shown shown = shake(server, client(asked));
    EXPECT_EQ(shown.end, HandshakeEnd::Full) << asked;
    EXPECT_EQ(shown.name, expected) << asked;
    EXPECT_TRUE(shown.trusted);
  }
}

TEST_F(ServerContextTest, AnUnknownNameIsRefusedWhereTheSettingSaysSo) {
  const auto server = context({.certificates = {issue("a.example")}, .refuse_unknown_names = true});
  EXPECT_EQ(shake(server, client("a.example")).end, HandshakeEnd::Full);
  for (const char* name : {"b.example", ""}) {
    Session session(server, pool);
    TestClient asking(client(name));
    EXPECT_EQ(asking.handshake(session), HandshakeEnd::UnknownName);
    EXPECT_EQ(asking.alert(), "tlsv1 unrecognized name");
  }
}

TEST_F(ServerContextTest, EcdsaAndRsaStandSideBySide) {
  const auto server =
      context({.certificates = {files(ca.issue({.names = {"DNS:a.example"}, .rsa = true})),
                                issue("a.example")}});
  EXPECT_EQ(shake(server, client("a.example")).kind, "EC");
  TestClient::Options old = client("a.example");
  old.signatures = "RSA-PSS+SHA256";
  EXPECT_EQ(shake(server, old).kind, "RSA");
  old.version = TLS1_2_VERSION;
  old.signatures = nullptr;
  old.ciphers = "ECDHE-RSA-AES128-GCM-SHA256";
  EXPECT_EQ(shake(server, old).kind, "RSA");
}

TEST_F(ServerContextTest, OldProtocolsAndCiphersAreRefused) {
  const auto server = context({.certificates = {issue("a.example")}});
  TestClient::Options old = client("a.example");
  old.version = TLS1_1_VERSION;
  old.ciphers = "ALL:@SECLEVEL=0";
  EXPECT_EQ(shake(server, old).end, HandshakeEnd::NoCommonProtocol);
  old.version = TLS1_2_VERSION;
  old.ciphers = "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0";
  EXPECT_EQ(shake(server, old).end, HandshakeEnd::NoCommonProtocol);
  old.ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256";
  EXPECT_EQ(shake(server, old).end, HandshakeEnd::Full);
  const auto only13 = context({.certificates = {issue("a.example")}, .tls12 = false});
  EXPECT_EQ(shake(only13, old).end, HandshakeEnd::NoCommonProtocol);
}

TEST_F(ServerContextTest, ATicketResumesOnAnyContextWithTheSameKeys) {
  const ServerOptions options{.certificates = {issue("a.example")}};
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TestClient::Options again = client("a.example");
    again.version = version;
    again.ticket = shake(context(options), again).ticket;
    EXPECT_EQ(shake(context(options), again).end, HandshakeEnd::Resumed);  // after a reload, too
    tickets.keep_up(start += kTicketKeyPeriod);
    const Shown renewed = shake(context(options), again);
    EXPECT_EQ(renewed.end, HandshakeEnd::Resumed);
    tickets.keep_up(start += kTicketKeyPeriod);
    EXPECT_EQ(shake(context(options), again).end, HandshakeEnd::Full);
    again.ticket = renewed.ticket;  // an old key gave a new ticket
    EXPECT_EQ(shake(context(options), again).end, HandshakeEnd::Resumed);
  }
}

TEST_F(ServerContextTest, AForgedTicketIsAFullHandshake) {
  const auto server = context({.certificates = {issue("a.example")}});
  TestClient::Options again = client("a.example");
  again.version = TLS1_2_VERSION;
  again.ticket = shake(server, again).ticket;
  const TicketKey key = tickets.current();
  const std::string name(reinterpret_cast<const char*>(key.name.data()), key.name.size());
  const size_t at = again.ticket.find(name);
  ASSERT_NE(at, std::string::npos);
  again.ticket[at + 40] = static_cast<char>(again.ticket[at + 40] ^ 1);
  EXPECT_EQ(shake(server, again).end, HandshakeEnd::Full);
}

TEST_F(ServerContextTest, TheOcspResponseOfTheCertificateShownIsStapled) {
  CertificateFiles with = issue("a.example");
  with.ocsp = ca.ocsp(with.chain, true, false);
  const auto server = context({.certificates = {issue("b.example"), with}});
  for (const auto& [name, stapled] :
       {std::pair{"a.example", true}, std::pair{"b.example", false}}) {
    TestClient::Options asking = client(name);
    asking.ask_status = true;
    Session session(server, pool);
    TestClient seen(asking);
    EXPECT_EQ(seen.handshake(session), HandshakeEnd::Full);
    std::ifstream file(with.ocsp, std::ios::binary);
    const std::string bytes(std::istreambuf_iterator<char>(file), {});
    EXPECT_EQ(seen.staple(), stapled ? bytes : "");
  }
}

TEST_F(ServerContextTest, ProtocolsAreNegotiatedAndAnOfferOfOthersIsRefused) {
  const ServerOptions options{.certificates = {issue("a.example")}};
  const auto ask = [&](bool http2, std::vector<std::string> protocols) {
    ServerOptions chosen = options;
    chosen.http2 = http2;
    TestClient::Options asking = client("a.example");
    asking.protocols = std::move(protocols);
    Session session(context(chosen), pool);
    TestClient seen(asking);
    const auto end = seen.handshake(session);
    EXPECT_EQ(session.is_http2(), seen.protocol() == "h2");
    return end == HandshakeEnd::NoCommonProtocol ? "refused" : seen.protocol();
  };
  EXPECT_EQ(ask(true, {"http/1.1", "h2"}), "h2");
  EXPECT_EQ(ask(false, {"h2", "http/1.1"}), "http/1.1");
  EXPECT_EQ(ask(true, {}), "");
  EXPECT_EQ(ask(true, {"h3", "spdy"}), "refused");
}

TEST_F(ServerContextTest, AFleetListenerTakesOnlyCertificatesOfItsCa) {
  ServerOptions options{.certificates = {issue("a.example")}, .client_ca = ca.ca_file()};
  const auto server = context(options);
  ASSERT_NE(server, nullptr);
  EXPECT_EQ(shake(server, client("a.example")).end, HandshakeEnd::ClientCertificate);
  testing::ThrowawayCa stranger;
  for (const bool ours : {true, false}) {
    const auto issued = (ours ? ca : stranger).issue("node.example");
    TestClient::Options node = client("a.example");
    node.certificate_file = issued.certificate_file;
    node.key_file = issued.key_file;
    EXPECT_EQ(shake(server, node).end, ours ? HandshakeEnd::Full : HandshakeEnd::ClientCertificate);
  }
  // A ticket of the public listener is no way in.
  TestClient::Options sneaking = client("a.example");
  options.client_ca.clear();
  sneaking.ticket = shake(context(options), sneaking).ticket;
  EXPECT_EQ(shake(server, sneaking).end, HandshakeEnd::ClientCertificate);
}

TEST_F(ServerContextTest, WhatIsUnusableMakesNoContextAndSaysWhy) {
  CertificateFiles wrong = issue("a.example");
  wrong.key = issue("b.example").key;
  EXPECT_EQ(context({.certificates = {issue("c.example"), wrong}}), nullptr);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings.front().file, wrong.key);
  EXPECT_EQ(context({}), nullptr);
  EXPECT_EQ(context({.certificates = {issue("a.example")}, .client_ca = "/nonexistent"}), nullptr);
  EXPECT_EQ(findings.front().file, "/nonexistent");
}

TEST_F(ServerContextTest, AHostThatTheShownCertificateDoesNotCoverIsTold) {
  const auto server =
      context({.certificates = {
                   files(ca.issue({.names = {"DNS:a.example", "DNS:*.b.example", "IP:127.0.0.1"}})),
                   issue("c.example")}});
  Session session(server, pool);
  TestClient seen(client("a.example"));
  ASSERT_EQ(seen.handshake(session), HandshakeEnd::Full);
  for (const char* host : {"a.example", "A.EXAMPLE.", "x.b.example", "127.0.0.1"})
    EXPECT_TRUE(session.covers(host)) << host;
  for (const char* host : {"c.example", "b.example", "x.y.b.example", "", "[::1]", "a example"})
    EXPECT_FALSE(session.covers(host)) << host;
}

}  // namespace
}  // namespace segue::tls
