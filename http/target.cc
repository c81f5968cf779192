#include "http/target.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/hex.h"

namespace segue::http {
namespace {

enum class Char : uint8_t { Bad, Plain, Encode, Slash, Percent, Question };

constexpr std::array<Char, 256> make_char_table() {
  std::array<Char, 256> table{};
  auto set = [&](std::string_view characters, Char kind) {
    for (char c : characters) table[static_cast<unsigned char>(c)] = kind;
  };
  for (char c = '0'; c <= '9'; ++c) table[static_cast<unsigned char>(c)] = Char::Plain;
  for (char c = 'a'; c <= 'z'; ++c) table[static_cast<unsigned char>(c)] = Char::Plain;
  for (char c = 'A'; c <= 'Z'; ++c) table[static_cast<unsigned char>(c)] = Char::Plain;
  set("-._~", Char::Plain);           // unreserved (RFC 3986 §2.3)
  set("!$&'()*+,;=:@", Char::Plain);  // the rest of pchar (§3.3)
  set("\"<>^`{|}[]", Char::Encode);   // no URI may hold them raw; browsers send some
  set("/", Char::Slash);
  set("%", Char::Percent);
  set("?", Char::Question);
  return table;
}
constexpr std::array<Char, 256> kChars = make_char_table();

constexpr std::string_view kHexDigits = "0123456789ABCDEF";

bool is_unreserved(unsigned char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

/// UTF-8 byte by byte (RFC 3629 §4): no overlong forms, no surrogates, nothing over U+10FFFF.
class Utf8Checker {
 public:
  /// False if `byte` cannot stand here.
  bool take(unsigned char byte) {
    if (pending_ > 0) {
      if (byte < low_ || byte > high_) return false;
      low_ = 0x80;
      high_ = 0xbf;
      --pending_;
      return true;
    }
    if (byte < 0x80) return true;
    if (byte < 0xc2 || byte > 0xf4) return false;
    pending_ = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
    low_ = byte == 0xe0 ? 0xa0 : byte == 0xf0 ? 0x90 : 0x80;
    high_ = byte == 0xed ? 0x9f : byte == 0xf4 ? 0x8f : 0xbf;
    return true;
  }
  /// Inside a sequence: its next byte must follow at once.
  [[nodiscard]] bool is_open() const { return pending_ > 0; }

 private:
  int pending_ = 0;
  unsigned char low_ = 0x80;
  unsigned char high_ = 0xbf;
};

/// Writes one canonical target; stops at the first thing that is wrong.
class Canonicalizer {
 public:
  explicit Canonicalizer(std::span<char> out) : out_(out) {}

  Result<CanonicalTarget> run(std::string_view target) {
    if (target.starts_with('?')) put('/');  // absolute-form with an empty path
    for (size_t i = 0; i < target.size() && problem_ == nullptr; ++i) {
      i += copy_plain(target.substr(i));
      if (i < target.size()) take(target, i);
    }
    if (problem_ == nullptr) end_part();
    if (full_) return segue::fail(Side::Client, Kind::Full, "target too long");
    if (problem_ != nullptr) return segue::fail(Side::Client, Kind::Malformed, problem_);
    const std::string_view text(out_.data(), used_);
    if (!text.starts_with('/')) return segue::fail(Side::Client, Kind::Malformed, "no path");
    if (!in_query_) return CanonicalTarget{.path = text, .query = std::nullopt, .text = text};
    return CanonicalTarget{
        .path = text.substr(0, query_start_ - 1), .query = text.substr(query_start_), .text = text};
  }

 private:
  void refuse(const char* problem) { problem_ = problem; }

  void put(char c) {
    if (used_ < out_.size()) {
      out_[used_++] = c;
    } else {
      full_ = true;
      refuse("target too long");
    }
  }
  void put_encoded(unsigned char byte) {
    put('%');
    put(kHexDigits[byte >> 4]);
    put(kHexDigits[byte & 15]);
  }

  /// Copies the plain characters `text` begins with, most of any target, at once; returns how many.
  size_t copy_plain(std::string_view text) {
    if (utf8_.is_open()) return 0;  // take() refuses what stands here
    const size_t room = std::min(text.size(), out_.size() - used_);
    size_t count = 0;
    while (count < room && kChars[static_cast<unsigned char>(text[count])] == Char::Plain) ++count;
    if (count > 0) std::memcpy(out_.data() + used_, text.data(), count);
    used_ += count;
    return count;
  }

  void take(std::string_view target, size_t& i) {
    const char c = target[i];
    const Char kind = kChars[static_cast<unsigned char>(c)];
    if (kind != Char::Percent && utf8_.is_open()) return refuse("not UTF-8");
    switch (kind) {
      case Char::Plain:
        return put(c);
      case Char::Percent:
        return take_encoded(target, i);
      case Char::Slash:
        if (!in_query_) end_segment();
        put(c);
        segment_start_ = used_;
        return;
      case Char::Question:
        if (!in_query_) start_query();
        return put(c);
      case Char::Encode:
        return put_encoded(static_cast<unsigned char>(c));
      case Char::Bad:
        return refuse(c == '\\' ? "backslash" : c == '#' ? "fragment" : "bad character");
    }
  }

  void take_encoded(std::string_view target, size_t& i) {
    const int high = i + 2 < target.size() ? hex_value(target[i + 1]) : -1;
    const int low = i + 2 < target.size() ? hex_value(target[i + 2]) : -1;
    if (high < 0 || low < 0) return refuse("bad percent-encoding");
    i += 2;
    const auto byte = static_cast<unsigned char>(high * 16 + low);
    if (byte < 0x80 && utf8_.is_open()) return refuse("not UTF-8");
    if (byte < 0x20 || byte == 0x7f) return refuse("encoded control character");
    if (byte == '\\' && !in_query_) return refuse("backslash");
    if (is_unreserved(byte)) return put(static_cast<char>(byte));
    if (!utf8_.take(byte)) return refuse("not UTF-8");
    put_encoded(byte);
  }

  void start_query() {
    end_segment();
    in_query_ = true;
    query_start_ = used_ + 1;
  }

  /// "." and ".." are refused, not resolved: whoever resolves them differently would be fooled. So
  /// are "..;x" and kin, which some origin servers read as "..".
  void end_segment() {
    std::string_view segment(out_.data() + segment_start_, used_ - segment_start_);
    segment = segment.substr(0, segment.find(';'));
    if (segment == "." || segment == "..") refuse("dot segment");
  }

  void end_part() {
    if (utf8_.is_open()) return refuse("not UTF-8");
    if (!in_query_) end_segment();
  }

  std::span<char> out_;
  size_t used_ = 0;
  size_t segment_start_ = 0;
  size_t query_start_ = 0;
  bool in_query_ = false;
  bool full_ = false;
  const char* problem_ = nullptr;
  Utf8Checker utf8_;
};

/// Cuts the next parameter off `query`.
std::string_view take_parameter(std::string_view& query) {
  const size_t end = std::min(query.find('&'), query.size());
  const std::string_view parameter = query.substr(0, end);
  query.remove_prefix(std::min(end + 1, query.size()));
  return parameter;
}

std::string_view parameter_name(std::string_view parameter) {
  return parameter.substr(0, parameter.find('='));
}

bool is_kept(std::string_view name, const QueryRule& rule) {
  if (name == "CMCD") return false;
  if (std::ranges::find(rule.strip, name) != rule.strip.end()) return false;
  return rule.mode == QueryMode::Keep || std::ranges::find(rule.names, name) != rule.names.end();
}

}  // namespace

namespace {

/// Whether canonicalize() would give `target` back as it is, as it does nearly all: a path, perhaps
/// a query, of characters that stand for themselves, and no segment that begins with a dot, which
/// are left to the one who knows all rules. `mark`: of the query, or the end.
bool is_canonical(std::string_view target, size_t& mark) {
  if (!target.starts_with('/')) return false;
  mark = target.size();
  char before = 0;
  for (size_t i = 0; i < target.size(); ++i) {
    const char c = target[i];
    switch (kChars[static_cast<unsigned char>(c)]) {
      case Char::Plain:
        if (c == '.' && before == '/') return false;
        break;
      case Char::Slash:
        break;
      case Char::Question:
        mark = std::min(mark, i);
        break;
      case Char::Bad:
      case Char::Encode:
      case Char::Percent:
        return false;
    }
    before = c;
  }
  return true;
}

}  // namespace

Result<CanonicalTarget> canonicalize(std::string_view origin_form, std::span<char> out) noexcept {
  size_t mark = 0;
  if (origin_form.size() > out.size() || !is_canonical(origin_form, mark))
    return Canonicalizer(out).run(origin_form);
  std::memcpy(out.data(), origin_form.data(), origin_form.size());
  const std::string_view text(out.data(), origin_form.size());
  if (mark == text.size())
    return CanonicalTarget{.path = text, .query = std::nullopt, .text = text};
  return CanonicalTarget{
      .path = text.substr(0, mark), .query = text.substr(mark + 1), .text = text};
}

Result<std::string_view> filter_query(std::string_view query, const QueryRule& rule,
                                      std::span<char> out) noexcept {
  if (rule.mode == QueryMode::Drop) return std::string_view(out.data(), 0);
  bool drops_any = false;
  for (std::string_view rest = query; !rest.empty();) {
    drops_any |= !is_kept(parameter_name(take_parameter(rest)), rule);
  }
  size_t used = 0;
  auto put = [&](std::string_view text) {
    if (text.size() > out.size() - used) return false;
    std::ranges::copy(text, out.begin() + static_cast<ptrdiff_t>(used));
    used += text.size();
    return true;
  };
  if (!drops_any) {
    if (!put(query)) return fail(Side::Client, Kind::Full, "query too long");
    return std::string_view(out.data(), used);
  }
  for (std::string_view rest = query; !rest.empty();) {
    const std::string_view parameter = take_parameter(rest);
    if (parameter.empty() || !is_kept(parameter_name(parameter), rule)) continue;
    if ((used > 0 && !put("&")) || !put(parameter)) {
      return fail(Side::Client, Kind::Full, "query too long");
    }
  }
  return std::string_view(out.data(), used);
}

bool is_parameter_name(std::string_view sent, std::string_view name) noexcept {
  size_t at = 0;
  for (size_t i = 0; i < sent.size(); ++i) {
    char c = sent[i];
    if (c == '%' && i + 2 < sent.size()) {
      const int high = hex_value(sent[i + 1]);
      const int low = hex_value(sent[i + 2]);
      if (high < 0 || low < 0) return false;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    if (at == name.size() || name[at] != c) return false;
    ++at;
  }
  return at == name.size();
}

Result<std::string_view> cut_parameters(std::string_view origin_form,
                                        std::span<const std::string> names,
                                        std::span<char> out) noexcept {
  const size_t mark = std::min(origin_form.find('?'), origin_form.size());
  size_t used = 0;
  bool fits = true;
  auto put = [&](std::string_view text) {
    fits = fits && text.size() <= out.size() - used;
    if (!fits) return;
    std::ranges::copy(text, out.begin() + static_cast<ptrdiff_t>(used));
    used += text.size();
  };
  put(origin_form.substr(0, mark));
  std::string_view query = origin_form.substr(std::min(mark + 1, origin_form.size()));
  bool is_first = true;
  while (!query.empty()) {
    const std::string_view parameter = take_parameter(query);
    const std::string_view sent = parameter_name(parameter);
    const auto is_it = [&](const std::string& name) { return is_parameter_name(sent, name); };
    if (std::ranges::any_of(names, is_it)) continue;
    put(is_first ? "?" : "&");
    put(parameter);
    is_first = false;
  }
  if (!fits) return fail(Side::Client, Kind::Full, "target too long");
  return std::string_view(out.data(), used);
}

std::optional<std::string_view> find_query_parameter(std::string_view query,
                                                     std::string_view name) noexcept {
  while (!query.empty()) {
    const std::string_view parameter = take_parameter(query);
    if (parameter_name(parameter) != name) continue;
    return parameter.size() == name.size() ? std::string_view() : parameter.substr(name.size() + 1);
  }
  return std::nullopt;
}

}  // namespace segue::http
