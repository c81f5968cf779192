// The facts part of a record: what is believed comes out as it went in, and forms a clean header
// block.
#include <vector>

#include "edge/fill/stored_response.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace segue;
  const auto decoded = edge::StoredResponseCodec().decode(std::as_bytes(std::span(data, size)));
  if (!decoded) {
    SEGUE_ASSERT(decoded.error().kind == Kind::Malformed);
    return 0;
  }
  const auto& stored = static_cast<const edge::StoredResponse&>(**decoded);
  SEGUE_ASSERT(stored.encoded_bytes() == size);
  std::vector<std::byte> again(size);
  stored.encode(again);
  SEGUE_ASSERT(std::ranges::equal(again, std::as_bytes(std::span(data, size))));
  // Nothing in it can end the header early or begin a line of its own.
  const std::string_view block = stored.http1_block();
  SEGUE_ASSERT(!block.starts_with("\r\n"));
  SEGUE_ASSERT(block.find("\r\n\r\n") == std::string_view::npos);
  (void)stored.age(WallTime::max());
  (void)stored.ttl(WallTime{});
  return 0;
}
