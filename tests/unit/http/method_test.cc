// Goal: methods are recognised exactly, and every one of them reads back from its name.
#include "http/method.h"

#include <gtest/gtest.h>

namespace segue::http {
namespace {

TEST(Method, EveryKnownMethodReadsBackFromItsName) {
  for (Method method : {Method::Get, Method::Head, Method::Options, Method::Post, Method::Put,
                        Method::Delete, Method::Patch, Method::Connect, Method::Trace}) {
    EXPECT_EQ(parse_method(name_of(method)), method) << name_of(method);
  }
}

TEST(Method, IsCaseSensitiveAndMustMatchWhole) {
  for (std::string_view text : {"get", "Get", "GETS", "GE", "", "OPTION", "BREW", "PROPFIND"}) {
    EXPECT_EQ(parse_method(text), Method::Other) << text;
  }
}

}  // namespace
}  // namespace segue::http
