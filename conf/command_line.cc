#include "conf/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/version.h"
#include "conf/mistake.h"
#include "conf/values.h"

namespace segue::conf {
namespace {

constexpr int kWrongUse = 2;
constexpr std::chrono::milliseconds kTopEveryMin{100}, kTopEveryMax{3'600'000};

/// What CLI11 fills; texts are read by the rules of conf/values.h afterwards.
struct Words {
  Command command;
  std::string admin;             // --admin of the verbs that talk to a node
  std::string node_config;       // --config of the same
  std::string size;              // cache format --size
  std::string every;             // top --every
  std::vector<uint32_t> shares;  // --shares of cache format and wipe
  ReplayWords replay;
  // sign
  std::string key_file;
  std::string key_id;
  std::string form;
  std::string token_name;
  std::string valid_for;
  std::string valid_from;
};

constexpr const char* kFooter =
    "\nFirst steps:\n"
    "  segue serve --origin dir:/srv/music --cache /var/cache/segue\n"
    "  segue serve --config /etc/segue/segue.toml\n"
    "  segue check /etc/segue/segue.toml\n"
    "`segue VERB --help` explains the flags of one verb.\n";

void add_serve(CLI::App& app, Words& words) {
  CLI::App* serve = app.add_subcommand("serve", "Run the node until it is told to stop");
  Flags& flags = words.command.flags;
  serve->add_option("--config", flags.config, "Settings file; a flag wins over its setting")
      ->type_name("FILE");
  serve->add_option("--listen", flags.listen, "Where clients connect (default 127.0.0.1:8080)")
      ->type_name("IP:PORT|unix:PATH");
  serve->add_option("--origin", flags.origin, "Where audio comes from; again for failover")
      ->type_name("URL|dir:PATH");
  serve
      ->add_option("--cache", flags.cache, "Folder, file or device of the SSD tier; again for more")
      ->type_name("PATH");
  serve->add_option("--cache-size", flags.cache_size, "Of a cache in a folder or file (10GiB)")
      ->type_name("SIZE");
  serve->add_flag("--sparse", flags.sparse, "Do not preallocate cache files");
  serve->add_option("--ram", flags.ram, "Memory of the whole process (1GiB)")->type_name("SIZE");
  serve->add_option("--admin", flags.admin, "Admin listener: metrics, purge, drain (none)")
      ->type_name("IP:PORT|unix:PATH");
  serve->add_option("--threads", flags.threads, "Event loops (one per core)")->type_name("N");
  serve->add_option("--io", flags.io, "How drives are read: auto, uring or threads")
      ->type_name("HOW");
}

/// Flags of a verb that asks a running node.
CLI::App* add_asking(CLI::App& app, Words& words, const char* name, const char* what) {
  CLI::App* verb = app.add_subcommand(name, what);
  CLI::Option* admin = verb->add_option("--admin", words.admin,
                                        fmt::format("Its admin listener ({})", kAdminDefault))
                           ->type_name("IP:PORT|unix:PATH");
  verb->add_option("--config", words.node_config, "Take the address from this settings file")
      ->type_name("FILE")
      ->excludes(admin);
  return verb;
}

void add_node_verbs(CLI::App& app, Words& words) {
  CLI::App* explain = add_asking(app, words, "explain", "How a node sees a URL: key, slices, age");
  explain->add_option("URL", words.command.url, "As a client would ask for it")->required();
  CLI::App* purge = add_asking(app, words, "purge", "Forget stored audio, by URL, prefix or tag");
  PurgeArguments& arguments = words.command.purge;
  purge->add_option("--url", arguments.urls, "One representation with its variants; again for more")
      ->type_name("URL");
  purge->add_option("--prefix", arguments.prefixes, "All that begin so; again for more")
      ->type_name("URL");
  purge->add_option("--tag", arguments.tags, "All that carried this cache tag; again for more")
      ->type_name("TAG");
  purge->add_flag("--soft", arguments.soft, "Make it stale instead: revalidated when asked for");
  purge->add_flag("--cut", arguments.cut, "Also end responses that have begun");
  add_asking(app, words, "drain", "Say not ready, serve on until the players are gone, end");
  CLI::App* listens =
      add_asking(app, words, "listens", "Plays, listeners and downloads, as lines of JSON");
  listens->add_flag("--csv", words.command.as_csv, "As CSV");
  CLI::App* top = add_asking(app, words, "top", "What an operator looks at first, live; q quits");
  top->add_option("--every", words.every, "How often it looks (2s)")->type_name("TIME");
  CLI::App* stats = add_asking(app, words, "stats", "The same once, since the node's start");
  stats->add_flag("--json", words.command.as_json, "Every number there is, as JSON");
}

void add_cache(CLI::App& app, Words& words) {
  CLI::App* cache = app.add_subcommand("cache", "Prepare or empty a drive while no node uses it");
  cache->require_subcommand(1);
  DriveArguments& drive = words.command.drive;
  CLI::App* format = cache->add_subcommand("format", "Write an empty cache to a file or device");
  CLI::App* wipe = cache->add_subcommand("wipe", "Forget all that is stored on a drive");
  for (CLI::App* verb : {format, wipe}) {
    verb->add_option("PATH", drive.path, "Folder, file or block device")->required();
    verb->add_option("--shares", words.shares,
                     "Slots of 64, 128, 256 KiB in parts of 100 (4,16,80)")
        ->type_name("N,N,N")
        ->delimiter(',')
        ->expected(3);
  }
  format
      ->add_option("--serial", drive.serial,
                   "Serial number of a device that carries something else: it is meant")
      ->type_name("SERIAL");
  format->add_option("--size", words.size, "Of a file; a device is taken whole")->type_name("SIZE");
  format->add_flag("--sparse", drive.sparse, "Do not preallocate a file");
}

void add_replay(CLI::App& app, Words& words) {
  CLI::App* replay =
      app.add_subcommand("replay", "Play a trace against cache and planner: what would be a hit");
  ReplayArguments& arguments = words.command.replay;
  replay
      ->add_option("TRACE", arguments.trace,
                   "CSV with the columns user, end_unix, ms_played and track; - reads it from "
                   "standard input")
      ->required();
  replay->add_option("--ram", words.replay.ram, "Buffers, or a part of all tracks together (10%)")
      ->type_name("SIZE|N%");
  replay->add_option("--ssd", words.replay.ssd, "Drive, or a part of all tracks together (none)")
      ->type_name("SIZE|N%");
  replay->add_option("--policy", words.replay.policies, "Again for more (lru and s3fifo)")
      ->type_name("lru|s3fifo");
  replay
      ->add_option(
          "--feed", words.replay.feeds,
          "Who says what comes next; again for more (none, learned, oracle:100, oracle:61)")
      ->type_name("none|learned[:N]|oracle:N");
  replay->add_option("--bitrate", arguments.bitrate_kbits, "Of the music, kbit/s (160)")
      ->type_name("N")
      ->check(CLI::Range(8, 100'000));
  replay->add_option("--config", arguments.config, "Take [prefetch] from this settings file")
      ->type_name("FILE");
  replay->add_option("--json", arguments.json, "Also write JSON to FILE; -: instead of the table")
      ->type_name("FILE");
  replay->add_option("--seed", arguments.seed, "Of what is drawn by lot (1)")->type_name("N");
}

void add_sign(CLI::App& app, Words& words) {
  CLI::App* sign = app.add_subcommand("sign", "Make a signed URL for a site with tokens");
  SignArguments& arguments = words.command.sign;
  sign->add_option("URL", words.command.url, "What may be asked for")->required();
  CLI::Option* config =
      sign->add_option("--config", words.node_config, "Take key, form and name from its site")
          ->type_name("FILE");
  sign->add_option("--key", words.key_file, "The file with the key")
      ->type_name("FILE")
      ->excludes(config);
  sign->add_option("--key-id", words.key_id, "Its name in the settings (k1, or the site's first)")
      ->type_name("ID");
  sign->add_option("--form", words.form, "segue (default), edgeauth, expires or jwt")
      ->type_name("FORM");
  sign->add_option("--name", words.token_name, "Of the query parameter (token)")->type_name("NAME");
  sign->add_option("--for", words.valid_for, "How long it is valid (24h)")->type_name("DURATION");
  sign->add_option("--from", words.valid_from, "Valid only after that long")->type_name("DURATION");
  CLI::Option* prefix =
      sign->add_option("--prefix", arguments.prefix, "For all paths that begin so")
          ->type_name("PATH");
  sign->add_option("--glob", arguments.glob,
                   "For all paths of this pattern: * in a segment, ** anywhere (edgeauth: an acl)")
      ->type_name("PATTERN")
      ->excludes(prefix);
  sign->add_option("--client", arguments.client, "For this address or network alone")
      ->type_name("IP");
  sign->add_option("--preview", arguments.preview,
                   "No more than the first bytes (480000) or seconds of a bitrate (30s@160k)")
      ->type_name("LENGTH");
  sign->add_option("--id", arguments.listener, "Whom it is for; limits may go by it")
      ->type_name("TEXT");
}

void add_local_verbs(CLI::App& app, Words& words) {
  CLI::App* check = app.add_subcommand("check", "Read a settings file; print mistakes or the plan");
  check->add_option("FILE", words.command.flags.config, "The settings file")->required();
  app.add_subcommand("limits", "Every bound of this build, and the memory it can cost");
  CLI::App* settings =
      app.add_subcommand("settings", "Every setting with its values and default, as Markdown");
  settings->add_flag("--man", words.command.as_man_page, "As segue.toml(5)");
  app.add_subcommand("version", "Print the version");
}

Verb verb_of(const CLI::App& app) {
  constexpr std::pair<const char*, Verb> kVerbs[] = {
      {"serve", Verb::Serve},       {"check", Verb::Check},   {"explain", Verb::Explain},
      {"purge", Verb::Purge},       {"drain", Verb::Drain},   {"stats", Verb::Stats},
      {"top", Verb::Top},           {"limits", Verb::Limits}, {"listens", Verb::Listens},
      {"settings", Verb::Settings}, {"replay", Verb::Replay}, {"sign", Verb::Sign}};
  for (const auto& [name, verb] : kVerbs) {
    if (app.got_subcommand(name)) return verb;
  }
  if (!app.got_subcommand("cache")) return Verb::Version;
  return app.get_subcommand("cache")->got_subcommand("format") ? Verb::CacheFormat
                                                               : Verb::CacheWipe;
}

std::unexpected<Outcome> wrong(std::string_view text) {
  return std::unexpected(Outcome{fmt::format("segue: {}\n", text), kWrongUse});
}

/// The admin address: --admin, else that of the file, else the default.
std::expected<Address, Outcome> find_admin(const Words& words) {
  if (!words.node_config.empty()) {
    Flags flags;
    flags.config = words.node_config;
    const Loaded loaded = load(flags);
    if (!loaded.is_right()) return wrong(loaded.mistakes.front().line());
    if (!loaded.settings.admin) {
      return wrong(fmt::format("{} has no admin.listen", words.node_config));
    }
    return *loaded.settings.admin;
  }
  const std::string text = words.admin.empty() ? kAdminDefault : words.admin;
  if (auto address = parse_address(text)) return *address;
  return wrong(
      fmt::format("--admin: \"{}\" is not allowed here; allowed: {}", text, kAddress.allowed));
}

std::string host_of(std::string_view url) {
  const size_t scheme = url.find("://");
  if (scheme == std::string_view::npos) return {};
  url.remove_prefix(scheme + 3);
  std::string host(url.substr(0, url.find_first_of("/?")));
  if (const size_t port = host.rfind(':'); port != std::string::npos && !host.ends_with(']'))
    host.resize(port);
  std::ranges::transform(host, host.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return host;
}

/// The tokens of the site that the URL is for.
std::expected<TokenSettings, Outcome> find_tokens(const Words& words) {
  Flags flags;
  flags.config = words.node_config;
  const Loaded loaded = load(flags);
  if (!loaded.is_right()) return wrong(loaded.mistakes.front().line());
  const std::string host = host_of(words.command.url);
  const SiteSettings* found = nullptr;
  for (const SiteSettings& site : loaded.settings.sites) {
    const auto has = [&](const char* name) {
      return std::ranges::find(site.hosts, name) != site.hosts.end();
    };
    const bool any = has("*") || (host.empty() && !site.tokens.keys.empty());
    if (has(host.c_str()) || (found == nullptr && any)) found = &site;
  }
  if (found == nullptr || found->tokens.keys.empty())
    return wrong(fmt::format("no site of {} with tokens is for that URL", words.node_config));
  return found->tokens;
}

template <class T>
std::expected<void, Outcome> read_flag(const char* flag, const std::string& text, T& out,
                                       const Rule<T>& rule) {
  if (text.empty()) return {};
  auto value = rule.parse(text);
  if (!value)
    return wrong(
        fmt::format("{}: \"{}\" is not allowed here; allowed: {}", flag, text, rule.allowed));
  out = std::move(*value);
  return {};
}

std::expected<void, Outcome> finish_sign(Words& words) {
  SignArguments& sign = words.command.sign;
  if (!words.node_config.empty()) {
    auto tokens = find_tokens(words);
    if (!tokens) return std::unexpected(tokens.error());
    sign.tokens = std::move(*tokens);
  } else {
    if (words.key_file.empty())
      return wrong("sign: say which key, with --key FILE or --config FILE");
    sign.tokens.keys = {{words.key_id.empty() ? "k1" : words.key_id, words.key_file}};
  }
  const auto key = std::ranges::find(sign.tokens.keys, words.key_id, &TokenKeySettings::id);
  if (!words.key_id.empty() && key == sign.tokens.keys.end())
    return wrong(fmt::format("--key-id: the site has no key \"{}\"", words.key_id));
  sign.tokens.keys = {words.key_id.empty() ? sign.tokens.keys.front() : *key};
  TokenForm form = sign.tokens.forms.front();
  milliseconds from{-1};
  for (auto read : {read_flag("--form", words.form, form, kTokenForm),
                    read_flag("--name", words.token_name, sign.tokens.name, kTokenName),
                    read_flag("--for", words.valid_for, sign.valid_for, kDuration),
                    read_flag("--from", words.valid_from, from, kDuration)}) {
    if (!read) return std::unexpected(read.error());
  }
  if (from >= milliseconds{0}) sign.valid_from = from;
  sign.tokens.forms = {form};
  return {};
}

std::expected<Command, Outcome> finish(Words& words) {
  Command& command = words.command;
  const Verb verb = command.verb;
  if (verb == Verb::Purge && command.purge.urls.empty() && command.purge.prefixes.empty() &&
      command.purge.tags.empty()) {
    return wrong("purge: say what, with --url URL, --prefix URL or --tag TAG");
  }
  if (!words.size.empty()) {
    const auto size = parse_size(words.size);
    if (!size || *size == 0) {
      return wrong(
          fmt::format("--size: \"{}\" is not allowed here; allowed: {}", words.size, kSizeAllowed));
    }
    command.drive.size_bytes = *size;
  }
  if (!words.every.empty()) {
    const auto every = parse_duration(words.every);
    if (!every || *every < kTopEveryMin || *every > kTopEveryMax)
      return wrong(
          fmt::format("--every: \"{}\" is not allowed here; allowed: 100ms to 1h", words.every));
    command.every = *every;
  }
  if (!words.shares.empty()) {
    ShareSettings& shares = command.drive.shares;
    shares = {.k64 = words.shares[0], .k128 = words.shares[1], .k256 = words.shares[2]};
    if (shares.sum() != 100 || shares.k256 == 0) {
      return wrong("--shares: allowed: three parts of 100 that add up to 100, the last not 0");
    }
  }
  if (verb == Verb::Replay) {
    if (auto read = read_replay_words(words.replay, command.replay); !read)
      return wrong(read.error());
  }
  if (verb == Verb::Sign) {
    if (auto sign = finish_sign(words); !sign) return std::unexpected(sign.error());
  }
  const bool asks_node = verb == Verb::Explain || verb == Verb::Purge || verb == Verb::Drain ||
                         verb == Verb::Stats || verb == Verb::Top || verb == Verb::Listens;
  if (asks_node) {
    auto admin = find_admin(words);
    if (!admin) return std::unexpected(admin.error());
    command.admin = std::move(*admin);
  }
  return std::move(command);
}

/// CLI11 says only that a subcommand is missing where the one that was given is none.
std::optional<std::string> unknown_verb(const CLI::App& app, int argc, const char* const* argv) {
  const CLI::App* at = &app;
  std::string said;
  for (int i = 1; i < argc && !at->get_subcommands({}).empty(); ++i) {
    const std::string word = argv[i];
    if (word.starts_with('-')) {
      if (at->get_option_no_throw(word) != nullptr || word == "-h") return std::nullopt;
      return fmt::format("there is no option \"{}\" in front of a command", word);
    }
    std::vector<std::string> known;
    const CLI::App* next = nullptr;
    for (const CLI::App* verb : at->get_subcommands({})) {
      known.push_back(verb->get_name());
      if (verb->get_name() == word) next = verb;
    }
    if (next == nullptr)
      return fmt::format("there is no command \"{}{}\"{}", said, word, did_you_mean(word, known));
    said += word + " ";
    at = next;
  }
  return std::nullopt;
}

}  // namespace

std::expected<Command, Outcome> parse_command_line(int argc, const char* const* argv) {
  CLI::App app("Segue: a CDN edge node for audio", "segue");
  Words words;
  app.footer(kFooter);
  app.require_subcommand(1);
  app.set_version_flag("--version", fmt::format("segue {}", version()));
  add_serve(app, words);
  add_node_verbs(app, words);
  add_cache(app, words);
  add_replay(app, words);
  add_local_verbs(app, words);
  add_sign(app, words);
  if (auto unknown = unknown_verb(app, argc, argv))
    return wrong(*unknown + " (segue --help explains)");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    // The innermost verb named is the one help is wanted for.
    const CLI::App* asked = &app;
    while (!asked->get_subcommands().empty()) asked = asked->get_subcommands().front();
    return std::unexpected(Outcome{asked->help(), 0});
  } catch (const CLI::CallForVersion&) {
    return std::unexpected(Outcome{fmt::format("segue {}\n", version()), 0});
  } catch (const CLI::ParseError& error) {
    return wrong(fmt::format("{} (segue --help explains)", error.what()));
  }
  words.command.verb = verb_of(app);
  return finish(words);
}

}  // namespace segue::conf
