#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/trace.h"
#include "build/explainer.h"
#include "build/journal.h"
#include "build/run_limits.h"
#include "build/solve.h"
#include "build/stage_state.h"
#include "cli/build_caches.h"
#include "cli/build_elsewhere.h"
#include "cli/build_flags.h"
#include "cli/build_output.h"
#include "cli/build_sources.h"
#include "cli/commands.h"
#include "cli/config_file.h"
#include "cli/platforms.h"
#include "cli/registry_session.h"
#include "cli/session.h"
#include "cli/store_limits.h"
#include "dockerfile/excerpt.h"
#include "http/url.h"
#include "image/layers_ahead.h"
#include "image/push.h"
#include "report/build_log.h"
#include "sandbox/emulation.h"
#include "sandbox/lock_keeper.h"

namespace corten::cli {

namespace {

std::string environment(const char* name) {
  const char* value = getenv(name);
  return value ? value : "";
}

// NAME:ADDRESS or NAME=ADDRESS; both go into a file of lines and words, as they are.
std::pair<std::string, std::string> parse_extra_host(const std::string& text) {
  size_t cut = text.find(text.find('=') == std::string::npos ? ':' : '=');
  std::string name = text.substr(0, cut);
  std::string address = cut == std::string::npos ? "" : text.substr(cut + 1);
  if (address == "host-gateway") address = "127.0.0.1";
  if (address.starts_with('[') && address.ends_with(']')) address = address.substr(1, address.size() - 2);
  in6_addr number;
  bool is_address =
      inet_pton(AF_INET, address.c_str(), &number) == 1 || inet_pton(AF_INET6, address.c_str(), &number) == 1;
  bool is_name = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return static_cast<uint8_t>(c) > ' ' && c != '#';
  });
  if (!is_address || !is_name)
    fail(ErrorCode::kUsage, "invalid host {}: it has the form NAME:ADDRESS", quote(text));
  return {name, address};
}

build::Request make_request(const BuildFlags& flags, const CommandLineSources& sources,
                            const std::vector<oci::Platform>& platforms, unsigned threads) {
  build::Request request;
  request.dockerfile = sources.dockerfile();
  request.dockerfile_name = sources.dockerfile_name();
  request.project = flags.tags.empty() ? http::without_credentials(flags.context) : flags.tags.front();
  request.target = flags.target;
  request.threads = threads;
  for (const std::string& text : flags.build_args) {
    size_t equals = text.find('=');
    std::string name = text.substr(0, equals);
    if (equals != std::string::npos)
      request.build_args[name] = text.substr(equals + 1);
    else if (const char* value = getenv(name.c_str()))
      request.build_args[name] = value;
  }
  if (std::string epoch = environment("SOURCE_DATE_EPOCH"); !epoch.empty())
    request.build_args.emplace("SOURCE_DATE_EPOCH", epoch);
  if (auto epoch = request.build_args.find("SOURCE_DATE_EPOCH");
      epoch != request.build_args.end() && !epoch->second.empty()) {
    auto seconds = parse_int(epoch->second);
    if (!seconds) fail(ErrorCode::kInvalid, "invalid SOURCE_DATE_EPOCH: {}", epoch->second);
    request.source_date_epoch = *seconds;
  }
  for (const auto& [name, value] : request.build_args)
    if (build::is_predefined_proxy(name)) request.proxies[name] = value;
  for (const std::string& text : flags.labels) {
    size_t equals = text.find('=');
    request.labels.emplace_back(text.substr(0, equals),
                                equals == std::string::npos ? "" : text.substr(equals + 1));
  }
  request.build_platform = oci::host_platform();
  request.platforms = platforms;
  request.platform_given = !platforms.empty();
  if (platforms.empty()) request.platforms = {request.build_platform};
  auto forced = request.build_args.find("BUILDKIT_MULTI_PLATFORM");
  request.is_index = request.platforms.size() > 1 || (forced != request.build_args.end() &&
                                                      (forced->second == "1" || forced->second == "true"));
  request.secrets = sources.secrets();
  request.ssh = sources.ssh();
  request.network = flags.network;
  request.allows_insecure = flags.allows_insecure;
  request.no_cache = flags.no_cache;
  for (const std::string& list : flags.no_cache_filter)
    for (const std::string& name : split(list, ',')) request.no_cache_stages.insert(to_lower(name));
  request.timestamps = flags.timestamps == "source" ? build::Timestamps::kSource : build::Timestamps::kLayer;
  for (const std::string& text : flags.extra_hosts) request.extra_hosts.push_back(parse_extra_host(text));
  request.ulimits = flags.ulimits;
  request.limits = flags.limits;
  request.step_timeout_ns = flags.step_timeout_ns;
  if (!flags.shm_size.empty()) {
    auto bytes = parse_size(flags.shm_size);
    if (!bytes) fail(ErrorCode::kUsage, "invalid shm size {}", quote(flags.shm_size));
    if (*bytes) request.shm_bytes = *bytes;
  }
  return request;
}

