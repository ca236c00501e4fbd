#include "registry/remote.h"

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include <fmt/core.h>

#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "oci/media_type.h"
#include "registry/error_body.h"

namespace corten::registry {

namespace {

constexpr size_t kMaxListBytes = 16 << 20;
constexpr size_t kMaxListsBytes = 64 << 20;  // of all pages
constexpr int kMaxPages = 10'000;
constexpr int kMirrorAttempts = 2;

std::string manifest_types() {
  return fmt::format("{}, {}, {}, {}", oci::kOciIndex, oci::kOciManifest, oci::kDockerIndex,
                     oci::kDockerManifest);
}

http::Request request_of(std::string method, std::string url) {
  http::Request request{.url = std::move(url), .method = std::move(method)};
  request.any_status = true;
  return request;
}

std::string without_parameters(std::string_view content_type) {
  return to_lower(trim(content_type.substr(0, content_type.find(';'))));
}

// As much of an answer's text as can be had: it says why, and a failure to read it is no news.
std::string some_text(http::Response& response) {
  std::string text(kMaxErrorBytes, '\0');
  size_t size = 0;
  try {
    while (response.body && size < text.size()) {
      const size_t n = response.body->read(text.data() + size, text.size() - size);
      if (n == 0) break;
      size += n;
    }
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kCancelled) throw;
  }
  text.resize(size);
  return text;
}

}  // namespace

std::string next_link(const http::Response& response) {
  for (const auto& [name, value] : response.fields) {
    if (!iequals(name, "Link")) continue;
    const size_t open = value.find('<'), close = value.find('>');
    if (open == std::string::npos || close == std::string::npos || close < open) continue;
    const std::string rest = to_lower(value.substr(close));
    if (rest.find("rel=\"next\"") != std::string::npos || rest.find("rel=next") != std::string::npos)
      return value.substr(open + 1, close - open - 1);
  }
  return {};
}

std::string fallback_tag(const Digest& subject) {
  return replace_all(subject.to_string(), ":", "-");
}

Remote::Remote(Access& access, const Hosts& hosts, RemoteOptions options)
    : access_(access), hosts_(hosts), options_(std::move(options)) {}

std::string Remote::body_of(http::Response& response, size_t max_bytes) {
  if (response.size && *response.size > max_bytes)
    fail(ErrorCode::kInvalid, "{}: an answer of {} bytes; at most {} are taken", response.url, *response.size,
         max_bytes);
  return archive::read_rest(*response.body, max_bytes);
}

uint32_t Remote::random() const {
  uint32_t value = 0;
  if (getrandom(&value, sizeof value, GRND_NONBLOCK) != sizeof value) return 0;
  return value;
}

void Remote::pause(int64_t milliseconds) const {
  constexpr int64_t kSlice = 50;
  for (int64_t left = milliseconds; left > 0; left -= kSlice) {
    options_.cancellation.check();
    std::this_thread::sleep_for(std::chrono::milliseconds(std::min(left, kSlice)));
  }
}

void Remote::warn_once(const std::string& text) {
  std::lock_guard lock(mutex_);
  if (warned_.size() < 100 && warned_.insert(text).second && options_.warn) options_.warn(text);
}

// Warning: 299 - "text" is for people (spec, "Warnings").
void Remote::hear_warnings(const http::Response& response) {
  for (const auto& [name, value] : response.fields) {
    if (!iequals(name, "Warning") || !value.starts_with("299")) continue;
    const size_t open = value.find('"'), close = value.rfind('"');
    if (open == std::string::npos || close <= open + 1) continue;
    warn_once(printable(value.substr(open + 1, std::min<size_t>(close - open - 1, 500))));
  }
}

http::Response Remote::ask(const Endpoint& endpoint, const http::Request& request,
                           const std::vector<std::string>& scopes) {
  const int attempts = endpoint.is_mirror ? kMirrorAttempts : options_.retry.attempts;
  for (int attempt = 1;; attempt++) {
    options_.cancellation.check();
    int64_t wait = 0;
    try {
      http::Response response = access_.send(endpoint, request, scopes);
      if (!is_worth_a_retry(response.status) || attempt >= attempts) {
        hear_warnings(response);
        return response;
      }
      wait = pause_after(response, attempt, options_.retry, SystemClock().now_s(), random());
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kIo || !error.hint().empty() || attempt >= attempts) throw;
      // Nobody listens there: that is rarely one of the network's moods.
      if (error.system_errno() == ECONNREFUSED && attempt > 1) throw;
      wait = pause_after(attempt, options_.retry, random());
    }
    pause(wait);
  }
}

