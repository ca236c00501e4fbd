// Images from one place to another as they are: manifests keep their bytes, so that digests, signatures and
// what refers to them stay true.
//
// A place to copy from gives documents and blobs by descriptor, one to copy to takes them. Documents are
// walked from the root down and written from the leaves up, so that what a name means is whole at every
// moment. Nothing is held in memory but the documents on the way to the root; a blob between two registries
// lies in a file without a name for as long as it is sent.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "archive/source.h"
#include "base/unique_fd.h"
#include "image/push.h"
#include "oci/index.h"
#include "registry/remote.h"

namespace corten::image {

// Thread-safe.
class CopySource {
 public:
  virtual ~CopySource() = default;
  // What its name means. Error(kNotFound).
  virtual oci::Descriptor root() = 0;
  // A manifest or index, verified.
  virtual std::string document(const oci::Descriptor& document) = 0;
  // The blob into an empty file.
  virtual void write(const oci::Descriptor& blob, int fd, const registry::Meter& meter) = 0;
  // The blob as a file, verified.
  virtual UniqueFd open(const oci::Descriptor& blob) = 0;
  virtual std::vector<oci::Descriptor> referrers(const Digest& subject) = 0;
  // Where it is, if it is a registry.
  virtual const oci::Reference* repository() const { return nullptr; }
};

class CopyTarget {
 public:
  virtual ~CopyTarget() = default;
  // Whether the document and all below it are there; of the root, under its name.
  virtual bool has(const oci::Descriptor& document, bool is_root) = 0;
  virtual registry::Placed place(const oci::Descriptor& blob, CopySource& from,
                                 const registry::Meter& meter) = 0;
  // After all that it names.
  virtual void put(const oci::Descriptor& document, std::string_view bytes, bool is_root) = 0;
};

// `scratch` is a directory for what lies between two registries.
std::unique_ptr<CopySource> copy_from_registry(registry::Remote& remote, oci::Reference reference,
                                               std::string scratch);
// An OCI layout; `name` as oci::find_in_layout takes it. No link is followed.
std::unique_ptr<CopySource> copy_from_layout(const std::string& directory, std::string name);
// Under the reference's tag, or by digest alone when it has none. Error(kInvalid) when it has a digest and
// something else comes.
std::unique_ptr<CopyTarget> copy_to_registry(registry::Remote& remote, oci::Reference reference);
// A layout directory, made when it is missing; what else is in it stays. `name`: a tag, a full name, or "".
std::unique_ptr<CopyTarget> copy_to_layout(const std::string& directory, std::string name);

struct CopyOptions {
  std::optional<oci::Platform> platform;  // of an index this one
  bool with_referrers = false;
  unsigned jobs = 4;  // blobs at once
  std::function<void(const oci::Descriptor& blob, uint64_t at, std::optional<registry::Placed> placed)> watch;
};

Pushed copy(CopySource& from, CopyTarget& to, const CopyOptions& options);

// A layout directory as a tar, in path order, with time 0.
void write_layout_archive(const std::string& directory, archive::ByteSink& to);

}  // namespace corten::image
