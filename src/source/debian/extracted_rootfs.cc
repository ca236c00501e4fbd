#include "source/debian/extracted_rootfs.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"

namespace corten::source::debian {

namespace {

using store::Entry;
using store::EntryType;

constexpr size_t kMaxBusyboxBytes = 64 << 20;
constexpr size_t kMaxCertificateBytes = 1 << 20;
constexpr uint32_t kNonroot = 65532;
constexpr std::string_view kNonrootHome = "home/nonroot";

constexpr std::string_view kPasswd =
    "root:x:0:0:root:/root:{}\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    "nonroot:x:65532:65532:nonroot:/{}:/usr/sbin/nologin\n";
constexpr std::string_view kGroup =
    "root:x:0:\n"
    "tty:x:5:\n"
    "staff:x:50:\n"
    "users:x:100:\n"
    "nogroup:x:65534:\n"
    "nonroot:x:65532:\n";

// Debian builds busybox without these two; images made for Alpine call them.
constexpr std::string_view kAddgroup = R"(#!/bin/sh
# addgroup [-g GID] [-S] GROUP, or addgroup USER GROUP, as in Alpine.
set -eu
gid= system=
while getopts g:S option; do
  case $option in
    g) gid=$OPTARG ;;
    S) system=1 ;;
    *) echo "usage: addgroup [-g GID] [-S] [USER] GROUP" >&2; exit 1 ;;
  esac
done
shift $((OPTIND - 1))
known() { grep -q "^$1:" /etc/group; }
taken() { cut -d: -f3 /etc/group | grep -qx "$1"; }
check() {
  case $1 in
    '' | *[!A-Za-z0-9._-]* | -*) echo "addgroup: invalid name '$1'" >&2; exit 1 ;;
  esac
}
case $# in
  1)
    check "$1"
    known "$1" && { echo "addgroup: group '$1' in use" >&2; exit 1; }
    if [ -z "$gid" ]; then
      if [ "$system" ]; then gid=100; else gid=1000; fi
      while taken "$gid"; do gid=$((gid + 1)); done
    else
      case $gid in *[!0-9]*) echo "addgroup: invalid number '$gid'" >&2; exit 1 ;; esac
      taken "$gid" && { echo "addgroup: gid '$gid' in use" >&2; exit 1; }
    fi
    echo "$1:x:$gid:" >> /etc/group
    ;;
  2)
    check "$1"
    check "$2"
    known "$2" || { echo "addgroup: unknown group $2" >&2; exit 1; }
    awk -F: -v OFS=: -v user="$1" -v group="$2" '
      $1 == group {
        n = split($4, members, ",")
        for (i = 1; i <= n; i++) if (members[i] == user) { print; next }
        $4 = $4 == "" ? user : $4 "," user
      }
      { print }' /etc/group > /etc/group.new
    cat /etc/group.new > /etc/group
    rm /etc/group.new
    ;;
  *) echo "usage: addgroup [-g GID] [-S] [USER] GROUP" >&2; exit 1 ;;
esac
)";

constexpr std::string_view kAdduser = R"(#!/bin/sh
# adduser [-D] [-H] [-S] [-u UID] [-G GROUP] [-h HOME] [-s SHELL] [-g GECOS] USER, or adduser USER GROUP, as in Alpine.
# Accounts have no password: nobody can log in with one.
set -eu
uid= group= home= shell=/bin/sh gecos= make_home=1 system=
while getopts DHSu:G:h:s:g:k: option; do
  case $option in
    D | k) ;;
    H) make_home= ;;
    S) system=1 make_home= shell=/sbin/nologin ;;
    u) uid=$OPTARG ;;
    G) group=$OPTARG ;;
    h) home=$OPTARG ;;
    s) shell=$OPTARG ;;
    g) gecos=$OPTARG ;;
    *) echo "usage: adduser [-D] [-H] [-S] [-u UID] [-G GROUP] [-h HOME] [-s SHELL] [-g GECOS] USER [GROUP]" >&2; exit 1 ;;
  esac
done
shift $((OPTIND - 1))
case $# in
  1) ;;
  2) exec addgroup "$1" "$2" ;;
  *) echo "usage: adduser [-D] [-H] [-S] [-u UID] [-G GROUP] [-h HOME] [-s SHELL] [-g GECOS] USER [GROUP]" >&2; exit 1 ;;
esac
user=$1
case $user in
  '' | *[!A-Za-z0-9._-]* | -*) echo "adduser: invalid name '$user'" >&2; exit 1 ;;
