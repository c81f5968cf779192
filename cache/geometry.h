// cache/geometry.h - where everything lies on a drive of a given size. Pure arithmetic; layout:
// cache/FORMAT.md.
#pragma once
#include <array>
#include <cstdint>
#include <optional>

#include "base/result.h"
#include "cache/format.h"
#include "cache/types.h"

namespace segue::cache {

/// The areas of a drive, in parts of 100 of its payload space; they add up to 100.
struct DriveShares {
  uint8_t k64 = 4;
  uint8_t k128 = 16;
  uint8_t k256 = 80;
};

/// A slot as its shard sees it: numbers 0..slots_per_shard-1, class after class.
struct SlotPlace {
  uint32_t shard = 0;
  uint32_t local = 0;
};

class Geometry {
 public:
  /// The most slots of a shard: index entries keep 24 bits of slot number.
  static constexpr uint32_t kSlotsPerShardMax = (1U << 24) - 2;

  /// What the superblock says; all the rest follows from it.
  struct Facts {
    uint64_t size_bytes = 0;
    uint32_t shards = 0;
    std::array<uint32_t, kSizeClasses> slots_per_shard{};
    uint32_t records = 0;
    uint32_t journal_pages = 0;
  };

  /// Lays out a new drive. Errors: {Self, Full} if a class with a share would get no slot; {Self,
  /// Unsupported} if the shares do not add up to 100 or the drive has more slots than numbers.
  [[nodiscard]] static Result<Geometry> plan(uint64_t size_bytes, DriveShares shares);
  /// Errors: {Disk, Malformed}: facts that cannot be, or do not fit their own size.
  [[nodiscard]] static Result<Geometry> from_facts(const Facts& facts);

  [[nodiscard]] const Facts& facts() const noexcept { return facts_; }
  [[nodiscard]] uint32_t shards() const noexcept { return facts_.shards; }
  [[nodiscard]] uint32_t slots() const noexcept { return class_first_[kSizeClasses]; }
  [[nodiscard]] uint32_t slots_of(SizeClass size_class) const noexcept {
    return facts_.shards * per_shard(size_class);
  }
  [[nodiscard]] uint32_t per_shard(SizeClass size_class) const noexcept {
    return facts_.slots_per_shard[static_cast<uint8_t>(size_class)];
  }
  [[nodiscard]] uint32_t slots_per_shard() const noexcept { return local_first_[kSizeClasses]; }
  [[nodiscard]] uint32_t records() const noexcept { return facts_.records; }
  [[nodiscard]] uint32_t journal_pages() const noexcept { return facts_.journal_pages; }

  /// First local number of a class within each shard; [kSizeClasses] is the end.
  [[nodiscard]] const std::array<uint32_t, kSizeClasses + 1>& local_first() const noexcept {
    return local_first_;
  }
  [[nodiscard]] SizeClass class_of_local(uint32_t local) const noexcept;
  /// The smallest class with slots here that holds `length`; nullopt if none does.
  [[nodiscard]] std::optional<SizeClass> class_for(uint32_t length) const noexcept;

  [[nodiscard]] uint32_t slot_number(SlotPlace place) const noexcept;
  [[nodiscard]] SlotPlace place_of(uint32_t slot) const noexcept;
  [[nodiscard]] uint64_t slot_offset(uint32_t slot) const noexcept;

  [[nodiscard]] uint64_t journal_offset(uint32_t copy, uint32_t page) const noexcept {
    return journal_offset_ + (uint64_t{copy} * facts_.journal_pages + page) * format::kPageBytes;
  }
  [[nodiscard]] uint64_t record_offset(RecordNumber record) const noexcept {
    return records_offset_ + uint64_t{record.value} * kRecordBytes;
  }

  /// An array with an element per slot, cut into pages of which each belongs to one shard and
  /// class.
  class PagedArray {
   public:
    PagedArray() = default;
    PagedArray(uint64_t offset, uint32_t per_page, const Facts& facts) noexcept;
    /// Of a page: its elements are those of the slots `first_local`... of `shard`.
    struct Page {
      uint32_t shard;
      uint32_t first_local;
      uint32_t count;
    };
    [[nodiscard]] uint32_t pages() const noexcept { return first_page_[kSizeClasses]; }
    [[nodiscard]] uint32_t pages_per_shard() const noexcept;
    [[nodiscard]] Page page_at(uint32_t page) const noexcept;
    /// Pages of one shard are numbered 0..pages_per_shard()-1 within it.
    [[nodiscard]] uint32_t page_of_shard(uint32_t shard, uint32_t page_in_shard) const noexcept;
    [[nodiscard]] uint32_t page_in_shard_of(uint32_t local) const noexcept;
    [[nodiscard]] uint64_t offset_of(uint32_t page) const noexcept {
      return offset_ + uint64_t{page} * format::kPageBytes;
    }
    [[nodiscard]] uint64_t end() const noexcept { return offset_of(pages()); }

   private:
    uint64_t offset_ = 0;
    uint32_t per_page_ = 1;
    uint32_t shards_ = 0;
    std::array<uint32_t, kSizeClasses> per_shard_{};        // slots
    std::array<uint32_t, kSizeClasses> pages_per_shard_{};  // of each class
    std::array<uint32_t, kSizeClasses + 1> first_page_{};   // of each class; then the end
    std::array<uint32_t, kSizeClasses + 1> first_local_{};
  };
  [[nodiscard]] const PagedArray& table() const noexcept { return table_; }
  [[nodiscard]] const PagedArray& access() const noexcept { return access_; }

 private:
  explicit Geometry(const Facts& facts) noexcept;
  [[nodiscard]] static bool counts_are_sane(const Facts& facts) noexcept;
  [[nodiscard]] uint64_t end() const noexcept { return slots_offset_[kSizeClasses]; }

  Facts facts_;
  std::array<uint32_t, kSizeClasses + 1> class_first_{};  // global slot numbers; then the end
  std::array<uint32_t, kSizeClasses + 1> local_first_{};
  uint64_t journal_offset_ = 0;
  uint64_t records_offset_ = 0;
  PagedArray table_;
  PagedArray access_;
  std::array<uint64_t, kSizeClasses + 1> slots_offset_{};  // of each class; then the end
};

}  // namespace segue::cache
