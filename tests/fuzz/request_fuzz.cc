// The request parser: however the bytes are cut in two, wherever the buffer lies, the answer is the
// same; and every view of an accepted request lies in what was consumed.
#include <algorithm>
#include <vector>

#include "http/request_parser.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using segue::http::Request;
using segue::http::RequestParser;
using Status = RequestParser::Status;

void check_view(std::string_view view, const std::vector<char>& buffer, size_t consumed) {
  if (view.empty() || view == "/") return;  // "/" may be ours
  SEGUE_ASSERT(view.data() >= buffer.data());
  SEGUE_ASSERT(view.data() + view.size() <= buffer.data() + consumed);
}

void check_request(const RequestParser& parser, const std::vector<char>& buffer) {
  const Request& request = parser.request();
  SEGUE_ASSERT(parser.consumed() <= buffer.size());
  check_view(request.method_text, buffer, parser.consumed());
  check_view(request.target, buffer, parser.consumed());
  check_view(request.origin_form, buffer, parser.consumed());
  check_view(request.host, buffer, parser.consumed());
  SEGUE_ASSERT(request.fields.size() <= segue::kHeaderFieldsMax);
  for (const segue::http::Field& field : request.fields) {
    check_view(field.name, buffer, parser.consumed());
    check_view(field.value, buffer, parser.consumed());
    SEGUE_ASSERT(segue::http::is_token(field.name));
    SEGUE_ASSERT(segue::http::is_field_value(field.value));
  }
  SEGUE_ASSERT(!request.host.empty() || request.version_minor == 0);
  const size_t lengths = request.fields.count("Content-Length");
  const size_t codings = request.fields.count("Transfer-Encoding");
  SEGUE_ASSERT(lengths + std::min<size_t>(codings, 1) <= 1);
  SEGUE_ASSERT((lengths == 1) == (request.body == segue::http::Body::Length));
  SEGUE_ASSERT((codings >= 1) == (request.body == segue::http::Body::Chunked));
}

void check_same(const RequestParser& a, const RequestParser& b, Status status) {
  if (status == Status::Error) {
    SEGUE_ASSERT(status_of(a.error()) == status_of(b.error()));
    return;
  }
  if (status != Status::Complete) return;
  SEGUE_ASSERT(a.consumed() == b.consumed());
  const Request& x = a.request();
  const Request& y = b.request();
  SEGUE_ASSERT(x.method == y.method);
  SEGUE_ASSERT(x.target == y.target);
  SEGUE_ASSERT(x.origin_form == y.origin_form);
  SEGUE_ASSERT(x.host == y.host);
  SEGUE_ASSERT(x.port == y.port);
  SEGUE_ASSERT(x.keep_alive == y.keep_alive);
  SEGUE_ASSERT(std::ranges::equal(x.fields, y.fields, [](const auto& p, const auto& q) {
    return p.name == q.name && p.value == q.value;
  }));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = segue::fuzz::text_of(data, size);
  const std::vector<char> buffer(text.begin(), text.end());
  RequestParser whole;
  const Status status = whole.parse(buffer);
  if (status == Status::Complete) check_request(whole, buffer);

  // Cut in two at every place (at every 61st of a long input).
  const size_t step = size < 512 ? 1 : 61;
  RequestParser cut;
  for (size_t at = 0; at < size; at += step) {
    cut.reset();
    Status first;
    {
      const std::vector<char> head(text.begin(), text.begin() + static_cast<ptrdiff_t>(at));
      first = cut.parse(head);
      if (first != Status::NeedMore) {  // then the rest cannot matter
        SEGUE_ASSERT(first == status);
        check_same(whole, cut, status);
        continue;
      }
    }
    SEGUE_ASSERT(cut.parse(buffer) == status);
    check_same(whole, cut, status);
    if (status == Status::Complete) check_request(cut, buffer);
  }
  return 0;
}
