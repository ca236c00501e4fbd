#include "build/debian_base.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "base/wait_lock.h"
#include "build/flatten.h"
#include "source/debian/apt_sources.h"
#include "source/debian/extracted_rootfs.h"

namespace corten::build {

namespace {

using source::debian::Lock;
using source::debian::LockedPackage;
using source::debian::Package;
using source::debian::Recipe;
using source::debian::Variant;

constexpr std::string_view kPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
// Part of every key; raised when what is done beside the scripts changes.
constexpr int kMaker = 2;
constexpr size_t kMaxSourcesBytes = 1 << 20;
constexpr std::string_view kPackagesMount = "/run/corten/packages";

// Both scripts: no service is started, nobody is asked, and nothing stays that tells when or where it was
// done.
constexpr std::string_view kBefore = R"(set -eu
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
)";
constexpr std::string_view kAfter = R"(
rm -f /usr/sbin/policy-rc.d
rm -rf /var/log/* /var/cache/ldconfig/aux-cache /var/cache/debconf/*-old /var/cache/apt/* /var/lib/apt/lists/* /var/lib/dpkg/*-old \
  /var/lib/systemd/random-seed /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /etc/subuid- /etc/subgid- /etc/.pwd.lock /tmp/* /var/tmp/* /root/.bash_history
mkdir -p /var/log/apt /var/cache/apt/archives/partial /var/lib/apt/lists/partial
: > /etc/machine-id
rm -f /var/lib/dbus/machine-id
)";
// base-passwd makes the accounts that other packages' files belong to.
constexpr std::string_view kInstallEssential = R"(
dpkg="dpkg --force-depends --force-unsafe-io --install"
mkdir -p /var/lib/dpkg/info /var/lib/dpkg/updates /var/lib/dpkg/triggers /var/lib/dpkg/alternatives
: >> /var/lib/dpkg/status
: >> /var/lib/dpkg/available
$dpkg "$PACKAGES"/base-passwd_*.deb
$dpkg "$PACKAGES"/*.deb
dpkg --configure --pending
)";
constexpr std::string_view kInstallIncluded = R"(
apt-get -o APT::Sandbox::User=root -o Dir::Cache::Archives=/tmp/ -o Dpkg::Options::=--force-unsafe-io -o Dpkg::Use-Pty=0 \
  -o APT::Install-Recommends=false -o Acquire::AllowUnsizedPackages=true \
  --yes --quiet --quiet install "$PACKAGES"/*.deb
)";

// How many entries of packages say when they were made; the newest is the image's time.
int64_t newest_seconds(const std::vector<Package>& packages, int64_t now_ns) {
  int64_t newest = kScratchTime * 1'000'000'000;
  for (const Package& package : packages)
    for (const store::Entry& e : package.files.entries())
      if (e.time_ns && *e.time_ns < now_ns) newest = std::max(newest, *e.time_ns);
  return newest / 1'000'000'000 + (newest % 1'000'000'000 > 0);
}

oci::ImageConfig make_config(const Recipe& recipe) {
  oci::ImageConfig config;
  config.platform = source::debian::platform_of(recipe.architecture);
  config.config.env = {std::string(kPath)};
  for (const auto& [name, value] : recipe.env) config.config.set_env(name, value);
  if (recipe.variant == Variant::kMinbase) config.config.cmd = {"bash"};
  if (recipe.variant == Variant::kBusybox) config.config.cmd = {"/bin/sh"};
  if (recipe.variant == Variant::kDistroless && !config.config.env_value("SSL_CERT_FILE"))
    config.config.set_env("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt");
  if (recipe.cmd) config.config.cmd = *recipe.cmd;
  config.config.entrypoint = recipe.entrypoint;
  config.config.user = recipe.user;
  config.config.working_dir = recipe.working_dir.empty() ? "/" : recipe.working_dir;
  config.config.labels = recipe.labels;
  return config;
}

oci::History history_of(std::string_view what) {
  oci::History entry;
  entry.created_by = what;
  entry.comment = "corten base";
  return entry;
}

class MinbaseMaker {
 public:
  MinbaseMaker(const Lock& lock, const std::vector<Package>& packages, Executor& executor,
               const DebianBaseProgress& progress)
      : lock_(lock), packages_(packages), executor_(executor), progress_(progress) {}

  store::Rootfs make() {
    std::vector<size_t> essential, included;
    for (size_t i = 0; i < lock_.packages.size(); i++)
      (lock_.packages[i].is_essential ? essential : included).push_back(i);
    StageLayer base{action("essential packages of " + lock_.suite, essential, {}, kInstallEssential,
                           [&] { return install_essential(essential); }),
                    true, false, true};
    StageRootfs rootfs;
    rootfs = with_layer(rootfs, base, *executor_.store.layers().load(base.ref.id), executor_.clock.now_ns());
    if (!included.empty()) {
      store::LayerRef layer = action("included packages", included, rootfs.refs(), kInstallIncluded, [&] {
        progress_.note(fmt::format("installing {} packages", included.size()));
        return run(kInstallIncluded, included, rootfs);
      });
      rootfs.layers.push_back({layer, true, false, true});
    }
    return rootfs.refs();
  }

 private:
  // A layer is kept under what it is made of: packages, scripts, and the layers beneath.
  store::LayerRef action(const std::string& name, const std::vector<size_t>& chosen,
                         const store::Rootfs& below, std::string_view script,
                         const std::function<store::LayerRef()>& make) {
    Json record = Json::object({{"step", "corten base: " + name},
                                {"maker", kMaker},
                                {"suite", lock_.suite},
                                {"architecture", lock_.architecture}});
    for (const source::debian::LockedRelease& release : lock_.releases)
      record["suites"].push_back(release.suite);
    record.set("script", std::string(kBefore) + std::string(script) + std::string(kAfter));
    record.set("below", store::rootfs_digest(below).to_string());
    for (size_t i : chosen)
      record["packages"].push_back(lock_.packages[i].name + " " + lock_.packages[i].version + " " +
                                   lock_.packages[i].digest.to_string());
    store::Action action;
    action.record = record.dump();
    action.key = Digest::of(action.record);
    FileLock lock;
    std::string lock_path = executor_.store.lock_path(action.key.hex());
    if (!FileLock::try_exclusive(lock_path, lock)) {
      progress_.note("waiting for another 'corten base' that makes the same");
      lock = wait_for_lock(lock_path, executor_.cancellation);
    }
    if (auto known = executor_.store.find_action(action.key);
        known && executor_.store.layers().has(known->layer.id))
      return known->layer;
    action.kind = "exact";
    action.layer = make();
    executor_.store.record_action(action);
    return action.layer;
  }

  store::LayerRef install_essential(const std::vector<size_t>& essential) {
    progress_.note(fmt::format("extracting {} packages", essential.size()));
    store::EmptyTree nothing;
    store::LayerBuilder builder(nothing);
    builder.put(store::default_root());
    source::debian::make_merged_usr(lock_.architecture, builder);
    // Whose directories have other modes than 0755 comes first: base-files says what /tmp and /root are.
    for (bool is_first : {true, false})
      for (size_t i : essential)
        if ((lock_.packages[i].name == "base-files") == is_first)
          source::debian::place_package(packages_[i], builder);
    add_apt_sources(builder);
    auto extracted = std::make_shared<store::Manifest>(builder.finish());
    int64_t time = kScratchTime;
    StageRootfs rootfs =
        with_layer({}, {{executor_.store.layers().save(*extracted), time}, true, false, false}, *extracted,
                   executor_.clock.now_ns());
    rootfs.layers[0].ref.time = time = rootfs.newest + 1;
    progress_.note(fmt::format("configuring {} packages", essential.size()));
    store::LayerRef upper = run(kInstallEssential, essential, rootfs);
    return {executor_.store.layers().save(flatten(extracted, executor_.store.layers().load(upper.id))),
            upper.time};
  }

  // The image's own sources are those that its apt gives as an example, whatever mirror it was made from: the
  // same on every machine.
  void add_apt_sources(store::LayerBuilder& builder) {
    store::Contents& contents = executor_.store.contents();
    std::vector<source::debian::ArchiveSuite> sources;
    auto take = [&](const char* name, auto parse) {  // trixie has the first, bookworm the second
      const store::Entry* example = builder.find(RootfsPath("usr/share/doc/apt/examples").child(name));
      if (sources.empty() && example && example->type == store::EntryType::kFile)
        sources = parse(contents.read(example->content, kMaxSourcesBytes), name);
    };
    take("debian.sources", source::debian::parse_deb822_sources);
    take("sources.list", source::debian::parse_sources_list);
    std::string text;
    for (const source::debian::ArchiveSuite& source : sources) {
      if (std::none_of(lock_.releases.begin(), lock_.releases.end(),
                       [&](const auto& release) { return release.suite == source.suite; }))
        continue;
      text += fmt::format(
          "{}Types: deb\nURIs: {}\nSuites: {}\nComponents: main\nSigned-By: "
          "/usr/share/keyrings/debian-archive-keyring.gpg\n",
          text.empty() ? "" : "\n", source.uri, source.suite);
    }
    if (text.empty()) return;
    store::Entry e;
    e.path = RootfsPath("etc/apt/sources.list.d/debian.sources");
    e.mode = 0644;
    e.size = text.size();
    e.content = contents.add_bytes(text);
    builder.put(std::move(e));
  }

  // Runs a script with the packages' files in a directory.
  store::LayerRef run(std::string_view script, const std::vector<size_t>& chosen, const StageRootfs& below) {
    std::vector<store::Entry> files;
    for (size_t i : chosen) {
      const LockedPackage& package = lock_.packages[i];
      store::Entry e;
      e.path = RootfsPath(package.name + "_" + package.architecture + ".deb");
      e.mode = 0644;
      e.size = package.size;
      e.content = package.digest;
      e.time_ns = kScratchTime * 1'000'000'000;
      files.push_back(std::move(e));
    }
    RunStep step;
    step.scripts.push_back(
        {"install-packages", std::string(kBefore) + std::string(script) + std::string(kAfter)});
    step.argv = {"/bin/sh", "/dev/pipes/install-packages"};
    step.environment = {std::string(kPath),
                        "HOME=/root",
                        "LC_ALL=C",
                        "TZ=UTC",
                        "DEBIAN_FRONTEND=noninteractive",
                        "DEBCONF_NONINTERACTIVE_SEEN=true",
                        "PACKAGES=" + std::string(kPackagesMount)};
    step.network = "none";
    step.hostname = "localhost";
    MountUse use;
    use.mount.type = dockerfile::MountType::kBind;
    use.mount.target = kPackagesMount;
    use.mount.source = "/";
    use.mount.read_only = true;
    step.mounts.push_back(std::move(use));
    RunInputs inputs;
    inputs.below = below;
    MountSource source;
    source.tree = std::make_shared<store::RootfsView>(
        std::vector{std::make_shared<const store::Manifest>(std::move(files))});
    inputs.sources.push_back(std::move(source));
    inputs.output = progress_.output;
    return execute_run(step, inputs, executor_);
  }

  const Lock& lock_;
  const std::vector<Package>& packages_;
  Executor& executor_;
  const DebianBaseProgress& progress_;
};

void check_budget(const Recipe& recipe, const Lock& lock, const std::vector<Package>& packages,
                  uint64_t size) {
  if (!recipe.size_budget || size <= *recipe.size_budget) return;
  std::vector<std::pair<uint64_t, std::string>> largest;
  for (size_t i = 0; i < packages.size(); i++)
    largest.emplace_back(packages[i].files.content_bytes(), lock.packages[i].name);
  std::sort(largest.rbegin(), largest.rend());
  std::string names;
  for (size_t i = 0; i < std::min<size_t>(3, largest.size()); i++)
    names += fmt::format("{}{} ({})", i ? ", " : "", largest[i].second, human_size(largest[i].first));
  throw Error(ErrorCode::kInvalid, fmt::format("the image has {}, its budget is {}", human_size(size),
                                               human_size(*recipe.size_budget)))
      .with_hint("largest packages: " + names);
}

}  // namespace

DebianBase make_debian_base(const Recipe& recipe, const Lock& lock, Executor& executor,
                            const DebianBaseProgress& progress) {
  source::debian::check_lock_fits(recipe, lock);
  std::vector<Package> packages(lock.packages.size());
  parallel_for(packages.size(), executor.request.threads, [&](size_t i) {
    executor.cancellation.check();
    packages[i] = source::debian::load_package(lock.packages[i], executor.store);
  });
  int64_t created = newest_seconds(packages, executor.clock.now_ns());

  DebianBase base;
  base.config = make_config(recipe);
  base.created = oci::format_time(created);
  if (lock.variant == Variant::kMinbase) {
    // Debian's own accounts end with nobody, 65534.
    if (!executor.entered.records_owners() && executor.entered.mapping.usable_ids() < 65535)
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("minbase: its files belong to ids up to 65534, here there are {}",
                              executor.entered.mapping.usable_ids()))
          .with_hint(
              "give a range of 65536 in /etc/subuid and /etc/subgid; distroless and busybox need none");
    base.layers = MinbaseMaker(lock, packages, executor, progress).make();
  } else {
    progress.note(fmt::format("extracting {} packages", packages.size()));
    base.layers = {{executor.store.layers().save(
                        source::debian::make_extracted_rootfs(lock, packages, executor.store.contents())),
                    created + 1}};
  }
  std::string title = fmt::format("corten base --suite {} --variant {}", lock.suite,
                                  source::debian::variant_name(lock.variant));
  base.config.history.push_back(history_of(title));
  if (base.layers.size() > 1)
    base.config.history.push_back(history_of("corten base --include " + join(lock.include, ",")));
  for (const store::LayerRef& layer : base.layers)
    base.size += executor.store.layers().load(layer.id)->content_bytes();
  check_budget(recipe, lock, packages, base.size);
  return base;
}

}  // namespace corten::build
