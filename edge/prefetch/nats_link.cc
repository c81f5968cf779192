#include "edge/prefetch/nats_link.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <nats/nats.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace segue::edge {
namespace {

constexpr size_t kSecretBytesMax = 4096;
constexpr int64_t kConnectMs = 2000;
constexpr int64_t kAskMs = 2000;  // one question to JetStream
// A server that is gone without a word is noticed after at most three of these.
constexpr int64_t kPingMs = 10'000;
constexpr milliseconds kMoreWithin{500};  // for messages the server said it has
constexpr int64_t kAckWaitNs = 30'000'000'000;
constexpr const char* kSystemCaFile = "/etc/ssl/certs/ca-certificates.crt";

template <class T, void (*Free)(T*)>
struct Freed {
  void operator()(T* object) const noexcept { Free(object); }
};
template <class T, void (*Free)(T*)>
using Owned = std::unique_ptr<T, Freed<T, Free>>;
using OwnedOptions = Owned<natsOptions, natsOptions_Destroy>;
using OwnedConnection = Owned<natsConnection, natsConnection_Destroy>;
using OwnedContext = Owned<jsCtx, jsCtx_Destroy>;
using OwnedSubscription = Owned<natsSubscription, natsSubscription_Destroy>;
using OwnedConsumerInfo = Owned<jsConsumerInfo, jsConsumerInfo_Destroy>;
using OwnedStreamNames = Owned<jsStreamNamesList, jsStreamNamesList_Destroy>;
using OwnedMetaData = Owned<jsMsgMetaData, jsMsgMetaData_Destroy>;

/// Of the calling thread's last call.
std::string words_of(natsStatus status) {
  const char* detail = nats_GetLastError(nullptr);
  const char* text = natsStatus_GetText(status);
  return detail != nullptr && *detail != '\0' ? fmt::format("{}: {}", text, detail) : text;
}

std::unexpected<std::string> mistake_of(std::string_view what, natsStatus status) {
  return std::unexpected(fmt::format("{}: {}", what, words_of(status)));
}

std::expected<std::string, std::string> read_secret(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return std::unexpected(fmt::format("{}: {}", path, strerror(errno)));
  struct stat facts{};
  std::string text(kSecretBytesMax + 1, '\0');
  const bool regular = fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode);
  const ssize_t bytes = regular ? read(fd, text.data(), text.size()) : -1;
  close(fd);
  if (bytes < 0 || static_cast<size_t>(bytes) > kSecretBytesMax)
    return std::unexpected(
        fmt::format("{}: is no file of at most {} bytes", path, kSecretBytesMax));
  text.resize(static_cast<size_t>(bytes));
  while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
  if (text.empty()) return std::unexpected(fmt::format("{}: is empty", path));
  return text;
}

/// "tls://[::1]:4222" -> "::1"
std::string host_of(std::string_view server) {
  server.remove_prefix(std::min(server.find("://") + 3, server.size()));
  server = server.substr(0, server.rfind(':'));
  if (server.starts_with('[') && server.ends_with(']'))
    server = server.substr(1, server.size() - 2);
  return std::string(server);
}

/// Without one of ours libnats writes them to standard error; the call concerned fails as well.
void ignore_error(natsConnection* /*connection*/, natsSubscription* /*subscription*/,
                  natsStatus /*status*/, void* /*closure*/) {}

std::expected<void, std::string> set_tls(natsOptions* options, const NatsOptions& ours,
                                         const std::string& server) {
  const std::string ca = ours.ca_file.empty() ? kSystemCaFile : ours.ca_file;
  natsStatus status = natsOptions_SetSecure(options, true);
  if (status != NATS_OK) return mistake_of("TLS", status);
  status = natsOptions_LoadCATrustedCertificates(options, ca.c_str());
  if (status != NATS_OK) return mistake_of(ca, status);
  const std::string name = ours.server_name.empty() ? host_of(server) : ours.server_name;
  status = natsOptions_SetExpectedHostname(options, name.c_str());
  if (status != NATS_OK) return mistake_of(name, status);
  if (ours.certificate_file.empty()) return {};
  status = natsOptions_LoadCertificatesChain(options, ours.certificate_file.c_str(),
                                             ours.key_file.c_str());
  if (status != NATS_OK)
    return mistake_of(fmt::format("{}, {}", ours.certificate_file, ours.key_file), status);
  return {};
}

std::expected<void, std::string> set_identity(natsOptions* options, const NatsOptions& ours) {
  natsStatus status = NATS_OK;
  if (!ours.user.empty()) {
    const auto password = read_secret(ours.password_file);
    if (!password) return std::unexpected(password.error());
    status = natsOptions_SetUserInfo(options, ours.user.c_str(), password->c_str());
  } else if (!ours.token_file.empty()) {
    const auto token = read_secret(ours.token_file);
    if (!token) return std::unexpected(token.error());
    status = natsOptions_SetToken(options, token->c_str());
  } else if (!ours.credentials_file.empty()) {
    // libnats opens it only while it connects.
    if (access(ours.credentials_file.c_str(), R_OK) != 0)
      return std::unexpected(fmt::format("{}: {}", ours.credentials_file, strerror(errno)));
    status =
        natsOptions_SetUserCredentialsFromFiles(options, ours.credentials_file.c_str(), nullptr);
  }
  if (status != NATS_OK) return mistake_of("credentials", status);
  return {};
}

