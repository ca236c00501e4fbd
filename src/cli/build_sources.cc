#include "cli/build_sources.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include <fmt/core.h>

#include "archive/compression.h"
#include "archive/tar.h"
#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "cli/session.h"
#include "http/url.h"
#include "source/tar_context.h"

namespace corten::cli {

namespace {

constexpr size_t kMaxDockerfileBytes = 32 << 20;
constexpr const char* kStandardInput = "standard input";

bool is_dockerfile_name(std::string_view name) {
  std::string lower = to_lower(name);
  return lower == "dockerfile" || lower == "containerfile" || lower.starts_with("dockerfile.") ||
         lower.ends_with(".dockerfile");
}

// Dockerfiles below a directory, a few levels deep and at most twenty.
void collect_dockerfiles(const std::string& directory, const std::string& shown, int depth,
                         std::vector<std::string>& found) {
  constexpr size_t kMost = 20;
  DIR* stream = opendir(directory.c_str());
  if (!stream) return;
  std::vector<std::string> directories;
  while (dirent* item = readdir(stream)) {
    std::string name = item->d_name;
    if (name.starts_with('.') || found.size() >= kMost) continue;
    if (item->d_type == DT_DIR)
      directories.push_back(name);
    else if (is_dockerfile_name(name) && !name.ends_with(".dockerignore"))
      found.push_back(shown + name);
  }
  closedir(stream);
  std::sort(directories.begin(), directories.end());
  if (depth > 0)
    for (const std::string& name : directories)
      collect_dockerfiles(directory + "/" + name, shown + name + "/", depth - 1, found);
}

std::string real_path(const std::string& path) {
  char* real = realpath(path.c_str(), nullptr);
  if (!real) return path;
  std::string text = real;
  free(real);
  return text;
}

// Keeps what is read through it.
class RecordingSource : public archive::ByteSource {
 public:
  explicit RecordingSource(archive::ByteSource& from) : from_(from) {}
  size_t read(void* data, size_t size) override {
    size_t count = from_.read(data, size);
    bytes_.append(static_cast<const char*>(data), count);
    return count;
  }
  std::string take() { return std::move(bytes_); }

