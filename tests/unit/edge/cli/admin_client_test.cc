// What the command line sends to an admin listener, and what it makes of the answers. The other
// side is a scripted listener on a thread: it takes one connection and answers with fixed bytes.
#include "edge/cli/admin_client.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <thread>

namespace segue::edge {
namespace {

/// Listens at once, answers one request, and keeps its head.
class ScriptedListener {
 public:
  ScriptedListener(int family, const sockaddr* address, socklen_t length, std::string answer)
      : answer_(std::move(answer)), fd_(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    EXPECT_EQ(bind(fd_, address, length), 0) << strerror(errno);
    EXPECT_EQ(listen(fd_, 1), 0);
    thread_ = std::thread([this] { serve_one(); });
  }
  ScriptedListener(const ScriptedListener&) = delete;
  ScriptedListener& operator=(const ScriptedListener&) = delete;
  ~ScriptedListener() {
    if (thread_.joinable()) thread_.join();
    close(fd_);
  }
  [[nodiscard]] std::string request() {
    thread_.join();
    return request_;
  }
  [[nodiscard]] uint16_t port() const {
    sockaddr_in address{};
    socklen_t length = sizeof address;
    EXPECT_EQ(getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length), 0);
    return ntohs(address.sin_port);
  }

 private:
  void serve_one() {
    const int client = accept(fd_, nullptr, nullptr);
    std::array<char, 1024> piece{};
    while (!request_.contains("\r\n\r\n")) {
      const ssize_t bytes = recv(client, piece.data(), piece.size(), 0);
      if (bytes <= 0) break;
      request_.append(piece.data(), static_cast<size_t>(bytes));
    }
    send(client, answer_.data(), answer_.size(), MSG_NOSIGNAL);
    close(client);
  }

  std::string answer_, request_;
  int fd_;
  std::thread thread_;
};

class AdminClient : public testing::Test {
 protected:
  AdminClient() {
    std::string pattern = std::filesystem::temp_directory_path() / "segue-cli-XXXXXX";
    folder_ = mkdtemp(pattern.data());
  }
  ~AdminClient() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] AdminPlace unix_place() const { return {folder_ + "/admin.sock", "", 0}; }
  [[nodiscard]] std::unique_ptr<ScriptedListener> unix_listener(std::string answer) const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = unix_place().unix_path;
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    return std::make_unique<ScriptedListener>(AF_UNIX, reinterpret_cast<const sockaddr*>(&address),
                                              sizeof address, std::move(answer));
  }

  std::string folder_;
};

constexpr const char* kOk = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}\n";

TEST_F(AdminClient, AsksOverAUnixSocket) {
  const auto listener = unix_listener(kOk);
  const auto answer = ask(unix_place(), stats_call());
  ASSERT_TRUE(answer) << answer.error();
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body, "{}\n");
  const std::string request = listener->request();
  EXPECT_TRUE(request.starts_with("GET /stats.json HTTP/1.1\r\nHost: localhost\r\n")) << request;
}

TEST_F(AdminClient, AsksOverLoopback) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ScriptedListener listener(AF_INET, reinterpret_cast<const sockaddr*>(&address), sizeof address,
                            kOk);
  const auto answer = ask({"", "127.0.0.1", listener.port()}, drain_call());
  ASSERT_TRUE(answer) << answer.error();
  const std::string request = listener.request();
  EXPECT_TRUE(request.starts_with("POST /drain HTTP/1.1\r\nHost: 127.0.0.1:")) << request;
  EXPECT_TRUE(request.contains("Content-Length: 0\r\n")) << request;
}

TEST_F(AdminClient, EscapesTheUrlItAsksAbout) {
  EXPECT_EQ(explain_call("http://a.example/b c?d=1&e#f").target,
            "/explain?url=http%3A%2F%2Fa.example%2Fb%20c%3Fd%3D1%26e%23f");
  EXPECT_EQ(purge_call("url", "http://a/\xc3\xbc", false, false).target,
            "/purge?url=http%3A%2F%2Fa%2F%C3%BC");
}

TEST_F(AdminClient, PurgeSaysHowItIsMeant) {
  EXPECT_EQ(purge_call("prefix", "x", true, true).target, "/purge?prefix=x&soft=1&cut=1");
  EXPECT_EQ(purge_call("prefix", "x", false, true).target, "/purge?prefix=x&cut=1");
  EXPECT_EQ(purge_call("prefix", "x", false, true).method, AdminCall::Method::Post);
}

TEST_F(AdminClient, NobodyListeningIsASentenceWithThePlace) {
  const auto answer = ask(unix_place(), drain_call());
  ASSERT_FALSE(answer);
  EXPECT_TRUE(answer.error().starts_with("no answer from the admin listener at unix:" + folder_))
      << answer.error();
}

TEST_F(AdminClient, AnAnswerThatIsNotHttpIsAnError) {
  const auto listener = unix_listener("hello\r\n\r\n");
  EXPECT_FALSE(ask(unix_place(), stats_call()));
}

TEST_F(AdminClient, ARefusalIsExitCodeOneAndSuccessZero) {
  {
    const auto listener = unix_listener("HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nlater");
    testing::internal::CaptureStderr();
    EXPECT_EQ(ask_and_print(unix_place(), drain_call()), 1);
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "segue: the node answered 503: later\n");
  }
  std::filesystem::remove(unix_place().unix_path);
  const auto listener = unix_listener(kOk);
  testing::internal::CaptureStdout();
  EXPECT_EQ(ask_and_print(unix_place(), stats_call()), 0);
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "{}\n");
}

}  // namespace
}  // namespace segue::edge