// The first Ctrl-C ends the build in order, a second one at once.
class Interrupts {
 public:
  Interrupts(Cancellation cancellation, build::RunningProcesses& running) : pipe_(make_pipe()) {
    write_end() = pipe_.write.get();
    struct sigaction action {};
    action.sa_handler = [](int) {
      char byte = 1;
      if (write(write_end(), &byte, 1) < 0) _exit(130);
    };
    action.sa_flags = SA_RESTART;
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    sigaction(SIGHUP, &action, nullptr);
    watcher_ = std::thread([this, cancellation, &running]() mutable {
      char byte = 0;
      for (int count = 0; read(pipe_.read.get(), &byte, 1) == 1 && byte == 1; count++) {
        if (count == 1) _exit(130);
        cancellation.cancel();
        running.kill_all();
      }
    });
  }
  ~Interrupts() {
    char byte = 0;
    if (write(pipe_.write.get(), &byte, 1) == 1)
      watcher_.join();
    else
      watcher_.detach();
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
  }

 private:
  static int& write_end() {
    static int fd = -1;
    return fd;
  }
  Pipe pipe_;
  std::thread watcher_;
};

report::ProgressOptions progress_options(const BuildFlags& flags) {
  report::ProgressOptions options;
  std::string mode = flags.progress;
  if (mode.empty()) mode = environment("BUILDKIT_PROGRESS");
  if (mode.empty()) mode = read_config_file().progress;
  options.mode = flags.quiet ? report::ProgressMode::kQuiet : report::parse_progress_mode(mode);
  options.color = colors_wanted(2);
  options.groups = report::log_groups_of_environment();
  options.colors = report::parse_colors(environment("BUILDKIT_COLORS"));
  if (auto lines = parse_int(environment("BUILDKIT_TTY_LOG_LINES")); lines && *lines >= 0)
    options.log_lines = static_cast<size_t>(std::min<int64_t>(*lines, 1000));
  return options;
}

// buildx's order: the log's end, the excerpt, then what is wrong and how to mend it.
[[noreturn]] void report_failure(Error& error, const report::BuildLog& log, const std::string& dockerfile) {
  if (error.code() == ErrorCode::kCancelled) throw error;  // no line of the Dockerfile is at fault
  std::string text;
  if (!log.failed_lines().empty()) {
    text += "------\n > " + log.failed_name() + ":\n";
    for (const std::string& line : log.failed_lines()) text += line + "\n";
    text += "------\n";
  }
  if (error.span() && error.span()->line > 0) text += dockerfile::render_excerpt(dockerfile, *error.span());
  fputs(text.c_str(), stderr);
  if (error.code() != ErrorCode::kUsage) {
    if (error.span() && error.span()->line > 0)
      error.add_context(
          error.span()->column > 0
              ? fmt::format("{}:{}:{}", error.span()->file, error.span()->line, error.span()->column)
              : fmt::format("{}:{}", error.span()->file, error.span()->line));
    error.add_context("failed to build: failed to solve");
  }
  throw error;
}

// As it names this build in the history: a directory by its whole path, an address without its password.
std::string shown_context(const BuildFlags& flags) {
  if (char* real = realpath(flags.context.c_str(), nullptr)) {
    std::string path = real;
    free(real);
    return path;
  }
  return http::without_credentials(flags.context);
}

