#include "cli/build_output.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <set>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"
#include "cache/index.h"
#include "cli/session.h"
#include "cli/tag_moves.h"
#include "image/assemble.h"
#include "image/export.h"
#include "image/push.h"

namespace corten::cli {

namespace {

// rewrite-timestamp: a layer of this build with no time after the given one.
store::LayerRef clamped(const store::LayerRef& layer, int64_t epoch, store::Store& store) {
  std::vector<store::Entry> entries = store.layers().load(layer.id)->entries();
  for (store::Entry& e : entries)
    if (e.time_ns) e.time_ns = std::min(*e.time_ns, clamped_ns(epoch));
  return {store.layers().save(store::Manifest(std::move(entries))), std::min(layer.time, epoch)};
}

// What an output's file has become so far.
class CountedSink : public archive::ByteSink {
 public:
  using Count = std::function<void(uint64_t bytes, bool is_complete)>;
  CountedSink(archive::ByteSink& to, const Count& count) : to_(to), count_(count) {}
  void write(std::string_view bytes) override {
    constexpr uint64_t kStep = 4 << 20;
    to_.write(bytes);
    if ((bytes_ + bytes.size()) / kStep != bytes_ / kStep) count_(bytes_ + bytes.size(), false);
    bytes_ += bytes.size();
  }
  void finish() { count_(bytes_, true); }

 private:
  archive::ByteSink& to_;
  const Count& count_;
  uint64_t bytes_ = 0;
};

// A file that has its name only when it is whole; "-" is standard output.
void write_to(const std::string& dest, const CountedSink::Count& count,
              const std::function<void(archive::ByteSink&)>& write) {
  auto write_counted = [&](archive::ByteSink& sink) {
    CountedSink counted(sink, count);
    write(counted);
    counted.finish();
  };
  if (dest == "-") {
    if (isatty(1))
      throw Error(ErrorCode::kUsage, "refusing to write an archive to the terminal")
          .with_hint("redirect standard output, or name a file: dest=FILE");
    archive::FdSink sink(1, "standard output");
    write_counted(sink);
    return;
  }
  std::string partial = fmt::format("{}.partial-{}", dest, getpid());
  try {
    UniqueFd file = open_file(partial, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0666);
    archive::FdSink sink(file.get(), dest);
    write_counted(sink);
    file.close_checked(dest);
    if (rename(partial.c_str(), dest.c_str()) != 0) fail_errno("write {}", dest);
  } catch (...) {
    unlink(partial.c_str());
    throw;
  }
}

// What an output may ask of the images themselves.
struct ImageForm {
  bool rewrite_timestamp = false;
  std::optional<int64_t> epoch;
  bool operator==(const ImageForm&) const = default;
};
ImageForm form_of(const OutputSpec& output, const build::Request& request) {
  return {output.rewrite_timestamp,
          output.source_date_epoch ? output.source_date_epoch : request.source_date_epoch};
}

// The steps of an image's layers, for its config (--cache-to type=inline).
Json inline_cache_of(const build::BuildResult& result, const build::TargetPlan& target,
                     const build::StageRootfs& rootfs) {
  const std::vector<build::StepId>& steps = target.stage.layer_steps;
  std::vector<std::optional<cache::InlineStep>> layers(rootfs.layers.size() - steps.size());
  for (size_t i = 0; i < steps.size(); i++) {
    const size_t layer = layers.size();
    layers.push_back(cache::InlineStep{.key = result.steps[static_cast<size_t>(steps[i])].key,
                                       .step = result.plan.steps[static_cast<size_t>(steps[i])].name,
                                       .layer = rootfs.layers[layer].ref,
                                       .exported_time = build::exported_time(rootfs, layer)});
  }
  return cache::inline_cache(layers);
}

store::Image make_image(const build::BuildResult& result, const build::TargetPlan& target,
                        const ImageForm& form, bool has_inline_cache, unsigned threads, store::Store& store) {
  build::StageRootfs rootfs = result.rootfs(target);
  image::AssembleInput input;
  input.config = target.stage.config;
  input.config.config.other.clear();
  int64_t created = rootfs.newest;
  for (size_t i = 0; i < rootfs.layers.size(); i++) {
    store::LayerRef layer{rootfs.layers[i].ref.id, build::exported_time(rootfs, i)};
    created = std::max(created, layer.time);
    if (form.rewrite_timestamp && form.epoch && !rootfs.layers[i].is_base)
      layer = clamped(layer, *form.epoch, store);
    input.layers.push_back(layer);
  }
  input.created = format_rfc3339(form.epoch.value_or(created));
  // A base's own speaks of the base.
  std::erase_if(input.config.other, [](const auto& member) { return member.first == cache::kInlineMember; });
  if (has_inline_cache)
    input.config.other.emplace_back(cache::kInlineMember, inline_cache_of(result, target, rootfs));
  return image::assemble(input, store, threads);
}

// The images of all platforms, made once for each form that an output asks for.
class ImageMaker {
 public:
  ImageMaker(const build::BuildResult& result, const build::Request& request, bool has_inline_cache,
             store::Store& store)
      : result_(result), request_(request), has_inline_cache_(has_inline_cache), store_(store) {}

