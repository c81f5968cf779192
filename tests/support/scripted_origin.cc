#include "tests/support/scripted_origin.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <list>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "base/assert.h"
#include "http/header_fields.h"
#include "http/range.h"
#include "tests/support/scripted_wire.h"

namespace segue::testing {
namespace {

int select_protocol(SSL* /*ssl*/, const unsigned char** out, unsigned char* out_length,
                    const unsigned char* in, unsigned int in_length, void* http2) {
  static constexpr unsigned char kHttp1[] = "\x08http/1.1";
  static constexpr unsigned char kHttp2[] = "\x02h2";
  const unsigned char* ours = http2 == nullptr ? kHttp1 : kHttp2;
  const unsigned int length = http2 == nullptr ? sizeof(kHttp1) - 1 : sizeof(kHttp2) - 1;
  const int found = SSL_select_next_proto(const_cast<unsigned char**>(out), out_length, ours,
                                          length, in, in_length);
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

[[nodiscard]] std::string target_in(const std::string& head) {
  const size_t first = head.find(' ');
  const size_t second = head.find(' ', first + 1);
  return head.substr(first + 1, second - first - 1);
}

}  // namespace

Reply Reply::whole(std::string_view status, std::string_view fields, std::string_view body) {
  return raw(fmt::format("HTTP/1.1 {}\r\n{}Content-Length: {}\r\n\r\n{}", status, fields,
                         body.size(), body));
}

struct ScriptedOrigin::Impl {
  struct Client {
    int fd = -1;
    std::thread thread;
  };

  explicit Impl(const std::optional<Tls>& tls);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void accept_all();
  void talk(int fd);
  void talk_http2(Wire& wire);
  void answer(Wire& wire, const std::string& head);
  [[nodiscard]] Reply take_reply(const std::string& head);
  void play(Wire& wire, const Reply& reply);
  void wait_for_release();
  [[nodiscard]] static Reply reply_of(Content& content, const std::string& head);

  int listener = -1;
  uint16_t port = 0;
  SSL_CTX* context = nullptr;
  std::thread acceptor;

