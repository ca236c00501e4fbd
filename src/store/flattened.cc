#include "store/flattened.h"

#include <map>
#include <memory>
#include <vector>

#include "base/clock.h"

namespace corten::store {

Manifest flattened(const Rootfs& rootfs, const Tree& view, Layers& store) {
  std::vector<std::pair<std::shared_ptr<const Manifest>, int64_t>> layers;  // top first
  for (auto layer = rootfs.rbegin(); layer != rootfs.rend(); ++layer)
    layers.emplace_back(store.load(layer->id), layer->time);
  std::vector<Entry> entries;
  // A hard link belongs to the file of its own layer; the first of a group's names that is still seen holds
  // the file.
  std::map<std::pair<size_t, RootfsPath>, RootfsPath> holders;
  auto take = [&](const Entry& seen) {
    Entry e = seen;
    e.opaque = false;
    size_t number = 0;
    while (number < layers.size() && layers[number].first->find(e.path) != &seen) number++;
    if (!e.time_ns && number < layers.size()) e.time_ns = clamped_ns(layers[number].second);
    if (e.type == EntryType::kFile) {
      auto [holder, is_first] =
          holders.emplace(std::pair(number, e.is_hard_link() ? e.hard_link : e.path), e.path);
      e.hard_link = is_first ? RootfsPath() : holder->second;
    }
    entries.push_back(std::move(e));
  };
  take(*view.find(RootfsPath()));
  walk(view, RootfsPath(), take);
  return Manifest(std::move(entries));
}

}  // namespace corten::store
