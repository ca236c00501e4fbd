// The store's images for the embedded registry, each made by a process of its own: a store is held open while
// it is read and not for the days that a server runs, what compressing takes is not the server's memory, and
// a user namespace can be entered only by a process without threads.
#pragma once
#include <map>
#include <string>

#include "registry/server/image_provider.h"

namespace corten::cli {

class StoreImages : public registry::serving::ImageProvider {
 public:
  explicit StoreImages(std::string store);
  std::string find(const std::string& host, const std::string& repository, const std::string& tag) override;
  void write_layout(const std::string& host, const std::string& repository, const std::string& tag,
                    const std::string& directory) override;

 private:
  struct Found {
    std::string name, id;
  };
  Found look(const std::string& host, const std::string& repository, const std::string& tag);
  std::string stamp() const;

  const std::string store_;
  std::string stamp_;  // of the store's index, when `found_` was filled
  std::map<std::string, Found> found_;
};

}  // namespace corten::cli
