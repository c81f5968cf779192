// edge/fill/pass_stream.h - an origin's answer whose head, and perhaps the first bytes, were taken
// already: what could not be stored goes on to its starter through this.
#pragma once
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "base/counter.h"
#include "origin/fetcher.h"

namespace segue::edge {

class PassStream final : public origin::FetchStream {
 public:
  /// First `collected`, then what `live` still brings. `head` lives in `live`. `bytes` counts what
  /// is read. `place`: of its client.
  PassStream(std::vector<std::byte> collected, std::unique_ptr<origin::FetchStream> live,
             const origin::FetchHead* head, Counter* bytes, origin::FetchPlace place) noexcept
      : collected_(std::move(collected)),
        live_(std::move(live)),
        head_(head),
        bytes_(bytes),
        place_(std::move(place)) {}
  /// All that an answer brought. Its fetch may be dropped, whose place others wait for, so the head
  /// is a copy.
  PassStream(std::vector<std::byte> collected, const origin::FetchHead& head)
      : collected_(std::move(collected)), own_head_(head), head_(&*own_head_) {}

  /// Valid while this lives.
  [[nodiscard]] const origin::FetchHead* known_head() const noexcept { return head_; }

  Task<Result<const origin::FetchHead*>> head() override { co_return head_; }

  Task<Result<size_t>> read(std::span<std::byte> into) override {
    size_t got = std::min(into.size(), collected_.size() - at_);
    if (got > 0) {
      std::memcpy(into.data(), collected_.data() + at_, got);
      at_ += got;
    } else if (live_) {
      auto live = co_await live_->read(into);
      if (!live) co_return fail(live.error());
      got = *live;
    }
    if (bytes_ != nullptr) bytes_->add(got);
    co_return got;
  }

 private:
  std::vector<std::byte> collected_;
  size_t at_ = 0;
  std::unique_ptr<origin::FetchStream> live_;  // null: nothing follows
  const std::optional<origin::FetchHead> own_head_{};
  const origin::FetchHead* const head_;
  Counter* const bytes_ = nullptr;
  origin::FetchPlace place_;  // among Fetcher::pass_places()
};

}  // namespace segue::edge
