// edge/fill/pass_stream.h - an origin's answer whose head, and perhaps the first bytes, were taken
// already: what could not be stored goes on to its starter through this.
#pragma once
#include <cstring>
#include <memory>
#include <vector>

#include "base/counter.h"
#include "origin/fetcher.h"

namespace segue::edge {

class PassStream final : public origin::FetchStream {
 public:
  /// First `collected`, then what `live` still brings (null: nothing). `head` lives in `live`, or
  /// outlives this. `bytes` counts what is read. `place`: of its client, where it has one.
  PassStream(std::vector<std::byte> collected, std::unique_ptr<origin::FetchStream> live,
             const origin::FetchHead* head, Counter* bytes, origin::FetchPlace place) noexcept
      : collected_(std::move(collected)),
        live_(std::move(live)),
        head_(head),
        bytes_(bytes),
        place_(std::move(place)) {}

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
  std::unique_ptr<origin::FetchStream> live_;
  const origin::FetchHead* head_;
  Counter* bytes_;
  origin::FetchPlace place_;  // among Fetcher::pass_places()
};

}  // namespace segue::edge
