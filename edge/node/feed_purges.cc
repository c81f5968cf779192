#include "edge/node/feed_purges.h"

#include "base/log.h"
#include "edge/admin/purge_request.h"

namespace segue::edge {

Task<FeedPurges::End> NodeFeedPurges::purge(std::string_view message, uint64_t sequence) {
  auto request = parse_purge_message(message);
  if (!request) {
    log_warning("feed_purge_refused", "message={} mistake=\"{}\"", sequence, request.error());
    co_return End::Refused;
  }
  const auto purged = co_await actions_.purge(std::move(*request));
  if (purged) co_return End::Durable;
  const Error& error = purged.error();
  if (error.side == Side::Client) {
    log_warning("feed_purge_refused", "message={} mistake=\"{}\"", sequence, error.where);
    co_return End::Refused;
  }
  // No room for the statement, or no drive that would keep it: not acknowledged, so it comes again.
  log_warning("feed_purge_later", "message={} mistake=\"{}\"", sequence, error.where);
  co_return End::Later;
}

}  // namespace segue::edge
