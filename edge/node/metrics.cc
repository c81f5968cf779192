#include "edge/node/metrics.h"

#include <array>

#include "edge/node/process_metrics.h"
#include "edge/node/shared_parts.h"
#include "edge/node/store_metrics.h"
#include "edge/node/worker.h"
#include "origin/counters.h"

namespace segue::edge {
namespace {

struct CounterName {
  const Counter* counter;
  const char* label;  // value of the family's one label; null: none
};

void add_family(Registry& registry, const char* name, const char* help, const char* label,
                std::initializer_list<CounterName> counters) {
  for (const CounterName& entry : counters) {
    Labels labels;
    if (entry.label != nullptr) labels.emplace_back(label, entry.label);
    registry.add_counter(name, help, std::move(labels), *entry.counter);
  }
}

void add_delivery(Registry& registry, const DeliveryCounters& c) {
  add_family(registry, "segue_requests_total", "Requests by what the cache did for them.",
             "outcome",
             {{&c.hit_ram, "hit_ram"},
              {&c.hit_drive, "hit_drive"},
              {&c.miss, "miss"},
              {&c.pass, "pass"},
              {&c.stale, "stale"},
              {&c.revalidated, "revalidated"},
              {&c.negative, "negative"}});
  for (size_t i = 0; i < c.forwarded.size(); ++i) {
    registry.add_counter(
        "segue_requests_forwarded_total",
        "Requests for which the origin was asked, by why (RFC 9211).",
        {{"reason", std::string(http::name_of(static_cast<http::ForwardReason>(i)))}},
        c.forwarded[i]);
  }
  for (size_t i = 0; i < c.refused.size(); ++i) {
    registry.add_counter("segue_requests_refused_total", "Requests answered with an error of ours.",
                         {{"reason", std::string(kRefusals[i])}}, c.refused[i]);
  }
  add_family(registry, "segue_body_bytes_total",
             "Body bytes sent to clients, by where they came from.", "tier",
             {{&c.bytes_ram, "ram"},
              {&c.bytes_drive, "drive"},
              {&c.bytes_origin, "origin"},
              {&c.bytes_pass, "pass"}});
  add_family(registry, "segue_responses_total", "Responses by class of status.", "class",
             {{&c.status_2xx, "2xx"},
              {&c.status_3xx, "3xx"},
              {&c.status_4xx, "4xx"},
              {&c.status_5xx, "5xx"}});
  add_family(registry, "segue_responses_incomplete_total",
             "Responses that did not reach their end.", "end",
             {{&c.cut, "cut"}, {&c.client_gone, "gone"}});
  registry.add_gauge("segue_requests_in_flight", "Requests being answered.", {}, c.in_flight);
  registry.add_histogram("segue_first_byte_seconds",
                         "From a request to the first byte of its answer.", {}, c.first_byte);
  registry.add_histogram("segue_first_64k_seconds",
                         "From a request to 64 KiB of its body sent: what a player needs to start.",
                         {}, c.first_64k);
}

void add_fills(Registry& registry, const FillCounters& c) {
  registry.add_counter("segue_contacts_total", "First requests for a key's header.", {},
                       c.contacts);
  registry.add_counter("segue_contacts_collapsed_total",
                       "Requests that waited for another's contact.", {}, c.contacts_collapsed);
  registry.add_counter("segue_revalidations_total", "Conditional requests to origins.", {},
                       c.revalidations);
  registry.add_counter("segue_revalidations_not_modified_total", "Revalidations answered 304.", {},
                       c.revalidated);
  registry.add_counter("segue_fills_started_total", "Origin requests for missing slices.", {},
                       c.fills_started);
  add_family(registry, "segue_fills_ended_total", "Fills by how they ended.", "how",
             {{&c.fills_finished, "finished"},
              {&c.fills_cut, "cut"},
              {&c.fills_ended_early, "no_reader"},
              {&c.fills_rejected, "rejected"}});
  registry.add_gauge("segue_fills_in_flight", "Fills running, or waiting for a place.", {},
                     c.fills_in_flight);
  registry.add_histogram("segue_origin_latency_seconds",
                         "From a request to an origin to the head of its answer.", {},
                         c.origin_latency);
  registry.add_counter("segue_passes_total", "Answers streamed through unstored.", {},
                       c.pass_started);
  registry.add_counter("segue_pass_bytes_total", "Their bytes.", {}, c.pass_bytes);
  registry.add_counter("segue_negative_stored_total", "Answers stored that are no content.", {},
                       c.negative_stored);
  registry.add_counter("segue_fill_bytes_total", "Bytes landed from origins.", {}, c.fill_bytes);
  registry.add_counter("segue_slices_filled_total", "Slices landed whole.", {}, c.slices_filled);
  registry.add_counter("segue_generations_replaced_total",
                       "Representations that changed at their origin.", {}, c.generations_replaced);
  registry.add_counter("segue_validator_mismatches_total",
                       "Origin answers under another validator than the stored one.", {},
                       c.validator_mismatches);
  registry.add_counter(
      "segue_validators_flapping_total",
      "Answers passed through because their key's validator had changed too often to be stored.",
      {}, c.flapping);
  registry.add_counter("segue_stale_served_total", "Stale answers.", {}, c.stale_served);
  registry.add_counter("segue_buffer_waits_total", "Requests that queued for a free buffer.", {},
                       c.buffer_waits);
  registry.add_counter("segue_buffer_refusals_total",
                       "Requests shed because the queue for buffers was full.", {},
                       c.buffer_refusals);
  registry.add_counter("segue_fetch_waits_total",
                       "Fetches that found no place because their origin had as many as it may.",
                       {}, c.fetch_waits);
  registry.add_counter("segue_fetch_waits_urgent_total",
                       "Of these, for players that said they were about to fall silent (CMCD).", {},
                       c.fetch_waits_urgent);
  registry.add_gauge("segue_fetches_waiting", "Fetches queued now.", {}, c.fetches_waiting);
  registry.add_counter("segue_fetch_refusals_total",
                       "Requests shed because no fetch could begin in time.", {}, c.fetch_refusals);
  registry.add_counter("segue_variants_refused_total",
                       "Requests for a further variant of a key that has its most.", {},
                       c.variants_refused);
  registry.add_counter("segue_tags_refused_total",
                       "Answers passed through because they carried too many cache tags.", {},
                       c.tags_refused);
}

void add_origin(Registry& registry, const origin::OriginCounters& c, const std::string& origin) {
  const Labels labels{{"origin", origin}};
  registry.add_counter("segue_origin_fetches_total", "Fetches started.", labels, c.fetches);
  registry.add_gauge("segue_origin_fetches_in_flight", "Fetches running.", labels,
                     c.fetches_in_flight);
  registry.add_counter("segue_origin_fetches_refused_total",
                       "Fetches refused: too many, or every breaker open.", labels,
                       c.fetches_refused);
  registry.add_counter("segue_origin_requests_total",
                       "Requests sent to origin servers, retries and resumes included.", labels,
                       c.requests);
  registry.add_counter("segue_origin_body_bytes_total", "Body bytes received from origins.", labels,
                       c.body_bytes);
  registry.add_counter("segue_origin_retries_total", "Requests repeated on a fresh connection.",
                       labels, c.retries);
  registry.add_counter("segue_origin_failovers_total", "Requests that went to another server.",
                       labels, c.failovers);
  registry.add_counter("segue_origin_resumes_total",
                       "Bodies asked for again from where they broke off.", labels, c.resumes);
  registry.add_counter("segue_origin_connections_opened_total", "Connections opened to origins.",
                       labels, c.connections_opened);
  registry.add_counter("segue_origin_connections_reused_total", "Requests on a kept connection.",
                       labels, c.connections_reused);
  registry.add_counter("segue_origin_first_byte_wait_seconds_total",
                       "Time from a request to its head, summed.", labels, c.first_byte_ns_sum,
                       1e-9);
  registry.add_counter("segue_origin_first_bytes_total", "Heads waited for.", labels,
                       c.first_byte_count);
  for (size_t i = 1; i < c.faults.size(); ++i) {
    Labels with_reason = labels;
    with_reason.emplace_back("reason", name_of(static_cast<origin::Fault>(i)));
    registry.add_counter("segue_origin_faults_total", "Origin attempts that failed, by reason.",
                         std::move(with_reason), c.faults[i]);
  }
}

void add_local_store(Registry& registry, const cache::LocalStoreCounters& c) {
  registry.add_counter("segue_cache_ram_hits_total", "Slices found in RAM.", {}, c.ram_hits);
  registry.add_counter("segue_cache_drive_reads_total", "Slices read from drives.", {},
                       c.drive_reads);
  registry.add_counter("segue_cache_drive_read_bytes_total", "Payload read from drives.", {},
                       c.drive_read_bytes);
  registry.add_counter("segue_cache_drive_read_failures_total",
                       "Slices that a drive could not give: served from the origin.", {},
                       c.drive_read_failures);
  registry.add_counter("segue_cache_drive_hangs_total", "Drive operations over their time limit.",
                       {}, c.drive_hangs);
  registry.add_counter("segue_cache_admitted_total", "Slices written to drives.", {}, c.admitted);
  registry.add_counter("segue_cache_admitted_bytes_total", "Payload written to drives.", {},
                       c.admitted_bytes);
  registry.add_counter("segue_cache_not_admitted_total",
                       "Slices that admission kept off the drives.", {}, c.not_admitted);
  registry.add_counter("segue_cache_records_loaded_total", "Records read from drives.", {},
                       c.records_loaded);
  registry.add_counter("segue_cache_record_failures_total",
                       "Records that could not be read or were not right.", {}, c.record_failures);
}

void add_access_log(Registry& registry, const AccessLog::WriterCounters& c) {
  registry.add_counter("segue_access_log_written_total", "Lines written to the access log.", {},
                       c.written);
  registry.add_counter("segue_access_log_sampled_out_total",
                       "Good responses that sampling (log.sample) left out.", {}, c.sampled_out);
  registry.add_counter("segue_access_log_lost_total",
                       "Lines that the access log's file did not take.", {}, c.lost);
  registry.add_counter("segue_access_log_reopen_failures_total",
                       "Times the access log could not be opened anew; the old file is kept.", {},
                       c.reopen_failures);
}

}  // namespace

void register_node_metrics(SharedParts& shared, const std::vector<std::unique_ptr<Worker>>& workers,
                           const std::vector<std::string>& origin_names) {
  Registry& registry = shared.registry;
  for (const auto& worker : workers) {
    add_delivery(registry, worker->delivery().counters());
    add_fills(registry, worker->fills().counters());
    add_local_store(registry, worker->local().counters());
    worker->limits().register_metrics(registry);
    register_metrics(registry, worker->server(), "public");
    for (size_t i = 0; i < worker->fetchers().size(); ++i) {
      if (const auto* counters = worker->fetchers()[i]->counters())
        add_origin(registry, *counters, origin_names[i]);
    }
    if (shared.access_log) {
      const auto& log = shared.access_log->counters(worker->loop().index());
      registry.add_counter("segue_access_log_records_total", "Records given to the access log.", {},
                           log.submitted);
      registry.add_counter("segue_access_log_dropped_total",
                           "Records dropped because the writer was behind.", {}, log.dropped);
    }
  }
  registry.add_gauge(
      "segue_connections_max", "Client connections that memory and descriptors are enough for.", {},
      [](const void* budget) {
        return static_cast<double>(static_cast<const ConnectionBudget*>(budget)->max());
      },
      shared.connections.get());
  if (shared.listens) shared.listens->register_metrics(registry);
  if (shared.access_log) add_access_log(registry, shared.access_log->writer_counters());
  shared.tls->register_metrics(registry);
  register_store_metrics(registry, *shared.store);
  register_process_metrics(registry);
}

}  // namespace segue::edge
