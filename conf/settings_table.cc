#include "conf/settings_table.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/limits.h"

namespace segue::conf {
namespace {

// Ranges that are limits elsewhere.
static_assert(kLoopsMax == 64);
static_assert(kLoopsMax * kConnectionsPerLoopMax == 2'097'152);
static_assert(kOriginConnectionsPerLoopMax == 256);

constexpr std::string_view kAddresses = "`IP:PORT`, `[IP6]:PORT` or `unix:/PATH`; one, or a list";
constexpr std::string_view kSizes = "size";
constexpr std::string_view kDurations = "duration";
constexpr std::string_view kNumber = "whole number";

constexpr SettingRow kRows[] = {
    {"node.name", "1 to 64 letters, digits, `-`, `_`, `.`; a letter first", "", Takes::Restart,
     "name in Cache-Status, Via and CDN-Loop; without it the host's name"},
    {"node.ram", kSizes, "1GiB", Takes::Restart,
     "memory of the whole process; `segue check` prints how it is divided", "1MiB to 1024TiB"},
    {"node.threads", kNumber, "0", Takes::Restart, "event loops; 0: one per core", "0 to 64"},
    {"node.connections", kNumber, "0", Takes::Restart,
     "client connections at once, their memory set aside; more are answered 503; 0: as many as an "
     "eighth of the memory is enough for (with TLS a quarter)",
     "0 to 2097152"},
    {"node.io", "`auto`, `uring`, `threads`", "auto", Takes::Restart, "how drives are read"},
    {"node.drain", kDurations, "5s", Takes::Reload,
     "what running responses get to finish at a stop or restart", "0 to 3650d"},
    {"node.retire", kDurations, "10m", Takes::Reload,
     "what players get after `segue drain`; then the node stops even if some are left",
     "0 to 3650d"},
    {"listen[].addr", kAddresses, "127.0.0.1:8080", Takes::Restart, "where clients connect"},
    {"listen[].tls", "`true`, `false`", "false", Takes::Restart,
     "TLS on these addresses; needs `[[tls.certificate]]`"},
    {"listen[].client_ca", "a path", "", Takes::Restart,
     "with `tls`: clients must show a certificate that a CA of this file signed, each time: "
     "nothing "
     "is resumed"},
    {"listen[].proxy_protocol", "a network, or a list", "", Takes::Restart,
     "balancers that say by the PROXY protocol (version 1 or 2) whom a connection is from; others "
     "may not connect here; over a unix socket all may"},
    {"tls.min_version", "`1.2`, `1.3`", "1.2", Takes::Reload, "the oldest version spoken"},
    {"tls.http2", "`true`, `false`", "true", Takes::Reload,
     "HTTP/2 is offered to clients, before HTTP/1.1"},
    {"tls.unknown_name", "`default`, `refuse`", "default", Takes::Reload,
     "who asks for a name that no certificate covers is shown the first one, or refused"},
    {"tls.ticket_keys", "a path", "", Takes::Reload,
     "1 to 4 keys of 80 random bytes that a fleet shares, the first one seals; without it the "
     "node's own"},
    {"tls.certificate[].chain", "a path", "", Takes::Reload,
     "PEM: the certificate, then what leads to its CA; the first `[[tls.certificate]]` is the "
     "default"},
    {"tls.certificate[].key", "a path", "", Takes::Reload, "PEM, readable by Segue alone"},
    {"tls.certificate[].ocsp", "a path", "", Takes::Reload, "DER: an OCSP response to staple"},
    {"admin.listen", "a loopback address or `unix:/PATH`", "", Takes::Restart,
     "metrics, purge, drain, the page; without it there is no admin listener"},
    {"cache.policy", "`lru`, `s3fifo`", "lru", Takes::Restart, "what is evicted first"},
    {"cache.size", kSizes, "10GiB", Takes::Restart,
     "of a drive in a folder or file that names no size of its own", "64MiB to 1024TiB"},
    {"cache.ram_shares", "parts of 100 by size: `16KiB`, `64KiB`, `128KiB`, `256KiB`",
     "{ 16KiB = 4, 64KiB = 6, 128KiB = 10, 256KiB = 80 }", Takes::Restart,
     "how the RAM tier is divided; a slice takes the smallest buffer that holds it"},
    {"cache.drive[].path", "a folder, a file or a block device", "", Takes::Restart,
     "one drive of the SSD tier; in a folder, segue.drive is made"},
    {"cache.drive[].size", kSizes, "", Takes::Restart, "of a folder or file; without it cache.size",
     "64MiB to 1024TiB"},
    {"cache.drive[].sparse", "`true`, `false`", "false", Takes::Restart,
     "do not preallocate the file"},
    {"cache.drive[].writes_per_day", kSizes, "0", Takes::Restart, "write budget; 0: none",
     "0 to 1024TiB"},
    {"cache.drive[].shares", "parts of 100 by size: `64KiB`, `128KiB`, `256KiB`",
     "{ 64KiB = 4, 128KiB = 16, 256KiB = 80 }", Takes::Restart,
     "how a drive is divided, taken when it is formatted"},
    {"origin.NAME.servers", "`http://`, `https://` or `dir:PATH`; one, or up to 16", "",
     Takes::Restart, "where audio comes from, in order of preference"},
    {"origin.NAME.timeout.connect", kDurations, "1s", Takes::Restart, "of one connection",
     "1ms to 3650d"},
    {"origin.NAME.timeout.first_byte", kDurations, "3s", Takes::Restart, "of one try",
     "1ms to 3650d"},
    {"origin.NAME.timeout.idle", kDurations, "5s", Takes::Restart, "between two bytes of a body",
     "1ms to 3650d"},
    {"origin.NAME.timeout.total", kDurations, "6s", Takes::Restart,
     "until the first byte, over all tries; players give up at 8 s", "1ms to 3650d"},
    {"origin.NAME.fetches", kNumber, "256", Takes::Restart,
     "at once, for each loop; more wait for their turn", "1 to 256"},
    {"origin.NAME.retries", kNumber, "2", Takes::Restart,
     "further tries of one fetch, each on a fresh connection", "0 to 10"},
    {"origin.NAME.ca", "a path", "", Takes::Restart,
     "certificates that https servers are verified by; without it the system's"},
    {"origin.NAME.certificate", "a path", "", Takes::Restart,
     "PEM: shown to https servers that ask who we are; needs `key`"},
    {"origin.NAME.key", "a path", "", Takes::Restart, "PEM: the key of `certificate`"},
    {"origin.NAME.validator", "`etag`, `mtime`, `length`", "etag", Takes::Restart,
     "what tells two versions apart"},
    {"origin.NAME.redirects", "`same-origin`, or a list of hosts", "same-origin", Takes::Restart,
     "where a redirect may lead"},
    {"origin.NAME.breaker.failures", kNumber, "5", Takes::Restart,
     "failures in a row until a server is left alone", "1 to 1000"},
    {"origin.NAME.breaker.open_for", kDurations, "10s", Takes::Restart, "for how long it is",
     "0 to 3650d"},
    {"site[].name", "1 to 64 lower-case letters, digits, `-`, `_`, `.`", "", Takes::Reload,
     "first part of every cache key of the site: another name is an empty cache"},
    {"site[].hosts", "host names without port, or `*`; one, or a list", "", Takes::Reload,
     "which requests are for this site"},
    {"site[].origin", "the NAME of an `[origin.NAME]`", "", Takes::Reload,
     "may be left out where there is only one"},
    {"site[].query", "`keep`, `drop`, or a list of names", "keep", Takes::Reload,
     "which query parameters are part of the cache key"},
    {"site[].forward", "a list of field names, or `*`", "", Takes::Reload,
     "request fields passed on to the origin"},
    {"site[].methods", "a list of methods, or `*`", "", Takes::Reload,
     "relayed to the origin besides GET and HEAD; not for a `dir:` origin"},
    {"site[].tags", "a list of field names", "surrogate-key, cache-tag", Takes::Reload,
     "response fields with tags to purge by; never passed on"},
    {"site[].pace.bitrate", kNumber, "", Takes::Reload,
     "kbit/s of the audio; without it connections get bytes as fast as they take them",
     "8 to 10000"},
    {"site[].pace.times", kNumber, "4", Takes::Reload, "that bitrate, once the burst is over",
     "1 to 100"},
    {"site[].pace.burst", kSizes, "2MiB", Takes::Reload,
     "as fast as it goes; all of it is per connection, on HTTP/2 for all its streams together",
     "0 to 1024TiB"},
    {"site[].tokens.keys", "a table of paths", "", Takes::Reload,
     "keys = { NAME = \"FILE\" }, up to 16: who asks needs a token by one of them; 32 to 128 "
     "hexadecimal digits that not everybody may read, or a PEM public key (JWT)"},
    {"site[].tokens.forms", "`segue`, `edgeauth`, `expires`, `jwt`; one, or a list", "segue",
     Takes::Reload, "which tokens are taken"},
    {"site[].tokens.name", "letters, digits, `-`, `_`", "token", Takes::Reload,
     "of the query parameter, the request field or the cookie with the token"},
    {"site[].tokens.expired_status", "410, 403", "410", Takes::Reload,
     "answer to a token whose time is over; any other bad token is 403"},
    {"site[].tokens.issuer", "a text", "", Takes::Reload, "the iss of JWTs; without it none"},
    {"site[].tokens.audience", "a text", "", Takes::Reload, "in the aud of JWTs; without it none"},
    {"site[].ttl.default", kDurations, "24h", Takes::Reload,
     "freshness where the origin says nothing", "0 to 3650d"},
    {"site[].ttl.negative", kDurations, "10s", Takes::Reload, "freshness of 404 and 410",
     "0 to 3650d"},
    {"site[].ttl.override", kDurations, "", Takes::Reload, "beats everything the origin says",
     "0 to 3650d"},
    {"site[].ttl.stale_if_error", kDurations, "24h", Takes::Reload,
     "how long an old copy may stand in for an origin that fails", "0 to 3650d"},
    {"site[].ttl.stale_while_revalidate", kDurations, "0", Takes::Reload,
     "how long an old copy is served while a new one is asked for", "0 to 3650d"},
    {"site[].cors", "`*`, an origin, a list of them, or `off`", "*", Takes::Reload,
     "whose scripts may read answers (Access-Control-Allow-Origin); the origin's own word on it is "
     "dropped unless `off`"},
    {"limits.connections", kNumber, "0", Takes::Reload,
     "of one client (IPv4 address or IPv6 /64) on one loop; 0: no limit, as for all of these",
     "0 to 1000000"},
    {"limits.requests_per_second", kNumber, "0", Takes::Reload,
     "likewise; up to 4 s of them may be saved up; over it 429", "0 to 1000000"},
    {"limits.miss_bytes_per_second", kSizes, "0", Takes::Reload,
     "what a client's misses may cost origins, up to 8 s of it saved up; over it misses are 429 "
     "and "
     "hits go on",
     "0 to 1024TiB"},
    {"limits.by", "`client`, `token`", "client", Takes::Reload,
     "requests and misses of who has a token with an id count by that, wherever they come from"},
    {"prefetch.mode", "`off`, `observe`, `on`", "off", Takes::Restart,
     "whether the recommendation feed (conf/feed.md) is read, judged, acted on"},
    {"prefetch.follow", "a path, or a list", "", Takes::Restart,
     "files and FIFOs that a feed is appended to; they may be rotated"},
    {"prefetch.bytes_per_second", kSizes, "8MiB", Takes::Reload,
     "what may be fetched from origins before it is asked for", "64KiB to 1024TiB"},
    {"prefetch.bytes_per_day", kSizes, "0", Takes::Reload, "likewise; 0: no limit", "0 to 1024TiB"},
    {"prefetch.fills", kNumber, "8", Takes::Reload, "tracks fetched at once", "1 to 64"},
    {"prefetch.ram_percent", kNumber, "10", Takes::Reload,
     "of the RAM tier, for what nobody has asked for yet", "1 to 75"},
    {"prefetch.heads_percent", kNumber, "20", Takes::Restart,
     "likewise, for the beginnings of tracks that start often: with mode `on` they stay when they "
     "would have to leave",
     "0 to 75"},
    {"prefetch.head", kDurations, "10s", Takes::Reload,
     "of a track's beginning, where the feed does not say", "100ms to 10m"},
    {"prefetch.lead", kDurations, "5m", Takes::Reload, "a track due later than this waits",
     "1s to 24h"},
    {"prefetch.rest", "`true`, `false`", "true", Takes::Reload,
     "fetch beyond the head once play is confirmed"},
    {"prefetch.probability_percent", kNumber, "5", Takes::Reload,
     "less probable tracks are not fetched", "0 to 100"},
    {"prefetch.floor_percent", kNumber, "20", Takes::Reload,
     "a model of which fewer of the bytes are used is throttled, then probed", "0 to 100"},
    {"prefetch.hints_percent", kNumber, "50", Takes::Reload,
     "of `bytes_per_second`, for what players say they ask for next (CMCD `nor`, `nrr`) and what "
     "HLS playlists name; 0: they are not listened to",
     "0 to 100"},
    {"prefetch.playlist_segments", kNumber, "2", Takes::Reload,
     "of an HLS media playlist that went through, fetched ahead of who plays it; 0: playlists are "
     "not read",
     "0 to 8"},
    {"prefetch.memory", kSizes, "32MiB", Takes::Restart,
     "plans, guesses, playlists and facts: about 600 bytes a recommended track; more are not taken",
     "1MiB to 1GiB"},
    {"prefetch.predictor", "`off`, `observe`, `on`", "observe", Takes::Restart,
     "learns from the node's own traffic what follows what, for sessions that no feed plans; `on`: "
     "fetched once its guesses have proved as precise as the floor"},
    {"prefetch.predictor_memory", kSizes, "16MiB", Takes::Restart,
     "what it may remember: 88 bytes a row", "1MiB to 1GiB"},
    {"prefetch.predictor_file", "a path", "", Takes::Restart,
     "what it learned is kept there, every ten minutes and at a stop"},
    {"prefetch.nats.servers", "`nats://HOST:PORT` or `tls://HOST:PORT`; one, or up to 16", "",
     Takes::Restart, "servers of one NATS cluster with JetStream, tried in turn"},
    {"prefetch.nats.subject", "a subject", "", Takes::Restart,
     "the feed, a line a message, and purges; a stream has to keep it"},
    {"prefetch.nats.purge_subject", "a subject", "", Takes::Restart,
     "purges come there instead, and are refused on `subject`"},
    {"prefetch.nats.stream", "letters, digits, `-`, `_`", "", Takes::Restart,
     "the stream of `subject`; without it whichever has the subject"},
    {"prefetch.nats.consumer", "1 to 64 letters, digits, `-`, `_`", "", Takes::Restart,
     "the durable consumer, of this node alone; without it `node.name`, `_` for `.`; that of "
     "`purge_subject` has `-purge` behind it"},
    {"prefetch.nats.user", "a text", "", Takes::Restart, "who we are; needs `password`"},
    {"prefetch.nats.password", "a path", "", Takes::Restart,
     "a file that holds the password; like all files here read at each connect"},
    {"prefetch.nats.token", "a path", "", Takes::Restart, "a file that holds a token"},
    {"prefetch.nats.credentials", "a path", "", Takes::Restart,
     "a `.creds` file: JWT and seed of a user"},
    {"prefetch.nats.ca", "a path", "", Takes::Restart,
     "PEM: certificates that tls servers are verified by; without it the system's"},
    {"prefetch.nats.certificate", "a path", "", Takes::Restart,
     "PEM: shown to the server; needs `key`"},
    {"prefetch.nats.key", "a path", "", Takes::Restart, "PEM: the key of `certificate`"},
    {"prefetch.nats.server_name", "a host name", "", Takes::Restart,
     "in the servers' certificates, where it is not their host"},
    {"log.access", "a path, `-` (standard output) or `off`", "off", Takes::Restart,
     "access log: one line of JSON per response; SIGHUP opens it anew"},
    {"log.sample", kNumber, "1", Takes::Reload,
     "one of so many good responses is written; every other response always is", "1 to 1000000"},
    {"log.level", "`debug`, `info`, `warning`, `error`", "info", Takes::Reload,
     "of the node's own log"},
    {"listens.count", "`true`, `false`", "false", Takes::Restart,
     "count plays, listeners and downloads per track and hour (`segue listens`); takes up to 22 "
     "MiB"},
    {"listens.bitrate", kNumber, "128", Takes::Restart,
     "kbit/s of your audio: seconds of listening are bytes delivered by this", "8 to 10000"},
};

/// Whether `key` is `pattern` with a name for NAME and numbers between brackets.
bool matches(std::string_view pattern, std::string_view key) noexcept {
  constexpr std::string_view kName = "NAME";
  while (!pattern.empty() && !key.empty()) {
    if (pattern.starts_with(kName)) {
      // Names may have dots in them; behind NAME no row has another or brackets.
      return key.ends_with(pattern.substr(kName.size()));
    }
    if (pattern.starts_with("[]")) {
      if (key.front() != '[') return false;
      pattern.remove_prefix(2);
      const size_t close = key.find(']');
      if (close == std::string_view::npos) return false;
      key.remove_prefix(close + 1);
    } else {
      if (pattern.front() != key.front()) return false;
      pattern.remove_prefix(1);
      key.remove_prefix(1);
    }
  }
  return pattern.empty() && key.empty();
}

/// Markdown code marks are bold in a man page; what troff takes for its own is escaped.
std::string troff_of(std::string_view text) {
  std::string out;
  bool in_code = false;
  for (const char c : text) {
    if (c == '`') {
      out += in_code ? "\\fR" : "\\fB";
      in_code = !in_code;
    } else if (c == '-') {
      out += "\\-";
    } else if (c == '\\') {
      out += "\\e";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

std::span<const SettingRow> settings_table() noexcept { return kRows; }

const SettingRow* find_setting(std::string_view key) noexcept {
  const auto same = [key](const SettingRow& row) { return matches(row.key, key); };
  const auto* found = std::ranges::find_if(kRows, same);
  if (found != std::ranges::end(kRows)) return found;
  // What stands in a table that is one setting: keys = { k1 = "..." }.
  const size_t dot = key.rfind('.');
  return dot == std::string_view::npos ? nullptr : find_setting(key.substr(0, dot));
}

std::string settings_man() {
  std::string text =
      ".TH SEGUE.TOML 5 \"\" \"Segue\" \"File Formats\"\n.SH NAME\n"
      "segue.toml \\- settings of a Segue node\n.SH DESCRIPTION\n"
      "A file in TOML. Tables with [] may be given again; NAME is yours to choose. Sizes are a "
      "whole\n"
      "number and B, KiB, MiB, GiB, TiB or KB, MB, GB, TB; durations a whole number and ms, s, m, "
      "h "
      "or d.\n.PP\n"
      "A reload (SIGHUP, systemctl reload) takes all that it can change, or nothing where the file "
      "has\na mistake. What needs a restart is named in the log and goes on as it was.\n"
      ".SH SETTINGS\n";
  for (const SettingRow& row : kRows) {
    text += fmt::format(".TP\n\\fB{}\\fR\n{}. Takes {}", row.key, troff_of(row.meaning),
                        troff_of(row.values));
    if (!row.range.empty()) text += fmt::format(", {}", row.range);
    if (!row.fallback.empty()) text += fmt::format("; default \\fB{}\\fR", troff_of(row.fallback));
    text += row.takes == Takes::Reload ? "; in force by a reload.\n" : "; in force by a restart.\n";
  }
  return text +
         ".SH FILES\n.I /etc/segue/segue.toml\nis a working, commented example.\n"
         ".SH SEE ALSO\n.BR segue (1)\n";
}

std::string settings_markdown() {
  std::string text =
      "# Settings\n\n"
      "Printed by `segue settings`; conf/segue.toml shows them in a file. Sizes are a whole number "
      "and B, KiB, MiB,\nGiB, TiB (powers of 1024) or KB, MB, GB, TB (of 1000); durations a whole "
      "number and ms, s, m, h or d.\n\n"
      "A reload (SIGHUP) is all or nothing: a file with a mistake changes nothing and says why. "
      "What needs a\nrestart is named in the log and goes on as it was.\n\n"
      "| setting | takes | range | default | in force by | what it is "
      "|\n|---|---|---|---|---|---|\n";
  for (const SettingRow& row : kRows) {
    text +=
        fmt::format("| `{}` | {} | {} | {}{}{} | {} | {} |\n", row.key, row.values, row.range,
                    row.fallback.empty() ? "" : "`", row.fallback, row.fallback.empty() ? "" : "`",
                    row.takes == Takes::Reload ? "reload" : "restart", row.meaning);
  }
  return text;
}

}  // namespace segue::conf
