// edge/node/nats_metrics.h - segue_nats_*: how the reading of one subject goes.
#pragma once

namespace segue::edge {

class NatsFeed;
class Registry;

/// Both outlive the scrapes.
void register_nats_metrics(Registry& registry, const NatsFeed& feed);

}  // namespace segue::edge
