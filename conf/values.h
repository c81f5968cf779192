// conf/values.h - the values a setting can take: one rule per kind, shared by the file and the
// flags, so that both accept and refuse the same.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "conf/parse_units.h"
#include "conf/settings.h"

namespace segue::conf {

/// How one kind of value is read, and the words that say what is allowed.
template <class T>
struct Rule {
  std::optional<T> (*parse)(std::string_view text);
  std::string_view allowed;
};

[[nodiscard]] std::optional<Address> parse_address(std::string_view text);
[[nodiscard]] std::optional<Server> parse_server(std::string_view text);
[[nodiscard]] std::optional<NatsServer> parse_nats_server(std::string_view text);
[[nodiscard]] std::optional<std::string> parse_nats_subject(std::string_view text);
[[nodiscard]] std::optional<std::string> parse_nats_name(std::string_view text);
[[nodiscard]] std::optional<std::string> parse_text(std::string_view text);
[[nodiscard]] std::optional<uint32_t> parse_threads(std::string_view text);
[[nodiscard]] std::optional<IoBackend> parse_io(std::string_view text);
[[nodiscard]] std::optional<CachePolicy> parse_policy(std::string_view text);
[[nodiscard]] std::optional<PrefetchMode> parse_prefetch_mode(std::string_view text);
[[nodiscard]] std::optional<ValidatorRule> parse_validator(std::string_view text);
[[nodiscard]] std::optional<LogLevel> parse_level(std::string_view text);
[[nodiscard]] std::optional<std::string> parse_node_name(std::string_view text);
[[nodiscard]] std::optional<std::string> parse_site_name(std::string_view text);
[[nodiscard]] std::optional<std::string> parse_host(std::string_view text);
[[nodiscard]] std::optional<std::string> parse_site_host(std::string_view text);
[[nodiscard]] std::optional<std::string> parse_path(std::string_view text);
[[nodiscard]] std::optional<std::string> parse_query_name(std::string_view text);
[[nodiscard]] std::optional<std::string> parse_field_name(std::string_view text);
[[nodiscard]] std::optional<std::string> parse_tag_field(std::string_view text);
[[nodiscard]] std::optional<std::string> parse_method(std::string_view text);
[[nodiscard]] std::optional<std::string> parse_cors(std::string_view text);
[[nodiscard]] std::optional<TokenForm> parse_token_form(std::string_view text);
[[nodiscard]] std::optional<std::string> parse_token_name(std::string_view text);
[[nodiscard]] std::optional<std::string> parse_key_id(std::string_view text);
[[nodiscard]] std::optional<LimitBy> parse_limit_by(std::string_view text);
[[nodiscard]] std::optional<bool> parse_tls12(std::string_view text);
[[nodiscard]] std::optional<bool> parse_refuse(std::string_view text);

inline constexpr Rule<uint64_t> kSize{parse_size, kSizeAllowed};
inline constexpr Rule<milliseconds> kDuration{parse_duration, kDurationAllowed};
inline constexpr Rule<Address> kAddress{
    parse_address, "\"127.0.0.1:8080\", \"[::1]:8080\" or \"unix:/path\" (addresses, not names)"};
inline constexpr Rule<Server> kServer{
    parse_server, "\"http://host[:port][/path]\", \"https://host[:port][/path]\" or \"dir:PATH\""};
inline constexpr Rule<NatsServer> kNatsServer{
    parse_nats_server, "\"nats://host[:port]\" or \"tls://host[:port]\" (no user, no password)"};
inline constexpr Rule<std::string> kNatsSubject{
    parse_nats_subject, "a subject such as \"segue.feed\", at most 255 characters"};
inline constexpr Rule<std::string> kNatsName{parse_nats_name,
                                             "1 to 64 letters, digits, \"-\" and \"_\""};
inline constexpr Rule<std::string> kText{parse_text, "1 to 128 printable characters"};
inline constexpr Rule<uint32_t> kThreads{parse_threads, "a whole number, 0 for one per core"};
inline constexpr Rule<IoBackend> kIo{parse_io, "\"auto\", \"uring\" or \"threads\""};
inline constexpr Rule<CachePolicy> kPolicy{parse_policy, "\"lru\" or \"s3fifo\""};
inline constexpr Rule<PrefetchMode> kPrefetchMode{parse_prefetch_mode,
                                                  "\"off\", \"observe\" or \"on\""};
inline constexpr Rule<ValidatorRule> kValidator{parse_validator,
                                                "\"etag\", \"mtime\" or \"length\""};
inline constexpr Rule<LogLevel> kLevel{parse_level,
                                       "\"debug\", \"info\", \"warning\" or \"error\""};
inline constexpr Rule<std::string> kNodeName{
    parse_node_name, "1 to 64 letters, digits, \"-\", \"_\" and \".\", a letter first"};
inline constexpr Rule<std::string> kSiteName{
    parse_site_name, "1 to 64 lower-case letters, digits, \"-\", \"_\" and \".\""};
inline constexpr Rule<std::string> kHost{parse_host,
                                         "a host name such as \"media.example.com\", no port"};
inline constexpr Rule<std::string> kSiteHost{
    parse_site_host, "a host name such as \"audio.example.com\" without port, or \"*\""};
inline constexpr Rule<std::string> kPath{parse_path, "a path"};
inline constexpr Rule<std::string> kQueryName{parse_query_name,
                                              "the name of a query parameter such as \"v\""};
inline constexpr Rule<std::string> kFieldName{
    parse_field_name,
    "a request field that Segue does not make itself, such as \"authorization\", or \"*\""};
inline constexpr Rule<std::string> kTagField{
    parse_tag_field, "a response field that holds cache tags, such as \"surrogate-key\""};
inline constexpr Rule<std::string> kMethod{
    parse_method,
    "a method to relay such as \"POST\" (not GET, HEAD, OPTIONS, CONNECT, TRACE), or \"*\""};
inline constexpr Rule<TokenForm> kTokenForm{parse_token_form,
                                            "\"segue\", \"edgeauth\", \"expires\" or \"jwt\""};
inline constexpr Rule<std::string> kTokenName{
    parse_token_name,
    "a name such as \"token\" (letters, digits, \"-\", \"_\") that no request field has"};
inline constexpr Rule<std::string> kKeyId{parse_key_id, "1 to 32 letters, digits, \"-\" and \"_\""};
inline constexpr Rule<AddressRange> kNetwork{
    &AddressRange::parse, "an address or network such as \"192.0.2.0/24\" or \"2001:db8::/32\""};
inline constexpr Rule<LimitBy> kLimitBy{parse_limit_by, "\"client\" or \"token\""};
inline constexpr Rule<bool> kTls12{parse_tls12, "\"1.2\" or \"1.3\""};
inline constexpr Rule<bool> kRefuse{parse_refuse, "\"default\" or \"refuse\""};
inline constexpr Rule<std::string> kCors{
    parse_cors, "\"*\", origins such as \"https://player.example\", or \"off\""};

}  // namespace segue::conf
