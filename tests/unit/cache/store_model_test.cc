// Random operations against a plain model of what the store promises. One seed, one run.
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/random.h"
#include "tests/unit/cache/store_fixture.h"

namespace segue::cache::test {
namespace {

using segue::testing::Random;

/// What must be so, without any cache: which generation of each key may be in force.
struct ModelKey {
  Ref<Generation> in_force;
  bool soft_purged = false;
  Sequence validated_at;
  std::optional<ContactPermit> contact;
  bool contact_purged = false;  // a hard statement was made since it began
  bool contact_soft_purged = false;
};

class Model {
 public:
  Model(Store& store, LocalStore& local, uint64_t seed)
      : store_(store), local_(local), random_(seed) {}

  void step() {
    const uint64_t what = random_.below(32);
    if (what < 4) return start_contact();
    if (what < 8) return end_contact();
    if (what < 9) return purge();
    if (what < 10) return detach();
    if (what < 12) return drop_a_pin();
    if (what < 16) return start_fill();
    if (what < 25) return land();
    read();
  }
  void end() {
    fills_.clear();
    pins_.clear();
    for (auto& [text, key] : keys_) key.contact.reset();
  }

 private:
  struct Fill {
    Ref<Generation> generation;
    FillPermit permit;
  };
  struct Pin {
    Ref<Generation> generation;
    uint32_t slice;
    size_t seen;
    Found found;
  };

  std::string pick_text() {
    return "/" + std::to_string(random_.below(3)) + "/" + std::to_string(random_.below(6));
  }
  ModelKey& pick(std::string& text) {
    text = pick_text();
    return keys_[text];
  }

  void start_contact() {
    std::string text;
    ModelKey& key = pick(text);
    auto permit = store_.try_start_contact(store_.hash(text));
    ASSERT_EQ(permit.has_value(), !key.contact.has_value());
    if (!permit) return;
    key.contact.emplace(std::move(*permit));
    key.contact_purged = key.contact_soft_purged = false;
  }

