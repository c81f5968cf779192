// A slot's header page: hostile pages are never taken for what the index expects; a right one with
// a single bit flipped anywhere in header or payload neither.
#include "cache/slot_header.h"
#include "tests/fuzz/drive_pages.h"

namespace {

using namespace segue;         // NOLINT(google-build-using-namespace): a program of one file
using namespace segue::cache;  // NOLINT(google-build-using-namespace)

constexpr SlotExpectation kExpected{
    .device_id = 7,
    .slot = 3,
    .key = {.key = {.high = 1, .low = 2}, .generation = Sequence{9}, .slice = SliceIndex{4}},
    .length = 5000};

void check_hostile(const AlignedBytes& page) {
  const AlignedBytes payload = fuzz::pages_of(nullptr, 0, 2);
  const SlotFault as_is = verify_slot(kExpected, page.page(0), payload.span());
  format::seal_page(page.page(0));
  const SlotFault sealed = verify_slot(kExpected, page.page(0), payload.span());
  SEGUE_ASSERT(sealed != SlotFault::BadHeader || as_is == SlotFault::BadHeader);
  if (sealed != SlotFault::None) return;
  // It is what we would have written ourselves, but for the rest of the page.
  const auto header = format::load<format::SlotHeader>(page.page(0));
  SEGUE_ASSERT(header.generation == kExpected.key.generation.value);
  SEGUE_ASSERT(header.payload_checksum == checksum(payload.span()));
}

void check_flips(const AlignedBytes& payload, size_t where) {
  const AlignedBytes header(format::kPageBytes);
  encode_slot_header(kExpected, payload.span(), header.page(0));
  SEGUE_ASSERT(verify_slot(kExpected, header.page(0), payload.span()) == SlotFault::None);
  const size_t bit = where % ((header.span().size() + payload.span().size()) * 8);
  std::byte& hit = bit / 8 < header.span().size() ? header.span()[bit / 8]
                                                  : payload.span()[bit / 8 - header.span().size()];
  hit ^= std::byte{1} << (bit % 8);
  SEGUE_ASSERT(verify_slot(kExpected, header.page(0), payload.span()) != SlotFault::None);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  check_hostile(fuzz::pages_of(data, size, 1));
  uint64_t where = 0;
  if (size >= sizeof(where)) std::memcpy(&where, data, sizeof(where));
  check_flips(fuzz::pages_of(data, size, 2), where);
  return 0;
}
