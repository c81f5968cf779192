// tests/unit/http/fields_of.h - header fields for tests, written as they are read.
#pragma once
#include <initializer_list>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "http/header_fields.h"

namespace segue::http {

inline OwnedFields fields_of(
    std::initializer_list<std::pair<std::string_view, std::string_view>> lines) {
  OwnedFields fields;
  for (const auto& [name, value] : lines) {
    if (!fields.add(name, value)) throw std::invalid_argument("not a field");
  }
  return fields;
}

}  // namespace segue::http