esac
grep -q "^$user:" /etc/passwd && { echo "adduser: user '$user' in use" >&2; exit 1; }
taken() { cut -d: -f3 /etc/passwd | grep -qx "$1"; }
if [ -z "$uid" ]; then
  if [ "$system" ]; then uid=100; else uid=1000; fi
  while taken "$uid"; do uid=$((uid + 1)); done
else
  case $uid in *[!0-9]*) echo "adduser: invalid number '$uid'" >&2; exit 1 ;; esac
  taken "$uid" && { echo "adduser: uid '$uid' in use" >&2; exit 1; }
fi
if [ -n "$group" ]; then
  gid=$(awk -F: -v name="$group" '$1 == name { print $3 }' /etc/group)
  [ -n "$gid" ] || { echo "adduser: unknown group $group" >&2; exit 1; }
elif [ "$system" ]; then
  gid=65534
else
  if cut -d: -f3 /etc/group | grep -qx "$uid"; then addgroup "$user"; else addgroup -g "$uid" "$user"; fi
  gid=$(awk -F: -v name="$user" '$1 == name { print $3 }' /etc/group)
fi
home=${home:-/home/$user}
echo "$user:x:$uid:$gid:${gecos:-Linux User,,,}:$home:$shell" >> /etc/passwd
[ -f /etc/shadow ] && echo "$user:!::0:::::" >> /etc/shadow
if [ "$make_home" ] && [ ! -e "$home" ]; then
  mkdir -p "$home"
  chown "$uid:$gid" "$home"
fi
exit 0
)";

bool is_wanted(const RootfsPath& path) {
  static const RootfsPath kDoc("usr/share/doc");
  for (const char* manual :
       {"usr/share/man", "usr/share/info", "usr/share/lintian", "usr/share/bug", "usr/share/initramfs-tools"})
    if (path.is_within(RootfsPath(manual))) return false;
  // Licences stay: who passes an image on passes them on.
  if (path.is_within(kDoc) && path != kDoc && path.parent() != kDoc) return path.filename() == "copyright";
  return true;
}

class RootfsMaker {
 public:
  RootfsMaker(const Lock& lock, const std::vector<Package>& packages, store::Contents& contents)
      : lock_(lock), packages_(packages), contents_(contents), builder_(nothing_) {}

  store::Manifest make() {
    builder_.put(store::default_root());
    make_merged_usr(lock_.architecture, builder_);
    bool is_busybox = lock_.variant == Variant::kBusybox;
    for (size_t i = 0; i < packages_.size(); i++) {
      place_package(packages_[i], builder_, is_wanted);
      std::string status = "var/lib/dpkg/status.d/" + lock_.packages[i].name;
      file(status, packages_[i].control);
      if (!packages_[i].md5sums.empty()) file(status + ".md5sums", packages_[i].md5sums);
    }
    for (const char* path :
         {"dev", "proc", "sys", "run", "etc", "home", "mnt", "opt", "srv", "var/lib", "var/cache", "var/log"})
      directory(path, 0755);
    directory("root", 0700);
    directory("tmp", 01777);
    directory("var/tmp", 01777);
    directory(kNonrootHome, 0700, kNonroot);
    link("var/run", "/run");
    text("etc/passwd",
         fmt::format(fmt::runtime(kPasswd), is_busybox ? "/bin/sh" : "/usr/sbin/nologin", kNonrootHome));
    text("etc/group", std::string(kGroup));
    text("etc/nsswitch.conf",
         "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n");
    bundle_certificates();
    if (is_busybox) add_busybox();
    return builder_.finish();
  }

 private:
  // Paths of ours go through links too: what a package ships as a link stays one.
  RootfsPath place(std::string_view path) const { return store::resolve_links(builder_, RootfsPath(path)); }

  void file(std::string_view path, std::string_view bytes, uint32_t mode = 0644) {
    Entry e;
    e.path = place(path);
    e.mode = mode;
    e.size = bytes.size();
    e.content = contents_.add_bytes(bytes);
    builder_.put(std::move(e));
  }
  // What a package may bring itself.
  void text(std::string_view path, const std::string& bytes) {
    if (!builder_.find(place(path))) file(path, bytes);
  }
  void directory(std::string_view path, uint32_t mode, uint32_t owner = 0) {
    if (builder_.find(place(path))) return;
    Entry e = store::default_root();
    e.path = place(path);
    e.mode = mode;
    e.uid = e.gid = owner;
    builder_.put(std::move(e));
  }
  void link(std::string_view path, std::string_view target) {
    RootfsPath at(path);
    at = place(at.parent().str()).child(at.filename());
    if (builder_.find(at)) return;
    Entry e;
    e.path = at;
    e.type = EntryType::kSymlink;
    e.link = target;
    builder_.put(std::move(e));
  }

