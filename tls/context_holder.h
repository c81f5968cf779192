// tls/context_holder.h - the context that a listener's next connections get; a reload replaces it.
#pragma once
#include <memory>
#include <mutex>
#include <utility>

#include "tls/server_context.h"

namespace segue::tls {

/// Any thread. The lock is held for the copy of a pointer, once a connection.
class ContextHolder {
 public:
  explicit ContextHolder(std::shared_ptr<const ServerContext> context)
      : context_(std::move(context)) {}
  [[nodiscard]] std::shared_ptr<const ServerContext> get() const {
    const std::lock_guard lock(mutex_);
    return context_;
  }
  /// Connections that have begun stay on the context they began with.
  void replace(std::shared_ptr<const ServerContext> context) {
    const std::lock_guard lock(mutex_);
    context_.swap(context);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const ServerContext> context_;
};

}  // namespace segue::tls
