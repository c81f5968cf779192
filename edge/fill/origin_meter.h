// edge/fill/origin_meter.h - who pays for what an origin is asked: charged when it is asked, since
// fills belong to no client and many at once must not be one each; set right by what came.
#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "base/loop/loop.h"
#include "origin/fetcher.h"

namespace segue::edge {

/// Told of one loop's fetches, on that loop. Cannot wait. Outlives the Fills.
class OriginMeter {
 public:
  /// Of a client, or whoever its token names. 0: nobody pays (prefetch, no limits).
  using Payer = uint64_t;
  /// An origin is asked for `bytes` more. What was put down for it, in the meter's own measure:
  /// less than their cost where the payer owes so much already that the rest is forgiven.
  virtual uint64_t charge(Payer payer, uint64_t bytes, MonoTime now) noexcept = 0;
  /// Of the bytes that `put_down` was put down for only `came` did. What was forgiven of them is
  /// not given back: else what fails would pay for what was taken.
  virtual void give_back(Payer payer, uint64_t put_down, uint64_t came) noexcept = 0;

 protected:
  ~OriginMeter() = default;
};

/// One fetch's account: charges what is expected when it is made, what comes beyond that as it
/// comes, and gives back the rest at its end. Empty: nobody pays. Loop-owned.
class OriginCharge {
 public:
  OriginCharge() = default;
  OriginCharge(OriginMeter* meter, Loop& loop, OriginMeter::Payer payer, uint64_t expected) noexcept
      : meter_(payer == 0 ? nullptr : meter), loop_(&loop), payer_(payer), charged_(expected) {
    if (meter_ != nullptr) put_down_ = meter_->charge(payer_, charged_, loop_->now());
  }
  OriginCharge(OriginCharge&& other) noexcept { *this = std::move(other); }
  OriginCharge& operator=(OriginCharge&& other) noexcept {
    if (this == &other) return *this;
    settle();
    meter_ = std::exchange(other.meter_, nullptr);
    loop_ = other.loop_;
    payer_ = other.payer_;
    charged_ = other.charged_;
    put_down_ = other.put_down_;
    came_ = other.came_;
    return *this;
  }
  ~OriginCharge() { settle(); }

  explicit operator bool() const noexcept { return meter_ != nullptr; }
  void came(uint64_t bytes) noexcept {
    came_ += bytes;
    if (meter_ == nullptr || came_ <= charged_) return;
    (void)meter_->charge(payer_, came_ - charged_, loop_->now());  // came: nothing to give back
    charged_ = came_;
  }

 private:
  void settle() noexcept {
    if (meter_ != nullptr && came_ < charged_) meter_->give_back(payer_, put_down_, came_);
    meter_ = nullptr;
  }

  OriginMeter* meter_ = nullptr;
  Loop* loop_ = nullptr;
  OriginMeter::Payer payer_ = 0;
  uint64_t charged_ = 0;   // bytes
  uint64_t put_down_ = 0;  // for those expected
  uint64_t came_ = 0;
};

/// What a request for the origin will bring at most of one run; without a range, a first window.
[[nodiscard]] inline uint64_t expected_bytes(const origin::FetchRequest& request) noexcept {
  using Form = origin::FetchRequest::RangeForm;
  uint64_t bytes = uint64_t{kFillOpenEndedFirstSlices} * kSliceBytes;
  if (request.range_form == Form::Bounded) bytes = request.range.length();
  if (request.range_form == Form::Suffix) bytes = request.suffix_length;
  return std::min<uint64_t>(bytes, kFillRunBytesMax);
}

/// A fetch whose bytes are counted on a charge.
class MeteredStream final : public origin::FetchStream {
 public:
  MeteredStream(std::unique_ptr<origin::FetchStream> stream, OriginCharge charge) noexcept
      : charge_(std::move(charge)), stream_(std::move(stream)) {}
  Task<Result<const origin::FetchHead*>> head() override { return stream_->head(); }
  Task<Result<size_t>> read(std::span<std::byte> into) override {
    auto got = co_await stream_->read(into);
    if (got) charge_.came(*got);
    co_return got;
  }

 private:
  OriginCharge charge_;
  std::unique_ptr<origin::FetchStream> stream_;
};

}  // namespace segue::edge
