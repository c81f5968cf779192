// A page of the slot table, and one of the access order: entries that come out can be, and go back
// in as they were.
#include <array>

#include "cache/slot_table.h"
#include "tests/fuzz/drive_pages.h"

namespace {

using namespace segue;         // NOLINT(google-build-using-namespace): a program of one file
using namespace segue::cache;  // NOLINT(google-build-using-namespace)

constexpr uint64_t kDevice = 7;
constexpr uint32_t kRecords = 1000;

void check_table_page(const AlignedBytes& page) {
  (void)table_page_is_valid(page.page(0), kDevice, 0);
  const auto table = format::load<format::TablePage>(page.span());
  for (const format::TableEntry& raw : table.entries) {
    for (const SizeClass size_class : {SizeClass::K64, SizeClass::K256}) {
      const auto entry = decode_entry(raw, bytes_of(size_class), kRecords);
      if (!entry) continue;
      SEGUE_ASSERT(entry->length > 0);
      SEGUE_ASSERT(entry->length <= bytes_of(size_class));
      SEGUE_ASSERT(entry->record.value < kRecords);
      const auto again = decode_entry(encode_entry(*entry), bytes_of(size_class), kRecords);
      SEGUE_ASSERT(again.has_value());
      SEGUE_ASSERT(again->key == entry->key);
      SEGUE_ASSERT(again->record == entry->record);
      SEGUE_ASSERT(again->length == entry->length);
    }
  }
}

void check_access_page(const AlignedBytes& page) {
  std::array<uint32_t, format::kSecondsPerAccessPage> seconds{};
  if (!decode_access_page(page.page(0), 0, kDevice, seconds)) return;
  const AlignedBytes again(format::kPageBytes);
  encode_access_page(seconds, 0, kDevice, again.page(0));
  SEGUE_ASSERT(std::ranges::equal(again.span(), page.span()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const AlignedBytes page = fuzz::pages_of(data, size, 1);
  check_table_page(page);
  check_access_page(page);
  format::seal_page(page.page(0));
  check_table_page(page);
  format::store(page.span(), format::page_checksum(page.page(0)) ^ mix(kDevice));
  check_access_page(page);
  return 0;
}