 private:
  archive::ByteSource& from_;
  std::string bytes_;
};

bool looks_like_archive(archive::ByteSource& source) {
  try {
    auto plain = archive::open_decompressor(source);
    std::string head(512, '\0');
    head.resize(archive::read_fully(*plain, head.data(), head.size()));
    return archive::looks_like_tar(head);
  } catch (const Error&) {
    return false;
  }
}

// "the store holds a, b".
std::string names_in(store::Store& store) {
  std::vector<std::string> names;
  for (const store::Image& image : store.images())
    for (const std::string& tag : image.tags) names.push_back(short_name(tag));
  for (const store::ImageIndex& index : store.indexes())
    for (const std::string& tag : index.tags) names.push_back(short_name(tag));
  return names.empty() ? "the store holds no image" : "the store holds " + join(names, ", ");
}

// The last build that gave this name, else a Dockerfile that is called like it, else a guess.
std::string command_that_makes(const oci::Reference& reference, store::Store& store) {
  const std::string name = reference.familiar();
  for (const store::BuildRecord& build : store.builds()) {
    auto known = oci::Reference::try_parse(build.name);
    if (!known || known->with_default_tag() != reference || build.status != "done") continue;
    const std::string file = build.details.get_string("file"), context = build.details.get_string("context");
    const bool is_usual = file.empty() || file == "Dockerfile";
    return fmt::format("corten build -t {}{} {}", build.name, is_usual ? "" : " -f " + context + "/" + file,
                       context.empty() ? "." : context);
  }
  const std::string last = reference.repository().substr(reference.repository().rfind('/') + 1);
  std::vector<std::string> files;
  collect_dockerfiles(".", "", 2, files);
  for (const std::string& file : files) {
    const std::string base = HostPath{file}.filename(), suffix = base.substr(base.find('.') + 1);
    if (base != suffix && (suffix == last || last.ends_with("-" + suffix)))
      return fmt::format("corten build -t {} -f {} .", name, file);
  }
  return fmt::format("corten build -t {} .", name);
}

}  // namespace

CommandLineSources::CommandLineSources(const BuildFlags& flags, store::Store& store,
                                       RegistrySession& registry, unsigned threads,
                                       const Cancellation& cancellation)
    : flags_(flags),
      store_(store),
      registry_(registry),
      remote_(flags, store, threads, cancellation),
      threads_(threads) {
  if (flags.context == "-" && flags.file == "-")
    fail(ErrorCode::kUsage, "invalid argument: can't use stdin for both build context and dockerfile");
  if ((flags.context == "-" || flags.file == "-") && isatty(0))
    print_warning("reading from the terminal: end with Ctrl-D");
  if (flags.file == "-") standard_input_ = read_all(0, kStandardInput, kMaxDockerfileBytes);
  open_context();
  for (const std::string& text : flags.build_contexts) open_named(text);
}

// Before there is a progress display.
void CommandLineSources::note(std::string_view text) const {
  if (flags_.quiet || flags_.progress == "quiet" || flags_.progress == "rawjson") return;
  fprintf(stderr, "%s\n", printable(text).c_str());
}

std::optional<std::string> CommandLineSources::text_in(const store::Tree& tree, const std::string& name) {
  const store::Entry* entry = tree.find(store::resolve_links(tree, RootfsPath(name)));
  if (!entry || entry->type != store::EntryType::kFile) return std::nullopt;
  return entry->size ? store_.contents().read(entry->content, kMaxDockerfileBytes) : "";
}

// The Dockerfile of a context that is no directory of this machine: in the context, or where an absolute -f
// or a `-` says (as buildx has it).
void CommandLineSources::take_dockerfile(const store::Tree& tree) {
  if (RemoteSources::is_http(flags_.file)) return read_dockerfile_address();
  if (flags_.file == "-" || (flags_.file.starts_with('/') && flags_.context != "-")) {
    dockerfile_ =
        flags_.file == "-" ? std::move(standard_input_) : read_file(flags_.file, kMaxDockerfileBytes);
    dockerfile_name_ = flags_.file == "-" ? "Dockerfile" : HostPath{flags_.file}.filename();
    return;
  }
  dockerfile_name_ = flags_.file.empty() ? "Dockerfile" : flags_.file;
  auto text = text_in(tree, dockerfile_name_);
  if (!text && flags_.file.empty()) text = text_in(tree, "dockerfile");
  if (!text)
    fail(ErrorCode::kNotFound, "failed to read dockerfile: open {}: no such file or directory",
         dockerfile_name_);
  dockerfile_ = *text;
}

// The ignore file of an archive does not count, as with BuildKit: whoever packs one chooses what is in it.
void CommandLineSources::open_archive(archive::ByteSource& bytes) {
  context_ = source::read_tar_context(
      bytes, {.keep_times = flags_.timestamps == "source", .max_unpacked_bytes = max_unpacked_bytes()},
      store_.contents());
  take_dockerfile(*context_);
}

void CommandLineSources::open_git(const source::GitReference& reference) {
  context_ = remote_.git_tree(reference, [this](std::string_view text) { note(text); });
  take_dockerfile(*context_);
}

// An archive is the context; anything else is the Dockerfile.
void CommandLineSources::open_http() {
  source::HttpFile file = remote_.download(flags_.context, [this](std::string_view text) { note(text); });
  std::string path = file.size ? store_.contents().path(file.content) : "/dev/null";
  UniqueFd fd = open_file(path, O_RDONLY);
  archive::FdSource head(fd.get(), flags_.context);
  if (looks_like_archive(head)) {
    UniqueFd again = open_file(path, O_RDONLY);
    archive::FdSource whole(again.get(), flags_.context);
    try {
      open_archive(whole);
    } catch (Error& error) {
      error.add_context("context " + http::parse_url(flags_.context).shown());
      throw;
    }
    return;
  }
  constexpr const char* kName = "context";  // BuildKit's name for it
  context_ = RemoteSources::single_file(file, kName, std::nullopt);
  dockerfile_name_ = kName;
  dockerfile_ = text_in(*context_, kName).value_or("");
}

// An archive is the context, and is never held as a whole; anything else is the Dockerfile. (Compressed, it
// must come to its first header within a megabyte.)
void CommandLineSources::open_standard_input() {
  constexpr uint64_t kHeadBytes = 1 << 20, kMostPadding = 1 << 20;
  archive::FdSource input(0, kStandardInput);
  archive::BoundedSource beginning(input, kHeadBytes);
  RecordingSource head(beginning);
  bool is_archive = looks_like_archive(head);
  archive::PrefixedSource whole(head.take(), input);
  if (is_archive) {
    open_archive(whole);
    // Who packs writes padding behind the archive's end, and would be told that nobody reads it.
    archive::BoundedSource padding(input, kMostPadding);
    try {
      archive::drain(padding);
    } catch (const Error&) {
      // The context is whole.
    }
    return;
  }
  if (!flags_.file.empty())
    fail(ErrorCode::kUsage, "ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles");
  try {
    dockerfile_ = archive::read_rest(whole, kMaxDockerfileBytes);
  } catch (Error& error) {
    error.add_context(kStandardInput);
    throw;
  }
  dockerfile_name_ = "Dockerfile";
  context_ = std::make_shared<store::EmptyTree>();
}

void CommandLineSources::read_dockerfile_address() {
  source::HttpFile file = remote_.download(flags_.file, [this](std::string_view text) { note(text); });
  dockerfile_ = file.size ? store_.contents().read(file.content, kMaxDockerfileBytes) : "";
  dockerfile_name_ = "Dockerfile";
}

void CommandLineSources::open_context() {
  if (flags_.context == "-") return open_standard_input();
  if (auto git = RemoteSources::git_context(flags_.context)) return open_git(*git);
  if (RemoteSources::is_http(flags_.context)) return open_http();
  struct stat st;
  if (stat(flags_.context.c_str(), &st) != 0 || !S_ISDIR(st.st_mode))
    throw Error(ErrorCode::kNotFound,
                fmt::format("unable to prepare context: path {} not found", quote(flags_.context)));
  find_dockerfile();
  local_ = open_directory(flags_.context, ignore_patterns(flags_.context));
  context_ = local_;
}

void CommandLineSources::find_dockerfile() {
  if (RemoteSources::is_http(flags_.file)) return read_dockerfile_address();
  if (flags_.file == "-") {
    dockerfile_ = std::move(standard_input_);
    dockerfile_name_ = "Dockerfile";
    return;
  }
  std::string directory = flags_.context == "/" ? "" : flags_.context;
  while (directory.size() > 1 && directory.ends_with('/')) directory.pop_back();
  dockerfile_path_ = flags_.file.empty() ? directory + "/Dockerfile" : flags_.file;
  dockerfile_name_ = HostPath{dockerfile_path_}.filename();
  if (flags_.file.empty() && !path_exists(dockerfile_path_) && path_exists(directory + "/dockerfile"))
    dockerfile_path_ = directory + "/dockerfile";
  try {
    dockerfile_ = read_file(dockerfile_path_, kMaxDockerfileBytes);
  } catch (const Error& error) {
    std::string shown = flags_.file.empty() ? "Dockerfile" : flags_.file;
    Error better(error.code(),
                 fmt::format("failed to read dockerfile: open {}: {}", shown,
                             error.system_errno() ? errno_text(error.system_errno()) : error.what()));
    std::vector<std::string> found;
    collect_dockerfiles(directory.empty() ? "/" : directory, "", 3, found);
    if (error.code() == ErrorCode::kNotFound)
      better.set_hint(found.empty() ? fmt::format("there is no Dockerfile in {} or below; name one with -f",
                                                  flags_.context)
                                    : fmt::format("found {}; name one with -f", join(found, ", ")));
    throw better;
  }
}

std::vector<std::string> CommandLineSources::ignore_patterns(const std::string& directory) {
  constexpr size_t kMaxIgnoreBytes = 8 << 20;
  auto read = [&](const std::string& path) -> std::optional<std::string> {
    struct stat st;
    if (stat(path.c_str(), &st) != 0 || S_ISDIR(st.st_mode)) return std::nullopt;
    return read_file(path, kMaxIgnoreBytes);
  };
  std::string used;
  std::optional<std::string> text;
  if (!dockerfile_path_.empty()) text = read(used = dockerfile_path_ + ".dockerignore");
  if (!text) text = read(used = directory + "/.dockerignore");
  if (!dockerfile_path_.empty()) {
    std::string beside = HostPath{dockerfile_path_}.parent();
    if (real_path(beside) != real_path(directory) && path_exists(beside + "/.dockerignore") &&
        !path_exists(dockerfile_path_ + ".dockerignore"))
      warnings_.push_back(fmt::format(
          "{}/.dockerignore is not read: the context is {}. Rename it to {}.dockerignore, which is", beside,
          directory, dockerfile_path_));
  }
  return text ? dockerfile::parse_ignore_file(*text) : std::vector<std::string>();
}

std::shared_ptr<source::LocalContext> CommandLineSources::open_directory(const std::string& directory,
                                                                         std::vector<std::string> ignore) {
  source::LocalContextOptions options;
  options.ignore = std::move(ignore);
  options.keep_times = flags_.timestamps == "source";
  options.stat_cache = store_.path() + "/stat/" + Digest::of(real_path(directory)).short_hex();
  options.threads = threads_;
  auto context = std::make_shared<source::LocalContext>(HostPath{directory}, options, store_.contents());
  directories_.push_back(context);
  return context;
}

// `alpine`, `alpine:latest` and `docker.io/library/alpine` are one name, as with buildx.
static std::optional<std::string> context_key(const std::string& name) {
  auto reference = oci::Reference::try_parse(name);
  if (!reference) return std::nullopt;
  std::string key = reference->familiar();
  if (key.ends_with(":latest")) key.resize(key.size() - 7);
  return key;
}

std::map<std::string, CommandLineSources::Named>::iterator CommandLineSources::find_named(
    const std::string& name) {
  if (named_.empty() || iequals(name, "scratch") || iequals(name, "context")) return named_.end();
  auto key = context_key(name);
  return key ? named_.find(*key) : named_.end();
}

void CommandLineSources::open_named(const std::string& text) {
  size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size())
    throw Error(ErrorCode::kUsage, fmt::format("invalid build context {}", quote(text)))
        .with_hint("it has the form NAME=DIR, NAME=URL, NAME=oci-layout://DIR or NAME=docker-image://REF");
  std::string name = text.substr(0, equals), value = text.substr(equals + 1);
  Named named;
  if (value.starts_with("oci-layout://")) {
    named.layout = value.substr(13);
    // DIR:TAG or DIR@DIGEST; a colon in a directory's name is no tag when the whole is a directory.
    if (!path_exists(named.layout + "/oci-layout")) {
      size_t at = named.layout.find('@');
      if (at == std::string::npos) at = named.layout.find_last_of(':');
      if (at != std::string::npos) {
        named.layout_name = named.layout.substr(at + 1);
        named.layout.resize(at);
      }
    }
    if (!path_exists(named.layout))
      fail(ErrorCode::kNotFound, "build context {}: {}: no such directory", name, named.layout);
  } else if (value.starts_with("docker-image://")) {
    named.reference = value.substr(15);
  } else if (RemoteSources::git_context(value) || RemoteSources::is_http(value)) {
    named.address = value;
  } else {
    struct stat st;
    if (stat(value.c_str(), &st) != 0 || !S_ISDIR(st.st_mode))
      fail(ErrorCode::kNotFound, "build context {}: directory {} not found", name, quote(value));
    std::string ignore_file = value + "/.dockerignore";
    std::vector<std::string> ignore;
    if (path_exists(ignore_file) && stat(ignore_file.c_str(), &st) == 0 && S_ISREG(st.st_mode))
      ignore = dockerfile::parse_ignore_file(read_file(ignore_file, 8 << 20));
    named.tree = open_directory(value, std::move(ignore));
  }
  auto key = context_key(name);
  if (!key) fail(ErrorCode::kUsage, "invalid context name {}", name);
  named_[*key] = std::move(named);
}

