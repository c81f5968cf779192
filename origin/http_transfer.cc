#include "origin/http_transfer.h"

#include <fmt/format.h>

#include <cerrno>

#include "base/units.h"

namespace segue::origin {
namespace {

// One system call reads up to this much; also what libcurl holds back at most while paused.
constexpr long kReadBufferBytes{64 * KiB};

}  // namespace

/// Without an option that libcurl does not keep (it has no memory, or knows none such) the request
/// would be another than was meant: "/" for the target, any authority instead of the one that is
/// to vouch for the origin. Such a transfer does not begin.
template <class Value>
void HttpTransfer::set(CURLoption option, Value value) {
  if (curl_easy_setopt(easy_.get(), option, value) != CURLE_OK) refused_ = true;
}

HttpTransfer::~HttpTransfer() {
  if (added_) driver_.remove(easy_.get());
}

bool HttpTransfer::start(Request request) {
  easy_.reset(curl_easy_init());
  fields_ = std::move(request.fields);
  if (easy_ == nullptr || fields_ == nullptr) return false;
  refused_ = !driver_.prepare(easy_.get(), *this);
  set(CURLOPT_HTTPHEADER, fields_.get());
  set(CURLOPT_HEADERFUNCTION, &on_header_line);
  set(CURLOPT_HEADERDATA, this);
  set(CURLOPT_WRITEFUNCTION, &on_body_bytes);
  set(CURLOPT_WRITEDATA, this);
  set(CURLOPT_BUFFERSIZE, kReadBufferBytes);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_PROXY, "");  // not what the environment says
  set(CURLOPT_TCP_KEEPALIVE, 1L);
  set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options_.timeout.connect.count()));
  set(CURLOPT_MAXAGE_CONN, static_cast<long>(options_.idle_connection_for.count()));
  set(CURLOPT_FRESH_CONNECT, request.fresh_connection ? 1L : 0L);
  const bool http2 = options_.http2 && request.server.tls;
  set(CURLOPT_HTTP_VERSION, http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1);
  set_method(request);
  set_address(request);
  set_security(request.server);
  added_ = !refused_ && driver_.add(easy_.get());
  return added_;
}

void HttpTransfer::set_method(const Request& request) {
  if (request.method.empty()) return;
  if (!request.body.empty()) {
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    set(CURLOPT_POSTFIELDS, request.body.data());
  }
  set(CURLOPT_CUSTOMREQUEST, std::string(request.method).c_str());  // libcurl copies it
}

void HttpTransfer::set_address(const Request& request) {
  set(CURLOPT_URL, (request.server.url() + "/").c_str());
  // The target byte for byte: libcurl's URL parser would tidy it.
  set(CURLOPT_REQUEST_TARGET, request.target.c_str());
  if (request.addresses.empty()) return;
  // Given the addresses, libcurl never looks a name up itself.
  std::string entry = fmt::format("{}:{}:", request.server.host, request.server.port);
  for (size_t i = 0; i < request.addresses.size(); ++i) {
    const std::string& address = request.addresses[i];
    if (i > 0) entry += ',';
    entry += address.find(':') == std::string::npos ? address : fmt::format("[{}]", address);
  }
  resolve_.reset(curl_slist_append(nullptr, entry.c_str()));
  if (resolve_ == nullptr) refused_ = true;  // it would look the name up itself, and wait for it
  set(CURLOPT_RESOLVE, resolve_.get());
}

void HttpTransfer::set_security(const ServerAddress& server) {
  if (!server.tls) return;
  set(CURLOPT_SSL_VERIFYPEER, 1L);
  set(CURLOPT_SSL_VERIFYHOST, 2L);
  set(CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
  if (!options_.ca_file.empty()) set(CURLOPT_CAINFO, options_.ca_file.c_str());
  if (!options_.certificate_file.empty()) {
    set(CURLOPT_SSLCERT, options_.certificate_file.c_str());
    set(CURLOPT_SSLKEY, options_.key_file.c_str());
  }
  // With a folder of certificates libcurl would not keep the parsed ones between connections, and
  // parsing them takes milliseconds of the loop.
  set(CURLOPT_CAPATH, static_cast<const char*>(nullptr));
}

bool HttpTransfer::unpause() {
  const CURLcode code = driver_.unpause(easy_.get());
  return code == CURLE_OK;
}

long HttpTransfer::connections_made() const {
  long made = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_NUM_CONNECTS, &made);
  return made;
}

