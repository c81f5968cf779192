// Goal: what players send (CTA-5004) is found, from query or field; anything else is nothing,
// within bounds.
#include "edge/prefetch/cmcd.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace segue::edge {
namespace {

std::string found(std::string_view query, std::string_view key) {
  const CmcdText text(query, {});
  return std::string(text.find(key).value_or("(nothing)"));
}

TEST(Cmcd, ValuesAreFoundInTheQuery) {
  constexpr std::string_view kQuery = "v=1&CMCD=bl%3D4000%2Csid%3D%22a%2Cb%22%2Csu%2Cnor%3D%22x%22";
  EXPECT_EQ(found(kQuery, "sid"), "a,b");
  EXPECT_EQ(found(kQuery, "bl"), "4000");
  EXPECT_EQ(found(kQuery, "su"), "");
  EXPECT_EQ(found(kQuery, "nor"), "x");
  EXPECT_EQ(found(kQuery, "si"), "(nothing)");
}

TEST(Cmcd, ValuesAreFoundInTheField) {
  const http::Field field{"CMCD-Session", "cid=\"c\", sid=\"s\""};
  const CmcdText text("", http::FieldsView(std::span(&field, 1)));
  EXPECT_EQ(text.find("sid").value_or(""), "s");
}

TEST(Cmcd, TheQueryGoesBeforeTheField) {
  const http::Field field{"CMCD-Session", "sid=\"field\""};
  const CmcdText text("CMCD=sid%3D%22query%22", http::FieldsView(std::span(&field, 1)));
  EXPECT_EQ(text.find("sid").value_or(""), "query");
}

TEST(Cmcd, TheFieldsOfRequestAndSessionAreReadTogether) {
  const http::Field fields[] = {{"CMCD-Request", "nor=\"..%2F2.ogg\",su"},
                                {"CMCD-Session", "sid=\"s\""}};
  const CmcdText text("", http::FieldsView(std::span(fields)));
  EXPECT_EQ(text.find("sid").value_or(""), "s");
  EXPECT_EQ(text.find("nor").value_or(""), "..%2F2.ogg");
  EXPECT_TRUE(text.is_urgent());
}

TEST(Cmcd, APlayerIsUrgentThatStartsOrRunsDry) {
  const auto urgent = [](std::string_view text) {
    return CmcdText("CMCD=" + std::string(text), {}).is_urgent();
  };
  EXPECT_TRUE(urgent("su"));
  EXPECT_TRUE(urgent("bl%3D0"));
  EXPECT_TRUE(urgent("bl%3D1900%2Csid%3D%22a%22"));
  EXPECT_TRUE(urgent("bl%3D9000%2Cdl%3D500"));
  EXPECT_FALSE(urgent("bl%3D2000"));
  EXPECT_FALSE(urgent("su%3Dfalse"));
  EXPECT_FALSE(urgent("bl%3D-1%2Cdl%3Dsoon"));
  EXPECT_FALSE(urgent("bl"));
  EXPECT_FALSE(urgent(""));
}

TEST(Cmcd, TheNextObjectIsDecodedOnceOrNothing) {
  std::array<char, 16> out;
  EXPECT_EQ(decode_next_object("..%2F2.ogg", out).value_or(""), "../2.ogg");
  EXPECT_EQ(decode_next_object("a%252F", out).value_or(""), "a%2F");
  for (const char* nor :
       {"", "a%2", "a%", "a%0A", "a%00b", "a b", "%7F", "%80", "seventeen letters"})
    EXPECT_FALSE(decode_next_object(nor, out).has_value()) << nor;
  EXPECT_TRUE(decode_next_object("sixteen-letters.", out).has_value());
  EXPECT_FALSE(decode_next_object("sixteen-letters..", out).has_value());
}

TEST(Cmcd, TheNextRangeIsOneOrNothing) {
  const auto range = [](std::string_view text, uint64_t length = 0) {
    return parse_next_range(text, 100, length).value_or(ByteRange{9, 9});
  };
  const ByteRange nothing{9, 9};
  EXPECT_EQ(range("12323-48763"), (ByteRange{12323, 48764}));
  EXPECT_EQ(range("0-0"), (ByteRange{0, 1}));
  EXPECT_EQ(range("500-"), (ByteRange{500, 600}));
  EXPECT_EQ(range("-20", 50), (ByteRange{30, 50}));
  EXPECT_EQ(range("-80", 50), (ByteRange{0, 50}));
  EXPECT_EQ(range("-20"), nothing);
  for (const char* text :
       {"", "-", "5", "5-4", "a-b", "1-2-3", "1-2,4-5", "-0", "+1-2", " 1-2",
        "18446744073709551615-", "0-18446744073709551615", "99999999999999999999-"})
    EXPECT_EQ(range(text, 50), nothing) << text;
}

TEST(Cmcd, WhatIsNotWellFormedIsNothing) {
  for (const char* query : {"", "CMCD", "CMCD=", "CMCD=%", "CMCD=sid%3", "CMCD=sid%ZZ",
                            "CMCD=sid%3D%22open", "CMCD=%2C%2C%2C", "CMCD=%3D%22x%22"})
    EXPECT_EQ(found(query, "sid"), "(nothing)") << query;
}

TEST(Cmcd, ATextIsReadUpToItsBoundAndNotBeyond) {
  const std::string head = "CMCD=sid%3D%22s%22%2Cx%3D";
  const size_t head_bytes = std::string_view("sid=\"s\",x=").size();
  EXPECT_EQ(found(head + std::string(kCmcdBytesMax - head_bytes, 'y'), "sid"), "s");
  EXPECT_EQ(found(head + std::string(kCmcdBytesMax - head_bytes + 1, 'y'), "sid"), "(nothing)");
}

}  // namespace
}  // namespace segue::edge
