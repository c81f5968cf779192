#include "cache/purge_table.h"

#include <algorithm>

namespace segue::cache {

void PurgeMarks::raise(const PurgeMarks& other) noexcept {
  hard = std::max(hard, other.hard);
  soft = std::max(soft, other.soft);
}

void PurgeMarks::raise(bool is_soft, Sequence sequence) noexcept {
  Sequence& mark = is_soft ? soft : hard;
  mark = std::max(mark, sequence);
}

namespace {

/// Clears marks below `before`; true if none is left.
bool is_pointless(PurgeMarks& marks, Sequence before) {
  if (marks.hard < before) marks.hard = {};
  if (marks.soft < before) marks.soft = {};
  return marks.hard == Sequence{} && marks.soft == Sequence{};
}

template <class Entries, class Name>
auto place_of(Entries& entries, const Name& name) {
  using Entry = typename Entries::value_type;
  return std::lower_bound(entries.begin(), entries.end(), name,
                          [](const Entry& entry, const Name& wanted) {
                            if constexpr (requires { entry.text; }) {
                              return entry.text < wanted;
                            } else {
                              return entry.hash < wanted;
                            }
                          });
}

}  // namespace

bool PurgeTable::try_add(const PurgeStatement& statement) { return add(statement, true); }

void PurgeTable::restore(const PurgeStatement& statement) { SEGUE_ASSERT(add(statement, false)); }

bool PurgeTable::add(const PurgeStatement& statement, bool bounded) {
  SEGUE_ASSERT(statement.scope != PurgeScope::Key);
  const std::lock_guard lock(mutex_);
  if (statement.scope == PurgeScope::Prefix) {
    auto at = place_of(prefixes_, statement.prefix);
    if (at == prefixes_.end() || at->text != statement.prefix) {
      if (bounded && prefixes_.size() >= kPrefixPurgesMax) return false;
      at = prefixes_.insert(at, Prefix{statement.prefix, {}});
    }
    at->marks.raise(statement.soft, statement.sequence);
  } else if (statement.scope == PurgeScope::Tag) {
    auto at = place_of(tags_, statement.key.low);
    if (at == tags_.end() || at->hash != statement.key.low) {
      if (bounded && tags_.size() >= kTagPurgesMax) return false;
      at = tags_.insert(at, Tag{statement.key.low, {}});
    }
    at->marks.raise(statement.soft, statement.sequence);
  } else {
    everything_.raise(statement.soft, statement.sequence);
  }
  if (statement.sequence > latest()) {
    latest_.store(statement.sequence.value, std::memory_order_release);
  }
  lowest_since_pass_ = std::min(lowest_since_pass_, statement.sequence);
  added_.fetch_add(1, std::memory_order_release);
  return true;
}

PurgeMarks PurgeTable::match(std::string_view key_text,
                             std::span<const uint64_t> tags) const noexcept {
  const std::lock_guard lock(mutex_);
  PurgeMarks marks = everything_;
  // All prefixes of `key_text` in the table: the greatest entry not above it is either one, or
  // shares with it the longest beginning that a lesser one can be; so go on with that beginning.
  std::string_view rest = key_text;
  auto end = prefixes_.end();
  while (end != prefixes_.begin()) {
    const auto above =
        std::upper_bound(prefixes_.begin(), end, rest,
                         [](std::string_view wanted, const Prefix& p) { return wanted < p.text; });
    if (above == prefixes_.begin()) break;
    const auto at = above - 1;
    if (rest.starts_with(at->text)) marks.raise(at->marks);
    const auto differs = std::mismatch(rest.begin(), rest.end(), at->text.begin(), at->text.end());
    rest = rest.substr(0, static_cast<size_t>(differs.first - rest.begin()));
    end = at;
  }
  for (const uint64_t hash : tags) {
    const auto at = place_of(tags_, hash);
    if (at != tags_.end() && at->hash == hash) marks.raise(at->marks);
  }
  return marks;
}

void PurgeTable::note_key(Sequence sequence) noexcept {
  const std::lock_guard lock(mutex_);
  lowest_since_pass_ = std::min(lowest_since_pass_, sequence);
  added_.fetch_add(1, std::memory_order_release);
}

void PurgeTable::start_pass() noexcept {
  const std::lock_guard lock(mutex_);
  lowest_since_pass_ = Sequence{UINT64_MAX};
}

Sequence PurgeTable::retire_bound(Sequence before) const noexcept {
  const std::lock_guard lock(mutex_);
  return std::min(before, lowest_since_pass_);
}

void PurgeTable::retire(Sequence before) {
  const std::lock_guard lock(mutex_);
  const Sequence bound = std::min(before, lowest_since_pass_);
  std::erase_if(prefixes_, [&](Prefix& prefix) { return is_pointless(prefix.marks, bound); });
  std::erase_if(tags_, [&](Tag& tag) { return is_pointless(tag.marks, bound); });
  (void)is_pointless(everything_, bound);
}

PurgeTable::Usage PurgeTable::usage() const {
  const std::lock_guard lock(mutex_);
  return {.prefixes = static_cast<uint32_t>(prefixes_.size()),
          .tags = static_cast<uint32_t>(tags_.size()),
          .everything = everything_.hard != Sequence{} || everything_.soft != Sequence{}};
}

}  // namespace segue::cache
