// edge/admin/page_files.h - the files of the page at `/`, as they were when the node was built; it
// needs nothing from anywhere else. Sources: edge/admin/page, and Chart.js as Debian ships it.
#pragma once
#include <string_view>

namespace segue::edge {

struct PageFile {
  std::string_view path;
  std::string_view content_type;
  std::string_view text;
};

/// Null: no such file.
[[nodiscard]] const PageFile* find_page_file(std::string_view path) noexcept;

}  // namespace segue::edge
