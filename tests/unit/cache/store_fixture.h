// A store without drives, loops that run when told to, and small answers to "what would delivery
// have done": installing a representation, filling a slice.
#pragma once
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop/clock.h"
#include "base/loop/loop.h"
#include "base/loop/task.h"
#include "cache/store.h"

namespace segue::cache::test {

class TestLoop final : public Loop {
 public:
  using Loop::Loop;
  /// Runs posts, timers that are due and what is ready until nothing is left.
  void run() {
    const Turn turn(*this);
    while (has_posts() || has_ready()) {
      run_posts();
      run_due_timers();
      while (run_one()) {
      }
    }
    run_due_timers();
    while (run_one()) {
    }
  }

 protected:
  void wake() noexcept override {}
};

class TextFacts final : public StoredFacts {
 public:
  explicit TextFacts(std::string text) : text_(std::move(text)) {}
  [[nodiscard]] uint32_t encoded_bytes() const noexcept override {
    return static_cast<uint32_t>(text_.size());
  }
  void encode(std::span<std::byte> out) const noexcept override {
    std::memcpy(out.data(), text_.data(), text_.size());
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

class TextCodec final : public FactsCodec {
 public:
  [[nodiscard]] Result<Ref<const StoredFacts>> decode(
      std::span<const std::byte> encoded) const override {
    if (!encoded.empty() && encoded[0] == std::byte{'!'}) {
      return fail(Side::Disk, Kind::Malformed, "text facts");
    }
    return Ref<const StoredFacts>(
        new TextFacts({reinterpret_cast<const char*>(encoded.data()), encoded.size()}));
  }
};

inline const std::string& text_of(const Selected& selected) {
  return static_cast<const TextFacts&>(*selected.facts).text();
}

/// The byte at `offset` of any representation of ours, told apart by `salt`.
inline std::byte byte_at(uint64_t salt, uint64_t offset) {
  return static_cast<std::byte>(mix(salt * 1'000'003 + offset / 8) >> (offset % 8 * 8));
}

/// Lands the next `bytes` of a fill.
inline void land_bytes(FillPermit& permit, uint64_t salt, uint32_t bytes) {
  const std::span<std::byte> room = permit.writable();
  const uint64_t first =
      first_byte_of(permit.slice()) + permit.length() - static_cast<uint32_t>(room.size());
  for (uint32_t i = 0; i < bytes; ++i) room[i] = byte_at(salt, first + i);
  permit.publish(bytes);
}

class StoreTest : public ::testing::Test {
 protected:
  static Store::Options small_options() {
    Store::Options options;
    options.ram_bytes = 5 * MiB;  // 12 small, 4 of 64 KiB, 4 of 128 KiB, 16 of 256 KiB
    options.hash_seed = 42;
    options.huge_pages = false;
    return options;
  }
  explicit StoreTest(Store::Options options = small_options()) { open(options); }
  ~StoreTest() override {
    loop.run();
    if (store) store->check_invariants(true);  // every test ends with nothing held
  }
  void open(Store::Options options) {
    local.reset();
    auto made = Store::create(options, codec, clock, {});
    ASSERT_TRUE(made.has_value());
    store = std::move(*made);
    local = std::make_unique<LocalStore>(*store, loop, std::vector<Disk*>{});
  }

  /// Installs a representation of `length` bytes, as a contact that went well does.
  Ref<Generation> install(const std::string& key_text, uint64_t length, std::string facts = "f",
                          std::vector<uint64_t> tags = {}) {
    const KeyHash key = store->hash(key_text);
    auto permit = store->try_start_contact(key);
    EXPECT_TRUE(permit.has_value());
    const Sequence sequence = permit->sequence();
    auto generation = make_ref<Generation>(key, key_text, sequence, length);
    EXPECT_TRUE(store->commit(
        std::move(*permit),
        {{generation, make_ref<TextFacts>(std::move(facts))}, std::move(tags), false}));
    return generation;
  }
  [[nodiscard]] Store::LookUp look_up(const std::string& key_text) const {
    return store->look_up(store->hash(key_text), key_text);
  }
  PurgeStatement statement(PurgeScope scope, const std::string& text = "", bool soft = false) {
    PurgeStatement made;
    made.scope = scope;
    made.soft = soft;
    made.sequence = store->next_sequence();
    made.key = store->hash(text);
    made.prefix = text;
    return made;
  }
  FillPermit start_fill(const Ref<Generation>& generation, uint32_t slice) {
    auto reservation = store->try_reserve(1, Priority::Demand);
    if (!reservation) return {};
    return store->try_start_fill(generation, SliceIndex{slice}, *reservation);
  }
  static void land(FillPermit& permit, uint64_t salt, uint32_t bytes) {
    land_bytes(permit, salt, bytes);
  }
  /// Fills a slice with bytes of the generation's own; false if there was no room.
  bool fill(const Ref<Generation>& generation, uint32_t slice) {
    FillPermit permit = start_fill(generation, slice);
    if (!permit) return false;
    land(permit, generation->id().value, permit.length());
    std::move(permit).commit(*local);
    return true;
  }
  [[nodiscard]] Where where(const Ref<Generation>& generation, uint32_t slice) const {
    return store->where(*generation, SliceIndex{slice});
  }
  [[nodiscard]] Found find(const Ref<Generation>& generation, uint32_t slice, uint64_t use = 1) {
    return store->find(*generation, SliceIndex{slice}, UseId{use});
  }

  VirtualClock clock;
  TextCodec codec;
  TestLoop loop{0, clock};
  std::unique_ptr<Store> store;
  std::unique_ptr<LocalStore> local;
};

}  // namespace segue::cache::test
