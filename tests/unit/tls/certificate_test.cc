// Goal: every way in which a certificate can be wrong is named, with its file, before anybody
// connects. Method: files of a throw-away authority, damaged one way each.
#include "tls/certificate.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "tests/unit/tls/test_client.h"
#include "tls/host_names.h"

namespace segue::tls {
namespace {

class CertificateTest : public TlsTest {
 protected:
  std::optional<CertificateFacts> check(const CertificateFiles& what) {
    findings.clear();
    return check_certificate(what, now(), findings);
  }
  /// The one finding there is, as "file: what".
  std::string only() {
    EXPECT_EQ(findings.size(), 1U);
    return findings.empty() ? "" : findings.front().what;
  }
  static void append(const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::app) << text;
  }
};

TEST_F(CertificateTest, AGoodOneTellsWhatItCovers) {
  const auto facts = check(
      files(ca.issue({.names = {"DNS:A.example", "DNS:*.a.example", "IP:127.0.0.1", "IP:::1"}})));
  ASSERT_TRUE(facts.has_value());
  EXPECT_TRUE(findings.empty());
  EXPECT_EQ(facts->names,
            (std::vector<std::string>{"a.example", "*.a.example", "127.0.0.1", "::1"}));
  EXPECT_TRUE(facts->ecdsa);
  EXPECT_GT(facts->not_after, now());
}

TEST_F(CertificateTest, AKeyOfAnotherCertificateIsNamed) {
  const CertificateFiles one = issue("a.example");
  const CertificateFiles other = issue("b.example");
  EXPECT_FALSE(check({one.chain, other.key, ""}).has_value());
  EXPECT_EQ(only(), "is not the key of " + one.chain);
  EXPECT_EQ(findings.front().file, other.key);
  EXPECT_TRUE(findings.front().unusable);
}

TEST_F(CertificateTest, AKeyThatEverybodyMayReadIsNamedAndStillUsed) {
  const CertificateFiles made = issue("a.example");
  ASSERT_EQ(chmod(made.key.c_str(), 0644), 0);
  EXPECT_TRUE(check(made).has_value());
  EXPECT_EQ(only(), "everybody on this machine may read it (mode 644); make it 600");
  EXPECT_FALSE(findings.front().unusable);
}

TEST_F(CertificateTest, AnExpiredOneIsNamedAndStillUsed) {
  EXPECT_TRUE(check(files(ca.issue("a.example", true))).has_value());
  EXPECT_TRUE(only().starts_with("has expired on 20")) << only();
  EXPECT_FALSE(findings.front().unusable);
}

TEST_F(CertificateTest, WhatIsNotThereOrNotPemIsNamed) {
  const CertificateFiles made = issue("a.example");
  EXPECT_FALSE(check({made.chain + "x", made.key, ""}).has_value());
  EXPECT_EQ(only(), "cannot be read: No such file or directory");
  EXPECT_FALSE(check({made.key, made.key, ""}).has_value());
  EXPECT_EQ(only(), "has no certificate in PEM");
  ASSERT_EQ(chmod(made.chain.c_str(), 0600), 0);
  EXPECT_FALSE(check({made.chain, made.chain, ""}).has_value());
  EXPECT_EQ(only(), "has no private key in PEM without a pass phrase");
  EXPECT_FALSE(check({"/dev", made.key, ""}).has_value());
  EXPECT_EQ(only(), "cannot be read: it is no regular file");
  append(made.chain, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
  EXPECT_FALSE(check(made).has_value());
  EXPECT_TRUE(only().starts_with("is damaged behind its first certificate")) << only();
}

TEST_F(CertificateTest, AFileLongerThanAnyChainIsRefused) {
  const CertificateFiles made = issue("a.example");
  append(made.chain, std::string(48 * 1024, '\n'));
  EXPECT_FALSE(check(made).has_value());
  EXPECT_EQ(only(), "cannot be read: it is longer than 48 KiB");
}

TEST_F(CertificateTest, OneWithoutNamesCoversNobody) {
  EXPECT_FALSE(check(files(ca.issue({.names = {}}))).has_value());
  EXPECT_EQ(only(), "covers no host: it has no subjectAltName");
}

TEST_F(CertificateTest, OcspResponsesThatCannotBeStapledAreNamedAndLeftOut) {
  CertificateFiles made = issue("a.example");
  const CertificateFiles other = issue("b.example");
  const std::pair<std::string, std::string> cases[] = {
      {ca.ocsp(made.chain, true, false), ""},
      {ca.ocsp(made.chain, true, true), "is stale since "},
      {ca.ocsp(made.chain, false, false), "says that "},
      {ca.ocsp(other.chain, true, false), "is not about "},
      {made.chain, "is no successful OCSP response in DER"},
      {"/nonexistent", "cannot be read: "}};
  for (const auto& [file, expected] : cases) {
    made.ocsp = file;
    EXPECT_TRUE(check(made).has_value());
    if (expected.empty()) {
      EXPECT_TRUE(findings.empty());
      continue;
    }
    EXPECT_TRUE(only().starts_with(expected)) << only();
    EXPECT_FALSE(findings.front().unusable);
  }
}

TEST(HostNames, AreLowerCaseWithoutTheirLastDotOrBrackets) {
  EXPECT_EQ(normal_host("A.Example."), "a.example");
  EXPECT_EQ(normal_host("[::1]"), "::1");
  for (const std::string& bad : {std::string(""), std::string("."), std::string("a b"),
                                 std::string("a\0b", 3), std::string(254, 'a')})
    EXPECT_FALSE(normal_host(bad).has_value());
  EXPECT_TRUE(normal_host(std::string(253, 'a')).has_value());
}

TEST(HostNames, AWildcardStandsForOneLabelAndNoAddress) {
  EXPECT_EQ(wildcard_of("a.b.example"), "*.b.example");
  EXPECT_EQ(wildcard_of("localhost"), "");
  EXPECT_EQ(wildcard_of("127.0.0.1"), "");
  EXPECT_EQ(wildcard_of("::1"), "");
}

}  // namespace
}  // namespace segue::tls
