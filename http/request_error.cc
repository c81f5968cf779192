// The words and status codes of request_parser.h's errors.
#include <array>
#include <cstddef>

#include "http/request_parser.h"

namespace segue::http {
namespace {

struct ErrorRow {
  std::string_view name;
  uint16_t status;
};
// In the order of the enum; the static_assert below notices a missing row.
constexpr std::array kErrorRows{
    ErrorRow{"none", 200},
    ErrorRow{"request_line_too_long", 414},
    ErrorRow{"header_line_too_long", 431},
    ErrorRow{"header_too_long", 431},
    ErrorRow{"too_many_fields", 431},
    ErrorRow{"bare_lf", 400},
    ErrorRow{"bare_cr", 400},
    ErrorRow{"nul", 400},
    ErrorRow{"bad_method", 400},
    ErrorRow{"bad_target", 400},
    ErrorRow{"http_09", 400},
    ErrorRow{"bad_version", 400},
    ErrorRow{"unsupported_version", 505},
    ErrorRow{"malformed_request_line", 400},
    ErrorRow{"obs_fold", 400},
    ErrorRow{"space_before_colon", 400},
    ErrorRow{"malformed_field", 400},
    ErrorRow{"bad_field_value", 400},
    ErrorRow{"missing_host", 400},
    ErrorRow{"duplicate_host", 400},
    ErrorRow{"bad_host", 400},
    ErrorRow{"host_mismatch", 400},
    ErrorRow{"bad_content_length", 400},
    ErrorRow{"repeated_content_length", 400},
    ErrorRow{"content_length_and_transfer_encoding", 400},
    ErrorRow{"bad_transfer_encoding", 400},
    ErrorRow{"unsupported_transfer_coding", 501},
    ErrorRow{"transfer_encoding_in_http10", 400},
};
static_assert(kErrorRows.size() == static_cast<size_t>(RequestError::TransferEncodingInHttp10) + 1);

}  // namespace

uint16_t status_of(RequestError error) noexcept {
  return kErrorRows[static_cast<size_t>(error)].status;
}

std::string_view name_of(RequestError error) noexcept {
  return kErrorRows[static_cast<size_t>(error)].name;
}

}  // namespace segue::http
