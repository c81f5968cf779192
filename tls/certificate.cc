#include "tls/certificate.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <expected>
#include <system_error>

#include "base/units.h"
#include "tls/host_names.h"
#include "tls/loaded_certificate.h"

namespace segue::tls {
namespace {

using OcspResponse = std::unique_ptr<OCSP_RESPONSE, FreeBy<&OCSP_RESPONSE_free>>;
using OcspBasic = std::unique_ptr<OCSP_BASICRESP, FreeBy<&OCSP_BASICRESP_free>>;

// A chain is a few KiB; it also has to fit a handshake's batch (tls/sealed_batch.h).
constexpr size_t kFileBytesMax = 48 * KiB;
constexpr int kRsaBitsMin = 2048;

struct FileText {
  std::string text;
  unsigned mode = 0;
};

std::expected<FileText, std::string> read_file(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return std::unexpected(std::generic_category().message(errno));
  FileText file;
  struct stat facts{};
  std::string reason;
  if (fstat(fd, &facts) != 0 || !S_ISREG(facts.st_mode)) reason = "it is no regular file";
  file.mode = facts.st_mode;
  std::array<char, 4 * KiB> piece;
  while (reason.empty() && file.text.size() <= kFileBytesMax) {
    const ssize_t bytes = read(fd, piece.data(), piece.size());
    if (bytes < 0) reason = std::generic_category().message(errno);
    if (bytes <= 0) break;
    file.text.append(piece.data(), static_cast<size_t>(bytes));
  }
  close(fd);
  if (reason.empty() && file.text.size() > kFileBytesMax)
    reason = fmt::format("it is longer than {} KiB", kFileBytesMax / KiB);
  if (!reason.empty()) return std::unexpected(reason);
  return file;
}

BioHandle bio_of(const std::string& text) {
  return BioHandle(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

/// Never asks at a terminal for a pass phrase.
int no_pass_phrase(char* /*into*/, int /*size*/, int /*writing*/, void* /*user*/) { return -1; }

WallTime wall_of(const ASN1_TIME* time) {
  struct tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return WallTime{};
  return WallTime{std::chrono::seconds{timegm(&parts)}};
}

std::string day_of(WallTime time) {
  const std::chrono::year_month_day day(std::chrono::floor<std::chrono::days>(time));
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(day.year()),
                     static_cast<unsigned>(day.month()), static_cast<unsigned>(day.day()));
}

std::string ip_text(const ASN1_OCTET_STRING* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int family = ASN1_STRING_length(address) == 4 ? AF_INET : AF_INET6;
  if (family == AF_INET6 && ASN1_STRING_length(address) != 16) return {};
  inet_ntop(family, ASN1_STRING_get0_data(address), text.data(), text.size());
  return text.data();
}

/// Names of the certificate. Its subject's common name is none: clients no longer look at it.
std::vector<std::string> names_of(X509* leaf) {
  std::vector<std::string> names;
  auto* general =
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(leaf, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(general); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(general, i);
    if (name->type == GEN_DNS) {
      const auto* text = reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName));
      const auto bytes = static_cast<size_t>(ASN1_STRING_length(name->d.dNSName));
      if (auto host = normal_host({text, bytes})) names.push_back(std::move(*host));
    } else if (name->type == GEN_IPADD) {
      if (std::string text = ip_text(name->d.iPAddress); !text.empty())
        names.push_back(std::move(text));
    }
  }
  GENERAL_NAMES_free(general);
  return names;
}

class Loader {
 public:
  Loader(const CertificateFiles& files, WallTime now, bool for_hosts,
         std::vector<Finding>& findings)
      : files_(files), now_(now), for_hosts_(for_hosts), findings_(findings) {}

