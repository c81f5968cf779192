#include "origin/resolver.h"

#include <ares.h>
#include <arpa/inet.h>
#include <netdb.h>

#include <algorithm>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace segue::origin {
namespace {

[[nodiscard]] std::string text_of(const sockaddr& address) {
  char text[INET6_ADDRSTRLEN] = "";
  const void* bytes = nullptr;
  if (address.sa_family == AF_INET) {
    bytes = &reinterpret_cast<const sockaddr_in&>(address).sin_addr;
  } else if (address.sa_family == AF_INET6) {
    bytes = &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  }
  if (bytes == nullptr) return {};
  return inet_ntop(address.sa_family, bytes, text, sizeof(text)) == nullptr ? "" : text;
}

[[nodiscard]] bool initialise_library() {
  static std::once_flag once;
  static int status = ARES_SUCCESS;
  std::call_once(once, [] { status = ares_library_init(ARES_LIB_INIT_ALL); });
  return status == ARES_SUCCESS;
}

}  // namespace

void ResolveWait::stop() noexcept {
  if (list_ == nullptr) return;
  std::erase(*list_, this);
  list_ = nullptr;
}

struct Resolver::Impl {
  struct Name {
    Impl* owner = nullptr;
    std::string host;
    std::vector<std::string> addresses;  // last good
    MonoTime fresh_until{};
    bool running = false;
    std::vector<ResolveWait*> waits;
  };
  struct Socket : ReadyNode {
    Socket(Impl& impl, EventLoop& loop, int descriptor)
        : ReadyNode(&Socket::run), owner(impl), fd(descriptor), watch(loop, descriptor, *this) {}
    static void run(ReadyNode& node);
    Impl& owner;
    const int fd;
    SocketWatch watch;
  };
  struct QueryTimer : Timer {
    explicit QueryTimer(Impl& impl) : Timer(&QueryTimer::run), owner(impl) {}
    static void run(Timer& timer);
    Impl& owner;
  };

  Impl(EventLoop& event_loop, Options chosen, OriginCounters& counted)
      : loop(event_loop), options(std::move(chosen)), counters(counted), timer(*this) {}
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  [[nodiscard]] Result<Done> set_up();
  void start(Name& name);
  void process(int readable_fd, int writable_fd);
  void arm_timer();
  void on_addresses(Name& name, int status, const ares_addrinfo* found);
  static void on_socket(void* impl, int fd, int readable, int writable);
  static void on_answer(void* name, int status, int timeouts, ares_addrinfo* found);

  EventLoop& loop;
  const Options options;
  OriginCounters& counters;
  ares_channel channel = nullptr;
  std::unordered_map<int, std::unique_ptr<Socket>> sockets;
  std::unordered_map<std::string, std::unique_ptr<Name>> names;  // a few: the settings' servers
  QueryTimer timer;
};

Resolver::Resolver() = default;
Resolver::~Resolver() = default;

Result<std::unique_ptr<Resolver>> Resolver::create(EventLoop& loop, Options options,
                                                   OriginCounters& counters) {
  std::unique_ptr<Resolver> resolver(new Resolver);
  resolver->impl_ = std::make_unique<Impl>(loop, std::move(options), counters);
  if (auto ready = resolver->impl_->set_up(); !ready) return fail(ready.error());
  return resolver;
}

Result<Done> Resolver::Impl::set_up() {
  if (!initialise_library()) return fail(Side::Self, Kind::IoError, "ares_library_init");
  ares_options settings{};
  settings.timeout = static_cast<int>(options.query_timeout.count());
  settings.tries = static_cast<int>(options.tries);
  settings.sock_state_cb = &on_socket;
  settings.sock_state_cb_data = this;
  const int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;
  if (ares_init_options(&channel, &settings, mask) != ARES_SUCCESS) {
    return fail(Side::Self, Kind::IoError, "ares_init_options");
  }
  if (options.name_servers.empty()) return Done{};
  if (ares_set_servers_ports_csv(channel, options.name_servers.c_str()) != ARES_SUCCESS) {
    return fail(Side::Self, Kind::Malformed, "name_servers");
  }
  return Done{};
}

Resolver::Impl::~Impl() {
  for (auto& [host, name] : names) {
    for (ResolveWait* wait : name->waits) wait->list_ = nullptr;
    name->waits.clear();
  }
  if (channel != nullptr) ares_destroy(channel);  // ends look-ups with ARES_EDESTRUCTION
  loop.disarm(timer);
}

