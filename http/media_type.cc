#include "http/media_type.h"

#include "http/header_fields.h"

namespace segue::http {
namespace {

struct MediaType {
  std::string_view extension;
  std::string_view type;
};
// No HTML and no scripts: an audio site that lets users add files must not become a web page.
constexpr MediaType kMediaTypes[] = {
    {"mp3", "audio/mpeg"},
    {"m4a", "audio/mp4"},
    {"m4b", "audio/mp4"},
    {"m4s", "audio/mp4"},
    {"mp4", "audio/mp4"},
    {"ogg", "audio/ogg"},
    {"oga", "audio/ogg"},
    {"opus", "audio/ogg"},
    {"flac", "audio/flac"},
    {"aac", "audio/aac"},
    {"wav", "audio/wav"},
    {"weba", "audio/webm"},
    {"webm", "audio/webm"},
    {"aif", "audio/aiff"},
    {"aiff", "audio/aiff"},
    {"ts", "video/mp2t"},
    {"m3u8", "application/vnd.apple.mpegurl"},
    {"m3u", "audio/mpegurl"},
    {"pls", "audio/x-scpls"},
    {"mpd", "application/dash+xml"},
    {"json", "application/json"},
    {"xml", "application/xml"},
    {"txt", "text/plain; charset=utf-8"},
    {"lrc", "text/plain; charset=utf-8"},
    {"vtt", "text/vtt; charset=utf-8"},
    {"jpg", "image/jpeg"},
    {"jpeg", "image/jpeg"},
    {"png", "image/png"},
    {"webp", "image/webp"},
};

}  // namespace

std::string_view media_type_of(std::string_view path) noexcept {
  const size_t slash = path.rfind('/');
  const std::string_view name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  const size_t dot = name.rfind('.');
  if (dot != std::string_view::npos) {
    for (const MediaType& row : kMediaTypes) {
      if (equals_ignore_case(name.substr(dot + 1), row.extension)) return row.type;
    }
  }
  return "application/octet-stream";
}

}  // namespace segue::http
