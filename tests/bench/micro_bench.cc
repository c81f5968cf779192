// tests/bench/micro_bench.cc - the small pieces every request passes: request parser, range parser,
// response head, index look-up of a drive, key hash, check of a slice read from a drive.
//
//   micro_bench [Google Benchmark's flags]     times
//   micro_bench --count NAME ITERATIONS        runs one piece so often inside counted(), for
//                                              valgrind --tool=callgrind --toggle-collect
//   micro_bench --list                         the names
// loadtest/bench/micro.py compares the instruction counts with tests/bench/micro_instructions.json.
#include <benchmark/benchmark.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "cache/aligned_bytes.h"
#include "cache/geometry.h"
#include "cache/index_shard.h"
#include "cache/slot_header.h"
#include "edge/server/head_text.h"
#include "http/range.h"
#include "http/request_parser.h"

namespace {

using namespace segue;  // NOLINT(google-build-using-namespace): a program of one file

class Piece {
 public:
  virtual ~Piece() = default;
  /// Does the work once; what it returns keeps the work from being left out.
  virtual uint64_t run(uint32_t iteration) = 0;
};

class RequestParse final : public Piece {
 public:
  uint64_t run(uint32_t /*iteration*/) override {
    parser_.reset();
    const auto status = parser_.parse({kText.data(), kText.size()});
    return static_cast<uint64_t>(status) + parser_.consumed();
  }

 private:
  static constexpr std::string_view kText =
      "GET /audio/5f2c1b0e9d8a7f6e5d4c3b2a19080706f5e4d3c2?verify=1750549951-abc HTTP/1.1\r\n"
      "Host: audio.example.com\r\nUser-Agent: Spotify/8.8 Linux/0 (librespot/0.6.0)\r\n"
      "Accept: */*\r\nAccept-Encoding: identity\r\nRange: bytes=1048576-1572863\r\n"
      "X-Playback-Session-Id: 0B7A9E4C-41D7-4F0C-9E5B-3A2F6D8C1B00\r\n"
      "Origin: https://player.example.com\r\nConnection: keep-alive\r\n\r\n";
  http::RequestParser parser_;
};

class RangeParse final : public Piece {
 public:
  uint64_t run(uint32_t /*iteration*/) override {
    const auto range = http::parse_range("bytes=1048576-1572863");
    benchmark::DoNotOptimize(range);
    return 1;
  }
};

class ResponseHeadText final : public Piece {
 public:
  uint64_t run(uint32_t iteration) override {
    edge::ResponseHead head;
    head.status = 206;
    head.content_length = 524'288;
    head.stored_http1_block =
        "Content-Type: audio/ogg\r\nETag: \"5f2c1b0e-4194304\"\r\nCache-Control: public, "
        "max-age=86400\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n";
    head.site_http1_block = "Accept-Ranges: bytes\r\nVia: 1.1 fra1-03 (segue)\r\n";
    head.add("Content-Range", "bytes 1048576-1572863/4194304");
    head.add("Age", "1234");
    head.add("Cache-Status", "fra1-03; hit; detail=\"2/2\"");
    const edge::HeadFacts facts{.framing = edge::Framing::Length,
                                .date = "Sun, 22 Nov 2026 18:00:00 GMT"};
    const auto text = edge::write_head(head, facts, out_);
    return text ? text->size() + iteration : 0;
  }

 private:
  std::array<char, kResponseHeadBytesMax> out_{};
};

class IndexLookUp final : public Piece {
 public:
  IndexLookUp()
      : geometry_(*cache::Geometry::plan(40 * GiB, {})),
        shard_(geometry_, 0, cache::EvictionPolicy::Lru) {
    const uint32_t first = geometry_.local_first()[static_cast<uint8_t>(cache::SizeClass::K256)];
    for (uint32_t i = 0; i < kSlots; ++i) {
      fingerprints_.push_back(mix(i + 1) | 1);
      // NOLINTNEXTLINE(bugprone-unused-return-value): two of one fingerprint are no harm here
      (void)shard_.restore(first + i, fingerprints_.back(), cache::RecordNumber{i}, kSliceBytes);
    }
    shard_.finish_restore();
  }
  uint64_t run(uint32_t iteration) override {
    const uint64_t fingerprint = fingerprints_[mix(iteration) % kSlots];
    const auto held = shard_.hold(fingerprint, cache::UseId{iteration}, 1000);
    if (!held) return 0;
    shard_.release(held->local);
    return held->length;
  }

 private:
  static constexpr uint32_t kSlots = 4000;
  cache::Geometry geometry_;
  cache::IndexShard shard_;
  std::vector<uint64_t> fingerprints_;
};

class KeyHashing final : public Piece {
 public:
  uint64_t run(uint32_t iteration) override {
    return hash_key("music/audio/5f2c1b0e9d8a7f6e5d4c3b2a19080706f5e4d3c2", iteration).low;
  }
};

class SliceVerify final : public Piece {
 public:
  SliceVerify() : page_(cache::format::kPageBytes), payload_(kSliceBytes) {
    for (size_t i = 0; i < payload_.span().size(); ++i) {
      payload_.span()[i] = static_cast<std::byte>(mix(i));
    }
    slot_.length = kSliceBytes;
    cache::encode_slot_header(slot_, payload_.span(), page_.page(0));
  }
  uint64_t run(uint32_t /*iteration*/) override {
    return cache::verify_slot(slot_, page_.page(0), payload_.span()) == cache::SlotFault::None;
  }

 private:
  cache::SlotExpectation slot_;
  cache::AlignedBytes page_;
  cache::AlignedBytes payload_;
};

struct Named {
  std::string_view name;
  std::unique_ptr<Piece> (*make)();
};

template <class T>
std::unique_ptr<Piece> make() {
  return std::make_unique<T>();
}

constexpr std::array<Named, 6> kPieces = {{{"request_parse", make<RequestParse>},
                                           {"range_parse", make<RangeParse>},
                                           {"response_head", make<ResponseHeadText>},
                                           {"index_lookup", make<IndexLookUp>},
                                           {"key_hash", make<KeyHashing>},
                                           {"slice_verify", make<SliceVerify>}}};

}  // namespace

/// What callgrind counts: nothing outside it.
extern "C" [[gnu::noinline]] uint64_t counted(void* piece, uint32_t iterations) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < iterations; ++i) sum += static_cast<Piece*>(piece)->run(i);
  return sum;
}

int main(int argc, char** argv) {
  const std::string_view verb = argc > 1 ? argv[1] : "";
  if (verb == "--list") {
    for (const Named& one : kPieces) std::puts(std::string(one.name).c_str());
    return 0;
  }
  if (verb == "--count" && argc == 4) {
    const std::string_view text = argv[3];
    uint32_t iterations = 0;
    std::from_chars(text.data(), text.data() + text.size(), iterations);
    for (const Named& one : kPieces) {
      if (one.name != argv[2]) continue;
      const auto piece = one.make();
      // A piece that fails does less work than it should: no figure then.
      return piece->run(0) != 0 && counted(piece.get(), iterations) > 0 ? 0 : 1;
    }
    return 2;
  }
  for (const Named& one : kPieces) {
    benchmark::RegisterBenchmark(std::string(one.name).c_str(), [&one](benchmark::State& state) {
      const auto piece = one.make();
      uint32_t i = 0;
      for (auto _ : state) benchmark::DoNotOptimize(piece->run(++i));
    });
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
}