Result<const std::vector<std::string>*> Resolver::find(const std::string& host, ResolveWait& wait) {
  Impl& impl = *impl_;
  auto& entry = impl.names[host];
  if (entry == nullptr) {
    entry = std::make_unique<Impl::Name>();
    entry->owner = &impl;
    entry->host = host;
  }
  Impl::Name& name = *entry;
  const MonoTime now = impl.loop.now();
  if (!name.running && now >= name.fresh_until) impl.start(name);
  if (name.running && name.addresses.empty()) {
    wait.stop();
    wait.list_ = &name.waits;
    name.waits.push_back(&wait);
    return nullptr;
  }
  // Addresses whose time has just run out serve on while the look-up runs: no listener waits for a
  // name server.
  if (name.addresses.empty()) return fail_retryable(Side::Origin, Kind::Unreachable, "name");
  return &name.addresses;
}

void Resolver::Impl::start(Name& name) {
  counters.resolver_lookups.add();
  name.running = true;
  ares_addrinfo_hints hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  // No sorting by us: libcurl races the families (RFC 8305).
  hints.ai_flags = ARES_AI_NOSORT;
  ares_getaddrinfo(channel, name.host.c_str(), nullptr, &hints, &on_answer, &name);
  arm_timer();
}

void Resolver::Impl::on_answer(void* name, int status, int /*timeouts*/, ares_addrinfo* found) {
  auto& answered = *static_cast<Name*>(name);
  if (status != ARES_EDESTRUCTION) answered.owner->on_addresses(answered, status, found);
  if (found != nullptr) ares_freeaddrinfo(found);
}

void Resolver::Impl::on_addresses(Name& name, int status, const ares_addrinfo* found) {
  name.running = false;
  std::vector<std::string> addresses;
  int ttl_seconds = INT32_MAX;
  if (status == ARES_SUCCESS && found != nullptr) {
    for (const ares_addrinfo_node* node = found->nodes; node != nullptr; node = node->ai_next) {
      std::string text = text_of(*node->ai_addr);
      if (text.empty() || std::ranges::find(addresses, text) != addresses.end()) continue;
      addresses.push_back(std::move(text));
      ttl_seconds = std::min(ttl_seconds, node->ai_ttl);
    }
  }
  // The clock of this step: on_answer() may run inside start().
  const MonoTime now = loop.now();
  if (addresses.empty()) {
    counters.resolver_failures.add();
    if (!name.addresses.empty()) counters.resolver_stale_used.add();
    name.fresh_until = now + options.failure_ttl;
  } else {
    name.addresses = std::move(addresses);
    name.fresh_until =
        now + std::clamp(std::chrono::seconds{ttl_seconds}, options.ttl_min, options.ttl_max);
  }
  for (ResolveWait* wait : std::exchange(name.waits, {})) {
    wait->list_ = nullptr;
    loop.make_ready(wait->node_);
  }
}

void Resolver::Impl::on_socket(void* impl, int fd, int readable, int writable) {
  auto& self = *static_cast<Impl*>(impl);
  const auto found = self.sockets.find(fd);
  if (readable == 0 && writable == 0) {
    if (found == self.sockets.end()) return;
    self.loop.cancel_ready(*found->second);
    self.sockets.erase(found);  // before c-ares closes the descriptor
    return;
  }
  Readiness interest = Readiness::None;
  if (readable != 0) interest = Readiness::Read;
  if (writable != 0) interest = interest | Readiness::Write;
  auto& socket = found == self.sockets.end() ? self.sockets[fd] : found->second;
  if (socket == nullptr) socket = std::make_unique<Socket>(self, self.loop, fd);
  socket->watch.want(interest);
}

void Resolver::Impl::Socket::run(ReadyNode& node) {
  auto& socket = static_cast<Socket&>(node);
  const Readiness happened = socket.watch.take();
  // c-ares may close the socket, and so destroy `socket`, inside process().
  Impl& owner = socket.owner;
  const int fd = socket.fd;
  owner.process(has(happened, Readiness::Read) ? fd : ARES_SOCKET_BAD,
                has(happened, Readiness::Write) ? fd : ARES_SOCKET_BAD);
}

void Resolver::Impl::QueryTimer::run(Timer& timer) {
  static_cast<QueryTimer&>(timer).owner.process(ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

void Resolver::Impl::process(int readable_fd, int writable_fd) {
  ares_process_fd(channel, readable_fd, writable_fd);
  arm_timer();
}

void Resolver::Impl::arm_timer() {
  timeval wait{};
  if (ares_timeout(channel, nullptr, &wait) == nullptr) {
    loop.disarm(timer);
    return;
  }
  // One millisecond more than c-ares says: it compares with a clock of its own.
  loop.arm(timer, loop.now() + std::chrono::seconds{wait.tv_sec} +
                      std::chrono::microseconds{wait.tv_usec} + std::chrono::milliseconds{1});
}

}  // namespace segue::origin
