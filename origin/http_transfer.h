// origin/http_transfer.h - one request to one server: an easy handle, its head read by
// HeadCollector, its body handed on. Knows nothing of retries. Loop-owned.
#pragma once
#include <curl/curl.h>

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "origin/curl_driver.h"
#include "origin/fault.h"
#include "origin/head_collector.h"
#include "origin/options.h"
#include "origin/request_fields.h"

namespace segue::origin {

/// Whose request it is. on_head() and on_body() come from inside libcurl: they copy, publish and
/// queue, nothing else.
class TransferOwner {
 public:
  enum class Verdict : uint8_t { GoOn, Pause, Stop };
  virtual ~TransferOwner() = default;
  /// The final head is complete. Stop ends the transfer.
  virtual Verdict on_head(const HeadCollector& head) = 0;
  /// At most CURL_MAX_WRITE_SIZE bytes. GoOn: all were taken. Pause: none was; they come again
  /// after unpause().
  virtual Verdict on_body(std::span<const std::byte> bytes) = 0;
  /// The transfer ended: None if its response is complete. Also after a Stop (the fault is then of
  /// no interest). From the ready list; the owner may destroy the transfer.
  virtual void on_ended(Fault fault, int32_t os_errno) = 0;
};

class HttpTransfer final : public CurlTransfer {
 public:
  struct Request {
    const ServerAddress& server;
    std::span<const std::string> addresses;  // of the server's name; empty for an IP literal
    std::string target;                      // with the server's base path
    FieldList fields;
    bool fresh_connection = false;
    std::string_view method;     // empty: GET
    std::span<const char> body;  // with a method; stays put until the transfer is gone
  };
  HttpTransfer(CurlDriver& driver, const OriginOptions& options, TransferOwner& owner) noexcept
      : driver_(driver), options_(options), owner_(owner) {}
  /// Stops the transfer if it runs. Not from inside a callback.
  ~HttpTransfer() override;
  HttpTransfer(const HttpTransfer&) = delete;
  HttpTransfer& operator=(const HttpTransfer&) = delete;

  /// Sends the request; never waits. False when memory is out, or libcurl cannot be told what is
  /// to be asked and of whom.
  [[nodiscard]] bool start(Request request);
  /// Lets a paused body go on; on_body() is called inside. False if the transfer broke meanwhile:
  /// there will be no on_ended() worth waiting for.
  [[nodiscard]] bool unpause();
  /// Connections this request opened; 0: it went over a kept one.
  [[nodiscard]] long connections_made() const;

 private:
  struct FreeEasy {
    void operator()(CURL* easy) const noexcept { curl_easy_cleanup(easy); }
  };
  template <class Value>
  void set(CURLoption option, Value value);
  void set_address(const Request& request);
  void set_method(const Request& request);
  void set_security(const ServerAddress& server);
  void on_done(CURLcode code) override;
  void on_stale_connection() noexcept override { stale_ = true; }
  [[nodiscard]] Fault fault_of(CURLcode code) const;
  [[nodiscard]] bool has_sent() const;
  [[nodiscard]] Fault connect_fault() const;
  [[nodiscard]] Fault closed_fault() const noexcept;
  static size_t on_header_line(char* line, size_t size, size_t count, void* transfer);
  static size_t on_body_bytes(char* bytes, size_t size, size_t count, void* transfer);

  CurlDriver& driver_;
  const OriginOptions& options_;
  TransferOwner& owner_;
  std::unique_ptr<CURL, FreeEasy> easy_;
  FieldList fields_;
  FieldList resolve_;
  HeadCollector head_;
  Fault fault_ = Fault::None;  // found in a callback
  bool added_ = false;
  bool refused_ = false;  // an option was not taken
  bool stale_ = false;
  bool stopped_ = false;
};

}  // namespace segue::origin
