#include "origin/head_collector.h"

#include "base/limits.h"
#include "http/response_parser.h"

namespace segue::origin {

Fault HeadCollector::add(std::string_view line) {
  if (state_ == State::Complete || state_ == State::Failed) return Fault::None;
  const Fault fault = take_line(line);
  if (fault != Fault::None) state_ = State::Failed;
  return fault;
}

Fault HeadCollector::take_line(std::string_view line) {
  if (line.size() > kOriginHeaderBytesMax - bytes_) return Fault::HeadTooLong;
  bytes_ += static_cast<uint32_t>(line.size());
  if (!line.ends_with("\r\n")) return Fault::BareLineFeed;
  line.remove_suffix(2);
  if (state_ == State::StatusLine) return take_status_line(line);
  if (line.empty()) return end_head();
  if (++field_count_ > kOriginHeaderFieldsMax) return Fault::TooManyFields;
  http::Field field;
  switch (http::split_field_line(line, field)) {
    case http::FieldLineError::None:
      break;
    case http::FieldLineError::ObsFold:
      return Fault::FoldedField;
    case http::FieldLineError::SpaceBeforeColon:
    case http::FieldLineError::MalformedField:
      return Fault::FieldLine;
    case http::FieldLineError::BadValue:
      return Fault::FieldValue;
  }
  return fields_.add(field.name, field.value) ? Fault::None : Fault::FieldValue;
}

Fault HeadCollector::take_status_line(std::string_view line) {
  const auto parsed = http::parse_status_line(line);
  if (!parsed) return Fault::StatusLine;
  status_ = parsed->status;
  version_major_ = parsed->version_major;
  version_minor_ = parsed->version_minor;
  // We never ask to upgrade; what follows a 101 would be another protocol's bytes.
  if (status_ == 101) return Fault::SwitchedProtocols;
  fields_.clear();
  state_ = State::Fields;
  return Fault::None;
}

Fault HeadCollector::end_head() {
  if (status_ >= 200) {
    state_ = State::Complete;
    return Fault::None;
  }
  if (++interim_ > kInterimHeadsMax) return Fault::TooManyInterim;
  state_ = State::StatusLine;
  return Fault::None;
}

}  // namespace segue::origin
