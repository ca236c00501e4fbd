// `run`: from options and an image to a running container.
#include <fcntl.h>
#include <unistd.h>

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/suggest.h"
#include "container/commands.h"
#include "container/monitor.h"
#include "oci/reference.h"

namespace corten::container {

namespace {

store::Image find_image(const std::string& name, const std::string& platform, store::Store& store) {
  oci::Platform wanted = platform.empty() ? oci::host_platform() : oci::parse_platform(platform).normalized();
  if (auto reference = oci::Reference::try_parse(name))
    if (auto image = store.find_image(reference->with_default_tag().to_string(), wanted)) return *image;
  if (auto image = store.find_image(name, wanted)) return *image;
  std::vector<std::string> names;
  for (const store::Image& image : store.images())
    for (const std::string& tag : image.tags)
      if (auto reference = oci::Reference::try_parse(tag)) {
        names.push_back(reference->familiar());
        if (reference->tag() == "latest") names.push_back(reference->repository_only().familiar());
      }
  throw Error(ErrorCode::kNotFound,
              fmt::format("Unable to find image {} locally{}", quote(name), did_you_mean(name, names)))
      .with_hint(
          "'corten images' lists what is in the store; 'corten build -t NAME .' and 'corten load' put images "
          "there");
}

bool is_same_port(const Port& a, const Port& b) {
  auto any = [](const std::string& ip) { return ip.empty() || ip == "0.0.0.0" || ip == "::"; };
  return a.host == b.host && a.protocol == b.protocol &&
         (a.host_ip == b.host_ip || any(a.host_ip) || any(b.host_ip));
}

// Known before the kernel is asked, and named better than it could.
void check_ports(const ContainerSpec& spec, store::Store& store) {
  if (spec.ports.empty()) return;
  for (const Container& other : Container::list(store)) {
    if (!other.is_running()) continue;
    auto state = other.state();
    for (const Port& theirs : state ? state->ports : std::vector<Port>())
      for (const Port& ours : spec.ports)
        if (ours.host != 0 && is_same_port(ours, theirs))
          throw Error(ErrorCode::kExists, fmt::format("port {}:{}: already in use by container {}",
                                                      ours.host_ip.empty() ? "0.0.0.0" : ours.host_ip,
                                                      ours.host, other.spec().name))
              .with_hint(fmt::format("remove it: corten rm -f {}, or publish on another port: -p {}:{}",
                                     other.spec().name, ours.host == 65535 ? 8080 : ours.host + 1,
                                     ours.container));
  }
}

void check_terminal(const RunOptions& options) {
  if (!options.terminal) return;
  if (options.detach)
    throw Error(ErrorCode::kUnsupported, "-t with -d: a detached container has no terminal")
        .with_hint("leave -t out; 'corten exec -it NAME sh' gives a shell in a running container");
  if (options.interactive && !isatty(0))
    throw Error(ErrorCode::kUsage, "the input device is not a TTY").with_hint("leave -t out");
}

void write_id_file(const std::string& path, const std::string& id) {
  if (path.empty()) return;
  UniqueFd file;
  try {
    file = open_file(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
  } catch (Error& error) {
    error.set_hint("remove the file of an earlier container, or give another --cidfile");
    throw;
  }
  write_fully(file.get(), id, path);
}

MonitorStart prepare(const Container& container, std::vector<Listener> listeners, const std::string& id_file,
                     const sandbox::Entered& entered, Context& context) {
  FileLock lock = container.take_lock();
  try {
    write_id_file(id_file, container.spec().id);
    return {container, make_box(container, entered, context.store), std::move(listeners), std::move(lock),
            context.clock};
  } catch (const std::exception&) {
    container.remove_files();
    throw;
  }
}

// An image that was not chosen by platform may be for another machine; whether it runs is the kernel's
// business.
void check_platform(const RunOptions& options, const oci::Platform& image, Context& context) {
  oci::Platform wanted =
      options.platform.empty() ? oci::host_platform() : oci::parse_platform(options.platform).normalized();
  if (image.architecture.empty() || oci::platform_rank(wanted, image)) return;
  if (!options.platform.empty())
    fail(ErrorCode::kNotFound, "image {} is for {}, not for {}", options.image, image.format(),
         wanted.format());
  context.err(
      fmt::format("WARNING: the image is for {}, this machine is {}\n", image.format(), wanted.format()));
}

int tell(const Started& started, Context& context) {
  for (const std::string& warning : started.warnings) context.err("WARNING: " + warning + "\n");
  if (started.exec_error.empty()) return 0;
  context.err("ERROR: unable to start container process: " + printable(started.exec_error) + "\n");
  return started.exec_code;
}

}  // namespace

int run_command(const RunOptions& options, Context& context) {
  check_terminal(options);
  store::Image image = find_image(options.image, options.platform, context.store);
  oci::ImageConfig config = oci::parse_config(image.config).config;
  check_platform(options, config.platform, context);
  ContainerSpec spec = make_spec(options, config.config);
  spec.image = image.id;
  spec.layers = image.layers;
  spec.created_ns = context.clock.now_ns();
  check_ports(spec, context.store);
  sandbox::Entered entered = context.enter();
  std::vector<Listener> listeners = bind_ports(spec.ports);
  Container container = Container::create(std::move(spec), context.store);
  MonitorStart start = prepare(container, std::move(listeners), options.id_file, entered, context);
  context.store.release();
  if (options.detach) {
    int code = tell(run_detached_monitor(std::move(start)), context);
    if (code == 0) context.out(container.spec().id + "\n");
    return code;
  }
  return run_monitor(std::move(start), [&](const Started& started) { tell(started, context); }).code;
}

}  // namespace corten::container
