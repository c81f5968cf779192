// Goal: ticket keys change, old ones open for a while, and what a file brings is checked. Method:
// times given by hand, files written by the test.
#include "tls/ticket_keys.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace segue::tls {
namespace {

constexpr MonoTime kStart{std::chrono::seconds{5}};

class TicketKeysTest : public ::testing::Test {
 protected:
  TicketKeysTest() {
    std::string name = std::filesystem::temp_directory_path() / "segue_tickets_XXXXXX";
    close_fd(mkstemp(name.data()));
    path = name;
  }
  ~TicketKeysTest() override { std::filesystem::remove(path); }
  static void close_fd(int fd) { std::fclose(fdopen(fd, "w")); }
  void write(const std::string& bytes) const { std::ofstream(path, std::ios::binary) << bytes; }
  static std::string key_bytes(char name) { return std::string(16, name) + std::string(64, 's'); }

  std::string path;
  TicketKeys keys{kStart};
};

TEST_F(TicketKeysTest, AKeyLivesForTwoPeriodsAndSealsInTheFirst) {
  const TicketKey first = keys.current();
  keys.keep_up(kStart + kTicketKeyPeriod - std::chrono::seconds{1});
  EXPECT_EQ(keys.current(), first);
  keys.keep_up(kStart + kTicketKeyPeriod);
  EXPECT_NE(keys.current(), first);
  ASSERT_TRUE(keys.find(first.name).has_value());
  EXPECT_FALSE(keys.find(first.name)->is_current);
  EXPECT_TRUE(keys.find(keys.current().name)->is_current);
  keys.keep_up(kStart + 2 * kTicketKeyPeriod);
  EXPECT_FALSE(keys.find(first.name).has_value());
}

TEST_F(TicketKeysTest, TheFirstKeyOfAFileSealsAndAllOpen) {
  write(key_bytes('a') + key_bytes('b') + key_bytes('c') + key_bytes('d'));
  auto read = read_ticket_keys(path);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->size(), 4U);
  keys.take(std::move(*read));
  EXPECT_EQ(keys.current().name.front(), 'a');
  EXPECT_EQ(keys.current().seal.front(), 's');
  const std::string last(16, 'd');
  const auto* name = reinterpret_cast<const unsigned char*>(last.data());
  ASSERT_TRUE(keys.find({name, 16}).has_value());
  EXPECT_FALSE(keys.find({name, 16})->is_current);
  keys.keep_up(kStart + 10 * kTicketKeyPeriod);
  EXPECT_EQ(keys.current().name.front(), 'a');  // a fleet's keys change when the file does
}

TEST_F(TicketKeysTest, WithoutTheFileTheKeysAreItsOwnAgainAndRotate) {
  write(key_bytes('a'));
  keys.take(*read_ticket_keys(path));
  const TicketKey of_file = keys.current();
  keys.use_own(kStart);
  const TicketKey own = keys.current();
  EXPECT_NE(own, of_file);
  EXPECT_FALSE(keys.find(of_file.name).has_value());
  keys.use_own(kStart);
  EXPECT_EQ(keys.current(), own);
  keys.keep_up(kStart + kTicketKeyPeriod);
  EXPECT_NE(keys.current(), own);
}

TEST_F(TicketKeysTest, AFileThatIsNoneIsNamed) {
  for (const std::string& bytes :
       {std::string(), key_bytes('a').substr(1), key_bytes('a') + "x",
        key_bytes('a') + key_bytes('b') + key_bytes('c') + key_bytes('d') + key_bytes('e')}) {
    write(bytes);
    const auto loaded = read_ticket_keys(path);
    ASSERT_FALSE(loaded.has_value());
    EXPECT_TRUE(loaded.error().contains("is no file of ticket keys")) << loaded.error();
  }
  EXPECT_TRUE(read_ticket_keys("/nonexistent").error().contains("cannot be read"));
  write(key_bytes('a'));
  ASSERT_EQ(chmod(path.c_str(), 0604), 0);
  EXPECT_TRUE(read_ticket_keys(path).error().contains("may read it (mode 604)"));
}

}  // namespace
}  // namespace segue::tls
