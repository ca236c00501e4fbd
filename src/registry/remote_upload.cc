// Blobs to a registry (spec, "Pushing blobs").
//
// A blob is looked for (HEAD), mounted from another repository (POST ?mount=), or sent: POST opens a session,
// a small blob is the body of the PUT that closes it, a large one of PATCHes, the first of which has all of
// it, as Docker sends it. When that fails the session is asked where it stands (GET) and the upload goes on
// from there, with Content-Range; a session that is gone, or that fails again and again, is opened anew. A
// 413 makes the pieces smaller. Failures count over all sessions of a blob until more of it is there than
// ever was: a server that takes bytes and loses them, or takes them one by one, is given up in the end.
#include <fmt/core.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"
#include "registry/remote.h"

namespace corten::registry {

namespace {

constexpr uint64_t kOneRequest = 4 << 20;              // up to this size a blob is sent with the PUT itself
constexpr uint64_t kPieces[] = {64 << 20, 900 << 10};  // after a first and a second 413
constexpr int kMostSessions = 4;
constexpr int kMostFailuresOfASession = 3;  // without progress: the session itself may be what is broken
constexpr uint64_t kProgress = 64 << 10;

// "0-99": what the server has, as a count of bytes. A session without a byte is "0-0" or "bytes=0-0" for
// some, which cannot be told from one byte: it counts as none.
std::optional<uint64_t> bytes_there(const std::string& range) {
  const std::string text = range.starts_with("bytes=") ? range.substr(6) : range;
  const size_t dash = text.find('-');
  if (dash == std::string::npos) return std::nullopt;
  const auto first = parse_int(trim(text.substr(0, dash))), last = parse_int(trim(text.substr(dash + 1)));
  if (!first || *first != 0 || !last || *last < -1) return std::nullopt;
  return *last <= 0 ? 0 : static_cast<uint64_t>(*last) + 1;
}

std::string with_query(const std::string& location, const std::string& query) {
  return location + (location.find('?') == std::string::npos ? "?" : "&") + query;
}

// Tells how far it has been read.
class MeteredSource : public archive::ByteSource {
 public:
  MeteredSource(std::unique_ptr<archive::ByteSource> from, uint64_t at, const Meter& meter)
      : from_(std::move(from)), at_(at), meter_(meter) {}
  size_t read(void* data, size_t size) override {
    const size_t n = from_->read(data, size);
    at_ += n;
    if (meter_) meter_(at_);
    return n;
  }

 private:
  std::unique_ptr<archive::ByteSource> from_;
  uint64_t at_;
  const Meter& meter_;
};

}  // namespace

// What the sessions of one blob have in common.
struct Remote::Sending {
  uint64_t furthest = 0;  // that a server ever had
  int failures = 0;       // since then
  int rejections = 0;     // of what had been sent
  uint64_t piece = 0;     // 0: the rest in one
  size_t too_large = 0;   // how many of kPieces were
  std::optional<Error> last;
};

// One upload session at a server.
struct Remote::Upload {
  Remote& remote;
  const Endpoint& endpoint;
  const OutgoingBlob& blob;
  const std::vector<std::string>& scopes;
  const Meter& meter;
  Sending& all;
  std::string location;
  uint64_t at = 0;  // what the server has
  uint64_t least_piece = 0;
  int failures = 0;

  enum class Step { kGoOn, kDone, kAnew };

  std::string what() const { return "push blob " + blob.descriptor.digest.to_string(); }

  http::RequestBody body(uint64_t size) const {
    return {size,
            [this, from = at] { return std::make_unique<MeteredSource>(blob.open(from), from, meter); }};
  }

  // No retries of its own: after a failure the server is asked where it stands.
  http::Response send(http::Request request) {
    request.any_status = true;
    return remote.access_.send(endpoint, std::move(request), scopes);
  }

  void take_location(const http::Response& response) {
    if (!response.field("Location").empty()) location = remote.access_.resolve_location(endpoint, response);
  }

  void note_progress() {
    if (at < all.furthest + kProgress && (at <= all.furthest || at < blob.descriptor.size)) return;
    all.furthest = at;
    all.failures = failures = 0;
  }

  // Another failure; whether this session is worth another try. Throws when nothing is.
  bool is_worth_more() {
    if (++all.failures >= remote.asker_.options().retry.attempts) {
      if (all.last) throw Error(*all.last);
      fail(ErrorCode::kIo, "{}: {} loses what it is sent", what(), endpoint.authority);
    }
    return ++failures < kMostFailuresOfASession;
  }

  Step failed(Error error) {
    if (error.code() != ErrorCode::kIo || !error.hint().empty()) throw error;
    error.add_context(what());
    all.last = std::move(error);
    if (!is_worth_more()) return Step::kAnew;
    return look(remote.asker_.pause_after(all.failures));
  }

  // Where does it stand?
  Step look(int64_t wait_ms) {
    remote.asker_.pause(wait_ms);
    http::Request request{.url = location, .method = "GET"};
    request.any_status = true;
    http::Response response = remote.asker_.ask(endpoint, request, scopes);
    // A session that ended without our hearing of it has left the blob.
    if (response.status >= 400) return Step::kAnew;
    take_location(response);
    const auto there = bytes_there(response.field("Range"));
    if (!there || *there > blob.descriptor.size) return Step::kAnew;
    at = *there;
    note_progress();
    if (meter) meter(at);
    return Step::kGoOn;
  }

