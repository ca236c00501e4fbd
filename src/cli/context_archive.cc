#include "cli/context_archive.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "archive/gzip_encoder.h"
#include "archive/tar.h"
#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "dockerfile/ignore.h"

namespace corten::cli {

namespace {

constexpr size_t kMaxIgnoreBytes = 1 << 20;
constexpr int kDeepest = 200;

std::vector<std::string> ignore_patterns(const std::string& directory, const std::string& dockerfile) {
  for (const std::string& name : {dockerfile + ".dockerignore", std::string(".dockerignore")})
    if (path_exists(directory + "/" + name))
      return dockerfile::parse_ignore_file(read_file(directory + "/" + name, kMaxIgnoreBytes));
  return {};
}

class Walk {
 public:
  Walk(archive::TarWriter& tar, const dockerfile::IgnoreMatcher& matcher, std::string dockerfile)
      : tar_(tar), matcher_(matcher), dockerfile_(std::move(dockerfile)) {}

  void directory(int fd, const std::string& prefix, const dockerfile::IgnoreMatcher::State& state,
                 int depth) {
    if (depth > kDeepest) fail(ErrorCode::kInvalid, "{}: directories are nested too deep", prefix);
    for (const std::string& name : names_in(fd, prefix)) entry(fd, name, prefix + name, state, depth);
  }
  size_t entries() const { return entries_; }

 private:
  static std::vector<std::string> names_in(int fd, const std::string& prefix) {
    std::unique_ptr<DIR, int (*)(DIR*)> stream(fdopendir(open_at(fd, ".", O_RDONLY | O_DIRECTORY).release()),
                                               closedir);
    if (!stream) fail_errno("read directory {}", prefix);
    std::vector<std::string> names;
    while (dirent* item = readdir(stream.get()))
      if (std::string name = item->d_name; name != "." && name != "..") names.push_back(std::move(name));
    std::sort(names.begin(), names.end());
    return names;
  }

  // The Dockerfile and the directories on the way to it are sent whatever the rules, as docker does.
  bool is_needed(const std::string& path) const {
    return path == dockerfile_ || dockerfile_.starts_with(path + "/");
  }

  void entry(int parent, const std::string& name, const std::string& path,
             const dockerfile::IgnoreMatcher::State& state, int depth) {
    struct stat status {};
    if (fstatat(parent, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) fail_errno("stat {}", path);
    auto match = matcher_.match(path, state);
    bool is_sent = !match.is_ignored || is_needed(path);
    archive::TarHeader header{.path = path, .mode = status.st_mode & 07777u};
    if (S_ISDIR(status.st_mode)) {
      if (!is_sent && matcher_.can_prune(path)) return;
      header.type = archive::TarType::kDirectory;
      if (is_sent) add(header);
      UniqueFd fd = open_at(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      directory(fd.get(), path + "/", match.state, depth + 1);
    } else if (is_sent && S_ISLNK(status.st_mode)) {
      header.type = archive::TarType::kSymlink;
      header.link = link_of(parent, name, path);
      add(header);
    } else if (is_sent && S_ISREG(status.st_mode)) {
      add_file(open_at(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK), header);
    }
  }

  static std::string link_of(int parent, const std::string& name, const std::string& path) {
    std::string target(4096, '\0');
    ssize_t size = readlinkat(parent, name.c_str(), target.data(), target.size());
    if (size < 0) fail_errno("read link {}", path);
    target.resize(static_cast<size_t>(size));
    return target;
  }

  void add_file(const UniqueFd& fd, archive::TarHeader header) {
    struct stat status {};
    if (fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode))
      fail(ErrorCode::kIo, "{}: changed meanwhile", header.path);
    header.size = static_cast<uint64_t>(status.st_size);
    archive::FdSource content(fd.get(), header.path);
    tar_.add(header, content);
    entries_++;
  }
  void add(const archive::TarHeader& header) {
    tar_.add(header, "");
    entries_++;
  }

  archive::TarWriter& tar_;
  const dockerfile::IgnoreMatcher& matcher_;
  std::string dockerfile_;
  size_t entries_ = 0;
};

// Reads the file as it goes; owns the descriptor.
class FileSource : public archive::ByteSource {
 public:
  explicit FileSource(const std::string& path) : fd_(open_file(path, O_RDONLY)), from_(fd_.get(), path) {}
  size_t read(void* data, size_t size) override { return from_.read(data, size); }

 private:
  UniqueFd fd_;
  archive::FdSource from_;
};

}  // namespace

ContextArchive::ContextArchive(const std::string& directory, const std::string& dockerfile) {
  const char* temporary = getenv("TMPDIR");
  directory_ = TempDir::make(temporary && *temporary ? temporary : "/tmp", "corten-context-");
  UniqueFd root = open_file(directory, O_RDONLY | O_DIRECTORY);
  if (!path_exists(directory + "/" + dockerfile))
    throw Error(ErrorCode::kNotFound,
                fmt::format("{}: no such file in the context {}", dockerfile, quote(directory)))
        .with_hint("a build elsewhere gets the context alone: -f names a file in it");
  UniqueFd file = open_file(directory_ / "context.tar.gz", O_WRONLY | O_CREAT | O_EXCL, 0600);
  archive::FdSink sink(file.get(), "context archive");
  archive::GzipWriter gzip(sink);
  archive::TarWriter tar(gzip, &gzip);
  dockerfile::IgnoreMatcher matcher(ignore_patterns(directory, dockerfile));
  Walk walk(tar, matcher, dockerfile);
  walk.directory(root.get(), "", {}, 0);
  tar.finish();
  size_ = gzip.finish().compressed_size;
  entries_ = walk.entries();
  file.close_checked("context archive");
}

http::RequestBody ContextArchive::body() const {
  std::string path = directory_ / "context.tar.gz";
  return {.size = size_, .open = [path] { return std::make_unique<FileSource>(path); }};
}

}  // namespace corten::cli
