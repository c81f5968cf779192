#include "edge/prefetch/container_head.h"

#include "edge/prefetch/container_bytes.h"

namespace segue::edge {

std::optional<ContainerHead> container_head(const HeadWanted& wanted) noexcept {
  const ContainerBytes bytes(wanted.beginning);
  if (bytes.is(0, "OggS")) return ogg_head(wanted);
  if (bytes.is(0, "fLaC")) return flac_head(wanted);
  if (bytes.is(4, "ftyp") || bytes.is(4, "styp") || bytes.is(4, "sidx")) return mp4_head(wanted);
  if (bytes.is(0, "ID3") || bytes.u8(0) == 0xff) return mp3_head(wanted);
  return std::nullopt;
}

}  // namespace segue::edge
