// Goal: the strict request parser accepts exactly RFC 9112's requests, refuses each smuggling trick
// with its own reason, and answers alike however the bytes are cut into reads.
// Method: tables; every request of every table is also parsed byte by byte from a moving buffer.
#include "http/request_parser.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace segue::http {
namespace {

using Status = RequestParser::Status;

struct Outcome {
  Status status;
  RequestError error;
};

Outcome parse_whole(RequestParser& parser, std::string_view text) {
  const Status status = parser.parse({text.data(), text.size()});
  return {status, status == Status::Error ? parser.error() : RequestError::None};
}

/// Byte by byte, each time at a new address whose old one is freed (ASan sees a stale view).
Outcome parse_in_pieces(RequestParser& parser, std::string_view text,
                        std::unique_ptr<char[]>& buffer, size_t step) {
  for (size_t length = 0; length < text.size();) {
    length = std::min(text.size(), length + step);
    auto moved = std::make_unique<char[]>(length);
    std::ranges::copy(text.substr(0, length), moved.get());
    buffer = std::move(moved);
    const Status status = parser.parse({buffer.get(), length});
    if (status != Status::NeedMore) {
      return {status, status == Status::Error ? parser.error() : RequestError::None};
    }
  }
  return {Status::NeedMore, RequestError::None};
}

void expect_same_in_pieces(std::string_view text, const Outcome& whole) {
  for (size_t step : {size_t{1}, size_t{7}, size_t{64}}) {
    RequestParser parser;
    std::unique_ptr<char[]> buffer;
    Outcome pieces = parse_in_pieces(parser, text, buffer, step);
    EXPECT_EQ(pieces.status, whole.status) << text.substr(0, 200);
    EXPECT_EQ(pieces.error, whole.error) << text.substr(0, 200);
  }
}

RequestError error_of(std::string_view text) {
  RequestParser parser;
  Outcome outcome = parse_whole(parser, text);
  if (text.size() < 4096) expect_same_in_pieces(text, outcome);
  EXPECT_NE(outcome.status, Status::NeedMore) << text.substr(0, 200);
  return outcome.error;
}

TEST(RequestParser, AnOrdinaryRangeRequestIsReadWhole) {
  const std::string text =
      "GET /audio/1?v=2 HTTP/1.1\r\nHost: Audio.Example.com:8080\r\nRange:  bytes=0-1 \r\n"
      "Accept: */*\r\n\r\nGET /next";
  auto check = [&](const RequestParser& parser) {
    const Request& request = parser.request();
    EXPECT_EQ(request.method, Method::Get);
    EXPECT_EQ(request.method_text, "GET");
    EXPECT_EQ(request.target, "/audio/1?v=2");
    EXPECT_EQ(request.origin_form, "/audio/1?v=2");
    EXPECT_EQ(request.form, TargetForm::Origin);
    EXPECT_EQ(request.version_minor, 1);
    EXPECT_EQ(request.host, "Audio.Example.com");
    EXPECT_EQ(request.port, 8080);
    EXPECT_EQ(request.fields.size(), 3u);
    EXPECT_EQ(request.fields.find("range"), "bytes=0-1");
    EXPECT_EQ(request.body, Body::None);
    EXPECT_FALSE(request.has_body());
    EXPECT_TRUE(request.keep_alive);
    EXPECT_EQ(parser.consumed(), text.size() - 9);
  };
  RequestParser parser;
  ASSERT_EQ(parser.parse(text), Status::Complete);
  check(parser);
  RequestParser in_pieces;
  std::unique_ptr<char[]> buffer;
  ASSERT_EQ(parse_in_pieces(in_pieces, text, buffer, 1).status, Status::Complete);
  check(in_pieces);
}

TEST(RequestParser, PipelinedRequestsAreReadOneAfterTheOther) {
  const std::string text =
      "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nHEAD /2 HTTP/1.1\r\nHost: b\r\n\r\n";
  RequestParser parser;
  ASSERT_EQ(parser.parse(text), Status::Complete);
  EXPECT_FALSE(parser.request().keep_alive);
  std::string_view rest = std::string_view(text).substr(parser.consumed());
  parser.reset();
  ASSERT_EQ(parser.parse(rest), Status::Complete);
  EXPECT_EQ(parser.request().method, Method::Head);
  EXPECT_EQ(parser.request().host, "b");
  EXPECT_TRUE(parser.request().keep_alive);
  EXPECT_EQ(parser.request().fields.size(), 1u);
  EXPECT_EQ(parser.consumed(), rest.size());
}

TEST(RequestParser, OneEmptyLineBeforeARequestIsForgivenTwoAreNot) {
  RequestParser parser;
  ASSERT_EQ(parse_whole(parser, "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").status, Status::Complete);
  EXPECT_EQ(parser.consumed(), 29u);
  EXPECT_EQ(error_of("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            RequestError::MalformedRequestLine);
}

TEST(RequestParser, EachFormOfTargetBelongsToItsMethods) {
  struct Row {
    const char* text;
    TargetForm form;
    const char* origin_form;
    const char* host;
  };
  for (const Row& row : {
           Row{"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm::Asterisk, "", "a"},
           Row{"CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n", TargetForm::Authority, "", "b"},
           Row{"GET http://A:80/x?y HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm::Absolute, "/x?y",
               "A"},
           Row{"GET https://a HTTP/1.1\r\nHost: a:443\r\n\r\n", TargetForm::Absolute, "/", "a"},
           Row{"GET HTTP://a?q HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm::Absolute, "?q", "a"},
           Row{"GET //x HTTP/1.1\r\nHost: [::1]:9\r\n\r\n", TargetForm::Origin, "//x", "[::1]"},
       }) {
    RequestParser parser;
    ASSERT_EQ(parse_whole(parser, row.text).status, Status::Complete) << row.text;
    EXPECT_EQ(parser.request().form, row.form) << row.text;
    EXPECT_EQ(parser.request().origin_form, row.origin_form) << row.text;
    EXPECT_EQ(parser.request().host, row.host) << row.text;
  }
}

TEST(RequestParser, AbsoluteTargetsSurviveAMovingBuffer) {
  RequestParser parser;
  std::unique_ptr<char[]> buffer;
  std::string_view text = "GET http://a.example/p?q HTTP/1.1\r\nX: y\r\nHost: a.example:80\r\n\r\n";
  ASSERT_EQ(parse_in_pieces(parser, text, buffer, 1).status, Status::Complete);
  EXPECT_EQ(parser.request().origin_form, "/p?q");
  EXPECT_EQ(parser.request().host, "a.example");
  EXPECT_EQ(parser.request().fields.find("x"), "y");
}

TEST(RequestParser, KeepAliveFollowsVersionAndConnection) {
  struct Row {
    const char* text;
    bool keep_alive;
  };
  for (const Row& row : {
           Row{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true},
           Row{"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE\r\n\r\n", false},
           Row{"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n", false},
           Row{"GET / HTTP/1.0\r\nHost: a\r\n\r\n", false},
           Row{"GET / HTTP/1.0\r\n\r\n", false},
           Row{"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
           Row{"GET / HTTP/1.9\r\nHost: a\r\n\r\n", true},
       }) {
    RequestParser parser;
    ASSERT_EQ(parse_whole(parser, row.text).status, Status::Complete) << row.text;
    EXPECT_EQ(parser.request().keep_alive, row.keep_alive) << row.text;
  }
}

TEST(RequestParser, FramingIsReportedForAnyMethod) {
  RequestParser parser;
  ASSERT_EQ(parse_whole(parser, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n").status,
            Status::Complete);
  EXPECT_EQ(parser.request().body, Body::Length);
  EXPECT_EQ(parser.request().content_length, 5u);
  EXPECT_TRUE(parser.request().has_body());
  parser.reset();
  ASSERT_EQ(parse_whole(parser, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").status,
            Status::Complete);
  EXPECT_EQ(parser.request().body, Body::Length);
  EXPECT_FALSE(parser.request().has_body());
  parser.reset();
  ASSERT_EQ(parse_whole(parser,
                        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ChunkeD\r\n"
                        "Expect: 100-Continue\r\n\r\n")
                .status,
            Status::Complete);
  EXPECT_EQ(parser.request().body, Body::Chunked);
  EXPECT_TRUE(parser.request().has_body());
  EXPECT_TRUE(parser.request().expect_continue);
  parser.reset();
  ASSERT_EQ(parse_whole(parser, "GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").status,
            Status::Complete);
  EXPECT_FALSE(parser.request().expect_continue);
}

TEST(RequestParser, EachDefectHasItsReason) {
  using enum RequestError;
  const std::string get = "GET / HTTP/1.1\r\n";
  const std::string host = "Host: a\r\n";
  auto with = [&](std::string_view lines) { return get + host + std::string(lines) + "\r\n"; };
  const std::vector<std::pair<std::string, RequestError>> rows{
      {"GET / HTTP/1.1\nHost: a\r\n\r\n", BareLf},
      {get + "Host: a\n\r\n", BareLf},
      {get + host + "\n", BareLf},
      {get + "Host: a\rX: b\r\n\r\n", BareCr},
      {"GET /\r HTTP/1.1\r\n", BareCr},
      {std::string("GET /a\0b HTTP/1.1\r\n", 19), Nul},
      {get + std::string("X: a\0b\r\n", 8), Nul},
      {get + std::string("X\0: ab\r\n", 8), Nul},
      {"GET\t/\tHTTP/1.1\r\n", MalformedRequestLine},
      {"GET\r\n", MalformedRequestLine},
      {"GET  / HTTP/1.1\r\n", MalformedRequestLine},
      {"GET /  HTTP/1.1\r\n", MalformedRequestLine},
      {"GET / HTTP/1.1 \r\n", MalformedRequestLine},
      {"GET / x HTTP/1.1\r\n", MalformedRequestLine},
      {" GET / HTTP/1.1\r\n", BadMethod},
      {"G(T / HTTP/1.1\r\n", BadMethod},
      {"GET /\r\n", Http09},
      {"GET / HTTP/11\r\n", BadVersion},
      {"GET / http/1.1\r\n", BadVersion},
      {"GET / HTTP/1.10\r\n", BadVersion},
      {"GET / HTTP/+1.1\r\n", BadVersion},
      {"GET / HTTP/1,1\r\n", BadVersion},
      {"GET / \r\n", BadVersion},
      {"PRI * HTTP/2.0\r\n", UnsupportedVersion},
      {"GET / HTTP/0.9\r\n", UnsupportedVersion},
      {"GET a HTTP/1.1\r\n", BadTarget},
      {"GET ?a HTTP/1.1\r\n", BadTarget},
      {"GET * HTTP/1.1\r\n", BadTarget},
      {"GET /a#b HTTP/1.1\r\n", BadTarget},
      {"GET /a\tb HTTP/1.1\r\n", BadTarget},
      {"GET /\xc3\xa4 HTTP/1.1\r\n", BadTarget},
      {"GET /longer-than-a-word\x7f HTTP/1.1\r\n", BadTarget},
      {"GET ftp://a/ HTTP/1.1\r\n", BadTarget},
      {with(" folded\r\n"), ObsFold},
      {with("X: a\r\n\tb\r\n"), ObsFold},
      {with("X : a\r\n"), SpaceBeforeColon},
      {with("X\t: a\r\n"), SpaceBeforeColon},
      {with("no colon\r\n"), MalformedField},
      {with("nocolon\r\n"), MalformedField},
      {with(": empty\r\n"), MalformedField},
      {with("X(y): a\r\n"), MalformedField},
      {with("X: a\x01\r\n"), BadFieldValue},
      {with("X: a\x7f\r\n"), BadFieldValue},
      {get + "\r\n", MissingHost},
      {"GET http://a/ HTTP/1.1\r\n\r\n", MissingHost},
      {with("host: a\r\n"), DuplicateHost},
      {get + "Host:\r\n\r\n", BadHost},
      {get + "Host: a b\r\n\r\n", BadHost},
      {get + "Host: a,b\r\n\r\n", BadHost},
      {get + "Host: u@a\r\n\r\n", BadHost},
      {get + "Host: a:0\r\n\r\n", BadHost},
      {get + "Host: a:65536\r\n\r\n", BadHost},
      {get + "Host: a:+80\r\n\r\n", BadHost},
      {get + "Host: a/b\r\n\r\n", BadHost},
      {get + "Host: [::1\r\n\r\n", BadHost},
      {get + "Host: [::1]x\r\n\r\n", BadHost},
      {get + "Host: [zz::]\r\n\r\n", BadHost},
      {get + "Host: []\r\n\r\n", BadHost},
      {"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", BadHost},
      {"GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", BadHost},
      {"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", HostMismatch},
      {"GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n", HostMismatch},
      {"GET https://a/ HTTP/1.1\r\nHost: a:80\r\n\r\n", HostMismatch},
      {with("Content-Length: -1\r\n"), BadContentLength},
      {with("Content-Length: +1\r\n"), BadContentLength},
      {with("Content-Length: 0x1\r\n"), BadContentLength},
      {with("Content-Length: 1 2\r\n"), BadContentLength},
      {with("Content-Length:\r\n"), BadContentLength},
      {with("Content-Length: 9223372036854775808\r\n"), BadContentLength},
      {with("Content-Length: 99999999999999999999\r\n"), BadContentLength},
      {with("Content-Length: 5, 5\r\n"), RepeatedContentLength},
      {with("Content-Length: 5\r\nContent-Length: 5\r\n"), RepeatedContentLength},
      {with("Content-Length: 5\r\ncontent-length: 6\r\n"), RepeatedContentLength},
      {with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
       ContentLengthAndTransferEncoding},
      {with("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
       ContentLengthAndTransferEncoding},
      {with("Transfer-Encoding: gzip\r\n"), BadTransferEncoding},
      {with("Transfer-Encoding: identity\r\n"), BadTransferEncoding},
      {with("Transfer-Encoding:\r\n"), BadTransferEncoding},
      {with("Transfer-Encoding: ,chunked\r\n"), BadTransferEncoding},
      {with("Transfer-Encoding: chunked,\r\n"), BadTransferEncoding},
      {with("Transfer-Encoding: chunked, gzip\r\n"), BadTransferEncoding},
      {with("Transfer-Encoding: chunked, chunked\r\n"), BadTransferEncoding},
      {with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), BadTransferEncoding},
      {with("Transfer-Encoding: \"chunked\"\r\n"), BadTransferEncoding},
      {with("Transfer-Encoding: xchunked\r\n"), BadTransferEncoding},
      {with("Transfer-Encoding: chunked;q=1\r\n"), BadTransferEncoding},
      {with("Transfer-Encoding: gzip, chunked\r\n"), UnsupportedTransferCoding},
      {with("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"),
       UnsupportedTransferCoding},
      {"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", TransferEncodingInHttp10},
  };
  for (const auto& [text, error] : rows) {
    EXPECT_EQ(name_of(error_of(text)), name_of(error)) << text;
  }
}

TEST(RequestParser, TheRequestLineIsLimitedToItsMaximum) {
  auto line = [](size_t bytes) {
    std::string start = "GET /";
    std::string end = " HTTP/1.1";
    return start + std::string(bytes - start.size() - end.size(), 'a') + end;
  };
  const std::string rest = "\r\nHost: a\r\n\r\n";
  EXPECT_EQ(error_of(line(kRequestLineBytesMax) + rest), RequestError::None);
  EXPECT_EQ(error_of(line(kRequestLineBytesMax + 1) + rest), RequestError::RequestLineTooLong);
  EXPECT_EQ(status_of(RequestError::RequestLineTooLong), 414);
  RequestParser parser;  // and without waiting for an end that may never come
  EXPECT_EQ(parser.parse(std::string(kRequestLineBytesMax + 1, 'a')), Status::NeedMore);
  EXPECT_EQ(parser.parse(std::string(kRequestLineBytesMax + 2, 'a')), Status::Error);
}

TEST(RequestParser, HeaderLinesAreLimitedToTheirMaximum) {
  auto request = [](size_t line_bytes) {
    return "GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(line_bytes - 3, 'v') + "\r\n\r\n";
  };
  EXPECT_EQ(error_of(request(kHeaderLineBytesMax)), RequestError::None);
  EXPECT_EQ(error_of(request(kHeaderLineBytesMax + 1)), RequestError::HeaderLineTooLong);
  EXPECT_EQ(error_of(request(kHeaderLineBytesMax * 100)), RequestError::HeaderLineTooLong);
  EXPECT_EQ(status_of(RequestError::HeaderLineTooLong), 431);
}

TEST(RequestParser, TheHeaderAsAWholeIsLimitedToItsMaximum) {
  auto request = [](size_t header_bytes) {
    std::string header = "Host: a\r\n";
    while (header.size() + 8000 < header_bytes) header += "X: " + std::string(7000, 'v') + "\r\n";
    header += "X: " + std::string(header_bytes - header.size() - 5, 'v') + "\r\n";
    return "GET / HTTP/1.1\r\n" + header + "\r\n";
  };
  const std::string largest = request(kHeaderBytesMax);
  EXPECT_EQ(error_of(largest), RequestError::None);
  EXPECT_LE(largest.size(), kRequestHeadBytesMax);
  EXPECT_EQ(error_of(request(kHeaderBytesMax + 1)), RequestError::HeaderTooLong);
  EXPECT_EQ(status_of(RequestError::HeaderTooLong), 431);
  // One byte short of the end the answer is not known yet.
  RequestParser parser;
  EXPECT_EQ(parser.parse(std::string_view(largest).substr(0, largest.size() - 1)),
            Status::NeedMore);
  EXPECT_EQ(parser.parse(largest), Status::Complete);
}

TEST(RequestParser, TheNumberOfFieldsIsLimitedToItsMaximum) {
  auto request = [](size_t fields) {
    std::string text = "GET / HTTP/1.1\r\nHost: a\r\n";
    for (size_t i = 1; i < fields; ++i) text += "X: y\r\n";
    return text + "\r\n";
  };
  EXPECT_EQ(error_of(request(kHeaderFieldsMax)), RequestError::None);
  EXPECT_EQ(error_of(request(kHeaderFieldsMax + 1)), RequestError::TooManyFields);
  EXPECT_EQ(status_of(RequestError::TooManyFields), 431);
}

TEST(RequestParser, StaysFailedUntilReset) {
  RequestParser parser;
  EXPECT_EQ(parser.parse(std::string_view("GET\r\n")), Status::Error);
  EXPECT_EQ(parser.parse(std::string_view("GET / HTTP/1.1\r\nHost: a\r\n\r\n")), Status::Error);
  EXPECT_EQ(parser.error(), RequestError::MalformedRequestLine);
  parser.reset();
  EXPECT_EQ(parser.parse(std::string_view("GET / HTTP/1.1\r\nHost: a\r\n\r\n")), Status::Complete);
}

TEST(RequestParser, NamesAndStatusesOfErrorsAreTheirOwn) {
  EXPECT_EQ(status_of(RequestError::UnsupportedVersion), 505);
  EXPECT_EQ(status_of(RequestError::UnsupportedTransferCoding), 501);
  EXPECT_EQ(status_of(RequestError::ContentLengthAndTransferEncoding), 400);
  EXPECT_EQ(name_of(RequestError::TransferEncodingInHttp10), "transfer_encoding_in_http10");
  EXPECT_EQ(name_of(RequestError::BareLf), "bare_lf");
}

}  // namespace
}  // namespace segue::http
