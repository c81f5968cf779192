#include "http/relative_target.h"

#include <algorithm>

namespace segue::http {
namespace {

/// Appends to a text of bounded size.
class Writer {
 public:
  explicit Writer(std::span<char> out) noexcept : out_(out) {}
  [[nodiscard]] bool put(std::string_view text) noexcept {
    if (text.size() > out_.size() - used_) return false;
    used_ += text.copy(out_.data() + used_, text.size());
    return true;
  }
  /// Back to before the last '/'. False: there is none.
  [[nodiscard]] bool drop_segment() noexcept {
    const size_t slash = text().rfind('/');
    if (slash == std::string_view::npos) return false;
    used_ = slash;
    return true;
  }
  [[nodiscard]] std::string_view text() const noexcept { return {out_.data(), used_}; }

 private:
  std::span<char> out_;
  size_t used_ = 0;
};

/// Appends the segments of a path, each with a '/' in front; dot segments are taken for what they
/// mean (§5.2.4).
bool put_segments(std::string_view path, Writer& writer) noexcept {
  if (path.starts_with('/')) path.remove_prefix(1);
  for (bool last = false; !last;) {
    const size_t end = std::min(path.find('/'), path.size());
    const std::string_view segment = path.substr(0, end);
    last = end == path.size();
    path.remove_prefix(last ? end : end + 1);
    if (segment == "." || segment == "..") {
      if (segment == ".." && !writer.drop_segment()) return false;
      if (last && !writer.put("/")) return false;
    } else if (!writer.put("/") || !writer.put(segment)) {
      return false;
    }
  }
  return true;
}

}  // namespace

std::optional<std::string_view> resolve_on_host(std::string_view base, std::string_view reference,
                                                std::span<char> out) noexcept {
  if (reference.empty() || reference.contains('#') || !base.starts_with('/')) return std::nullopt;
  if (reference.starts_with("//")) return std::nullopt;
  const std::string_view base_path = base.substr(0, base.find('?'));
  const size_t query = std::min(reference.find('?'), reference.size());
  const std::string_view path = reference.substr(0, query);
  // A colon in the first segment ends a scheme (§4.2).
  if (path.substr(0, path.find('/')).contains(':')) return std::nullopt;
  Writer writer(out);
  if (path.empty()) {
    if (!writer.put(base_path)) return std::nullopt;
  } else if (path.starts_with('/')) {
    if (!put_segments(path, writer)) return std::nullopt;
  } else {
    // Beside the base's last segment; what climbs, climbs in its folders.
    if (!writer.put(base_path.substr(0, base_path.rfind('/')))) return std::nullopt;
    if (!put_segments(path, writer)) return std::nullopt;
  }
  if (!writer.put(reference.substr(query))) return std::nullopt;
  return writer.text();
}

}  // namespace segue::http