std::shared_ptr<const store::Tree> CommandLineSources::named_tree(const std::string& name) {
  std::lock_guard lock(mutex_);
  auto found = find_named(name);
  if (found == named_.end()) return nullptr;
  Named& named = found->second;
  if (named.tree || named.address.empty()) return named.tree;
  auto say = [this](std::string_view text) { note(text); };
  try {
    if (auto git = RemoteSources::git_context(named.address))
      named.tree = remote_.git_tree(*git, say);
    else
      named.tree = RemoteSources::single_file(remote_.download(named.address, say), "context", std::nullopt);
  } catch (Error& error) {
    error.add_context("build context " + name);
    throw;
  }
  return named.tree;
}

std::optional<source::BaseImage> CommandLineSources::named_image(const std::string& name,
                                                                 const oci::Platform& platform) {
  auto named = find_named(name);
  if (named == named_.end() || named->second.tree || !named->second.address.empty()) return std::nullopt;
  if (!named->second.layout.empty())
    return source::image_from_layout({named->second.layout}, named->second.layout_name, platform, store_);
  return image(named->second.reference, platform);
}

source::BaseImage CommandLineSources::image(const std::string& text, const oci::Platform& platform) {
  if (text == "scratch") {
    source::BaseImage scratch;
    scratch.name = text;
    scratch.layers = [] { return store::Rootfs(); };
    return scratch;
  }
  oci::Reference reference = [&] {
    try {
      return oci::Reference::parse(text).with_default_tag();
    } catch (Error& error) {
      error.add_context(fmt::format("failed to parse stage name {}", quote(text)));
      throw;
    }
  }();
  {
    std::lock_guard lock(mutex_);
    bases_.push_back(reference);
  }
  if (flags_.pull != Pull::kAlways)
    if (auto found = store_.find_image(reference.to_string(), platform))
      return source::image_from_store(*found, text);
  // What a digest means never changes: nobody has to be asked, whatever the policy.
  if (auto stored = registry_.images(store_).stored_image(reference, platform)) {
    stored->name = reference.familiar();
    return *stored;
  }
  if (flags_.pull == Pull::kNever)
    throw Error(ErrorCode::kNotFound, fmt::format("Base image '{}' not found locally", reference.familiar()))
        .with_hint("build the base image first: " + command_that_makes(reference, store_));
  try {
    return pulled_image(reference, platform);
  } catch (Error& error) {
    if (error.code() != ErrorCode::kCancelled)
      error.set_hint(
          fmt::format("{}{}; bring it with 'corten load', make it with 'corten base', or pass "
                      "--build-context {}=oci-layout://DIR",
                      error.hint().empty() ? "" : error.hint() + "; ", names_in(store_), text));
    error.add_context("failed to resolve source metadata for " + reference.to_string());
    throw;
  }
}

