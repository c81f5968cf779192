// Goal: the real loop reports what sockets are ready for, wakes for posts and deadlines, and stops.
// Method: socket pairs and loopback TCP on a loop run by the test's own thread; no sleeps.
#include "base/loop/event_loop.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "tests/support/run_task.h"

namespace segue {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct Fd {
  int fd = -1;
  explicit Fd(int owned) : fd(owned) {}
  Fd(Fd&& other) noexcept : fd(std::exchange(other.fd, -1)) {}
  Fd& operator=(Fd&&) = delete;
  ~Fd() { reset(); }
  void reset() {
    if (fd >= 0) close(std::exchange(fd, -1));
  }
};

struct Pair {
  Fd ours;
  Fd theirs;
};

Pair make_pair_of_sockets() {
  std::array<int, 2> fds{};
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data()), 0);
  return {Fd(fds[0]), Fd(fds[1])};
}

// TCP on loopback, for what unix sockets do not have: a reset.
Pair make_tcp_pair() {
  const Fd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  EXPECT_EQ(bind(listener.fd, generic, length), 0);
  EXPECT_EQ(listen(listener.fd, 1), 0);
  EXPECT_EQ(getsockname(listener.fd, generic, &length), 0);
  Fd theirs(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(connect(theirs.fd, generic, length), 0);
  Fd ours(accept4(listener.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  return {std::move(ours), std::move(theirs)};
}

void reset_connection(Fd& socket_fd) {
  const linger now{1, 0};
  EXPECT_EQ(setsockopt(socket_fd.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
  socket_fd.reset();
}

/// Waits on a socket as a connection would: the watch raises a signal, the task waits for it.
struct Waiter : ReadyNode {
  Waiter(EventLoop& loop, int fd)
      : ReadyNode([](ReadyNode& node) { static_cast<Waiter&>(node).ready.raise(); }),
        watch(loop, fd, *this) {}
  Signal ready;
  SocketWatch watch;
};

class EventLoopTest : public ::testing::Test {
 protected:
  EventLoopTest() {
    auto made = EventLoop::create(0, clock, {});
    EXPECT_TRUE(made.has_value());
    loop = std::move(*made);
  }
  SystemClock clock;
  std::unique_ptr<EventLoop> loop;
};

Task<Readiness> wait_for(EventLoop& loop, Waiter& waiter, Readiness interest, milliseconds limit) {
  waiter.watch.want(interest);
  (void)co_await waiter.ready.wait(loop.now() + limit);
  co_return waiter.watch.take();
}

constexpr milliseconds kLong{20'000};  // ends a broken test; a working one never waits for it

TEST_F(EventLoopTest, ReportsASocketThatBecomesReadable) {
  Pair pair = make_pair_of_sockets();
  Waiter waiter(*loop, pair.ours.fd);
  ASSERT_EQ(write(pair.theirs.fd, "x", 1), 1);
  const Readiness got = testing::run_on(
      *loop, [&] { return wait_for(*loop, waiter, Readiness::Read | Readiness::Closed, kLong); });
  EXPECT_EQ(got, Readiness::Read);
}

TEST_F(EventLoopTest, ReportsASocketThatIsWritable) {
  Pair pair = make_pair_of_sockets();
  Waiter waiter(*loop, pair.ours.fd);
  const Readiness got =
      testing::run_on(*loop, [&] { return wait_for(*loop, waiter, Readiness::Write, kLong); });
  EXPECT_EQ(got, Readiness::Write);
}

TEST_F(EventLoopTest, ReportsNothingOfWhatIsNotWanted) {
  Pair pair = make_pair_of_sockets();
  Waiter waiter(*loop, pair.ours.fd);
  ASSERT_EQ(write(pair.theirs.fd, "x", 1), 1);
  const Readiness got = testing::run_on(
      *loop, [&] { return wait_for(*loop, waiter, Readiness::Closed, milliseconds{5}); });
  EXPECT_EQ(got, Readiness::None);
}

TEST_F(EventLoopTest, UnreadBytesDoNotKeepALoopAwakeThatWaitsForTheClose) {
  Pair pair = make_pair_of_sockets();
  Waiter waiter(*loop, pair.ours.fd);
  ASSERT_EQ(write(pair.theirs.fd, "x", 1), 1);
  const uint64_t before = loop->turns();
  (void)testing::run_on(
      *loop, [&] { return wait_for(*loop, waiter, Readiness::Closed, milliseconds{20}); });
  EXPECT_LT(loop->turns() - before, 10U);  // level-triggered it would be thousands
}

TEST_F(EventLoopTest, ReportsTheHalfCloseOfASilentPeer) {
  Pair pair = make_tcp_pair();
  Waiter waiter(*loop, pair.ours.fd);
  shutdown(pair.theirs.fd, SHUT_WR);
  const Readiness got =
      testing::run_on(*loop, [&] { return wait_for(*loop, waiter, Readiness::Closed, kLong); });
  EXPECT_EQ(got, Readiness::Closed);
}

TEST_F(EventLoopTest, ReportsAResetAsClosedWhenOnlyTheCloseIsWanted) {
  Pair pair = make_tcp_pair();
  Waiter waiter(*loop, pair.ours.fd);
  reset_connection(pair.theirs);
  const Readiness got =
      testing::run_on(*loop, [&] { return wait_for(*loop, waiter, Readiness::Closed, kLong); });
  EXPECT_EQ(got, Readiness::Closed);
}

TEST_F(EventLoopTest, ReportsAResetBehindUnreadBytesAsClosed) {
  Pair pair = make_tcp_pair();
  Waiter waiter(*loop, pair.ours.fd);
  ASSERT_EQ(write(pair.theirs.fd, "pipelined", 9), 9);
  EXPECT_EQ(testing::run_on(
                *loop, [&] { return wait_for(*loop, waiter, Readiness::Closed, milliseconds{5}); }),
            Readiness::None);
  reset_connection(pair.theirs);
  const Readiness got =
      testing::run_on(*loop, [&] { return wait_for(*loop, waiter, Readiness::Closed, kLong); });
  EXPECT_EQ(got, Readiness::Closed);
}

TEST_F(EventLoopTest, AResetWakesAWriterToo) {
  Pair pair = make_tcp_pair();
  std::array<char, 65536> filler{};
  while (write(pair.ours.fd, filler.data(), filler.size()) > 0) {
  }
  Waiter waiter(*loop, pair.ours.fd);
  reset_connection(pair.theirs);
  const Readiness got = testing::run_on(
      *loop, [&] { return wait_for(*loop, waiter, Readiness::Write | Readiness::Closed, kLong); });
  EXPECT_NE(got, Readiness::None);
}

Task<Readiness> change_twice_then_wait(EventLoop& loop, Waiter& waiter) {
  waiter.watch.want(Readiness::Read);
  waiter.watch.want(Readiness::Closed);
  waiter.watch.want(Readiness::None);
  waiter.watch.want(Readiness::Write);
  (void)co_await waiter.ready.wait(loop.now() + kLong);
  co_return waiter.watch.take();
}

TEST_F(EventLoopTest, TheLastInterestOfATurnIsTheOneThatCounts) {
  Pair pair = make_pair_of_sockets();
  Waiter waiter(*loop, pair.ours.fd);
  ASSERT_EQ(write(pair.theirs.fd, "x", 1), 1);
  const Readiness got =
      testing::run_on(*loop, [&] { return change_twice_then_wait(*loop, waiter); });
  EXPECT_EQ(got, Readiness::Write);
}

// libevent merges the changes of one turn; a descriptor number that is closed and opened again in
// between must still be watched.
Task<Readiness> reuse_descriptor(EventLoop& loop) {
  auto first = std::make_unique<Pair>(make_pair_of_sockets());
  const int number = first->ours.fd;
  auto watching = std::make_unique<Waiter>(loop, number);
  (void)co_await wait_for(loop, *watching, Readiness::Read, milliseconds{1});
  watching.reset();
  first.reset();
  Pair second = make_pair_of_sockets();
  EXPECT_EQ(second.ours.fd, number);
  EXPECT_EQ(write(second.theirs.fd, "x", 1), 1);
  Waiter again(loop, second.ours.fd);
  co_return co_await wait_for(loop, again, Readiness::Read, kLong);
}

TEST_F(EventLoopTest, ADescriptorNumberUsedAgainInTheSameTurnIsWatched) {
  EXPECT_EQ(testing::run_on(*loop, [&] { return reuse_descriptor(*loop); }), Readiness::Read);
}

Task<MonoTime> sleep_once(EventLoop& loop, milliseconds duration) {
  co_await sleep_for(duration);
  co_return loop.now();
}

TEST_F(EventLoopTest, ASleepEndsAtItsDeadlineNotBefore) {
  const MonoTime before = clock.mono();
  const MonoTime after = testing::run_on(*loop, [&] { return sleep_once(*loop, milliseconds{3}); });
  EXPECT_GE(after - before, milliseconds{3});
}

struct Message : PostNode {
  explicit Message(Signal& raised)
      : PostNode([](PostNode& node) { static_cast<Message&>(node).signal.raise(); }),
        signal(raised) {}
  Signal& signal;
};

Task<Wake> wait_for_signal(Signal& signal, MonoTime deadline) {
  co_return co_await signal.wait(deadline);
}

TEST_F(EventLoopTest, APostFromAnotherThreadWakesASleepingLoop) {
  Signal signal;
  Message message(signal);
  std::thread sender;
  const Wake wake = testing::run_on(*loop, [&] {
    sender = std::thread([&] { loop->post(message); });
    return wait_for_signal(signal, loop->now() + kLong);
  });
  sender.join();
  EXPECT_EQ(wake, Wake::Raised);
}

Task<void> spin(EventLoop& loop, bool& over, uint64_t& turns) {
  const uint64_t before = loop.turns();
  while (!over) co_await Yield{};
  turns = loop.turns() - before;
}

Task<void> end_after(bool& over, milliseconds duration) {
  co_await sleep_for(duration);
  over = true;
}

Task<void> spin_beside_a_sleeper(EventLoop& loop, uint64_t& turns) {
  bool over = false;
  TaskGroup group(loop, 2);
  EXPECT_TRUE(group.try_spawn(end_after(over, milliseconds{5})));
  EXPECT_TRUE(group.try_spawn(spin(loop, over, turns)));
  co_await group.drain();
}

TEST_F(EventLoopTest, WorkThatIsAlwaysReadyDoesNotStarveTheTimers) {
  uint64_t turns = 0;
  testing::run_on(*loop, [&] { return spin_beside_a_sleeper(*loop, turns); });
  EXPECT_GE(turns, 1U);
}

TEST_F(EventLoopTest, StopFromAnotherThreadEndsRun) {
  std::thread stopper([&] { loop->stop(); });
  loop->run();
  stopper.join();
  EXPECT_FALSE(loop->has_ready());
}

TEST_F(EventLoopTest, ALoopCanBeRunAgainAfterItWasStopped) {
  for (int i = 0; i < 3; ++i) {
    (void)testing::run_on(*loop, [&] { return sleep_once(*loop, milliseconds{0}); });
  }
  EXPECT_GE(loop->turns(), 3U);
}

TEST_F(EventLoopTest, AnIdleLoopSleepsUntilItsDeadline) {
  const uint64_t before = loop->turns();
  (void)testing::run_on(*loop, [&] { return sleep_once(*loop, milliseconds{30}); });
  EXPECT_LT(loop->turns() - before, 10U);
}

TEST_F(EventLoopTest, TheLongestTurnIsReportedOnce) {
  (void)testing::run_on(*loop, [&] { return sleep_once(*loop, milliseconds{1}); });
  (void)loop->take_longest_turn();
  EXPECT_EQ(loop->take_longest_turn().count(), 0);
}

}  // namespace
}  // namespace segue
