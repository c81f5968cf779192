#include "origin/directory_fetcher.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <utility>

#include "http/content_range.h"
#include "http/date.h"
#include "http/media_type.h"
#include "http/validator.h"
#include "origin/fault.h"
#include "origin/file_gate.h"

namespace segue::origin {
namespace {

using RangeForm = FetchRequest::RangeForm;

constexpr int kOk = 200;
constexpr int kPartialContent = 206;
constexpr int kNotModified = 304;
constexpr int kNotFound = 404;
constexpr int kNotSatisfiable = 416;

[[nodiscard]] int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

[[nodiscard]] std::string date_text(std::chrono::sys_seconds time) {
  std::array<char, http::kDateBytes> text;
  return std::string(http::write_date(time, text));
}

[[nodiscard]] std::string etag_of(const EventLoop::FileFacts& facts) {
  return fmt::format("\"{:x}-{:x}\"", facts.size_bytes, facts.mtime_ns);
}

[[nodiscard]] std::chrono::sys_seconds modified_at(const EventLoop::FileFacts& facts) {
  return std::chrono::floor<std::chrono::seconds>(
      std::chrono::sys_time<std::chrono::nanoseconds>{std::chrono::nanoseconds{facts.mtime_ns}});
}

/// RFC 9110 §13.2.2: If-None-Match decides alone where it is there.
[[nodiscard]] bool is_not_modified(const FetchRequest& request, const EventLoop::FileFacts& facts) {
  if (!request.if_none_match.empty()) {
    const std::string etag = etag_of(facts);
    const auto current = http::parse_entity_tag(etag);
    http::EntityTagList sent(request.if_none_match);
    while (const auto tag = sent.next()) {
      if (http::weak_match(*tag, *current)) return true;
    }
    return request.if_none_match == "*";
  }
  if (request.if_modified_since.empty()) return false;
  const auto since = http::parse_date(request.if_modified_since);
  return since && modified_at(facts) <= *since;
}

}  // namespace

std::optional<std::string> file_name_of(std::string_view target) {
  if (!target.starts_with('/')) return std::nullopt;
  std::string_view path = target.substr(1, target.find('?') - 1);
  std::string name;
  name.reserve(path.size());
  while (!path.empty()) {
    char c = path.front();
    size_t taken = 1;
    if (c == '%') {
      if (path.size() < 3) return std::nullopt;
      const int high = hex_digit(path[1]);
      const int low = hex_digit(path[2]);
      if (high < 0 || low < 0) return std::nullopt;
      c = static_cast<char>(high * 16 + low);
      // An encoded '/' is not the one that divides segments (RFC 3986 §2.2), so no file has it.
      if (c == '\0' || c == '/') return std::nullopt;
      taken = 3;
    }
    // One name per file: no empty segments. Hidden names, "." and ".." all begin with a dot.
    const bool segment_begins = name.empty() || name.back() == '/';
    if (segment_begins && (c == '.' || c == '/')) return std::nullopt;
    name.push_back(c);
    path.remove_prefix(taken);
  }
  if (name.empty() || name.back() == '/') return std::nullopt;
  return name;
}

namespace {

/// One fetch; shared between the stream and the tasks that run for it, so that the file stays open
/// until the kernel is done with it.
struct FileExchange {
  FileExchange(EventLoop& event_loop, const OriginOptions& chosen, OriginCounters& counted,
               std::shared_ptr<FileGate> shared_gate, int folder, FetchRequest wanted)
      : loop(event_loop),
        options(chosen),
        counters(counted),
        gate(std::move(shared_gate)),
        folder_fd(folder),
        request(std::move(wanted)) {}
  ~FileExchange() {
    if (fd >= 0) close(fd);
  }
  FileExchange(const FileExchange&) = delete;
  FileExchange& operator=(const FileExchange&) = delete;

  void answer();
  void answer_range();
  void add_common_fields(int status);

