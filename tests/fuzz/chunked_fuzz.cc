// The chunked decoder: one read or many give the same payload, end and verdict, and never more than
// the bound.
#include <string>

#include "http/chunked.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using segue::http::ChunkedDecoder;
using Status = ChunkedDecoder::Status;

constexpr uint64_t kBodyBytesMax = 4096;

struct Decoded {
  Status status = Status::NeedMore;
  size_t consumed = 0;
  std::string payload;
  bool operator==(const Decoded&) const = default;
};

Decoded decode(std::string_view text, size_t step) {
  ChunkedDecoder decoder(kBodyBytesMax);
  Decoded result;
  while (true) {
    const std::string_view rest = text.substr(result.consumed).substr(0, step);
    const auto [status, consumed, data] = decoder.decode(rest);
    SEGUE_ASSERT(consumed <= rest.size());
    result.consumed += consumed;
    result.payload.append(data.data(), data.size());
    result.status = status;
    if (status == Status::Data) continue;
    if (status != Status::NeedMore || result.consumed == text.size()) break;
  }
  SEGUE_ASSERT(result.payload.size() == decoder.body_bytes());
  SEGUE_ASSERT(result.payload.size() <= kBodyBytesMax);
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = segue::fuzz::text_of(data, size);
  const Decoded whole = decode(text, size + 1);
  for (size_t step : {size_t{1}, size_t{2}, size_t{7}}) SEGUE_ASSERT(decode(text, step) == whole);
  return 0;
}