  mutable std::mutex mutex;
  std::condition_variable released;
  bool stopping = false;
  uint32_t releases = 0;
  uint64_t waiting = 0;
  uint64_t played = 0;
  uint64_t connections = 0;
  std::list<Client> clients;
  std::map<std::string, std::vector<Reply>> replies;
  std::map<std::string, Content> contents;
  std::map<std::string, uint64_t> counts;
  std::vector<std::string> heads;
};

ScriptedOrigin::Impl::Impl(const std::optional<Tls>& tls) {
  if (tls) {
    context = SSL_CTX_new(TLS_server_method());
    SEGUE_ASSERT(SSL_CTX_use_certificate_chain_file(context, tls->certificate_file.c_str()) == 1);
    SEGUE_ASSERT(SSL_CTX_use_PrivateKey_file(context, tls->key_file.c_str(), SSL_FILETYPE_PEM) ==
                 1);
    if (!tls->client_ca_file.empty()) {
      SEGUE_ASSERT(SSL_CTX_load_verify_file(context, tls->client_ca_file.c_str()) == 1);
      SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    }
    SSL_CTX_set_alpn_select_cb(context, &select_protocol, tls->http2 ? this : nullptr);
  }
  listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  SEGUE_ASSERT(bind(listener, generic, length) == 0);
  SEGUE_ASSERT(listen(listener, 128) == 0);
  SEGUE_ASSERT(getsockname(listener, generic, &length) == 0);
  port = ntohs(address.sin_port);
  acceptor = std::thread(&Impl::accept_all, this);
}

ScriptedOrigin::Impl::~Impl() {
  {
    const std::lock_guard lock(mutex);
    stopping = true;
    for (const Client& client : clients) {
      if (client.fd >= 0) shutdown(client.fd, SHUT_RDWR);
    }
  }
  released.notify_all();
  shutdown(listener, SHUT_RDWR);
  acceptor.join();
  for (Client& client : clients) client.thread.join();
  ::close(listener);
  if (context != nullptr) SSL_CTX_free(context);
}

void ScriptedOrigin::Impl::accept_all() {
  for (;;) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    const std::lock_guard lock(mutex);
    if (stopping || fd < 0) {
      if (fd >= 0) ::close(fd);
      return;
    }
    ++connections;
    Client& client = clients.emplace_back();
    client.fd = fd;
    client.thread = std::thread([this, &client] {
      talk(client.fd);
      const std::lock_guard done(mutex);
      ::close(std::exchange(client.fd, -1));
    });
  }
}

void ScriptedOrigin::Impl::talk(int fd) {
  Wire wire(fd, context);
  if (wire.is_http2()) return talk_http2(wire);
  std::string received;
  while (wire.good()) {
    const size_t end = received.find("\r\n\r\n");
    if (end == std::string::npos) {
      if (!wire.receive(received)) return;
      continue;
    }
    const std::string head = received.substr(0, end + 4);
    received.erase(0, end + 4);
    answer(wire, head);
  }
}

void ScriptedOrigin::Impl::talk_http2(Wire& wire) {
  Http2Wire http2(wire);
  while (const uint32_t stream = http2.next_request()) {
    const Reply reply = take_reply("GET * HTTP/2\r\n\r\n");
    const Reply::Step& first = reply.steps().at(0);
    SEGUE_ASSERT(first.kind == Reply::Step::Kind::Send);
    http2.answer(stream, first.bytes, reply.steps().size() > 1);
  }
}

void ScriptedOrigin::Impl::answer(Wire& wire, const std::string& head) {
  play(wire, take_reply(head));
  const std::lock_guard lock(mutex);
  ++played;
}

Reply ScriptedOrigin::Impl::take_reply(const std::string& head) {
  Reply reply = Reply::whole("404 Not Found", "", "");
  {
    const std::lock_guard lock(mutex);
    const std::string target = target_in(head);
    heads.push_back(head);
    const uint64_t number = counts[target]++;
    if (const auto found = replies.find(target); found != replies.end()) {
      reply = found->second[std::min<uint64_t>(number, found->second.size() - 1)];
    } else if (const auto content = contents.find(target); content != contents.end()) {
      reply = reply_of(content->second, head);
    }
  }
  return reply;
}

void ScriptedOrigin::Impl::play(Wire& wire, const Reply& reply) {
  for (const Reply::Step& step : reply.steps()) {
    switch (step.kind) {
      case Reply::Step::Kind::Send:
        if (!wire.send_all(step.bytes)) return;
        break;
      case Reply::Step::Kind::Wait:
        wait_for_release();
        break;
      case Reply::Step::Kind::Close:
        return wire.close();
      case Reply::Step::Kind::Reset:
        return wire.reset();
    }
  }
}

void ScriptedOrigin::Impl::wait_for_release() {
  std::unique_lock lock(mutex);
  ++waiting;
  released.wait(lock, [this] { return stopping || releases > 0; });
  if (releases > 0) --releases;
  --waiting;
}

Reply ScriptedOrigin::Impl::reply_of(Content& content, const std::string& head) {
  if (content.cuts == 0 && !content.etag_after_cuts.empty()) {
    content.etag = content.etag_after_cuts;
  }
  std::string fields = content.fields;
  if (!content.etag.empty()) fields += fmt::format("ETag: {}\r\n", content.etag);
  if (!content.etag.empty() && field_in(head, "If-None-Match") == content.etag) {
    return Reply::raw(fmt::format("HTTP/1.1 304 Not Modified\r\n{}\r\n", fields));
  }
  const uint64_t size = content.bytes.size();
  std::string_view status = "200 OK";
  ByteRange range{0, size};
  const auto asked = field_in(head, "Range");
  const auto if_range = field_in(head, "If-Range");
  if (asked && (!if_range || *if_range == content.etag)) {
    const auto resolved = http::resolve(http::parse_range(*asked), size);
    if (resolved.kind == http::Resolved::Kind::NotSatisfiable) {
      return Reply::whole("416 Range Not Satisfiable",
                          fmt::format("{}Content-Range: bytes */{}\r\n", fields, size), "");
    }
    if (resolved.kind == http::Resolved::Kind::Ranges) {
      range = resolved.parts[0];
      status = "206 Partial Content";
      fields += fmt::format("Content-Range: bytes {}-{}/{}\r\n", range.first, range.end - 1, size);
    }
  }
  const std::string_view body = std::string_view(content.bytes).substr(range.first, range.length());
  if (content.cuts == 0 || body.size() <= content.cut_after) {
    return Reply::whole(status, fields, body);
  }
  --content.cuts;
  Reply cut = Reply::raw(fmt::format("HTTP/1.1 {}\r\n{}Content-Length: {}\r\n\r\n{}", status,
                                     fields, body.size(), body.substr(0, content.cut_after)));
  return content.reset ? cut.reset() : cut.close();
}

ScriptedOrigin::ScriptedOrigin(const std::optional<Tls>& tls)
    : impl_(std::make_unique<Impl>(tls)) {}
ScriptedOrigin::~ScriptedOrigin() = default;

void ScriptedOrigin::on(std::string target, Reply reply) {
  const std::lock_guard lock(impl_->mutex);
  impl_->replies[std::move(target)].push_back(std::move(reply));
}

void ScriptedOrigin::serve(std::string target, Content content) {
  const std::lock_guard lock(impl_->mutex);
  impl_->contents[std::move(target)] = std::move(content);
}

void ScriptedOrigin::release(uint32_t waits) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->releases += waits;
  }
  impl_->released.notify_all();
}

uint16_t ScriptedOrigin::port() const noexcept { return impl_->port; }

std::string ScriptedOrigin::url() const {
  return impl_->context == nullptr ? fmt::format("http://127.0.0.1:{}", impl_->port)
                                   : fmt::format("https://localhost:{}", impl_->port);
}

uint64_t ScriptedOrigin::connections() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->connections;
}

uint64_t ScriptedOrigin::requests() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->heads.size();
}

uint64_t ScriptedOrigin::requests(const std::string& target) const {
  const std::lock_guard lock(impl_->mutex);
  const auto found = impl_->counts.find(target);
  return found == impl_->counts.end() ? 0 : found->second;
}

uint64_t ScriptedOrigin::played() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->played;
}

uint64_t ScriptedOrigin::waiting() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->waiting;
}

std::vector<std::string> ScriptedOrigin::heads() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->heads;
}

std::optional<std::string> field_in(const std::string& head, std::string_view name) {
  size_t at = head.find("\r\n");
  while (at != std::string::npos) {
    at += 2;
    const size_t end = head.find("\r\n", at);
    if (end == std::string::npos || end == at) return std::nullopt;
    const std::string_view line = std::string_view(head).substr(at, end - at);
    const size_t colon = line.find(':');
    if (colon != std::string_view::npos && http::equals_ignore_case(line.substr(0, colon), name)) {
      return std::string(http::trim_whitespace(line.substr(colon + 1)));
    }
    at = end;
  }
  return std::nullopt;
}

}  // namespace segue::testing
