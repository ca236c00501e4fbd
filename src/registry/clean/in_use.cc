#include "registry/clean/in_use.h"

#include "base/strings.h"
#include "oci/reference.h"

namespace corten::registry::clean {

namespace {

bool is_hex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

// What may stand in a name of an image.
bool is_of_a_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
         c == '_' || c == '/' || c == ':' || c == '@' || c == '+';
}

void add_digests(std::string_view text, InUse& to) {
  for (std::string_view algorithm : {std::string_view("sha256:"), std::string_view("sha512:")}) {
    size_t length = algorithm == "sha256:" ? 64 : 128;
    for (size_t at = text.find(algorithm); at != std::string_view::npos; at = text.find(algorithm, at + 1)) {
      size_t end = at + algorithm.size();
      while (end < text.size() && is_hex(text[end])) end++;
      if (end - at - algorithm.size() != length) continue;
      to.digests.insert(std::string(text.substr(at, end - at)));
      to.names_images = true;
    }
  }
}

}  // namespace

void add_in_use(std::string_view text, const std::string& repository, InUse& to) {
  add_digests(text, to);
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    while (end < text.size() && is_of_a_name(text[end])) end++;
    std::string_view word = text.substr(at, end - at);
    at = end + 1;
    if (word.size() < 3 || word.size() > 1024) continue;
    if (size_t scheme = word.find("://"); scheme != std::string_view::npos) word.remove_prefix(scheme + 3);
    auto reference = oci::Reference::try_parse(word);
    if (!reference || reference->name() != repository) continue;
    to.names_images = true;
    to.tags.insert(reference->tag().empty() && !reference->digest() ? "latest" : reference->tag());
  }
  to.tags.erase("");
}

}  // namespace corten::registry::clean
