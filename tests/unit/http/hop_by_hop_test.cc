// Goal: what belongs to one connection or one listener is never stored.
#include "http/hop_by_hop.h"

#include <gtest/gtest.h>

#include "tests/unit/http/fields_of.h"

namespace segue::http {
namespace {

TEST(HopByHop, NamesAreKnownInAnyCase) {
  for (std::string_view name : {"connection", "Keep-Alive", "TE", "Trailer", "transfer-encoding",
                                "Upgrade", "Proxy-Connection", "proxy-authenticate"}) {
    EXPECT_TRUE(is_hop_by_hop(name)) << name;
  }
  for (std::string_view name : {"ETag", "Proxy", "T", "Content-Type", "Date"}) {
    EXPECT_FALSE(is_hop_by_hop(name)) << name;
  }
}

TEST(HopByHop, ConnectionNamesMore) {
  OwnedFields fields = fields_of({{"Connection", "close, X-Hop"}, {"connection", "x-too"}});
  EXPECT_TRUE(is_hop_by_hop("X-HOP", fields.view()));
  EXPECT_TRUE(is_hop_by_hop("X-Too", fields.view()));
  EXPECT_FALSE(is_hop_by_hop("X-End", fields.view()));
}

TEST(StoredFields, LeaveOutWhatIsOursOrOneListeners) {
  OwnedFields response = fields_of({{"ETag", "\"a\""},
                                    {"Set-Cookie", "session=1"},
                                    {"Content-Length", "5"},
                                    {"Content-Range", "bytes 0-4/5"},
                                    {"Connection", "X-Hop"},
                                    {"X-Hop", "1"},
                                    {"Age", "1"},
                                    {"Transfer-Encoding", "chunked"},
                                    {"Accept-Ranges", "none"},
                                    {"Cache-Status", "o; hit"},
                                    {"Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"},
                                    {"Date", "Sun, 06 Nov 1994 08:49:37 GMT"},
                                    {"Vary", "Origin"},
                                    {"Content-Type", "audio/ogg"}});
  OwnedFields stored;
  copy_stored_fields(response.view(), stored);
  ASSERT_EQ(stored.size(), 5u);
  for (std::string_view name : {"ETag", "Last-Modified", "Date", "Vary", "Content-Type"}) {
    EXPECT_TRUE(stored.view().contains(name)) << name;
  }
}

}  // namespace
}  // namespace segue::http