std::expected<OwnedOptions, std::string> make_options(const NatsOptions& ours,
                                                      const std::string& server) {
  natsOptions* made = nullptr;
  natsStatus status = natsOptions_Create(&made);
  if (status != NATS_OK) return mistake_of("libnats", status);
  OwnedOptions options(made);
  const natsStatus all[] = {
      natsOptions_SetURL(made, server.c_str()), natsOptions_SetName(made, ours.client_name.c_str()),
      natsOptions_SetTimeout(made, kConnectMs), natsOptions_SetPingInterval(made, kPingMs),
      natsOptions_SetMaxPingsOut(made, 2), natsOptions_SetWriteDeadline(made, kConnectMs),
      // Ours: with a word in the log, files read anew, and an end when told.
      natsOptions_SetAllowReconnect(made, false),
      natsOptions_SetErrorHandler(made, &ignore_error, nullptr)};
  for (const natsStatus one : all) {
    if (one != NATS_OK) return mistake_of(server, one);
  }
  if (server.starts_with("tls://")) {
    if (auto set = set_tls(made, ours, server); !set) return std::unexpected(set.error());
  }
  if (auto set = set_identity(made, ours); !set) return std::unexpected(set.error());
  return options;
}

jsOptions asking() noexcept {
  jsOptions options;
  jsOptions_Init(&options);
  options.Wait = kAskMs;
  return options;
}

std::expected<std::string, std::string> find_stream(jsCtx* context, const NatsOptions& ours) {
  if (!ours.stream.empty()) return ours.stream;
  jsOptions options = asking();
  options.Stream.Info.SubjectsFilter = ours.subject.c_str();
  jsStreamNamesList* found = nullptr;
  const natsStatus status = js_StreamNames(&found, context, &options, nullptr);
  const OwnedStreamNames names(found);
  if (status == NATS_OK && names->Count == 1) return std::string(names->List[0]);
  if (status == NATS_OK || status == NATS_NOT_FOUND)
    return std::unexpected(fmt::format("not exactly one stream has the subject {}", ours.subject));
  return mistake_of("JetStream", status);
}

natsStatus make_consumer(jsCtx* context, const std::string& stream, const NatsOptions& ours) {
  jsConsumerConfig config;
  jsConsumerConfig_Init(&config);
  config.Durable = ours.consumer.c_str();
  config.FilterSubject = ours.subject.c_str();
  config.DeliverPolicy = ours.from_start ? js_DeliverAll : js_DeliverNew;
  config.AckPolicy = js_AckExplicit;
  config.AckWait = kAckWaitNs;
  config.MaxAckPending = int64_t{4} * kNatsMessagesInFlightMax;
  jsOptions options = asking();
  return js_AddConsumer(nullptr, context, stream.c_str(), &config, &options, nullptr);
}

/// One that is there may have other times and bounds, but must be of this kind.
std::expected<void, std::string> find_or_make_consumer(jsCtx* context, const std::string& stream,
                                                       const NatsOptions& ours) {
  jsOptions options = asking();
  jsConsumerInfo* found = nullptr;
  natsStatus status =
      js_GetConsumerInfo(&found, context, stream.c_str(), ours.consumer.c_str(), &options, nullptr);
  const OwnedConsumerInfo info(found);
  const std::string name = fmt::format("consumer {} of stream {}", ours.consumer, stream);
  if (status == NATS_NOT_FOUND) {
    status = make_consumer(context, stream, ours);
    if (status != NATS_OK) return mistake_of(name, status);
    return {};
  }
  if (status != NATS_OK) return mistake_of(name, status);
  const jsConsumerConfig& config = *info->Config;
  const auto text = [](const char* value) { return std::string_view(value ? value : ""); };
  if (config.AckPolicy != js_AckExplicit || !text(config.DeliverSubject).empty() ||
      text(config.FilterSubject) != ours.subject) {
    return std::unexpected(name +
                           " is not a pull consumer of this subject with explicit "
                           "acknowledgements: delete it, or name another");
  }
  return {};
}

}  // namespace

struct NatsLink::Impl {
  ~Impl() {
    let_go();
    subscription.reset();
    context.reset();
  }
  void let_go() noexcept {
    natsMsgList_Destroy(&list);
    list = {};
    messages.clear();
  }
  void see(natsMsg* message);

  OwnedConnection connection;
  OwnedContext context;
  OwnedSubscription subscription;
  natsMsgList list{};
  std::vector<NatsMessage> messages;  // of `list`
  uint64_t behind = 0;
  int at_once_max = 1;
};