std::string shown_platforms(const build::Request& request) {
  if (!request.is_index) return "";
  std::vector<std::string> names;
  for (const oci::Platform& platform : request.platforms) names.push_back(platform.format());
  return " (an index of the platforms " + join(names, ", ") + ")";
}

std::string new_build_id() {
  std::string bytes(16, '\0');
  if (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    fail_errno("get random bytes");
  return to_hex({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}).substr(0, 25);
}

// The rung, if it is not the best, with what is different on it. Where writes go is not asked for a
// Dockerfile without a RUN.
std::string headline(Session& session, const std::string& dockerfile) {
  const sandbox::Entered& entered = session.entered();
  std::string text;
  if (entered.rung == sandbox::Rung::kNothing) return "building without RUN: steps cannot be kept apart here";
  if (entered.rung != sandbox::Rung::kRoot)
    text = fmt::format("building as {}", sandbox::rung_name(entered.rung));
  else if (entered.in_own_user_namespace)
    text = "building as root in a user namespace, so that other processors can be emulated";
  if (std::string limits = sandbox::limits_of(entered); !limits.empty()) text += ": " + limits;
  if (!to_lower(dockerfile).contains("run")) return text;
  if (sandbox::Uppers uppers = session.uppers().uppers; uppers != sandbox::Uppers::kOnStore)
    text += fmt::format("{}with {}", text.empty() ? "building " : ", ", sandbox::uppers_name(uppers));
  return text;
}

FinishedBuild export_result(const build::BuildResult& result, const build::Request& request,
                            const BuildFlags& flags, store::Store& store, build::Events& events, int vertex,
                            const PushTo& push, HandOver* hand_over) {
  events.started(vertex);
  try {
    FinishedBuild finished = write_outputs(result, request, flags, store, events, vertex, push, hand_over);
    events.finished(vertex, build::Outcome::kDone, "");
    return finished;
  } catch (const Error& error) {
    events.finished(vertex, build::Outcome::kFailed, error.what());
    throw;
  }
}

// The blobs that an output will write.
std::optional<image::Compression> blobs_ahead(const BuildFlags& flags) {
  for (const OutputSpec& output : flags.outputs)
    if (output.is_pushed || (output.is_image() && !output.goes_to_store())) return output.compression;
  return std::nullopt;
}

// Blobs go to the first name; others mount them from there.
std::unique_ptr<image::EarlyPush> push_early(const BuildFlags& flags, CommandLineSources& sources,
                                             RegistrySession& registry, store::Store& store) {
  constexpr unsigned kTransfers = 2;  // beside the steps
  for (const OutputSpec& output : flags.outputs) {
    if (!output.is_pushed) continue;
    const std::vector<std::string>& names = flags.tags.empty() ? output.names : flags.tags;
    const oci::Reference to = oci::Reference::parse(names.front());
    return std::make_unique<image::EarlyPush>(registry.remote(), to, store, kTransfers,
                                              sources.base_repositories(to.registry()));
  }
  return nullptr;
}

bool rewrites_timestamps(const BuildFlags& flags) {
  return std::any_of(flags.outputs.begin(), flags.outputs.end(),
                     [](const OutputSpec& output) { return output.rewrite_timestamp; });
}

// Prints where the time went when the command is over, however it ends.
class Traced {
 public:
  Traced() {
    start_tracing();
    rest_.emplace("all else");
  }
  ~Traced() {
    rest_.reset();
    fputs(trace_report().c_str(), stderr);
  }

 private:
  std::optional<TraceSpan> rest_;
};

}  // namespace

