#include "edge/server/proxy_header.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <string>

namespace segue::edge {
namespace {

constexpr std::string_view kV1 = "PROXY ";
constexpr std::string_view kV2("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr size_t kV1BytesMax = 107;  // with its CRLF, as the specification counts
constexpr size_t kV2HeadBytes = 16;

constexpr ProxyHeader kMalformed{ProxyHeader::Status::Malformed, 0, false, {}};

ProxyHeader need_more(std::string_view bytes) noexcept {
  return {ProxyHeader::Status::NeedMore, bytes.size(), false, {}};
}

void set_four(ProxyHeader& header, const void* address, uint16_t port) noexcept {
  sockaddr_in four{};
  four.sin_family = AF_INET;
  four.sin_port = port;
  std::memcpy(&four.sin_addr, address, sizeof four.sin_addr);
  std::memcpy(&header.source, &four, sizeof four);
  header.has_source = true;
}

void set_six(ProxyHeader& header, const void* address, uint16_t port) noexcept {
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_port = port;
  std::memcpy(&six.sin6_addr, address, sizeof six.sin6_addr);
  std::memcpy(&header.source, &six, sizeof six);
  header.has_source = true;
}

/// Cuts the word before the next space off `rest`; what has no space behind it is the last word.
std::string_view take_word(std::string_view& rest) noexcept {
  const size_t end = std::min(rest.find(' '), rest.size());
  const std::string_view word = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return word;
}

bool is_port(std::string_view word, uint16_t& port) noexcept {
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), port);
  const bool padded = word.size() > 1 && word.front() == '0';
  return error == std::errc{} && end == word.data() + word.size() && !padded;
}

/// "TCP4 203.0.113.7 192.0.2.1 56324 443", and TCP6; the line's end is cut off.
ProxyHeader parse_v1_line(std::string_view line, size_t bytes) noexcept {
  ProxyHeader header{ProxyHeader::Status::Complete, bytes, false, {}};
  const std::string_view family = take_word(line);
  if (family == "UNKNOWN") return header;  // whatever follows is to be ignored
  const int wanted = family == "TCP4" ? AF_INET : family == "TCP6" ? AF_INET6 : 0;
  if (wanted == 0) return kMalformed;
  std::array<std::array<char, INET6_ADDRSTRLEN>, 2> texts{};
  std::array<in6_addr, 2> addresses{};
  for (size_t i = 0; i < 2; ++i) {
    const std::string_view word = take_word(line);
    if (word.empty() || word.size() >= texts[i].size()) return kMalformed;
    std::ranges::copy(word, texts[i].begin());
    if (inet_pton(wanted, texts[i].data(), &addresses[i]) != 1) return kMalformed;
  }
  uint16_t source = 0;
  uint16_t destination = 0;
  if (!is_port(take_word(line), source) || !is_port(take_word(line), destination) || !line.empty())
    return kMalformed;
  if (wanted == AF_INET) {
    set_four(header, addresses.data(), htons(source));
  } else {
    set_six(header, addresses.data(), htons(source));
  }
  return header;
}

ProxyHeader parse_v1(std::string_view bytes) noexcept {
  const std::string_view within = bytes.substr(0, kV1BytesMax);
  const size_t end = within.find('\n');
  if (end == std::string_view::npos)
    return bytes.size() >= kV1BytesMax ? kMalformed : need_more(bytes);
  if (within[end - 1] != '\r') return kMalformed;
  return parse_v1_line(within.substr(kV1.size(), end - 1 - kV1.size()), end + 1);
}

ProxyHeader parse_v2(std::string_view bytes) noexcept {
  if (bytes.size() < kV2HeadBytes) return need_more(bytes);
  const auto byte = [&](size_t at) { return static_cast<uint8_t>(bytes[at]); };
  const uint8_t version = byte(12) >> 4;
  const uint8_t command = byte(12) & 15;
  if (version != 2 || command > 1) return kMalformed;
  const size_t length = static_cast<size_t>(byte(14)) * 256 + byte(15);
  if (kV2HeadBytes + length > kProxyHeaderBytesMax) return kMalformed;
  const uint8_t family = byte(13) >> 4;
  const uint8_t transport = byte(13) & 15;
  constexpr size_t kFourBytes = 12;
  constexpr size_t kSixBytes = 36;
  if (family > 3 || transport > 2) return kMalformed;
  const bool speaks_for_other = command == 1;
  // A datagram cannot have come here.
  if (speaks_for_other && transport == 2) return kMalformed;
  if (speaks_for_other && family == 1 && length < kFourBytes) return kMalformed;
  if (speaks_for_other && family == 2 && length < kSixBytes) return kMalformed;
  if (bytes.size() < kV2HeadBytes + length) return need_more(bytes);
  ProxyHeader header{ProxyHeader::Status::Complete, kV2HeadBytes + length, false, {}};
  const char* addresses = bytes.data() + kV2HeadBytes;
  uint16_t port = 0;
  if (speaks_for_other && transport == 1 && family == 1) {
    std::memcpy(&port, addresses + 8, sizeof port);
    set_four(header, addresses, port);
  } else if (speaks_for_other && transport == 1 && family == 2) {
    std::memcpy(&port, addresses + 32, sizeof port);
    set_six(header, addresses, port);
  }
  return header;
}

}  // namespace

ProxyHeader parse_proxy_header(std::string_view bytes) noexcept {
  if (bytes.starts_with(kV1)) return parse_v1(bytes);
  if (bytes.starts_with(kV2)) return parse_v2(bytes);
  return kV1.starts_with(bytes) || kV2.starts_with(bytes) ? need_more(bytes) : kMalformed;
}

}  // namespace segue::edge
