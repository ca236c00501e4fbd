#include "cli/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <fmt/core.h>

#include "base/strings.h"
#include "base/suggest.h"
#include "container/container.h"
#include "oci/config.h"
#include "sandbox/emulation.h"

namespace corten::cli {

Session Session::open() {
  return open(Options{});
}

Session Session::open(const Options& options) {
  Session session;
  // The path depends on who we are, so it is asked before we become root of a user namespace.
  ConfigFile config = read_config_file();
  bool is_named = getenv("CORTEN_STORE") && *getenv("CORTEN_STORE");
  std::string path = config.store.empty() || is_named ? store::Store::default_path() : config.store;
  if (options.needs_bodies)
    session.entered_ = sandbox::enter_for(options.architectures,
                                          {.user_namespace = options.user_namespace, .all_ids = false});
  session.store_ = std::make_unique<store::Store>(
      path, [](std::string_view text) { fprintf(stderr, "%s\n", printable(text).c_str()); });
  session.store_->set_other_roots(
      [store = session.store_.get()] { return container::layers_in_use(*store); });
  session.config_ = std::move(config);
  if (options.needs_bodies) {
    session.store_->recover_after_crash();
    session.store_->clean_temporary();
  }
  return session;
}

const sandbox::FoundUppers& Session::uppers() {
  std::lock_guard lock(*uppers_mutex_);
  if (!uppers_) {
    const TempDir place = store_->temporary("uppers");
    uppers_ = sandbox::find_uppers(entered_, {place.path()});
  }
  return *uppers_;
}

std::string Session::stored_name(std::string_view name_or_id) {
  if (auto reference = oci::Reference::try_parse(name_or_id)) {
    std::string full = reference->with_default_tag().to_string();
    if (store_->has_tag(full)) return full;
  }
  return std::string(name_or_id);
}

std::optional<store::ImageIndex> Session::index(std::string_view name_or_id) {
  return store_->find_index(stored_name(name_or_id));
}

store::Image Session::image(std::string_view name_or_id, const std::string& platform) {
  oci::Platform wanted = platform.empty() ? oci::host_platform() : oci::parse_platform(platform).normalized();
  if (auto image = store_->find_image(stored_name(name_or_id), wanted)) {
    oci::Platform got = oci::parse_config(image->config).config.platform;
    if (!platform.empty() && !oci::platform_rank(wanted, got))
      fail(ErrorCode::kNotFound, "{} is for {}, not for {}", name_or_id, got.format(), wanted.format());
    return *image;
  }
  std::vector<std::string> names;
  for (const store::Image& image : store_->images())
    for (const std::string& tag : image.tags) names.push_back(short_name(tag));
  for (const store::ImageIndex& one : store_->indexes())
    for (const std::string& tag : one.tags) names.push_back(short_name(tag));
  Error error(ErrorCode::kNotFound,
              fmt::format("no such image: {}{}", name_or_id, did_you_mean(name_or_id, names)));
  error.set_hint("'corten images' lists what is in the store");
  throw error;
}

std::string full_name(std::string_view name) {
  return oci::Reference::parse(name).with_default_tag().to_string();
}

std::string short_name(std::string_view full) {
  auto reference = oci::Reference::try_parse(full);
  return reference ? reference->familiar() : std::string(full);
}

bool colors_wanted(int fd) {
  const char* no_color = getenv("NO_COLOR");
  return isatty(fd) && !(no_color && *no_color);
}

static std::string colored(std::string_view code, std::string_view text) {
  return colors_wanted(2) ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : std::string(text);
}

void print_error(const Error& error) {
  std::string text = colored("31", "ERROR:") + " " + printable(error.what()) + "\n";
  if (!error.hint().empty()) text += colored("36", "hint:") + " " + printable(error.hint()) + "\n";
  fputs(text.c_str(), stderr);
}

void print_warning(std::string_view message) {
  std::string text = colored("33", "WARNING:") + " " + printable(message) + "\n";
  fputs(text.c_str(), stderr);
}

}  // namespace corten::cli
