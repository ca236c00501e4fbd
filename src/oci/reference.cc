// The grammar, from distribution's reference package:
//   reference := name [":" tag] ["@" digest]        name := [domain "/"] path-component ["/" path-component]*
//   domain := (component ["." component]* | "[" IPv6 "]") [":" port]
//   path-component := alnum [(one of . _ __ -+) alnum]*, lower case
// Whether the first part is a domain is guessed as Docker does it: it has a dot or a colon, is "localhost",
// or has a capital.
#include "oci/reference.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"

namespace corten::oci {

namespace {
constexpr std::string_view kDefaultRegistry = "docker.io", kLibrary = "library/";
constexpr size_t kMaxRepositoryBytes = 255;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_lower_alnum(char c) {
  return (c >= 'a' && c <= 'z') || is_digit(c);
}
bool is_alnum(char c) {
  return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

bool is_path_component(std::string_view text) {
  if (text.empty() || !is_lower_alnum(text.front()) || !is_lower_alnum(text.back())) return false;
  for (size_t i = 0; i < text.size();) {
    if (is_lower_alnum(text[i])) {
      i++;
      continue;
    }
    size_t end = i;
    while (!is_lower_alnum(text[end])) end++;
    std::string_view separator = text.substr(i, end - i);
    bool dashes = separator.find_first_not_of('-') == std::string_view::npos;
    if (!dashes && separator != "." && separator != "_" && separator != "__") return false;
    i = end;
  }
  return true;
}

bool is_domain(std::string_view text) {
  std::string_view host = text;
  size_t colon = text.rfind(':');
  if (text.starts_with('[')) {
    size_t close = text.find(']');
    if (close == std::string_view::npos || close == 1) return false;
    host = text.substr(1, close - 1);
    if (host.find_first_not_of("0123456789abcdefABCDEF:") != std::string_view::npos) return false;
    text.remove_prefix(close + 1);
    if (text.empty()) return true;
    if (text[0] != ':') return false;
    colon = 0;
  } else {
    host = text.substr(0, colon);
    for (const std::string& part : split(host, '.')) {
      if (part.empty() || !is_alnum(part.front()) || !is_alnum(part.back())) return false;
      if (!std::all_of(part.begin(), part.end(), [](char c) { return is_alnum(c) || c == '-'; }))
        return false;
    }
  }
  if (colon == std::string_view::npos) return true;
  std::string_view port = text.substr(colon + 1);
  return !port.empty() && std::all_of(port.begin(), port.end(), is_digit);
}

[[noreturn]] void refuse(std::string_view text, std::string_view why) {
  throw Error(ErrorCode::kInvalid, fmt::format("invalid reference format{}{}", why.empty() ? "" : ": ", why))
      .with_context(quote(text))
      .with_hint("a name looks like registry.example.com/team/app:tag, in lower case");
}

bool is_image_id(std::string_view text) {
  return Digest::try_parse("sha256:" + std::string(text)).has_value();
}
}  // namespace

bool is_valid_tag(std::string_view tag) {
  if (tag.empty() || tag.size() > 128 || tag[0] == '.' || tag[0] == '-') return false;
  return std::all_of(tag.begin(), tag.end(),
                     [](char c) { return is_alnum(c) || c == '_' || c == '.' || c == '-'; });
}

bool is_valid_repository(std::string_view repository) {
  if (repository.empty() || repository.size() > kMaxRepositoryBytes) return false;
  std::vector<std::string> parts = split(repository, '/');
  return std::all_of(parts.begin(), parts.end(),
                     [](const std::string& part) { return is_path_component(part); });
}

Reference Reference::parse(std::string_view text) {
  if (is_image_id(text))
    throw Error(ErrorCode::kInvalid,
                fmt::format("invalid repository name ({}), cannot specify 64-byte hexadecimal strings", text))
        .with_hint("to name an image by its id, put sha256: in front");
  Reference result;
  size_t slash = text.find('/');
  std::string_view first = text.substr(0, slash == std::string_view::npos ? 0 : slash), rest = text;
  if (slash != std::string_view::npos && (first.find_first_of(".:") != std::string_view::npos ||
                                          first == "localhost" || to_lower(first) != first)) {
    result.registry_ = first == "index.docker.io" ? kDefaultRegistry : first;
    rest = text.substr(slash + 1);
  } else {
    result.registry_ = kDefaultRegistry;
  }
  if (!is_domain(result.registry_)) refuse(text, "");

  size_t at = rest.find('@');
  if (at != std::string_view::npos) {
    std::string_view digest = rest.substr(at + 1);
    rest = rest.substr(0, at);
    result.digest_ = Digest::try_parse(digest);
    if (!result.digest_) {
      size_t colon = digest.find(':');
      bool other = colon != std::string_view::npos && colon > 0 && digest.substr(0, colon) != "sha256";
      refuse(text, other                           ? "unsupported digest algorithm"
                   : digest.starts_with("sha256:") ? "invalid checksum digest length"
                                                   : "");
    }
  }
  size_t colon = rest.find(':');
  std::string_view name = rest.substr(0, colon);
  if (to_lower(name) != name) refuse(text, fmt::format("repository name ({}) must be lowercase", name));
  if (colon != std::string_view::npos) {
    result.tag_ = rest.substr(colon + 1);
    if (!is_valid_tag(result.tag_)) refuse(text, "");
  }
  bool is_official = result.registry_ == kDefaultRegistry && name.find('/') == std::string_view::npos;
  result.repository_ = (is_official ? std::string(kLibrary) : "") + std::string(name);
  if (result.repository_.size() > kMaxRepositoryBytes)
    refuse(text, fmt::format("repository name must not be more than {} characters", kMaxRepositoryBytes));
  if (!is_valid_repository(result.repository_)) refuse(text, "");
  return result;
}

std::optional<Reference> Reference::try_parse(std::string_view text) {
  try {
    return parse(text);
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::string Reference::api_host() const {
  return registry_ == kDefaultRegistry ? "registry-1.docker.io" : registry_;
}

std::string Reference::manifest_part() const {
  return digest_ ? digest_->to_string() : tag_.empty() ? "latest" : tag_;
}

Reference Reference::with_default_tag() const {
  return tag_.empty() && !digest_ ? with_tag("latest") : *this;
}

Reference Reference::with_tag(std::string_view tag) const {
  if (!is_valid_tag(tag))
    fail(ErrorCode::kInvalid, "invalid tag {}: letters, digits, '_', '.', '-', at most 128", quote(tag));
  Reference result = repository_only();
  result.tag_ = tag;
  return result;
}

Reference Reference::with_digest(const Digest& digest) const {
  Reference result = *this;
  result.digest_ = digest;
  return result;
}

Reference Reference::without_digest() const {
  Reference result = *this;
  result.digest_.reset();
  return result;
}

Reference Reference::repository_only() const {
  Reference result = without_digest();
  result.tag_.clear();
  return result;
}

namespace {
std::string with_suffixes(std::string name, const std::string& tag, const std::optional<Digest>& digest) {
  if (!tag.empty()) name += ":" + tag;
  if (digest) name += "@" + digest->to_string();
  return name;
}
}  // namespace

std::string Reference::to_string() const {
  return with_suffixes(name(), tag_, digest_);
}

std::string Reference::familiar() const {
  if (registry_ != kDefaultRegistry) return to_string();
  std::string_view short_name = repository_;
  if (short_name.starts_with(kLibrary) && short_name.find('/', kLibrary.size()) == std::string_view::npos)
    short_name.remove_prefix(kLibrary.size());
  // docker.io/a.b/c is no a.b/c: that would be another registry's.
  std::string text = with_suffixes(std::string(short_name), tag_, digest_);
  auto again = try_parse(text);
  return again && *again == *this ? text : to_string();
}

}  // namespace corten::oci
