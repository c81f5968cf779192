// http/conditions.h - preconditions (RFC 9110 §13), evaluated for a selected representation that
// would be answered 200 or 206. Pure, no allocation.
#pragma once
#include <cstdint>

#include "http/header_fields.h"
#include "http/method.h"
#include "http/validator.h"

namespace segue::http {

enum class Condition : uint8_t {
  Proceed,
  NotModified,         // 304 (GET and HEAD)
  PreconditionFailed,  // 412
};

/// Evaluates If-Match, If-Unmodified-Since, If-None-Match and If-Modified-Since in the order of
/// §13.2.2. The representation exists, so "*" matches. Malformed entity tags match nothing; a
/// malformed or repeated date field is ignored.
[[nodiscard]] Condition evaluate_preconditions(Method method, FieldsView request,
                                               const Validator& selected) noexcept;

/// Whether Range may be honoured (§13.1.5): true without If-Range; with one, only if it matches by
/// strong comparison (a date: equal to a strong Last-Modified). False means: answer 200.
[[nodiscard]] bool if_range_matches(FieldsView request, const Validator& selected) noexcept;

}  // namespace segue::http
