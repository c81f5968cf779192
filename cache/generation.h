// cache/generation.h - one version of a representation, and the stored facts that may be freshened
// without making a new one.
#pragma once
#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ref.h"
#include "base/result.h"
#include "cache/types.h"

namespace segue::cache {

/// What delivery stores of a response's header: opaque here, immutable, shared by all loops. A 304
/// makes a new one.
class StoredFacts : public RefCounted {
 public:
  /// Bytes encode() writes. More than fits a record (FORMAT.md): the representation stays in RAM
  /// only.
  [[nodiscard]] virtual uint32_t encoded_bytes() const noexcept = 0;
  /// Writes exactly encoded_bytes() into `out`, which has room.
  virtual void encode(std::span<std::byte> out) const noexcept = 0;
};

/// Turns the facts part of a record, read from a drive and therefore hostile, back into an object.
class FactsCodec {
 public:
  virtual ~FactsCodec() = default;
  /// Errors: {Disk, Malformed}. Any loop; cannot wait.
  [[nodiscard]] virtual Result<Ref<const StoredFacts>> decode(
      std::span<const std::byte> encoded) const = 0;
};

/// One version of a representation. Slices of two generations never mix in one response. Shared by
/// all loops.
class Generation final : public RefCounted {
 public:
  /// `list`: what a purge of the variants' common key finds, if this is one of them.
  Generation(KeyHash key, std::string key_text, Sequence id, uint64_t complete_length,
             Ref<Generation> list = {})
      : key_(key),
        key_text_(std::move(key_text)),
        id_(id),
        complete_length_(complete_length),
        list_(std::move(list)) {}

  [[nodiscard]] const KeyHash& key() const noexcept { return key_; }
  [[nodiscard]] std::string_view key_text() const noexcept {
    return key_text_;
  }  // valid while this lives
  /// The sequence taken before its first origin request was sent.
  [[nodiscard]] Sequence id() const noexcept { return id_; }
  [[nodiscard]] uint64_t complete_length() const noexcept { return complete_length_; }
  [[nodiscard]] uint32_t slices() const noexcept { return slice_count(complete_length_); }
  [[nodiscard]] SliceKey slice_key(SliceIndex slice) const noexcept { return {key_, id_, slice}; }
  [[nodiscard]] uint32_t slice_bytes(SliceIndex slice) const noexcept {
    return slice_length(slice, complete_length_);
  }
  [[nodiscard]] SizeClass slice_class(SliceIndex slice) const noexcept {
    return class_of(slice_bytes(slice), slices() == 1);
  }

  /// Purged or replaced: its readers may finish with what is here, nothing more of it is stored, no
  /// new response starts on it.
  [[nodiscard]] bool detached() const noexcept { return detached_.load(std::memory_order_acquire); }
  /// `--cut`: running responses end too.
  [[nodiscard]] bool cut() const noexcept {
    return cut_.load(std::memory_order_acquire) || (list_ && list_->cut());
  }
  /// Of its cache tags; as given to Store::commit().
  [[nodiscard]] std::span<const uint64_t> tag_hashes() const noexcept { return tag_hashes_; }
  /// Which of the store's drives holds its slices; meaningful once it has been in force.
  [[nodiscard]] uint8_t drive() const noexcept { return drive_; }

  // Responses reading this generation now. A fill with no reader left ends early; a slice that a
  // running response may still need is kept on the SSD when it must leave RAM.
  void reader_came() const noexcept { readers_.fetch_add(1, std::memory_order_relaxed); }
  void reader_left() const noexcept { readers_.fetch_sub(1, std::memory_order_relaxed); }
  [[nodiscard]] uint32_t readers() const noexcept {
    return readers_.load(std::memory_order_relaxed);
  }

 private:
  friend class Representations;
  // constant after construction
  const KeyHash key_;
  const std::string key_text_;
  const Sequence id_;
  const uint64_t complete_length_;
  const Ref<Generation> list_;
  // written before it is put in force, constant after
  std::vector<uint64_t> tag_hashes_;
  uint8_t drive_ = 0;
  // atomic, any thread
  std::atomic<bool> detached_{false};
  std::atomic<bool> cut_{false};
  mutable std::atomic<uint32_t> readers_{0};
};

/// What a look-up selects: one generation and the facts in force now.
struct Selected {
  Ref<Generation> generation;
  Ref<const StoredFacts> facts;
  /// A soft purge covers it: serve as stale (revalidate first), whatever its freshness says.
  bool stale_by_purge = false;
  explicit operator bool() const noexcept { return static_cast<bool>(generation); }
};

}  // namespace segue::cache
