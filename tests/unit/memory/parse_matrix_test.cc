// Goal: whichever allocation is refused while requests, tokens, settings and feed lines are parsed,
// nothing is let in that should not be, and nothing crashes or stays behind. Method:
// memory_matrix.h.
#include "conf/load.h"
#include "edge/access/sign.h"
#include "edge/access/token_check.h"
#include "edge/prefetch/feed_message.h"
#include "tests/unit/edge/server_fixture.h"
#include "tests/unit/memory/memory_matrix.h"

namespace segue::edge {
namespace {

using testing::Counted;
using testing::NotCounted;
using testing::run_matrix;
using testing::Whose;

/// One client after the other, on a server that must go on.
class Requests final : public ServerTest {
 public:
  std::string run() {
    handler->body_max = 1000;
    const std::string line = "X-Long: " + std::string(7000, 'x') + "\r\n";
    const std::string lines = line + line;  // more than the small buffer holds
    const std::string chunked =
        "POST /body HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n"
        "5\r\nhello\r\n0\r\n\r\n";
    std::string wrong;
    {
      const Counted counted;
      for (const std::string& sent :
           {get("/bytes/5000"), get("/bytes/10") + get("/bytes/20"), get("/bytes/10", lines),
            std::string("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), chunked,
            get("/unknown/3000"), get("/bytes/200000")})
        if (wrong.empty()) wrong = ask(sent);
    }
    if (wrong.empty() && !ask(get("/bytes/100")).empty()) wrong = "it does not go on";
    return wrong;
  }

 private:
  void TestBody() override {}

  /// What is wrong with the answer to `request`, if anything.
  std::string ask(const std::string& request) {
    TestClient client = connect_pair();
    client.send(request);
    std::string got;
    for (int idle = 0; idle < 3;) {
      turns(4);
      const NotCounted aside;
      const std::string some = client.receive();
      idle = some.empty() ? idle + 1 : 0;
      got += some;
    }
    const NotCounted aside;
    const auto parsed = parse_response(got);
    if (parsed.status == 200 && request.contains("/bytes/5000"))
      return parsed.body == ScriptedHandler::pattern(5000) ? "" : "wrong bytes";
    if (parsed.status == 200 && request.contains("POST"))
      return parsed.body == "hello" ? "" : "wrong body";
    if (got.empty() && testing::memory_was_refused()) return "";  // cut
    if (request.contains("Host: b")) return parsed.status == 400 ? "" : "a bad head is served";
    return parsed.status == 200 || parsed.status == 503 ? "" : "no answer: " + got.substr(0, 200);
  }
};

std::string requests() { return Requests().run(); }

/// Tokens of a site that says to whom and until when: what is asked of each.
struct AskedTokens {
  Ref<TokenRules> rules = make_ref<TokenRules>();
  std::vector<std::string> good;
  std::vector<std::string> bad;

  AskedTokens() {
    rules->forms = {TokenForm::Segue, TokenForm::EdgeAuth, TokenForm::Expires, TokenForm::Jwt};
    rules->keys.emplace_back("k1", TokenKey::Kind::Secret, std::string(32, 'k'));
    rules->issuer = "us";
    const TokenKey stranger("k1", TokenKey::Kind::Secret, std::string(32, 'x'));
    for (const TokenForm form : rules->forms) {
      good.push_back(signed_by(rules->keys.front(), form, 2000));
      bad.push_back(signed_by(rules->keys.front(), form, 500));  // expired
      bad.push_back(signed_by(stranger, form, 2000));
    }
    SignOrder early = order_of(TokenForm::Jwt, 2000);
    early.not_before = 1500;
    bad.push_back(target_of(sign_url(early, rules->keys.front())));
    SignOrder other = order_of(TokenForm::Jwt, 2000);
    other.audience = "others";
    bad.push_back(target_of(sign_url(other, rules->keys.front())));
    other = order_of(TokenForm::Jwt, 2000);
    other.issuer = "them";
    bad.push_back(target_of(sign_url(other, rules->keys.front())));
    SignOrder bound = order_of(TokenForm::Segue, 2000);
    bound.client = "192.0.2.1";
    bad.push_back(target_of(sign_url(bound, rules->keys.front())));
  }
  [[nodiscard]] TokenVerdict check(const std::string& target) const {
    const std::string_view text = target;
    std::unique_ptr<TokenMemo> memo;
    return check_token(rules,
                       {.path = text.substr(0, text.find('?')),
                        .origin_form = text,
                        .fields = {},
                        .client = "203.0.113.7",
                        .host = "h",
                        .port = {},
                        .tls = true,
                        .now = 1000},
                       &memo)
        .verdict;
  }

