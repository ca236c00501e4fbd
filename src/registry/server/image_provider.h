// Where images come from that nobody pushed: Corten's own store. The command line implements it, since rooms
// below this one make images.
#pragma once
#include <map>
#include <set>
#include <string>

namespace corten::registry::serving {

// find() and write_layout() are called by one thread at a time, list() by any.
class ImageProvider {
 public:
  virtual ~ImageProvider() = default;
  // What tells one state of NAME:TAG from another; "" when there is no such image. `host` is how the client
  // calls this server ("localhost:5000"). Cheap when nothing has changed.
  virtual std::string find(const std::string& host, const std::string& repository,
                           const std::string& tag) = 0;
  // Writes it as an OCI layout (image-spec, image-layout.md) to a directory that is not there yet.
  virtual void write_layout(const std::string& host, const std::string& repository, const std::string& tag,
                            const std::string& directory) = 0;
  // The tags of all images that find() finds, by repository. Cheap when nothing has changed.
  using Names = std::map<std::string, std::set<std::string>>;
  virtual Names list(const std::string& host) = 0;
};

}  // namespace corten::registry::serving