  EventLoop& loop;
  const OriginOptions& options;
  OriginCounters& counters;
  const std::shared_ptr<FileGate> gate;
  const int folder_fd;
  FileGate::Waiter turn;
  const FetchRequest request;
  std::string name;
  bool dropped = false;
  int fd = -1;
  EventLoop::FileFacts facts;
  std::optional<FetchHead> head;
  ByteRange left;  // of the file, still to be read
};

void FileExchange::add_common_fields(int status) {
  head->status = status;
  const WallTime now = loop.clock().wall();
  head->response_time = now;
  head->fields.add("Date", date_text(std::chrono::floor<std::chrono::seconds>(now)));
}

void FileExchange::answer_range() {
  const uint64_t size = facts.size_bytes;
  ByteRange range = request.range.clipped(size);
  if (request.range_form == RangeForm::Suffix) {
    range = {size - std::min(size, request.suffix_length), size};
  }
  head->complete_length = size;
  if (range.empty()) {
    add_common_fields(kNotSatisfiable);
    std::array<char, http::kContentRangeTextMax> text;
    head->fields.add("Content-Range", http::write_unsatisfied_range(size, text));
    head->content_length = 0;
    return;
  }
  add_common_fields(kPartialContent);
  std::array<char, http::kContentRangeTextMax> text;
  head->fields.add("Content-Range", http::write_content_range(range, size, text));
  head->content_range = range;
  left = range;
}

/// Evaluates the request against the open file's facts.
void FileExchange::answer() {
  if (is_not_modified(request, facts)) {
    add_common_fields(kNotModified);
    head->content_length = 0;
  } else if (request.range_form != RangeForm::None) {
    answer_range();
  } else {
    add_common_fields(kOk);
    head->complete_length = facts.size_bytes;
    left = {0, facts.size_bytes};
  }
  head->fields.add("ETag", etag_of(facts));
  head->fields.add("Last-Modified", date_text(modified_at(facts)));
  head->fields.add("Accept-Ranges", "bytes");
  if (head->status != kOk && head->status != kPartialContent) return;
  head->content_length = left.length();
  head->fields.add("Content-Length", fmt::format("{}", left.length()));
  head->fields.add("Content-Type", http::media_type_of(name));
}

using FilePointer = std::shared_ptr<FileExchange>;

[[nodiscard]] bool is_absence(const Error& error) noexcept {
  // A file we may not read, or one that a link would reach outside, is none to the outside world.
  return error.kind == Kind::NotFound || error.kind == Kind::Refused;
}

void answer_not_found(FileExchange& self) {
  self.add_common_fields(kNotFound);
  self.head->content_length = 0;
}

[[nodiscard]] std::unexpected<Error> stream_dropped() {
  return fail(Side::Self, Kind::Closed, "stream dropped");
}

/// Waits for a turn at the loop's file operations, which the caller then gives back (FileTurn).
Task<Result<Done>> enter_gate(FilePointer self) {
  while (!self->dropped && !self->gate->try_enter(self->turn)) {
    co_await self->turn.signal.wait(kNever);
  }
  if (!self->dropped) co_return Done{};
  self->gate->forget(self->turn);
  co_return stream_dropped();
}

/// Opens and looks; false if there is no such file.
Task<Result<bool>> open_file(FilePointer self) {
  auto name = file_name_of(self->request.target);
  if (!name) co_return false;
  self->name = std::move(*name);
  auto entered = co_await enter_gate(self);
  if (!entered) co_return fail(entered.error());
  const FileTurn turn(*self->gate);
  auto opened = co_await self->loop.open_beneath(self->folder_fd, self->name);
  if (!opened) {
    if (is_absence(opened.error())) co_return false;
    co_return fail(opened.error());
  }
  self->fd = *opened;
  auto facts = co_await self->loop.stat_file(self->fd);
  if (!facts) co_return fail(facts.error());
  self->facts = *facts;
  co_return facts->regular;
}

Task<Result<const FetchHead*>> file_head(FilePointer self) {
  if (self->head) co_return &*self->head;
  if (self->dropped) co_return stream_dropped();
  const MonoTime begun = self->loop.clock().mono();
  const WallTime request_time = self->loop.clock().wall();
  auto found = co_await open_file(self);
  if (self->dropped) co_return stream_dropped();
  if (!found) co_return fail(found.error());
  self->counters.requests.add();
  self->head.emplace();
  self->head->request_time = request_time;
  if (*found) {
    self->answer();
  } else {
    answer_not_found(*self);
  }
  self->head->first_byte_latency = self->loop.clock().mono() - begun;
  self->counters.heads.add();
  self->counters.heads_by_class[static_cast<size_t>(self->head->status / 100)].add();
  self->counters.first_byte_count.add();
  self->counters.first_byte_ns_sum.add(
      static_cast<uint64_t>(self->head->first_byte_latency.count()));
  co_return &*self->head;
}

[[nodiscard]] std::unexpected<Error> file_changed(FileExchange& self) {
  self.counters.faults[static_cast<size_t>(Fault::ResumeMismatch)].add();
  return fail_retryable(Side::Origin, Kind::Mismatch, "file changed");
}

Task<Result<size_t>> file_read(FilePointer self, std::span<std::byte> into) {
  SEGUE_ASSERT(!into.empty());
  if (self->dropped) co_return stream_dropped();
  if (!self->head) {
    auto head = co_await file_head(self);
    if (!head) co_return fail(head.error());
  }
  if (self->left.empty()) co_return size_t{0};
  auto entered = co_await enter_gate(self);
  if (!entered) co_return fail(entered.error());
  const FileTurn turn(*self->gate);
  const size_t wanted = std::min<uint64_t>(into.size(), self->left.length());
  auto got = co_await self->loop.read_file(self->fd, self->left.first, into.first(wanted));
  if (self->dropped) co_return stream_dropped();
  if (!got) co_return fail(got.error());
  if (*got < wanted) co_return file_changed(*self);  // it shrank
  // A file rewritten in place keeps its descriptor: what was read belongs to the ETag only if the
  // file is still the one that was opened.
  auto facts = co_await self->loop.stat_file(self->fd);
  if (self->dropped) co_return stream_dropped();
  if (!facts) co_return fail(facts.error());
  if (facts->size_bytes != self->facts.size_bytes || facts->mtime_ns != self->facts.mtime_ns) {
    co_return file_changed(*self);
  }
  self->left = self->left.advanced(*got);
  self->counters.body_bytes.add(*got);
  if (self->left.empty()) self->counters.bodies_complete.add();
  co_return *got;
}

class FileStream final : public FetchStream {
 public:
  FileStream(FilePointer exchange, FetchPlace place) noexcept
      : place_(std::move(place)), exchange_(std::move(exchange)) {
    exchange_->counters.fetches_in_flight.add();
  }
  ~FileStream() override {
    exchange_->dropped = true;
    if (exchange_->turn.signal.waiting()) exchange_->turn.signal.raise();
    exchange_->counters.fetches_in_flight.sub();
    if (exchange_->head && !exchange_->left.empty()) exchange_->counters.bodies_dropped.add();
  }
  FileStream(const FileStream&) = delete;
  FileStream& operator=(const FileStream&) = delete;

