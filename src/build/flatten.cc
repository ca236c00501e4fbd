#include "build/flatten.h"

#include <map>

#include "store/tree.h"

namespace corten::build {

store::Manifest flatten(std::shared_ptr<const store::Manifest> lower,
                        std::shared_ptr<const store::Manifest> upper) {
  store::RootfsView view({lower, upper});
  std::vector<store::Entry> entries;
  // A hard link belongs to the file of its own layer; the first of a group's names that is still seen holds
  // the file.
  std::map<std::pair<bool, RootfsPath>, RootfsPath> holders;
  auto take = [&](const store::Entry& seen) {
    store::Entry e = seen;
    e.opaque = false;
    bool is_upper = upper->find(e.path) != nullptr;
    if (e.is_directory() && is_upper && !e.time_ns) {
      const store::Entry* before = lower->find(e.path);
      if (before && before->is_directory() && before->mode == e.mode && before->uid == e.uid &&
          before->gid == e.gid)
        e.time_ns = before->time_ns;
    }
    if (e.type == store::EntryType::kFile) {
      auto [holder, is_first] =
          holders.emplace(std::pair(is_upper, e.is_hard_link() ? e.hard_link : e.path), e.path);
      e.hard_link = is_first ? RootfsPath() : holder->second;
    }
    entries.push_back(std::move(e));
  };
  if (lower->find(RootfsPath()) || upper->find(RootfsPath())) take(*view.find(RootfsPath()));
  store::walk(view, RootfsPath(), take);
  return store::Manifest(std::move(entries));
}

}  // namespace corten::build