// What is pulled has its name in the store from then on, so that the next build needs no registry. A name
// means one digest for the whole build, although it may move meanwhile.
source::BaseImage CommandLineSources::pulled_image(const oci::Reference& reference,
                                                   const oci::Platform& platform) {
  source::RegistryImages& images = registry_.images(store_);
  const oci::Reference exact = [&] {
    std::lock_guard lock(mutex_);
    auto [found, is_new] = resolved_.try_emplace(reference.to_string(), reference);
    if (is_new && !reference.digest()) {
      try {
        found->second = reference.with_digest(images.resolve(reference));
      } catch (...) {
        resolved_.erase(found);
        throw;
      }
    }
    return found->second;
  }();
  source::BaseImage image = images.image(exact, platform);
  image.name = reference.familiar();
  image.layers = [this, reference, fetch = image.layers, config = image.config] {
    store::Rootfs layers = fetch();
    if (!reference.digest()) source::keep_image(config, layers, {reference.to_string()}, store_);
    return layers;
  };
  return image;
}

std::vector<std::string> CommandLineSources::base_repositories(const std::string& registry) {
  std::lock_guard lock(mutex_);
  std::vector<std::string> found;
  for (const oci::Reference& base : bases_)
    if (base.registry() == registry &&
        std::find(found.begin(), found.end(), base.repository()) == found.end())
      found.push_back(base.repository());
  return found;
}

void CommandLineSources::save_stat_caches() {
  for (auto& directory : directories_) directory->save_stat_cache();
}

}  // namespace corten::cli
