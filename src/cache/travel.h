// A build's caches that came from elsewhere and go elsewhere, as the solver sees them.
#pragma once
#include <memory>
#include <vector>

#include "build/caches.h"
#include "cache/exports.h"
#include "cache/imports.h"

namespace corten::cache {

// Thread-safe. `store` is borrowed.
class Travel : public build::Caches {
 public:
  Travel(store::Store& store, std::shared_ptr<Imports> imports, std::vector<std::unique_ptr<Export>> exports)
      : store_(store), imports_(std::move(imports)), exports_(std::move(exports)) {}

  void begin(const build::Plan& plan, const build::Request& request, FilesOf files) override;
  void end() override;
  std::optional<store::Action> find(const Digest& key, const store::Rootfs& below,
                                    build::StepId step) override;
  std::vector<bool> foresee() override;
  std::optional<store::LayerRef> foreseen(build::StepId step, const store::Rootfs& below) override;
  std::optional<store::Rootfs> base(const source::BaseImage& image) override;
  bool fill_mount(const std::string& id, const std::string& directory, const store::Owners& owners) override;
  void step_ended(const store::Action& action, const std::vector<store::LayerRef>& exported,
                  bool is_made) override;
  void base_used(const source::BaseImage& image, const store::Rootfs& layers) override;
  void mount_used(const std::string& id) override;

  const std::vector<std::unique_ptr<Export>>& exports() const { return exports_; }

 private:
  store::Store& store_;
  std::shared_ptr<Imports> imports_;
  std::vector<std::unique_ptr<Export>> exports_;
};

// The keys of a base image's layers: of each, of all below it too, since what a tar's whiteouts and links
// mean depends on them. Over blobs, not only tars: what is built on a base carries it as it came.
std::vector<Digest> base_keys(const std::vector<oci::Descriptor>& blobs, const std::vector<DiffId>& diff_ids);

}  // namespace corten::cache
