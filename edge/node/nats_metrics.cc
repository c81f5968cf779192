#include "edge/node/nats_metrics.h"

#include "edge/metrics/registry.h"
#include "edge/prefetch/feed_nats.h"

namespace segue::edge {

void register_nats_metrics(Registry& registry, const NatsFeed& feed) {
  const NatsFeed::Counters& counters = feed.counters();
  const std::string what = feed.options().feeds ? "feed" : "purges";
  const Labels labels{{"subject", what}};
  const auto with = [&](const char* name, const char* value) {
    Labels more = labels;
    more.emplace_back(name, value);
    return more;
  };
  registry.add_gauge("segue_nats_connected", "1 while the subject is read.", labels,
                     counters.connected);
  registry.add_gauge("segue_nats_behind", "Messages the server still has for this node.", labels,
                     counters.behind);
  registry.add_counter("segue_nats_connects_total", "Times the subject began to be read.", labels,
                       counters.connects);
  registry.add_counter("segue_nats_connect_failures_total",
                       "Servers, streams or consumers that could not be used.", labels,
                       counters.connect_failures);
  registry.add_counter("segue_nats_lost_total", "Connections that ended by themselves.", labels,
                       counters.lost);
  constexpr const char* kMessages = "segue_nats_messages_total";
  constexpr const char* kAnswers = "Messages by what the server was answered.";
  registry.add_counter(kMessages, kAnswers, with("answer", "taken"), counters.taken);
  registry.add_counter(kMessages, kAnswers, with("answer", "never"), counters.refused);
  registry.add_counter(kMessages, kAnswers, with("answer", "later"), counters.put_back);
  registry.add_counter("segue_nats_redelivered_total", "Messages that had been sent before.",
                       labels, counters.again);
  constexpr const char* kPurges = "segue_nats_purges_total";
  constexpr const char* kEnds = "Purges that came with a feed, by what became of them.";
  registry.add_counter(kPurges, kEnds, with("outcome", "durable"), counters.purged);
  registry.add_counter(kPurges, kEnds, with("outcome", "refused"), counters.purges_refused);
  registry.add_counter(kPurges, kEnds, with("outcome", "later"), counters.purges_later);
}

}  // namespace segue::edge
