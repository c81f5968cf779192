// Goal: the first seconds of a file are found in each container, and a file that lies or is cut
// gives nothing or something within its length.
// Method: files built here, byte by byte; then cut at every place and damaged at every byte.
#include "edge/prefetch/container_head.h"

#include <gtest/gtest.h>

#include <string>

#include "base/units.h"

namespace segue::edge {
namespace {

using namespace std::chrono_literals;

std::string big(uint64_t value, int count) {
  std::string text;
  for (int i = count; i-- > 0;) text += static_cast<char>(i < 8 ? value >> (8 * i) & 0xff : 0);
  return text;
}
std::string little(uint64_t value, int count) {
  const std::string text = big(value, count);
  return {text.rbegin(), text.rend()};
}

std::optional<ContainerHead> head_of(const std::string& file, uint64_t length,
                                     std::chrono::milliseconds head = 10s) {
  return container_head(
      {.beginning = std::as_bytes(std::span(file)), .complete_length = length, .head = head});
}

/// A page whose only packet is `packet`, of at most 254 bytes, and `more` bytes after it.
std::string ogg_page(uint64_t granule, const std::string& packet, uint32_t serial = 7) {
  std::string laces;
  size_t left = packet.size();
  for (; left >= 255; left -= 255) laces += '\xff';
  laces += static_cast<char>(left);
  return std::string("OggS") + '\0' + '\0' + little(granule, 8) + little(serial, 4) + little(0, 8) +
         static_cast<char>(laces.size()) + laces + packet;
}

/// Vorbis at 48 kHz, pages of 4,000 bytes that last a second each.
std::string ogg_file(int pages) {
  std::string file = ogg_page(0, std::string("\x01vorbis") + little(0, 4) + '\x02' +
                                     little(48'000, 4) + std::string(14, '\0'));
  file += ogg_page(0, std::string(500, 'c'));
  for (int i = 1; i <= pages; ++i)
    file += ogg_page(static_cast<uint64_t>(i) * 48'000, std::string(4'000, 'a'));
  return file;
}

std::string xing_frame(const std::string& tag) {
  return std::string("\xff\xfb\x90\x64") + std::string(32, '\0') + tag;
}

std::string flac_file(const std::string& blocks_between) {
  const std::string info = big(0x1000'1000, 4) + std::string(6, '\0') +
                           big(uint64_t{44'100} << 44 | uint64_t{0x10} << 36 | 44'100 * 200, 8) +
                           std::string(16, '\0');
  return "fLaC" + big(34, 4) + info + blocks_between + big(0x81000004, 4) + "pads";
}

std::string box(const std::string& type, const std::string& data) {
  return big(data.size() + 8, 4) + type + data;
}

std::string mp4_file() {
  const std::string mvhd = big(0, 12) + big(1000, 4) + big(200'000, 4) + std::string(80, '\0');
  return box("ftyp", "M4A ....") + box("moov", box("mvhd", mvhd)) + big(5'000'000, 4) + "mdat";
}

std::string sidx_file() {
  std::string sidx =
      big(0, 4) + big(1, 4) + big(1000, 4) + big(0, 4) + big(0, 4) + big(0, 2) + big(5, 2);
  for (int i = 0; i < 5; ++i) sidx += big(50'000, 4) + big(4'000, 4) + big(0x90000000, 4);
  return box("ftyp", "iso5....") + box("moov", std::string(100, '\0')) + box("sidx", sidx);
}

TEST(ContainerHeadTest, OggEndsWithThePageThatHoldsTheLastSecondWanted) {
  const std::string file = ogg_file(30);
  const size_t page = (file.size() - ogg_file(0).size()) / 30;
  const auto head = head_of(file, 1'000'000);
  ASSERT_TRUE(head.has_value());
  EXPECT_EQ(head->head_bytes, ogg_file(0).size() + 10 * page);
  EXPECT_TRUE(head->tail);
}

TEST(ContainerHeadTest, OggGoesOnAsItBeganWhereTheRestIsNotHere) {
  const auto head = head_of(ogg_file(4), 1'000'000);
  ASSERT_TRUE(head.has_value());
  EXPECT_NEAR(static_cast<double>(head->head_bytes), 42'000, 2'500);
  EXPECT_EQ(head_of(ogg_file(4), 20'000)->head_bytes, 20'000U);  // no longer than the file
}

TEST(ContainerHeadTest, OpusCountsIn48KilohertzWhateverItsInputHad) {
  std::string file = ogg_page(0, std::string("OpusHead\x01\x02") + little(312, 2) +
                                     little(16'000, 4) + std::string(3, '\0'));
  for (int i = 1; i <= 12; ++i)
    file += ogg_page(static_cast<uint64_t>(i) * 48'000, std::string(2'000, 'a'));
  const auto head = head_of(file, 1'000'000, 5s);
  ASSERT_TRUE(head.has_value());
  EXPECT_NEAR(static_cast<double>(head->head_bytes), 10'300, 300);
}

TEST(ContainerHeadTest, OggOfAnotherStreamInBetweenDoesNotCount) {
  const std::string first = ogg_file(0);
  const std::string other = ogg_page(99'999'999, std::string(100, 'v'), 8);
  EXPECT_FALSE(head_of(first + other, 1'000'000).has_value());
}

TEST(ContainerHeadTest, Mp3OfAConstantRateIsLinearAfterItsTag) {
  const std::string tag = std::string("ID3\x04") + '\0' + '\0' + big(0x00000768, 4);  // 1000 bytes
  const std::string file =
      tag + std::string(1000, '\0') + "\xff\xfb\x90\x64" + std::string(500, 'a');
  const auto head = head_of(file, 4'001'010);
  ASSERT_TRUE(head.has_value());
  EXPECT_NEAR(static_cast<double>(head->head_bytes), 1010 + 160'000, 2);  // 128 kbit/s
  EXPECT_FALSE(head->tail);
}

TEST(ContainerHeadTest, Mp3WithXingGoesByItsFramesAndItsTable) {
  const std::string frames = big(7'656, 4);  // of 1152 samples at 44.1 kHz: 200 s
  const auto plain = head_of(xing_frame("Xing" + big(1, 4) + frames), 4'000'000);
  ASSERT_TRUE(plain.has_value());
  EXPECT_NEAR(static_cast<double>(plain->head_bytes), 200'000, 200);
  std::string table;
  for (int i = 0; i < 100; ++i) table += static_cast<char>(i < 6 ? i * 8 : 48 + i * 2);
  const auto with = head_of(xing_frame("Xing" + big(5, 4) + frames + table), 4'000'000);
  ASSERT_TRUE(with.has_value());
  EXPECT_GT(with->head_bytes, 600'000U);  // louder beginning: 48 of 256 parts and more
}

TEST(ContainerHeadTest, Mp3WithVbriGoesByItsFrames) {
  const std::string tag = "VBRI" + big(1, 2) + big(0, 4) + big(4'000'000, 4) + big(7'656, 4);
  const auto head = head_of(xing_frame(tag), 4'000'000);
  ASSERT_TRUE(head.has_value());
  EXPECT_NEAR(static_cast<double>(head->head_bytes), 200'000, 200);
}

TEST(ContainerHeadTest, FlacIsLinearAfterItsBlocksOrGoesByItsSeekTable) {
  const std::string file = flac_file("");
  const auto plain = head_of(file, 20'000'000);
  ASSERT_TRUE(plain.has_value());
  EXPECT_NEAR(static_cast<double>(plain->head_bytes), 1'000'000, 1'000);
  const std::string points = big(0, 18) + big(441'000, 8) + big(700'000, 8) + big(4096, 2);
  const std::string sought = flac_file(big(0x03000024, 4) + points);
  EXPECT_EQ(head_of(sought, 20'000'000)->head_bytes, sought.size() + 700'000);
}

TEST(ContainerHeadTest, FlacWithAPictureBeyondWhatIsHereStillKnowsWhereSoundBegins) {
  const std::string file = flac_file(big(0x06000000 | 3'000'000, 4)).substr(0, 100);
  const auto head = head_of(file, 23'000'000);
  ASSERT_TRUE(head.has_value());
  EXPECT_GT(head->head_bytes, 3'900'000U);
}

TEST(ContainerHeadTest, Mp4GoesByItsIndexOrItsDuration) {
  const std::string indexed = sidx_file();
  const auto head = head_of(indexed, 1'000'000);
  ASSERT_TRUE(head.has_value());
  EXPECT_EQ(head->head_bytes, indexed.size() + 150'000);  // three references of 4 s
  const std::string file = mp4_file();
  EXPECT_NEAR(static_cast<double>(head_of(file, 5'000'000 + file.size() - 8)->head_bytes), 250'000,
              1'000);
}

TEST(ContainerHeadTest, AnMp4WithItsHeaderAtTheEndIsReadThereFirst) {
  const auto head = head_of(box("ftyp", "M4A ....") + big(5'000'000, 4) + "mdat", 5'100'000);
  ASSERT_TRUE(head.has_value());
  EXPECT_TRUE(head->tail);
  EXPECT_EQ(head->head_bytes, 0U);
}

TEST(ContainerHeadTest, WhatIsNoContainerSaysNothing) {
  EXPECT_FALSE(head_of("", 1'000'000).has_value());
  EXPECT_FALSE(head_of(std::string(64 * KiB, '\0'), 1'000'000).has_value());
  EXPECT_FALSE(head_of("RIFF....WAVEfmt ", 1'000'000).has_value());
  EXPECT_FALSE(head_of("#EXTM3U\n#EXTINF:10,\nseg1.aac\n", 1'000'000).has_value());
}

TEST(ContainerHeadTest, WhatIsCutOrDamagedStaysWithinItsLength) {
  const std::string id3 = std::string("ID3\x04") + '\0' + '\0' + big(10, 4) + std::string(10, '\0');
  const std::string files[] = {ogg_file(3), id3 + xing_frame("Info" + big(1, 4) + big(7'656, 4)),
                               flac_file(big(0x03000012, 4) + big(0, 18)), mp4_file(), sidx_file()};
  constexpr uint64_t kLength = 3'000'000;
  for (const std::string& file : files) {
    for (size_t size = 0; size <= file.size(); ++size) {
      const auto head = head_of(file.substr(0, size), kLength);
      if (head) EXPECT_LE(head->head_bytes, kLength);
    }
    for (size_t at = 0; at < std::min<size_t>(file.size(), 600); ++at) {
      for (const char value : {'\0', '\x01', '\x7f', '\x80', '\xff'}) {
        std::string damaged = file;
        damaged[at] = value;
        const auto head = head_of(damaged, kLength);
        if (head) EXPECT_LE(head->head_bytes, kLength) << at;
        (void)head_of(damaged, 0);
      }
    }
  }
}

}  // namespace
}  // namespace segue::edge
