// corten base: images from Debian packages.
#include <mutex>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "build/debian_base.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/platforms.h"
#include "cli/session.h"
#include "image/assemble.h"
#include "sandbox/emulation.h"
#include "source/debian/resolve.h"

namespace corten::cli {

namespace {

using source::debian::Lock;
using source::debian::Recipe;

constexpr size_t kMaxRecipeBytes = 1 << 20;
constexpr size_t kMaxLockBytes = 64 << 20;
constexpr int kShownLines = 30;  // of the log when configuring fails

struct BaseFlags {
  std::string recipe_file, variant, suite;
  std::vector<std::string> mirrors, include, tags, platforms;
  bool quiet = false, verbose = false;
};

void add_recipe_flags(CLI::App& app, BaseFlags& flags) {
  app.add_option("-f,--file", flags.recipe_file,
                 "recipe (YAML); RECIPE.lock beside it says the versions when it is there");
  app.add_option("--variant", flags.variant,
                 "minbase (apt, configured), distroless (libraries only), busybox");
  app.add_option("--suite", flags.suite,
                 fmt::format("Debian's suite (default: {})", source::debian::kDefaultSuite));
  app.add_option("--include", flags.include, "packages to add, separated by commas")->delimiter(',');
  app.add_option("--mirror", flags.mirrors, "archive to use instead of the machine's apt sources; repeatable")
      ->delimiter(',');
  app.add_option("--platform", flags.platforms,
                 "platforms of the image, separated by commas; several make an index (this machine's)")
      ->allow_extra_args(false);
  app.add_flag("-q,--quiet", flags.quiet, "print the image id only");
}

std::optional<Lock> read_lock(const std::string& path) {
  if (!path_exists(path)) return std::nullopt;
  return source::debian::parse_lock(read_file(path, kMaxLockBytes), path);
}

// RECIPE.lock, or beside one for another architecture RECIPE.ARCHITECTURE.lock.
std::string lock_file(const std::string& recipe_file, const std::string& architecture) {
  std::string own = recipe_file + "." + architecture + ".lock", usual = recipe_file + ".lock";
  if (path_exists(own)) return own;
  auto lock = read_lock(usual);
  return lock && lock->architecture != architecture ? own : usual;
}

// For one of the platforms that were asked for; unset: the recipe's own, else this machine's.
Recipe make_recipe(const BaseFlags& flags, const std::optional<oci::Platform>& platform) {
  Recipe recipe;
  if (flags.recipe_file.empty())
    recipe.architecture = source::debian::debian_architecture(oci::host_platform());
  else
    recipe = source::debian::parse_recipe(read_file(flags.recipe_file, kMaxRecipeBytes), flags.recipe_file);
  if (!flags.variant.empty()) recipe.variant = source::debian::parse_variant(flags.variant);
  if (!flags.suite.empty()) recipe.suite = flags.suite;
  if (!flags.mirrors.empty()) recipe.mirrors = flags.mirrors;
  if (platform) recipe.architecture = source::debian::debian_architecture(*platform);
  recipe.include.insert(recipe.include.end(), flags.include.begin(), flags.include.end());
  source::debian::check_recipe(recipe);
  return recipe;
}

std::vector<Recipe> make_recipes(const BaseFlags& flags) {
  std::vector<Recipe> recipes;
  for (const oci::Platform& platform : parse_platforms(flags.platforms))
    recipes.push_back(make_recipe(flags, platform));
  if (recipes.empty()) recipes.push_back(make_recipe(flags, std::nullopt));
  return recipes;
}

// Whose maintainer scripts have to run here.
std::vector<std::string> architectures_to_run(const std::vector<Recipe>& recipes) {
  std::vector<oci::Platform> platforms;
  for (const Recipe& recipe : recipes)
    if (recipe.variant == source::debian::Variant::kMinbase)
      platforms.push_back(source::debian::platform_of(recipe.architecture));
  return foreign_architectures(platforms);
}

// Before anything is fetched.
void check_scripts_run(const std::vector<Recipe>& recipes, const Session& session) {
  for (const std::string& architecture : architectures_to_run(recipes))
    if (std::string why = sandbox::why_not_emulated(architecture, session.entered()); !why.empty())
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("minbase for {}: its maintainer scripts cannot run on this machine: {}",
                              architecture, why))
          .with_hint(
              "distroless and busybox are only extracted, and can be made for any platform; emulation needs "
              "apt-get install qemu-user-static binfmt-support");
}

source::debian::Progress progress_of(const BaseFlags& flags) {
  bool is_quiet = flags.quiet;
  return [is_quiet](std::string_view line) {
    if (!is_quiet) fmt::print(stderr, "{}\n", printable(line));
  };
}

// From the lock beside the recipe when there is one, else from the archive as it is now.
Lock lock_for(const Recipe& recipe, const BaseFlags& flags, const source::debian::ResolveOptions& options) {
  std::optional<Lock> lock;
  if (!flags.recipe_file.empty()) lock = read_lock(lock_file(flags.recipe_file, recipe.architecture));
  if (!lock) return source::debian::resolve(recipe, options);
  source::debian::check_lock_fits(recipe, *lock);
  return std::move(*lock);
}

std::vector<std::string> full_tags(const BaseFlags& flags, const Recipe& recipe) {
  std::vector<std::string> tags;
  for (const std::string& tag : flags.tags) tags.push_back(full_name(tag));
  if (tags.empty() && !recipe.name.empty()) tags.push_back(full_name(recipe.name));
  return tags;
}

std::string_view last_lines(std::string_view text, int count) {
  size_t at = text.size();
  while (at > 0 && (text[at - 1] != '\n' || at == text.size() || count-- > 1)) at--;
  return text.substr(at);
}

store::Image build_image(const BaseFlags& flags, const Recipe& recipe, Session& session) {
  http::Client http;
  source::debian::Progress progress = progress_of(flags);
  source::debian::ResolveOptions options{.http = http, .store = session.store(), .progress = progress};
  Lock lock = lock_for(recipe, flags, options);
  source::debian::fetch_packages(recipe, lock, options);

  build::Request request;
  request.threads = available_processors();
  build::RunningProcesses running;
  build::Executor executor{.store = session.store(),
                           .request = request,
                           .entered = session.entered(),
                           .clock = session.clock(),
                           .cancellation = {},
                           .running = running,
                           .uppers = [&] { return session.uppers().uppers; }};
  std::string log;  // of dpkg and apt
  build::DebianBaseProgress shown{
      .note = progress, .output = [&, mutex = std::make_shared<std::mutex>()](int, std::string_view bytes) {
        std::lock_guard guard(*mutex);
        log += bytes;
        if (flags.verbose) fputs(printable(bytes).c_str(), stderr);
      }};
  build::DebianBase base;
  try {
    base = build::make_debian_base(recipe, lock, executor, shown);
  } catch (Error& error) {
    if (!log.empty() && !flags.verbose) {
      fputs(printable(last_lines(log, kShownLines)).c_str(), stderr);
      if (error.hint().empty()) error.set_hint("--verbose shows all that dpkg and apt say");
    }
    throw;
  }
  image::AssembleInput input{
      .config = base.config, .layers = base.layers, .created = base.created, .tags = {}};
  store::Image image = image::assemble(input, session.store(), request.threads);
  if (!flags.quiet)
    fmt::print(stderr, "{}: {} packages, {}\n", recipe.architecture, lock.packages.size(),
               human_size(image.size));
  return image;
}

int build_base(const BaseFlags& flags) {
  std::vector<Recipe> recipes = make_recipes(flags);
  std::vector<std::string> tags = full_tags(flags, recipes.front());
  Session session = Session::open({.architectures = architectures_to_run(recipes)});
  check_scripts_run(recipes, session);
  std::vector<store::Image> images;
  for (const Recipe& recipe : recipes) images.push_back(build_image(flags, recipe, session));
  std::string id = images.front().id.to_string();
  if (images.size() == 1) {
    images.front().tags = tags;
    session.store().save_image(images.front());
  } else {
    std::vector<store::ImageIndex::Member> members;
    for (size_t i = 0; i < images.size(); i++) {
      session.store().save_image(images[i]);
      members.push_back({source::debian::platform_of(recipes[i].architecture).normalized(), images[i].id});
    }
    store::ImageIndex index = session.store().save_index(members, tags);
    id = index.id.to_string();
    if (!flags.quiet) fmt::print(stderr, "an index of the platforms {}\n", index.platforms());
  }
  if (!flags.quiet)
    for (const std::string& tag : tags) fmt::print(stderr, "tagged {}\n", short_name(tag));
  fmt::print("{}\n", id);
  return 0;
}

int write_locks(const BaseFlags& flags, const std::string& output) {
  std::vector<Recipe> recipes = make_recipes(flags);
  if (recipes.size() > 1 && (!output.empty() || flags.recipe_file.empty()))
    fail(ErrorCode::kUsage, "several platforms have several locks: name a recipe, whose locks lie beside it");
  Session session = Session::open();
  http::Client http;
  source::debian::Progress progress = progress_of(flags);
  for (const Recipe& recipe : recipes) {
    Lock lock =
        source::debian::resolve(recipe, {.http = http, .store = session.store(), .progress = progress});
    std::string text = source::debian::emit_lock(lock);
    std::string path = output.empty() && !flags.recipe_file.empty()
                           ? lock_file(flags.recipe_file, recipe.architecture)
                           : output;
    if (path.empty() || path == "-") {
      fmt::print("{}", text);
      continue;
    }
    write_file_atomic(path, text);
    progress(fmt::format("{} packages in {}", lock.packages.size(), path));
  }
  return 0;
}

}  // namespace

int command_base(const Arguments& arguments) {
  bool is_lock = !arguments.empty() && arguments[0] == "lock";
  bool is_build = !arguments.empty() && arguments[0] == "build";
  Arguments rest(arguments.begin() + (is_lock || is_build), arguments.end());
  BaseFlags flags;
  if (is_lock) {
    CLI::App app(
        "Write the exact versions of a recipe's packages to RECIPE.lock, or to standard output without a "
        "recipe.",
        "base lock");
    std::string output;
    add_recipe_flags(app, flags);
    app.add_option("-o,--output", output, "file; - is standard output");
    parse_flags(app, rest);
    return write_locks(flags, output);
  }
  CLI::App app(
      "Make an image from Debian packages, without a registry and without root. 'corten base lock' writes a "
      "lock.",
      is_build ? "base build" : "base");
  add_recipe_flags(app, flags);
  app.add_option("-t,--tag", flags.tags, "name of the image; repeatable")->delimiter(',');
  app.add_flag("-v,--verbose", flags.verbose, "show what dpkg and apt say");
  parse_flags(app, rest);
  return build_base(flags);
}

}  // namespace corten::cli
