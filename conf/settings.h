// conf/settings.h - what an operator can set, typed, with defaults and units. Plain values: no
// module but edge/main.cc reads them; it fills each module's own Options.
//
// The names are those of segue.toml (conf/segue.toml shows every key). A Settings that came out of
// load() (conf/load.h) has passed every check of conf/validate.h.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/address_range.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/units.h"

namespace segue::conf {

using std::chrono::milliseconds;

/// A place to listen at, or to reach the admin listener at. Either a unix socket or an address.
struct Address {
  std::string text;       // as written
  std::string unix_path;  // not empty: a unix socket
  std::string ip;         // IPv4 or IPv6 literal, without brackets
  uint16_t port = 0;      // 0: the kernel picks one
  bool is_ipv6 = false;
  [[nodiscard]] bool is_unix() const { return !unix_path.empty(); }
};

/// A server of an origin.
struct Server {
  enum class Scheme : uint8_t { Http, Https, Directory };
  std::string text;  // as written
  Scheme scheme = Scheme::Http;
  std::string host;  // name or IP literal, without brackets
  uint16_t port = 0;
  std::string base_path;  // "" or "/music": goes before every target; no trailing slash
  std::string directory;  // Scheme::Directory only
};

enum class IoBackend : uint8_t { Auto, Uring, Threads };
enum class CachePolicy : uint8_t { Lru, S3Fifo };
enum class ValidatorRule : uint8_t { Etag, Mtime, Length };
enum class QueryMode : uint8_t { Keep, Drop, Listed };

struct NodeSettings {
  std::string name;          // token in Cache-Status, Via and CDN-Loop; empty: the host's name
  uint64_t ram_bytes = GiB;  // of the whole process; conf/plan.h divides it
  uint32_t threads = 0;      // loops; 0: one per core
  uint32_t connections = 0;  // of clients, at once; 0: what an eighth of the memory is enough for
  IoBackend io = IoBackend::Auto;
  milliseconds drain{5000};      // what running responses get at a stop or restart
  milliseconds retire{600'000};  // what players get after `segue drain`
};

struct ListenSettings : Address {
  bool tls = false;
  std::string client_ca = {};  // with tls: clients show a certificate signed by this file's CAs
  std::vector<AddressRange> proxies =
      {};  // who says by the PROXY protocol whom a connection is from
};

struct CertificateSettings {
  std::string chain;  // PEM file: the certificate, then what leads to its CA
  std::string key;    // PEM file
  std::string ocsp;   // DER file of a response to staple; empty: none
};

/// Of all listeners with tls.
struct TlsSettings {
  std::vector<CertificateSettings> certificates;  // the first one where a name has none of its own
  bool tls12 = true;                              // false: TLS 1.3 alone
  bool http2 = true;                              // offered before HTTP/1.1
  bool refuse_unknown_names = false;  // instead of showing the first certificate to whoever asks
                                      // for a name that none covers
  std::string ticket_keys;            // file a fleet shares; empty: keys of this process
};

/// How a tier is divided among its classes of places, in parts of 100. A slice takes the smallest
/// that holds it, so a site of whole segments wants other shares than one of long tracks.
struct ShareSettings {
  uint32_t small = 0;  // 16 KiB, RAM only: playlists, negative answers
  uint32_t k64 = 0;
  uint32_t k128 = 0;
  uint32_t k256 = 0;
  [[nodiscard]] uint64_t sum() const { return uint64_t{small} + k64 + k128 + k256; }
};

struct DriveSettings {
  std::string path;         // a folder (segue.drive is made in it), a file or a block device
  uint64_t size_bytes = 0;  // 0: a device whole; a folder or file: CacheSettings::size_bytes
  bool sparse = false;      // do not preallocate a file
  uint64_t writes_bytes_per_day = 0;                       // 0: no budget
  ShareSettings shares{.k64 = 4, .k128 = 16, .k256 = 80};  // taken when the drive is formatted
};

struct CacheSettings {
  CachePolicy policy = CachePolicy::Lru;
  ShareSettings ram_shares{.small = 4, .k64 = 6, .k128 = 10, .k256 = 80};
  uint64_t size_bytes = 10 * GiB;  // of a drive in a folder or file that names no size
  std::vector<DriveSettings> drives;
};

struct TimeoutSettings {
  milliseconds connect{1000};
  milliseconds first_byte{3000};  // of one try
  milliseconds idle{5000};        // between two bytes of a body
  milliseconds total{6000};       // until the first byte, over all tries: players give up at 8 s
};

struct BreakerSettings {
  uint32_t failures = 5;  // in a row, of one server
  milliseconds open_for{10'000};
};

struct OriginSettings {
  std::string name;
  std::vector<Server> servers;  // in order of preference
  TimeoutSettings timeout;
  uint32_t fetches = kOriginConnectionsPerLoopMax;  // at once, per loop; others queue
  uint32_t retries = 2;  // further tries of one fetch, each on a fresh connection
  std::string ca;  // file with the certificates that https servers are verified by; empty: Debian's
  std::string certificate;  // PEM, shown to https servers that ask for one; with `key`, or neither
  std::string key;
  ValidatorRule validator = ValidatorRule::Etag;
  std::vector<std::string> redirect_hosts;  // besides the origin's own; empty: same origin only
  BreakerSettings breaker;
};

struct TtlSettings {
  milliseconds default_lifetime{std::chrono::hours{24}};  // where the origin says nothing
  milliseconds negative{10'000};                          // 404 and 410
  std::optional<milliseconds> override_lifetime;          // beats everything the origin says
  milliseconds stale_if_error{std::chrono::hours{24}};
  milliseconds stale_while_revalidate{0};
};

enum class TokenForm : uint8_t { Segue, EdgeAuth, Expires, Jwt };

struct TokenKeySettings {
  std::string id;    // as tokens name it
  std::string path;  // its file
};

/// Signed URLs of a site; without keys anybody may ask.
struct TokenSettings {
  std::vector<TokenForm> forms{TokenForm::Segue};
  std::string name = "token";  // of query parameter, field and cookie
  std::vector<TokenKeySettings> keys;
  uint32_t expired_status = 410;
  std::string issuer;    // JWT
  std::string audience;  // JWT
};

/// How fast a connection gets bytes once it has its burst.
struct PaceSettings {
  uint64_t burst_bytes = 2 * MiB;
  uint32_t bitrate_kbits = 0;  // of the audio; 0: as fast as it goes
  uint32_t times = 4;          // that bitrate
};

struct SiteSettings {
  std::string name;                // [a-z0-9._-]+, first part of every cache key of the site
  std::vector<std::string> hosts;  // lower case, no port; "*" takes what no other site takes
  std::string origin;              // name of an OriginSettings
  QueryMode query = QueryMode::Keep;
  std::vector<std::string> query_names;  // QueryMode::Listed: what stays
  std::vector<std::string> forward;  // request fields passed to the origin, lower case; "*": all
  std::vector<std::string> methods;  // relayed besides GET and HEAD; "*": all
  std::vector<std::string> tags{"surrogate-key", "cache-tag"};  // response fields with cache tags
  TokenSettings tokens;
  PaceSettings pace;
  TtlSettings ttl;
  std::vector<std::string> cors{"*"};  // origins whose scripts may read answers; empty: no word
};

enum class LimitBy : uint8_t { Client, Token };

/// Of one client on one loop; 0: none. Off by default: thousands may share a carrier's address.
struct LimitSettings {
  uint32_t connections = 0;
  uint32_t requests_per_second = 0;
  uint64_t miss_bytes_per_second = 0;
  LimitBy by = LimitBy::Client;
};

struct NatsServer {
  std::string text;  // "nats://host:port" or "tls://host:port", always with a port
  bool tls = false;
};

enum class PrefetchMode : uint8_t { Off, Observe, On };

/// A subject of a NATS JetStream with the feed and purges; without servers there is none.
struct NatsSettings {
  std::vector<NatsServer> servers;  // of one cluster, tried in turn
  std::string subject;
  std::string purge_subject;  // empty: purges come on `subject` too
  std::string stream;         // empty: whichever has the subject
  std::string consumer;       // empty: made of the node's name
  std::string user;
  std::string password;     // a file that holds it; likewise the next two
  std::string token;        // a file
  std::string credentials;  // a file: JWT and seed, as `nsc` writes it
  std::string ca;
  std::string certificate;
  std::string key;
  std::string server_name;  // empty: the host's
};

struct PrefetchSettings {
  PrefetchMode mode = PrefetchMode::Off;
  std::vector<std::string> follow;      // files and FIFOs with a feed (conf/feed.md)
  uint64_t bytes_per_second = 8 * MiB;  // from origins
  uint64_t bytes_per_day = 0;           // 0: no limit
  uint32_t fills = 8;                   // at once
  uint32_t ram_percent = 10;            // of the RAM tier, for what nobody has asked for yet
  uint32_t heads_percent = 20;          // likewise, for heads of tracks that start often
  milliseconds head{10'000};            // of a track, fetched before it is asked for
  milliseconds lead{300'000};           // a track due later than this waits
  bool rest = true;                     // beyond the head, once play is confirmed
  uint32_t probability_percent = 5;     // less probable tracks are not fetched
  uint32_t floor_percent = 20;          // a model less precise is throttled
  uint32_t hints_percent = 50;          // of bytes_per_second, for what players say is next
  uint32_t playlist_segments = 2;       // of an HLS playlist, hinted at ahead; 0: none
  uint64_t memory = 32 * MiB;           // of plans, guesses, playlists and facts
  PrefetchMode predictor = PrefetchMode::Observe;  // learned from the node's own traffic
  uint64_t predictor_memory = 16 * MiB;
  std::string predictor_file;  // kept there over restarts; empty: nowhere
  NatsSettings nats;
};

struct LogSettings {
  std::string access = "off";  // path, "-" (standard output) or "off"
  uint32_t sample = 1;         // one of so many good responses is written; all others are
  LogLevel level = LogLevel::Info;
};

struct ListensSettings {
  bool count = false;
  uint32_t bitrate_kbits = 128;  // of the audio, to make seconds of bytes
};

struct Settings {
  NodeSettings node;
  std::vector<ListenSettings> listen;
  bool listen_is_default = false;  // nothing said where
  TlsSettings tls;
  std::optional<Address> admin;  // none: no admin listener
  CacheSettings cache;
  std::vector<OriginSettings> origins;
  std::vector<SiteSettings> sites;
  LimitSettings limits;
  PrefetchSettings prefetch;
  LogSettings log;
  ListensSettings listens;
};

}  // namespace segue::conf