size_t HttpTransfer::on_header_line(char* line, size_t size, size_t count, void* transfer) {
  auto& self = *static_cast<HttpTransfer*>(transfer);
  const size_t bytes = size * count;
  if (self.head_.complete()) return bytes;  // trailers: dropped (RFC 9110 §6.5.1 allows it)
  self.fault_ = self.head_.add({line, bytes});
  if (self.fault_ != Fault::None) return 0;
  if (!self.head_.complete()) return bytes;
  self.stopped_ = self.owner_.on_head(self.head_) == TransferOwner::Verdict::Stop;
  return self.stopped_ ? 0 : bytes;
}

size_t HttpTransfer::on_body_bytes(char* bytes, size_t size, size_t count, void* transfer) {
  auto& self = *static_cast<HttpTransfer*>(transfer);
  if (!self.head_.complete()) {  // what libcurl takes for a body without a head we could read
    self.fault_ = Fault::StatusLine;
    return 0;
  }
  const std::span data(reinterpret_cast<const std::byte*>(bytes), size * count);
  switch (self.owner_.on_body(data)) {
    case TransferOwner::Verdict::GoOn:
      return data.size();
    case TransferOwner::Verdict::Pause:
      return CURL_WRITEFUNC_PAUSE;
    case TransferOwner::Verdict::Stop:
      break;
  }
  self.stopped_ = true;
  return 0;
}

void HttpTransfer::on_done(CURLcode code) {
  Fault fault = stale_ ? Fault::StaleConnection : fault_;
  if (fault == Fault::None && !stopped_) fault = fault_of(code);
  long os_errno = 0;
  if (fault != Fault::None) curl_easy_getinfo(easy_.get(), CURLINFO_OS_ERRNO, &os_errno);
  owner_.on_ended(fault, static_cast<int32_t>(os_errno));  // may destroy this
}

/// Whether the server may have answered: it has a part of the request at least.
bool HttpTransfer::has_sent() const {
  long bytes = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_REQUEST_SIZE, &bytes);
  return bytes > 0;
}

Fault HttpTransfer::closed_fault() const noexcept {
  if (head_.complete()) return Fault::BodyClosed;
  return head_.started() ? Fault::ClosedInHead : Fault::ClosedBeforeHead;
}

Fault HttpTransfer::connect_fault() const {
  if (driver_.out_of_descriptors()) return Fault::NoDescriptor;
  long os_errno = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_OS_ERRNO, &os_errno);
  if (os_errno == ECONNREFUSED) return Fault::ConnectRefused;
  return os_errno == ETIMEDOUT ? Fault::ConnectTimeout : Fault::ConnectUnreachable;
}

Fault HttpTransfer::fault_of(CURLcode code) const {
  switch (code) {
    case CURLE_OK:
      return head_.complete() ? Fault::None : Fault::ClosedInHead;
    case CURLE_COULDNT_RESOLVE_HOST:
      return Fault::NameUnknown;
    case CURLE_COULDNT_CONNECT:
      return connect_fault();
    case CURLE_OPERATION_TIMEDOUT:  // the only timeout libcurl is given is the one for connecting
      return Fault::ConnectTimeout;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_USE_SSL_FAILED:
      return Fault::TlsRefused;
    case CURLE_UNSUPPORTED_PROTOCOL:  // "Received HTTP/0.9 when not allowed"
    case CURLE_WEIRD_SERVER_REPLY:
      return head_.started() ? Fault::FieldLine : Fault::StatusLine;
    case CURLE_FILESIZE_EXCEEDED:  // a Content-Length that overflows
      return Fault::BadLength;
    case CURLE_OUT_OF_MEMORY:
      // Also what libcurl 7.88 says of a header line over its own limit of 100 KiB.
      return head_.complete() || !has_sent() ? Fault::OutOfMemory : Fault::HeadTooLong;
    case CURLE_PARTIAL_FILE:
      return Fault::BodyShort;
    default:
      return closed_fault();
  }
}

}  // namespace segue::origin
