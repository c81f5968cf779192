#include "tests/support/throwaway_ca.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <cstdio>
#include <filesystem>

#include "base/assert.h"

namespace segue::testing {
namespace {

namespace fs = std::filesystem;

struct FreeKey {
  void operator()(EVP_PKEY* key) const noexcept { EVP_PKEY_free(key); }
};
struct FreeCertificate {
  void operator()(X509* certificate) const noexcept { X509_free(certificate); }
};
struct CloseFile {
  void operator()(FILE* file) const noexcept { (void)fclose(file); }
};
using Key = std::unique_ptr<EVP_PKEY, FreeKey>;
using Certificate = std::unique_ptr<X509, FreeCertificate>;
using File = std::unique_ptr<FILE, CloseFile>;

constexpr long kDaySeconds = 86'400;

void add_extension(X509* certificate, int id, const std::string& value) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, id, value.c_str());
  SEGUE_ASSERT(extension != nullptr);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

[[nodiscard]] Certificate make_certificate(const std::string& name,
                                           const std::vector<std::string>& names, EVP_PKEY* key,
                                           X509* issuer, bool expired, long serial) {
  Certificate made(X509_new());
  X509_set_version(made.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(made.get()), serial);
  X509_gmtime_adj(X509_getm_notBefore(made.get()), -2 * kDaySeconds);
  X509_gmtime_adj(X509_getm_notAfter(made.get()), expired ? -kDaySeconds : kDaySeconds);
  X509_set_pubkey(made.get(), key);
  X509_NAME* subject = X509_get_subject_name(made.get());
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509_set_issuer_name(made.get(), issuer == nullptr ? subject : X509_get_subject_name(issuer));
  if (issuer == nullptr) {
    add_extension(made.get(), NID_basic_constraints, "critical,CA:TRUE");
    add_extension(made.get(), NID_key_usage, "critical,keyCertSign");
  } else if (!names.empty()) {
    std::string list;
    for (const std::string& each : names) list += (list.empty() ? "" : ",") + each;
    add_extension(made.get(), NID_subject_alt_name, list);
  }
  return made;
}

void write_certificate(const fs::path& path, X509* certificate) {
  const File file(fopen(path.c_str(), "we"));
  SEGUE_ASSERT(PEM_write_X509(file.get(), certificate) == 1);
}

}  // namespace

struct ThrowawayCa::Impl {
  fs::path folder;
  Key key;
  Certificate certificate;
  long serial = 1;
};

ThrowawayCa::ThrowawayCa() : impl_(std::make_unique<Impl>()) {
  std::string name = fs::temp_directory_path() / "segue_ca_XXXXXX";
  SEGUE_ASSERT(mkdtemp(name.data()) != nullptr);
  impl_->folder = name;
  impl_->key.reset(EVP_EC_gen("P-256"));
  impl_->certificate =
      make_certificate("Throw-away CA", {}, impl_->key.get(), nullptr, false, impl_->serial++);
  SEGUE_ASSERT(X509_sign(impl_->certificate.get(), impl_->key.get(), EVP_sha256()) > 0);
  write_certificate(ca_file(), impl_->certificate.get());
}

ThrowawayCa::~ThrowawayCa() { fs::remove_all(impl_->folder); }

std::string ThrowawayCa::ca_file() const { return impl_->folder / "ca.pem"; }

ThrowawayCa::Files ThrowawayCa::issue(const std::string& host, bool expired) {
  return issue({.names = {"DNS:" + host}, .expired = expired});
}

ThrowawayCa::Files ThrowawayCa::issue(const Wanted& wanted) {
  constexpr size_t kRsaBits = 2048;
  const Key key(wanted.rsa ? EVP_RSA_gen(kRsaBits) : EVP_EC_gen("P-256"));
  const long serial = impl_->serial++;
  const std::string subject = wanted.names.empty() ? "nobody" : wanted.names.front();
  const Certificate made = make_certificate(subject, wanted.names, key.get(),
                                            impl_->certificate.get(), wanted.expired, serial);
  SEGUE_ASSERT(X509_sign(made.get(), impl_->key.get(), EVP_sha256()) > 0);
  const std::string stem = impl_->folder / std::to_string(serial);
  Files files{stem + ".pem", stem + ".key"};
  write_certificate(files.certificate_file, made.get());
  const File file(fopen(files.key_file.c_str(), "we"));
  SEGUE_ASSERT(PEM_write_PrivateKey(file.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) ==
               1);
  SEGUE_ASSERT(chmod(files.key_file.c_str(), S_IRUSR | S_IWUSR) == 0);
  return files;
}

std::string ThrowawayCa::ocsp(const std::string& certificate_file, bool good, bool stale) {
  const File file(fopen(certificate_file.c_str(), "re"));
  const Certificate about(PEM_read_X509(file.get(), nullptr, nullptr, nullptr));
  OCSP_CERTID* id = OCSP_cert_to_id(EVP_sha1(), about.get(), impl_->certificate.get());
  OCSP_BASICRESP* basic = OCSP_BASICRESP_new();
  ASN1_TIME* from = X509_gmtime_adj(nullptr, -2 * kDaySeconds);
  ASN1_TIME* until = X509_gmtime_adj(nullptr, stale ? -kDaySeconds : kDaySeconds);
  const int status = good ? V_OCSP_CERTSTATUS_GOOD : V_OCSP_CERTSTATUS_REVOKED;
  OCSP_basic_add1_status(basic, id, status, OCSP_REVOKED_STATUS_NOSTATUS, good ? nullptr : from,
                         from, until);
  SEGUE_ASSERT(OCSP_basic_sign(basic, impl_->certificate.get(), impl_->key.get(), EVP_sha256(),
                               nullptr, 0) == 1);
  OCSP_RESPONSE* response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
  std::string path = impl_->folder / ("ocsp" + std::to_string(impl_->serial++));
  const File into(fopen(path.c_str(), "we"));
  unsigned char* bytes = nullptr;
  const auto length = static_cast<size_t>(i2d_OCSP_RESPONSE(response, &bytes));
  SEGUE_ASSERT(fwrite(bytes, 1, length, into.get()) == length);
  OPENSSL_free(bytes);
  OCSP_RESPONSE_free(response);
  OCSP_BASICRESP_free(basic);
  OCSP_CERTID_free(id);
  ASN1_TIME_free(from);
  ASN1_TIME_free(until);
  return path;
}

}  // namespace segue::testing