NatsLink::NatsLink(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
NatsLink::~NatsLink() = default;

std::expected<std::unique_ptr<NatsLink>, std::string> NatsLink::open(const NatsOptions& ours,
                                                                     size_t server) {
  const std::string& url = ours.servers[server % ours.servers.size()];
  auto options = make_options(ours, url);
  if (!options) return std::unexpected(options.error());
  auto impl = std::make_unique<Impl>();
  natsConnection* connection = nullptr;
  natsStatus status = natsConnection_Connect(&connection, options->get());
  impl->connection.reset(connection);
  if (status != NATS_OK) return mistake_of(url, status);
  const auto payload =
      static_cast<uint64_t>(std::max<int64_t>(natsConnection_GetMaxPayload(connection), 1));
  impl->at_once_max = static_cast<int>(
      std::clamp<uint64_t>(kNatsBytesInFlightMax / payload, 1, kNatsMessagesInFlightMax));
  jsOptions asked = asking();
  jsCtx* context = nullptr;
  status = natsConnection_JetStream(&context, connection, &asked);
  impl->context.reset(context);
  if (status != NATS_OK) return mistake_of("JetStream", status);
  const auto stream = find_stream(context, ours);
  if (!stream) return std::unexpected(stream.error());
  if (auto consumer = find_or_make_consumer(context, *stream, ours); !consumer)
    return std::unexpected(consumer.error());
  jsSubOptions bound;
  jsSubOptions_Init(&bound);
  bound.Stream = stream->c_str();
  bound.Consumer = ours.consumer.c_str();
  natsSubscription* subscription = nullptr;
  status = js_PullSubscribe(&subscription, context, ours.subject.c_str(), nullptr, &asked, &bound,
                            nullptr);
  impl->subscription.reset(subscription);
  if (status != NATS_OK) return mistake_of(ours.subject, status);
  return std::unique_ptr<NatsLink>(new NatsLink(std::move(impl)));
}

void NatsLink::Impl::see(natsMsg* message) {
  NatsMessage seen;
  seen.text = {natsMsg_GetData(message), static_cast<size_t>(natsMsg_GetDataLength(message))};
  jsMsgMetaData* found = nullptr;
  if (natsMsg_GetMetaData(&found, message) == NATS_OK) {
    const OwnedMetaData meta(found);
    seen.sequence = meta->Sequence.Stream;
    seen.stored = WallTime(milliseconds(meta->Timestamp / 1'000'000));
    seen.again = meta->NumDelivered > 1;
    behind = meta->NumPending;
  }
  messages.push_back(seen);
}

std::expected<std::span<const NatsMessage>, std::string> NatsLink::fetch(milliseconds most) {
  Impl& impl = *impl_;
  impl.let_go();
  // libnats hands a batch on when it is full or its time is over, so that more is asked for only
  // where the server has said that it has more.
  const auto more = static_cast<int>(std::min<uint64_t>(impl.behind, INT32_MAX));
  jsFetchRequest request;
  jsFetchRequest_Init(&request);
  request.Batch = std::clamp(more, 1, impl.at_once_max);
  const milliseconds within = request.Batch == 1 ? most : std::min(most, kMoreWithin);
  request.Expires = std::chrono::nanoseconds(within).count();
  impl.behind = 0;
  const natsStatus status =
      natsSubscription_FetchRequest(&impl.list, impl.subscription.get(), &request);
  if (status == NATS_TIMEOUT || status == NATS_NOT_FOUND) return std::span<const NatsMessage>();
  if (status != NATS_OK) return mistake_of("fetch", status);
  for (int i = 0; i < impl.list.Count; ++i) impl.see(impl.list.Msgs[i]);
  return std::span<const NatsMessage>(impl.messages);
}

void NatsLink::acknowledge(size_t message) noexcept {
  natsMsg_Ack(impl_->list.Msgs[message], nullptr);
}
void NatsLink::acknowledge_and_wait(size_t message) noexcept {
  jsOptions options = asking();
  natsMsg_AckSync(impl_->list.Msgs[message], &options, nullptr);
}
void NatsLink::refuse(size_t message) noexcept { natsMsg_Term(impl_->list.Msgs[message], nullptr); }
void NatsLink::put_back(size_t message, milliseconds delay) noexcept {
  natsMsg_NakWithDelay(impl_->list.Msgs[message], delay.count(), nullptr);
}
void NatsLink::flush() noexcept { natsConnection_FlushTimeout(impl_->connection.get(), 1000); }
uint64_t NatsLink::behind() const noexcept { return impl_->behind; }
void NatsLink::interrupt() noexcept { natsConnection_Close(impl_->connection.get()); }

std::vector<std::string> NatsLink::check(const NatsOptions& options) {
  std::vector<std::string> wrong;
  if (options.servers.empty()) return wrong;
  if (auto made = make_options(options, options.servers.front()); !made)
    wrong.push_back("prefetch.nats: " + made.error());
  return wrong;
}

}  // namespace segue::edge
