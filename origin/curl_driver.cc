#include "origin/curl_driver.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <mutex>
#include <utility>

namespace segue::origin {
namespace {

[[nodiscard]] bool initialise_library() {
  static std::once_flag once;
  static CURLcode status = CURLE_OK;
  std::call_once(once, [] {
    // OpenSSL writes without MSG_NOSIGNAL, and libcurl's own guard (switched off by NOSIGNAL) flips
    // the disposition of the whole process around each call, under the feet of the other loops.
    (void)signal(SIGPIPE, SIG_IGN);
    status = curl_global_init(CURL_GLOBAL_DEFAULT);
  });
  return status == CURLE_OK;
}

/// Marks that libcurl is on the stack while it lives.
class Inside {
 public:
  explicit Inside(uint32_t& depth) noexcept : depth_(depth) { ++depth_; }
  ~Inside() { --depth_; }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;

 private:
  uint32_t& depth_;
};

}  // namespace

/// A socket of libcurl's: in use by a transfer, or kept alive between two.
struct CurlDriver::Socket : ReadyNode {
  Socket(CurlDriver& driver, curl_socket_t descriptor)
      : ReadyNode(&Socket::run),
        owner(driver),
        fd(descriptor),
        watch(driver.loop_, descriptor, *this) {}
  static void run(ReadyNode& node);
  CurlDriver& owner;
  const curl_socket_t fd;
  bool idle = false;
  // Of an idle one: what on_request() finds it by.
  std::string local_ip;
  long local_port = 0;
  SocketWatch watch;
};

CurlDriver::CurlDriver(EventLoop& loop, OriginCounters& counters)
    : loop_(loop), counters_(counters), timer_(*this) {}

Result<std::unique_ptr<CurlDriver>> CurlDriver::create(EventLoop& loop, Options options,
                                                       OriginCounters& counters) {
  std::unique_ptr<CurlDriver> driver(new CurlDriver(loop, counters));
  if (auto ready = driver->set_up(options); !ready) return fail(ready.error());
  return driver;
}

Result<Done> CurlDriver::set_up(Options options) {
  if (!initialise_library()) return fail(Side::Self, Kind::IoError, "curl_global_init");
  multi_ = curl_multi_init();
  share_ = curl_share_init();
  if (multi_ == nullptr || share_ == nullptr) {
    return fail(Side::Self, Kind::IoError, "curl_multi_init");
  }
  // One loop, so no locks. TLS sessions belong to an easy handle otherwise, and ours live for one
  // request.
  bool set = curl_share_setopt(share_, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) == CURLSHE_OK;
  const auto set_option = [&](CURLMoption option, auto value) {
    set = set && curl_multi_setopt(multi_, option, value) == CURLM_OK;
  };
  set_option(CURLMOPT_SOCKETFUNCTION, &on_socket);
  set_option(CURLMOPT_SOCKETDATA, this);
  set_option(CURLMOPT_TIMERFUNCTION, &on_timer);
  set_option(CURLMOPT_TIMERDATA, this);
  set_option(CURLMOPT_MAX_TOTAL_CONNECTIONS, static_cast<long>(options.connections_max));
  set_option(CURLMOPT_MAXCONNECTS, static_cast<long>(options.idle_connections_max));
  // One request at a time per HTTP/2 connection: libcurl 7.88 stops reading a connection for a
  // paused stream, so one slow reader would hold up every other fetch on it.
  set_option(CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_NOTHING));
  if (!set) return fail(Side::Self, Kind::IoError, "curl_multi_setopt");
  return Done{};
}

CurlDriver::~CurlDriver() {
  SEGUE_ASSERT(handles_ == 0);
  SEGUE_ASSERT(depth_ == 0);
  if (multi_ != nullptr) curl_multi_cleanup(multi_);  // closes what is kept: on_close()
  if (share_ != nullptr) curl_share_cleanup(share_);
  loop_.disarm(timer_);
  for (auto& [fd, socket] : sockets_) loop_.cancel_ready(*socket);
}

