// Requests to a registry's server that are sent again when that may help, and what its answers mean.
//
// A request that may be sent again is, after a pause, when the connection fails or the answer is one that may
// pass (retry.h); a Retry-After is obeyed. Mirrors are tried twice: the next is there. Lists are read to
// their end, however many pages they have, unless they never end.
#pragma once
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "registry/access.h"
#include "registry/retry.h"

namespace corten::registry {

// Thread-safe. `access` is borrowed.
class Asker {
 public:
  struct Options {
    RetryRules retry = {};
    Cancellation cancellation = {};
    std::function<void(const std::string&)> warn = {};  // a line for people; from any thread
  };
  Asker(Access& access, Options options) : access_(access), options_(std::move(options)) {}

  enum class Again { kWhatMayPass, kCutConnections };  // the latter: every status is final
  // Every status that is final is an answer.
  http::Response ask(const Endpoint& endpoint, const http::Request& request,
                     const std::vector<std::string>& scopes, Again again = Again::kWhatMayPass);
  // The body of a 200, asked for once more when the connection ends in the middle of it; "" for another
  // status, whose body is still to be read (refused()).
  std::string ask_whole(const Endpoint& endpoint, const http::Request& request,
                        const std::vector<std::string>& scopes, size_t max_bytes, http::Response& response);
  // Each page of a list (spec, "Content Discovery"), as far as Link fields lead; nothing for a 404.
  std::optional<std::vector<std::string>> all_pages(const Endpoint& endpoint, const std::string& path,
                                                    const std::vector<std::string>& scopes);
  // What a status means that is no success, with the registry's own words.
  Error refused(const Endpoint& endpoint, const std::string& what, http::Response& response,
                const std::vector<std::string>& scopes) const;

  int64_t pause_after(int attempt) const;
  int64_t pause_after(const http::Response& answer, int attempt) const;
  void pause(int64_t milliseconds) const { wait_for_retry(milliseconds, options_.cancellation); }
  void warn_once(const std::string& text);
  const Options& options() const { return options_; }

 private:
  void hear_warnings(const http::Response& response);

  Access& access_;
  Options options_;
  std::mutex mutex_;
  std::set<std::string> warned_;
};

inline constexpr size_t kMaxListBytes = 16 << 20;  // of one page
// Every status is an answer; `path` is one behind the endpoint's prefix.
http::Request request_of(std::string method, std::string path);
// What is sent as Accept for a manifest.
std::string manifest_types();
// The answer's body, read to its end, at most `max_bytes`: Error(kInvalid) beyond.
std::string body_of(http::Response& response, size_t max_bytes);
// As much of an answer's text as can be had: it says why, and a failure to read it is no news.
std::string some_text(http::Response& response);
// What an answer's Link field names as the next page (RFC 8288), or "".
std::string next_link(const http::Response& response);

}  // namespace corten::registry