  const std::vector<store::Image>& images(const ImageForm& form) {
    for (const auto& [known, images] : made_)
      if (known == form) return images;
    if (form.rewrite_timestamp && !form.epoch)
      print_warning("rewrite-timestamp is specified, but no source-date-epoch was found");
    std::vector<store::Image> images;
    for (const build::TargetPlan& target : result_.plan.targets)
      images.push_back(make_image(result_, target, form, has_inline_cache_, request_.threads, store_));
    return made_.emplace_back(form, std::move(images)).second;
  }

 private:
  const build::BuildResult& result_;
  const build::Request& request_;
  const bool has_inline_cache_;
  store::Store& store_;
  std::deque<std::pair<ImageForm, std::vector<store::Image>>> made_;
};

// The layers that count most, with the instructions that made them.
void check_budget(const store::Image& image, const build::TargetPlan& planned,
                  const build::BuildResult& result, const BuildFlags& flags, store::Store& store) {
  constexpr size_t kShown = 3;
  auto budget = parse_decimal_size(flags.size_budget);
  if (!budget) fail(ErrorCode::kUsage, "invalid size {}: for example 100MB", quote(flags.size_budget));
  if (image.size <= *budget) return;
  const build::StagePlan& target = planned.stage;
  size_t base_layers = image.layers.size() - target.layer_steps.size();
  std::vector<std::pair<uint64_t, std::string>> layers;
  for (size_t i = 0; i < image.layers.size(); i++) {
    uint64_t bytes = store.layers().load(image.layers[i].id)->content_bytes();
    std::string place = "the base image";
    if (i >= base_layers) {
      const build::Step& step = result.plan.steps[static_cast<size_t>(target.layer_steps[i - base_layers])];
      place = fmt::format("{}:{} {}", flags.file.empty() || flags.file == "-" ? step.span.file : flags.file,
                          step.span.line, step.instruction.substr(0, step.instruction.find('\n')));
    }
    layers.emplace_back(bytes, place);
  }
  std::sort(layers.begin(), layers.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::string largest;
  for (size_t i = 0; i < std::min(kShown, layers.size()); i++)
    largest += fmt::format("\n  {:>9}  {}", human_size(layers[i].first), layers[i].second);
  throw Error(ErrorCode::kInvalid, fmt::format("the image has {}, its budget is {}; the largest layers are{}",
                                               human_size(image.size), human_size(*budget), largest))
      .with_hint("copy only what runs into a stage of its own, or raise --size-budget");
}

std::vector<std::string> names_of(const OutputSpec& output, const BuildFlags& flags) {
  std::vector<std::string> names;
  for (const auto* list : {&flags.tags, &output.names})
    for (const std::string& name : *list)
      if (std::string full = full_name(name); std::find(names.begin(), names.end(), full) == names.end())
        names.push_back(full);
  return names;
}

image::ExportOptions export_options(const OutputSpec& output, const build::Request& request) {
  image::ExportOptions options;
  options.compression = output.compression;
  options.docker_media_types = output.docker_media_types;
  options.annotations = output.annotations;
  options.threads = request.threads;
  return options;
}

void write_image_files(const OutputSpec& output, const std::vector<store::Image>& images,
                       const BuildFlags& flags, const build::Request& request, store::Store& store,
                       FinishedBuild& finished, const CountedSink::Count& count) {
  image::ImageSet set{images, request.is_index, {}};
  for (const std::string& name : names_of(output, flags)) set.names.push_back(oci::Reference::parse(name));
  image::ExportOptions options = export_options(output, request);
  if (!output.as_tar) {
    finished.root = image::write_layout(set, options, output.dest, store);
    return;
  }
  write_to(output.dest, count, [&](archive::ByteSink& sink) {
    finished.root = image::write_archive({set}, options, output.type == "docker", store, sink);
  });
}

void write_plain_files(const OutputSpec& output, const std::vector<store::Image>& images,
                       const build::Request& request, store::Store& store, const CountedSink::Count& count) {
  std::vector<image::FileSet> sets;
  for (size_t i = 0; i < images.size(); i++) {
    const oci::Platform& platform = request.platforms[i];
    bool split = output.platform_split.value_or(request.is_index);
    sets.push_back({&images[i], split ? platform.directory_name() : "", platform.format()});
  }
  image::FileOptions options{form_of(output, request).epoch, output.delete_others};
  if (output.type == "local")
    image::write_files(sets, options, output.dest, store);
  else
    write_to(output.dest, count,
             [&](archive::ByteSink& sink) { image::write_files_tar(sets, options, store, sink); });
}

// An image's manifest is made when it leaves the store; what only a manifest can hold is told as lost here.
void say_what_the_store_drops(const OutputSpec& output) {
  std::string lost;
  if (!output.annotations.empty()) lost = "annotations";
  if (output.compression.level || output.compression.force ||
      output.compression.kind != oci::LayerCompression::kGzip)
    lost += lost.empty() ? "compression" : ", compression";
  if (output.docker_media_types) lost += lost.empty() ? "oci-mediatypes" : ", oci-mediatypes";
  if (!lost.empty())
    print_warning(
        fmt::format("{} of type={}: the store keeps images uncompressed and without a manifest; give it to "
                    "an output that writes one (type=oci)",
                    lost, output.type));
}

// What goes into the store when no output says it.
OutputSpec plain_store_output(const BuildFlags& flags) {
  OutputSpec output;
  output.type = "image";
  output.annotations = flags.annotations;
  return output;
}

void keep(const std::vector<store::Image>& images, const std::vector<std::string>& names,
          const build::Request& request, store::Store& store, FinishedBuild& finished,
          const std::function<void(const std::string&)>& say) {
  if (!request.is_index) {
    store::Image image = images.front();
    image.tags = names;
    store.save_image(image);
    say("image " + image.id.to_string() + " in the store");
  } else {
    std::vector<store::ImageIndex::Member> members;
    for (size_t i = 0; i < images.size(); i++) {
      store.save_image(images[i]);
      members.push_back({request.platforms[i], images[i].id});
    }
    store::ImageIndex index = store.save_index(members, names);
    finished.id = index.id.to_string();
    say(fmt::format(
        "index {} of the platforms {} in the store: run, inspect and history take this machine's unless "
        "--platform names another, save writes all",
        index.id.to_string(), index.platforms()));
  }
  for (const std::string& tag : names) say("named " + tag);
  for (const std::string& tag : names)
    if (std::find(finished.names.begin(), finished.names.end(), tag) == finished.names.end())
      finished.names.push_back(tag);
}

void push_images(const OutputSpec& output, const std::vector<store::Image>& images, const BuildFlags& flags,
                 const build::Request& request, store::Store& store, const PushTo& to,
                 FinishedBuild& finished, build::Events& events, int vertex) {
  const int64_t began = monotonic_ns();
  image::ImageSet set{images, request.is_index, {}};
  for (const std::string& name : names_of(output, flags)) set.names.push_back(oci::Reference::parse(name));
  image::PushOptions options;
  options.form = export_options(output, request);
  options.by_digest = output.by_digest;
  options.mount_from = to.mount_from(set.names.front().registry());
  options.cancellation = to.cancellation;
  options.early = to.early;
  options.watch = [&](const oci::Descriptor& blob, uint64_t at, std::optional<registry::Placed> placed) {
    events.progressed(vertex, {"pushing " + blob.digest.to_string(), at, blob.size, placed.has_value()});
  };
  if (!flags.immutable.empty() && !output.by_digest)
    check_moves(
        set.names, {.immutable = flags.immutable, .latest_may_go_back = true}, set,
        [&] { return image::make_exported(set, options.form, store).root.digest; }, to.remote(), to.images());
  const image::Pushed pushed = image::push(set, set.names, options, to.remote(), store);
  for (const oci::Reference& name : set.names) {
    const oci::Reference exact =
        (output.by_digest ? name.repository_only() : name).with_digest(pushed.root.digest);
    events.output(vertex, 1, "pushed " + exact.familiar() + "\n");
    finished.pushed.push_back(exact.familiar());
    if (std::find(finished.names.begin(), finished.names.end(), name.to_string()) == finished.names.end())
      finished.names.push_back(name.to_string());
  }
  events.output(vertex, 1, image::summary_of(pushed, monotonic_ns() - began) + "\n");
  finished.root = pushed.root;
}

// As an archive that holds an OCI layout and Docker's manifest.json: each program reads one of them.
void hand_image_over(HandOver& to, const OutputSpec& form, const FinishedBuild& finished,
                     const BuildFlags& flags, const build::Request& request, store::Store& store,
                     build::Events& events, int vertex) {
  image::ImageSet set{finished.images, request.is_index, {}};
  for (const std::string& name : names_of(form, flags)) set.names.push_back(oci::Reference::parse(name));
  const CountedSink::Count count = [&](uint64_t bytes, bool is_complete) {
    events.progressed(vertex, {to.command(), bytes, is_complete ? bytes : 0, is_complete});
  };
  const std::string words = to.load([&](archive::ByteSink& sink) {
    CountedSink counted(sink, count);
    image::write_archive({set}, export_options(form, request), true, store, counted);
    counted.finish();
  });
  events.output(vertex, 1, fmt::format("{}{}{}\n", to.command(), words.empty() ? "" : ": ", words));
}

}  // namespace

uint64_t FinishedBuild::size() const {
  uint64_t sum = 0;
  for (const store::Image& image : images) sum += image.size;
  return sum;
}

void check_outputs(const build::Request& request, const BuildFlags& flags) {
  bool has_manifest = flags.outputs.empty();
  for (const OutputSpec& output : flags.outputs) {
    for (const std::string& remark : output.remarks) print_warning("output attribute " + remark);
    has_manifest |= output.is_image();
    if (output.type == "docker" && !output.goes_to_store() && request.is_index)
      throw Error(ErrorCode::kUsage, "docker exporter does not currently support exporting manifest lists")
          .with_hint("type=oci writes an index; --load keeps one in the store");
    if (output.is_image())
      image::check_annotations(output.annotations,
                               {request.platforms, request.is_index, output.docker_media_types});
    if (output.goes_to_store() && !output.is_pushed) say_what_the_store_drops(output);
    if (output.is_pushed && names_of(output, flags).empty())
      throw Error(ErrorCode::kUsage, "tag is needed when pushing to registry")
          .with_hint("name it: -t HOST/NAME:TAG");
    names_of(output, flags);
  }
  if (flags.outputs.empty()) {
    image::check_annotations(flags.annotations, {request.platforms, request.is_index, false});
    say_what_the_store_drops(plain_store_output(flags));
  }
  if (!has_manifest && !flags.annotations.empty())
    print_warning("--annotation is not used: no output has a manifest");
}

// Whether an output reads files of the layers. What is only pushed is asked for where it goes.
static bool reads_layers(const BuildFlags& flags) {
  if (flags.outputs.empty() || flags.load) return true;
  bool is_kept = !flags.tags.empty();
  for (const OutputSpec& output : flags.outputs) {
    if (output.rewrite_timestamp) return true;
    if (output.goes_to_store()) is_kept = false;
    if (output.goes_to_store() ? output.is_stored && !output.is_pushed : output.type != "cacheonly")
      return true;
  }
  return is_kept;
}

void settle_outputs(const build::BuildResult& result, const BuildFlags& flags, store::Store& store,
                    const PushTo& push) {
  store::Rootfs absent;   // or forgotten: an export, or another build, asked for it in vain
  store::Rootfs unnamed;  // of those: no cache says what an image's config has to say of it
  for (const build::TargetPlan& target : result.plan.targets) {
    const build::StageRootfs rootfs = result.rootfs(target);
    for (size_t i = 0; i < rootfs.layers.size(); i++) {
      const store::LayerRef layer{rootfs.layers[i].ref.id, build::exported_time(rootfs, i)};
      if (store.layers().is_whole(layer.id)) continue;
      absent.push_back(layer);
      if (!store.layers().find_diff(layer)) unnamed.push_back(layer);
    }
  }
  if (absent.empty()) return;
  store.layers().need(reads_layers(flags) ? absent : unnamed);
  for (const OutputSpec& output : flags.outputs) {
    if (!output.is_pushed) continue;
    std::set<std::string> filled;  // registries: what one has is mounted within it
    for (const std::string& name : names_of(output, flags)) {
      const oci::Reference to = oci::Reference::parse(name);
      if (!filled.insert(to.registry()).second) continue;
      const std::vector<std::string> mount_from = push.mount_from(to.registry());
      parallel_for(absent.size(), 4, [&](size_t i) {
        if (!store.layers().is_whole(absent[i].id))
          image::place_layer(absent[i], to, mount_from, output.compression, push.remote(), store, push.early,
                             push.cancellation);
      });
    }
  }
}

FinishedBuild write_outputs(const build::BuildResult& result, const build::Request& request,
                            const BuildFlags& flags, store::Store& store, build::Events& events, int vertex,
                            const PushTo& push, HandOver* hand_over) {
  FinishedBuild finished;
  finished.is_index = request.is_index;
  auto say = [&](const std::string& line) { events.output(vertex, 1, line + "\n"); };
  const bool has_inline_cache =
      std::any_of(flags.cache_to.begin(), flags.cache_to.end(),
                  [](const cache::Spec& spec) { return spec.type == cache::Spec::Type::kInline; });
  ImageMaker maker(result, request, has_inline_cache, store);
  // Scripts are told of the first output's image.
  OutputSpec usual = plain_store_output(flags);
  ImageForm first = form_of(usual, request);
  for (auto output = flags.outputs.rbegin(); output != flags.outputs.rend(); ++output)
    if (output->is_image()) first = form_of(*output, request);
  finished.images = maker.images(first);
  finished.id = finished.images.front().id.to_string();
  if (!flags.size_budget.empty())
    for (size_t i = 0; i < finished.images.size(); i++)
      check_budget(finished.images[i], result.plan.targets[i], result, flags, store);
  // With an output and no name, the image is only on its way.
  bool is_kept = flags.outputs.empty() || flags.load || !flags.tags.empty();
  for (const OutputSpec& output : flags.outputs) {
    if (!output.goes_to_store()) continue;
    is_kept = false;
    // An image in the store has all its layers; what is pushed need not have them here.
    const bool is_whole =
        !output.is_pushed ||
        std::all_of(finished.images.begin(), finished.images.end(), [&](const auto& image) {
          return std::none_of(image.layers.begin(), image.layers.end(), [&](const store::LayerRef& layer) {
            return !store.layers().is_whole(layer.id);
          });
        });
    if (output.is_stored && !is_whole) say("not kept in the store: some of its layers stay where they are");
    if (output.is_stored && is_whole)
      keep(maker.images(form_of(output, request)), names_of(output, flags), request, store, finished, say);
  }
  if (is_kept) keep(finished.images, names_of(usual, flags), request, store, finished, say);
  for (const OutputSpec& output : flags.outputs)
    if (output.is_pushed)
      push_images(output, maker.images(form_of(output, request)), flags, request, store, push, finished,
                  events, vertex);
  for (const OutputSpec& output : flags.outputs) {
    if (output.type == "cacheonly" || output.goes_to_store()) continue;
    CountedSink::Count count = [&](uint64_t bytes, bool is_complete) {
      events.progressed(
          vertex, {fmt::format("writing {}", output.dest), bytes, is_complete ? bytes : 0, is_complete});
    };
    if (output.is_image()) {
      write_image_files(output, maker.images(form_of(output, request)), flags, request, store, finished,
                        count);
      for (const std::string& name : names_of(output, flags))
        if (std::find(finished.names.begin(), finished.names.end(), name) == finished.names.end())
          finished.names.push_back(name);
    } else {
      write_plain_files(output, finished.images, request, store, count);
    }
    say(fmt::format("wrote {} {}", output.type, output.dest));
  }
  if (hand_over) hand_image_over(*hand_over, usual, finished, flags, request, store, events, vertex);
  if (finished.is_index && finished.root && finished.id == finished.images.front().id.to_string())
    finished.id = finished.root->digest.to_string();
  // The digest of a manifest is over compressed layers: it is made for those who ask for it.
  bool has_image = flags.outputs.empty() || is_kept;
  for (const OutputSpec& output : flags.outputs) has_image |= output.goes_to_store();
  if (!flags.metadata_file.empty() && has_image && !finished.root)
    finished.root = image::make_exported(
                        {finished.images, request.is_index, {}},
                        export_options(flags.outputs.empty() ? usual : flags.outputs.front(), request), store)
                        .root;
  return finished;
}

void write_metadata(const std::string& file, const FinishedBuild& finished, const std::string& build_id) {
  Json json = Json::object({{"buildx.build.ref", "default/default/" + build_id}});
  if (!finished.is_index) json.set("containerimage.config.digest", finished.images.front().id.to_string());
  if (finished.root) {
    json.set("containerimage.digest", finished.root->digest.to_string());
    json.set("containerimage.descriptor", oci::descriptor_to_json(*finished.root));
  }
  if (!finished.names.empty()) json.set("image.name", join(finished.names, ","));
  write_file_atomic(file, json.dump({.indent = 2, .sort_keys = true}) + "\n");
}

}  // namespace corten::cli
