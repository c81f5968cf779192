#include "conf/parse_toml.h"

#include <fmt/format.h>

#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#include <toml++/toml.h>

#include <algorithm>

#include "conf/values.h"

namespace segue::conf {
namespace {

std::string_view name_of(toml::node_type type) {
  switch (type) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "a list";
    case toml::node_type::string:
      return "a string";
    case toml::node_type::integer:
      return "a number";
    case toml::node_type::floating_point:
      return "a number with a point";
    case toml::node_type::boolean:
      return "true or false";
    default:
      return "a date or time";
  }
}

/// What a person would recognise as the value written.
std::string shown(const toml::node& node) {
  if (const auto* text = node.as_string()) {
    return fmt::format("\"{}\"", text->get().substr(0, 80));
  }
  if (const auto* number = node.as_integer()) return fmt::format("{}", number->get());
  return std::string(name_of(node.type()));
}

/// One table of the file: hands out its keys by name and kind, and at the end reports the keys that
/// nobody asked for.
class Reader {
 public:
  Reader(const toml::table& table, std::string path, Mistakes& mistakes)
      : table_(table), path_(std::move(path)), mistakes_(mistakes) {}

  template <class T>
  void value(std::string_view key, T& out, const Rule<T>& rule) {
    const toml::node* node = take(key);
    if (node != nullptr) read(*node, key_path(key), out, rule);
  }
  template <class T>
  void value(std::string_view key, std::optional<T>& out, const Rule<T>& rule) {
    T read_value{};
    const toml::node* node = take(key);
    if (node != nullptr && read(*node, key_path(key), read_value, rule)) out = read_value;
  }
  /// One string, or a list of strings.
  template <class T>
  void values(std::string_view key, std::vector<T>& out, const Rule<T>& rule) {
    const toml::node* node = take(key);
    if (node != nullptr) read_list(*node, key_path(key), out, rule);
  }
  void number(std::string_view key, uint32_t& out, uint32_t min, uint32_t max) {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    const auto* integer = node->as_integer();
    if (integer == nullptr || integer->get() < min || integer->get() > max) {
      complain(key_path(key), *node, fmt::format("a whole number from {} to {}", min, max));
      return;
    }
    out = static_cast<uint32_t>(integer->get());
  }
  void boolean(std::string_view key, bool& out) {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    if (const auto* value = node->as_boolean()) {
      out = value->get();
    } else {
      complain(key_path(key), *node, "true or false");
    }
  }
  /// Calls `read` with a reader of the table under `key`, if there is one.
  template <class Read>
  void table(std::string_view key, Read read) {
    if (const toml::node* node = take(key)) read_table(*node, key_path(key), read);
  }
  /// Calls `read` for each [[key]].
  template <class Read>
  void tables(std::string_view key, Read read) {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    const auto* array = node->as_array();
    if (array == nullptr) {
      complain(key_path(key), *node, fmt::format("one or more tables, each begun by [[{}]]", key));
      return;
    }
    size_t index = 0;
    for (const toml::node& element : *array) {
      read_table(element, fmt::format("{}[{}]", key_path(key), index++), read);
    }
  }
  /// Calls `read` with name and reader of each table in this one: [origin.NAME].
  template <class Read>
  void named_tables(Read read) {
    for (const auto& [key, node] : table_) {
      const std::string name(key.str());
      const toml::node* taken = take(name);
      read_table(*taken, key_path(name), [&](Reader& reader) { read(name, reader); });
    }
  }
  /// The node under `key` if it is there, marked as known; for keys of several kinds.
  const toml::node* take(std::string_view key) {
    known_.emplace_back(key);
    const toml::node* node = table_.get(key);
    if (node != nullptr) remember(*node, key_path(key));
    return node;
  }
  template <class T>
  bool read(const toml::node& node, const std::string& path, T& out, const Rule<T>& rule) {
    std::optional<T> value;
    if (const auto* text = node.as_string()) {
      value = rule.parse(text->get());
    } else if (const auto* number = node.as_integer(); number != nullptr && number->get() >= 0) {
      // A bare number is a size in bytes; for any other rule it does not parse.
      if constexpr (std::is_same_v<T, uint64_t>) value = static_cast<uint64_t>(number->get());
    }
    if (!value) {
      complain(path, node, rule.allowed);
      return false;
    }
    out = std::move(*value);
    return true;
  }
  template <class T>
  void read_list(const toml::node& node, const std::string& path, std::vector<T>& out,
                 const Rule<T>& rule) {
    out.clear();
    T element_value{};
    const auto* array = node.as_array();
    if (array == nullptr) {
      if (read(node, path, element_value, rule)) out.push_back(element_value);
      return;
    }
    size_t index = 0;
    for (const toml::node& element : *array) {
      const std::string element_path = fmt::format("{}[{}]", path, index++);
      remember(element, element_path);
      if (read(element, element_path, element_value, rule)) out.push_back(element_value);
    }
  }
  void complain(const std::string& path, const toml::node& node, std::string_view allowed) {
    mistakes_.add(path, fmt::format("{} is not allowed here; allowed: {}", shown(node), allowed));
  }
  [[nodiscard]] std::string key_path(std::string_view key) const {
    return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
  }
  [[nodiscard]] const std::string& path() const { return path_; }
  void report_unknown() {
    for (const auto& [key, node] : table_) {
      if (std::ranges::find(known_, key.str()) != known_.end()) continue;
      const std::string path = key_path(key.str());
      mistakes_.written(path, {mistakes_.file(), key.source().begin.line});
      mistakes_.add(path, fmt::format("unknown key{}; allowed: {}", did_you_mean(key.str(), known_),
                                      fmt::join(known_, ", ")));
    }
  }

