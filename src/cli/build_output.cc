#include "cli/build_output.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include <fmt/core.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "cli/session.h"
#include "image/assemble.h"
#include "image/export.h"

namespace corten::cli {

namespace {

// rewrite-timestamp: a layer of this build with no time after the given one.
store::LayerRef clamped(const store::LayerRef& layer, int64_t epoch, store::Store& store) {
  std::vector<store::Entry> entries = store.layers().load(layer.id)->entries();
  for (store::Entry& e : entries)
    if (e.time_ns) e.time_ns = std::min(*e.time_ns, epoch * 1'000'000'000);
  return {store.layers().save(store::Manifest(std::move(entries))), std::min(layer.time, epoch)};
}

image::Compression compression_of(const OutputSpec& output) {
  image::Compression compression;
  auto attribute = [&](const char* name) {
    auto at = output.attributes.find(name);
    return at == output.attributes.end() ? std::string() : at->second;
  };
  std::string kind = attribute("compression");
  if (kind.empty() || kind == "gzip")
    compression.kind = oci::LayerCompression::kGzip;
  else if (kind == "zstd")
    compression.kind = oci::LayerCompression::kZstd;
  else if (kind == "uncompressed")
    compression.kind = oci::LayerCompression::kNone;
  else
    fail(ErrorCode::kUsage, "unsupported compression {}: it is one of gzip, zstd, uncompressed", quote(kind));
  if (std::string level = attribute("compression-level"); !level.empty()) {
    auto number = parse_int(level);
    if (!number || *number < 0 || *number > 22)
      fail(ErrorCode::kUsage, "invalid compression-level {}", quote(level));
    compression.level = static_cast<int>(std::clamp<int64_t>(*number, 1, 19));
  }
  compression.force =
      output.attributes.contains("force-compression") && attribute("force-compression") != "false";
  return compression;
}

// A file that has its name only when it is whole; "-" is standard output.
void write_to(const std::string& dest, const std::function<void(archive::ByteSink&)>& write) {
  if (dest == "-") {
    if (isatty(1))
      throw Error(ErrorCode::kUsage, "refusing to write an archive to the terminal")
          .with_hint("redirect standard output, or name a file: dest=FILE");
    archive::FdSink sink(1, "standard output");
    write(sink);
    return;
  }
  std::string partial = fmt::format("{}.partial-{}", dest, getpid());
  try {
    UniqueFd file = open_file(partial, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0666);
    archive::FdSink sink(file.get(), dest);
    write(sink);
    file.close_checked(dest);
    if (rename(partial.c_str(), dest.c_str()) != 0) fail_errno("write {}", dest);
  } catch (...) {
    unlink(partial.c_str());
    throw;
  }
}

store::Image make_image(const build::BuildResult& result, const build::Request& request,
                        const BuildFlags& flags, store::Store& store) {
  build::StageRootfs rootfs = result.rootfs();
  image::AssembleInput input;
  input.config = result.target().config;
  input.config.config.other.clear();
  bool rewrite = std::any_of(flags.outputs.begin(), flags.outputs.end(), [](const OutputSpec& o) {
    auto at = o.attributes.find("rewrite-timestamp");
    return at != o.attributes.end() && at->second != "false";
  });
  if (rewrite && !request.source_date_epoch)
    print_warning("rewrite-timestamp is specified, but no source-date-epoch was found");
  int64_t created = rootfs.newest;
  for (size_t i = 0; i < rootfs.layers.size(); i++) {
    store::LayerRef layer{rootfs.layers[i].ref.id, build::exported_time(rootfs, i)};
    created = std::max(created, layer.time);
    if (rewrite && request.source_date_epoch && !rootfs.layers[i].is_base)
      layer = clamped(layer, *request.source_date_epoch, store);
    input.layers.push_back(layer);
  }
  input.created = format_rfc3339(request.source_date_epoch.value_or(created));
  for (const std::string& tag : flags.tags) input.tags.push_back(full_name(tag));
  return image::assemble(input, store, request.threads);
}

// The layers that count most, with the instructions that made them.
void check_budget(const store::Image& image, const build::BuildResult& result, const BuildFlags& flags,
                  store::Store& store) {
  constexpr size_t kShown = 3;
  auto budget = parse_decimal_size(flags.size_budget);
  if (!budget) fail(ErrorCode::kUsage, "invalid size {}: for example 100MB", quote(flags.size_budget));
  if (image.size <= *budget) return;
  const build::StagePlan& target = result.target();
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

void write_output(const OutputSpec& output, const store::Image& built, const BuildFlags& flags,
                  const build::Request& request, store::Store& store, FinishedBuild& finished) {
  image::ExportOptions options;
  options.compression = compression_of(output);
  options.threads = request.threads;
  if (auto types = output.attributes.find("oci-mediatypes"); types != output.attributes.end())
    options.docker_media_types = types->second == "false";
  std::vector<std::string> names = flags.tags;
  if (auto name = output.attributes.find("name"); name != output.attributes.end())
    names = split(name->second, ',');
  for (const std::string& name : names)
    options.names.push_back(oci::Reference::parse(name).with_default_tag());
  for (const auto& [key, value] : output.attributes)
    if (key.starts_with("annotation.")) options.annotations[key.substr(11)] = value;
  if (output.type == "oci" || output.type == "docker") {
    auto as_tar = output.attributes.find("tar");
    if (as_tar != output.attributes.end() && as_tar->second == "false") {
      finished.manifest_digest = image::write_layout({built, options.names}, options, output.dest, store)
                                     .manifest.digest.to_string();
      return;
    }
    write_to(output.dest, [&](archive::ByteSink& sink) {
      finished.manifest_digest =
          image::write_archive({{built, options.names}}, options, output.type == "docker", store, sink)
              .manifest.digest.to_string();
    });
  } else if (output.type == "tar") {
    write_to(output.dest, [&](archive::ByteSink& sink) {
      image::write_files_tar(built, request.source_date_epoch, store, sink);
    });
  } else if (output.type == "local") {
    image::write_files(built, output.dest, store);
  }
}

}  // namespace

FinishedBuild write_outputs(const build::BuildResult& result, const build::Request& request,
                            const BuildFlags& flags, store::Store& store, build::Events& events, int vertex) {
  FinishedBuild finished;
  auto say = [&](const std::string& line) { events.output(vertex, 1, line + "\n"); };
  finished.image = make_image(result, request, flags, store);
  if (!flags.size_budget.empty()) check_budget(finished.image, result, flags, store);
  // With an output and no name, the image is only on its way.
  bool is_kept = flags.outputs.empty() || flags.load || !flags.tags.empty();
  for (const OutputSpec& output : flags.outputs)
    is_kept |= output.type == "image" || (output.type == "docker" && output.dest.empty());
  if (is_kept) {
    store.save_image(finished.image);
    say("image " + finished.image.id.to_string() + " in the store");
    for (const std::string& tag : finished.image.tags) say("named " + tag);
  }
  for (const OutputSpec& output : flags.outputs) {
    if (output.type == "image" || output.type == "cacheonly" ||
        (output.type == "docker" && output.dest.empty()))
      continue;
    write_output(output, finished.image, flags, request, store, finished);
    say(fmt::format("wrote {} {}", output.type, output.dest));
  }
  return finished;
}

}  // namespace corten::cli
