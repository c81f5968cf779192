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

TEST(Cmcd, AValueEndsBeforeItsParametersAndATextHoldsWhatItQuotes) {
  constexpr std::string_view kQuery =
      "CMCD=cid%3D%22a%5C%22%2Csid%3Dno%22%2Cbl%3D4000%3Bx%3D%22%2Csid%3Dno%22%2Csid%3D%22s%22";
  EXPECT_EQ(found(kQuery, "cid"), "a\\\",sid=no");
  EXPECT_EQ(found(kQuery, "bl"), "4000");
  EXPECT_EQ(found(kQuery, "sid"), "s");
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
  EXPECT_TRUE(urgent("bl%3D%284000%3Bv%201900%3Ba%29"));
  EXPECT_TRUE(urgent("bl%3D1900%3Bx%3D%22%2C%22"));
  EXPECT_FALSE(urgent("bl%3D%284000%202000%29"));
  EXPECT_FALSE(urgent("bl%3D%28%29%2Cdl%3D%28soon%29"));
  EXPECT_FALSE(urgent("bl%3D2000"));
  EXPECT_FALSE(urgent("su%3Dfalse"));
  EXPECT_FALSE(urgent("bl%3D-1%2Cdl%3Dsoon"));
  EXPECT_FALSE(urgent("bl"));
  EXPECT_FALSE(urgent(""));
}

std::string decoded(std::string_view reference, bool encoded, size_t room = 16) {
  std::array<char, 16> out;
  const NextObject next{.reference = reference, .encoded = encoded, .range = {}};
  return std::string(decode_next_object(next, std::span(out).first(room)).value_or("(nothing)"));
}

TEST(Cmcd, TheNextObjectIsDecodedOnceOrNothing) {
  EXPECT_EQ(decoded("..%2F2.ogg", true), "../2.ogg");
  EXPECT_EQ(decoded("a%252F", true), "a%2F");
  for (const char* nor :
       {"", "a%2", "a%", "a%0A", "a%00b", "a b", "%7F", "%80", "seventeen letters"})
    EXPECT_EQ(decoded(nor, true), "(nothing)") << nor;
  EXPECT_EQ(decoded("sixteen-letters.", true), "sixteen-letters.");
  EXPECT_EQ(decoded("sixteen-letters..", true), "(nothing)");
}

TEST(Cmcd, TheNextObjectOfAListIsAsItIsUnlessItsSlashesAreEncoded) {
  EXPECT_EQ(decoded("../a%20b.ogg", false), "../a%20b.ogg");
  EXPECT_EQ(decoded("a/b%2Fc", false), "a/b%2Fc");
  EXPECT_EQ(decoded("..%2f2.ogg", false), "../2.ogg");
  for (const char* nor : {"", "a b", "a\x01", "\x7f", "\x80", "a%2Fb%0A", "seventeen-letters"})
    EXPECT_EQ(decoded(nor, false), "(nothing)") << nor;
}

/// "reference|range reference|range"; '*' for what is asked for now, '!' before one that is as it
/// is.
std::string next_of(std::string_view text) {
  const http::Field field{"CMCD-Request", text};
  const CmcdText cmcd("", http::FieldsView(std::span(&field, 1)));
  const auto next = cmcd.next_objects();
  if (!next) return "(malformed)";
  std::string said;
  for (const NextObject& object : next->all()) {
    if (!said.empty()) said += ' ';
    if (!object.encoded) said += '!';
    said += object.reference.value_or("*");
    if (object.range) said.append("|").append(*object.range);
  }
  return said;
}

TEST(Cmcd, OneNextObjectIsNamedWithItsRangeOrOneOfWhatIsAskedForNow) {
  EXPECT_EQ(next_of("bl=4000,su"), "");
  EXPECT_EQ(next_of("nor=\"..%2F2.ogg\""), "..%2F2.ogg");
  EXPECT_EQ(next_of("nor=\"2.ogg\",nrr=\"5-9\""), "2.ogg|5-9");
  EXPECT_EQ(next_of("nrr=\"5-\""), "*|5-");
  EXPECT_EQ(next_of("nor=\"2.ogg\";r=\"1-2\",nrr=\"5-9\""), "2.ogg|1-2");
}

TEST(Cmcd, AListNamesSeveralNextObjectsEachWithItsRange) {
  EXPECT_EQ(next_of("nor=(\"2.ogg\")"), "!2.ogg");
  EXPECT_EQ(next_of("bl=(4000),nor=(\"../b,c/2.ogg\";r=\"0-99\" \"3.ogg\"),sid=\"s\""),
            "!../b,c/2.ogg|0-99 !3.ogg");
  EXPECT_EQ(next_of("nor=( \"2.ogg\";a;r=\"-5\";b=1   \"3.ogg\";r=7-8  ),nrr=\"5-9\""),
            "!2.ogg|-5 !3.ogg|7-8");
  EXPECT_EQ(next_of("nor=(\"a)b\" \"c;r=1\");x=\"),\""), "!a)b !c;r=1");
  EXPECT_EQ(next_of("nor=()"), "");
  EXPECT_EQ(next_of("nor=(),nrr=\"5-9\""), "");
}

TEST(Cmcd, OfALongListTheFirstAreTaken) {
  EXPECT_EQ(next_of("nor=(\"1\" \"2\" \"3\" \"4\")"), "!1 !2 !3 !4");
  EXPECT_EQ(next_of("nor=(\"1\" \"2\" \"3\" \"4\" \"5\")"), "!1 !2 !3 !4");
}

TEST(Cmcd, WhatIsNoListOfTextsIsMalformed) {
  EXPECT_EQ(next_of("nor=(2.ogg)"), "(malformed)");
  EXPECT_EQ(next_of("nor=(\"2.ogg\" 3.ogg)"), "(malformed)");
  EXPECT_EQ(next_of("nor=((\"2.ogg\"))"), "(malformed)");
  // Nothing of a text is read from where it is open.
  for (const char* text : {"nor=(", "nor=(\"2.ogg\"", "nor=(\"2.ogg)", "nor=(\"2.ogg\\\")",
                           "nor=\"2.ogg", "nor=(\"2.ogg\");x=\"", "sid=(,nor=\"2.ogg\""})
    EXPECT_EQ(next_of(text), "") << text;
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
