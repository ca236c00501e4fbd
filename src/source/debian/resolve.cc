#include "source/debian/resolve.h"

#include <fcntl.h>

#include <algorithm>
#include <mutex>
#include <set>
#include <unordered_map>

#include "base/error.h"
#include "base/strings.h"
#include "base/subprocess.h"
#include "base/suggest.h"
#include "base/thread_pool.h"
#include "base/unique_fd.h"
#include "source/debian/control.h"

namespace corten::source::debian {

namespace {

constexpr uint64_t kMaxPackageBytes = uint64_t{4} << 30;
constexpr unsigned kDownloads = 6;

// What maintainer scripts need and nothing else does. Where no script will ever run, dependencies on these
// are taken as met; who includes one by name gets it.
const std::vector<std::string> kScriptPackages = {"adduser",
                                                  "base-passwd",
                                                  "bash",
                                                  "cdebconf",
                                                  "coreutils",
                                                  "dash",
                                                  "debconf",
                                                  "debconf-2.0",
                                                  "debianutils",
                                                  "dpkg",
                                                  "findutils",
                                                  "grep",
                                                  "init-system-helpers",
                                                  "install-info",
                                                  "libc-bin",
                                                  "lsb-base",
                                                  "mawk",
                                                  "awk",
                                                  "openssl",
                                                  "passwd",
                                                  "perl",
                                                  "perl-base",
                                                  "sed",
                                                  "sensible-utils",
                                                  "systemd",
                                                  "sysvinit-utils",
                                                  "tar",
                                                  "ucf"};

struct FoundPackage {
  LockedPackage locked;
  bool is_essential = false;
  std::string priority;
};

// The packages of all indexes. Where the same version stands in two suites the first index counts.
class Catalogue {
 public:
  void add(const ArchiveIndex& index) {
    std::string name = index.source.uri + " " + index.source.suite + " Packages";
    parse_paragraphs(index.packages, name, [&](const Paragraph& p) {
      std::string package(p.require("Package"));
      try {
        add_package(p, package, index.source.suite);
      } catch (Error& error) {
        error.add_context(fmt::format("{}: package {}", name, quote(package)));
        throw;
      }
    });
  }

  bool has(std::string_view name) const { return names_.contains(std::string(name)); }
  std::vector<std::string> names() const { return {names_.begin(), names_.end()}; }
  std::vector<std::string> essential() const { return {essential_.begin(), essential_.end()}; }
  std::vector<std::string> important() const { return {important_.begin(), important_.end()}; }
  const LockedPackage& get(const ChosenPackage& chosen) const {
    auto found = packages_.find(key(chosen.name, chosen.version, chosen.architecture));
    if (found == packages_.end())
      fail(ErrorCode::kInternal, "the solver chose {} {}, which is in no index", chosen.name, chosen.version);
    return found->second;
  }

 private:
  static std::string key(std::string_view name, std::string_view version, std::string_view architecture) {
    return fmt::format("{} {} {}", name, version, architecture);
  }

  void add_package(const Paragraph& p, const std::string& name, const std::string& suite) {
    LockedPackage package;
    package.name = name;
    package.version = p.require("Version");
    package.architecture = p.require("Architecture");
    package.suite = suite;
    package.path = p.require("Filename");
    auto size = parse_int(p.require("Size"));
    package.digest = Digest::from_hex(p.require("SHA256"));
    if (!is_package_name(name)) fail(ErrorCode::kInvalid, "malformed name");
    if (!is_package_version(package.version) || !is_architecture(package.architecture))
      fail(ErrorCode::kInvalid, "malformed version or architecture");
    if (package.path.starts_with("./")) package.path.erase(0, 2);
    if (!is_archive_path(package.path))
      fail(ErrorCode::kInvalid, "malformed Filename {}", quote(package.path));
    if (!size || *size <= 0 || static_cast<uint64_t>(*size) > kMaxPackageBytes)
      fail(ErrorCode::kInvalid, "malformed Size");
    package.size = static_cast<uint64_t>(*size);
    names_.insert(name);
    if (p.is_yes("Essential")) essential_.insert(name);
    std::string_view priority = p.get("Priority");
    if (priority == "required" || priority == "important") important_.insert(name);
    packages_.emplace(key(name, package.version, package.architecture), std::move(package));
  }

