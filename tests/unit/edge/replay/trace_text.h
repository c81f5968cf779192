// tests/unit/edge/replay/trace_text.h - a trace out of a text.
#pragma once
#include <cstdio>
#include <memory>
#include <string>

#include "edge/replay/trace.h"

namespace segue::edge {

inline std::expected<Trace, std::string> trace_of(std::string text,
                                                  const Trace::Options& options = {}) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
      text.empty() ? std::fopen("/dev/null", "re") : fmemopen(text.data(), text.size(), "r"),
      &std::fclose);
  return Trace::read(file.get(), options);
}

}  // namespace segue::edge
