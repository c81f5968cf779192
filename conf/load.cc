#include "conf/load.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <expected>
#include <system_error>

#include "conf/validate.h"
#include "conf/values.h"

namespace segue::conf {
namespace {

// A settings file is a page or two; what is longer is not one (a device, a track).
constexpr size_t kFileBytesMax = 4 * MiB;
constexpr std::string_view kFlagOrigin = "default";

/// Applies flags one by one, with the rules of the file; mistakes name the flag.
class FlagReader {
 public:
  explicit FlagReader(Mistakes& mistakes) : mistakes_(mistakes) {}

  template <class T, class Out>
  void value(const std::string& flag, const std::string& key, const std::string& text, Out& out,
             const Rule<T>& rule) {
    if (text.empty()) return;
    if (auto value = read(flag, key, text, rule)) out = std::move(*value);
  }
  template <class T>
  [[nodiscard]] std::optional<T> read(const std::string& flag, const std::string& key,
                                      const std::string& text, const Rule<T>& rule) {
    mistakes_.written(key, {flag, 0});
    auto value = rule.parse(text);
    if (!value) {
      mistakes_.add(key, fmt::format("\"{}\" is not allowed here; allowed: {}", text.substr(0, 80),
                                     rule.allowed));
    }
    return value;
  }

 private:
  Mistakes& mistakes_;
};

void apply_origin(const Flags& flags, FlagReader& reader, Settings& settings, Mistakes& mistakes) {
  if (flags.origin.empty()) return;
  const std::string key = fmt::format("origin.{}", kFlagOrigin);
  if (!settings.sites.empty() || !settings.origins.empty()) {
    mistakes.written(key, {"--origin", 0});
    mistakes.add(key, fmt::format("{} has origins or sites of its own; give one or the other",
                                  mistakes.file()));
    return;
  }
  OriginSettings origin;
  origin.name = kFlagOrigin;
  for (size_t i = 0; i < flags.origin.size(); ++i) {
    const std::string place = fmt::format("{}.servers[{}]", key, i);
    if (auto server = reader.read("--origin", place, flags.origin[i], kServer)) {
      origin.servers.push_back(std::move(*server));
    }
  }
  mistakes.written(key, {"--origin", 0});
  settings.origins.push_back(std::move(origin));
}

void apply_drives(const Flags& flags, FlagReader& reader, Settings& settings, Mistakes& mistakes) {
  reader.value("--cache-size", "cache.size", flags.cache_size, settings.cache.size_bytes, kSize);
  if (!flags.cache.empty()) settings.cache.drives.clear();
  for (size_t i = 0; i < flags.cache.size(); ++i) {
    const std::string key = fmt::format("cache.drive[{}]", i);
    mistakes.written(key, {"--cache", 0});
    DriveSettings drive;
    if (auto path = reader.read("--cache", key + ".path", flags.cache[i], kPath)) {
      drive.path = std::move(*path);
    }
    settings.cache.drives.push_back(std::move(drive));
  }
  if (flags.sparse) {
    for (DriveSettings& drive : settings.cache.drives) drive.sparse = true;
  }
}

void apply(const Flags& flags, Settings& settings, Mistakes& mistakes) {
  FlagReader reader(mistakes);
  if (!flags.listen.empty()) settings.listen.clear();
  for (const std::string& text : flags.listen) {
    if (auto address = reader.read("--listen", "listen", text, kAddress)) {
      settings.listen.push_back({std::move(*address), false, {}, {}});
    }
  }
  reader.value("--ram", "node.ram", flags.ram, settings.node.ram_bytes, kSize);
  reader.value("--threads", "node.threads", flags.threads, settings.node.threads, kThreads);
  reader.value("--io", "node.io", flags.io, settings.node.io, kIo);
  reader.value("--admin", "admin.listen", flags.admin, settings.admin, kAddress);
  apply_origin(flags, reader, settings, mistakes);
  apply_drives(flags, reader, settings, mistakes);
}

/// The text of the file, or the system's reason why not.
std::expected<std::string, std::string> read_file(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::unexpected(std::generic_category().message(errno));
  std::string text;
  std::array<char, 64 * KiB> piece;
  ssize_t bytes = 0;
  while (text.size() <= kFileBytesMax && (bytes = read(fd, piece.data(), piece.size())) > 0) {
    text.append(piece.data(), static_cast<size_t>(bytes));
  }
  const int reason = errno;
  close(fd);
  if (bytes < 0) return std::unexpected(std::generic_category().message(reason));
  if (text.size() > kFileBytesMax) return std::unexpected("it is longer than any settings file");
  return text;
}

}  // namespace

Loaded load_text(std::string_view text, const std::string& file, const Flags& flags,
                 Machine (*look)(const Settings&)) {
  Mistakes mistakes(file);
  Loaded loaded;
  loaded.settings = parse_toml(text, mistakes);
  apply(flags, loaded.settings, mistakes);
  const Machine machine = look(loaded.settings);
  complete_and_validate(loaded.settings, machine, mistakes);
  loaded.plan = make_plan(loaded.settings, machine);
  loaded.written = written_in(text);
  loaded.mistakes = mistakes.take();
  return loaded;
}

Loaded load(const Flags& flags) {
  if (flags.config.empty()) return load_text("", "segue serve", flags, look_at_machine);
  auto text = read_file(flags.config);
  if (text) return load_text(*text, flags.config, flags, look_at_machine);
  Loaded loaded;
  loaded.mistakes.push_back({{flags.config, 0}, "", "cannot be read: " + text.error()});
  return loaded;
}

Outcome check(const Flags& flags) {
  const Loaded loaded = load(flags);
  if (loaded.is_right()) {
    return {fmt::format("{}: right\n{}", flags.config, print_plan(loaded.plan)), 0};
  }
  Outcome outcome{"", 1};
  for (const Mistake& mistake : loaded.mistakes) outcome.text += mistake.line() + "\n";
  outcome.text += fmt::format("{}: {} mistake{}\n", flags.config, loaded.mistakes.size(),
                              loaded.mistakes.size() == 1 ? "" : "s");
  return outcome;
}

}  // namespace segue::conf
