#include "registry/server/uploads.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"

namespace corten::registry::serving {

namespace {

constexpr size_t kMostOpen = 512;
constexpr uint64_t kFlushStep = 8 << 20;
constexpr size_t kReadBytes = 256 << 10;

// RFC 9562 section 5.4.
std::string random_id() {
  std::array<uint8_t, 16> bytes;
  for (size_t have = 0; have < bytes.size();) {
    const ssize_t n = getrandom(bytes.data() + have, bytes.size() - have, 0);
    if (n > 0) have += static_cast<size_t>(n);
  }
  bytes[6] = static_cast<uint8_t>(0x40 | (bytes[6] & 0x0F));
  bytes[8] = static_cast<uint8_t>(0x80 | (bytes[8] & 0x3F));
  const std::string hex = to_hex(bytes);
  return hex.substr(0, 8) + "-" + hex.substr(8, 4) + "-" + hex.substr(12, 4) + "-" + hex.substr(16, 4) + "-" +
         hex.substr(20);
}

}  // namespace

bool is_upload_id(std::string_view text) {
  if (text.size() != 36) return false;
  for (size_t i = 0; i < text.size(); i++) {
    const bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (is_dash ? text[i] != '-'
                : std::string_view("0123456789abcdef").find(text[i]) == std::string_view::npos)
      return false;
  }
  return true;
}

Upload::Upload(std::string repository, std::string id, UniqueFd file, uint64_t size, Algorithm algorithm)
    : repository_(std::move(repository)),
      id_(std::move(id)),
      file_(std::move(file)),
      size_(size),
      flushed_(size) {
  if (size_ == 0) hasher_.emplace(algorithm);
}

uint64_t Upload::size() const {
  std::lock_guard lock(mutex_);
  return size_;
}

uint64_t Upload::take_over() {
  std::lock_guard lock(mutex_);
  return ++token_;
}

bool Upload::write(uint64_t token, std::string_view bytes) {
  std::lock_guard lock(mutex_);
  if (token != token_ || is_sealed_) return false;
  while (!bytes.empty()) {
    const ssize_t n = pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(size_));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_errno("write upload {}", id_);
    if (hasher_) hasher_->update(bytes.substr(0, static_cast<size_t>(n)));
    size_ += static_cast<uint64_t>(n);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  // So that the sync at the end finds little to do, and a big upload does not fill the memory with its pages.
  if (size_ - flushed_ >= kFlushStep) {
    sync_file_range(file_.get(), static_cast<off_t>(flushed_), static_cast<off_t>(size_ - flushed_),
                    SYNC_FILE_RANGE_WRITE);
    flushed_ = size_;
  }
  return true;
}

uint64_t Upload::cut(uint64_t token, uint64_t size) {
  std::lock_guard lock(mutex_);
  if (token != token_ || is_sealed_ || size >= size_) return 0;
  if (ftruncate(file_.get(), static_cast<off_t>(size)) != 0) fail_errno("cut upload {}", id_);
  const uint64_t gone = size_ - size;
  size_ = size;
  flushed_ = std::min(flushed_, size);
  hasher_.reset();
  return gone;
}

std::optional<ContentDigest> Upload::finish(uint64_t token, Algorithm algorithm) {
  UniqueFd file;
  std::optional<ContentHasher> hasher;
  uint64_t size = 0;
  {
    std::lock_guard lock(mutex_);
    if (token != token_ || is_sealed_) return std::nullopt;
    is_sealed_ = true;
    file = file_.duplicate();
    size = size_;
    if (futimens(file.get(), nullptr) != 0)
      fail_errno("mark upload {}", id_);  // not for the collector from here
    hasher = std::move(hasher_);
    hasher_.reset();
  }
  if (fdatasync(file.get()) != 0) fail_errno("sync upload {}", id_);
  if (!hasher || hasher->algorithm() != algorithm) hasher = hash_file(file.get(), size, algorithm);
  return hasher->finish();
}

bool Upload::write_whole(std::string_view bytes) {
  std::lock_guard lock(mutex_);
  if (is_sealed_ || size_ > 0) return false;
  token_++;
  write_fully(file_.get(), bytes, id_);
  size_ = bytes.size();
  is_sealed_ = true;
  return true;
}

std::optional<std::string> Upload::take_small(uint64_t token, uint64_t most) {
  std::lock_guard lock(mutex_);
  if (token != token_ || is_sealed_ || size_ > most) return std::nullopt;
  std::string bytes(size_, '\0');
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t n = pread(file_.get(), bytes.data() + at, bytes.size() - at, static_cast<off_t>(at));
    if (n < 0) fail_errno("read upload {}", id_);
    if (n == 0) fail(ErrorCode::kCorrupt, "upload {} is shorter than it was", id_);
    at += static_cast<size_t>(n);
  }
  is_sealed_ = true;
  return bytes;
}

