// Any target, cookie and field is judged without a step outside of it. First line the target, then
// a cookie, then the field. What is let in was signed by the one key, whose signatures cannot be
// guessed; the corpus has right tokens of all forms, so that their claims are reached.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "edge/access/token_check.h"
#include "edge/access/token_fields.h"
#include "http/target.h"
#include "tests/fuzz/fuzz_input.h"

using namespace segue;
using namespace segue::edge;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Ref<const TokenRules> rules = [] {
    auto made = make_ref<TokenRules>();
    made->forms = {TokenForm::Segue, TokenForm::EdgeAuth, TokenForm::Expires, TokenForm::Jwt};
    made->keys.emplace_back("k1", TokenKey::Kind::Secret, std::string(32, 'k'));
    return Ref<const TokenRules>(made);
  }();
  std::string_view rest = fuzz::text_of(data, size);
  const std::string_view target = fuzz::take_line(rest);
  const std::string_view cookie = fuzz::take_line(rest);
  const std::string_view field = fuzz::take_line(rest);
  const http::Field fields[] = {{"Cookie", cookie}, {"token", field}};
  std::string room(3 * target.size() + 16, '\0');
  const auto canonical = http::canonicalize(target, room);
  if (!canonical) return 0;
  const TokenAsk ask{.path = canonical->path,
                     .origin_form = target,
                     .fields = std::span(fields, field.empty() ? 1 : 2),
                     .client = "203.0.113.7",
                     .host = "h",
                     .port = {},
                     .tls = true,
                     .now = 1000};
  std::unique_ptr<TokenMemo> memo;
  const TokenVerdict first = check_token(rules, ask, &memo).verdict;
  const TokenVerdict again = check_token(rules, ask, &memo).verdict;
  SEGUE_ASSERT(first == again);
  SEGUE_ASSERT((memo != nullptr) == (first == TokenVerdict::Allowed));
  std::string without(target.size() + 1, '\0');
  const auto names = token_names(rules->forms, rules->name);
  const auto cut = http::cut_parameters(target, names, without);
  SEGUE_ASSERT(cut.has_value());
  // What is cut is cut for good: nothing of it is found again.
  const TokenAsk bare{.path = canonical->path,
                      .origin_form = *cut,
                      .fields = {},
                      .client = {},
                      .host = {},
                      .port = {},
                      .tls = true,
                      .now = 1000};
  SEGUE_ASSERT(check_token(rules, bare, nullptr).verdict == TokenVerdict::Missing);
  return 0;
}
