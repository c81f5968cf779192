#include "edge/delivery/delivery_counters.h"

#include <algorithm>

#include "edge/delivery/exchange.h"

namespace segue::edge {
std::optional<http::ForwardReason> forwarded_because(const Exchange& exchange) noexcept {
  const Selection& selection = exchange.selection;
  const AccessRecord& record = exchange.record;
  if (selection.response == nullptr && selection.pass_head == nullptr) return std::nullopt;
  if (!selection.hit) return selection.forward_reason;
  if (record.slices_hit == record.slices_needed) return std::nullopt;
  return record.slices_hit > 0 ? http::ForwardReason::Partial : http::ForwardReason::Miss;
}

CacheResult cache_result_of(const Exchange& exchange) noexcept {
  const Selection& selection = exchange.selection;
  if (selection.pass || selection.pass_head != nullptr) return CacheResult::Pass;
  if (selection.response == nullptr) return CacheResult::None;
  if (selection.stale) return CacheResult::Stale;
  // Slices that were not here when it began may be whole, and the RAM tier's, before it read them.
  if (exchange.bytes_by_tier[static_cast<uint8_t>(Tier::Origin)] > 0 ||
      (selection.hit && exchange.record.slices_hit < exchange.record.slices_needed))
    return CacheResult::Miss;
  if (!selection.hit)
    return selection.forward_status == 304 ? CacheResult::Revalidated : CacheResult::Miss;
  if (selection.response->parts().form == StoredResponse::Form::Negative)
    return CacheResult::Negative;
  return exchange.bytes_by_tier[static_cast<uint8_t>(Tier::Drive)] > 0 ? CacheResult::HitDrive
                                                                       : CacheResult::HitRam;
}

void DeliveryCounters::count_refused(std::string_view reason) noexcept {
  const auto known = std::ranges::find(kRefusals, reason);
  const auto at = static_cast<size_t>(known - kRefusals.begin());
  refused[std::min(at, kRefusals.size() - 1)].add();
}

void DeliveryCounters::count(const Exchange& exchange) noexcept {
  const AccessRecord& record = exchange.record;
  switch (record.cache) {
    case CacheResult::None:
      break;
    case CacheResult::HitRam:
      hit_ram.add();
      break;
    case CacheResult::HitDrive:
      hit_drive.add();
      break;
    case CacheResult::Miss:
      miss.add();
      break;
    case CacheResult::Pass:
      pass.add();
      break;
    case CacheResult::Stale:
      stale.add();
      break;
    case CacheResult::Revalidated:
      revalidated.add();
      break;
    case CacheResult::Negative:
      negative.add();
      break;
  }
  if (const auto reason = forwarded_because(exchange))
    forwarded[static_cast<size_t>(*reason)].add();
  bytes_ram.add(exchange.bytes_by_tier[static_cast<uint8_t>(Tier::Ram)]);
  bytes_drive.add(exchange.bytes_by_tier[static_cast<uint8_t>(Tier::Drive)]);
  bytes_origin.add(exchange.bytes_by_tier[static_cast<uint8_t>(Tier::Origin)]);
  bytes_pass.add(exchange.bytes_by_tier[static_cast<uint8_t>(Tier::Pass)]);
  if (record.first_byte.count() >= 0) first_byte.record(record.first_byte);
  if (exchange.first_64k.count() >= 0) first_64k.record(exchange.first_64k);
  switch (record.status / 100) {
    case 2:
      status_2xx.add();
      break;
    case 3:
      status_3xx.add();
      break;
    case 4:
      status_4xx.add();
      break;
    case 5:
      status_5xx.add();
      break;
    default:
      break;
  }
  if (record.end == AccessEnd::Cut) cut.add();
  if (record.end == AccessEnd::Gone) client_gone.add();
}

}  // namespace segue::edge