 private:
  template <class Read>
  void read_table(const toml::node& node, const std::string& path, Read read) {
    remember(node, path);
    const auto* inner = node.as_table();
    if (inner == nullptr) {
      complain(path, node, "a table");
      return;
    }
    Reader reader(*inner, path, mistakes_);
    read(reader);
    reader.report_unknown();
  }
  void remember(const toml::node& node, const std::string& path) {
    mistakes_.written(path, {mistakes_.file(), node.source().begin.line});
  }

  const toml::table& table_;
  std::string path_;
  Mistakes& mistakes_;
  std::vector<std::string> known_;
};

void read_node(Reader& reader, NodeSettings& node) {
  reader.value("name", node.name, kNodeName);
  reader.value("ram", node.ram_bytes, kSize);
  reader.number("threads", node.threads, 0, UINT32_MAX);  // its bound is checked by validate()
  reader.value("io", node.io, kIo);
}

void read_listen(Reader& reader, Mistakes& mistakes, std::vector<Address>& listen) {
  std::vector<Address> addresses;
  bool tls = false;
  reader.values("addr", addresses, kAddress);
  reader.boolean("tls", tls);
  if (tls) {
    mistakes.add(reader.key_path("tls"),
                 "TLS is not supported in this build; allowed: false (put a TLS proxy in front)");
  }
  if (addresses.empty() && !mistakes.has_under(reader.key_path("addr"))) {
    mistakes.add(reader.path(), fmt::format("addr is missing; allowed: {}", kAddress.allowed));
  }
  std::ranges::move(addresses, std::back_inserter(listen));
}

void read_drive(Reader& reader, Mistakes& mistakes, std::vector<DriveSettings>& drives) {
  DriveSettings drive;
  reader.value("path", drive.path, kPath);
  reader.value("size", drive.size_bytes, kSize);
  reader.boolean("sparse", drive.sparse);
  reader.value("writes_per_day", drive.writes_bytes_per_day, kSize);
  if (!mistakes.was_written(reader.key_path("path"))) {
    mistakes.add(reader.path(), "path is missing; allowed: a folder, a file or a block device");
  }
  drives.push_back(std::move(drive));
}

void read_cache(Reader& reader, Mistakes& mistakes, CacheSettings& cache) {
  reader.value("policy", cache.policy, kPolicy);
  reader.value("size", cache.size_bytes, kSize);
  reader.tables("drive", [&](Reader& drive) { read_drive(drive, mistakes, cache.drives); });
}

/// redirects = "same-origin", or a list of hosts besides the origin's own.
void read_redirects(Reader& reader, std::vector<std::string>& hosts) {
  const toml::node* node = reader.take("redirects");
  if (node == nullptr) return;
  if (const auto* text = node->as_string(); text != nullptr && text->get() == "same-origin") return;
  if (node->is_array()) {
    reader.read_list(*node, reader.key_path("redirects"), hosts, kHost);
  } else {
    reader.complain(reader.key_path("redirects"), *node,
                    "\"same-origin\", or a list of host names such as [\"media.example.com\"]");
  }
}

void read_origin(Reader& reader, OriginSettings& origin) {
  reader.values("servers", origin.servers, kServer);
  reader.table("timeout", [&](Reader& timeout) {
    timeout.value("connect", origin.timeout.connect, kDuration);
    timeout.value("first_byte", origin.timeout.first_byte, kDuration);
    timeout.value("idle", origin.timeout.idle, kDuration);
    timeout.value("total", origin.timeout.total, kDuration);
  });
  reader.number("retries", origin.retries, 0, 10);
  reader.value("ca", origin.ca, kPath);
  reader.value("validator", origin.validator, kValidator);
  read_redirects(reader, origin.redirect_hosts);
  reader.table("breaker", [&](Reader& breaker) {
    breaker.number("failures", origin.breaker.failures, 1, 1000);
    breaker.value("open_for", origin.breaker.open_for, kDuration);
  });
}

/// query = "keep", "drop", or a list of the names that stay.
void read_query(Reader& reader, SiteSettings& site) {
  const toml::node* node = reader.take("query");
  if (node == nullptr) return;
  const auto* text = node->as_string();
  if (text != nullptr && text->get() == "keep") {
    site.query = QueryMode::Keep;
  } else if (text != nullptr && text->get() == "drop") {
    site.query = QueryMode::Drop;
  } else if (node->is_array()) {
    site.query = QueryMode::Listed;
    reader.read_list(*node, reader.key_path("query"), site.query_names, kQueryName);
  } else {
    reader.complain(reader.key_path("query"), *node,
                    "\"keep\", \"drop\", or a list of the names that stay such as [\"v\"]");
  }
}

void read_site(Reader& reader, Mistakes& mistakes, std::vector<SiteSettings>& sites) {
  SiteSettings site;
  reader.value("name", site.name, kSiteName);
  reader.values("hosts", site.hosts, kSiteHost);
  // Any text: whether an origin of that name exists is validate()'s question.
  reader.value("origin", site.origin, kPath);
  read_query(reader, site);
  reader.values("fields", site.fields, kFieldName);
  reader.table("ttl", [&](Reader& ttl) {
    ttl.value("default", site.ttl.default_lifetime, kDuration);
    ttl.value("negative", site.ttl.negative, kDuration);
    ttl.value("override", site.ttl.override_lifetime, kDuration);
    ttl.value("stale_if_error", site.ttl.stale_if_error, kDuration);
    ttl.value("stale_while_revalidate", site.ttl.stale_while_revalidate, kDuration);
  });
  reader.value("cors", site.cors, kCors);
  if (!mistakes.was_written(reader.key_path("name"))) {
    mistakes.add(reader.path(), fmt::format("name is missing; allowed: {}", kSiteName.allowed));
  }
  sites.push_back(std::move(site));
}

void read_all(Reader& reader, Mistakes& mistakes, Settings& settings) {
  reader.table("node", [&](Reader& node) { read_node(node, settings.node); });
  reader.tables("listen", [&](Reader& listen) { read_listen(listen, mistakes, settings.listen); });
  reader.table("admin", [&](Reader& admin) { admin.value("listen", settings.admin, kAddress); });
  reader.table("cache", [&](Reader& cache) { read_cache(cache, mistakes, settings.cache); });
  reader.table("origin", [&](Reader& origins) {
    origins.named_tables([&](const std::string& name, Reader& origin) {
      settings.origins.emplace_back().name = name;
      read_origin(origin, settings.origins.back());
    });
  });
  reader.tables("site", [&](Reader& site) { read_site(site, mistakes, settings.sites); });
  reader.table("log", [&](Reader& log) {
    log.value("access", settings.log.access, kPath);
    log.value("level", settings.log.level, kLevel);
  });
  reader.report_unknown();
}

}  // namespace

Settings parse_toml(std::string_view text, Mistakes& mistakes) {
  Settings settings;
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    mistakes.written("toml", {mistakes.file(), error.source().begin.line});
    mistakes.add("toml", std::string(error.description()));
    return settings;
  }
  Reader reader(parsed.table(), "", mistakes);
  read_all(reader, mistakes, settings);
  return settings;
}

}  // namespace segue::conf
