// Any bytes before a connection's first request are read without a step outside of them; what is
// complete stays so whatever follows, and no part of it is.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "edge/server/proxy_header.h"
#include "tests/fuzz/fuzz_input.h"

using segue::edge::kProxyHeaderBytesMax;
using segue::edge::parse_proxy_header;
using segue::edge::ProxyHeader;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes = segue::fuzz::text_of(data, size);
  const ProxyHeader header = parse_proxy_header(bytes);
  switch (header.status) {
    case ProxyHeader::Status::NeedMore:
      SEGUE_ASSERT(header.bytes == bytes.size());
      SEGUE_ASSERT(bytes.size() < kProxyHeaderBytesMax);
      break;
    case ProxyHeader::Status::Complete: {
      SEGUE_ASSERT(header.bytes <= bytes.size());
      SEGUE_ASSERT(header.bytes <= kProxyHeaderBytesMax);
      const ProxyHeader alone = parse_proxy_header(bytes.substr(0, header.bytes));
      SEGUE_ASSERT(alone.status == ProxyHeader::Status::Complete);
      SEGUE_ASSERT(alone.bytes == header.bytes);
      const ProxyHeader cut = parse_proxy_header(bytes.substr(0, header.bytes - 1));
      SEGUE_ASSERT(cut.status == ProxyHeader::Status::NeedMore);
      break;
    }
    case ProxyHeader::Status::Malformed:
      break;
  }
  return 0;
}
