// Purges: what a statement covers, by when the origin was asked, and what the table refuses.
#include <gtest/gtest.h>

#include "cache/purge_table.h"
#include "tests/unit/cache/store_fixture.h"

namespace segue::cache::test {
namespace {

class PurgeTest : public StoreTest {
 protected:
  [[nodiscard]] bool is_known(const std::string& key_text) const {
    return look_up(key_text).known == Store::Known::Yes;
  }
  void upkeep() {
    TaskGroup group(loop, 1);
    {
      const Loop::Turn turn(loop);
      ASSERT_TRUE(group.try_spawn(local->upkeep()));
    }
    loop.run();
    ASSERT_EQ(group.running(), 0);
  }
};

TEST_F(PurgeTest, ByKeyTakesThatKeyOnly) {
  auto purged = install("/t/1", 100);
  install("/t/11", 100);
  EXPECT_TRUE(store->apply(statement(PurgeScope::Key, "/t/1"), false));
  EXPECT_FALSE(is_known("/t/1"));
  EXPECT_TRUE(is_known("/t/11"));
  EXPECT_TRUE(purged->detached());
  EXPECT_FALSE(purged->cut());
}

TEST_F(PurgeTest, ByPrefixTakesAllThatBeginWithIt) {
  install("/a/1", 100);
  install("/a/2", 100);
  install("/ab", 100);
  install("/b/1", 100);
  EXPECT_TRUE(store->apply(statement(PurgeScope::Prefix, "/a/"), false));
  EXPECT_FALSE(is_known("/a/1"));
  EXPECT_FALSE(is_known("/a/2"));
  EXPECT_TRUE(is_known("/ab"));
  EXPECT_TRUE(is_known("/b/1"));
  EXPECT_EQ(store->usage().representations, 2);
}

TEST_F(PurgeTest, ByTagTakesAllThatBearIt) {
  const uint64_t album = store->hash("album").low;
  const uint64_t artist = store->hash("artist").low;
  install("/t/1", 100, "f", {album, artist});
  install("/t/2", 100, "f", {artist});
  install("/t/3", 100);
  EXPECT_TRUE(store->apply(statement(PurgeScope::Tag, "album"), false));
  EXPECT_FALSE(is_known("/t/1"));
  EXPECT_TRUE(is_known("/t/2"));
  EXPECT_TRUE(is_known("/t/3"));
}

TEST_F(PurgeTest, EverythingTakesEverything) {
  install("/t/1", 100);
  install("/t/2", 100);
  EXPECT_TRUE(store->apply(statement(PurgeScope::Everything), false));
  EXPECT_FALSE(is_known("/t/1"));
  EXPECT_FALSE(is_known("/t/2"));
  EXPECT_EQ(store->usage().representations, 0);
}

TEST_F(PurgeTest, CutAlsoEndsRunningResponses) {
  auto one = install("/t/1", 100);
  auto two = install("/a/1", 100);
  store->apply(statement(PurgeScope::Key, "/t/1"), true);
  store->apply(statement(PurgeScope::Prefix, "/a"), true);
  EXPECT_TRUE(one->cut());
  EXPECT_TRUE(two->cut());
}

TEST_F(PurgeTest, WhatWasAskedAfterItIsNotCovered) {
  auto made = statement(PurgeScope::Prefix, "/t");
  install("/t/1", 100);  // asked after the statement was made
  store->apply(made, false);
  EXPECT_TRUE(is_known("/t/1"));
}

TEST_F(PurgeTest, WhatWasAskedBeforeAndComesAfterItIsNotPutInForce) {
  const PurgeScope scopes[] = {PurgeScope::Key, PurgeScope::Prefix, PurgeScope::Tag,
                               PurgeScope::Everything};
  for (const PurgeScope scope : scopes) {
    const KeyHash key = store->hash("/t/1");
    auto permit = store->try_start_contact(key);
    ASSERT_TRUE(permit.has_value());
    auto generation = make_ref<Generation>(key, "/t/1", permit->sequence(), 100U);
    store->apply(statement(scope, "/t/1"), false);
    EXPECT_FALSE(
        store->commit(std::move(*permit),
                      {{generation, make_ref<TextFacts>("f")}, {store->hash("/t/1").low}, false}));
    EXPECT_TRUE(generation->detached());
    EXPECT_FALSE(is_known("/t/1"));
  }
}

TEST_F(PurgeTest, UpkeepKeepsAStatementWhileAnOlderContactIsUnderWay) {
  const KeyHash key = store->hash("/t/1");
  auto permit = store->try_start_contact(key);
  auto generation = make_ref<Generation>(key, "/t/1", permit->sequence(), 100U);
  store->apply(statement(PurgeScope::Prefix, "/t"), false);
  upkeep();
  upkeep();
  EXPECT_FALSE(store->commit(std::move(*permit), {{generation, make_ref<TextFacts>("f")}, {}}));
}

TEST_F(PurgeTest, AFullTableRefusesAndUpkeepMakesRoom) {
  for (uint32_t i = 0; i < kPrefixPurgesMax; ++i) {
    ASSERT_TRUE(store->apply(statement(PurgeScope::Prefix, "/p/" + std::to_string(i)), false));
  }
  install("/q/1", 100);
  EXPECT_FALSE(store->apply(statement(PurgeScope::Prefix, "/q"), false));
  EXPECT_TRUE(is_known("/q/1"));  // never widened, never half done
  EXPECT_TRUE(store->apply(statement(PurgeScope::Prefix, "/p/7"), false));  // there already
  upkeep();
  EXPECT_TRUE(store->apply(statement(PurgeScope::Prefix, "/q"), false));
  EXPECT_FALSE(is_known("/q/1"));
}

TEST_F(PurgeTest, TheTableOfTagsIsBounded) {
  for (uint32_t i = 0; i < kTagPurgesMax; ++i) {
    ASSERT_TRUE(store->apply(statement(PurgeScope::Tag, "tag" + std::to_string(i)), false));
  }
  EXPECT_FALSE(store->apply(statement(PurgeScope::Tag, "one more"), false));
  EXPECT_TRUE(store->apply(statement(PurgeScope::Tag, "tag7"), false));
}

TEST_F(PurgeTest, ASoftPurgeMakesStaleUntilRevalidated) {
  auto generation = install("/t/1", 100);
  store->apply(statement(PurgeScope::Key, "/t/1", true), false);
  ASSERT_TRUE(is_known("/t/1"));
  EXPECT_TRUE(look_up("/t/1").selected.stale_by_purge);
  auto permit = store->try_start_contact(store->hash("/t/1"));
  EXPECT_TRUE(store->freshen(std::move(*permit), generation, make_ref<TextFacts>("g")));
  EXPECT_FALSE(look_up("/t/1").selected.stale_by_purge);
  EXPECT_FALSE(generation->detached());
}

TEST_F(PurgeTest, ARevalidationSentBeforeASoftPurgeDoesNotAnswerIt) {
  for (const PurgeScope scope : {PurgeScope::Key, PurgeScope::Prefix}) {
    auto generation = install("/t/1", 100);
    auto permit = store->try_start_contact(store->hash("/t/1"));
    store->apply(statement(scope, "/t/1", true), false);
    EXPECT_TRUE(store->freshen(std::move(*permit), generation, make_ref<TextFacts>("g")));
    EXPECT_TRUE(look_up("/t/1").selected.stale_by_purge);
  }
}

TEST_F(PurgeTest, ASoftPurgeMarksWhatWasAskedBeforeAndComesAfterIt) {
  const KeyHash key = store->hash("/t/1");
  auto permit = store->try_start_contact(key);
  auto generation = make_ref<Generation>(key, "/t/1", permit->sequence(), 100U);
  store->apply(statement(PurgeScope::Everything, "", true), false);
  EXPECT_TRUE(store->commit(std::move(*permit), {{generation, make_ref<TextFacts>("f")}, {}}));
  EXPECT_TRUE(look_up("/t/1").selected.stale_by_purge);
}

TEST_F(PurgeTest, AHardPurgeTakesWhatWasRevalidatedSince) {
  // The bytes were asked for before the purge, whatever a 304 said later.
  auto generation = install("/t/1", 100);
  auto made = statement(PurgeScope::Key, "/t/1");
  auto permit = store->try_start_contact(store->hash("/t/1"));
  EXPECT_TRUE(store->freshen(std::move(*permit), generation, make_ref<TextFacts>("g")));
  store->apply(made, false);
  EXPECT_FALSE(is_known("/t/1"));
}

TEST_F(PurgeTest, ThroughTheLoopsDoorItIsDoneWhenTheTaskEnds) {
  install("/t/1", 100);
  TaskGroup group(loop, 1);
  std::optional<Result<Done>> result;
  struct Run {
    static Task<void> purge(LocalStore& local, PurgeStatement made,
                            std::optional<Result<Done>>& into) {
      into = co_await local.purge(std::move(made), false);
    }
  };
  {
    const Loop::Turn turn(loop);
    ASSERT_TRUE(group.try_spawn(Run::purge(*local, statement(PurgeScope::Prefix, "/t"), result)));
  }
  loop.run();
  ASSERT_TRUE(result.has_value());
  EXPECT_TRUE(result->has_value());
  EXPECT_FALSE(is_known("/t/1"));
}

TEST(PurgeTable, FindsEveryPrefixOfAKeyAmongMany) {
  // Against the plain rule, over all words of up to five of two letters.
  std::vector<std::string> words = {""};
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i].size() == 5) break;
    words.push_back(words[i] + "a");
    words.push_back(words[i] + "b");
  }
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    PurgeTable table;
    std::vector<PurgeStatement> made;
    for (uint32_t i = 0; i < 6; ++i) {
      PurgeStatement one;
      one.scope = PurgeScope::Prefix;
      one.sequence = Sequence{i + 1};
      one.soft = mix(seed * 31 + i) % 3 == 0;
      one.prefix = words[mix(seed * 17 + i) % words.size()];
      made.push_back(one);
      ASSERT_TRUE(table.try_add(one));
    }
    for (const std::string& word : words) {
      PurgeMarks expected;
      for (const PurgeStatement& one : made) {
        if (word.starts_with(one.prefix)) expected.raise(one.soft, one.sequence);
      }
      const PurgeMarks marks = table.match(word);
      ASSERT_EQ(marks.hard, expected.hard) << word << " seed " << seed;
      ASSERT_EQ(marks.soft, expected.soft) << word << " seed " << seed;
    }
  }
}

TEST(PurgeTable, RetiresWhatIsOlderThanThePassOnly) {
  PurgeTable table;
  PurgeStatement one;
  one.scope = PurgeScope::Prefix;
  one.sequence = Sequence{5};
  one.prefix = "/a";
  ASSERT_TRUE(table.try_add(one));
  table.start_pass();
  one.prefix = "/b";
  one.sequence = Sequence{4};  // made before the pass, told after it began
  ASSERT_TRUE(table.try_add(one));
  EXPECT_EQ(table.retire_bound(Sequence{10}), Sequence{4});
  table.retire(Sequence{10});
  EXPECT_EQ(table.usage().prefixes, 2);
  table.start_pass();
  table.retire(Sequence{10});
  EXPECT_EQ(table.usage().prefixes, 0);
}

}  // namespace
}  // namespace segue::cache::test
