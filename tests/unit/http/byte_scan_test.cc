// Goal: the eight-at-a-time tests agree with looking at each byte, for every byte value and place.
#include "http/byte_scan.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace segue::http {
namespace {

TEST(ByteScan, WordTestsFindEveryByteAtEveryPlace) {
  for (int value = 0; value < 256; ++value) {
    for (size_t place = 0; place < 8; ++place) {
      char text[8];
      std::memset(text, 'm', sizeof text);
      text[place] = static_cast<char>(value);
      uint64_t word;
      std::memcpy(&word, text, sizeof word);
      EXPECT_EQ(any_below(word, 0x20) != 0, value < 0x20) << value;
      EXPECT_EQ(any_below(word, 0x21) != 0, value < 0x21) << value;
      EXPECT_EQ(any_equal(word, 0x7f) != 0, value == 0x7f) << value;
    }
  }
}

TEST(ByteScan, AWordThatIsNotSureIsLookedAtByteByByte) {
  auto never_sure = [](uint64_t) { return false; };
  auto is_x = [](char c) { return c == 'x'; };
  for (size_t length = 0; length < 20; ++length) {
    std::string text(length, 'x');
    EXPECT_TRUE(all_bytes(text, never_sure, is_x));
    for (size_t place = 0; place < length; ++place) {
      text[place] = 'y';
      EXPECT_FALSE(all_bytes(text, never_sure, is_x));
      text[place] = 'x';
    }
  }
}

}  // namespace
}  // namespace segue::http