std::string Remote::ask_whole(const Endpoint& endpoint, const http::Request& request,
                              const std::vector<std::string>& scopes, size_t max_bytes,
                              http::Response& response) {
  for (int attempt = 1;; attempt++) {
    response = ask(endpoint, request, scopes);
    if (response.status != 200) return {};  // refused() reads it
    try {
      return body_of(response, max_bytes);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kIo || attempt >= options_.retry.attempts) throw;
    }
    pause(pause_after(attempt, options_.retry, random()));
  }
}

Error Remote::refused(const Endpoint& endpoint, const std::string& what, http::Response& response,
                      const std::vector<std::string>& scopes) const {
  const std::string text = error_text(some_text(response));
  if (response.status == 401 || response.status == 403) {
    Error error = access_.refusal(endpoint, response.status, text, scopes);
    error.add_context(what);
    return error;
  }
  const std::string message = fmt::format("{}: {} answered {}{}{}", what, endpoint.authority, response.status,
                                          text.empty() ? "" : ": ", text);
  switch (response.status) {
    case 404:
      return Error(ErrorCode::kNotFound, message)
          .with_hint("look at the name and the tag; some registries say so too when you are not logged in");
    case 405:
      return Error(ErrorCode::kUnsupported, message).with_hint("this registry does not offer it");
    case 413:
      return Error(ErrorCode::kNoSpace, message)
          .with_hint(
              "the registry, or a proxy before it, takes no bodies of this size: raise its limit "
              "(nginx: client_max_body_size 0)");
    case 429:
      return Error(ErrorCode::kIo, message)
          .with_hint("this is a rate limit: log in, use a mirror, or try again later");
    default:
      return Error(is_worth_a_retry(response.status) ? ErrorCode::kIo : ErrorCode::kFailed, message);
  }
}

void Remote::from_any(const oci::Reference& reference, const std::function<void(const Endpoint&)>& f) {
  const std::vector<Endpoint> endpoints = hosts_.endpoints(reference, false);
  for (size_t i = 0; i < endpoints.size(); i++) {
    const bool is_last = i + 1 == endpoints.size();
    const std::string mirror = endpoints[i].base();
    {
      std::lock_guard lock(mutex_);
      if (!is_last && failing_mirrors_.contains(mirror)) continue;
    }
    try {
      return f(endpoints[i]);
    } catch (const Error& error) {
      if (is_last || error.code() == ErrorCode::kCancelled) throw;
      if (error.code() == ErrorCode::kIo) {
        std::lock_guard lock(mutex_);
        failing_mirrors_.insert(mirror);
      }
      if (error.code() != ErrorCode::kNotFound)
        warn_once(fmt::format("mirror {}: {}; asking the next one", endpoints[i].authority, error.what()));
    }
  }
  fail(ErrorCode::kNotFound, "{}: no server is known for it", reference.registry());
}

Endpoint Remote::to_push(const oci::Reference& reference) const {
  std::vector<Endpoint> endpoints = hosts_.endpoints(reference, true);
  if (endpoints.empty())
    fail(ErrorCode::kPermission, "{}: nothing may be pushed there", reference.registry());
  return endpoints.back();
}

std::optional<oci::Descriptor> Remote::find(const oci::Reference& reference, bool* is_lent) {
  std::optional<oci::Descriptor> found;
  from_any(reference, [&](const Endpoint& endpoint) {
    const std::vector<std::string> scopes = {repository_scope(endpoint.repository, "pull")};
    http::Request request =
        request_of("HEAD", fmt::format("/{}/manifests/{}", endpoint.repository, reference.manifest_part()));
    request.fields.emplace_back("Accept", manifest_types());
    http::Response response = ask(endpoint, request, scopes);
    if (response.status == 404) {
      if (endpoint.is_mirror) throw refused(endpoint, reference.familiar(), response, scopes);
      return;
    }
    if (response.status != 200) throw refused(endpoint, reference.familiar(), response, scopes);
    if (is_lent) *is_lent = !response.field(kLentField).empty();
    const std::string named = response.field("Docker-Content-Digest");
    const auto digest = Digest::try_parse(named);
    if (reference.digest() && digest && *digest != *reference.digest())
      fail(ErrorCode::kCorrupt, "{}: {} answers with {}", reference.familiar(), endpoint.authority, named);
    if (!digest && !reference.digest()) {  // an old registry: the bytes tell
      found = manifest(reference).descriptor;
      return;
    }
    found.emplace();
    found->media_type = without_parameters(response.content_type);
    found->digest = reference.digest() ? *reference.digest() : *digest;
    found->size = response.size.value_or(0);
  });
  return found;
}

