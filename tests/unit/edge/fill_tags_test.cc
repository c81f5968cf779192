// Cache tags as an origin writes them: which are read, and when there are too many to keep.
#include <gtest/gtest.h>

#include "base/loop/clock.h"
#include "edge/fill/stored_response.h"
#include "edge/fill/tags.h"

namespace segue::edge {
namespace {

struct Tags : ::testing::Test {
  Tags() {
    auto made =
        cache::Store::create({.ram_bytes = 64 * MiB, .huge_pages = false}, codec, clock, {});
    store = std::move(*made);
  }
  std::optional<std::vector<uint64_t>> read(
      std::initializer_list<std::pair<std::string_view, std::string_view>> lines) {
    http::OwnedFields fields;
    for (const auto& [name, value] : lines) fields.add(name, value);
    return tags_of(fields.view(), site, *store);
  }
  StoredResponseCodec codec;
  SystemClock clock;
  std::unique_ptr<cache::Store> store;
  Site site;
};

TEST_F(Tags, AreSeparatedBySpacesOrCommasAndEachCountsOnce) {
  const auto expected = read({{"Cache-Tag", "a,b"}});
  ASSERT_TRUE(expected.has_value());
  EXPECT_EQ(expected->size(), 2u);
  EXPECT_EQ(read({{"Surrogate-Key", "b a"}}), expected);
  EXPECT_EQ(read({{"surrogate-key", " a , b,, a\t"}}), expected);
  EXPECT_EQ(read({{"Cache-Tag", "a"}, {"Surrogate-Key", "b"}, {"Cache-Tag", "b"}}), expected);
  EXPECT_NE(read({{"Cache-Tag", "A,b"}}), expected);
  EXPECT_TRUE(read({{"X-Tag", "a"}})->empty());
  EXPECT_TRUE(read({{"Cache-Tag", " ,, "}})->empty());
}

TEST_F(Tags, ThirtyTwoAreKeptAndOneMoreIsTooMany) {
  std::string value;
  for (uint32_t i = 0; i < kTagsPerRecordMax; ++i) value += "t" + std::to_string(i) + " ";
  EXPECT_EQ(read({{"Cache-Tag", value}})->size(), kTagsPerRecordMax);
  EXPECT_EQ(read({{"Cache-Tag", value}, {"Cache-Tag", "t0 t1"}})->size(), kTagsPerRecordMax);
  EXPECT_FALSE(read({{"Cache-Tag", value + "more"}}).has_value());
}

TEST_F(Tags, OneThatIsNoTagMakesTheAnswerUnfitToBeStored) {
  EXPECT_FALSE(read({{"Cache-Tag", "a \xc3\xbc"}}).has_value());
  EXPECT_FALSE(read({{"Cache-Tag", std::string(1025, 'x')}}).has_value());
  EXPECT_TRUE(read({{"Cache-Tag", std::string(1024, 'x')}}).has_value());
}

}  // namespace
}  // namespace segue::edge
