// Goal: a head that two parsers could read differently, or that answers another question than the
// one asked, is refused and named; a head at its limits is taken. Method: the heads come through
// libcurl from a scripted origin, because libcurl hides some of what is wrong.
#include "origin/head_check.h"

#include <ostream>

#include "tests/unit/origin/fetching.h"

namespace segue::origin {
namespace {

struct BadHead {
  const char* name;
  FetchRequest::RangeForm form;  // Bounded asks bytes 2-5
  std::string head;
  Fault fault;
};

std::ostream& operator<<(std::ostream& out, const BadHead& bad) { return out << bad.name; }

class BadHeads : public Fetching, public ::testing::WithParamInterface<BadHead> {
 protected:
  BadHeads() { options_.servers = {origin_.url()}; }
  ScriptedOrigin origin_;
};

TEST_P(BadHeads, AreToldApartAndTheConnectionIsNotUsedAgain) {
  const BadHead& bad = GetParam();
  origin_.on("/t", Reply::raw(bad.head + "0123"));
  origin_.on("/good", Reply::whole("200 OK", "", "good"));
  const Fetched got = run(bad.form == FetchRequest::RangeForm::None      ? whole("/t")
                          : bad.form == FetchRequest::RangeForm::Bounded ? bounded("/t", 2, 6)
                                                                         : suffix("/t", 4));
  ASSERT_TRUE(got.error);
  EXPECT_EQ(got.where(), name_of(bad.fault));
  EXPECT_EQ(got.error->side, Side::Origin);
  EXPECT_FALSE(got.head);
  EXPECT_EQ(got.body, "");
  EXPECT_EQ(faults(bad.fault), 1U);
  EXPECT_EQ(origin_.requests("/t"), 1U);  // the same bytes would come again
  EXPECT_EQ(run(whole("/good")).body, "good");
  EXPECT_EQ(origin_.connections(), 2U);
}

constexpr auto kNone = FetchRequest::RangeForm::None;
constexpr auto kBounded = FetchRequest::RangeForm::Bounded;
constexpr auto kSuffix = FetchRequest::RangeForm::Suffix;

std::string ok(const std::string& fields) { return "HTTP/1.1 200 OK\r\n" + fields + "\r\n"; }
std::string partial(const std::string& fields) {
  return "HTTP/1.1 206 Partial Content\r\n" + fields + "\r\n";
}
std::string many_fields(int count) {
  std::string fields;
  for (int i = 0; i < count; ++i) fields += "X-" + std::to_string(i) + ": y\r\n";
  return fields;
}
std::string interim(int count) {
  std::string heads;
  for (int i = 0; i < count; ++i) heads += "HTTP/1.1 103 Early Hints\r\n\r\n";
  return heads;
}

[[nodiscard]] std::vector<BadHead> malformed() {
  return {
      {"Garbage", kNone, "rubbish from a port that speaks no HTTP\r\n\r\n", Fault::StatusLine},
      {"Binary", kNone, std::string("\x00\x01\x02\xff\r\n\r\n", 8), Fault::StatusLine},
      {"StatusOfTwoDigits", kNone, "HTTP/1.1 20 OK\r\n\r\n", Fault::StatusLine},
      {"StatusOver599", kNone, "HTTP/1.1 999 Odd\r\nContent-Length: 4\r\n\r\n", Fault::StatusLine},
      {"NoColon", kNone, ok("Content-Length 4\r\n"), Fault::FieldLine},
      {"SpaceBeforeColon", kNone, ok("Content-Length : 4\r\n"), Fault::FieldLine},
      {"EmptyName", kNone, ok(": 4\r\nContent-Length: 4\r\n"), Fault::FieldLine},
      // libcurl itself refuses this one, before we see the line.
      {"NulInValue", kNone, ok(std::string("X: a\0b\r\nContent-Length: 4\r\n", 27)),
       Fault::FieldLine},
      {"CarriageReturnInValue", kNone, ok("X: a\rb\r\nContent-Length: 4\r\n"), Fault::FieldValue},
      {"FoldedField", kNone, ok("X: a\r\n b\r\nContent-Length: 4\r\n"), Fault::FoldedField},
      {"BareLineFeed", kNone, ok("X: a\nContent-Length: 4\r\n"), Fault::BareLineFeed},
      {"BareLineFeedAtTheEnd", kNone, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\n",
       Fault::BareLineFeed},
      {"LongField", kNone, ok("X: " + std::string(65'536, 'y') + "\r\nContent-Length: 4\r\n"),
       Fault::HeadTooLong},
      {"VeryLongField", kNone, ok("X: " + std::string(300'000, 'y') + "\r\n"), Fault::HeadTooLong},
      {"ManyFields", kNone, ok(many_fields(129)), Fault::TooManyFields},
      {"ManyInterim", kNone, interim(17) + ok("Content-Length: 4\r\n"), Fault::TooManyInterim},
  };
}

[[nodiscard]] std::vector<BadHead> badly_framed() {
  return {
      {"SwitchedProtocols", kNone,
       "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
       Fault::SwitchedProtocols},
      {"LengthAndCoding", kNone, ok("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"),
       Fault::LengthAndCoding},
      {"CodingAndLength", kNone, ok("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"),
       Fault::LengthAndCoding},
      {"SeveralLengths", kNone, ok("Content-Length: 4\r\nContent-Length: 5\r\n"),
       Fault::SeveralLengths},
      {"TheSameLengthTwice", kNone, ok("Content-Length: 4\r\nContent-Length: 4\r\n"),
       Fault::SeveralLengths},
      {"LengthList", kNone, ok("Content-Length: 4, 4\r\n"), Fault::BadLength},
      {"SignedLength", kNone, ok("Content-Length: +4\r\n"), Fault::BadLength},
      {"HexLength", kNone, ok("Content-Length: 0x4\r\n"), Fault::BadLength},
      {"HugeLength", kNone, ok("Content-Length: 99999999999999999999999\r\n"), Fault::BadLength},
      {"OddCoding", kNone, ok("Transfer-Encoding: gzip, chunked\r\n"), Fault::BadTransferCoding},
      {"NotQuiteChunked", kNone, ok("Transfer-Encoding: xchunked\r\n"), Fault::BadTransferCoding},
      {"CodingOfHttp10", kNone, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
       Fault::BadTransferCoding},
  };
}

[[nodiscard]] std::vector<BadHead> not_asked() {
  return {
      {"PartialToAPlainGet", kNone, partial("Content-Range: bytes 0-3/10\r\nContent-Length: 4\r\n"),
       Fault::UnaskedPartial},
      {"NotModifiedUnasked", kBounded, "HTTP/1.1 304 Not Modified\r\n\r\n",
       Fault::UnaskedNotModified},
      {"OtherStart", kBounded, partial("Content-Range: bytes 3-6/10\r\nContent-Length: 4\r\n"),
       Fault::OtherRange},
      {"OtherEnd", kBounded, partial("Content-Range: bytes 2-4/10\r\nContent-Length: 3\r\n"),
       Fault::OtherRange},
      {"EndBehindTheOneAsked", kBounded,
       partial("Content-Range: bytes 2-9/10\r\nContent-Length: 8\r\n"), Fault::OtherRange},
      {"OtherStartOfUnknownTotal", kBounded,
       partial("Content-Range: bytes 0-3/*\r\nContent-Length: 4\r\n"), Fault::OtherRange},
      {"OtherSuffix", kSuffix, partial("Content-Range: bytes 0-3/10\r\nContent-Length: 4\r\n"),
       Fault::OtherRange},
      {"SuffixOfUnknownTotal", kSuffix, partial("Content-Range: bytes 6-9/*\r\n"),
       Fault::OtherRange},
      {"RangeOutsideItsTotal", kBounded, partial("Content-Range: bytes 2-5/4\r\n"),
       Fault::BadContentRange},
      {"RangeWithoutTotal", kBounded, partial("Content-Range: bytes 2-5\r\n"),
       Fault::BadContentRange},
      {"RangeOfAnotherUnit", kBounded, partial("Content-Range: seconds 2-5/10\r\n"),
       Fault::BadContentRange},
      {"TwoContentRanges", kBounded,
       partial("Content-Range: bytes 2-5/10\r\nContent-Range: bytes 2-5/10\r\n"),
       Fault::BadContentRange},
      {"NoContentRange", kBounded, partial("Content-Length: 4\r\n"), Fault::NoContentRange},
      {"OtherLengthThanItsRange", kBounded,
       partial("Content-Range: bytes 2-5/10\r\nContent-Length: 5\r\n"), Fault::OtherLength},
      {"Multipart", kBounded,
       partial("Content-Type: multipart/byteranges; boundary=x\r\nContent-Length: 4\r\n"),
       Fault::Multipart},
      {"ContentCoding", kNone,
       ok("Content-Type: audio/mpeg\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n"),
       Fault::ContentCoding},
      {"ContentCodingOfARange", kBounded,
       partial("Content-Encoding: identity, br\r\nContent-Range: bytes 2-5/10\r\n"),
       Fault::ContentCoding},
      {"RedirectElsewhere", kNone,
       "HTTP/1.1 302 Found\r\nLocation: http://elsewhere.example/t\r\n\r\n",
       Fault::RedirectRefused},
      {"RedirectToAFile", kNone, "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n",
       Fault::RedirectRefused},
  };
}

std::string bad_head_name(const ::testing::TestParamInfo<BadHead>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Malformed, BadHeads, ::testing::ValuesIn(malformed()), bad_head_name);
INSTANTIATE_TEST_SUITE_P(BadlyFramed, BadHeads, ::testing::ValuesIn(badly_framed()), bad_head_name);
INSTANTIATE_TEST_SUITE_P(NotAsked, BadHeads, ::testing::ValuesIn(not_asked()), bad_head_name);

class GoodHeads : public Fetching {
 protected:
  GoodHeads() { options_.servers = {origin_.url()}; }
  ScriptedOrigin origin_;
};

TEST_F(GoodHeads, HeadsAtTheirLimitsAreTaken) {
  origin_.on("/fields", Reply::raw(ok(many_fields(127) + "Content-Length: 4\r\n") + "0123"));
  EXPECT_EQ(run(whole("/fields")).body, "0123");
  const std::string rest = "HTTP/1.1 200 OK\r\nX: \r\nContent-Length: 4\r\n\r\n";
  const std::string value(65'536 - rest.size(), 'y');
  origin_.on("/bytes", Reply::raw(ok("X: " + value + "\r\nContent-Length: 4\r\n") + "0123"));
  const Fetched got = run(whole("/bytes"));
  ASSERT_FALSE(got.error) << got.where();
  EXPECT_EQ(got.field("x").size(), value.size());
  origin_.on("/interim", Reply::raw(interim(16) + ok("Content-Length: 4\r\n") + "0123"));
  EXPECT_EQ(run(whole("/interim")).body, "0123");
}

TEST_F(GoodHeads, ANotModifiedOfAnotherTagIsRefused) {
  origin_.on("/t", Reply::raw("HTTP/1.1 304 Not Modified\r\nETag: \"v2\"\r\n\r\n"));
  FetchRequest request = whole("/t");
  request.if_none_match = "\"v0\", \"v1\"";
  EXPECT_EQ(run(std::move(request)).where(), "other_entity_tag");
}

TEST_F(GoodHeads, APartWithAnUnknownTotalIsTaken) {
  origin_.on("/t", Reply::raw(partial("Content-Range: bytes 2-5/*\r\n"
                                      "Transfer-Encoding: chunked\r\n") +
                              "4\r\n2345\r\n0\r\n\r\n"));
  const Fetched got = run(bounded("/t", 2, 6));
  ASSERT_FALSE(got.error) << got.where();
  EXPECT_EQ(got.head->content_range, (ByteRange{2, 6}));
  EXPECT_EQ(got.head->content_length, 4U);
  EXPECT_FALSE(got.head->complete_length);
  EXPECT_EQ(got.body, "2345");
}

}  // namespace
}  // namespace segue::origin
