#include "edge/node/admin.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/log.h"
#include "base/version.h"
#include "edge/delivery/request_target.h"
#include "edge/fill/tags.h"
#include "edge/metrics/json.h"
#include "edge/node/node.h"
#include "edge/node/shared_parts.h"
#include "edge/node/worker.h"
#include "edge/prefetch/prefetcher.h"
#include "http/request_parser.h"

namespace segue::edge {
namespace {

/// A URL as an operator writes it, taken apart: "https://host[:port]/path?query", "//host/path" or
/// "/path" (the one site there is).
struct UrlParts {
  const Site* site = nullptr;
  std::string_view origin_form;
};

Result<UrlParts> parse_url(std::string_view url, const SiteTable& sites) {
  UrlParts parts;
  if (url.starts_with('/') && !url.starts_with("//")) {
    if (sites.sites().size() != 1)
      return fail(Side::Client, Kind::Malformed,
                  "several sites: name the host, as in https://host/path");
    parts.site = sites.sites().front().get();
    parts.origin_form = url;
    return parts;
  }
  const size_t authority = url.find("//");
  if (authority == std::string_view::npos)
    return fail(Side::Client, Kind::Malformed, "no URL: https://host/path or /path");
  url.remove_prefix(authority + 2);
  const size_t path = std::min(url.find('/'), url.size());
  const auto host = http::parse_host_port(url.substr(0, path));
  if (!host) return fail(Side::Client, Kind::Malformed, "no valid host in the URL");
  parts.site = sites.find(host->host);
  if (parts.site == nullptr) return fail(Side::Client, Kind::NotFound, "no site has this host");
  parts.origin_form = path < url.size() ? url.substr(path) : std::string_view("/");
  return parts;
}

Result<std::string> key_text_of(std::string_view url, const SiteTable& sites) {
  auto parts = parse_url(url, sites);
  if (!parts) return fail(parts.error());
  std::array<char, kKeyBytesMax> scratch;
  std::array<char, kKeyBytesMax> out;
  auto text = write_key_text(*parts->site, parts->origin_form, scratch, out);
  if (!text)
    return fail(Side::Client, Kind::Malformed,
                text.error().kind == Kind::Full ? "the URL is too long" : "the path is not valid");
  return std::string(text->key_text);
}

std::string_view word_of(cache::Where where) {
  switch (where) {
    case cache::Where::Resident:
      return "ram";
    case cache::Where::Filling:
      return "filling";
    case cache::Where::OnDrive:
      return "drive";
    case cache::Where::Absent:
      return "absent";
  }
  return "?";
}

/// A look per slice on the loop: of longer representations the first gigabyte is told.
constexpr uint32_t kSlicesExplainedMax = 4096;

/// "0-3 ram, 4-9 drive, 10-239 absent"
std::string describe_slices(const cache::Store& store, const cache::Generation& generation) {
  std::string text;
  const uint32_t shown = std::min(generation.slices(), kSlicesExplainedMax);
  for (uint32_t slice = 0; slice < shown;) {
    const cache::Where where = store.where(generation, cache::SliceIndex{slice});
    uint32_t last = slice;
    while (last + 1 < shown && store.where(generation, cache::SliceIndex{last + 1}) == where)
      ++last;
    text += fmt::format("{}{}-{} {}", text.empty() ? "" : ", ", slice, last, word_of(where));
    slice = last + 1;
  }
  if (shown < generation.slices()) text += ", ...";
  return text.empty() ? "none (empty)" : text;
}

std::string describe_freshness(const StoredResponse& response, bool stale_by_purge, WallTime now) {
  const StoredResponse::Parts& parts = response.parts();
  if (stale_by_purge) return "stale: soft purge; the next request revalidates";
  if (parts.no_cache) return "no-cache: every request revalidates";
  const auto ttl = response.ttl(now).count();
  if (ttl > 0)
    return fmt::format("fresh for {} s more (age {} s of {} s)", ttl, response.age(now).count(),
                       parts.lifetime.count());
  return fmt::format("stale for {} s; the next request revalidates (it would miss by \"stale\")",
                     -ttl);
}

/// Of tags only hashes are kept.
std::string describe_tags(const cache::Generation& generation) {
  const auto tags = generation.tag_hashes();
  if (tags.empty()) return "tags: none\n";
  return fmt::format("tags: {} (hashes {:016x})\n", tags.size(), fmt::join(tags, ", "));
}

std::string describe(const cache::Store& store, const cache::Selected& selected, WallTime now) {
  const auto& response = static_cast<const StoredResponse&>(*selected.facts);
  const cache::Generation& generation = *selected.generation;
  std::string text =
      fmt::format("generation: {}\nstatus: {}\ncomplete length: {}\n", generation.id().value,
                  response.parts().status, generation.complete_length());
  switch (response.parts().form) {
    case StoredResponse::Form::VaryList:
      return text + "form: has variants; each is a key of its own\n";
    case StoredResponse::Form::Pass:
      return text + "form: not storable; requests are passed to the origin one by one\n";
    case StoredResponse::Form::Negative:
      text += "form: negative answer\n";
      break;
    case StoredResponse::Form::Normal:
      break;
  }
  text += fmt::format("etag: {}\nvalidator: {}\nfreshness: {}\n",
                      response.parts().etag.empty() ? "none" : response.parts().etag,
                      response.parts().strong_validator
                          ? "strong"
                          : "weak or none: slices come from one response only",
                      describe_freshness(response, selected.stale_by_purge, now));
  text += fmt::format("slices: {}\n", describe_slices(store, generation));
  text += describe_tags(generation);
  return text;
}

/// The latest of what the loops remember: a key's requests come in on any of them.
std::string describe_last_miss(const std::vector<const MissNotes*>& loops, KeyHash key) {
  std::optional<MissNote> last;
  for (const MissNotes* notes : loops) {
    const auto note = notes->find(key);
    if (note && (!last || note->when >= last->when)) last = note;
  }
  if (!last) return "last miss: none remembered\n";
  const std::string slices =
      last->slices_needed == 0
          ? ""
          : fmt::format("; {} of {} slices were here", last->slices_hit, last->slices_needed);
  const auto when = std::chrono::floor<std::chrono::seconds>(last->when);
  return fmt::format("last miss: {:%Y-%m-%dT%H:%M:%SZ} by \"{}\" ({}, status {}{})\n", when,
                     last->reason, name_of(last->result), last->status, slices);
}

}  // namespace

NodeReadiness NodeActions::ready() const {
  if (stopping_) return {false, "stopping"};
  if (draining_) return {false, "draining"};
  return {true, "serving"};
}

std::string NodeActions::node_json() const {
  std::string text = "{\"name\":";
  append_json_string(name_, text);
  text += ",\"version\":";
  append_json_string(version(), text);
  const auto append_list = [&text](std::string_view name, const auto& list,
                                   const auto& word_of_one) {
    text += fmt::format(",\"{}\":[", name);
    for (const auto& one : list) {
      if (text.back() != '[') text += ',';
      append_json_string(word_of_one(one), text);
    }
    text += ']';
  };
  append_list("listen", addresses_, [](const std::string& address) { return address; });
  append_list("sites", shared_.sites->sites(), [](const auto& site) { return site->name; });
  return text + fmt::format(",\"listens\":{}}}\n", shared_.listens != nullptr);
}

std::optional<std::string> NodeActions::listens(bool csv) const {
  if (!shared_.listens) return std::nullopt;
  return csv ? shared_.listens->csv() : shared_.listens->json_lines();
}

Task<Result<PurgeOutcome>> NodeActions::purge(PurgeRequest request) {
  cache::PurgeStatement statement;
  statement.soft = request.soft;
  if (request.target == PurgeTarget::Everything) {
    statement.scope = cache::PurgeScope::Everything;
  } else if (request.target == PurgeTarget::Tag) {
    statement.scope = cache::PurgeScope::Tag;
    statement.key = hash_tag(*shared_.store, request.text);
  } else {
    auto key_text = key_text_of(request.text, *shared_.sites);
    if (!key_text) co_return fail(key_text.error());
    if (request.target == PurgeTarget::Url) {
      statement.scope = cache::PurgeScope::Key;
      statement.key = shared_.store->hash(*key_text);
    } else {
      // Without its query a prefix would name more than was asked for (/a? also /abc).
      if (request.text.contains('?') && !key_text->contains('?'))
        co_return fail(Side::Client, Kind::Malformed,
                       "the query of this prefix is no part of any key: leave it out");
      statement.scope = cache::PurgeScope::Prefix;
      statement.prefix = std::move(*key_text);
    }
  }
  statement.sequence = shared_.store->next_sequence();
  const PurgeOutcome outcome{.sequence = statement.sequence.value};
  auto purged = co_await worker_.local().purge(std::move(statement), request.cut);
  if (!purged) co_return fail(purged.error());
  log_info("purged", "sequence={} target={} soft={} cut={}", outcome.sequence,
           request.target == PurgeTarget::Everything ? "everything" : request.text, request.soft,
           request.cut);
  co_return outcome;
}

Task<Result<std::string>> NodeActions::explain(std::string url) {
  // A reload may change the sites while the record is read.
  const Ref<const SiteTable> sites = shared_.sites;
  auto key_text = key_text_of(url, *sites);
  if (!key_text) co_return fail(key_text.error());
  cache::Store& store = *shared_.store;
  const KeyHash key = store.hash(*key_text);
  auto found = store.look_up(key, *key_text);
  if (found.known == cache::Store::Known::OnDrive) {
    // On any error the key is unknown, which the second look-up says.
    (void)co_await worker_.local().load(key, worker_.loop().now() + std::chrono::seconds{5});
    found = store.look_up(key, *key_text);
  }
  std::string text = fmt::format("key: {}\nkey hash: {:016x}{:016x}\nsite: {}\n", *key_text,
                                 key.high, key.low, parse_url(url, *sites)->site->name);
  if (found.known != cache::Store::Known::Yes) {
    co_return text +
        "known: no; the next request misses by \"uri-miss\": never asked for, evicted, purged or "
        "replaced\n" +
        describe_last_miss(shared_.misses, key);
  }
  text += describe(store, found.selected, worker_.loop().wall_now());
  co_return text + describe_last_miss(shared_.misses, key);
}

FeedOutcome NodeActions::feed(std::string_view lines) {
  FeedOutcome outcome;
  outcome.off = prefetcher_ == nullptr;
  while (!outcome.off && !lines.empty()) {
    const size_t end = std::min(lines.find('\n'), lines.size());
    std::string_view line = lines.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) {
      switch (prefetcher_->take_line(PrefetchSource::Post, line, outcome.read + 1)) {
        case Prefetcher::Line::Taken:
          ++outcome.taken;
          break;
        case Prefetcher::Line::Malformed:
        case Prefetcher::Line::Purge:  // never: purges have their own way in here
          ++outcome.malformed;
          break;
        case Prefetcher::Line::TooFast:
          outcome.too_fast = true;
          return outcome;
      }
    }
    ++outcome.read;
    lines.remove_prefix(std::min(end + 1, lines.size()));
  }
  return outcome;
}