  Task<Result<const FetchHead*>> head() override { return file_head(exchange_); }
  Task<Result<size_t>> read(std::span<std::byte> into) override {
    return file_read(exchange_, into);
  }

 private:
  const FetchPlace place_;
  FilePointer exchange_;
};

}  // namespace

DirectoryFetcher::DirectoryFetcher(EventLoop& loop, OriginOptions options, int folder_fd)
    : Fetcher(options.fetches_max),
      loop_(loop),
      options_(std::move(options)),
      folder_fd_(folder_fd),
      gate_(std::make_shared<FileGate>(kFileTurnsMax)) {}

DirectoryFetcher::~DirectoryFetcher() {
  SEGUE_ASSERT(counters_.fetches_in_flight.get() == 0);
  close(folder_fd_);
}

Result<std::unique_ptr<DirectoryFetcher>> DirectoryFetcher::create(EventLoop& loop,
                                                                   OriginOptions options) {
  SEGUE_ASSERT(options.is_directory());
  const std::string path = options.servers.front().substr(kDirectoryScheme.size());
  const int fd = open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    const bool absent = errno == ENOENT || errno == ENOTDIR;
    return fail(Side::Origin, absent ? Kind::NotFound : Kind::IoError, "origin folder", errno);
  }
  return std::unique_ptr<DirectoryFetcher>(new DirectoryFetcher(loop, std::move(options), fd));
}

Result<std::unique_ptr<FetchStream>> DirectoryFetcher::start(FetchRequest request) {
  if (request.is_relayed()) return fail(Side::Client, Kind::Unsupported, "a folder is only read");
  FetchPlace place = std::move(request.place);
  if (!place) place = places().try_take(request.prefetch);
  if (!place) {
    counters_.fetches_refused.add();
    return fail_retryable(Side::Self, Kind::Overloaded, "fetches");
  }
  counters_.fetches.add();
  auto exchange = std::make_shared<FileExchange>(loop_, options_, counters_, gate_, folder_fd_,
                                                 std::move(request));
  return std::make_unique<FileStream>(std::move(exchange), std::move(place));
}

}  // namespace segue::origin