  std::unordered_map<std::string, LockedPackage> packages_;
  std::set<std::string> names_, essential_, important_;
};

std::vector<ArchiveSuite> sources_for(const Recipe& recipe, const ResolveOptions& options) {
  std::vector<ArchiveSuite> apt;
  if (recipe.mirrors.empty()) apt = read_apt_sources(options.etc_apt);
  return choose_sources(apt, recipe.suite, recipe.mirrors);
}

std::string name_of(std::string_view wanted) {
  return std::string(wanted.substr(0, wanted.find('=')));
}

std::vector<std::string> sorted(std::vector<std::string> list) {
  std::sort(list.begin(), list.end());
  list.erase(std::unique(list.begin(), list.end()), list.end());
  return list;
}

}  // namespace

std::string emit_question(const SolverQuestion& q) {
  std::string text = "architecture " + q.architecture + "\n";
  for (const std::string& path : q.indexes) text += "index " + path + "\n";
  for (const std::string& name : q.assumed) text += "assume " + name + "\n";
  for (const std::string& name : q.preferred) text += "prefer " + name + "\n";
  for (const std::string& name : q.wanted) text += "want " + name + "\n";
  return text;
}

std::vector<ChosenPackage> solve(const SolverQuestion& question) {
  SubprocessResult result =
      run_subprocess({helper_program("corten-solve-debian")}, {.input = emit_question(question)});
  if (result.exit_code != 0)
    fail(ErrorCode::kFailed, "packages cannot be chosen: {}", trim(printable(result.error_output)));
  std::vector<ChosenPackage> chosen;
  for (const std::string& line : split(result.output, '\n')) {
    std::vector<std::string> words = split_words(line);
    if (words.size() == 3) chosen.push_back({words[0], words[1], words[2]});
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

VariantPackages variant_packages(const Recipe& recipe, const std::vector<std::string>& essential,
                                 const std::function<bool(std::string_view)>& exists) {
  VariantPackages packages;
  switch (recipe.variant) {
    case Variant::kMinbase:
      packages.base = essential;
      packages.base.push_back("apt");
      // init-system-helpers asks for one of two packages; the image is merged from the start, so the one
      // without programs will do.
      if (exists("usr-is-merged")) packages.base.push_back("usr-is-merged");
      break;
    case Variant::kDistroless:
      packages.base = {"base-files", "ca-certificates", "netbase", "tzdata"};
      break;
    case Variant::kBusybox:
      packages.base = {"busybox-static"};
      break;
  }
  if (recipe.variant != Variant::kMinbase)
    for (const std::string& name : kScriptPackages)
      if (std::none_of(recipe.include.begin(), recipe.include.end(),
                       [&](const std::string& item) { return name_of(item) == name; }))
        packages.assumed.push_back(name);
  return packages;
}

Lock resolve(const Recipe& recipe, const ResolveOptions& options) {
  check_recipe(recipe);
  Lock lock{.suite = recipe.suite,
            .architecture = recipe.architecture,
            .variant = recipe.variant,
            .include = sorted(recipe.include),
            .releases = {},
            .packages = {}};
  Catalogue catalogue;
  TempDir place = options.store.temporary("solve");
  SolverQuestion question{
      .architecture = recipe.architecture, .indexes = {}, .wanted = {}, .assumed = {}, .preferred = {}};
  std::set<std::string> seen;
  for (const ArchiveSuite& source : sources_for(recipe, options)) {
    auto index = fetch_index(source, recipe.architecture, options.http, options.store, options.progress);
    if (!index) continue;
    seen.insert(source.suite);
    std::string path = place / fmt::format("packages-{}", question.indexes.size());
    UniqueFd fd = open_file(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
    write_fully(fd.get(), index->packages, path);
    question.indexes.push_back(path);
    catalogue.add(*index);
    lock.releases.push_back(index->release);
  }
  if (!seen.contains(recipe.suite))
    throw Error(ErrorCode::kNotFound,
                fmt::format("suite {}: found in none of the {}", recipe.suite,
                            recipe.mirrors.empty() ? "machine's apt sources" : "mirrors"))
        .with_hint("name an archive that has it with --mirror; its address ends where dists/ begins");
  std::stable_sort(lock.releases.begin(), lock.releases.end(),
                   [](const auto& a, const auto& b) { return a.suite < b.suite; });

  for (const std::string& item : recipe.include)
    if (!catalogue.has(name_of(item)))
      fail(ErrorCode::kNotFound, "package {}: not in {}{}", name_of(item), recipe.suite,
           did_you_mean(name_of(item), catalogue.names()));
  VariantPackages variant = variant_packages(recipe, catalogue.essential(),
                                             [&](std::string_view name) { return catalogue.has(name); });
  question.assumed = variant.assumed;
  question.preferred = catalogue.important();
  question.wanted = sorted(variant.base);
  options.progress(fmt::format("choosing packages for {} {}", recipe.suite, variant_name(recipe.variant)));
  std::vector<ChosenPackage> base = solve(question), all = base;
  if (!recipe.include.empty()) {
    question.wanted.insert(question.wanted.end(), lock.include.begin(), lock.include.end());
    all = solve(question);
  }
  for (const ChosenPackage& chosen : all) {
    lock.packages.push_back(catalogue.get(chosen));
    lock.packages.back().is_essential = std::binary_search(base.begin(), base.end(), chosen);
  }
  for (size_t i = 1; i < all.size(); i++)
    if (all[i - 1].name == all[i].name)
      fail(ErrorCode::kUnsupported, "package {}: needed for two architectures", all[i].name);
  return lock;
}

void fetch_packages(const Recipe& recipe, const Lock& lock, const ResolveOptions& options) {
  std::vector<const LockedPackage*> missing;
  uint64_t bytes = 0;
  for (const LockedPackage& package : lock.packages)
    if (!options.store.contents().has(package.digest)) {
      missing.push_back(&package);
      bytes += package.size;
    }
  if (missing.empty()) return;
  options.progress(fmt::format("fetching {} packages ({})", missing.size(), human_size(bytes)));
  std::vector<ArchiveSuite> sources = sources_for(recipe, options);
  std::mutex mutex;
  size_t done = 0;
  auto fetch = [&](const LockedPackage& package) {
    std::vector<std::string> uris;
    for (const ArchiveSuite& source : sources)
      if (source.suite == package.suite) uris.push_back(source.uri);
    if (uris.empty()) fail(ErrorCode::kNotFound, "no source for suite {}", package.suite);
    for (size_t i = 0; i < uris.size(); i++) {
      std::string url = uris[i] + "/" + package.path;
      try {
        options.http.with_retries([&] {
          http::Response response = options.http.open(url);
          archive::VerifyingSource verified(*response.body, package.digest, package.size, url);
          options.store.contents().add_stream(verified);
        });
        return;
      } catch (Error& error) {
        if (error.code() == ErrorCode::kNotFound && error.hint().empty())
          error.set_hint(
              "the mirror no longer has this version: run `corten base lock` anew, or use a snapshot as "
              "mirror");
        if (i + 1 == uris.size()) throw;
      }
    }
  };
  parallel_for(missing.size(), kDownloads, [&](size_t i) {
    try {
      fetch(*missing[i]);
    } catch (Error& error) {
      error.add_context(fmt::format("package {} {}", missing[i]->name, missing[i]->version));
      throw;
    }
    std::lock_guard lock_progress(mutex);
    options.progress(
        fmt::format("fetched {}/{} {} {}", ++done, missing.size(), missing[i]->name, missing[i]->version));
  });
}

}  // namespace corten::source::debian
