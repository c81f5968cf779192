// edge/main.cc - the segue program: reads settings and runs a verb.
#include <algorithm>
#include <cstdio>
#include <expected>
#include <string>

#include "base/log.h"
#include "base/out_of_memory.h"
#include "base/version.h"
#include "conf/changes.h"
#include "conf/command_line.h"
#include "conf/limits_table.h"
#include "conf/load.h"
#include "conf/plan.h"
#include "conf/settings_table.h"
#include "edge/access/sign.h"
#include "edge/cli/admin_client.h"
#include "edge/cli/top.h"
#include "edge/module_options.h"
#include "edge/node/format_drive.h"
#include "edge/node/node.h"
#include "edge/node/service_manager.h"
#include "edge/node/signal_thread.h"
#include "edge/replay/replay_command.h"

namespace segue {
namespace {

using std::chrono::duration_cast;
using std::chrono::seconds;

/// Reads the settings again when told to; nothing changes unless all of them are right.
class SettingsReloader final : public edge::SignalThread::Reloader {
 public:
  SettingsReloader(const conf::Flags& flags, conf::Loaded running,
                   const edge::ServiceManager& manager)
      : flags_(flags), running_(std::move(running)), manager_(manager) {}

  void reload(edge::Node& node) override {
    if (auto done = try_reload(node); !done) {
      log_error("reload_refused", "{}; the old settings stay in force", done.error());
      manager_.notify("STATUS=reload refused, the old settings stay in force: " + done.error());
    }
  }

 private:
  std::expected<void, std::string> try_reload(edge::Node& node) {
    conf::Loaded fresh = conf::load(flags_);
    if (!fresh.is_right()) {
      for (const conf::Mistake& mistake : fresh.mistakes)
        log_error("settings_mistake", "{}", mistake.line());
      node.note_refused_reload();
      return std::unexpected(fresh.mistakes.front().line());
    }
    auto changes = conf::changes_between(running_, fresh);
    auto options =
        changes ? node_options(changes->settings, running_.plan)
                : std::expected<edge::NodeOptions, std::string>(std::unexpected(changes.error()));
    if (!options) {
      node.note_refused_reload();
      return std::unexpected(options.error());
    }
    if (auto taken = node.reload(*options); !taken) return taken;
    set_log_level(changes->settings.log.level);
    const std::string restart = conf::join(changes->needs_restart);
    log_info("reloaded", "changed={}", conf::join(changes->applied));
    if (!restart.empty())
      log_warning("reload_needs_restart", "settings={}: in force after a restart", restart);
    manager_.notify(restart.empty() ? "STATUS=serving"
                                    : "STATUS=serving; after a restart also: " + restart);
    keep(std::move(*changes), std::move(fresh.written));
    return {};
  }

  /// What runs now: settings that wait for a restart differ again at the next reload.
  void keep(conf::Changes changes, conf::Written written) {
    running_.settings = std::move(changes.settings);
    for (const std::string& key : changes.needs_restart) {
      const auto before = running_.written.find(key);
      written.erase(key);
      if (before != running_.written.end()) written.emplace(key, before->second);
    }
    running_.written = std::move(written);
  }

