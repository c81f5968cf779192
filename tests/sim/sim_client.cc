#include "tests/sim/sim_client.h"

#include <gtest/gtest.h>

namespace segue::testing {

SimClient::SimClient(SimWorld& world, SimLoop& loop, edge::Delivery& delivery,
                     ClientBehaviour behaviour, ResponseWatch& watch)
    : world_(world),
      loop_(loop),
      delivery_(delivery),
      behaviour_(std::move(behaviour)),
      watch_(watch),
      identity_{.address = "192.0.2.1", .address_hash = 1, .tls = false},
      refill_timer_(&SimClient::refill),
      window_left_(behaviour_.window_bytes) {
  refill_timer_.client = this;
  request_text_ = behaviour_.method + " " + behaviour_.target + " HTTP/1.1\r\nHost: sim\r\n";
  if (!behaviour_.range.empty()) request_text_ += "Range: " + behaviour_.range + "\r\n";
  for (const auto& [name, value] : behaviour_.fields)
    request_text_.append(name).append(": ").append(value).append("\r\n");
  request_text_ += "\r\n";
}

SimClient::~SimClient() { EXPECT_TRUE(result_.finished || !exchange_); }

void SimClient::start() {
  ASSERT_EQ(parser_.parse(request_text_), http::RequestParser::Status::Complete);
  started_ = loop_.now();
  exchange_.emplace(*this, identity_, parser_.request());
  delivery_.serve(*exchange_);
}

void SimClient::leave() {
  if (gone_ || result_.finished) return;
  gone_ = true;
  loop_.disarm(refill_timer_);
  exchange_->signal.raise();
}

void SimClient::take_head(const edge::ResponseHead& head) {
  ASSERT_FALSE(result_.has_head) << "two heads for one request";
  result_.has_head = true;
  result_.status = head.status;
  result_.content_length = head.content_length;
  for (const http::FieldsView fields : {head.stored_fields, head.passed_fields}) {
    if (auto etag = fields.find("ETag")) result_.etag = std::string(*etag);
    if (auto version = fields.find("X-Version")) result_.version = std::string(*version);
  }
  for (const http::Field& field : head) {
    if (field.name == "Cache-Status") result_.cache_status = std::string(field.value);
    if (field.name == "Content-Range") result_.content_range = std::string(field.value);
    if (field.name == "Content-Type") result_.content_type = std::string(field.value);
  }
  watch_.see_head(result_);
}

Result<size_t> SimClient::try_send(const edge::ResponseHead* head, std::span<const iovec> body) {
  if (gone_) return fail(Side::Client, Kind::Closed, "simulated client left");
  // The kernel copies while the other threads go on: what is pinned must stay what it is.
  if (behaviour_.others_steps > 0) world_.run_others(behaviour_.others_steps);
  if (head != nullptr) take_head(*head);
  size_t taken = 0;
  for (const iovec& part : body) {
    size_t length = std::min<uint64_t>(part.iov_len, window_left_);
    if (behaviour_.stops_after_bytes != UINT64_MAX) {
      length = std::min<uint64_t>(length,
                                  behaviour_.stops_after_bytes -
                                      std::min(behaviour_.stops_after_bytes, result_.body_bytes));
    }
    watch_.see_body(result_, result_.body_bytes,
                    {static_cast<const std::byte*>(part.iov_base), length});
    result_.body_bytes += length;
    window_left_ -= length;
    taken += length;
    if (length < part.iov_len) break;
  }
  if (head != nullptr) result_.bytes_with_head = taken;
  if (result_.body_bytes >= behaviour_.leaves_after_bytes) {
    gone_ = true;
    return fail(Side::Client, Kind::Closed, "simulated client left");
  }
  return taken;
}

void SimClient::want_writable() noexcept {
  wants_writable_ = true;
  if (result_.body_bytes >= behaviour_.stops_after_bytes) return;  // never again
  loop_.arm(refill_timer_, loop_.now() + behaviour_.refill_every);
}

void SimClient::refill(Timer& timer) {
  SimClient& client = *static_cast<RefillTimer&>(timer).client;
  client.window_left_ = client.behaviour_.window_bytes;
  if (std::exchange(client.wants_writable_, false)) client.exchange_->signal.raise();
}

void SimClient::finished(edge::Stream::End end) noexcept {
  EXPECT_FALSE(result_.finished) << "finished twice";
  loop_.disarm(refill_timer_);
  result_.finished = true;
  result_.end = end;
  watch_.see_end(result_);
}

}  // namespace segue::testing
