// The places of copy(): registries and OCI layouts.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include <fmt/core.h>

#include "archive/tar.h"
#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/temp_dir.h"
#include "image/copy.h"
#include "oci/layout.h"
#include "oci/manifest.h"

namespace corten::image {

namespace {

// A part of a file, read by position: several may read at once.
class FileFrom : public archive::ByteSource {
 public:
  FileFrom(int fd, uint64_t offset) : fd_(fd), at_(offset) {}
  size_t read(void* data, size_t size) override {
    const ssize_t n = pread(fd_, data, size, static_cast<off_t>(at_));
    if (n < 0) fail_errno("read a blob");
    at_ += static_cast<uint64_t>(n);
    return static_cast<size_t>(n);
  }

 private:
  int fd_;
  uint64_t at_;
};

class FromRegistry : public CopySource {
 public:
  FromRegistry(registry::Remote& remote, oci::Reference reference, std::string scratch)
      : remote_(remote), reference_(std::move(reference)), scratch_(std::move(scratch)) {}

  // One request: its bytes are wanted next.
  oci::Descriptor root() override {
    registry::RemoteManifest found = remote_.manifest(reference_.with_default_tag());
    first_ = found;
    return found.descriptor;
  }
  std::string document(const oci::Descriptor& document) override {
    if (first_ && first_->descriptor.digest == document.digest) return first_->bytes;
    return remote_.manifest(reference_.repository_only().with_digest(document.digest)).bytes;
  }
  void write(const oci::Descriptor& blob, int fd, const registry::Meter& meter) override {
    remote_.fetch_blob(reference_, blob, fd, meter);
  }
  UniqueFd open(const oci::Descriptor& blob) override {
    const TempDir place = TempDir::make(scratch_, "copy-");
    UniqueFd file = open_file(place / "blob", O_RDWR | O_CREAT | O_EXCL, 0600);
    write(blob, file.get(), {});
    return file;
  }
  std::vector<oci::Descriptor> referrers(const Digest& subject) override {
    return remote_.referrers(reference_.repository_only(), subject).manifests;
  }
  const oci::Reference* repository() const override { return &reference_; }

 private:
  registry::Remote& remote_;
  oci::Reference reference_;
  std::string scratch_;
  std::optional<registry::RemoteManifest> first_;
};

class FromLayout : public CopySource {
 public:
  FromLayout(const std::string& directory, std::string name)
      : root_(open_file(directory, O_RDONLY | O_DIRECTORY)), name_(std::move(name)) {
    oci::check_layout_file(read_document(std::string(oci::kLayoutFileName)));
    index_ = oci::parse_index(read_document(std::string(oci::kLayoutIndexName)));
  }

  oci::Descriptor root() override {
    oci::Descriptor found = oci::find_in_layout(index_, name_);
    found.annotations.clear();  // its names belong to that layout
    return found;
  }
  std::string document(const oci::Descriptor& document) override {
    std::string bytes = read_document(oci::blob_path(document.digest));
    if (bytes.size() != document.size || Digest::of(bytes) != document.digest)
      fail(ErrorCode::kCorrupt, "image layout: {} has other bytes", oci::blob_path(document.digest));
    return bytes;
  }
  void write(const oci::Descriptor& blob, int fd, const registry::Meter& meter) override {
    const std::string what = oci::blob_path(blob.digest);
    const UniqueFd file = open_regular(what);
    archive::FdSource from(file.get(), what);
    archive::VerifyingSource verified(from, blob.digest, blob.size, what);
    archive::FdSink sink(fd, what);
    archive::copy_all(verified, sink);
    if (meter) meter(blob.size);
  }
  // Wrong bytes are found out before a registry is troubled with them.
  UniqueFd open(const oci::Descriptor& blob) override {
    const std::string what = oci::blob_path(blob.digest);
    UniqueFd file = open_regular(what);
    archive::FdSource from(file.get(), what);
    archive::VerifyingSource verified(from, blob.digest, blob.size, what);
    archive::drain(verified);
    return file;
  }
  // What lies in index.json beside the images and names this one as its subject.
  std::vector<oci::Descriptor> referrers(const Digest& subject) override {
    std::vector<oci::Descriptor> found;
    for (const oci::Descriptor& entry : index_.manifests) {
      if (!oci::is_manifest_type(entry.media_type)) continue;
      const oci::Manifest manifest = oci::parse_manifest(document(entry), entry.media_type);
      if (manifest.subject && manifest.subject->digest == subject) found.push_back(entry);
    }
    return found;
  }