bool CurlDriver::prepare(CURL* easy, CurlTransfer& transfer) {
  transfer.driver_ = this;
  bool set = curl_easy_setopt(easy, CURLOPT_PRIVATE, &transfer) == CURLE_OK;
  set = set && curl_easy_setopt(easy, CURLOPT_SHARE, share_) == CURLE_OK;
  set = set && curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, &on_open) == CURLE_OK;
  set = set && curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, this) == CURLE_OK;
  set = set && curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, &on_close) == CURLE_OK;
  set = set && curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, this) == CURLE_OK;
  set = set && curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, &on_request) == CURLE_OK;
  return set && curl_easy_setopt(easy, CURLOPT_PREREQDATA, &transfer) == CURLE_OK;
}

bool CurlDriver::add(CURL* easy) {
  SEGUE_ASSERT(!in_callback());
  const Inside inside(depth_);
  if (curl_multi_add_handle(multi_, easy) != CURLM_OK) return false;
  ++handles_;
  return true;
}

void CurlDriver::remove(CURL* easy) {
  SEGUE_ASSERT(!in_callback());
  const Inside inside(depth_);
  const CURLMcode status = curl_multi_remove_handle(multi_, easy);
  SEGUE_ASSERT(status == CURLM_OK);
  SEGUE_ASSERT(handles_ > 0);
  --handles_;
}

CURLcode CurlDriver::unpause(CURL* easy) {
  SEGUE_ASSERT(!in_callback());
  const Inside inside(depth_);
  return curl_easy_pause(easy, CURLPAUSE_CONT);
}

void CurlDriver::act(curl_socket_t fd, int events) {
  {
    const Inside inside(depth_);
    int running = 0;
    (void)curl_multi_socket_action(multi_, fd, events, &running);
  }
  report_done();
}

void CurlDriver::report_done() {
  int left = 0;
  while (CURLMsg* message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    CURL* easy = message->easy_handle;
    const CURLcode code = message->data.result;  // the message dies with the handle's removal
    CurlTransfer* transfer = nullptr;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
    SEGUE_ASSERT(transfer != nullptr);
    if (code == CURLE_OK) keep_idle(easy);
    transfer->on_done(code);
  }
  reused_.clear();
}

/// Nothing may come on a connection that nobody asked anything on. libcurl 7.88 looks only whether
/// such a connection is closed, and would take stray bytes for the head of the next answer; so idle
/// HTTP/1.1 connections are watched here, which also notices closed ones at once. HTTP/2 has its
/// own pings and settings to exchange.
void CurlDriver::keep_idle(CURL* easy) {
  long version = 0;
  curl_easy_getinfo(easy, CURLINFO_HTTP_VERSION, &version);
  if (version >= CURL_HTTP_VERSION_2_0) return;
  curl_socket_t fd = CURL_SOCKET_BAD;
  curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &fd);
  if (fd == CURL_SOCKET_BAD) return;
  char* local_ip = nullptr;
  long local_port = 0;
  curl_easy_getinfo(easy, CURLINFO_LOCAL_IP, &local_ip);
  curl_easy_getinfo(easy, CURLINFO_LOCAL_PORT, &local_port);
  // The end of this transfer may have given its connection to one that was waiting: what comes on
  // it now is that transfer's answer.
  if (std::ranges::find(reused_, local_port) != reused_.end()) return;
  auto [entry, is_new] = sockets_.try_emplace(fd);
  std::unique_ptr<Socket>& socket = entry->second;
  if (!is_new && !socket->idle) return;
  if (is_new) socket = std::make_unique<Socket>(*this, fd);
  socket->local_port = local_port;
  socket->local_ip = local_ip == nullptr ? "" : local_ip;
  socket->idle = true;
  socket->watch.want(Readiness::Read);
}

/// Called by libcurl before it sends a request. A kept connection stops being idle here and not
/// when libcurl first watches it: an answer that is there at once is read without ever being
/// watched for.
int CurlDriver::on_request(void* transfer, char* /*remote_ip*/, char* local_ip, int /*remote_port*/,
                           int local_port) {
  auto& asking = *static_cast<CurlTransfer*>(transfer);
  const bool clean = asking.driver_->use_again(local_ip == nullptr ? "" : local_ip, local_port);
  if (clean) return CURL_PREREQFUNC_OK;
  asking.on_stale_connection();
  return CURL_PREREQFUNC_ABORT;  // the request is not sent, and the connection is closed
}

