// edge/node/node_tls.h - the certificates and ticket keys of a node: read at start, checked by
// `segue check`, read anew while it runs.
#pragma once
#include <expected>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/loop/clock.h"
#include "origin/options.h"
#include "tls/context_holder.h"
#include "tls/server_context.h"

namespace segue::edge {

class Registry;

struct NodeTlsOptions {
  tls::ServerOptions server;            // client_ca is each listener's own
  std::vector<std::string> client_cas;  // of the TLS listeners, each once; "" for those that ask
                                        // for no certificate; empty: no listener has TLS
  std::string ticket_keys;              // file; empty: keys of this process
};

/// Built at start, then shared by all loops.
class NodeTls {
 public:
  /// Reads every file; waits. The error is a sentence for the operator; warnings are logged.
  [[nodiscard]] static std::expected<std::unique_ptr<NodeTls>, std::string> create(
      const NodeTlsOptions& options, const Clock& clock);

  /// What the files hold now, ready to be put in force.
  struct Prepared {
    std::map<std::string, std::shared_ptr<const tls::ServerContext>> contexts;  // by client_ca
    std::vector<tls::TicketKey> ticket_keys;  // empty: they stay as they are
  };
  /// Reads the files that `options` names; waits for them, so never on a loop. The error says what
  /// is wrong with them; warnings are logged.
  [[nodiscard]] std::expected<Prepared, std::string> prepare(const NodeTlsOptions& options) const;
  /// New connections get what is new, those that have begun end on what they began with. Any
  /// thread.
  void take(Prepared prepared);

  /// What a listener with this client_ca serves by. Null if it has none such.
  [[nodiscard]] std::shared_ptr<const tls::ContextHolder> holder(
      const std::string& client_ca) const;
  /// Once a second, any one thread: own ticket keys change with time.
  void keep_up() { tickets_.keep_up(clock_.mono()); }
  void register_metrics(Registry& registry) const;

 private:
  explicit NodeTls(const Clock& clock) : clock_(clock), tickets_(clock.mono()) {}

  const Clock& clock_;
  tls::TicketKeys tickets_;
  std::map<std::string, std::shared_ptr<tls::ContextHolder>> holders_;  // by client_ca
};

/// Everything that is wrong with the files of `options`, a line each, for `segue check`. Waits.
[[nodiscard]] std::vector<std::string> check_tls(const NodeTlsOptions& options, const Clock& clock);

/// The same of the files that origins are spoken to with. Start refuses what is unusable, which
/// would fail each fetch; libcurl reads the files again at each new connection.
[[nodiscard]] std::vector<tls::Finding> check_origin_tls(
    const std::vector<origin::OriginOptions>& origins, const Clock& clock);
[[nodiscard]] std::vector<std::string> lines_of(const std::vector<tls::Finding>& findings);

}  // namespace segue::edge
