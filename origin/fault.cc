#include "origin/fault.h"

#include <array>

namespace segue::origin {
namespace {

struct Row {
  Fault fault;
  const char* name;
  Kind kind;
  bool retryable;       // another try of the whole request may help
  bool server_failure;  // counts for the breaker
};

constexpr std::array<Row, kFaultCount> kRows{{
    {Fault::None, "none", Kind::IoError, false, false},
    {Fault::NoServer, "no_server", Kind::Refused, true, false},
    {Fault::NameUnknown, "name_unknown", Kind::Unreachable, true, true},
    {Fault::NameTimeout, "name_timeout", Kind::Timeout, true, true},
    {Fault::ConnectRefused, "connect_refused", Kind::Refused, true, true},
    {Fault::ConnectUnreachable, "connect_unreachable", Kind::Unreachable, true, true},
    {Fault::ConnectTimeout, "connect_timeout", Kind::Timeout, true, true},
    {Fault::TlsRefused, "tls_refused", Kind::Refused, false, true},
    {Fault::FirstByteTimeout, "first_byte_timeout", Kind::Timeout, true, true},
    {Fault::TotalTimeout, "total_timeout", Kind::Timeout, true, true},
    {Fault::ClosedBeforeHead, "closed_before_head", Kind::Closed, true, true},
    {Fault::ClosedInHead, "closed_in_head", Kind::Closed, true, true},
    {Fault::StaleConnection, "stale_connection", Kind::Closed, true, false},
    {Fault::ServerBusy, "server_busy", Kind::Refused, true, false},
    {Fault::StatusLine, "status_line", Kind::Malformed, false, false},
    {Fault::FieldLine, "field_line", Kind::Malformed, false, false},
    {Fault::FieldValue, "field_value", Kind::Malformed, false, false},
    {Fault::FoldedField, "folded_field", Kind::Malformed, false, false},
    {Fault::BareLineFeed, "bare_line_feed", Kind::Malformed, false, false},
    {Fault::HeadTooLong, "head_too_long", Kind::Malformed, false, false},
    {Fault::TooManyFields, "too_many_fields", Kind::Malformed, false, false},
    {Fault::TooManyInterim, "too_many_interim", Kind::Malformed, false, false},
    {Fault::SwitchedProtocols, "switched_protocols", Kind::Unsupported, false, false},
    {Fault::LengthAndCoding, "length_and_coding", Kind::Malformed, false, false},
    {Fault::SeveralLengths, "several_lengths", Kind::Malformed, false, false},
    {Fault::BadLength, "bad_length", Kind::Malformed, false, false},
    {Fault::BadTransferCoding, "bad_transfer_coding", Kind::Malformed, false, false},
    {Fault::UnaskedPartial, "unasked_partial", Kind::Mismatch, false, false},
    {Fault::UnaskedNotModified, "unasked_not_modified", Kind::Mismatch, false, false},
    {Fault::OtherEntityTag, "other_entity_tag", Kind::Mismatch, false, false},
    {Fault::NoContentRange, "no_content_range", Kind::Mismatch, false, false},
    {Fault::BadContentRange, "bad_content_range", Kind::Malformed, false, false},
    {Fault::OtherRange, "other_range", Kind::Mismatch, false, false},
    {Fault::OtherLength, "other_length", Kind::Mismatch, false, false},
    {Fault::Multipart, "multipart", Kind::Mismatch, false, false},
    {Fault::ContentCoding, "content_coding", Kind::Unsupported, false, false},
    {Fault::RedirectRefused, "redirect_refused", Kind::Unsupported, false, false},
    {Fault::RedirectLoop, "redirect_loop", Kind::Unsupported, false, false},
    {Fault::RedirectMalformed, "redirect_malformed", Kind::Malformed, false, false},
    {Fault::BodyShort, "body_short", Kind::Closed, true, true},
    {Fault::BodyLong, "body_long", Kind::Mismatch, false, false},
    {Fault::BodyClosed, "body_closed", Kind::Closed, true, true},
    {Fault::IdleTimeout, "idle_timeout", Kind::Timeout, true, true},
    {Fault::ResumeMismatch, "resume_mismatch", Kind::Mismatch, true, false},
    {Fault::OutOfMemory, "out_of_memory", Kind::Overloaded, true, false},
    {Fault::NoDescriptor, "no_descriptor", Kind::Overloaded, true, false},
}};

constexpr bool rows_are_in_order() {
  for (size_t i = 0; i < kRows.size(); ++i) {
    if (static_cast<size_t>(kRows[i].fault) != i) return false;
  }
  return true;
}
static_assert(rows_are_in_order());

const Row& row_of(Fault fault) noexcept { return kRows[static_cast<size_t>(fault)]; }

}  // namespace

Error error_of(Fault fault, int32_t os_errno) noexcept {
  const Row& row = row_of(fault);
  const bool ours = fault == Fault::OutOfMemory || fault == Fault::NoDescriptor;
  const Side side = ours ? Side::Self : Side::Origin;
  return {side, row.kind, row.retryable, os_errno, row.name};
}

std::string_view name_of(Fault fault) noexcept { return row_of(fault).name; }

bool is_server_failure(Fault fault) noexcept { return row_of(fault).server_failure; }

bool may_fail_over(Fault fault) noexcept {
  // Faults up to ServerBusy come before any head. A malformed answer is most likely malformed at
  // every server, and asking them all would multiply the harm.
  return fault >= Fault::NameUnknown && fault <= Fault::ServerBusy && fault != Fault::TotalTimeout;
}

bool deserves_fresh_connection(Fault fault) noexcept {
  return fault == Fault::ClosedBeforeHead || fault == Fault::ClosedInHead ||
         fault == Fault::StaleConnection;
}

bool may_resume(Fault fault) noexcept {
  return fault == Fault::BodyShort || fault == Fault::BodyClosed || fault == Fault::IdleTimeout;
}

}  // namespace segue::origin