bool CurlDriver::use_again(std::string_view local_ip, long local_port) {
  reused_.push_back(local_port);
  for (auto at = sockets_.begin(); at != sockets_.end(); ++at) {
    Socket& socket = *at->second;
    if (!socket.idle || socket.local_port != local_port || socket.local_ip != local_ip) continue;
    // If bytes came before we asked, they are not the answer.
    char first = 0;
    const bool has_bytes = recv(socket.fd, &first, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
    const bool clean = !has_bytes && !socket.queued();
    if (!clean) counters_.connections_unsolicited.add();
    loop_.cancel_ready(socket);
    sockets_.erase(at);
    return clean;
  }
  return true;
}

void CurlDriver::drop_idle(curl_socket_t fd) {
  // What came is read away and the connection is ended under libcurl's hands: its own check before
  // the next use then finds it closed.
  bool unsolicited = false;
  char scrap[4096];
  for (int reads = 0; reads < 16; ++reads) {
    const ssize_t got = recv(fd, scrap, sizeof(scrap), MSG_DONTWAIT);
    if (got <= 0) break;
    unsolicited = true;
  }
  shutdown(fd, SHUT_RDWR);
  if (unsolicited) counters_.connections_unsolicited.add();
}

void CurlDriver::Socket::run(ReadyNode& node) {
  auto& socket = static_cast<Socket&>(node);
  const Readiness happened = socket.watch.take();
  CurlDriver& owner = socket.owner;
  const curl_socket_t fd = socket.fd;
  if (socket.idle) {
    owner.sockets_.erase(fd);
    owner.drop_idle(fd);
    return;
  }
  int events = 0;
  if (has(happened, Readiness::Read)) events |= CURL_CSELECT_IN;
  if (has(happened, Readiness::Write)) events |= CURL_CSELECT_OUT;
  owner.act(fd, events);  // may destroy `socket`
}

void CurlDriver::MultiTimer::run(Timer& timer) {
  static_cast<MultiTimer&>(timer).owner.act(CURL_SOCKET_TIMEOUT, 0);
}

int CurlDriver::on_timer(CURLM* /*multi*/, long timeout_ms, void* driver) {
  auto& self = *static_cast<CurlDriver*>(driver);
  // Never act from in here, even for 0: it would recurse into libcurl. The timer fires in the
  // loop's next step that runs timers.
  self.loop_.arm(self.timer_, timeout_ms < 0
                                  ? kNever
                                  : self.loop_.now() + std::chrono::milliseconds{timeout_ms});
  return 0;
}

int CurlDriver::on_socket(CURL* /*easy*/, curl_socket_t fd, int what, void* driver,
                          void* /*unused*/) {
  static_cast<CurlDriver*>(driver)->watch(fd, what);
  return 0;
}

void CurlDriver::watch(curl_socket_t fd, int what) {
  const auto found = sockets_.find(fd);
  if (what == CURL_POLL_REMOVE) {
    if (found == sockets_.end() || found->second->idle) return;
    loop_.cancel_ready(*found->second);
    sockets_.erase(found);
    return;
  }
  auto& socket = found == sockets_.end() ? sockets_[fd] : found->second;
  if (socket != nullptr && socket->idle) {
    loop_.cancel_ready(*socket);
    socket.reset();
  }
  if (socket == nullptr) socket = std::make_unique<Socket>(*this, fd);
  Readiness interest = Readiness::None;
  if ((what & CURL_POLL_IN) != 0) interest = Readiness::Read;
  if ((what & CURL_POLL_OUT) != 0) interest = interest | Readiness::Write;
  socket->watch.want(interest);
}

curl_socket_t CurlDriver::on_open(void* driver, curlsocktype /*purpose*/, curl_sockaddr* address) {
  auto& self = *static_cast<CurlDriver*>(driver);
  const int fd = ::socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                          address->protocol);
  self.out_of_descriptors_ = fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS);
  if (fd < 0) return CURL_SOCKET_BAD;
  self.counters_.connections_opened.add();
  self.counters_.connections_open.add();
  return fd;
}

int CurlDriver::on_close(void* driver, curl_socket_t fd) {
  auto& self = *static_cast<CurlDriver*>(driver);
  if (const auto found = self.sockets_.find(fd); found != self.sockets_.end()) {
    self.loop_.cancel_ready(*found->second);
    self.sockets_.erase(found);
  }
  self.counters_.connections_open.sub();
  return close(fd);
}

}  // namespace segue::origin
