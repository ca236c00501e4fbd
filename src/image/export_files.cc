#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include <fmt/core.h>

#include "archive/tar.h"
#include "base/beneath.h"
#include "base/clock.h"
#include "base/error.h"
#include "image/export.h"
#include "store/flattened.h"
#include "store/layer_tar.h"

namespace corten::image {

using store::Entry;
using store::EntryType;

namespace {

// All layers as one, each entry with the time that it is exported with.
store::Manifest flatten(const store::Image& image, store::Store& store) {
  store.layers().need(image.layers);
  store::Manifest all = store::flattened(image.layers, store.layers().view(image.layers), store.layers());
  std::vector<Entry> entries = all.entries();
  std::erase_if(entries, [](const Entry& e) { return e.path.is_root(); });
  return store::Manifest(std::move(entries));
}

}  // namespace

// All sets as one, each below its directory.
static store::Manifest merge(const std::vector<FileSet>& sets, const FileOptions& options,
                             store::Store& store) {
  struct From {
    const FileSet* set;
    EntryType type;
  };
  std::map<std::string, From> seen;
  std::vector<Entry> entries;
  auto add = [&](Entry e, const FileSet& set) {
    auto [known, is_new] = seen.emplace(e.path.str(), From{&set, e.type});
    if (!is_new) {
      if (e.is_directory() && known->second.type == EntryType::kDirectory) return;
      throw Error(ErrorCode::kInvalid,
                  fmt::format("cannot overwrite {} from {} with {} when split option is disabled",
                              e.path.absolute(), known->second.set->platform, set.platform))
          .with_hint("leave platform-split=false out: each platform then has a directory of its own");
    }
    if (options.time) e.time_ns = clamped_ns(*options.time);
    entries.push_back(std::move(e));
  };
  for (const FileSet& set : sets) {
    RootfsPath top(set.directory);
    if (!top.is_root()) {
      Entry directory = store::default_root();
      directory.path = top;
      directory.time_ns = 0;
      for (const store::LayerRef& layer : set.image->layers)
        directory.time_ns = std::max(*directory.time_ns, clamped_ns(layer.time));
      add(std::move(directory), set);
    }
    store::Manifest files = flatten(*set.image, store);
    for (const Entry& file : files.entries()) {
      Entry e = file;
      if (!top.is_root()) {
        if (e.path.is_root()) continue;
        e.path = RootfsPath::join(top, e.path.str());
        if (e.is_hard_link()) e.hard_link = RootfsPath::join(top, e.hard_link.str());
      }
      add(std::move(e), set);
    }
  }
  return store::Manifest(std::move(entries));
}

// mode=delete: what no image has goes away. Links are removed, never followed.
static void delete_others(int directory, const RootfsPath& path, const store::Manifest& files) {
  UniqueFd again = open_at(directory, ".", O_RDONLY | O_DIRECTORY);
  DIR* stream = fdopendir(again.release());
  if (!stream) fail_errno("read {}", path.absolute());
  std::vector<std::string> names;
  while (dirent* item = readdir(stream))
    if (std::string_view name = item->d_name; name != "." && name != "..") names.emplace_back(name);
  closedir(stream);
  for (const std::string& name : names) {
    RootfsPath below = path.child(name);
    const Entry* kept = files.find(below);
    if (!kept)
      remove_tree_at(directory, name);
    else if (kept->is_directory())
      delete_others(open_at(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW).get(), below, files);
  }
}

void write_files_tar(const std::vector<FileSet>& sets, const FileOptions& options, store::Store& store,
                     archive::ByteSink& to) {
  archive::TarWriter tar(to);
  store::write_layer_tar(merge(sets, options, store), {.time = options.time.value_or(0), .clamp = {}},
                         store.contents(), tar);
  tar.finish();
}

void write_files(const std::vector<FileSet>& sets, const FileOptions& options, const std::string& directory,
                 store::Store& store) {
  make_directories_on_host(directory);
  UniqueFd root = open_file(directory, O_RDONLY | O_DIRECTORY);
  store::Manifest files = merge(sets, options, store);
  auto set_time = [&](int dir, const std::string& name, const Entry& e) {
    timespec at{*e.time_ns / 1'000'000'000, *e.time_ns % 1'000'000'000};
    if (at.tv_nsec < 0) at.tv_sec--, at.tv_nsec += 1'000'000'000;
    timespec both[2] = {at, at};
    if (utimensat(dir, name.c_str(), both, AT_SYMLINK_NOFOLLOW) != 0)
      fail_errno("set time of {}", e.path.absolute());
  };
  for (const Entry& e : files.entries()) {
    if (e.is_directory()) {
      UniqueFd made = make_directories(root.get(), e.path.str());
      continue;
    }
    UniqueFd parent = make_directories(root.get(), e.path.parent().str());
    std::string name(e.path.filename());
    if (unlinkat(parent.get(), name.c_str(), 0) != 0 && errno != ENOENT)
      fail_errno("replace {}", e.path.absolute());
    if (e.type == EntryType::kSymlink) {
      if (symlinkat(e.link.c_str(), parent.get(), name.c_str()) != 0)
        fail_errno("make link {}", e.path.absolute());
      set_time(parent.get(), name, e);
    } else if (e.type == EntryType::kFile) {
      UniqueFd file = open_at(parent.get(), name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
      if (e.size > 0) {
        UniqueFd from = store.contents().open(e.content);
        copy_contents(from.get(), file.get(), e.size, e.path.absolute());
      }
      if (fchmod(file.get(), e.mode & 01777) != 0) fail_errno("set mode of {}", e.path.absolute());
      file.close_checked(e.path.absolute());
      set_time(parent.get(), name, e);
    }
  }
  if (options.delete_others) delete_others(root.get(), RootfsPath(), files);
  for (auto e = files.entries().rbegin(); e != files.entries().rend(); ++e) {
    if (!e->is_directory()) continue;
    UniqueFd parent = make_directories(root.get(), e->path.parent().str());
    std::string name(e->path.filename());
    if (fchmodat(parent.get(), name.c_str(), e->mode & 01777, 0) != 0)
      fail_errno("set mode of {}", e->path.absolute());
    set_time(parent.get(), name, *e);
  }
}

}  // namespace corten::image
