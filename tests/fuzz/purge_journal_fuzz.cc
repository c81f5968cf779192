// The purge journal's ring: whatever its pages say, recovery refuses or yields a journal that can
// be written on and recovered again with nothing lost.
#include <vector>

#include "cache/purge_journal.h"
#include "tests/fuzz/drive_pages.h"

namespace {

using namespace segue;         // NOLINT(google-build-using-namespace): a program of one file
using namespace segue::cache;  // NOLINT(google-build-using-namespace)

constexpr uint64_t kDevice = 7;
constexpr uint32_t kPages = 16;

void check_ring(const AlignedBytes& first, const AlignedBytes& second) {
  auto journal = PurgeJournal::recover(kDevice, kPages, first.span(), second.span());
  if (!journal) return;
  SEGUE_ASSERT(journal->free_pages() < kPages);
  const size_t before = journal->statements().size();
  const std::vector<PurgeStatement> one = {{.scope = PurgeScope::Prefix,
                                            .soft = false,
                                            .sequence = Sequence{UINT64_MAX},
                                            .key = {},
                                            .prefix = "music:/"}};
  const auto batch = journal->plan_append(one);
  if (!batch) return;
  for (const JournalPage& page : batch->pages) {
    encode_journal_page(page, kDevice, first.page(journal->place_of(page)));
    encode_journal_page(page, kDevice, second.page(journal->place_of(page)));
  }
  journal->commit(*batch);
  SEGUE_ASSERT(journal->statements().size() == before + 1);
  const auto again = PurgeJournal::recover(kDevice, kPages, first.span(), second.span());
  SEGUE_ASSERT(again.has_value());
  SEGUE_ASSERT(again->statements().size() == before + 1);
  SEGUE_ASSERT(again->statements().back().prefix == "music:/");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // The input is dealt out to the pages in short pieces; the first byte says how short.
  if (size < 2) return 0;
  const size_t piece = 64 + data[0] * 4;
  const AlignedBytes first = fuzz::pages_of(nullptr, 0, kPages);
  for (uint32_t page = 0; page < kPages; ++page) {
    const size_t begin = std::min(size, 1 + page * piece);
    const size_t bytes = std::min(size - begin, piece);
    if (bytes > 0) std::memcpy(first.page(page).data(), data + begin, bytes);
  }
  const AlignedBytes second = fuzz::pages_of(nullptr, 0, kPages);
  check_ring(first, second);
  for (uint32_t page = 0; page < kPages; ++page) format::seal_page(first.page(page));
  check_ring(first, second);
  return 0;
}
