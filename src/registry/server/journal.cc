#include "registry/server/journal.h"

#include <fcntl.h>
#include <libdeflate.h>
#include <unistd.h>

#include <algorithm>
#include <future>

#include <fmt/core.h>

#include "base/error.h"

namespace corten::registry::serving {

namespace {

// A record: size of its body and CRC-32 of generation and body (4 bytes each), generation (8 bytes), body.
// All numbers are little-endian.
constexpr size_t kHead = 16, kChangeHead = 7;
constexpr size_t kMaxBody = 64 << 20;
constexpr size_t kFillStep = 1 << 20;
// What one record holds at most, unless a single request has more.
constexpr size_t kBatchBytes = 4 << 20, kBatchRequests = 512;
constexpr size_t kKeptBuffer = 256 << 10;
constexpr size_t kMostUnmade = 8 << 20;

template <typename T>
void put_number(std::string& to, T value) {
  for (size_t i = 0; i < sizeof value; i++) to += static_cast<char>(value >> (8 * i));
}
template <typename T>
T get_number(std::string_view from) {
  T value = 0;
  for (size_t i = sizeof value; i-- > 0;) value = static_cast<T>(value << 8 | static_cast<uint8_t>(from[i]));
  return value;
}

uint32_t sum_of(std::string_view bytes) {
  return libdeflate_crc32(0, bytes.data(), bytes.size());
}

// Paths are ours; a damaged record must still not lead anywhere else.
bool is_path_of_ours(std::string_view path) {
  return (path.starts_with("blobs/") || path.starts_with("repositories/")) &&
         path.find("//") == std::string_view::npos && path.find("/../") == std::string_view::npos &&
         !path.ends_with("/..") && !path.ends_with('/') && path.find('\0') == std::string_view::npos;
}

std::optional<Change> take_change(std::string_view& body) {
  if (body.size() < kChangeHead) return std::nullopt;
  const auto kind = static_cast<Change::Kind>(body[0]);
  const size_t path_size = get_number<uint16_t>(body.substr(1));
  const size_t data_size = get_number<uint32_t>(body.substr(3));
  body.remove_prefix(kChangeHead);
  if (body.size() < path_size || body.size() - path_size < data_size) return std::nullopt;
  Change change{
      kind, std::string(body.substr(0, path_size)), std::string(body.substr(path_size, data_size)), 0, {},
      {}};
  body.remove_prefix(path_size + data_size);
  const bool is_known = kind == Change::Kind::kPut || kind == Change::Kind::kRemove ||
                        (kind == Change::Kind::kMove && is_path_of_ours(change.data));
  if (!is_known || !is_path_of_ours(change.path)) return std::nullopt;
  return change;
}

size_t bytes_of(const Change& change) {
  return kChangeHead + change.path.size() + change.data.size();
}

const std::string& target_of(const Change& change) {
  return change.kind == Change::Kind::kMove ? change.data : change.path;
}

size_t bytes_of(const std::vector<Change>& changes) {
  size_t bytes = 0;
  for (const Change& change : changes) bytes += bytes_of(change);
  return bytes;
}

}  // namespace

std::string encode_record(uint64_t generation, const std::vector<const Change*>& changes) {
  std::string record(8, '\0');
  put_number(record, generation);
  for (const Change* change : changes) {
    const bool is_removal = change->kind == Change::Kind::kRemoveIfUnused;
    record += static_cast<char>(is_removal ? Change::Kind::kRemove : change->kind);
    put_number(record, static_cast<uint16_t>(change->path.size()));
    put_number(record, static_cast<uint32_t>(change->data.size()));
    record += change->path;
    record += change->data;
  }
  if (record.size() - kHead > kMaxBody) fail(ErrorCode::kInternal, "a journal record is too big");
  std::string head;
  put_number(head, static_cast<uint32_t>(record.size() - kHead));
  put_number(head, sum_of(std::string_view(record).substr(8)));
  record.replace(0, 8, head);
  return record;
}

std::optional<Record> decode_record(std::string_view bytes) {
  if (bytes.size() < kHead) return std::nullopt;
  const size_t size = get_number<uint32_t>(bytes);
  if (size == 0 || size > kMaxBody || bytes.size() - kHead < size) return std::nullopt;
  if (sum_of(bytes.substr(8, 8 + size)) != get_number<uint32_t>(bytes.substr(4))) return std::nullopt;
  Record record{get_number<uint64_t>(bytes.substr(8)), {}, kHead + size};
  std::string_view body = bytes.substr(kHead, size);
  while (!body.empty()) {
    std::optional<Change> change = take_change(body);
    if (!change) return std::nullopt;
    record.changes.push_back(std::move(*change));
  }
  return record;
}

Journal::Journal(Tree& tree, JournalOptions options) : tree_(tree), options_(options) {
  const UniqueFd directory = open_at(tree_.root(), "journal", O_RDONLY | O_DIRECTORY);
  for (int i : {0, 1}) {
    files_[i] = open_at(directory.get(), std::to_string(i), O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
    if (fsync(files_[i].get()) != 0) fail_errno("sync {}/journal/{}", tree_.path(), i);
  }
  if (fsync(directory.get()) != 0) fail_errno("sync {}/journal", tree_.path());
  replay();
  writer_ = std::thread([this] { work(); });
  syncer_ = std::thread([this] { sync_everything(); });
}

Journal::~Journal() {
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wake_.notify_all();
  writer_.join();  // what it still has to write may need both files in turn, and so the syncs between
  {
    std::lock_guard lock(mutex_);
    has_written_ = true;
  }
  synced_.notify_all();
  syncer_.join();
  // An orderly end leaves nothing to be made again. When the sync fails, the journal stays.
  if (broken_ || !make_unmade() || syncfs(tree_.root()) != 0) return;
  for (const int i : {1 - current_, current_})
    if (ftruncate(files_[i].get(), 0) != 0 || fsync(files_[i].get()) != 0) return;
}

// The file with the older generation first: what both change has the newer one's state at the end.
void Journal::replay() {
  struct Part {
    uint64_t generation;
    int file;
    std::string bytes;
  };
  std::vector<Part> parts;
  for (const int i : {0, 1}) {
    std::string bytes = read_all(files_[i].get(), "journal", options_.max_file_bytes + 2 * kMaxBody);
    const std::optional<Record> first = decode_record(bytes);
    parts.push_back({first ? first->generation : 0, i, std::move(bytes)});
  }
  std::sort(parts.begin(), parts.end(),
            [](const Part& a, const Part& b) { return a.generation < b.generation; });
  for (const Part& part : parts) {
    std::string_view rest = part.bytes;
    while (std::optional<Record> record = decode_record(rest)) {
      if (record->generation != part.generation) break;  // an older record that was not overwritten yet
      for (const Change& change : record->changes) make(change, true);
      rest.remove_prefix(record->size);
    }
    generation_ = part.generation + 1;
  }
  if (syncfs(tree_.root()) != 0) fail_errno("sync {}", tree_.path());
  // The older one first, and surely: alone it would bring back what the newer one has changed since.
  for (const Part& part : parts)
    if (ftruncate(files_[part.file].get(), 0) != 0 || fsync(files_[part.file].get()) != 0)
      fail_errno("empty {}/journal/{}", tree_.path(), part.file);
}

void Journal::make(const Change& change, bool again) {
  uint64_t before = 0;
  if (change.taken && change.taken->is_on())
    if (const std::optional<OpenedFile> file = tree_.open(target_of(change))) before = file->size;
  switch (change.kind) {
    case Change::Kind::kPut:
      if (change.from.empty() || !tree_.move(change.from, change.path)) tree_.put(change.path, change.data);
      break;
    case Change::Kind::kRemove:
      tree_.remove(change.path);
      break;
    case Change::Kind::kMove:
      if (tree_.move(change.path, change.data)) break;
      if (!again && !tree_.exists(change.data))
        fail(ErrorCode::kNotFound, "{}/{}: has gone", tree_.path(), change.path);
      return;
    case Change::Kind::kRemoveIfUnused:
      break;  // was done before the record was written
  }
  if (change.taken) change.taken->settle(before);
}

void Journal::commit(std::vector<Change> changes, Done done) {
  {
    std::lock_guard lock(mutex_);
    waiting_.push_back({std::move(changes), std::move(done)});
  }
  wake_.notify_all();
}

void Journal::commit_now(std::vector<Change> changes) {
  wait_for({std::move(changes), {}});
}

void Journal::settle() {
  wait_for({{}, {}, true});
}

void Journal::wait_for(Waiting waiting) {
  std::promise<void> promise;
  waiting.done = [&](const std::exception_ptr& failure) {
    if (failure)
      promise.set_exception(failure);
    else
      promise.set_value();
  };
  {
    std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(waiting));
  }
  wake_.notify_all();
  promise.get_future().get();
}

void Journal::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [&] { return closing_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    size_t count = 0, bytes = 0;
    while (count < waiting_.size() && count < kBatchRequests && (count == 0 || bytes < kBatchBytes))
      bytes += bytes_of(waiting_[count++].changes);
    const auto end = waiting_.begin() + static_cast<ptrdiff_t>(count);
    std::vector<Waiting> batch(std::make_move_iterator(waiting_.begin()), std::make_move_iterator(end));
    waiting_.erase(waiting_.begin(), end);
    lock.unlock();
    const std::exception_ptr failure = write_and_make(batch);
    if (failure)
      for (Waiting& waiting : batch) {
        waiting.changes.clear();  // what was taken for them is given back before anybody hears of it
        waiting.done(failure);
      }
    lock.lock();
  }
}