RemoteManifest Remote::manifest(const oci::Reference& reference) {
  RemoteManifest found;
  from_any(reference, [&](const Endpoint& endpoint) {
    const std::vector<std::string> scopes = {repository_scope(endpoint.repository, "pull")};
    http::Request request =
        request_of("GET", fmt::format("/{}/manifests/{}", endpoint.repository, reference.manifest_part()));
    request.fields.emplace_back("Accept", manifest_types());
    http::Response response;
    std::string bytes = ask_whole(endpoint, request, scopes, oci::kMaxManifestBytes, response);
    if (response.status != 200) throw refused(endpoint, reference.familiar(), response, scopes);
    const Digest digest = Digest::of(bytes);
    if (reference.digest() && digest != *reference.digest())
      fail(ErrorCode::kCorrupt, "{}: {} gave a manifest with the digest {}", reference.familiar(),
           endpoint.authority, digest.to_string());
    if (auto said = Digest::try_parse(response.field("Docker-Content-Digest")); said && *said != digest)
      fail(ErrorCode::kCorrupt, "{}: {} says {} of a manifest with the digest {}", reference.familiar(),
           endpoint.authority, said->to_string(), digest.to_string());
    const std::string type = without_parameters(response.content_type);
    const bool is_told = type.starts_with("application/vnd.");
    found.descriptor = oci::describe(oci::detect_manifest_type(bytes, is_told ? type : std::string()), bytes);
    found.bytes = std::move(bytes);
  });
  return found;
}

bool Remote::has_blob(const oci::Reference& repository, const Digest& digest) {
  const Endpoint endpoint = to_push(repository);
  const std::vector<std::string> scopes = {repository_scope(endpoint.repository, "pull")};
  http::Response response =
      ask(endpoint, request_of("HEAD", fmt::format("/{}/blobs/{}", endpoint.repository, digest.to_string())),
          scopes);
  if (response.status == 200) return true;
  if (response.status == 404) return false;
  throw refused(endpoint, "blob " + digest.to_string(), response, scopes);
}

// --- Lists ---

std::vector<std::string> Remote::all_pages(const Endpoint& endpoint, const std::string& path,
                                           const std::vector<std::string>& scopes, bool& is_there,
                                           http::Fields* fields) {
  std::vector<std::string> pages;
  std::set<std::string> seen;
  std::string url = path;
  size_t total_bytes = 0;
  for (int page = 0; page < kMaxPages; page++) {
    http::Request request = request_of("GET", url);
    request.follows_redirects = false;
    http::Response response;
    std::string bytes = ask_whole(endpoint, request, scopes, kMaxListBytes, response);
    if (response.status != 200) {
      is_there = false;
      if (response.status == 404) return {};
      throw refused(endpoint, path, response, scopes);
    }
    is_there = true;
    if (fields && page == 0) *fields = response.fields;
    total_bytes += bytes.size();
    if (total_bytes > kMaxListsBytes ||
        (!pages.empty() && bytes == pages.back() && !next_link(response).empty()))
      fail(ErrorCode::kFailed, "{}: {} does not end its list", path, endpoint.authority);
    pages.push_back(std::move(bytes));
    const std::string next = next_link(response);
    if (next.empty()) return pages;
    http::Response link;
    link.url = response.url;
    link.fields = {{"Location", next}};
    url = access_.resolve_location(endpoint, link);
    if (!seen.insert(url).second)
      fail(ErrorCode::kFailed, "{}: {} names the same next page again and again", path, endpoint.authority);
  }
  fail(ErrorCode::kFailed, "{}: more than {} pages", path, kMaxPages);
}

std::vector<std::string> Remote::tags(const oci::Reference& repository) {
  const Endpoint endpoint = hosts_.endpoints(repository, false).back();
  const std::vector<std::string> scopes = {repository_scope(endpoint.repository, "pull")};
  bool is_there = false;
  std::vector<std::string> tags;
  std::set<std::string> seen;
  for (const std::string& page :
       all_pages(endpoint, fmt::format("/{}/tags/list?n=1000", endpoint.repository), scopes, is_there))
    for (std::string& tag : Json::parse(page, kMaxListBytes).get_strings("tags"))
      if (oci::is_valid_tag(tag) && seen.insert(tag).second) tags.push_back(std::move(tag));
  if (!is_there) fail(ErrorCode::kNotFound, "{}: there is no such repository", repository.familiar());
  return tags;
}

