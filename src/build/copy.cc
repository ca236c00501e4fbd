#include "build/copy.h"

#include <fcntl.h>

#include <algorithm>
#include <map>

#include <fmt/core.h>

#include "archive/compression.h"
#include "archive/tar.h"
#include "base/error.h"
#include "base/strings.h"
#include "store/layer_tar.h"

namespace corten::build {

using store::Entry;
using store::EntryType;

namespace {

constexpr uint32_t kSetGid = 02000;

// An archive that ends, by Error(kCancelled), when the build is cancelled.
class CancellableSource : public archive::ByteSource {
 public:
  CancellableSource(archive::ByteSource& from, const Cancellation& cancellation)
      : from_(from), cancellation_(cancellation) {}
  size_t read(void* data, size_t size) override {
    cancellation_.check();
    return from_.read(data, size);
  }

 private:
  archive::ByteSource& from_;
  const Cancellation& cancellation_;
};

class Copier {
 public:
  Copier(const CopyStep& step, const store::Accounts& accounts, store::Contents& contents,
         store::LayerBuilder& builder, const CopyBounds& bounds)
      : step_(step), contents_(contents), builder_(builder), bounds_(bounds) {
    if (step.owner) owner_ = owner_of(accounts, *step.owner);
  }

  void run(const Selection& selection) {
    wants_directory_ = step_.destination.ends_with('/');
    destination_ = RootfsPath(step_.destination);
    if (!step_.link) destination_ = store::resolve_links(builder_, destination_);
    for (const Selected& item : selection.items) {
      links_.clear();
      has_links_ =
          std::any_of(item.below.begin(), item.below.end(), [](const Entry* e) { return e->is_hard_link(); });
      if (step_.parents)
        copy_with_parents(item);
      else
        copy(item);
    }
    if (step_.parents && selection.items.empty()) make_directory_path(destination_);
    for (const CopyStep::File& file : step_.files) copy_heredoc(file);
  }

 private:
  void copy(const Selected& item) {
    if (item.entry->is_directory()) {
      make_top(destination_);
      for (const Entry* e : item.below) place(*e, item.entry->path, destination_);
      return;
    }
    if (step_.is_add && step_.unpack.value_or(!item.is_remote) && is_archive(*item.entry)) {
      extract(*item.entry);
      return;
    }
    place_file(*item.entry, file_target(item.name));
  }

  RootfsPath file_target(const std::string& name) {
    const Entry* there = builder_.find(destination_);
    bool into_directory = wants_directory_ || destination_.is_root() || (there && there->is_directory());
    if (!into_directory) return destination_;
    make_directory_path(destination_);
    return destination_.child(name);
  }

  // `--parents`: every component from the base on is kept, with the source's metadata.
  void copy_with_parents(const Selected& item) {
    make_directory_path(destination_);
    for (const Entry* above : item.above) place(*above, item.base, destination_, true);
    if (item.entry->path != item.base)
      place(*item.entry, item.base, destination_, item.entry->is_directory());
    for (const Entry* e : item.below) place(*e, item.base, destination_);
  }

  // An entry of a copied directory, at its place below the destination.
  void place(const Entry& e, const RootfsPath& from, const RootfsPath& to,
             bool keeps_owner_of_existing = false) {
    bounds_.cancellation.check();
    std::string relative = from.is_root() ? e.path.str() : e.path.str().substr(from.str().size() + 1);
    RootfsPath target(to.is_root() ? relative : to.str() + "/" + relative);
    if (!e.is_directory()) {
      place_file(e, target);
      return;
    }
    const Entry* there = builder_.find(target);
    if (there && !there->is_directory())
      fail(ErrorCode::kInvalid, "cannot copy to non-directory: {}", target.absolute());
    Entry copy = adjusted(e, target);
    if (there && keeps_owner_of_existing) copy.uid = there->uid, copy.gid = there->gid;
    builder_.put(std::move(copy));
  }

  void place_file(const Entry& e, const RootfsPath& target) {
    bounds_.cancellation.check();
    const Entry* there = builder_.find(target);
    if (there && there->is_directory())
      fail(ErrorCode::kInvalid, "cannot replace to directory {} with file", target.absolute());
    make_directory_path(target.parent());
    Entry copy = adjusted(e, target);
    if (has_links_ && e.type == EntryType::kFile) {
      // Names that are one file in the source are one file here.
      std::string group = (e.is_hard_link() ? e.hard_link : e.path).str();
      auto [first, is_new] = links_.emplace(group, target);
      if (!is_new && first->second != target) {
        const Entry* other = builder_.find(first->second);
        if (other && other->content == copy.content && other->mode == copy.mode && other->uid == copy.uid &&
            other->gid == copy.gid && other->time_ns == copy.time_ns)
          copy.hard_link = other->is_hard_link() ? other->hard_link : first->second;
      }
    }
    builder_.put(std::move(copy));
  }