 private:
  UniqueFd open_regular(const std::string& path) {
    auto file = open_no_links(root_.get(), path, O_RDONLY | O_NONBLOCK);
    if (!file) fail(ErrorCode::kNotFound, "image layout: {} is not there", path);
    struct stat st;
    if (fstat(file->get(), &st) != 0 || !S_ISREG(st.st_mode))
      fail(ErrorCode::kInvalid, "image layout: {} is not a regular file", path);
    return std::move(*file);
  }
  std::string read_document(const std::string& path) {
    const UniqueFd file = open_regular(path);
    return read_all(file.get(), path, oci::kMaxManifestBytes);
  }

  UniqueFd root_;
  std::string name_;
  oci::Index index_;
};

class ToRegistry : public CopyTarget {
 public:
  ToRegistry(registry::Remote& remote, oci::Reference reference)
      : remote_(remote), reference_(std::move(reference)) {}

  bool has(const oci::Descriptor& document, bool is_root) override {
    const auto found = remote_.find(name_of(document, is_root));
    return found && found->digest == document.digest;
  }
  registry::Placed place(const oci::Descriptor& blob, CopySource& from,
                         const registry::Meter& meter) override {
    registry::OutgoingBlob outgoing{blob, {}, {}};
    const oci::Reference* source = from.repository();
    if (source && source->registry() == reference_.registry())
      outgoing.mount_from.push_back(source->repository());
    std::optional<UniqueFd> file;
    outgoing.open = [&](uint64_t offset) {
      if (!file) file = from.open(blob);
      return std::make_unique<FileFrom>(file->get(), offset);
    };
    return remote_.push_blob(reference_, outgoing, meter);
  }
  void put(const oci::Descriptor& document, std::string_view bytes, bool is_root) override {
    remote_.put_manifest(name_of(document, is_root), bytes, document.media_type);
  }

 private:
  oci::Reference name_of(const oci::Descriptor& document, bool is_root) const {
    if (is_root && reference_.digest() && *reference_.digest() != document.digest)
      throw Error(ErrorCode::kInvalid, fmt::format("{}: {} was to be copied there", reference_.familiar(),
                                                   document.digest.to_string()))
          .with_hint("name the target by a tag");
    if (is_root && !reference_.tag().empty()) return reference_.without_digest();
    return reference_.repository_only().with_digest(document.digest);
  }

  registry::Remote& remote_;
  oci::Reference reference_;
};

class ToLayout : public CopyTarget {
 public:
  ToLayout(std::string directory, std::string name)
      : directory_(std::move(directory)), name_(std::move(name)) {
    make_directories_on_host(directory_);
    root_ = open_file(directory_, O_RDONLY | O_DIRECTORY);
    blobs_ = make_directories(root_.get(), "blobs/sha256");
    const std::string index = directory_ + "/" + std::string(oci::kLayoutIndexName);
    if (path_exists(index)) index_ = oci::parse_index(read_file(index, oci::kMaxManifestBytes));
  }

