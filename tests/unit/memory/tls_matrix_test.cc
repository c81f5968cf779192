// Goal: whichever allocation is refused while certificates are read, hands are shaken and bytes
// sealed, one connection ends and the next is served, with the right certificate. Method:
// memory_matrix.h; the server on a loop with virtual time, clients on socketpairs.
#include "tests/support/throwaway_ca.h"
#include "tests/unit/edge/server_fixture.h"
#include "tests/unit/edge/tls_client.h"
#include "tests/unit/memory/memory_matrix.h"
#include "tls/server_context.h"

namespace segue::edge {
namespace {

using testing::Counted;
using testing::NotCounted;
using testing::run_matrix;
using testing::Whose;

constexpr size_t kBodyBytes = 100'000;

/// Two names with a certificate each, and an OCSP response for the second.
struct Certificates {
  testing::ThrowawayCa ca;
  tls::ServerOptions options;

  Certificates() {
    const auto first = ca.issue("a.example");
    const auto second = ca.issue("b.example");
    options.certificates = {
        {first.certificate_file, first.key_file, ""},
        {second.certificate_file, second.key_file, ca.ocsp(second.certificate_file, true, false)}};
    options.http2 = false;
  }
};
Certificates& certificates() {
  static Certificates only;
  return only;
}

class Handshakes final : public ServerTest {
 public:
  std::string run() {
    if (server == nullptr) start();
    std::shared_ptr<const tls::ServerContext> counted_context;
    std::string wrong;
    {
      const Counted counted;
      counted_context = make_context();
      if (counted_context == nullptr && !testing::memory_was_refused()) wrong = "no context";
      for (const char* name : {"a.example", "b.example"})
        if (wrong.empty() && counted_context != nullptr) wrong = ask(counted_context, name, true);
    }
    const auto context = make_context();
    if (context == nullptr) return "no context afterwards";
    for (const char* name : {"a.example", "b.example"})
      if (wrong.empty()) wrong = ask(context, name, false);
    return wrong;
  }

 private:
  void TestBody() override {}

  std::shared_ptr<const tls::ServerContext> make_context() {
    std::vector<tls::Finding> findings;
    return tls::ServerContext::create(certificates().options, tickets_, SystemClock().wall(),
                                      findings);
  }

  std::string ask(const std::shared_ptr<const tls::ServerContext>& context, const char* name,
                  bool lenient) {
    int ends[2] = {};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    const TestClient raw(ends[1]);
    {
      const Loop::Turn turn(*loop);
      sockaddr_storage nobody{};
      nobody.ss_family = AF_UNIX;
      server->adopt(ends[0], peer_of(nobody, 0), context);
    }
    std::unique_ptr<TlsClient> client;
    {
      // It asks for a staple, too: the response of the certificate that is shown.
      const NotCounted aside;
      client = std::make_unique<TlsClient>(raw.fd(), certificates().ca.ca_file(), name);
      client->ask_status();
    }
    bool shaken = false;
    for (int i = 0; i < 6 && !shaken; ++i) {
      {
        const NotCounted aside;
        shaken = client->handshake();
      }
      turns(4);
    }
    std::string got;
    if (shaken) {
      {
        const NotCounted aside;
        client->send("GET /bytes/" + std::to_string(kBodyBytes) + " HTTP/1.1\r\nHost: " + name +
                     "\r\nConnection: close\r\n\r\n");
      }
      for (int idle = 0; idle < 3 && !client->ended();) {
        turns(4);
        const NotCounted aside;
        const std::string some = client->receive();
        idle = some.empty() ? idle + 1 : 0;
        got += some;
      }
    }
    const NotCounted aside;
    const bool may_fail = lenient && testing::memory_was_refused();
    const std::string wrong = judge(got, *client, name, may_fail);
    client.reset();
    return wrong;
  }

  static std::string judge(const std::string& got, const TlsClient& client, const char* name,
                           bool may_fail) {
    if (got.empty()) return may_fail ? "" : std::string("no answer from ") + name;
    // Who shook hands verified the certificate; that it is this name's is not asked there.
    if (!client.shows(name)) return std::string("the wrong certificate for ") + name;
    const auto answer = parse_response(got);
    if (!ScriptedHandler::pattern(kBodyBytes).starts_with(answer.body)) return "WRONG BYTES";
    const bool whole = answer.status == 200 && answer.body.size() == kBodyBytes;
    if (!whole && client.ended() && answer.status == 200) return "a cut is told as an end";
    return whole || may_fail ? "" : "cut for no reason";
  }

  tls::TicketKeys tickets_{MonoTime{}};
};

std::string handshakes() { return Handshakes().run(); }

TEST(TlsMatrix, OneConnectionEndsAndTheNextIsServed) {
  (void)certificates();
  EXPECT_GT(run_matrix(&handshakes, Whose::OperatorNew).ended_cleanly, 0U);
  EXPECT_GT(run_matrix(&handshakes, Whose::Malloc).allocations, 0U);
}

}  // namespace
}  // namespace segue::edge