  std::optional<LoadedCertificate> load() {
    LoadedCertificate loaded;
    const bool has_chain = load_chain(loaded);
    const bool has_key = load_key(loaded);
    if (!has_chain || !has_key) return std::nullopt;
    if (X509_check_private_key(loaded.leaf.get(), loaded.key.get()) != 1) {
      (void)openssl_reason();
      return unusable(files_.key, fmt::format("is not the key of {}", files_.chain)), std::nullopt;
    }
    if (!check_kind(loaded)) return std::nullopt;
    check_times(loaded);
    if (!files_.ocsp.empty()) load_ocsp(loaded);
    return loaded;
  }

  /// PEM certificates of CAs, as many as there may be.
  void check_cas(const std::string& path) {
    if (access(path.c_str(), R_OK) != 0)
      return unusable(path, "cannot be read: " + std::generic_category().message(errno));
    const std::unique_ptr<X509_STORE, decltype(&X509_STORE_free)> store(X509_STORE_new(),
                                                                        &X509_STORE_free);
    if (store == nullptr || X509_STORE_load_file(store.get(), path.c_str()) != 1)
      unusable(path, "has no CA certificates in PEM: " + openssl_reason());
    (void)openssl_reason();
  }

 private:
  void unusable(const std::string& file, std::string what) {
    findings_.push_back({true, file, std::move(what)});
  }
  void warn(const std::string& file, std::string what) {
    findings_.push_back({false, file, std::move(what)});
  }

  bool load_chain(LoadedCertificate& loaded) {
    const auto file = read_file(files_.chain);
    if (!file) return unusable(files_.chain, "cannot be read: " + file.error()), false;
    const BioHandle bio = bio_of(file->text);
    loaded.leaf.reset(PEM_read_bio_X509(bio.get(), nullptr, no_pass_phrase, nullptr));
    if (loaded.leaf == nullptr) {
      (void)openssl_reason();
      return unusable(files_.chain, "has no certificate in PEM"), false;
    }
    while (X509* next = PEM_read_bio_X509(bio.get(), nullptr, no_pass_phrase, nullptr))
      loaded.chain.emplace_back(next);
    const auto error = ERR_peek_last_error();
    const bool at_end = ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
    const std::string reason = openssl_reason();
    if (!at_end)
      return unusable(files_.chain, "is damaged behind its first certificate: " + reason), false;
    loaded.facts.names = names_of(loaded.leaf.get());
    if (for_hosts_ && loaded.facts.names.empty()) {
      return unusable(files_.chain, "covers no host: it has no subjectAltName"), false;
    }
    return true;
  }

  bool load_key(LoadedCertificate& loaded) {
    const auto file = read_file(files_.key);
    if (!file) return unusable(files_.key, "cannot be read: " + file.error()), false;
    if ((file->mode & S_IROTH) != 0)
      warn(files_.key, fmt::format("everybody on this machine may read it (mode {:o}); make it 600",
                                   file->mode & 07777));
    const BioHandle bio = bio_of(file->text);
    loaded.key.reset(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_pass_phrase, nullptr));
    if (loaded.key == nullptr) {
      (void)openssl_reason();
      return unusable(files_.key, "has no private key in PEM without a pass phrase"), false;
    }
    return true;
  }

  bool check_kind(LoadedCertificate& loaded) {
    if (!for_hosts_) return true;
    switch (EVP_PKEY_get_base_id(loaded.key.get())) {
      case EVP_PKEY_EC:
        loaded.facts.ecdsa = true;
        return true;
      case EVP_PKEY_RSA:
        if (EVP_PKEY_get_bits(loaded.key.get()) >= kRsaBitsMin) return true;
        return unusable(files_.key, fmt::format("is an RSA key of {} bits; needed: {} or more",
                                                EVP_PKEY_get_bits(loaded.key.get()), kRsaBitsMin)),
               false;
      default:
        return unusable(files_.key, "is neither an ECDSA nor an RSA key"), false;
    }
  }

