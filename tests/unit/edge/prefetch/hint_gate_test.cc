// Goal: hints cost no more than their budget and count once. Method: times and hints by hand.
#include "edge/prefetch/hint_gate.h"

#include <gtest/gtest.h>

namespace segue::edge {
namespace {

using std::chrono::seconds;
using Verdict = HintGate::Verdict;

constexpr MonoTime kStart{std::chrono::hours{1}};

TEST(HintGate, LetsInNothingUntilItHasABudget) {
  HintGate gate;
  EXPECT_EQ(gate.admit({1, 1, 1, 1}, kStart), Verdict::OverBudget);
}

TEST(HintGate, LetsInTwoSecondsOfItsBudgetAtOnceAndThenItsRate) {
  HintGate gate;
  gate.configure(100);
  EXPECT_EQ(gate.admit({1, 1, 1, 100}, kStart), Verdict::Take);
  EXPECT_EQ(gate.admit({2, 1, 2, 100}, kStart), Verdict::Take);
  EXPECT_EQ(gate.admit({3, 1, 3, 100}, kStart), Verdict::OverBudget);
  EXPECT_EQ(gate.admit({3, 1, 3, 100}, kStart + seconds{1}), Verdict::Take);
  EXPECT_EQ(gate.admit({4, 1, 4, 1}, kStart + seconds{1}), Verdict::OverBudget);
}

TEST(HintGate, WhatIsLargerThanItsBudgetIsPaidForAfterwards) {
  HintGate gate;
  gate.configure(100);
  EXPECT_EQ(gate.admit({1, 1, 1, 500}, kStart), Verdict::Take);
  EXPECT_EQ(gate.admit({2, 1, 2, 100}, kStart + seconds{3}), Verdict::OverBudget);
  EXPECT_EQ(gate.admit({2, 1, 2, 100}, kStart + seconds{4}), Verdict::Take);
}

TEST(HintGate, TheSameHintIsTakenAgainAfterAWhileOnly) {
  HintGate gate;
  gate.configure(100);
  EXPECT_EQ(gate.admit({1, 1, 1, 10}, kStart), Verdict::Take);
  EXPECT_EQ(gate.admit({1, 1, 1, 10}, kStart + HintGate::kRepeats - seconds{1}), Verdict::Repeated);
  EXPECT_EQ(gate.admit({1, 2, 1, 10}, kStart), Verdict::Take);  // another session's
  EXPECT_EQ(gate.admit({1, 1, 1, 10}, kStart + HintGate::kRepeats), Verdict::Take);
}

TEST(HintGate, OneThatFoundNoBudgetMayComeAgain) {
  HintGate gate;
  gate.configure(100);
  EXPECT_EQ(gate.admit({1, 1, 1, 200}, kStart), Verdict::Take);
  EXPECT_EQ(gate.admit({2, 1, 2, 100}, kStart), Verdict::OverBudget);
  EXPECT_EQ(gate.admit({2, 1, 2, 100}, kStart + seconds{2}), Verdict::Take);
}

TEST(HintGate, OneListenerHasNoMoreThanItsShareAndLeavesTheRestToOthers) {
  HintGate gate;
  gate.configure(100);
  uint32_t taken = 0;
  for (TrackId part = 1; part <= 100; ++part) {
    if (gate.admit({.listener = 1, .session = part, .part = part, .bytes = 10}, kStart) ==
        Verdict::Take)
      ++taken;
  }
  EXPECT_EQ(taken, 10u);  // four seconds of a quarter of 100
  EXPECT_EQ(gate.admit({.listener = 2, .session = 1, .part = 201, .bytes = 100}, kStart),
            Verdict::Take);
  EXPECT_EQ(
      gate.admit({.listener = 1, .session = 1, .part = 101, .bytes = 30}, kStart + seconds{1}),
      Verdict::OverBudget);
  EXPECT_EQ(
      gate.admit({.listener = 1, .session = 1, .part = 101, .bytes = 25}, kStart + seconds{1}),
      Verdict::Take);
}

TEST(HintGate, WhoWasOverItsShareLeavesNoMark) {
  HintGate gate;
  gate.configure(100);
  EXPECT_EQ(gate.admit({.listener = 1, .session = 1, .part = 1, .bytes = 100}, kStart),
            Verdict::Take);
  const HintGate::Hint hint{.listener = 1, .session = 1, .part = 2, .bytes = 100};
  EXPECT_EQ(gate.admit(hint, kStart + seconds{2}), Verdict::OverBudget);
  EXPECT_EQ(gate.admit(hint, kStart + seconds{4}), Verdict::Take);
}

}  // namespace
}  // namespace segue::edge