AdminListener::AdminListener(const NodeOptions& options, SharedParts& shared, Worker& worker,
                             const std::vector<std::string>& addresses)
    : options_(options), worker_(worker), actions_(shared, worker, options.name, addresses) {
  if (!options_.admin) return;
  const Loop::Turn turn(worker_.loop());
  handler_ = std::make_unique<AdminHandler>(worker_.loop(), shared.registry, actions_,
                                            AdminHandler::Options{});
  server_ = std::make_unique<Server>(worker_.loop(), *handler_,
                                     ConnectionLimits{.connections_max = kAdminRequestsMax});
  register_metrics(shared.registry, handler_->counters());
  register_metrics(shared.registry, server_->counters(), "admin");
}

AdminListener::~AdminListener() {
  const Loop::Turn turn(worker_.loop());
  server_.reset();
  handler_.reset();
}

std::expected<void, std::string> AdminListener::listen(std::vector<int>& handed_over) {
  if (!server_) return {};
  const Loop::Turn turn(worker_.loop());
  const auto given =
      std::ranges::find_if(handed_over, [this](int fd) { return options_.admin->is_of(fd); });
  if (given != handed_over.end()) {
    log_info("admin_listening", "address={} handed_over=true", listening_at(*given));
    server_->listen(*given);
    handed_over.erase(given);
    return {};
  }
  own_socket_ = true;
  auto listener = open_listener(*options_.admin);
  if (!listener)
    return std::unexpected(fmt::format("admin listener: {}: {}", listener.error().where,
                                       strerror(listener.error().os_errno)));
  log_info("admin_listening", "address={}", listening_at(*listener));
  server_->listen(*listener);
  return {};
}

Task<void> AdminListener::drain() {
  actions_.stop();
  if (!server_) co_return;
  if (own_socket_) options_.admin->remove_socket_file();
  co_await server_->drain(std::chrono::seconds{1});
  co_await handler_->drain();
}

}  // namespace segue::edge