  // What update-ca-certificates would make: all certificates in one file, in the order of their names.
  void bundle_certificates() {
    std::string bundle;
    store::walk(builder_, RootfsPath("usr/share/ca-certificates"), [&](const Entry& e) {
      if (e.type != EntryType::kFile || !e.path.filename().ends_with(".crt")) return;
      bundle += contents_.read(e.content, kMaxCertificateBytes);
      if (!bundle.ends_with('\n')) bundle += '\n';
    });
    if (!bundle.empty()) file("etc/ssl/certs/ca-certificates.crt", bundle);
  }

  void add_busybox() {
    RootfsPath program = place("bin/busybox");
    const Entry* busybox = builder_.find(program);
    if (!busybox || busybox->type != EntryType::kFile)
      fail(ErrorCode::kCorrupt, "busybox-static has no /bin/busybox");
    std::string binary = contents_.read(busybox->content, kMaxBusyboxBytes);
    for (const std::string& applet : busybox_applets(binary)) {
      link("usr/bin/" + applet, "busybox");
      // Scripts name some by the other folder; the names are the same.
      if (is_system_applet(applet)) link("usr/sbin/" + applet, "../bin/busybox");
    }
    if (!builder_.find(place("usr/sbin/adduser"))) file("usr/sbin/adduser", kAdduser, 0755);
    if (!builder_.find(place("usr/sbin/addgroup"))) file("usr/sbin/addgroup", kAddgroup, 0755);
  }

  static bool is_system_applet(std::string_view name) {
    static constexpr std::string_view kNames[] = {"arp",
                                                  "blkid",
                                                  "chroot",
                                                  "fdisk",
                                                  "freeramdisk",
                                                  "fstrim",
                                                  "getty",
                                                  "halt",
                                                  "hwclock",
                                                  "ifconfig",
                                                  "ifdown",
                                                  "ifup",
                                                  "init",
                                                  "ip",
                                                  "klogd",
                                                  "loadkmap",
                                                  "losetup",
                                                  "mdev",
                                                  "mkdosfs",
                                                  "mke2fs",
                                                  "mkfs.ext2",
                                                  "mkswap",
                                                  "modprobe",
                                                  "nologin",
                                                  "pivot_root",
                                                  "poweroff",
                                                  "reboot",
                                                  "route",
                                                  "start-stop-daemon",
                                                  "su",
                                                  "sulogin",
                                                  "swapoff",
                                                  "swapon",
                                                  "switch_root",
                                                  "sysctl",
                                                  "syslogd",
                                                  "tc",
                                                  "udhcpc",
                                                  "vconfig",
                                                  "watchdog"};
    return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
  }

  const Lock& lock_;
  const std::vector<Package>& packages_;
  store::Contents& contents_;
  store::EmptyTree nothing_;
  store::LayerBuilder builder_;
};

}  // namespace

// libbb keeps the names as zero-terminated strings one after the other, sorted, with an empty one at the end;
// `[` and `[[` sort first.
std::vector<std::string> busybox_applets(std::string_view binary) {
  using namespace std::string_view_literals;
  size_t at = binary.find("[\0[[\0"sv);
  std::vector<std::string> names;
  while (at < binary.size() && binary[at] != '\0') {
    size_t end = binary.find('\0', at);
    if (end == std::string_view::npos || end - at > 40) break;
    std::string name(binary.substr(at, end - at));
    if (name.find_first_not_of("[abcdefghijklmnopqrstuvwxyz0123456789_-.") != std::string::npos ||
        name.starts_with('.'))
      break;
    names.push_back(std::move(name));
    at = end + 1;
  }
  if (std::find(names.begin(), names.end(), "sh") == names.end() ||
      !std::is_sorted(names.begin(), names.end()))
    fail(ErrorCode::kCorrupt, "busybox: its table of applets was not found");
  std::erase(names, "busybox");
  return names;
}

store::Manifest make_extracted_rootfs(const Lock& lock, const std::vector<Package>& packages,
                                      store::Contents& contents) {
  return RootfsMaker(lock, packages, contents).make();
}

}  // namespace corten::source::debian
