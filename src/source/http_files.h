// A file from an http(s) address, kept in the store and asked for again only as far as needed: BuildKit's
// http source (dockerfile-features 1.10).
//
// What a server says about a file (ETag, Last-Modified) is remembered with the digest of what it sent. The
// next build asks with these; "unchanged" costs one round trip. With a checksum that the store has, nothing
// is asked at all. Keys of steps hold the digest, never what a server says.
#pragma once
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "http/client.h"
#include "store/store.h"

namespace corten::source {

struct HttpAccess {
  // HTTP_AUTH_TOKEN_HOST, HTTP_AUTH_HEADER_HOST
  std::function<std::optional<std::string>(const std::string& id)> secret;
  uint64_t max_bytes = uint64_t{8} << 30;
};

struct HttpFile {
  Digest content;  // in the store
  uint64_t size = 0;
  std::optional<int64_t> modified;  // seconds, by Last-Modified
};

// Thread-safe. Each address is asked for once in the life of an object.
class HttpFiles {
 public:
  HttpFiles(store::Store& store, http::ClientOptions options, HttpAccess access);

  struct Options {
    std::optional<Digest> checksum;
    bool needs_time = false;  // `modified` counts: a content that came from elsewhere will not do
    std::function<void(std::string_view)> note;  // "fetching https://..."
    std::function<void(uint64_t current, uint64_t total)>
        progress;  // bytes on the wire; total 0 when unknown
  };
  // Errors name the address; Error(kCorrupt) `digest mismatch for URL: X (expected: Y)`, Error(kInvalid) for
  // a file that is too large.
  HttpFile fetch(const std::string& url, const Options& options);

 private:
  struct Known {
    HttpFile file;
    std::string etag, last_modified;
  };
  std::optional<Known> recall(const Digest& key);
  void remember(const Digest& key, const std::string& shown, const Known& known);
  Known ask(const std::string& url, const Digest& key, const Options& options);

  store::Store& store_;
  Cancellation cancellation_;
  http::Client client_;
  HttpAccess access_;
  std::mutex mutex_;
  std::map<std::string, Known> asked_;
};

// The name that ADD gives a file: the last component of the address's path, decoded; `__unnamed__` when it
// has none, `download` when it holds control characters.
std::string http_file_name(std::string_view url);

}  // namespace corten::source
