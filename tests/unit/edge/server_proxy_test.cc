// Goal: every form of a PROXY header is read whole and nothing behind it, byte by byte too, and
// what is none is refused at the first byte that shows it.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "edge/server/listen_address.h"
#include "edge/server/proxy_input.h"

namespace segue::edge {
namespace {

using Status = ProxyHeader::Status;

const std::string signature("\r\n\r\n\0\r\nQUIT\n", 12);

std::string v2(char command, char family, const std::string& rest) {
  std::string header = signature + command + family;
  header += static_cast<char>(rest.size() / 256);
  header += static_cast<char>(rest.size() % 256);
  return header + rest;
}

std::string text_of(const ProxyHeader& header) {
  if (!header.has_source) return "";
  const Peer peer = peer_of(header.source, 1);
  return {peer.text.data(), peer.text_bytes};
}

const std::string four_bytes = std::string("\xcb\x00\x71\x07\xc0\x00\x02\x01\xdc\x04\x01\xbb", 12);
const std::string six_bytes = std::string("\x20\x01\x0d\xb8", 4) + std::string(11, '\0') + "\x01" +
                              std::string(16, '\0') + std::string("\xdc\x04\x01\xbb", 4);

struct Case {
  std::string header;
  std::string client;
};
const Case right_headers[] = {
    {"PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n", "203.0.113.7"},
    {"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", "2001:db8::1"},
    {"PROXY UNKNOWN\r\n", ""},
    {"PROXY UNKNOWN whatever this is\r\n", ""},
    {v2('\x21', '\x11', four_bytes), "203.0.113.7"},
    {v2('\x21', '\x11', four_bytes + std::string("\x04\x00\x03xyz", 6)), "203.0.113.7"},
    {v2('\x21', '\x21', six_bytes), "2001:db8::1"},
    {v2('\x20', '\x11', four_bytes), ""},
    {v2('\x20', '\x00', ""), ""},
    {v2('\x21', '\x31', std::string(216, 'u')), ""},
    {v2('\x21', '\x00', std::string(1008, 't')), ""},
};

TEST(ProxyHeaderTest, EveryFormIsReadAndSaysWhom) {
  for (const Case& each : right_headers) {
    const ProxyHeader header = parse_proxy_header(each.header + "GET / HTTP/1.1");
    EXPECT_EQ(header.status, Status::Complete) << each.header;
    EXPECT_EQ(header.bytes, each.header.size()) << each.header;
    EXPECT_EQ(text_of(header), each.client) << each.header;
  }
}

TEST(ProxyHeaderTest, ABeginningIsNeitherWholeNorWrong) {
  for (const Case& each : right_headers) {
    for (size_t length = 0; length < each.header.size(); ++length)
      EXPECT_EQ(parse_proxy_header(each.header.substr(0, length)).status, Status::NeedMore)
          << each.header << " " << length;
  }
}

TEST(ProxyHeaderTest, WhatIsNoneIsRefused) {
  const std::string wrong[] = {"GET / HTTP/1.1\r\n",
                               "PROXY\r\n",
                               "PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n",
                               "PROXY TCP4 1.1.1.1\r\n",
                               "PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n",
                               "PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n",
                               "PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n",
                               "PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n",
                               "PROXY TCP4 ::1 ::1 1 1\r\n",
                               "PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n",
                               "PROXY TCP4  1.1.1.1 1.1.1.1 1 1\r\n",
                               "PROXY TCP4 1.1.1.1 1.1.1.1 -1 1\r\n",
                               "PROXY UNKNOWN " + std::string(200, 'x'),
                               "proxy UNKNOWN\r\n",
                               v2('\x11', '\x11', four_bytes),
                               v2('\x22', '\x11', four_bytes),
                               v2('\x21', '\x11', four_bytes.substr(1)),
                               v2('\x21', '\x21', four_bytes),
                               v2('\x21', '\x12', four_bytes),
                               v2('\x21', '\x41', four_bytes),
                               v2('\x21', '\x13', four_bytes),
                               v2('\x21', '\x11', std::string(1009, 'x')),
                               "\r\n\r\nX"};
  for (const std::string& header : wrong)
    EXPECT_EQ(parse_proxy_header(header).status, Status::Malformed) << header;
}

class ProxyInputTest : public ::testing::Test {
 protected:
  ProxyInputTest() { EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0); }
  ~ProxyInputTest() override {
    close(ends[0]);
    close(ends[1]);
  }
  void give(std::string_view text) {
    ASSERT_EQ(send(ends[1], text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  }
  int ends[2]{};
};

TEST_F(ProxyInputTest, TakesTheHeaderByteByByteAndLeavesWhatFollows) {
  for (const Case& each : right_headers) {
    ProxyInput input;
    EXPECT_EQ(input.receive(ends[0]).status, Status::NeedMore);
    for (size_t i = 0; i + 1 < each.header.size(); ++i) {
      give(each.header.substr(i, 1));
      ASSERT_EQ(input.receive(ends[0]).status, Status::NeedMore);
      char left = 0;
      ASSERT_EQ(recv(ends[0], &left, 1, MSG_PEEK), -1) << "it would be announced again and again";
    }
    give(each.header.substr(each.header.size() - 1) + "GET");
    const ProxyHeader header = input.receive(ends[0]);
    EXPECT_EQ(header.status, Status::Complete);
    EXPECT_EQ(text_of(header), each.client);
    std::string rest(8, '\0');
    ASSERT_EQ(recv(ends[0], rest.data(), rest.size(), 0), 3);
    EXPECT_EQ(rest.substr(0, 3), "GET");
  }
}

TEST_F(ProxyInputTest, APeerThatClosesOrLiesIsRefused) {
  ProxyInput input;
  give("PROXY TCP4 1");
  EXPECT_EQ(input.receive(ends[0]).status, Status::NeedMore);
  give("x");
  EXPECT_EQ(input.receive(ends[0]).status, Status::NeedMore);  // a line is judged whole
  shutdown(ends[1], SHUT_WR);
  EXPECT_EQ(input.receive(ends[0]).status, Status::Malformed);
}

}  // namespace
}  // namespace segue::edge
