// Goal: a fetch over HTTP is answered, or told apart, exactly as origin/fetcher.h says. Method: a
// real loop against a scripted origin in a thread of this process.
#include "origin/http_fetcher.h"

#include "tests/unit/origin/fetching.h"

namespace segue::origin {
namespace {

class HttpFetching : public Fetching {
 protected:
  HttpFetching() { options_.servers = {origin_.url()}; }
  ScriptedOrigin origin_;
};

TEST_F(HttpFetching, AWholeBodyComesAsItIs) {
  const std::string bytes = pattern(1'000'000);
  origin_.serve("/t", {.bytes = bytes, .etag = "\"v1\"", .fields = "X-Own: 1\r\n"});
  const Fetched got = run(whole("/t"));
  ASSERT_FALSE(got.error) << got.where();
  EXPECT_EQ(got.head->status, 200);
  EXPECT_EQ(got.head->content_length, 1'000'000U);
  EXPECT_EQ(got.head->complete_length, 1'000'000U);
  EXPECT_FALSE(got.head->content_range);
  EXPECT_FALSE(got.head->close_delimited);
  EXPECT_EQ(got.head->server, 0);
  EXPECT_EQ(got.field("etag"), "\"v1\"");
  EXPECT_EQ(got.field("x-own"), "1");
  EXPECT_GT(got.head->first_byte_latency.count(), 0);
  EXPECT_TRUE(got.body == bytes);
  EXPECT_EQ(counters().bodies_complete.get(), 1U);
  EXPECT_EQ(counters().body_bytes.get(), 1'000'000U);
  EXPECT_EQ(counters().fetches_in_flight.get(), 0U);
}

}  // namespace
}  // namespace segue::origin
