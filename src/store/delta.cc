#include "store/delta.h"

#include <map>
#include <set>

namespace corten::store {

namespace {

class DeltaMaker {
 public:
  DeltaMaker(const Manifest& earlier, const Manifest& later, size_t max_entries)
      : earlier_(earlier), later_(later), max_entries_(max_entries) {}

  std::optional<Delta> make() {
    compare();
    include_links();
    for (auto entry = entries_.begin(); possible_ && entry != entries_.end(); ++entry)
      include_parents(entry->first);
    if (!possible_ || entries_.size() > max_entries_) return std::nullopt;
    std::vector<Entry> list;
    for (auto& [path, entry] : entries_) list.push_back(std::move(entry));
    return Delta{Manifest(std::move(list)), std::move(absent_)};
  }

 private:
  // Both lists are in path order.
  void compare() {
    const auto &before = earlier_.entries(), &after = later_.entries();
    size_t b = 0, a = 0;
    while (possible_ && (b < before.size() || a < after.size())) {
      if (a == after.size() || (b < before.size() && before[b].path < after[a].path)) {
        gone(before[b++]);
      } else if (b == before.size() || after[a].path < before[b].path) {
        add(after[a++]);
      } else {
        if (before[b] != after[a]) changed(before[b], after[a]);
        b++, a++;
      }
      possible_ &= entries_.size() <= max_entries_;
    }
  }

  void add(const Entry& e) {
    touch_links(e);
    entries_[e.path] = e;
  }

  void gone(const Entry& e) {
    touch_links(e);
    absent_.push_back(e.path);
    // Nothing is below a directory that went, or that became something else.
    RootfsPath parent = e.path.parent();
    const Entry* above = later_.find(parent);
    if (e.path.is_root() || (!parent.is_root() && !above)) {
      possible_ &= !e.path.is_root() && earlier_.find(parent) != nullptr;
      return;
    }
    if (above && !above->is_directory()) return;
    Entry whiteout;
    whiteout.path = e.path;
    whiteout.type = EntryType::kWhiteout;
    entries_[e.path] = std::move(whiteout);
  }

  void changed(const Entry& before, const Entry& after) {
    touch_links(before);
    bool both_directories = before.is_directory() && after.is_directory();
    // A directory that comes to hide what lies beneath would have to be told whole.
    if (both_directories && before.opaque != after.opaque) possible_ = false;
    // What was no directory hid all beneath; the new directory shows it.
    if (after.is_directory() && !before.is_directory() && !after.opaque) absent_.push_back(after.path);
    add(after);
    if (both_directories) entries_[after.path].opaque = false;
  }

  // All names of a file are one file, so when one of them changes all come up.
  void touch_links(const Entry& e) {
    if (e.type == EntryType::kFile) touched_.insert(e.is_hard_link() ? e.hard_link : e.path);
  }
  void include_links() {
    if (touched_.empty()) return;
    for (const Entry& e : later_.entries())
      if (e.is_hard_link() && touched_.contains(e.hard_link)) entries_[e.path] = e;
    // The first name, which may be the only one that is left.
    for (const RootfsPath& first : touched_)
      if (const Entry* e = later_.find(first)) entries_.emplace(first, *e);
  }

  void include_parents(const RootfsPath& path) {
    for (RootfsPath above = path.parent(); !above.is_root(); above = above.parent()) {
      const Entry* directory = later_.find(above);
      if (!directory || !directory->is_directory()) {
        possible_ = false;
        return;
      }
      auto [at, is_new] = entries_.emplace(above, *directory);
      if (!is_new) continue;
      at->second.opaque = false;  // unchanged, or it would be there: the earlier one hides already
    }
  }

  const Manifest& earlier_;
  const Manifest& later_;
  size_t max_entries_;
  bool possible_ = true;
  std::map<RootfsPath, Entry> entries_;
  std::set<RootfsPath> touched_;  // first names of files
  std::vector<RootfsPath> absent_;
};

}  // namespace

std::optional<Delta> make_delta(const Manifest& earlier, const Manifest& later, size_t max_entries) {
  return DeltaMaker(earlier, later, max_entries).make();
}

}  // namespace corten::store
