// origin/fault.h - everything an origin can do wrong, by name: one row each, counted each.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace segue::origin {

enum class Fault : uint8_t {
  None,
  // reaching a server
  NoServer,
  NameUnknown,
  NameTimeout,
  ConnectRefused,
  ConnectUnreachable,
  ConnectTimeout,
  TlsRefused,
  // waiting for the head
  FirstByteTimeout,
  TotalTimeout,
  ClosedBeforeHead,
  ClosedInHead,
  StaleConnection,
  ServerBusy,
  // the head's form
  StatusLine,
  FieldLine,
  FieldValue,
  FoldedField,
  BareLineFeed,
  HeadTooLong,
  TooManyFields,
  TooManyInterim,
  SwitchedProtocols,
  LengthAndCoding,
  SeveralLengths,
  BadLength,
  BadTransferCoding,
  // the head against what was asked
  UnaskedPartial,
  UnaskedNotModified,
  OtherEntityTag,
  NoContentRange,
  BadContentRange,
  OtherRange,
  OtherLength,
  Multipart,
  ContentCoding,
  RedirectRefused,
  RedirectLoop,
  RedirectMalformed,
  // the body
  BodyShort,
  BodyLong,
  BodyClosed,
  IdleTimeout,
  ResumeMismatch,
  // ours
  OutOfMemory,
  NoDescriptor,
};
inline constexpr size_t kFaultCount = static_cast<size_t>(Fault::NoDescriptor) + 1;

/// The value to hand up; `where` is name_of(fault). Side is Origin but for what is ours.
[[nodiscard]] Error error_of(Fault fault, int32_t os_errno = 0) noexcept;
/// Stable, lower case, no spaces: the label of the metric and Error::where.
[[nodiscard]] std::string_view name_of(Fault fault) noexcept;
/// Whether the fault says that the server is unwell (it counts for the breaker), rather than that
/// this one answer is wrong.
[[nodiscard]] bool is_server_failure(Fault fault) noexcept;
/// Whether another server may do better: it could not be reached, or did not answer.
[[nodiscard]] bool may_fail_over(Fault fault) noexcept;
/// Whether the same server deserves one more try on a fresh connection: the connection ended before
/// a whole head came, as a server's keep-alive timeout makes it.
[[nodiscard]] bool deserves_fresh_connection(Fault fault) noexcept;
/// Whether the body may be asked for from where it stopped.
[[nodiscard]] bool may_resume(Fault fault) noexcept;

}  // namespace segue::origin
