// The store's images for the embedded registry, each made by a process of its own: a store is held open while
// it is read and not for the days that a server runs, what compressing takes is not the server's memory, and
// a user namespace can be entered only by a process without threads.
#pragma once
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "oci/reference.h"
#include "registry/server/image_provider.h"

namespace corten::cli {

class StoreImages : public registry::serving::ImageProvider {
 public:
  explicit StoreImages(std::string store);
  std::string find(const std::string& host, const std::string& repository, const std::string& tag) override;
  void write_layout(const std::string& host, const std::string& repository, const std::string& tag,
                    const std::string& directory) override;
  Names list(const std::string& host) override;

 private:
  struct Found {
    std::string name, id;
  };
  Found look(const std::string& host, const std::string& repository, const std::string& tag);
  std::string stamp() const;

  const std::string store_;
  std::string stamp_;  // of the store's index, when `found_` was filled
  std::map<std::string, Found> found_;
  std::mutex list_mutex_;
  std::string list_stamp_;  // when `names_` was filled
  std::vector<oci::Reference> names_;
};

}  // namespace corten::cli
