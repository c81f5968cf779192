// Goal: what players send (CTA-5004) is found, from query or field; anything else is nothing,
// within bounds.
#include "edge/prefetch/cmcd.h"

#include <gtest/gtest.h>

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
