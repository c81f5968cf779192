#include "cache/wait_list.h"

#include <utility>

namespace segue::cache {

namespace {
constexpr uint32_t kNodesPerBlock = 256;
}

struct WaitSlab::Block {
  Block() {}
  WaitNode nodes[kNodesPerBlock];
  std::unique_ptr<Block> next;
};

WaitSlab::WaitSlab(Loop& loop, uint32_t nodes_max) : loop_(loop), nodes_max_(nodes_max) {}

WaitSlab::~WaitSlab() {
  SEGUE_ASSERT(in_use_ == 0);  // another loop may still post a node to us
  while (blocks_) blocks_ = std::move(blocks_->next);
}

WaitNode* WaitSlab::take() noexcept {
  if (in_use_ == nodes_max_) return nullptr;
  if (free_ == nullptr) {  // only when more wait than ever before
    auto block = std::make_unique<Block>();
    for (WaitNode& node : block->nodes) {
      node.slab_ = this;
      node.next_ = free_;
      free_ = &node;
    }
    block->next = std::move(blocks_);
    blocks_ = std::move(block);
  }
  ++in_use_;
  WaitNode* node = free_;
  free_ = node->next_;
  node->next_ = nullptr;
  return node;
}

void WaitSlab::give_back(WaitNode& node) noexcept {
  SEGUE_ASSERT(in_use_ > 0);
  --in_use_;
  node.signal_ = nullptr;
  node.ticket_ = nullptr;
  node.queue_ = nullptr;
  node.called_ = false;
  node.given_up_.store(false, std::memory_order_relaxed);
  node.next_ = free_;
  free_ = &node;
}

void WaitNode::arrive(PostNode& post) {
  auto& node = static_cast<WaitNode&>(post);
  const bool pass_on = node.called_ && node.queue_ != nullptr;
  if (WaitTicket* ticket = node.ticket_; ticket != nullptr) {
    Signal& signal = *node.signal_;
    ticket->node_ = nullptr;
    if (pass_on) {
      ticket->called_node_ = &node;
    } else {
      node.slab_->give_back(node);
    }
    signal.raise();
    return;
  }
  // Its waiter gave up before it heard of the call, or is done.
  WaitQueue* queue = node.queue_;
  node.slab_->give_back(node);
  if (pass_on) queue->pass_on();
}

void WaitTicket::let_go(WaitNode& node) noexcept {
  node.signal_ = nullptr;
  node.ticket_ = nullptr;
  node.given_up_.store(true, std::memory_order_relaxed);
}

void WaitTicket::end_call() noexcept {
  if (called_node_ == nullptr) return;
  let_go(*called_node_);
  // On a later turn: what it was called for is taken first.
  slab_.loop().post(*std::exchange(called_node_, nullptr));
}

WaitTicket::~WaitTicket() {
  end_call();
  // The node is in a list or on its way to us; whoever has it hands it back (rule R6).
  if (node_ != nullptr) let_go(*node_);
}

WaitList::WaitList(WaitList&& other) noexcept
    : head_(std::exchange(other.head_, nullptr)), tail_(std::exchange(other.tail_, nullptr)) {}

WaitList& WaitList::operator=(WaitList&& other) noexcept {
  SEGUE_ASSERT(head_ == nullptr);
  head_ = std::exchange(other.head_, nullptr);
  tail_ = std::exchange(other.tail_, nullptr);
  return *this;
}

WaitList::~WaitList() { SEGUE_ASSERT(head_ == nullptr); }

void WaitList::append(WaitNode& node) noexcept {
  node.next_ = nullptr;
  if (tail_ == nullptr) {
    head_ = &node;
  } else {
    tail_->next_ = &node;
  }
  tail_ = &node;
}

bool WaitList::try_enqueue(WaitTicket& ticket, uint32_t beyond, WaitQueue* queue) noexcept {
  if (ticket.node_ != nullptr) return false;
  ticket.end_call();
  WaitNode* node = ticket.slab_.take();
  if (node == nullptr) return false;
  node->signal_ = &ticket.signal_;
  node->ticket_ = &ticket;
  node->queue_ = queue;
  node->beyond_ = beyond;
  ticket.node_ = node;
  append(*node);
  return true;
}

WaitList WaitList::take() noexcept { return std::move(*this); }

WaitList WaitList::take_one() noexcept {
  WaitList taken;
  while (head_ != nullptr) {
    WaitNode* node = head_;
    head_ = node->next_;
    if (head_ == nullptr) tail_ = nullptr;
    taken.append(*node);
    if (!node->given_up_.load(std::memory_order_relaxed)) {
      node->called_ = true;
      break;
    }
  }
  return taken;
}

WaitList WaitList::take_beyond(uint32_t landed) noexcept {
  WaitList taken;
  WaitList left;
  WaitNode* node = std::exchange(head_, nullptr);
  tail_ = nullptr;
  while (node != nullptr) {
    WaitNode* next = node->next_;
    (node->beyond_ < landed ? taken : left).append(*node);
    node = next;
  }
  *this = std::move(left);
  return taken;
}

bool WaitList::has_anybody() const noexcept {
  const WaitNode* node = head_;
  while (node != nullptr && node->given_up_.load(std::memory_order_relaxed)) node = node->next_;
  return node != nullptr;
}

uint32_t WaitList::length() const noexcept {
  uint32_t count = 0;
  for (const WaitNode* node = head_; node != nullptr; node = node->next_) ++count;
  return count;
}

void WaitList::wake() noexcept {
  WaitNode* node = std::exchange(head_, nullptr);
  tail_ = nullptr;
  while (node != nullptr) {
    WaitNode* next = node->next_;  // once posted the node is its loop's
    node->slab_->loop().post(*node);
    node = next;
  }
}

}  // namespace segue::cache
