#include "cli/build_caches.h"

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "cache/local_place.h"
#include "cache/registry_place.h"
#include "cache/s3_place.h"
#include "cli/session.h"

namespace corten::cli {

namespace {

constexpr registry::RetryRules kLittlePatience = {
    .attempts = 3, .first_pause_ms = 200, .longest_pause_ms = 2000, .longest_wait_s = 10};
constexpr std::string_view kRegistryPrefix = "registry ";

}  // namespace

BuildCaches::BuildCaches(store::Store& store, RegistrySession& registry, Options options)
    : store_(store),
      registry_(registry),
      reading_(options.cancellation.child()),
      read_from_(reading_, print_warning, {}, kLittlePatience),
      options_(std::move(options)) {
  std::vector<std::shared_ptr<cache::Place>> sources;
  for (const cache::Spec& spec : options_.from) {
    std::shared_ptr<cache::Place> place = open(spec, false);
    if (!places_.emplace(place->name(), place).second) continue;
    readings_.emplace(place->name(), Reading());
    sources.push_back(std::move(place));
  }
  if (!sources.empty())
    imports_ = std::make_shared<cache::Imports>(
        store_, std::move(sources),
        cache::ImportWatch{
            .cancellation = options_.cancellation,
            .ended = [this](const std::string& place, const std::string& error) { told(place, error); },
            .warn =
                [this](const std::string& text) {
                  std::lock_guard lock(mutex_);
                  warnings_.push_back(text);
                }});
  // An image's own is written with the image.
  std::erase_if(options_.to, [](const cache::Spec& spec) { return spec.type == cache::Spec::Type::kInline; });
  std::vector<std::unique_ptr<cache::Export>> exports;
  for (const cache::Spec& spec : options_.to) {
    exports.push_back(
        std::make_unique<cache::Export>(store_, open(spec, true),
                                        cache::ExportOptions{.is_max = spec.is_max,
                                                             .has_mounts = spec.has_mounts,
                                                             .compression = spec.compression,
                                                             .max_bytes = spec.max_bytes,
                                                             .timeout_s = spec.timeout_s,
                                                             .threads = options_.threads,
                                                             .owners = options_.owners,
                                                             .cancellation = options_.cancellation}));
  }
  // Layers of earlier builds may lie elsewhere, whatever this one was given.
  store_.layers().set_supply(
      cache::make_supply(
          store_, [this](const std::string& name) { return open_by_name(name); }, imports_),
      imports_ ? cache::make_file_supply(store_, imports_) : store::FileSupply());
  if (imports_ || !exports.empty())
    travel_ = std::make_unique<cache::Travel>(store_, imports_, std::move(exports));
}

BuildCaches::~BuildCaches() {
  reading_.cancel();
  store_.layers().set_supply({});
}

std::shared_ptr<cache::Place> BuildCaches::open(const cache::Spec& spec, bool is_written) {
  switch (spec.type) {
    case cache::Spec::Type::kLocal:
      return std::make_shared<cache::LocalPlace>(spec.directory,
                                                 cache::LocalOptions{.tag = spec.tag,
                                                                     .digest = spec.digest,
                                                                     .is_written = is_written,
                                                                     .is_reset = spec.is_reset,
                                                                     .cancellation = options_.cancellation});
    case cache::Spec::Type::kRegistry:
      return std::make_shared<cache::RegistryPlace>((is_written ? registry_ : read_from_).remote(),
                                                    spec.reference);
    case cache::Spec::Type::kS3: {
      std::lock_guard lock(mutex_);
      if (!http_) {
        http::ClientOptions http;
        http.cancellation = reading_;
        http_ = std::make_unique<http::Client>(http);
      }
      return std::make_shared<cache::S3Place>(
          spec.s3, *http_, clock_,
          is_written ? cache::S3Options{.cancellation = options_.cancellation}
                     : cache::S3Options{.retry = kLittlePatience, .cancellation = reading_});
    }
    case cache::Spec::Type::kInline:
      break;
  }
  fail(ErrorCode::kUsage, "type=inline is written with an image, and read as type=registry");
}

std::shared_ptr<cache::Place> BuildCaches::open_by_name(const std::string& name) {
  {
    std::lock_guard lock(mutex_);
    if (auto known = places_.find(name); known != places_.end()) return known->second;
  }
  if (!name.starts_with(kRegistryPrefix)) return nullptr;
  auto reference = oci::Reference::try_parse(std::string_view(name).substr(kRegistryPrefix.size()));
  if (!reference) return nullptr;
  auto place = std::make_shared<cache::RegistryPlace>(read_from_.remote(), *reference);
  std::lock_guard lock(mutex_);
  return places_.emplace(name, std::move(place)).first->second;
}

void BuildCaches::told(const std::string& place, const std::string& error) {
  std::lock_guard lock(mutex_);
  Reading& reading = readings_[place];
  reading.is_over = true;
  reading.error = error;
  if (events_ && reading.id >= 0)
    events_->finished(reading.id, error.empty() ? build::Outcome::kDone : build::Outcome::kFailed, error);
}

BuildCaches::Shown BuildCaches::show(build::Events& events, int first_id) {
  std::lock_guard lock(mutex_);
  events_ = &events;
  next_id_ = first_id;
  for (auto& [place, reading] : readings_) {
    reading.id = next_id_++;
    events.planned({reading.id, "importing cache manifest from " + place, {}, {}});
    events.started(reading.id);
    if (reading.is_over)
      events.finished(reading.id, reading.error.empty() ? build::Outcome::kDone : build::Outcome::kFailed,
                      reading.error);
  }
  return Shown(*this);
}

// The build may be over before a slow cache is read: then nothing was asked of it.
void BuildCaches::hide() {
  std::lock_guard lock(mutex_);
  if (!events_) return;
  for (auto& [place, reading] : readings_)
    if (reading.id >= 0 && !reading.is_over)
      events_->finished(reading.id, build::Outcome::kCancelled, "not waited for");
  events_ = nullptr;
}

std::vector<std::string> BuildCaches::repositories(const std::string& registry) const {
  std::vector<std::string> found;
  for (const cache::Spec& spec : options_.from)
    if (spec.type == cache::Spec::Type::kRegistry && spec.reference.registry() == registry)
      found.push_back(spec.reference.repository());
  return found;
}

void BuildCaches::finish() {
  if (!travel_) return;
  std::optional<Error> failed;
  for (size_t i = 0; i < options_.to.size(); i++) {
    const cache::Spec& spec = options_.to[i];
    const int id = next_id_++;
    events_->planned({id, "exporting cache to " + spec.name(), {}, {}});
    events_->started(id);
    try {
      const cache::Exported exported = travel_->exports()[i]->finish();
      events_->output(id, 1, cache::summary_of(exported) + "\n");
      events_->finished(id, build::Outcome::kDone, "");
    } catch (const Error& error) {
      events_->finished(id, build::Outcome::kFailed, error.what());
      if (!spec.ignores_errors) {
        Error told = error;
        told.add_context("exporting cache to " + spec.name());
        if (!failed) failed = told;
      }
    }
  }
  if (imports_) {
    const cache::Imports::Traffic traffic = imports_->traffic();
    if (traffic.fetched_layers + traffic.left_layers + traffic.mount_bytes > 0 && !readings_.empty())
      events_->remark(
          readings_.begin()->second.id,
          fmt::format("fetched {} layer{}, {}, and {} of cache mounts; left {} layer{} where {}, {}",
                      traffic.fetched_layers, traffic.fetched_layers == 1 ? "" : "s",
                      human_size(traffic.fetched_bytes), human_size(traffic.mount_bytes), traffic.left_layers,
                      traffic.left_layers == 1 ? "" : "s", traffic.left_layers == 1 ? "it is" : "they are",
                      human_size(traffic.left_bytes)));
  }
  hide();
  if (failed) throw *failed;
}

void BuildCaches::print_warnings() {
  std::lock_guard lock(mutex_);
  for (const std::string& warning : warnings_) print_warning(warning);
  warnings_.clear();
}

}  // namespace corten::cli
