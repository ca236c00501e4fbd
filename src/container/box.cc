#include "container/box.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/error.h"
#include "oci/config.h"
#include "sandbox/ulimit.h"
#include "sandbox/uppers.h"
#include "store/accounts.h"
#include "store/directory_body.h"
#include "store/flattened.h"
#include "store/upper.h"

namespace corten::container {

namespace {

void set_user(const store::RunUser& user, std::string_view hostname, sandbox::Spec& spec) {
  spec.uid = user.uid;
  spec.gid = user.gid;
  spec.groups.assign(user.groups.begin(), user.groups.end());
  // The own group is among the supplementary ones too: what is denied to it must stay denied after a setgid
  // (CVE-2022-36109).
  if (std::find(spec.groups.begin(), spec.groups.end(), user.gid) == spec.groups.end())
    spec.groups.insert(spec.groups.begin(), user.gid);
  oci::RunConfig variables;
  variables.env = std::move(spec.environment);
  if (!variables.env_value("HOME")) variables.set_env("HOME", user.home);
  if (!variables.env_value("HOSTNAME")) variables.set_env("HOSTNAME", hostname);
  spec.environment = std::move(variables.env);
}

// Docker writes both into the container; ours are private mounts, so nothing of them stays in upper.
std::string hosts_file(const ContainerSpec& container) {
  std::string text = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
  text += fmt::format("127.0.0.1\t{}\n", container.hostname);
  for (const std::string& host : container.extra_hosts) {
    size_t cut = host.find_first_of(":=");
    text += host.substr(cut + 1) + "\t" + host.substr(0, cut) + "\n";
  }
  return text;
}

sandbox::Mount mount_of(const Volume& volume, const Container& container, const store::Tree& image,
                        const store::Owners& owners, store::Store& store) {
  sandbox::Mount mount;
  mount.target = volume.target;
  mount.read_only = volume.read_only;
  if (volume.kind == Volume::Kind::kTmpfs) {
    mount.kind = sandbox::Mount::Kind::kTmpfs;
    if (volume.size_bytes != 0) mount.size_bytes = volume.size_bytes;
    mount.no_suid = mount.no_dev = true;
    return mount;
  }
  mount.source.path = prepare_volume(volume, container.directory(), image, owners, store);
  return mount;
}

std::string read_in_root(int root, const char* path) {
  constexpr size_t kMaxBytes = 4 << 20;
  auto file = open_in_root(root, path, O_RDONLY | O_NONBLOCK);
  struct stat st;
  if (!file || fstat(file->get(), &st) != 0 || !S_ISREG(st.st_mode)) return "";
  return read_all(file->get(), path, kMaxBytes);
}

}  // namespace

Box make_box(const Container& container, const sandbox::Entered& entered, store::Store& store) {
  const ContainerSpec& wanted = container.spec();
  store::RootfsView image = store.layers().view(wanted.layers);
  std::string upper = (container.directory() / "upper").value, work = (container.directory() / "work").value;
  const store::Owners owners{.mapping = entered.mapping.to_string(), .recorded = entered.records_owners()};
  Box box;
  sandbox::Spec& spec = box.spec;
  if (sandbox::find_uppers(entered, container.directory()).uppers != sandbox::Uppers::kOnStore) {
    // An overlay in memory would be lost, and refused whiteouts below it: a container keeps what it wrote. So
    // its root is a copy of the image.
    store::make_directory_body(store::flattened(wanted.layers, image, store.layers()), 0, store.contents(),
                               upper, {.may_link = false, .owners = owners});
    spec.root.plain.path = {upper};
  } else {
    store::make_upper(upper, image, owners);
    if (mkdir(work.c_str(), 0700) != 0) fail_errno("make directory {}", work);
    for (auto layer = wanted.layers.rbegin(); layer != wanted.layers.rend(); ++layer) {
      HostPath directory = store.layers().directory(*layer, owners);
      box.layers.push_back(open_file(directory.value, O_PATH | O_DIRECTORY));
      spec.root.lowers.push_back({.path = directory, .fd = box.layers.back().get()});
    }
    spec.root.upper = {upper};
    spec.root.work = {work};
  }
  store::make_working_directory(upper, RootfsPath(wanted.directory), image, owners);
  spec.one_id = entered.records_owners();
  spec.root.read_only = wanted.read_only;
  for (const Volume& volume : wanted.volumes)
    spec.mounts.push_back(mount_of(volume, container, image, owners, store));
  spec.argv = wanted.argv();
  spec.environment = wanted.environment;
  spec.directory = RootfsPath(wanted.directory);
  set_user(store::Accounts::load(image, store.contents()).run_user(wanted.user), wanted.hostname, spec);
  if (owners.recorded) {
    box.recorder = {.uid = spec.uid, .gid = spec.gid, .specials = {}};
    for (store::SpecialOwner& special : store::special_owners(image, spec.uid, spec.gid))
      box.recorder->specials.push_back(
          {.path = std::move(special.path), .owner = {.uid = special.uid, .gid = special.gid}});
  }
  spec.hostname = wanted.hostname;
  spec.etc_hosts = hosts_file(wanted);
  spec.shm_bytes = wanted.shm_bytes;
  for (const std::string& limit : wanted.ulimits) spec.limits.push_back(sandbox::parse_ulimit(limit));
  return box;
}

sandbox::Spec join_spec(const ContainerSpec& container, const JoinOptions& options, int init_pidfd,
                        pid_t init_pid) {
  sandbox::Spec spec;
  spec.join_pidfd = init_pidfd;
  spec.argv = options.argv;
  oci::RunConfig variables;
  variables.env = container.environment;
  for (const std::string& text : options.environment) {
    size_t equals = text.find('=');
    if (equals != text.npos) variables.set_env(text.substr(0, equals), text.substr(equals + 1));
  }
  spec.environment = std::move(variables.env);
  spec.directory = RootfsPath(options.directory.empty() ? container.directory : options.directory);
  UniqueFd root = open_file(fmt::format("/proc/{}/root", init_pid), O_PATH | O_DIRECTORY);
  store::Accounts accounts =
      store::Accounts::parse(read_in_root(root.get(), "etc/passwd"), read_in_root(root.get(), "etc/group"));
  set_user(accounts.run_user(options.user.empty() ? container.user : options.user), container.hostname, spec);
  for (const std::string& limit : container.ulimits) spec.limits.push_back(sandbox::parse_ulimit(limit));
  return spec;
}

}  // namespace corten::container