  void end_contact() {
    std::string text;
    ModelKey& key = pick(text);
    if (!key.contact) return;
    ContactPermit permit = std::move(*key.contact);
    key.contact.reset();
    const Sequence sequence = permit.sequence();
    if (random_.one_in(4)) return;  // abandoned
    if (key.in_force && random_.one_in(2)) {
      ASSERT_TRUE(store_.freshen(std::move(permit), key.in_force, make_ref<TextFacts>("fresh")));
      key.validated_at = sequence;
      key.soft_purged = key.contact_soft_purged;
      return;
    }
    auto generation =
        make_ref<Generation>(store_.hash(text), text, sequence, random_.between(1, 700'000));
    const bool installed =
        store_.commit(std::move(permit), {{generation, make_ref<TextFacts>("f")}, {}});
    ASSERT_EQ(installed, !key.contact_purged);
    ASSERT_EQ(generation->detached(), !installed);
    if (!installed) return;
    if (key.in_force) ASSERT_TRUE(key.in_force->detached());
    key.in_force = generation;
    key.validated_at = sequence;
    key.soft_purged = key.contact_soft_purged;
  }

  void purge() {
    PurgeStatement made;
    const uint64_t scope = random_.below(12);
    std::string text = pick_text();
    made.scope = scope == 0  ? PurgeScope::Everything
                 : scope < 4 ? PurgeScope::Prefix
                             : PurgeScope::Key;
    made.soft = random_.one_in(2);
    made.sequence = store_.next_sequence();
    made.key = store_.hash(text);
    if (made.scope == PurgeScope::Prefix) made.prefix = text.substr(0, random_.between(1, 4));
    ASSERT_TRUE(store_.apply(made, false));
    for (auto& [name, key] : keys_) {
      const bool matches =
          made.scope == PurgeScope::Everything ||
          (made.scope == PurgeScope::Prefix ? name.starts_with(made.prefix) : name == text);
      if (!matches) continue;
      (made.soft ? key.contact_soft_purged : key.contact_purged) = true;
      if (made.soft) {
        key.soft_purged = true;
      } else if (key.in_force) {
        ASSERT_TRUE(key.in_force->detached());
        key.in_force = {};
      }
    }
  }

  void detach() {
    std::string text;
    ModelKey& key = pick(text);
    if (!key.in_force || !random_.one_in(4)) return;
    store_.detach(key.in_force);
    key.in_force = {};
  }

  void start_fill() {
    std::string text;
    ModelKey& key = pick(text);
    if (!key.in_force || fills_.size() > 10) return;
    auto reservation =
        store_.try_reserve(1, random_.one_in(2) ? Priority::Demand : Priority::Prefetch);
    if (!reservation) return;
    const SliceIndex slice{static_cast<uint32_t>(random_.below(3))};
    FillPermit permit = store_.try_start_fill(key.in_force, slice, *reservation);
    for (const Fill& fill : fills_) {
      if (fill.generation == key.in_force && fill.permit.slice() == slice) {
        ASSERT_FALSE(permit);  // one fill per slice
      }
    }
    if (permit) fills_.push_back({key.in_force, std::move(permit)});
  }

  void land() {
    if (fills_.empty()) return;
    const size_t index = random_.below(fills_.size());
    Fill& fill = fills_[index];
    const auto room = static_cast<uint32_t>(fill.permit.writable().size());
    if (room > 0) {
      land_bytes(fill.permit, fill.generation->id().value,
                 random_.one_in(2) ? room : static_cast<uint32_t>(random_.between(1, room)));
    } else {
      std::move(fill.permit).commit(local_);
      fills_.erase(fills_.begin() + static_cast<ptrdiff_t>(index));
      return;
    }
    if (random_.one_in(10)) fills_.erase(fills_.begin() + static_cast<ptrdiff_t>(index));
  }

  void read() {
    std::string text;
    ModelKey& key = pick(text);
    const auto found = store_.look_up(store_.hash(text), text);
    ASSERT_EQ(found.known == Store::Known::Yes, static_cast<bool>(key.in_force));
    if (!key.in_force) return;
    ASSERT_EQ(found.selected.generation, key.in_force);
    ASSERT_EQ(found.selected.stale_by_purge, key.soft_purged);
    const auto slice = static_cast<uint32_t>(random_.below(3));
    Found here = store_.find(*key.in_force, SliceIndex{slice}, UseId{random_.below(3)});
    if (here.where == Where::Absent) return;
    check(key.in_force, slice, here);
    const size_t seen = here.buffer.landed().size();
    if (pins_.size() < 6) pins_.push_back({key.in_force, slice, seen, std::move(here)});
  }

  void drop_a_pin() {
    if (pins_.empty()) return;
    Pin& pin = pins_.front();
    ASSERT_GE(pin.found.buffer.landed().size(), pin.seen);
    check(pin.generation, pin.slice, pin.found);
    std::vector<Pin> rest;
    for (size_t i = 1; i < pins_.size(); ++i) rest.push_back(std::move(pins_[i]));
    pins_ = std::move(rest);
  }

  static void check(const Ref<Generation>& generation, uint32_t slice, const Found& found) {
    const auto bytes = found.buffer.landed();
    if (found.where == Where::Resident) {
      ASSERT_EQ(bytes.size(), generation->slice_bytes(SliceIndex{slice}));
    }
    const uint64_t first = first_byte_of(SliceIndex{slice});
    for (size_t i = 0; i < bytes.size(); i += 61) {
      ASSERT_EQ(bytes[i], byte_at(generation->id().value, first + i));
    }
  }

  Store& store_;
  LocalStore& local_;
  Random random_;
  std::map<std::string, ModelKey> keys_;
  std::vector<Fill> fills_;
  std::vector<Pin> pins_;
};

class StoreModelTest : public StoreTest, public ::testing::WithParamInterface<EvictionPolicy> {
 protected:
  static Store::Options with(EvictionPolicy policy) {
    Store::Options options = small_options();
    options.ram_bytes = 3 * MiB;  // evicts all the time
    options.policy = policy;
    return options;
  }
  StoreModelTest() : StoreTest(with(GetParam())) {}
};

TEST_P(StoreModelTest, DoesWhatTheModelSays) {
  for (uint64_t seed = 1; seed <= 25; ++seed) {
    SCOPED_TRACE(seed);
    open(with(GetParam()));
    Model model(*store, *local, seed);
    for (int i = 0; i < 4000 && !HasFatalFailure(); ++i) {
      model.step();
      if (i % 16 == 0) store->check_invariants();
      if (i % 64 == 0) clock.advance(std::chrono::milliseconds{700});
    }
    model.end();
    loop.run();
    store->check_invariants(true);
    ASSERT_FALSE(HasFatalFailure());
    EXPECT_GT(store->usage().evictions, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Policies, StoreModelTest,
                         ::testing::Values(EvictionPolicy::Lru, EvictionPolicy::S3Fifo));

}  // namespace
}  // namespace segue::cache::test
