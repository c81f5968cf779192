// A record's page: what comes out fits a record, and goes back in as it was.
#include "cache/record.h"
#include "tests/fuzz/drive_pages.h"

namespace {

using namespace segue;         // NOLINT(google-build-using-namespace): a program of one file
using namespace segue::cache;  // NOLINT(google-build-using-namespace)

void check_record(const AlignedBytes& page) {
  const auto header = format::load<format::RecordHeader>(page.span());
  const auto facts = decode_record(page.page(0), header.device_id, RecordNumber{header.record});
  if (!facts) {
    SEGUE_ASSERT(facts.error().side == Side::Disk);
    return;
  }
  SEGUE_ASSERT(fits_record(*facts));
  const AlignedBytes again(format::kPageBytes);
  encode_record(*facts, header.device_id, RecordNumber{header.record}, again.page(0));
  const auto twice = decode_record(again.page(0), header.device_id, RecordNumber{header.record});
  SEGUE_ASSERT(twice.has_value());
  SEGUE_ASSERT(twice->key == facts->key);
  SEGUE_ASSERT(twice->key_text == facts->key_text);
  SEGUE_ASSERT(twice->tag_hashes == facts->tag_hashes);
  SEGUE_ASSERT(twice->facts == facts->facts);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const AlignedBytes page = fuzz::pages_of(data, size, 1);
  check_record(page);
  format::seal_page(page.page(0));
  check_record(page);
  return 0;
}
