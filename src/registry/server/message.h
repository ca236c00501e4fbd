// What passes between a connection and the service: a request's head, what takes its body, an answer.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "registry/server/grants.h"
#include "registry/server/request_target.h"

namespace corten::registry::serving {

using Fields = std::vector<std::pair<std::string, std::string>>;

struct RequestHead {
  std::string method;  // as it was sent
  Target target;
  Fields fields;
  std::optional<uint64_t> content_length;
  bool has_body = false;  // a length above nought, or chunks
  std::string peer;       // the client's address
  std::string user = {};  // who it is, and what that one may do: known once the service has begun the request
  Grants grants = {};

  // The first of that name (in any case), or "".
  std::string_view field(std::string_view name) const;
};

class ComingBlob;

// A part of a file, sent by sendfile(2) where the connection is plain.
struct FileBody {
  std::shared_ptr<const UniqueFd> file;
  uint64_t offset = 0, size = 0;
  std::shared_ptr<ComingBlob> coming = {};  // set: the file still grows
};

struct Answer {
  unsigned status = 200;
  Fields fields = {};
  std::string body = {};
  std::optional<FileBody> file = {};  // instead of `body`
};

// May be called once, on any thread, also after the client has gone.
using Reply = std::function<void(Answer)>;

// One request in the making. Its functions are called on the connection's thread; it is destroyed when the
// client goes away before the end.
class Call {
 public:
  virtual ~Call() = default;
  // What is to be answered without waiting for the body (which is read and dropped, or the connection ends).
  virtual std::optional<Answer> on_begin() { return std::nullopt; }
  // The same, in the middle of the body.
  virtual std::optional<Answer> on_body(std::string_view) { return std::nullopt; }
  virtual void on_end(Reply reply) = 0;
};

// distribution-spec, "Error Codes": {"errors":[{"code","message","detail"}]}.
Answer refuse(unsigned status, std::string_view code, std::string_view message, std::string_view detail = {});
Answer json_answer(std::string body, std::string_view content_type = "application/json");

}  // namespace corten::registry::serving