  void check_times(LoadedCertificate& loaded) {
    const WallTime from = wall_of(X509_get0_notBefore(loaded.leaf.get()));
    loaded.facts.not_after = wall_of(X509_get0_notAfter(loaded.leaf.get()));
    if (loaded.facts.not_after < now_) {
      warn(files_.chain, "has expired on " + day_of(loaded.facts.not_after));
    } else if (from > now_) {
      warn(files_.chain, "is not valid before " + day_of(from));
    }
  }

  /// A response that cannot be stapled is left out: a client then asks the CA itself, as without.
  void load_ocsp(LoadedCertificate& loaded) {
    const auto file = read_file(files_.ocsp);
    if (!file) return warn(files_.ocsp, "cannot be read: " + file.error());
    const auto* bytes = reinterpret_cast<const unsigned char*>(file->text.data());
    const OcspResponse response(
        d2i_OCSP_RESPONSE(nullptr, &bytes, static_cast<long>(file->text.size())));
    const bool successful = response != nullptr &&
                            OCSP_response_status(response.get()) == OCSP_RESPONSE_STATUS_SUCCESSFUL;
    const OcspBasic basic(successful ? OCSP_response_get1_basic(response.get()) : nullptr);
    (void)openssl_reason();
    if (basic == nullptr) return warn(files_.ocsp, "is no successful OCSP response in DER");
    OCSP_SINGLERESP* single = OCSP_resp_get0(basic.get(), 0);
    if (single == nullptr || !is_about(single, loaded.leaf.get()))
      return warn(files_.ocsp, fmt::format("is not about {}", files_.chain));
    ASN1_GENERALIZEDTIME* until = nullptr;
    const int status = OCSP_single_get0_status(single, nullptr, nullptr, nullptr, &until);
    if (status != V_OCSP_CERTSTATUS_GOOD)
      return warn(files_.ocsp, fmt::format("says that {} is not good", files_.chain));
    if (until != nullptr && wall_of(until) < now_)
      return warn(files_.ocsp, "is stale since " + day_of(wall_of(until)));
    loaded.ocsp = file->text;
  }

  /// By the serial number: whoever can write this file can leave it out just as well, so that the
  /// issuer's hashes are the client's business.
  static bool is_about(OCSP_SINGLERESP* single, X509* leaf) {
    ASN1_INTEGER* serial = nullptr;
    const OCSP_CERTID* id = OCSP_SINGLERESP_get0_id(single);
    OCSP_id_get0_info(nullptr, nullptr, nullptr, &serial, const_cast<OCSP_CERTID*>(id));
    return ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(leaf)) == 0;
  }

  const CertificateFiles& files_;
  const WallTime now_;
  const bool for_hosts_;
  std::vector<Finding>& findings_;
};

}  // namespace

std::string openssl_reason() {
  const auto error = ERR_peek_last_error();
  const char* reason = error != 0 ? ERR_reason_error_string(error) : nullptr;
  ERR_clear_error();
  return reason != nullptr ? reason : "unknown";
}

std::optional<LoadedCertificate> load_certificate(const CertificateFiles& files, WallTime now,
                                                  std::vector<Finding>& findings) {
  ERR_clear_error();
  return Loader(files, now, true, findings).load();
}

std::vector<Finding> check_client_files(const ClientFiles& files, WallTime now) {
  ERR_clear_error();
  std::vector<Finding> findings;
  const CertificateFiles own{.chain = files.certificate, .key = files.key, .ocsp = {}};
  Loader loader(own, now, false, findings);
  if (!files.certificate.empty()) (void)loader.load();
  if (!files.ca.empty()) loader.check_cas(files.ca);
  return findings;
}

std::optional<CertificateFacts> check_certificate(const CertificateFiles& files, WallTime now,
                                                  std::vector<Finding>& findings) {
  auto loaded = load_certificate(files, now, findings);
  if (!loaded) return std::nullopt;
  return std::move(loaded->facts);
}

}  // namespace segue::tls