bool Upload::seal() {
  std::lock_guard lock(mutex_);
  return !std::exchange(is_sealed_, true);
}

std::optional<uint64_t> Upload::end() {
  std::lock_guard lock(mutex_);
  if (is_ended_) return std::nullopt;
  is_ended_ = true;
  return size_;
}

ContentHasher Upload::hash_file(int file, uint64_t size, Algorithm algorithm) const {
  ContentHasher hasher(algorithm);
  std::string buffer(kReadBytes, '\0');
  for (uint64_t at = 0; at < size;) {
    const ssize_t n = pread(file, buffer.data(), buffer.size(), static_cast<off_t>(at));
    if (n < 0) fail_errno("read upload {}", id_);
    if (n == 0) fail(ErrorCode::kCorrupt, "upload {} is shorter than it was", id_);
    hasher.update(std::string_view(buffer).substr(0, static_cast<size_t>(n)));
    at += static_cast<uint64_t>(n);
  }
  return hasher;
}

std::shared_ptr<Upload> Uploads::begin(const std::string& repository, Algorithm algorithm) {
  std::string id = random_id();
  const std::string path = Tree::upload_path(repository, id);
  constexpr int kFlags = O_RDWR | O_CREAT | O_EXCL;
  std::optional<UniqueFd> file = open_no_links(tree_.root(), path, kFlags, 0644);
  if (!file) {
    make_directories(tree_.root(), Tree::repository_path(repository, "_uploads"));
    file = open_no_links(tree_.root(), path, kFlags, 0644);
  }
  if (!file) fail(ErrorCode::kCorrupt, "{}/{}: cannot be made", tree_.path(), path);
  auto upload = std::make_shared<Upload>(repository, std::move(id), std::move(*file), 0, algorithm);
  std::lock_guard lock(mutex_);
  keep(upload);
  return upload;
}

std::shared_ptr<Upload> Uploads::find(const std::string& repository, const std::string& id) {
  if (!is_upload_id(id)) return nullptr;
  std::lock_guard lock(mutex_);
  if (auto found = by_id_.find(id); found != by_id_.end()) {
    used_.splice(used_.begin(), used_, found->second);
    return used_.front()->repository() == repository ? used_.front() : nullptr;
  }
  std::optional<UniqueFd> file = open_no_links(tree_.root(), Tree::upload_path(repository, id), O_RDWR);
  if (!file) return nullptr;
  const off_t size = lseek(file->get(), 0, SEEK_END);
  if (size < 0) fail_errno("upload {}", id);
  auto upload = std::make_shared<Upload>(repository, id, std::move(*file), static_cast<uint64_t>(size),
                                         Algorithm::kSha256);
  keep(upload);
  return upload;
}

void Uploads::keep(const std::shared_ptr<Upload>& upload) {
  used_.push_front(upload);
  by_id_[upload->id()] = used_.begin();
  // From the back: one that a request holds stays.
  auto at = used_.end();
  for (int looked = 0; looked < 8 && used_.size() > kMostOpen && at != used_.begin(); looked++) {
    --at;
    if (at->use_count() > 1) continue;
    by_id_.erase((*at)->id());
    at = used_.erase(at);
  }
}

void Uploads::forget(Upload& upload) {
  upload.end();  // its bytes are the blob's now
  std::lock_guard lock(mutex_);
  const auto found = by_id_.find(upload.id());
  if (found == by_id_.end()) return;
  used_.erase(found->second);
  by_id_.erase(found);
}

// The file goes first: who looked for it in between would open it anew, and account for it again.
void Uploads::drop(Upload& upload) {
  upload.seal();
  tree_.remove(Tree::upload_path(upload.repository(), upload.id()));
  if (const std::optional<uint64_t> size = upload.end()) usage_.give_back(*size);
  forget(upload);
}

size_t Uploads::open_count() const {
  std::lock_guard lock(mutex_);
  return used_.size();
}

}  // namespace corten::registry::serving
