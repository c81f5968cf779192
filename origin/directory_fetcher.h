// origin/directory_fetcher.h - an origin that is a folder on this machine (`dir:PATH`). Every file
// operation goes through the loop's ring or thread pool; nothing here blocks. Loop-owned.
#pragma once
#include <memory>
#include <string>

#include "base/loop/event_loop.h"
#include "origin/counters.h"
#include "origin/fetcher.h"
#include "origin/options.h"

namespace segue::origin {

class FileGate;

/// Answers as an HTTP origin would: 200, 206, 304, 404 or 416, a strong ETag of size and mtime,
/// Last-Modified, Content-Type by extension. Only regular files below the folder are served (a
/// symbolic link may lead to another place below it, never out); hidden names are not there.
class DirectoryFetcher final : public Fetcher {
 public:
  /// Opens the folder (start-up: may wait). Errors: {Origin, NotFound | Refused | IoError}.
  [[nodiscard]] static Result<std::unique_ptr<DirectoryFetcher>> create(EventLoop& loop,
                                                                        OriginOptions options);
  /// Every stream is dropped before.
  ~DirectoryFetcher() override;
  DirectoryFetcher(const DirectoryFetcher&) = delete;
  DirectoryFetcher& operator=(const DirectoryFetcher&) = delete;

  [[nodiscard]] Result<std::unique_ptr<FetchStream>> start(FetchRequest request) override;
  [[nodiscard]] ValidatorRule validator_rule() const noexcept override {
    return options_.validator;
  }
  [[nodiscard]] const OriginCounters* counters() const noexcept override { return &counters_; }

 private:
  DirectoryFetcher(EventLoop& loop, OriginOptions options, int folder_fd);

  EventLoop& loop_;
  const OriginOptions options_;
  const int folder_fd_;
  const std::shared_ptr<FileGate> gate_;
  OriginCounters counters_;
};

/// The file name below the folder that a canonical target names, without leading '/'; nothing where
/// it names none: hidden, empty, "." or ".." segments, an encoded '/', NUL or malformed encoding.
/// The query is not part of a file's name.
[[nodiscard]] std::optional<std::string> file_name_of(std::string_view target);

}  // namespace segue::origin