oci::Index Remote::referrers(const oci::Reference& repository, const Digest& digest,
                             const std::string& artifact_type) {
  const Endpoint endpoint = hosts_.endpoints(repository, false).back();
  const std::vector<std::string> scopes = {repository_scope(endpoint.repository, "pull")};
  std::string path = fmt::format("/{}/referrers/{}", endpoint.repository, digest.to_string());
  if (!artifact_type.empty()) path += "?artifactType=" + http::percent_encode(artifact_type);
  oci::Index all;
  bool is_there = false;
  std::vector<std::string> pages;
  try {
    pages = all_pages(endpoint, path, scopes, is_there);
  } catch (const Error& error) {
    // GHCR answers 303, 401 or 429 instead of 404 here.
    if (error.code() == ErrorCode::kCancelled || error.code() == ErrorCode::kInvalid) throw;
  }
  if (is_there) {
    for (const std::string& page : pages)
      for (oci::Descriptor& entry : oci::parse_index(page).manifests)
        all.manifests.push_back(std::move(entry));
  } else {
    const oci::Reference tag = repository.repository_only().with_tag(fallback_tag(digest));
    try {
      RemoteManifest found = manifest(tag);
      if (oci::is_index_type(found.descriptor.media_type)) all = oci::parse_index(found.bytes);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kNotFound) throw;
    }
  }
  if (!artifact_type.empty())
    std::erase_if(all.manifests,
                  [&](const oci::Descriptor& entry) { return entry.artifact_type != artifact_type; });
  return all;
}

// --- Manifests to a registry ---

void Remote::put_manifest(const oci::Reference& reference, std::string_view bytes,
                          const std::string& media_type) {
  const Endpoint endpoint = to_push(reference);
  const std::vector<std::string> scopes = {repository_scope(endpoint.repository, "pull,push")};
  const Digest digest = Digest::of(bytes);
  const std::string part = reference.tag().empty() ? digest.to_string() : reference.tag();
  http::Request request = request_of("PUT", fmt::format("/{}/manifests/{}", endpoint.repository, part));
  request.fields.emplace_back("Content-Type", media_type);
  request.body = http::RequestBody::of(std::string(bytes));
  http::Response response = ask(endpoint, request, scopes);
  if (response.status != 201 && response.status != 200 && response.status != 202)
    throw refused(endpoint, fmt::format("push {}", reference.familiar()), response, scopes);
  some_text(response);  // so that the connection can be used again
  if (auto said = Digest::try_parse(response.field("Docker-Content-Digest")); said && *said != digest)
    fail(ErrorCode::kCorrupt, "push {}: {} stored it as {}, it is {}", reference.familiar(),
         endpoint.authority, said->to_string(), digest.to_string());
  if (!response.field("OCI-Subject").empty()) return;
  std::optional<oci::Descriptor> subject;
  oci::Descriptor entry = oci::describe(media_type, bytes);
  if (oci::is_index_type(media_type)) {
    const oci::Index index = oci::parse_index(bytes, media_type);
    subject = index.subject;
    entry.artifact_type = index.artifact_type;
    entry.annotations = index.annotations;
  } else {
    const oci::Manifest manifest = oci::parse_manifest(bytes, media_type);
    subject = manifest.subject;
    entry.artifact_type =
        manifest.artifact_type.empty() ? manifest.config.media_type : manifest.artifact_type;
    entry.annotations = manifest.annotations;
  }
  if (subject) add_fallback_referrer(reference, subject->digest, entry);
}

// Two who do this at one time may lose one's entry where the registry has no If-Match: so it is read back.
void Remote::add_fallback_referrer(const oci::Reference& repository, const Digest& subject,
                                   const oci::Descriptor& entry) {
  const oci::Reference tag = repository.repository_only().with_tag(fallback_tag(subject));
  const auto has = [&](const oci::Index& index) {
    return std::any_of(index.manifests.begin(), index.manifests.end(),
                       [&](const oci::Descriptor& known) { return known.digest == entry.digest; });
  };
  for (int attempt = 1; attempt <= options_.retry.attempts; attempt++) {
    oci::Index index;
    try {
      RemoteManifest found = manifest(tag);
      if (!oci::is_index_type(found.descriptor.media_type))
        fail(ErrorCode::kExists, "{}: this tag is for what refers to an image, and holds something else",
             tag.familiar());
      index = oci::parse_index(found.bytes);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kNotFound) throw;
    }
    if (has(index)) return;
    index.manifests.push_back(entry);
    index.raw.clear();
    put_manifest(tag, oci::emit_index(index), std::string(oci::kOciIndex));
  }
  fail(ErrorCode::kFailed, "{}: another one keeps writing this tag", tag.familiar());
}

bool Remote::remove_manifest(const oci::Reference& reference) {
  const Endpoint endpoint = to_push(reference);
  const std::vector<std::string> scopes = {repository_scope(endpoint.repository, "pull,delete")};
  http::Response response = ask(
      endpoint,
      request_of("DELETE", fmt::format("/{}/manifests/{}", endpoint.repository, reference.manifest_part())),
      scopes);
  if (response.status == 404) return false;
  if (response.status == 202 || response.status == 200 || response.status == 204) return true;
  throw refused(endpoint, "delete " + reference.familiar(), response, scopes);
}

}  // namespace corten::registry
