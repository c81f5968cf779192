// loadtest/floor/tls_floor.cc - what OpenSSL's record layer alone costs: SSL_write of a body in
// pieces of 16 KiB into a sink that drops it, over TLS 1.3 with AES-128-GCM. Nothing of ours is
// linked.
//
//   tls_floor CERTIFICATE KEY MILLISECONDS BYTES...   prints "BYTES MICROSECONDS" (CPU of the
//   process) a line
#include <openssl/bio.h>
#include <openssl/ssl.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string_view>
#include <vector>

namespace {

constexpr int kRecordBytes = 16384;

int drop(BIO* bio, const char* /*from*/, int bytes) {
  BIO_clear_retry_flags(bio);
  return bytes;
}

[[noreturn]] void stop(const char* why) {
  std::fprintf(stderr, "tls_floor: %s\n", why);
  std::exit(1);
}

int number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value <= 0) stop("not a number");
  return value;
}

double cpu_us() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

/// A server's end of a connection whose handshake is done.
SSL* connect(const char* certificate, const char* key) {
  SSL_CTX* server_context = SSL_CTX_new(TLS_server_method());
  SSL_CTX* client_context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_ciphersuites(server_context, "TLS_AES_128_GCM_SHA256");
  if (SSL_CTX_use_certificate_chain_file(server_context, certificate) != 1 ||
      SSL_CTX_use_PrivateKey_file(server_context, key, SSL_FILETYPE_PEM) != 1) {
    stop("no certificate");
  }
  SSL* server = SSL_new(server_context);
  SSL* client = SSL_new(client_context);
  BIO* ours = nullptr;
  BIO* theirs = nullptr;
  BIO_new_bio_pair(&ours, 1 << 20, &theirs, 1 << 20);
  SSL_set_bio(server, ours, ours);
  SSL_set_bio(client, theirs, theirs);
  SSL_set_accept_state(server);
  SSL_set_connect_state(client);
  for (int i = 0; i < 10; ++i) {
    const bool done = SSL_do_handshake(client) == 1;
    if (SSL_do_handshake(server) == 1 && done) return server;
  }
  stop("no handshake");
}

}  // namespace

int main(int count, char** words) {
  if (count < 5) stop("tls_floor CERTIFICATE KEY MILLISECONDS BYTES...");
  SSL* server = connect(words[1], words[2]);
  BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sink");
  BIO_meth_set_write(method, &drop);
  BIO_meth_set_ctrl(method, [](BIO*, int command, long, void*) -> long {
    return command == BIO_CTRL_FLUSH ? 1 : 0;
  });
  BIO* sink = BIO_new(method);
  BIO_set_init(sink, 1);
  SSL_set0_wbio(server, sink);
  // As much plaintext as does not stay in a core's own cache: bodies come from a large RAM tier.
  constexpr size_t kMemoryBytes = size_t{256} << 20;
  std::vector<char> memory(kMemoryBytes, 'x');
  const double limit_us = number(words[3]) * 1e3;
  for (int i = 4; i < count; ++i) {
    const auto bytes = static_cast<size_t>(number(words[i]));
    size_t at = 0;
    long done = 0;
    const double begin = cpu_us();
    double spent = 0;
    for (; spent < limit_us; ++done, spent = cpu_us() - begin) {
      if (at + bytes > kMemoryBytes) at = 0;
      for (size_t sent = 0; sent < bytes; sent += kRecordBytes) {
        const size_t piece = bytes - sent < kRecordBytes ? bytes - sent : kRecordBytes;
        if (SSL_write(server, memory.data() + at + sent, static_cast<int>(piece)) <= 0)
          stop("SSL_write");
      }
      at += bytes;
    }
    std::printf("%zu %.3f\n", bytes, spent / static_cast<double>(done));
  }
  return 0;
}