int command_build(const Arguments& arguments) {
  BuildFlags flags = parse_build_flags(arguments, "build");
  if (!flags.on.empty()) return build_elsewhere(flags);
  std::optional<Traced> traced;
  if (flags.trace) traced.emplace();
  for (const std::string& tag : flags.tags) {
    try {
      full_name(tag);
    } catch (Error& error) {
      throw Error(ErrorCode::kUsage, fmt::format("invalid tag {}: {}", quote(tag), error.message()));
    }
  }
  report::ProgressOptions shown = progress_options(flags);
  if (environment("DOCKER_BUILDKIT") == "0")
    print_warning("DOCKER_BUILDKIT=0: there is no legacy builder; building all the same");
  std::vector<oci::Platform> platforms = parse_platforms(flags.platforms);
  std::optional<HandOver> hand_over;  // before there are namespaces
  if (!flags.load_to.empty() && flags.call.name == "build") hand_over.emplace(flags.load_to);
  Session session = Session::open({.architectures = foreign_architectures(platforms)});
  const sandbox::LockKeeper lock_keeper;  // before there are threads
  unsigned threads = available_processors();
  build::RunningProcesses running;
  Cancellation cancellation;
  Interrupts interrupts(cancellation, running);
  // What is only looked at is looked at here.
  if (flags.call.name != "build") flags.pull = Pull::kNever;
  RegistrySession registry(cancellation, print_warning);
  BuildCaches caches(session.store(), registry,
                     {.from = flags.no_cache ? std::vector<cache::Spec>() : flags.cache_from,
                      .to = flags.call.name == "build" ? flags.cache_to : std::vector<cache::Spec>(),
                      .threads = threads,
                      .owners = build::body_owners(session.entered()),
                      .cancellation = cancellation});
  CommandLineSources sources(flags, session.store(), registry, threads, cancellation);
  for (const std::string& warning : sources.warnings()) print_warning(warning);
  build::Request request = make_request(flags, sources, platforms, threads);
  request.why_not_run = [&](const oci::Platform& platform) {
    return sandbox::why_not_emulated(platform.architecture, session.entered());
  };
  if (flags.call.name != "build") return run_call(flags.call, request, sources);
  if (session.entered().rung == sandbox::Rung::kNothing) {
    const sandbox::Obstacle obstacle = sandbox::main_obstacle(session.entered());
    request.no_run = obstacle.what.empty() ? "nothing that could isolate it is to be had" : obstacle.what;
    request.no_run_hint = obstacle.climb;
  }
  check_outputs(request, flags);
  build::check_limits(request);

  store::BuildRecord record;
  record.id = new_build_id();
  record.started_ns = session.clock().now_ns();
  record.status = "running";
  std::string context = shown_context(flags);
  record.name = flags.tags.empty() ? context : flags.tags.front();
  record.details =
      Json::object({{"context", context}, {"file", request.dockerfile_name}, {"target", flags.target}});
  store::BuildPlace place = session.store().begin_build(record.id);
  build::Explainer explainer(session.store(),
                             {record.id, record.name, context, request.dockerfile_name, flags.target});
  build::Journal journal(place.directory + "/steps");
  build::ProcessorSlots slots(build::slots_directory(session.store().path()),
                              build::steps_at_once(threads) - 1, record.id);
  build::Executor executor{.store = session.store(),
                           .request = request,
                           .entered = session.entered(),
                           .clock = session.clock(),
                           .cancellation = cancellation,
                           .running = running,
                           .max_unpacked_bytes = max_unpacked_bytes(),
                           .build = record.id,
                           .explainer = &explainer,
                           .journal = &journal,
                           .caches = caches.caches(),
                           .slots = &slots,
                           .lock_keeper = &lock_keeper,
                           .uppers = [&session] { return session.uppers().uppers; }};

  KeptLimits limits(session.store(), store_limits(flags.max_size, flags.min_free, session.config()),
                    [cancellation, &running]() mutable {
                      cancellation.cancel();
                      running.kill_all();
                    });
  shown.headline = headline(session, request.dockerfile);
  shown.source = request.dockerfile;
  auto progress = report::make_progress(shown);
  report::BuildLog log(place.directory + "/log");
  report::Fan events({progress.get(), &log});
  session.store().save_build(record);
  std::vector<build::Warning> warnings;
  bool is_talkative =
      shown.mode != report::ProgressMode::kQuiet && shown.mode != report::ProgressMode::kRawJson;
  auto print_warnings = [&] {
    if (is_talkative) fputs(report::warnings_text(warnings, shown).c_str(), stderr);
  };
  try {
    build::Plan plan = [&] {
      TraceSpan planning("parse and plan");
      return build::make_plan(request, sources);
    }();
    for (const dockerfile::Diagnostic& found : plan.warnings) {
      warnings.push_back({found.rule + ": " + found.message, found.detail, found.url, found.span});
      events.warning(warnings.back());
    }
    if (!plan.check_error.empty()) fail(ErrorCode::kInvalid, "{}", plan.check_error);
    build::VertexInfo exporting;
    exporting.id = static_cast<int>(plan.steps.size());
    exporting.name = "exporting to image";
    for (const build::TargetPlan& target : plan.targets)
      if (target.stage.result != build::kNoStep) exporting.inputs.push_back(target.stage.result);
    events.planned(exporting);
    const BuildCaches::Shown caches_shown = caches.show(events, exporting.id + 1);
    // Sent as soon as they are made, while later steps run.
    std::unique_ptr<image::EarlyPush> early = push_early(flags, sources, registry, session.store());
    const PushTo push_to{
        .remote = [&]() -> registry::Remote& { return registry.remote(); },
        .mount_from =
            [&](const std::string& host) {
              std::vector<std::string> names = sources.base_repositories(host);
              for (std::string& name : caches.repositories(host)) names.push_back(std::move(name));
              return names;
            },
        .cancellation = cancellation,
        .early = early.get(),
        .images = [&]() -> source::RegistryImages& { return registry.images(session.store()); }};
    executor.settle = [&](const build::BuildResult& result) {
      settle_outputs(result, flags, session.store(), push_to);
    };
    image::LayersAhead::Options ahead_options{
        .blobs = blobs_ahead(flags), .threads = threads, .cancellation = cancellation};
    if (early) ahead_options.made = [&](const oci::Descriptor& blob) { early->add(blob); };
    image::LayersAhead ahead(session.store(), ahead_options);
    if (!rewrites_timestamps(flags))
      executor.layer_made = [&](const store::LayerRef& layer) { ahead.add(layer); };
    build::BuildResult result = build::solve(std::move(plan), sources, executor, events);
    sources.save_stat_caches();
    ahead.finish();
    if (early) early->finish();
    FinishedBuild finished = export_result(result, request, flags, session.store(), events, exporting.id,
                                           push_to, hand_over ? &*hand_over : nullptr);
    caches.finish();
    progress->finish();
    caches.print_warnings();
    std::string remarks = limits.finish(result.executed_steps > 0);
    record.status = "done";
    record.finished_ns = session.clock().now_ns();
    record.details.set("image", finished.id);
    record.details.set("cached", result.cached_steps);
    record.details.set("executed", result.executed_steps);
    session.store().save_build(record);
    if (!flags.iidfile.empty()) write_file_atomic(flags.iidfile, finished.id);
    if (!flags.metadata_file.empty()) write_metadata(flags.metadata_file, finished, record.id);
    print_warnings();
    if (is_talkative) fputs(remarks.c_str(), stderr);
    if (is_talkative)
      fprintf(stderr, "built %s%s%s, %s, %zu of %zu steps cached, %s\n",
              finished.names.empty() ? "" : (short_name(finished.names.front()) + " ").c_str(),
              finished.id.c_str(), shown_platforms(request).c_str(), human_size(finished.size()).c_str(),
              result.cached_steps, result.cached_steps + result.executed_steps,
              report::seconds_text(record.finished_ns - record.started_ns).c_str());
    if (is_talkative)
      for (const std::string& name : finished.pushed) fprintf(stderr, "pushed %s\n", printable(name).c_str());
    if (flags.quiet) printf("%s\n", finished.id.c_str());
    return 0;
  } catch (Error& error) {
    progress->finish();
    caches.print_warnings();
    limits.explain(error);
    record.status = error.code() == ErrorCode::kCancelled ? "cancelled" : "failed";
    record.finished_ns = session.clock().now_ns();
    record.details.set("error", error.what());
    session.store().save_build(record);
    print_warnings();
    report_failure(error, log, request.dockerfile);
  }
}

}  // namespace corten::cli
