// What is mounted into a container: directories of the machine, named volumes of the store, volumes of the
// image.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/path.h"
#include "store/store.h"

namespace corten::container {

struct Volume {
  enum class Kind { kBind, kNamed, kAnonymous, kTmpfs };
  Kind kind = Kind::kBind;
  std::string
      source;  // a host path, a volume's name; for kAnonymous the directory's number in the container's own
  RootfsPath target;
  bool read_only = false;
  bool copy = true;         // an empty volume starts with what the image has there
  uint64_t size_bytes = 0;  // of a tmpfs; 0: the kernel's default
  bool operator==(const Volume&) const = default;
};

// `-v` as Docker reads it: HOST:CONTAINER[:OPTIONS], NAME:CONTAINER[:OPTIONS], CONTAINER. Relative host paths
// (./x) are taken from our working directory. Error(kUsage).
Volume parse_volume(std::string_view text);
// `--tmpfs PATH[:OPTIONS]`; options ro, rw, size=.
Volume parse_tmpfs(std::string_view text);

Json to_json(const Volume& volume);
Volume volume_from_json(const Json& json);

// The directory of the machine that is mounted, made and filled when it is new. `own` is the container's
// directory for anonymous volumes. Error(kNotFound) for a host path that cannot be made.
HostPath prepare_volume(const Volume& volume, const HostPath& own, const store::Tree& image,
                        const store::Owners& owners, store::Store& store);

}  // namespace corten::container
