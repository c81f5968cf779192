// Goal: every case of ARCHITECTURE.md section 7 has one right answer. Method: plan_response is
// pure, so a table of requests against one stored response of 1000 bytes.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "edge/delivery/plan.h"

namespace segue::edge {
namespace {

using std::chrono::seconds;
using std::chrono::sys_seconds;

constexpr uint64_t kLength = 1000;
constexpr sys_seconds kDate{seconds{1'700'000'000}};
constexpr std::string_view kDateText = "Tue, 14 Nov 2023 22:13:20 GMT";

StoredResponse::Parts parts_with_etag(std::string etag) {
  StoredResponse::Parts parts;
  parts.etag = std::move(etag);
  parts.date = kDate;
  parts.last_modified = kDate - seconds{3600};
  return parts;
}

class PlanTest : public ::testing::Test {
 protected:
  Plan plan(std::vector<http::Field> fields, http::Method method = http::Method::Get,
            uint64_t length = kLength) {
    http::Request request;
    request.method = method;
    request.fields = http::FieldsView(fields);
    const http::ParsedRange ranges = http::requested_range(method, request.fields);
    return plan_response(request, ranges, StoredResponse(parts), length);
  }
  Plan plan_range(std::string_view range) { return plan({{"Range", range}}); }

  StoredResponse::Parts parts = parts_with_etag("\"v1\"");
};

TEST_F(PlanTest, WithoutRangeTheWholeIsSentAs200) {
  const Plan whole = plan({});
  EXPECT_EQ(whole.status, 200);
  EXPECT_EQ(whole.body, Plan::Body::Single);
  EXPECT_EQ(whole.range, (ByteRange{0, kLength}));
  EXPECT_TRUE(whole.open_ended);
}

struct RangeCase {
  std::string_view range;
  int status;
  ByteRange expected;
  bool open_ended;
};

class SingleRangeTest : public PlanTest, public ::testing::WithParamInterface<RangeCase> {};

TEST_P(SingleRangeTest, IsAnsweredAsClientsNeedIt) {
  const RangeCase& expected = GetParam();
  const Plan answer = plan_range(expected.range);
  EXPECT_EQ(answer.status, expected.status);
  EXPECT_EQ(answer.body, Plan::Body::Single);
  EXPECT_EQ(answer.range, expected.expected);
  EXPECT_EQ(answer.open_ended, expected.open_ended);
}

INSTANTIATE_TEST_SUITE_P(
    AllForms, SingleRangeTest,
    ::testing::Values(
        RangeCase{"bytes=0-1", 206, {0, 2}, false},               // Apple's probe
        RangeCase{"bytes=0-65535", 206, {0, kLength}, false},     // librespot on a small file
        RangeCase{"bytes=900-1100", 206, {900, kLength}, false},  // an unclipped last grid piece
        RangeCase{"bytes=0-", 206, {0, kLength}, true},           // Chromium, ffmpeg, VLC
        RangeCase{"bytes=999-", 206, {999, kLength}, true},
        RangeCase{"bytes=-10", 206, {990, kLength}, false},
        RangeCase{"bytes=-5000", 206, {0, kLength}, false},   // longer than the track
        RangeCase{"bytes=5-3", 200, {0, kLength}, true},      // invalid: ignored
        RangeCase{"seconds=0-1", 200, {0, kLength}, true}));  // another unit: ignored

TEST_F(PlanTest, ARangePastTheEndIs416WithoutABody) {
  for (std::string_view range : {"bytes=1000-", "bytes=1000-1001", "bytes=-0"}) {
    const Plan answer = plan_range(range);
    EXPECT_EQ(answer.status, 416) << range;
    EXPECT_EQ(answer.body, Plan::Body::None) << range;
  }
}

TEST_F(PlanTest, SeveralRangesAreMultipartUnlessTheyCoalesceToOne) {
  const Plan apart = plan_range("bytes=0-9, 500-509");
  EXPECT_EQ(apart.status, 206);
  EXPECT_EQ(apart.body, Plan::Body::Multipart);
  EXPECT_EQ(apart.parts.count, 2U);
  const Plan touching = plan_range("bytes=0-9, 10-19");
  EXPECT_EQ(touching.body, Plan::Body::Single);
  EXPECT_EQ(touching.range, (ByteRange{0, 20}));
}

TEST_F(PlanTest, HeadHasTheLengthButNoBodyAndIgnoresRange) {
  const Plan head = plan({{"Range", "bytes=0-1"}}, http::Method::Head);
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.body, Plan::Body::None);
  EXPECT_EQ(head.range.length(), kLength);
}

TEST_F(PlanTest, PreconditionsComeBeforeTheRange) {
  EXPECT_EQ(plan({{"If-None-Match", "\"v1\""}, {"Range", "bytes=0-1"}}).status, 304);
  EXPECT_EQ(plan({{"If-None-Match", "\"v2\""}, {"Range", "bytes=0-1"}}).status, 206);
  EXPECT_EQ(plan({{"If-Match", "\"v2\""}}).status, 412);
  EXPECT_EQ(plan({{"If-Match", "\"v1\""}, {"Range", "bytes=1-1"}}).status, 206);  // VLC
  EXPECT_EQ(plan({{"If-Unmodified-Since", kDateText}}).status, 200);
  EXPECT_EQ(plan({{"If-Modified-Since", kDateText}}).status, 304);
}

TEST_F(PlanTest, IfRangeNeedsTheSameStrongValidator) {
  EXPECT_EQ(plan({{"If-Range", "\"v1\""}, {"Range", "bytes=0-1"}}).status, 206);
  EXPECT_EQ(plan({{"If-Range", "\"v2\""}, {"Range", "bytes=0-1"}}).status, 200);
  parts = parts_with_etag("W/\"v1\"");
  EXPECT_EQ(plan({{"If-Range", "W/\"v1\""}, {"Range", "bytes=0-1"}}).status, 200);
}

TEST_F(PlanTest, ANegativeAnswerIgnoresRangeAndPreconditions) {
  parts.status = 404;
  parts.form = StoredResponse::Form::Negative;
  const Plan answer = plan({{"Range", "bytes=0-1"}, {"If-None-Match", "*"}});
  EXPECT_EQ(answer.status, 404);
  EXPECT_EQ(answer.range, (ByteRange{0, kLength}));
}

TEST_F(PlanTest, AnEmptyRepresentationIsA200WithoutBody) {
  const Plan empty = plan({{"Range", "bytes=-5"}}, http::Method::Get, 0);
  EXPECT_EQ(empty.body, Plan::Body::None);
  EXPECT_TRUE(empty.status == 200 || empty.status == 416);
}

}  // namespace
}  // namespace segue::edge