  // A manifest may have come without its layers.
  bool has(const oci::Descriptor&, bool) override { return false; }
  registry::Placed place(const oci::Descriptor& blob, CopySource& from,
                         const registry::Meter& meter) override {
    struct stat st;
    if (fstatat(blobs_.get(), blob.digest.hex().c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISREG(st.st_mode) && static_cast<uint64_t>(st.st_size) == blob.size)
      return registry::Placed::kThere;
    write(blob, [&](int fd) { from.write(blob, fd, meter); });
    return registry::Placed::kSent;
  }
  void put(const oci::Descriptor& document, std::string_view bytes, bool is_root) override {
    write(document, [&](int fd) {
      archive::FdSink sink(fd, oci::blob_path(document.digest));
      sink.write(bytes);
    });
    // What refers to another is found by index.json alone.
    const bool is_referrer = !is_root && oci::is_manifest_type(document.media_type) &&
                             oci::parse_manifest(bytes, document.media_type).subject.has_value();
    if (!is_root && !is_referrer) return;
    oci::Descriptor entry = document;
    if (is_root) give_name(entry);
    oci::put_in_layout(index_, std::move(entry));
    if (is_root || named_) save();
    named_ = named_ || is_root;
  }

 private:
  void give_name(oci::Descriptor& entry) const {
    if (name_.empty()) return;
    const auto full =
        name_.find_first_of("/:") == std::string::npos ? std::nullopt : oci::Reference::try_parse(name_);
    entry.annotations[std::string(oci::kRefNameAnnotation)] = full ? full->with_default_tag().tag() : name_;
    if (full)
      entry.annotations[std::string(oci::kImageNameAnnotation)] = full->with_default_tag().to_string();
  }
  void write(const oci::Descriptor& blob, const std::function<void(int fd)>& fill) {
    const std::string name = blob.digest.hex(), partial = fmt::format("{}.{}", name, getpid());
    unlinkat(blobs_.get(), partial.c_str(), 0);
    try {
      UniqueFd file = open_at(blobs_.get(), partial, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0644);
      fill(file.get());
      file.close_checked(partial);
      if (renameat(blobs_.get(), partial.c_str(), blobs_.get(), name.c_str()) != 0)
        fail_errno("write {}", oci::blob_path(blob.digest));
    } catch (...) {
      unlinkat(blobs_.get(), partial.c_str(), 0);
      throw;
    }
  }
  void save() const {
    write_file_atomic(directory_ + "/" + std::string(oci::kLayoutFileName), oci::emit_layout_file());
    write_file_atomic(directory_ + "/" + std::string(oci::kLayoutIndexName), oci::emit_index(index_));
  }

  std::string directory_, name_;
  UniqueFd root_, blobs_;
  oci::Index index_;
  bool named_ = false;
};

}  // namespace

std::unique_ptr<CopySource> copy_from_registry(registry::Remote& remote, oci::Reference reference,
                                               std::string scratch) {
  return std::make_unique<FromRegistry>(remote, std::move(reference), std::move(scratch));
}

std::unique_ptr<CopySource> copy_from_layout(const std::string& directory, std::string name) {
  return std::make_unique<FromLayout>(directory, std::move(name));
}

std::unique_ptr<CopyTarget> copy_to_registry(registry::Remote& remote, oci::Reference reference) {
  return std::make_unique<ToRegistry>(remote, std::move(reference));
}

std::unique_ptr<CopyTarget> copy_to_layout(const std::string& directory, std::string name) {
  return std::make_unique<ToLayout>(directory, std::move(name));
}

void write_layout_archive(const std::string& directory, archive::ByteSink& to) {
  const std::string blobs = directory + "/blobs/sha256";
  std::vector<std::string> paths;
  std::unique_ptr<DIR, int (*)(DIR*)> open(opendir(blobs.c_str()), closedir);
  if (!open) fail_errno("open {}", blobs);
  while (const dirent* entry = readdir(open.get()))
    if (entry->d_name[0] != '.') paths.push_back(std::string("blobs/sha256/") + entry->d_name);
  std::sort(paths.begin(), paths.end());
  paths.emplace_back(oci::kLayoutIndexName);
  paths.emplace_back(oci::kLayoutFileName);
  archive::TarWriter tar(to);
  archive::TarHeader header;
  header.type = archive::TarType::kDirectory;
  header.mode = 0755;
  for (const char* path : {"blobs", "blobs/sha256"}) {
    header.path = path;
    tar.add(header, std::string_view());
  }
  header.type = archive::TarType::kFile;
  header.mode = 0644;
  for (const std::string& path : paths) {
    const UniqueFd file = open_file(directory + "/" + path, O_RDONLY | O_NOFOLLOW);
    struct stat st;
    if (fstat(file.get(), &st) != 0) fail_errno("stat {}", path);
    header.path = path;
    header.size = static_cast<uint64_t>(st.st_size);
    archive::FdSource from(file.get(), path);
    tar.add(header, from);
  }
  tar.finish();
}

}  // namespace corten::image
