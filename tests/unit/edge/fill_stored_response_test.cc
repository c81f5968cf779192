// What is kept of a response: its age and freshness, and its bytes in a record, which come back
// from a drive and are believed only when they are exactly right.
#include <gtest/gtest.h>

#include "edge/fill/stored_response.h"

namespace segue::edge::test {
namespace {

using namespace std::chrono_literals;

constexpr WallTime kNow{std::chrono::seconds{1'700'000'000}};

StoredResponse::Parts parts() {
  StoredResponse::Parts made;
  made.fields.add("Content-Type", "audio/ogg");
  made.fields.add("ETag", "\"abc\"");
  made.etag = "\"abc\"";
  made.last_modified = std::chrono::sys_seconds{1'600'000'000s};
  made.date = std::chrono::sys_seconds{1'699'999'999s};
  made.response_time = kNow;
  made.initial_age = 5s;
  made.lifetime = 100s;
  made.stale_while_revalidate = 20s;
  made.stale_if_error = 30s;
  made.strong_validator = true;
  made.no_cache = true;
  made.server = 3;
  made.vary_names = {"accept-language"};
  return made;
}

std::vector<std::byte> encoded(const StoredResponse& stored) {
  std::vector<std::byte> bytes(stored.encoded_bytes());
  stored.encode(bytes);
  return bytes;
}

TEST(StoredResponse, ComesBackFromARecordAsItWas) {
  const StoredResponse stored(parts());
  auto decoded = StoredResponseCodec().decode(encoded(stored));
  ASSERT_TRUE(decoded.has_value());
  const auto& back = static_cast<const StoredResponse&>(**decoded);
  EXPECT_EQ(back.http1_block(), "Content-Type: audio/ogg\r\nETag: \"abc\"\r\n");
  EXPECT_EQ(back.parts().etag, "\"abc\"");
  EXPECT_EQ(back.parts().last_modified, stored.parts().last_modified);
  EXPECT_EQ(back.parts().date, stored.parts().date);
  EXPECT_EQ(back.date_text(), "Tue, 14 Nov 2023 22:13:19 GMT");
  ASSERT_TRUE(back.validator().entity_tag().has_value());
  EXPECT_EQ(back.validator().entity_tag()->opaque, "abc");
  EXPECT_EQ(back.validator().last_modified(), stored.parts().last_modified);
  EXPECT_EQ(back.parts().response_time, kNow);
  EXPECT_EQ(back.parts().initial_age, 5s);
  EXPECT_EQ(back.parts().lifetime, 100s);
  EXPECT_EQ(back.parts().stale_while_revalidate, 20s);
  EXPECT_EQ(back.parts().stale_if_error, 30s);
  EXPECT_TRUE(back.parts().strong_validator);
  EXPECT_TRUE(back.parts().no_cache);
  EXPECT_FALSE(back.parts().must_revalidate);
  EXPECT_EQ(back.parts().server, 3);
  EXPECT_EQ(back.parts().vary_names, stored.parts().vary_names);
  EXPECT_EQ(encoded(back), encoded(stored));
}

TEST(StoredResponse, ATruncatedOrLengthenedRecordIsMalformed) {
  auto bytes = encoded(StoredResponse(parts()));
  for (size_t length = 0; length < bytes.size(); ++length) {
    auto decoded = StoredResponseCodec().decode(std::span(bytes).first(length));
    ASSERT_FALSE(decoded.has_value()) << length;
    EXPECT_EQ(decoded.error().side, Side::Disk);
    EXPECT_EQ(decoded.error().kind, Kind::Malformed);
  }
  bytes.push_back(std::byte{0});
  EXPECT_FALSE(StoredResponseCodec().decode(bytes).has_value());
}

TEST(StoredResponse, ARecordCannotSmuggleALineIntoAResponse) {
  auto bytes = encoded(StoredResponse(parts()));
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  bytes[text.find("audio/ogg") + 5] = std::byte{'\n'};
  EXPECT_FALSE(StoredResponseCodec().decode(bytes).has_value());
}

TEST(StoredResponse, AnotherVersionFormOrFlagIsMalformed) {
  for (const size_t at : {size_t{0}, size_t{1}, size_t{2}, size_t{3}}) {
    auto bytes = encoded(StoredResponse(parts()));
    bytes[at] = std::byte{0xff};
    EXPECT_FALSE(StoredResponseCodec().decode(bytes).has_value()) << at;
  }
}

TEST(StoredResponse, AgesByTheWallClockAndNeverBackwards) {
  const StoredResponse stored(parts());
  EXPECT_EQ(stored.age(kNow), 5s);
  EXPECT_EQ(stored.age(kNow + 10s), 15s);
  EXPECT_EQ(stored.age(kNow - 1h), 5s);
  EXPECT_TRUE(stored.is_fresh(kNow + 94s));
  EXPECT_FALSE(stored.is_fresh(kNow + 95s));
  EXPECT_EQ(stored.ttl(kNow + 100s), -5s);
}

TEST(StoredResponse, IsServedStaleOnlyWithinItsWindowsAndNeverWhenForbidden) {
  auto made = parts();
  made.no_cache = false;
  const StoredResponse stored(made);
  EXPECT_TRUE(stored.may_serve_while_revalidating(kNow + 114s, false));
  EXPECT_FALSE(stored.may_serve_while_revalidating(kNow + 115s, false));
  EXPECT_TRUE(stored.may_serve_on_error(kNow + 124s, false));
  EXPECT_FALSE(stored.may_serve_on_error(kNow + 125s, false));
  made.must_revalidate = true;
  const StoredResponse strict(made);
  EXPECT_FALSE(strict.may_serve_while_revalidating(kNow + 100s, false));
  EXPECT_FALSE(strict.may_serve_on_error(kNow + 100s, false));
}

}  // namespace
}  // namespace segue::edge::test