 private:
  static SignOrder order_of(TokenForm form, int64_t expires) {
    SignOrder order;
    order.form = form;
    order.url = form == TokenForm::Jwt ? "https://h/a/t" : "/a/t";
    order.expires = expires;
    order.issuer = form == TokenForm::Jwt ? "us" : "";
    return order;
  }
  static std::string target_of(const std::expected<std::string, std::string>& url) {
    EXPECT_TRUE(url.has_value());
    std::string target = url.value_or("");
    if (target.starts_with("https://h")) target.erase(0, std::string_view("https://h").size());
    return target;
  }
  static std::string signed_by(const TokenKey& key, TokenForm form, int64_t expires) {
    return target_of(sign_url(order_of(form, expires), key));
  }
};

std::string tokens() {
  const AskedTokens asked;
  std::string wrong;
  const auto judge = [&](const std::string& target, bool is_good) {
    TokenVerdict verdict{};
    {
      const Counted counted;
      verdict = asked.check(target);
    }
    const bool allowed = verdict == TokenVerdict::Allowed;
    if (allowed && !is_good) wrong = "let in by " + target;
    if (!allowed && is_good && !testing::memory_was_refused()) wrong = "kept out with " + target;
  };
  for (const std::string& target : asked.good) judge(target, true);
  for (const std::string& target : asked.bad) judge(target, false);
  for (const std::string& target : asked.good) {
    if (asked.check(target) != TokenVerdict::Allowed) wrong = "kept out afterwards: " + target;
  }
  return wrong;
}

conf::Machine small_machine(const conf::Settings& /*settings*/) {
  conf::Machine machine;
  machine.cores = 2;
  return machine;
}

std::string settings() {
  static const std::string text = R"(
[node]
name = "fra1"
ram = "1GiB"
[origin.store]
servers = ["https://a.example", "https://b.example"]
[[site]]
name = "music"
hosts = ["audio.example.com"]
origin = "store"
ttl = { default = "24h", negative = "10s" }
[[site]]
name = "wrong"
hosts = [7]
)";
  const Counted counted;
  const conf::Loaded loaded = conf::load_text(text, "segue.toml", {}, &small_machine);
  return loaded.mistakes.empty() ? "a mistake was not seen" : "";
}

std::string feed() {
  FeedParser parser;
  const Counted counted;
  const auto good = parser.parse(
      R"({"session":"s","model":"m","now":{"track":"/a"},"next":[{"track":"/b","p":0.5}]})");
  if (!good || good->next.size() != 1 || good->next.front().track.path != "/b")
    return "a good line is not taken";
  return parser.parse(R"({"session":"s","next":[{"track":7}]})") ? "a bad line is taken" : "";
}

TEST(ParseMatrix, ARequestIsAnsweredOrItsConnectionEnds) {
  EXPECT_GT(run_matrix(&requests, Whose::OperatorNew).ended_cleanly, 0U);
  EXPECT_GT(run_matrix(&requests, Whose::Malloc).allocations, 0U);
}

TEST(ParseMatrix, ATokenThatCannotBeReadLetsNobodyIn) {
  EXPECT_GT(run_matrix(&tokens, Whose::OperatorNew).ended_cleanly, 0U);
  const auto counts = run_matrix(&tokens, Whose::Malloc);
  EXPECT_GT(counts.allocations, 0U);
  EXPECT_EQ(counts.ended_cleanly, 0U);
}

TEST(ParseMatrix, SettingsAndFeedLinesAreReadOrTheProcessEnds) {
  EXPECT_GT(run_matrix(&settings, Whose::OperatorNew).ended_cleanly, 0U);
  EXPECT_GT(run_matrix(&feed, Whose::OperatorNew).ended_cleanly, 0U);
}

}  // namespace
}  // namespace segue::edge
