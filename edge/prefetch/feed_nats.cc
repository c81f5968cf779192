#include "edge/prefetch/feed_nats.h"

#include <pthread.h>

#include <algorithm>

#include "base/entropy.h"
#include "base/log.h"

namespace segue::edge {
namespace {

constexpr milliseconds kFetchFor{5000};
constexpr milliseconds kConnectAgainMin{250};
constexpr milliseconds kConnectAgainMax{5000};
constexpr milliseconds kTooFastAgain{100};
constexpr milliseconds kLaterAgain{2000};  // for what could not be taken now
constexpr uint32_t kTasksMax = 2;          // a batch, and the one before while it is reaped

/// Nodes that lost one server must not all come back in the same moment.
milliseconds spread(milliseconds wait) {
  const auto parts = static_cast<int64_t>(kernel_random() % 512);
  return wait / 2 + wait * parts / 1024;
}

}  // namespace

NatsFeed::NatsFeed(Loop& loop, Prefetcher& prefetcher, Options options)
    : loop_(loop),
      prefetcher_(prefetcher),
      options_(std::move(options)),
      arrival_(*this),
      tasks_(loop, kTasksMax) {}

NatsFeed::~NatsFeed() {
  stop();
  {
    const std::lock_guard lock(mutex_);
    loop_gone_ = true;
    if (link_ != nullptr) link_->interrupt();
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void NatsFeed::start(FeedPurges& purges) {
  purges_ = &purges;
  thread_ = std::thread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), "feed-nats");
}

void NatsFeed::stop() noexcept {
  ending_ = true;
  wake_.raise();
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
}

// --- the thread ---

bool NatsFeed::stopping() {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

void NatsFeed::pause(milliseconds most) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, most, [this] { return stopping_; });
}

void NatsFeed::hold(NatsLink* link) {
  const std::lock_guard lock(mutex_);
  link_ = link;
}

void NatsFeed::run() {
  const NatsOptions& nats = options_.nats;
  milliseconds wait = kConnectAgainMin;
  std::vector<std::string> said(nats.servers.size());  // of each one's trouble, once
  for (size_t server = 0; !stopping(); ++server) {
    auto link = NatsLink::open(nats, server);
    if (!link) {
      counters_.connect_failures.add();
      std::string& before = said[server % said.size()];
      if (before != link.error())
        log_warning("nats_unusable", "subject={} mistake=\"{}\"", nats.subject, link.error());
      before = std::move(link.error());
      // All servers in turn, then a while of quiet.
      if ((server + 1) % said.size() != 0) continue;
      pause(spread(wait));
      wait = std::min(wait * 2, kConnectAgainMax);
      continue;
    }
    std::ranges::fill(said, "");
    wait = kConnectAgainMin;
    counters_.connects.add();
    counters_.connected.set(1);
    log_info("nats_connected", "subject={} server={}", nats.subject,
             nats.servers[server % nats.servers.size()]);
    hold(link->get());
    read_from(**link);
    hold(nullptr);
    counters_.connected.set(0);
  }
}

void NatsFeed::read_from(NatsLink& link) {
  while (!stopping()) {
    const auto fetched = link.fetch(kFetchFor);
    if (!fetched) {
      if (stopping()) return;
      counters_.lost.add();
      log_warning("nats_lost", "subject={} mistake=\"{}\"", options_.nats.subject, fetched.error());
      return pause(spread(kConnectAgainMin));
    }
    counters_.behind.set(link.behind());
    if (fetched->empty()) continue;
    const bool answered = hand_over(*fetched);
    answer(link);
    if (!answered) return;
  }
  link.flush();
}

/// False if the loop was stopped first: what it had not looked at has no verdict.
bool NatsFeed::hand_over(std::span<const NatsMessage> messages) {
  batch_ = messages;
  verdicts_.assign(messages.size(), Verdict::None);
  for (const NatsMessage& message : messages) {
    if (message.again) counters_.again.add();
  }
  loop_.post(arrival_);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return batch_done_ || loop_gone_; });
  return std::exchange(batch_done_, false);
}

void NatsFeed::answer(NatsLink& link) {
  for (size_t i = 0; i < verdicts_.size(); ++i) {
    switch (verdicts_[i]) {
      case Verdict::None:
        break;
      case Verdict::Taken:
        link.acknowledge(i);
        counters_.taken.add();
        break;
      case Verdict::Purged:
        // Not left to chance: one that comes again purges what was fetched since.
        link.acknowledge_and_wait(i);
        counters_.taken.add();
        break;
      case Verdict::Refused:
        link.refuse(i);
        counters_.refused.add();
        break;
      case Verdict::Later:
        link.put_back(i, kLaterAgain);
        counters_.put_back.add();
        break;
    }
  }
}

// --- the loop ---

void NatsFeed::begin_batch() {
  if (ending_) return finish_batch();
  if (tasks_.try_spawn(take_batch())) return;
  std::ranges::fill(verdicts_, Verdict::Later);  // no frame is free: the node has other worries
  finish_batch();
}

Task<void> NatsFeed::take_batch() {
  for (size_t i = 0; i < batch_.size() && !ending_; ++i) verdicts_[i] = co_await take(batch_[i]);
  finish_batch();
}

void NatsFeed::finish_batch() {
  {
    const std::lock_guard lock(mutex_);
    batch_done_ = true;
  }
  changed_.notify_all();
}

Task<NatsFeed::Verdict> NatsFeed::take(NatsMessage message) {
  if (message.text.size() > kFeedLineBytesMax) {
    prefetcher_.refuse_line(PrefetchSource::Nats, message.sequence);
    co_return Verdict::Refused;
  }
  if (!options_.feeds) co_return co_await purge(message);
  while (!prefetcher_.has_room()) {
    (void)co_await wake_.wait(loop_.now() + kTooFastAgain);
    if (ending_) co_return Verdict::None;
  }
  const auto age = std::max(loop_.wall_now() - message.stored, milliseconds{0});
  switch (prefetcher_.take_line(PrefetchSource::Nats, message.text, message.sequence,
                                {.age = age, .may_purge = options_.purges})) {
    case Prefetcher::Line::Taken:
      co_return Verdict::Taken;
    case Prefetcher::Line::Malformed:
      co_return Verdict::Refused;
    case Prefetcher::Line::TooFast:
      co_return Verdict::Later;
    case Prefetcher::Line::Purge:
      break;
  }
  co_return co_await purge(message);
}

Task<NatsFeed::Verdict> NatsFeed::purge(NatsMessage message) {
  switch (co_await purges_->purge(message.text, message.sequence)) {
    case FeedPurges::End::Durable:
      counters_.purged.add();
      co_return Verdict::Purged;
    case FeedPurges::End::Refused:
      counters_.purges_refused.add();
      co_return Verdict::Refused;
    case FeedPurges::End::Later:
      break;
  }
  counters_.purges_later.add();
  co_return Verdict::Later;
}

}  // namespace segue::edge
