#include "cache/contacts.h"

#include <algorithm>
#include <utility>

namespace segue::cache {

Contact* ContactTable::find(const KeyHash& key) noexcept {
  Contact* contact = buckets_[bucket_of(key)];
  while (contact != nullptr && contact->key != key) contact = contact->next;
  return contact;
}

Contact& ContactTable::add(const KeyHash& key, Sequence sequence) {
  if (free_ == nullptr) {
    blocks_.push_back(std::make_unique<Contact[]>(kPerBlock));
    for (uint32_t i = 0; i < kPerBlock; ++i) {
      blocks_.back()[i].next = free_;
      free_ = &blocks_.back()[i];
    }
  }
  Contact* contact = std::exchange(free_, free_->next);
  contact->key = key;
  contact->sequence = sequence;
  contact->marks = {};
  Contact*& bucket = buckets_[bucket_of(key)];
  contact->next = std::exchange(bucket, contact);
  ++count_;
  return *contact;
}

ContactTable::Ended ContactTable::remove(Contact& contact) noexcept {
  Contact** at = &buckets_[bucket_of(contact.key)];
  while (*at != &contact) {
    SEGUE_ASSERT(*at != nullptr);
    at = &(*at)->next;
  }
  *at = contact.next;
  Ended ended{contact.waiters.take(), contact.marks};
  contact.next = std::exchange(free_, &contact);
  SEGUE_ASSERT(count_ > 0);
  --count_;
  return ended;
}

Sequence ContactTable::oldest(Sequence none) const noexcept {
  Sequence oldest = none;
  for (const Contact* contact : buckets_) {
    for (; contact != nullptr; contact = contact->next)
      oldest = std::min(oldest, contact->sequence);
  }
  return oldest;
}

}  // namespace segue::cache
