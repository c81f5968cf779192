#include "edge/access/uri_container.h"

#include <regex.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>
#include <vector>

#include "edge/access/hmac.h"
#include "http/target.h"

namespace segue::edge {
namespace {

constexpr std::string_view kHash = "hash:sha-256;";
constexpr std::string_view kRegex = "regex:";
// The signer is trusted, but a typing error of his must not stop a loop.
constexpr size_t kRegexBytesMax = 512;
// How much longer an expression may be with its repetitions written out, which is what glibc does:
// (a?){250} takes 13 ms and 5 MB, and each '+' around another one twice as much.
constexpr size_t kRegexGrowthMax = 256;

/// Behind the atom at `at`: a character, an escaped one or a bracket expression.
size_t end_of_atom(std::string_view text, size_t at) {
  if (text[at] == '\\') return std::min(at + 2, text.size());
  if (text[at] != '[') return at + 1;
  size_t i = at + 1;
  if (i < text.size() && text[i] == '^') ++i;
  if (i < text.size() && text[i] == ']') ++i;
  for (; i < text.size() && text[i] != ']'; ++i) {
    const char kind = text[i] == '[' && i + 1 < text.size() ? text[i + 1] : '\0';
    if (kind != ':' && kind != '.' && kind != '=') continue;
    const std::array<char, 2> close{kind, ']'};
    const size_t end = text.find(std::string_view(close.data(), close.size()), i + 2);
    if (end == std::string_view::npos) return text.size();
    i = end + 1;
  }
  return std::min(i + 1, text.size());
}

/// How often the bound at `at`, "{2}", "{2,}" or "{2,5}", has its atom written; `at` is then its
/// last character. 1 for what is none, which regcomp refuses.
size_t times_of_bound(std::string_view text, size_t& at) {
  const size_t close = std::min(text.find('}', at), text.size());
  const char* end = text.data() + close;
  size_t least = 0;
  size_t most = 0;
  auto read = std::from_chars(text.data() + at + 1, end, least);
  if (read.ptr != end && *read.ptr == ',') {
    most = least + 1;
    read = std::from_chars(read.ptr + 1, end, most);
  }
  if (read.ptr == end && close < text.size()) at = close;
  return std::max({least, most, size_t{1}});
}

/// 0 where no repetition stands at `at`.
size_t times_of(std::string_view text, size_t& at) {
  switch (text[at]) {
    case '*':
    case '?':
      return 1;
    case '+':  // written as one and a star
      return 2;
    case '{':
      return times_of_bound(text, at);
    default:
      return 0;
  }
}

/// Whether what glibc writes out is at most kRegexGrowthMax longer than what is there.
bool is_small_expression(std::string_view text) {
  const size_t most = text.size() + kRegexGrowthMax;
  std::vector<size_t> outer;  // sizes of what stands before each open '('
  size_t size = 0;
  size_t atom = 1;  // size of what a repetition would repeat
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '(') {
      outer.push_back(std::exchange(size, 0));
    } else if (text[i] == ')' && !outer.empty()) {
      atom = size + 1;
      size = outer.back() + atom;
      outer.pop_back();
    } else if (const size_t times = times_of(text, i); times > 0) {
      if (times > most) return false;
      size += atom * times - atom + 1;
      atom = atom * times + 1;
    } else {
      i = end_of_atom(text, i) - 1;
      size += 1;
      atom = 1;
    }
    if (size > most || atom > most) return false;
  }
  return true;
}

/// Gives the pieces of the URI to `take`, in order.
template <class Take>
void each_piece(const TokenAsk& ask, std::string_view token_name, Take take) {
  take(ask.tls ? "https://" : "http://");
  take(ask.host);
  if (ask.port && *ask.port != (ask.tls ? 443 : 80)) {
    std::array<char, 8> digits{':'};
    const auto end = std::to_chars(digits.data() + 1, digits.data() + digits.size(), *ask.port);
    take(std::string_view(digits.data(), end.ptr));
  }
  take(ask.path);
  const size_t mark = ask.origin_form.find('?');
  if (mark == std::string_view::npos) return;
  std::string_view query = ask.origin_form.substr(mark + 1);
  std::string_view before = "?";
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    const std::string_view parameter = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (http::is_parameter_name(parameter.substr(0, parameter.find('=')), token_name)) continue;
    take(std::exchange(before, "&"));
    take(parameter);
  }
}

}  // namespace

class UriMatcher::Regex {
 public:
  explicit Regex(const std::string& expression)
      : compiled_(regcomp(&regex_, expression.c_str(), REG_EXTENDED) == 0) {}
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;
  ~Regex() {
    if (compiled_) regfree(&regex_);
  }
  [[nodiscard]] bool compiled() const noexcept { return compiled_; }
  [[nodiscard]] bool matches(const std::string& text) const noexcept {
    regmatch_t whole{};
    return compiled_ && regexec(&regex_, text.c_str(), 1, &whole, 0) == 0 && whole.rm_so == 0 &&
           static_cast<size_t>(whole.rm_eo) == text.size();
  }

 private:
  regex_t regex_{};
  bool compiled_;
};

UriMatcher::UriMatcher() noexcept = default;
UriMatcher::UriMatcher(UriMatcher&&) noexcept = default;
UriMatcher& UriMatcher::operator=(UriMatcher&&) noexcept = default;
UriMatcher::~UriMatcher() = default;

bool is_uri_container(std::string_view container) {
  if (container.starts_with(kHash)) return parse_hmac(container.substr(kHash.size())).has_value();
  if (!container.starts_with(kRegex)) return false;
  const std::string expression(container.substr(kRegex.size()));
  if (expression.empty() || expression.size() > kRegexBytesMax) return false;
  // A back-reference takes exponential time.
  for (size_t i = 0; i + 1 < expression.size(); ++i) {
    const char escaped = expression[i + 1];
    if (expression[i] == '\\' && escaped >= '1' && escaped <= '9') return false;
    if (expression[i] == '\\') ++i;
  }
  return is_small_expression(expression) && UriMatcher::compiles(expression);
}

bool UriMatcher::compiles(const std::string& expression) { return Regex(expression).compiled(); }

bool UriMatcher::contains(std::string_view container, const std::string& uri) {
  if (container.starts_with(kHash)) {
    const auto hash = parse_hmac(container.substr(kHash.size()));
    const auto own = sha256(uri);
    return hash && own && equal_in_constant_time(*own, *hash);
  }
  if (!container.starts_with(kRegex)) return false;
  if (!regex_) regex_ = std::make_unique<Regex>(std::string(container.substr(kRegex.size())));
  return regex_->matches(uri);
}

std::string uri_of(const TokenAsk& ask, std::string_view token_name) {
  std::string uri;
  each_piece(ask, token_name, [&](std::string_view piece) { uri += piece; });
  return uri;
}

bool is_uri_of(const TokenAsk& ask, std::string_view token_name, std::string_view uri) noexcept {
  bool same = true;
  each_piece(ask, token_name, [&](std::string_view piece) {
    same = same && uri.starts_with(piece);
    if (same) uri.remove_prefix(piece.size());
  });
  return same && uri.empty();
}

}  // namespace segue::edge