  const conf::Flags& flags_;
  conf::Loaded running_;
  const edge::ServiceManager& manager_;
};

int serve(const conf::Flags& flags) {
  conf::Loaded loaded = conf::load(flags);
  if (!loaded.is_right()) {
    for (const conf::Mistake& mistake : loaded.mistakes)
      std::fprintf(stderr, "segue: %s\n", mistake.line().c_str());
    return 2;
  }
  set_log_level(loaded.settings.log.level);
  const auto manager = edge::ServiceManager::from_environment();
  auto options =
      manager ? node_options(loaded.settings, loaded.plan)
              : std::expected<edge::NodeOptions, std::string>(std::unexpected(manager.error()));
  if (!options) {
    std::fprintf(stderr, "segue: %s\n", options.error().c_str());
    return 2;
  }
  options->handed_over = manager->listeners();
  if (!options->handed_over.empty() && loaded.settings.listen_is_default) {
    options->listen.clear();
    options->listen_texts.clear();
    options->listen_tls.clear();
  }
  edge::SignalThread signals;
  auto node = edge::Node::create(std::move(*options));
  if (!node) {
    std::fprintf(stderr, "segue: %s\n", node.error().c_str());
    return 1;
  }
  for (const std::string& address : (*node)->addresses())
    log_info("listening", "address={}", address);
  SettingsReloader reloader(flags, std::move(loaded), *manager);
  signals.start(**node, reloader, *manager);
  log_info("ready", "version={}", version());
  manager->notify("READY=1\nSTATUS=serving");
  (*node)->run();
  signals.stop();
  log_info("stopped", "version={}", version());
  return 0;
}

/// `segue check`: the settings, and then what they name.
conf::Outcome check_all(const conf::Flags& flags) {
  conf::Outcome outcome = conf::check(flags);
  if (outcome.exit_code != 0) return outcome;
  const conf::Settings settings = conf::load(flags).settings;
  std::vector<std::string> wrong = edge::check_tls(tls_of(settings), SystemClock());
  std::vector<origin::OriginOptions> origins;
  for (const conf::OriginSettings& origin : settings.origins)
    origins.push_back(origin_of(origin, settings.node.name));
  std::ranges::move(edge::lines_of(edge::check_origin_tls(origins, SystemClock())),
                    std::back_inserter(wrong));
  std::ranges::move(edge::check_token_keys(all_tokens_of(settings)), std::back_inserter(wrong));
  std::ranges::move(edge::NatsLink::check(nats_of(settings.prefetch.nats, settings.node.name)),
                    std::back_inserter(wrong));
  if (wrong.empty()) return outcome;
  outcome = {"", 1};
  for (const std::string& line : wrong) outcome.text += line + "\n";
  return outcome;
}

int print(const conf::Outcome& outcome) {
  std::fputs(outcome.text.c_str(), outcome.exit_code == 0 ? stdout : stderr);
  return outcome.exit_code;
}

edge::AdminPlace place_of(const conf::Address& admin) {
  return {.unix_path = admin.unix_path, .ip = admin.ip, .port = admin.port};
}

int purge(const conf::Command& command) {
  int worst = 0;
  const auto purge_all = [&](std::string_view scope, const std::vector<std::string>& urls) {
    for (const std::string& url : urls) {
      const edge::AdminCall call =
          edge::purge_call(scope, url, command.purge.soft, command.purge.cut);
      worst = std::max(worst, edge::ask_and_print(place_of(command.admin), call));
    }
  };
  purge_all("url", command.purge.urls);
  purge_all("prefix", command.purge.prefixes);
  purge_all("tag", command.purge.tags);
  return worst;
}

int sign(const conf::Command& command) {
  const conf::SignArguments& arguments = command.sign;
  const conf::TokenKeySettings& file = arguments.tokens.keys.front();
  auto key = edge::read_token_key(file.id, file.path);
  if (!key) return print({"segue: " + key.error() + "\n", 1});
  using std::chrono::floor;
  const auto now = floor<seconds>(SystemClock().wall());
  edge::SignOrder order{.form = form_of(arguments.tokens.forms.front()),
                        .url = command.url,
                        .name = arguments.tokens.name,
                        .pattern = arguments.prefix.empty() ? arguments.glob : arguments.prefix,
                        .not_before = {},
                        .client = arguments.client,
                        .preview = arguments.preview,
                        .id = arguments.listener,
                        .issuer = arguments.tokens.issuer,
                        .audience = arguments.tokens.audience};
  if (!arguments.prefix.empty()) order.scope = edge::SignOrder::Scope::Prefix;
  if (!arguments.glob.empty()) order.scope = edge::SignOrder::Scope::Glob;
  order.expires = (now + duration_cast<seconds>(arguments.valid_for)).time_since_epoch().count();
  if (arguments.valid_from)
    order.not_before =
        (now + duration_cast<seconds>(*arguments.valid_from)).time_since_epoch().count();
  auto url = edge::sign_url(order, *key);
  return print(url ? conf::Outcome{*url + "\n", 0}
                   : conf::Outcome{"segue: " + url.error() + "\n", 1});
}

int format_drive(const conf::DriveArguments& drive, bool wipe) {
  auto done = edge::format_drive({.path = drive.path,
                                  .size_bytes = drive.size_bytes,
                                  .sparse = drive.sparse,
                                  .serial = drive.serial,
                                  .shares = drive_shares_of(drive.shares),
                                  .wipe = wipe});
  if (!done) {
    std::fprintf(stderr, "segue: %s\n", done.error().c_str());
    return 1;
  }
  std::puts(done->c_str());
  return 0;
}

int write_text(const std::string& path, const std::string& text) {
  std::FILE* file = path == "-" ? stdout : std::fopen(path.c_str(), "we");
  const bool written =
      file != nullptr && std::fwrite(text.data(), 1, text.size(), file) == text.size();
  const bool closed = file == nullptr || file == stdout || std::fclose(file) == 0;
  if (written && closed) return 0;
  std::fprintf(stderr, "segue: %s cannot be written\n", path.c_str());
  return 1;
}

int replay(const conf::ReplayArguments& arguments) {
  conf::Flags flags;
  flags.config = arguments.config;
  const conf::Loaded loaded = conf::load(flags);
  if (!arguments.config.empty() && !loaded.is_right()) {
    for (const conf::Mistake& mistake : loaded.mistakes)
      std::fprintf(stderr, "segue: %s\n", mistake.line().c_str());
    return 2;
  }
  const conf::PrefetchSettings& prefetch = loaded.settings.prefetch;
  edge::ReplayCommand command;
  command.trace = arguments.trace;
  command.ram = {arguments.ram.bytes, arguments.ram.percent};
  command.ssd = {arguments.ssd.bytes, arguments.ssd.percent};
  for (const conf::CachePolicy policy : arguments.policies)
    command.policies.push_back(policy_of(policy));
  for (const conf::ReplayArguments::Feed& feed : arguments.feeds) {
    using Kind = conf::ReplayArguments::Feed::Kind;
    edge::ReplayFeed::Kind kind = edge::ReplayFeed::Kind::None;
    if (feed.kind == Kind::Learned) kind = edge::ReplayFeed::Kind::Learned;
    if (feed.kind == Kind::Oracle) kind = edge::ReplayFeed::Kind::Oracle;
    command.feeds.push_back({.kind = kind, .known = feed.percent / 100.0});
  }
  const edge::Prefetcher::Options options = prefetch_of(prefetch, 0);
  command.options.plan = options.plan;
  command.options.plan.fetches = true;  // what it would do if it were on is what is asked
  command.options.head = options.head;
  command.options.predictor = options.predictor;
  command.options.cache.probation_percent = static_cast<uint8_t>(prefetch.ram_percent);
  command.options.cache.heads_percent = static_cast<uint8_t>(prefetch.heads_percent);
  if (!loaded.settings.cache.drives.empty())
    command.options.cache.write_bytes_per_second =
        loaded.settings.cache.drives.front().writes_bytes_per_day / kSecondsPerDay;
  command.options.bytes_per_second = uint64_t{arguments.bitrate_kbits} * 1000 / 8;
  command.options.seed = arguments.seed;
  const auto output = edge::run_replays(command);
  if (!output) {
    std::fprintf(stderr, "segue: %s\n", output.error().c_str());
    return 1;
  }
  if (arguments.json != "-") std::fputs(output->table.c_str(), stdout);
  return arguments.json.empty() ? 0 : write_text(arguments.json, output->json);
}

int run(int argc, char** argv) {
  auto command = conf::parse_command_line(argc, argv);
  if (!command) return print(command.error());
  switch (command->verb) {
    case conf::Verb::Serve:
      return serve(command->flags);
    case conf::Verb::Check:
      return print(check_all(command->flags));
    case conf::Verb::Version:
      return print({fmt::format("segue {}\n", version()), 0});
    case conf::Verb::Limits:
      return std::fputs(conf::print_limits().c_str(), stdout), 0;
    case conf::Verb::Settings:
      return std::fputs(
                 (command->as_man_page ? conf::settings_man() : conf::settings_markdown()).c_str(),
                 stdout),
             0;
    case conf::Verb::Drain:
      return edge::ask_and_print(place_of(command->admin), edge::drain_call());
    case conf::Verb::Stats:
      return command->as_json ? edge::ask_and_print(place_of(command->admin), edge::stats_call())
                              : edge::print_stats(place_of(command->admin));
    case conf::Verb::Top:
      return edge::run_top(place_of(command->admin), command->every);
    case conf::Verb::Listens:
      return edge::ask_and_print(place_of(command->admin), edge::listens_call(command->as_csv));
    case conf::Verb::Explain:
      return edge::ask_and_print(place_of(command->admin), edge::explain_call(command->url));
    case conf::Verb::Purge:
      return purge(*command);
    case conf::Verb::Sign:
      return sign(*command);
    case conf::Verb::CacheFormat:
      return format_drive(command->drive, /*wipe=*/false);
    case conf::Verb::CacheWipe:
      return format_drive(command->drive, /*wipe=*/true);
    case conf::Verb::Replay:
      return replay(command->replay);
  }
}

}  // namespace
}  // namespace segue

int main(int argc, char** argv) {
  segue::end_when_out_of_memory();
  return segue::run(argc, argv);
}
