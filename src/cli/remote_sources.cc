#include "cli/remote_sources.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/core.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"
#include "cli/build_secrets.h"
#include "store/layer_tar.h"

namespace corten::cli {

namespace {

std::string build_arg(const BuildFlags& flags, const std::string& name) {
  std::string found;
  for (const std::string& text : flags.build_args) {
    if (text.starts_with(name + "=")) found = text.substr(name.size() + 1);
    const char* value = text == name ? getenv(name.c_str()) : nullptr;
    if (value) found = value;
  }
  return found;
}

bool is_directory(const std::string& path) {
  struct stat st;
  return stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

http::ClientOptions http_options(const Cancellation& cancellation) {
  http::ClientOptions options;
  options.cancellation = cancellation;
  return options;
}

uint64_t size_of_environment(const char* name, uint64_t usual) {
  const char* text = getenv(name);
  if (!text || !*text) return usual;
  auto bytes = parse_decimal_size(text);
  if (!bytes) fail(ErrorCode::kUsage, "{}={}: not a size (8GB)", name, quote(text));
  return *bytes;
}

std::vector<std::string> agents_of(const BuildFlags& flags) {
  if (!flags.ssh.empty() || !getenv("SSH_AUTH_SOCK")) return flags.ssh;
  try {
    auto git = RemoteSources::git_context(flags.context);
    if (git && git->scheme == "ssh") return {"default"};
  } catch (const Error&) {
    // Told when the context is opened.
  }
  return {};
}

}  // namespace

uint64_t max_unpacked_bytes() {
  return size_of_environment("CORTEN_MAX_UNPACKED", store::kUsualUnpackedBytes);
}

RemoteSources::RemoteSources(const BuildFlags& flags, store::Store& store, unsigned threads,
                             const Cancellation& cancellation)
    : keeps_source_times_(flags.timestamps == "source"),
      has_epoch_(getenv("SOURCE_DATE_EPOCH") || !build_arg(flags, "SOURCE_DATE_EPOCH").empty()),
      secrets_(read_secrets(flags.secrets)),
      ssh_(read_ssh(agents_of(flags))),
      store_(store),
      cancellation_(cancellation),
      git_(store, git_access(), threads),
      http_(store, http_options(cancellation_), http_access()) {
  std::string keeps = build_arg(flags, "BUILDKIT_CONTEXT_KEEP_GIT_DIR");
  if (keeps == "1" || iequals(keeps, "t") || iequals(keeps, "true")) keeps_git_dir_ = true;
}

// git over ssh takes the keys of --ssh default; a context by ssh takes the user's agent without being told,
// as with buildx.
std::string RemoteSources::ssh_socket() {
  auto agent = ssh_.find("default");
  if (agent == ssh_.end()) return "";
  std::lock_guard lock(mutex_);
  if (!socket_) {
    // A socket's address holds 107 bytes; a store may lie deeper.
    constexpr size_t kLongest = 80;
    const std::string inside = store_.path() + "/tmp";
    socket_place_ = TempDir::make(inside.size() < kLongest ? inside : "/tmp", "ssh-");
    socket_ = std::make_unique<source::SshAgentSocket>(
        agent->second, socket_place_.path(), "agent",
        source::SshAgentSocket::Options{.mode = 0600, .uid = geteuid(), .gid = getegid()});
  }
  return socket_->path();
}

source::GitAccess RemoteSources::git_access() {
  source::GitAccess access;
  access.secret = [this](const std::string& id) -> std::optional<std::string> {
    auto found = secrets_.find(id);
    return found == secrets_.end() ? std::nullopt : std::optional(found->second.value);
  };
  access.ssh_socket = [this] { return ssh_socket(); };
  access.cancellation = cancellation_;
  return access;
}

source::HttpAccess RemoteSources::http_access() const {
  source::HttpAccess access;
  access.secret = [this](const std::string& id) -> std::optional<std::string> {
    auto found = secrets_.find(id);
    return found == secrets_.end() ? std::nullopt : std::optional(found->second.value);
  };
  access.max_bytes = size_of_environment("CORTEN_MAX_DOWNLOAD", access.max_bytes);
  return access;
}

std::optional<source::GitReference> RemoteSources::git_context(const std::string& text) {
  if (is_directory(text)) return std::nullopt;
  return source::parse_git_reference(text, {.files = true});
}

bool RemoteSources::is_http(std::string_view text) {
  return text.starts_with("http://") || text.starts_with("https://");
}

std::shared_ptr<const store::Tree> RemoteSources::git_tree(const source::GitReference& reference,
                                                           const Note& note) {
  source::GitOptions options;
  options.keep_git_dir = keeps_git_dir_.value_or(false);
  // A context's times count only where BuildKit's are asked for.
  options.commit_times = keeps_source_times_ && (reference.commit_times || has_epoch_);
  options.note = note;
  return git_.checkout(reference, options).tree;
}

source::HttpFile RemoteSources::download(const std::string& address, const Note& note) {
  return http_.fetch(address, {.checksum = std::nullopt, .needs_time = false, .note = note});
}

std::shared_ptr<const store::Tree> RemoteSources::single_file(const source::HttpFile& file,
                                                              const std::string& name,
                                                              std::optional<int64_t> time) {
  store::Entry entry;
  entry.path = RootfsPath().child(name);
  entry.mode = 0600;
  entry.size = file.size;
  entry.content = file.content;
  if (time) entry.time_ns = clamped_ns(*time);
  return std::make_shared<store::RootfsView>(std::vector<std::shared_ptr<const store::Manifest>>{
      std::make_shared<const store::Manifest>(std::vector<store::Entry>{std::move(entry)})});
}

build::RemoteTree RemoteSources::load(const build::RemoteSource& source, const build::FetchWatch& watch) {
  if (source.is_git) {
    source::GitReference reference = *source::parse_git_reference(source.address);
    if (!source.checksum.empty()) reference.checksum = to_lower(source.checksum);
    source::GitOptions options;
    options.keep_git_dir = source.keep_git_dir.value_or(false);
    options.note = watch.note;
    return {git_.checkout(reference, options).tree, ""};
  }
  source::HttpFiles::Options options;
  if (!source.checksum.empty()) options.checksum = Digest::parse(source.checksum);
  options.needs_time = keeps_source_times_;
  options.note = watch.note;
  options.progress = watch.progress;
  source::HttpFile file = http_.fetch(source.address, options);
  // What a server says about the time is no part of what a checksum vouches for.
  std::optional<int64_t> time = file.modified;
  if (options.checksum && !keeps_source_times_) time.reset();
  if (!time && keeps_source_times_) time = 0;
  std::string name = source::http_file_name(source.address);
  return {single_file(file, name, time), name};
}

}  // namespace corten::cli
