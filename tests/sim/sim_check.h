// tests/sim/sim_check.h - what every response of the simulation must be, whatever happened to the
// node: the right head, a prefix of the true bytes of one version, complete where it says so, and
// nothing that an acknowledged purge has named. Knows the versions from the fake origin.
#pragma once
#include <string>

#include "tests/sim/sim_client.h"
#include "tests/support/fake_origin.h"

namespace segue::testing {

/// Watches one response.
class ResponseCheck final : public ResponseWatch {
 public:
  /// `version_min`: what purges acknowledged before the request began allow. All outlive this.
  ResponseCheck(const FakeOrigin& origin, const ClientBehaviour& behaviour, uint64_t version_min);

  void see_head(const ClientResult& result) override;
  void see_body(const ClientResult& so_far, uint64_t offset,
                std::span<const std::byte> bytes) override;
  void see_end(const ClientResult& result) override;

 private:
  [[nodiscard]] bool has_field(std::string_view name) const;
  void see_content_head(const ClientResult& result);
  void see_multipart_end(bool complete) const;
  void expect_bytes(uint64_t first, std::span<const std::byte> bytes) const;

  const FakeOrigin& origin_;
  const ClientBehaviour behaviour_;
  const uint64_t version_min_;
  std::string variant_;
  bool has_content_ = false;  // 200 or 206: the body is of the representation
  uint64_t version_ = 0;
  uint64_t length_ = 0;  // of that version
  uint64_t first_ = 0;   // of the body in it
  std::string boundary_;
  std::string multipart_;  // the body so far
};

}  // namespace segue::testing
