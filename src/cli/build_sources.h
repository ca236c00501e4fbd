// Where a build's files come from on the command line: the context, named contexts, the Dockerfile, images of
// the store.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "build/request.h"
#include "cli/build_flags.h"
#include "cli/registry_session.h"
#include "cli/remote_sources.h"
#include "source/local_context.h"
#include "store/store.h"

namespace corten::cli {

class CommandLineSources : public build::Sources {
 public:
  // Reads the Dockerfile and prepares the contexts. Error(kNotFound) that lists the Dockerfiles that there
  // are.
  // Who is waiting for a server is let go by `cancellation`.
  CommandLineSources(const BuildFlags& flags, store::Store& store, RegistrySession& registry,
                     unsigned threads, const Cancellation& cancellation);
  // Repositories that base images of this build came from, of that registry.
  std::vector<std::string> base_repositories(const std::string& registry);

  const std::string& dockerfile() const { return dockerfile_; }
  const std::string& dockerfile_name() const { return dockerfile_name_; }
  // Remarks for the user: an ignore file that is not read.
  const std::vector<std::string>& warnings() const { return warnings_; }
  void save_stat_caches();
  const std::map<std::string, build::Secret>& secrets() const { return remote_.secrets(); }
  const std::map<std::string, std::shared_ptr<source::SshAgent>>& ssh() const { return remote_.ssh(); }

  std::shared_ptr<const store::Tree> main_context() override { return context_; }
  std::shared_ptr<const store::Tree> named_tree(const std::string& name) override;
  std::optional<source::BaseImage> named_image(const std::string& name,
                                               const oci::Platform& platform) override;
  bool has_named(const std::string& name) override { return find_named(name) != named_.end(); }
  source::BaseImage image(const std::string& reference, const oci::Platform& platform) override;
  build::RemoteTree remote(const build::RemoteSource& source, const build::FetchWatch& watch) override {
    return remote_.load(source, watch);
  }
  bool is_ignored(const RootfsPath& path) override { return local_ && local_->is_ignored(path); }
  const dockerfile::IgnoreMatcher* ignore_matcher() override { return local_ ? &local_->matcher() : nullptr; }

 private:
  void find_dockerfile();
  void open_context();
  void open_archive(archive::ByteSource& bytes);
  void open_git(const source::GitReference& reference);
  void open_http();
  void open_standard_input();
  void read_dockerfile_address();
  void take_dockerfile(const store::Tree& tree);
  std::optional<std::string> text_in(const store::Tree& tree, const std::string& name);
  void note(std::string_view text) const;
  void open_named(const std::string& text);
  std::vector<std::string> ignore_patterns(const std::string& directory);
  source::BaseImage pulled_image(const oci::Reference& reference, const oci::Platform& platform);
  std::shared_ptr<source::LocalContext> open_directory(const std::string& directory,
                                                       std::vector<std::string> ignore);

  struct Named {
    std::shared_ptr<const store::Tree> tree;
    std::string address;              // git or http: fetched when it is first asked for
    std::string layout, layout_name;  // oci-layout://
    std::string reference;            // docker-image://
  };

  std::map<std::string, Named>::iterator find_named(const std::string& name);

  const BuildFlags& flags_;
  store::Store& store_;
  RegistrySession& registry_;
  std::vector<oci::Reference> bases_;
  std::map<std::string, oci::Reference> resolved_;  // names that were asked for, with their digests
  RemoteSources remote_;
  std::mutex mutex_;  // of what is fetched late
  unsigned threads_;
  std::string dockerfile_, dockerfile_name_, dockerfile_path_;
  std::shared_ptr<const store::Tree> context_;
  std::shared_ptr<source::LocalContext> local_;
  std::vector<std::shared_ptr<source::LocalContext>> directories_;
  std::map<std::string, Named> named_;
  std::vector<std::string> warnings_;
  std::string standard_input_;  // a Dockerfile that comes there
};

}  // namespace corten::cli