  // The entry as it will be: --chown, --chmod, no marks of the layer that it comes from.
  Entry adjusted(const Entry& e, const RootfsPath& target) const {
    Entry copy = e;
    copy.path = target;
    copy.opaque = false;
    copy.hard_link = RootfsPath();
    if (owner_) copy.uid = owner_->uid, copy.gid = owner_->gid;
    if (step_.has_mode && e.type != EntryType::kSymlink)
      copy.mode = step_.mode.apply(copy.mode, e.is_directory());
    return copy;
  }

  // What a directory looks like that is made on the way: 0755 root, changed by --chown and an octal --chmod
  // (whose set-id bits do not count here).
  Entry plain_directory() const {
    Entry directory = store::default_root();
    if (owner_) directory.uid = owner_->uid, directory.gid = owner_->gid;
    if (step_.has_mode && step_.mode.octal()) directory.mode = *step_.mode.octal() & 0777;
    return directory;
  }

  // Makes missing directories one by one: a set-group-id parent hands on the bit, and its group unless
  // --chown names one.
  void make_directory_path(const RootfsPath& path) {
    const Entry* there = builder_.find(path);
    if (there) {
      if (!there->is_directory())
        fail(ErrorCode::kInvalid, "cannot copy to non-directory: {}", path.absolute());
      if (step_.link && !path.is_root()) builder_.make_directories(path, plain_directory());
      return;
    }
    if (!path.is_root()) make_directory_path(path.parent());
    Entry directory = plain_directory();
    const Entry* parent = builder_.find(path.parent());
    if (parent && parent->mode & kSetGid) {
      directory.mode |= kSetGid;
      if (!owner_) directory.gid = parent->gid;
    }
    directory.path = path;
    builder_.put(std::move(directory));
  }

  void make_top(const RootfsPath& path) {
    const Entry* there = builder_.find(path);
    if (there && !there->is_directory())
      fail(ErrorCode::kInvalid, "cannot copy to non-directory: {}", path.absolute());
    make_directory_path(path);
  }

  void copy_heredoc(const CopyStep::File& file) {
    Entry e;
    e.mode = 0644;
    e.size = file.content.size();
    e.content = contents_.add_bytes(file.content);
    RootfsPath target = file_target(file.name);
    const Entry* there = builder_.find(target);
    if (there && there->is_directory())
      fail(ErrorCode::kInvalid, "cannot replace to directory {} with file", target.absolute());
    make_directory_path(target.parent());
    builder_.put(adjusted(e, target));
  }

  bool is_archive(const Entry& e) const {
    if (e.type != EntryType::kFile || e.size == 0) return false;
    UniqueFd fd = contents_.open(e.content);
    archive::FdSource file(fd.get(), e.path.absolute());
    try {
      auto plain = archive::open_decompressor(file);
      std::string head(512, '\0');
      head.resize(archive::read_fully(*plain, head.data(), head.size()));
      return archive::looks_like_tar(head);
    } catch (const Error&) {
      return false;  // it begins like a compressed file and is none: an ordinary file
    }
  }

  void extract(const Entry& e) {
    UniqueFd fd = contents_.open(e.content);
    archive::FdSource file(fd.get(), e.path.absolute());
    auto plain = archive::open_decompressor(file);
    const Entry* there = builder_.find(destination_);
    if (there && !there->is_directory())
      fail(ErrorCode::kInvalid, "cannot copy to non-directory: {}", destination_.absolute());
    store::ExtractOptions options;
    options.destination = destination_;
    options.parent_like = store::default_root();
    options.set_limit(bounds_.max_unpacked_bytes);
    if (owner_) {
      options.owner = {owner_->uid, owner_->gid};
      options.parent_like.uid = owner_->uid;
      options.parent_like.gid = owner_->gid;
    }
    try {
      CancellableSource cancellable(*plain, bounds_.cancellation);
      store::extract_tar(cancellable, options, builder_, contents_);
    } catch (Error& error) {
      error.add_context(e.path.absolute());
      throw;
    }
  }

  const CopyStep& step_;
  store::Contents& contents_;
  store::LayerBuilder& builder_;
  const CopyBounds& bounds_;
  std::optional<Owner> owner_;
  RootfsPath destination_;
  bool wants_directory_ = false;
  std::map<std::string, RootfsPath> links_;  // of one item: a file's first name there, and its target here
  bool has_links_ = false;
};

}  // namespace

void copy_into(const CopyStep& step, const Selection& selection, const store::Accounts& accounts,
               store::Contents& contents, store::LayerBuilder& builder, const CopyBounds& bounds) {
  Copier(step, accounts, contents, builder, bounds).run(selection);
}

void make_workdir(const RootfsPath& path, const Owner& owner, store::LayerBuilder& builder) {
  RootfsPath target = store::resolve_links(builder, path);
  Entry directory = store::default_root();
  directory.uid = owner.uid;
  directory.gid = owner.gid;
  builder.make_directories(target, directory);
}

}  // namespace corten::build