  // After an answer that is no success to `size` bytes.
  Step after(http::Response& response, uint64_t size) {
    if (response.status == 413) {
      while (all.too_large < std::size(kPieces) && kPieces[all.too_large] >= size) all.too_large++;
      if (all.too_large == std::size(kPieces) || kPieces[all.too_large] < least_piece)
        throw remote.asker_.refused(endpoint, what(), response, scopes);
      all.piece = kPieces[all.too_large++];
      return look(0);
    }
    // 409: the server still hears the request that was cut.
    const bool may_pass = is_worth_a_retry(response.status) || response.status == 409;
    const int64_t wait_ms = may_pass ? remote.asker_.pause_after(response, all.failures + 1) : 0;
    Error error = remote.asker_.refused(endpoint, what(), response, scopes);
    const unsigned status = response.status;
    // The session vanished, or has lost or damaged what it was given. What is refused as wrong twice is.
    const bool is_lost = status == 404 || status == 416 || (status == 400 && ++all.rejections < 2);
    if (!may_pass && !is_lost) throw error;
    all.last = std::move(error);
    if (!is_worth_more() || status == 404 || status == 400) return Step::kAnew;
    return look(wait_ms);
  }

  Step patch() {
    const uint64_t rest = blob.descriptor.size - at;
    const uint64_t size = all.piece == 0 ? rest : std::min(rest, std::max(all.piece, least_piece));
    http::Request request{.url = location, .method = "PATCH"};
    request.fields.emplace_back("Content-Type", "application/octet-stream");
    if (at > 0 || size < rest)
      request.fields.emplace_back("Content-Range", fmt::format("{}-{}", at, at + size - 1));
    request.body = body(size);
    http::Response response;
    try {
      response = send(request);
    } catch (const Error& error) {
      return failed(error);
    }
    if (response.status != 202 && response.status != 201 && response.status != 204)
      return after(response, size);
    take_location(response);
    const auto there = bytes_there(response.field("Range"));
    const uint64_t sent = at + size;
    at = there && *there < sent ? *there : sent;  // it may have lost the end
    note_progress();
    return at == sent || is_worth_more() ? Step::kGoOn : Step::kAnew;
  }

  Step put() {
    http::Request request{
        .url = with_query(location, "digest=" + http::percent_encode(blob.descriptor.digest.to_string())),
        .method = "PUT"};
    request.fields.emplace_back("Content-Type", "application/octet-stream");
    const uint64_t size = blob.descriptor.size - at;
    request.body = body(size);
    http::Response response;
    try {
      response = send(request);
    } catch (const Error& error) {
      return failed(error);
    }
    if (response.status == 201 || response.status == 204) return Step::kDone;
    return after(response, size);
  }

  Step run() {
    while (true) {
      remote.asker_.options().cancellation.check();
      const bool is_small = all.piece == 0 && blob.descriptor.size - at <= kOneRequest;
      const Step step = at == blob.descriptor.size || is_small ? put() : patch();
      if (step != Step::kGoOn) return step;
    }
  }
};

Placed Remote::push_blob(const oci::Reference& repository, const OutgoingBlob& blob, const Meter& meter) {
  const Endpoint endpoint = to_push(repository);
  const std::string digest = blob.descriptor.digest.to_string();
  const std::string what = "push blob " + digest;
  std::vector<std::string> scopes = {repository_scope(endpoint.repository, "pull,push")};
  auto is_there = [&] {
    http::Request request{.url = fmt::format("/{}/blobs/{}", endpoint.repository, digest), .method = "HEAD"};
    request.any_status = true;
    const http::Response response = asker_.ask(endpoint, request, scopes);
    return response.status == 200 && (!response.size || *response.size == blob.descriptor.size);
  };
  if (is_there()) return Placed::kThere;
  const std::string uploads = fmt::format("/{}/blobs/uploads/", endpoint.repository);
  std::optional<http::Response> opened;
  for (const std::string& source : blob.mount_from) {
    if (source == endpoint.repository) continue;
    http::Request request{.url = fmt::format("{}?mount={}&from={}", uploads, http::percent_encode(digest),
                                             http::percent_encode(source, "/")),
                          .method = "POST"};
    request.any_status = true;
    std::vector<std::string> both = scopes;
    both.push_back(repository_scope(source, "pull"));
    http::Response response;
    try {
      response = asker_.ask(endpoint, request, both);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kPermission) throw;
      continue;  // not ours to read: then it is sent
    }
    if (response.status == 201) return Placed::kMounted;
    if (response.status == 202) {
      opened = std::move(response);
      break;
    }
  }
  Sending all;
  for (int session = 0; session < kMostSessions; session++) {
    if (!opened) {
      http::Request request{.url = uploads, .method = "POST"};
      request.any_status = true;
      opened = asker_.ask(endpoint, request, scopes);
    }
    if (opened->status != 202) throw asker_.refused(endpoint, what, *opened, scopes);
    if (opened->field("Location").empty())
      fail(ErrorCode::kFailed, "{}: {} opened an upload without saying where", what, endpoint.authority);
    Upload upload{*this, endpoint, blob, scopes, meter, all, access_.resolve_location(endpoint, *opened)};
    if (auto least = parse_int(opened->field("OCI-Chunk-Min-Length")); least && *least > 0)
      upload.least_piece = static_cast<uint64_t>(*least);
    opened.reset();
    if (upload.run() == Upload::Step::kDone) return Placed::kSent;
    if (is_there()) return Placed::kSent;  // it was finished without our hearing of it
    asker_.pause(asker_.pause_after(session + 1));
  }
  throw Error(ErrorCode::kIo,
              fmt::format("{}: {} gave up {} uploads of it{}", what, endpoint.authority, kMostSessions,
                          all.last ? "; the last: " + all.last->message() : ""))
      .with_hint("try again; if it stays so, look at the log of the registry or of the proxy before it");
}

}  // namespace corten::registry
