// tls/openssl_handles.h - OpenSSL's things as handles that give themselves back. Internal to tls/.
#pragma once
#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <memory>

namespace segue::tls {

template <auto Free>
struct FreeBy {
  template <class T>
  void operator()(T* object) const noexcept {
    Free(object);
  }
};
using X509Handle = std::unique_ptr<X509, FreeBy<&X509_free>>;
using KeyHandle = std::unique_ptr<EVP_PKEY, FreeBy<&EVP_PKEY_free>>;
using ContextHandle = std::unique_ptr<SSL_CTX, FreeBy<&SSL_CTX_free>>;
using BioHandle = std::unique_ptr<BIO, FreeBy<&BIO_free>>;
using SslHandle = std::unique_ptr<SSL, FreeBy<&SSL_free>>;

}  // namespace segue::tls
