// loadtest/players/main.cc - thousands of realistic listeners on one core: they ask as real clients
// do, pace themselves by the bit rate, skip, seek and preload, and compare every byte they get.
//
//   players HOST:PORT [--listeners N] [--seconds N] [--plays N] [--accelerate X] [--tracks N]
//           [--track-bytes N] [--zipf X] [--persona NAME] [--seed N] [--json FILE]
//           [--host NAME]
//
// The server has to stand in front of loadtest/origin (or serve what its content.h describes).
// Ends after --seconds, or when every listener has played --plays tracks; exit code 1 after any
// error or wrong byte.
#include <arpa/inet.h>
#include <sys/resource.h>

#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "loadtest/players/listener.h"

namespace {

using namespace loadtest;  // NOLINT(google-build-using-namespace): a program of one file

struct Options {
  std::string server;
  std::string host;  // of the Host field; the server where not given
  std::string persona;
  std::string json;
  uint64_t listeners = 1000;
  uint64_t plays = 1'000'000'000;
  uint64_t tracks = 1000;
  uint64_t track_bytes = 0;
  uint64_t seed = 1;
  double seconds = 60;
  double acceleration = 1;
  double zipf = 0.85;
};

[[noreturn]] void stop_with(const std::string& words) {
  std::fprintf(stderr, "players: %s\n", words.c_str());
  std::exit(2);
}

template <class Number>
Number number_of(std::string_view name, std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || !(number >= Number{})) {
    stop_with(std::string(name) + " wants a number, not '" + std::string(text) + "'");
  }
  return number;
}

Options options_of(int argc, char** argv) {
  Options options;
  const std::map<std::string_view, uint64_t*> whole = {{"--listeners", &options.listeners},
                                                       {"--plays", &options.plays},
                                                       {"--tracks", &options.tracks},
                                                       {"--track-bytes", &options.track_bytes},
                                                       {"--seed", &options.seed}};
  const std::map<std::string_view, double*> real = {{"--seconds", &options.seconds},
                                                    {"--accelerate", &options.acceleration},
                                                    {"--zipf", &options.zipf}};
  const std::map<std::string_view, std::string*> words = {
      {"--host", &options.host}, {"--persona", &options.persona}, {"--json", &options.json}};
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (!name.starts_with("--")) {
      options.server = name;
      continue;
    }
    if (i + 1 == argc) stop_with(std::string(name) + " wants a value");
    const std::string_view value = argv[++i];
    if (const auto found = whole.find(name); found != whole.end()) {
      *found->second = number_of<uint64_t>(name, value);
    } else if (const auto other = real.find(name); other != real.end()) {
      *other->second = number_of<double>(name, value);
    } else if (const auto text = words.find(name); text != words.end()) {
      *text->second = value;
    } else {
      stop_with("no option " + std::string(name));
    }
  }
  if (options.host.empty()) options.host = options.server;
  if (options.server.empty()) stop_with("usage: players HOST:PORT [options]; see the file's head");
  if (options.tracks == 0 || options.acceleration <= 0) {
    stop_with("--tracks and --accelerate are more than 0");
  }
  return options;
}

sockaddr_in address_of(const std::string& server) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  const size_t colon = server.rfind(':');
  if (colon == std::string::npos ||
      inet_pton(AF_INET, server.substr(0, colon).c_str(), &address.sin_addr) != 1) {
    stop_with("'" + server + "' is no IPv4 address and port");
  }
  address.sin_port =
      htons(number_of<uint16_t>("the port", std::string_view(server).substr(colon + 1)));
  return address;
}

/// The persona of each listener in turn, in proportion to the shares.
std::vector<const Persona*> cast_of(const std::string& only) {
  std::vector<const Persona*> cast;
  uint32_t most = 0;
  for (const Persona& one : all_personas()) most = std::max(most, one.share);
  // Rounds, in each of which the rarer ones stand less often: any prefix is a fair mix.
  for (uint32_t round = 0; round < most; ++round) {
    for (const Persona& one : all_personas()) {
      const bool chosen = only.empty() ? (round + 1) * one.share / most > round * one.share / most
                                       : one.name == only;
      if (chosen) cast.push_back(&one);
    }
  }
  if (cast.empty()) stop_with("no persona '" + only + "'");
  return cast;
}

void allow_descriptors() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

bool is_loopback(const sockaddr_in& server) { return (ntohl(server.sin_addr.s_addr) >> 24) == 127; }

}  // namespace

int main(int argc, char** argv) {
  const Options options = options_of(argc, argv);
  std::signal(SIGPIPE, SIG_IGN);
  allow_descriptors();
  Net net;
  const Block block;
  World world{.net = net, .block = block, .host = options.host, .random = Random(options.seed)};
  world.server = address_of(options.server);
  world.tracks = options.tracks;
  world.fixed_track_bytes = options.track_bytes;
  world.acceleration = options.acceleration;

  const auto cast = cast_of(options.persona);
  const Popularity popularity(options.tracks, options.zipf);
  const Habits habits;
  std::map<std::string_view, Tally> tallies;
  std::vector<std::unique_ptr<Listener>> listeners;
  uint64_t running = 0;
  const Time start = std::chrono::steady_clock::now();
  const double spread = std::min(options.seconds, 10 / options.acceleration);
  for (uint64_t i = 0; i < options.listeners; ++i) {
    // They come one after the other, each from an address of its own where that is possible.
    const Persona& persona = *cast[i % cast.size()];
    const auto source = static_cast<uint32_t>(0x7f010001 + i % 200 + ((i / 200) << 8));
    const std::chrono::duration<double> later(spread * static_cast<double>(i) /
                                              static_cast<double>(options.listeners));
    listeners.push_back(std::make_unique<Listener>(
        world, persona, habits, popularity, tallies[persona.name],
        is_loopback(world.server) ? source : 0, options.plays,
        start + std::chrono::duration_cast<std::chrono::nanoseconds>(later), running));
  }
  net.run(start + std::chrono::duration_cast<std::chrono::nanoseconds>(
                      std::chrono::duration<double>(options.seconds)));
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  listeners.clear();  // what is under way is left

  std::vector<NamedTally> named;
  uint64_t troubles = 0;
  for (const Persona& persona : all_personas()) {
    const auto found = tallies.find(persona.name);
    if (found == tallies.end()) continue;
    named.push_back({persona.name, found->second});
    troubles += found->second.all_troubles();
  }
  std::fputs(print_tallies(named, seconds).c_str(), stdout);
  if (!options.json.empty()) {
    std::ofstream file(options.json);
    file << tallies_json(named, seconds, options.acceleration);
    if (!file.flush()) stop_with("cannot write " + options.json);
  }
  return troubles == 0 ? 0 : 1;
}