// Nothing is done when the record cannot be written; else each request is told of its own changes.
std::exception_ptr Journal::write_and_make(std::vector<Waiting>& batch) {
  try {
    {
      std::lock_guard lock(mutex_);
      if (broken_) return broken_;
    }
    // Removals that depend on the tree's state are made first: what is used after that finds it gone, and
    // what makes it anew comes later in this record, or in a later one.
    std::vector<const Change*> changes;
    for (const bool is_conditional : {true, false})
      for (const Waiting& waiting : batch)
        for (const Change& change : waiting.changes)
          if ((change.kind == Change::Kind::kRemoveIfUnused) == is_conditional &&
              (!is_conditional || tree_.remove_if_unused(change.path, change.before_s)))
            changes.push_back(&change);
    if (!make_unmade() && bytes_of(unmade_) > kMostUnmade)
      fail(ErrorCode::kIo, "{}: {} changes cannot be made", tree_.path(), unmade_.size());
    if (!changes.empty()) write_record(std::move(changes));
  } catch (...) {
    return std::current_exception();
  }
  for (Waiting& waiting : batch) {
    const std::exception_ptr failure = make_all(std::move(waiting.changes));
    waiting.done(waiting.settles && !unmade_.empty() ? unmade_why_ : failure);
  }
  return nullptr;
}

