// What a build takes from addresses: git repositories and http files, with the credentials that the command
// line handed in.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/temp_dir.h"
#include "base/thread_pool.h"
#include "build/request.h"
#include "cli/build_flags.h"
#include "source/git_source.h"
#include "source/http_files.h"

namespace corten::cli {

// CORTEN_MAX_UNPACKED: what an archive of the context or of ADD may unpack to.
uint64_t max_unpacked_bytes();

// Thread-safe.
class RemoteSources {
 public:
  // Who is waiting for a server is let go by `cancellation`.
  RemoteSources(const BuildFlags& flags, store::Store& store, unsigned threads,
                const Cancellation& cancellation);

  const std::map<std::string, build::Secret>& secrets() const { return secrets_; }
  const std::map<std::string, std::shared_ptr<source::SshAgent>>& ssh() const { return ssh_; }

  using Note = std::function<void(std::string_view)>;
  // An address on the command line: file:// is one, a directory of that name is none.
  static std::optional<source::GitReference> git_context(const std::string& text);
  static bool is_http(std::string_view text);
  std::shared_ptr<const store::Tree> git_tree(const source::GitReference& reference, const Note& note);
  source::HttpFile download(const std::string& address, const Note& note);
  // The file alone in a tree, as BuildKit has it.
  static std::shared_ptr<const store::Tree> single_file(const source::HttpFile& file, const std::string& name,
                                                        std::optional<int64_t> time);

  // For ADD.
  build::RemoteTree load(const build::RemoteSource& source, const build::FetchWatch& watch);

 private:
  source::GitAccess git_access();
  std::string ssh_socket();
  source::HttpAccess http_access() const;

  bool keeps_source_times_, has_epoch_;
  std::optional<bool> keeps_git_dir_;  // BUILDKIT_CONTEXT_KEEP_GIT_DIR
  std::map<std::string, build::Secret> secrets_;
  std::map<std::string, std::shared_ptr<source::SshAgent>> ssh_;
  store::Store& store_;
  std::mutex mutex_;
  TempDir socket_place_;
  std::unique_ptr<source::SshAgentSocket> socket_;  // for git, made when it is first needed
  Cancellation cancellation_;
  source::GitSource git_;
  source::HttpFiles http_;
};

}  // namespace corten::cli
