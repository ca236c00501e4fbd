// The name of an image as users write it, and as registries see it (distribution-spec; grammar and defaults
// of github.com/distribution/reference): docker.io and library/ are filled in.
#pragma once
#include <compare>
#include <optional>
#include <string>
#include <string_view>

#include "base/digest.h"

namespace corten::oci {

// Always in normal form: "ubuntu" is docker.io / library/ubuntu. A value.
class Reference {
 public:
  // Error(kInvalid) with Docker's words ("invalid reference format: repository name (library/Foo) must be
  // lowercase"). No tag is added: see with_default_tag().
  static Reference parse(std::string_view text);
  static std::optional<Reference> try_parse(std::string_view text);

  const std::string& registry() const { return registry_; }      // "docker.io", "localhost:5000"
  const std::string& repository() const { return repository_; }  // "library/ubuntu"
  const std::string& tag() const { return tag_; }                // "" when none was given
  const std::optional<Digest>& digest() const { return digest_; }

  // The host that serves the API: registry-1.docker.io for docker.io.
  std::string api_host() const;
  // The digest when there is one, else the tag, else "latest": what follows /manifests/.
  std::string manifest_part() const;

  // Adds "latest" when there is neither tag nor digest.
  Reference with_default_tag() const;
  Reference with_tag(std::string_view tag) const;  // drops the digest; Error(kInvalid) for a bad tag
  Reference with_digest(const Digest& digest) const;
  Reference without_digest() const;
  Reference repository_only() const;

  std::string name() const { return registry_ + "/" + repository_; }  // docker.io/library/ubuntu
  std::string to_string() const;  // docker.io/library/ubuntu:22.04@sha256:...
  std::string familiar() const;   // ubuntu:22.04@sha256:...

  auto operator<=>(const Reference&) const = default;

 private:
  std::string registry_, repository_, tag_;
  std::optional<Digest> digest_;
};

bool is_valid_tag(std::string_view tag);                // [A-Za-z0-9_][A-Za-z0-9._-]{0,127}
bool is_valid_repository(std::string_view repository);  // lower-case path components

}  // namespace corten::oci