// What a record has to say of a path is the newest; and after a change that cannot be made none is of the
// same request, or a tag would name a manifest that is not there.
std::exception_ptr Journal::make_all(std::vector<Change> changes) {
  std::exception_ptr failure;
  for (Change& change : changes) {
    std::erase_if(unmade_, [&](const Change& old) { return target_of(old) == target_of(change); });
    try {
      if (!failure) {
        make(change, false);
        continue;
      }
    } catch (const Error& error) {
      failure = std::current_exception();
      if (error.code() == ErrorCode::kNotFound)
        return failure;  // what was to be moved: it will not come back
    } catch (...) {
      failure = std::current_exception();
    }
    unmade_.push_back(std::move(change));
    unmade_why_ = failure;
  }
  return failure;
}

bool Journal::make_unmade() {
  size_t made = 0;
  try {
    for (; made < unmade_.size(); made++) make(unmade_[made], true);
  } catch (...) {
    unmade_why_ = std::current_exception();
  }
  unmade_.erase(unmade_.begin(), unmade_.begin() + static_cast<ptrdiff_t>(made));
  return unmade_.empty();
}

void Journal::write_record(std::vector<const Change*> changes) {
  uint64_t size = kHead;
  for (const Change* change : changes) size += bytes_of(*change);
  if (offset_ > 0 && offset_ + size > options_.max_file_bytes) {
    change_files();
    // The file that has them is not made again for much longer.
    std::vector<const Change*> all;
    for (const Change& change : unmade_) all.push_back(&change);
    all.insert(all.end(), changes.begin(), changes.end());
    changes = std::move(all);
  }
  const std::string record = encode_record(generation_, changes);
  const int file = files_[current_].get();
  uint64_t& filled = filled_[current_];
  if (const uint64_t end = offset_ + record.size(); end > filled) {
    // Room for the next records too: syncs of what is there already need no change of the file system's own.
    const uint64_t target = (end / kFillStep + 1) * kFillStep;
    const std::string zeros(std::min<uint64_t>(target - filled, kKeptBuffer), '\0');
    while (filled < target) {
      const ssize_t n = pwrite(file, zeros.data(), std::min<uint64_t>(target - filled, zeros.size()),
                               static_cast<off_t>(filled));
      if (n < 0) fail_errno("write {}/journal/{}", tree_.path(), current_);
      filled += static_cast<uint64_t>(n);
    }
  }
  for (size_t done = 0; done < record.size();) {
    const ssize_t n =
        pwrite(file, record.data() + done, record.size() - done, static_cast<off_t>(offset_ + done));
    if (n < 0) fail_errno("write {}/journal/{}", tree_.path(), current_);
    done += static_cast<size_t>(n);
  }
  if (fdatasync(file) != 0) {
    // The kernel may have dropped the pages: nothing is written any more until somebody starts the server
    // again.
    const Error error = errno_error(errno, fmt::format("sync {}/journal/{}", tree_.path(), current_));
    std::lock_guard lock(mutex_);
    broken_ = std::make_exception_ptr(error);
    throw error;
  }
  offset_ += record.size();
}

void Journal::change_files() {
  std::unique_lock lock(mutex_);
  synced_.wait(lock, [&] { return !sync_wanted_ && !sync_runs_; });
  if (broken_) std::rethrow_exception(broken_);
  current_ = 1 - current_;
  offset_ = 0;
  generation_++;
  sync_wanted_ = true;
  synced_.notify_all();
}

void Journal::sync_everything() {
  std::unique_lock lock(mutex_);
  while (true) {
    synced_.wait(lock, [&] { return has_written_ || sync_wanted_; });
    if (!sync_wanted_) return;
    sync_wanted_ = false;
    sync_runs_ = true;
    lock.unlock();
    const bool is_synced = syncfs(tree_.root()) == 0;
    const int error = errno;
    lock.lock();
    if (!is_synced)
      broken_ = std::make_exception_ptr(errno_error(error, fmt::format("sync {}", tree_.path())));
    sync_runs_ = false;
    synced_.notify_all();
  }
}

}  // namespace corten::registry::serving
