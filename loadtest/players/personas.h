// loadtest/players/personas.h - how the real clients ask: a table of their habits, and one function
// that says what each asks for next. No I/O.
#pragma once
#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace loadtest {

using Random = std::mt19937_64;

enum class Form : uint8_t {
  Grid,       // pieces of one size, some ahead of the playing position
  Adaptive,   // 64 KiB, the tail, 64 KiB, then pieces as large as a second of measured throughput
  OpenEnded,  // bytes=N-, and stops reading while enough is buffered
  Probing,    // bytes=0-1, bytes=0-(S-1) left after a moment, bytes=M-(S-1)
  Whole,      // no Range; a download
  Hls,        // a playlist, then its segments
  Dash,       // a manifest, then its segments
};

struct Persona {
  std::string_view name;
  Form form = Form::Grid;
  uint32_t share = 0;           // of the listeners, in percent
  uint64_t piece_bytes = 0;     // Grid
  uint32_t in_flight = 1;       // requests at once
  double ahead_seconds = 0;     // asks for no more than this ahead of the position; 0: no bound
  bool clips_end = true;        // Grid: the last piece ends where the track does
  uint64_t buffer_bytes = 0;    // OpenEnded, Probing: stops reading so far ahead; 0: never
  bool preloads = false;        // opens the next track 30 s before the end
  bool new_connection = false;  // for every request, with Connection: close
  bool if_range = false;        // Media3: no Range at 0, later If-Range with the strong ETag
};

/// All of them; the shares are a guess to be varied.
[[nodiscard]] std::span<const Persona> all_personas() noexcept;

/// One request.
struct Ask {
  std::string path = {};
  uint64_t first = 0;
  std::optional<uint64_t> last = {};  // as sent: may lie beyond the end
  bool ranged = true;
  bool is_playlist = false;
  uint64_t leave_after = 0;  // leaves after so many bytes of body; 0: stays
  uint64_t base = 0;         // where the resource lies in the bytes of the play
  uint64_t span = 0;         // as how many bytes of the play it counts; 0: as many as it has
};

/// How far one play has got with its requests.
struct Plan {
  std::string path;
  uint64_t bytes = 0;      // of the track; of segments: as they are played
  uint32_t byte_rate = 0;  // played
  uint32_t step = 0;
  uint64_t next = 0;                       // first byte not yet asked for
  std::vector<std::string> segments = {};  // of a playlist, once it is here
};

/// The next request, if there is one to be made now. `position`: byte that is being played;
/// `bytes_per_second`: as measured by this listener.
[[nodiscard]] std::optional<Ask> next_ask(const Persona& persona, Plan& plan, uint64_t position,
                                          double bytes_per_second, Random& random);

/// The plan after a seek to `position`, which is moved to where the client asks from.
void seek(const Persona& persona, Plan& plan, uint64_t& position);

/// The byte of the play at which next_ask() will have something again; nothing: not by playing on.
[[nodiscard]] std::optional<uint64_t> asks_again_at(const Persona& persona, const Plan& plan);

/// Names of the segments of an HLS playlist or a DASH manifest with a SegmentTemplate.
[[nodiscard]] std::vector<std::string> parse_segments(Form form, std::string_view text);

}  // namespace loadtest
