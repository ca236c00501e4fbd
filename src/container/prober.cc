#include "container/prober.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <fmt/core.h>

#include "base/error.h"
#include "container/box.h"
#include "container/log.h"

namespace corten::container {

Prober::Prober(const Container& container, const sandbox::Process& init, const Clock& clock, EventLoop& loop)
    : container_(container),
      init_(init),
      clock_(clock),
      loop_(loop),
      machine_(*container.spec().health, container.spec().shell, clock.now_ns()) {
  write_down();
  wait_for_next();
}

Prober::~Prober() {
  loop_.cancel(timer_);
  if (probe_) loop_.forget(probe_->pidfd());
  if (output_) loop_.forget(output_.get());
}

// When it cannot be written (a full disk), what was true before must not be told any longer.
void Prober::write_down() {
  try {
    container_.write_health(machine_.health());
  } catch (const Error&) {
    unlink((container_.directory() / "health.json").c_str());
  }
}

void Prober::wait_for_next() {
  timer_ = loop_.after(machine_.pause_ns(clock_.now_ns()), [this] { begin(); });
}

void Prober::begin() {
  result_ = {};
  result_.started_ns = clock_.now_ns();
  try {
    Pipe pipe = make_pipe();
    if (fcntl(pipe.read.get(), F_SETFL, O_NONBLOCK) != 0) fail_errno("make a pipe for the health check");
    sandbox::Spec spec = join_spec(container_.spec(), {.argv = machine_.argv()}, init_.pidfd(), init_.pid());
    spec.stdout_fd = spec.stderr_fd = pipe.write.get();
    probe_.emplace(sandbox::Process::start(spec));
    output_ = std::move(pipe.read);
  } catch (const Error& error) {
    return end(-1, error.what());
  }
  loop_.watch(output_.get(), EPOLLIN, [this](uint32_t) { collect(); });
  loop_.watch(probe_->pidfd(), EPOLLIN, [this](uint32_t) {
    loop_.forget(probe_->pidfd());
    sandbox::Exit exit = probe_->wait();
    end(exit.code, exit.exec_error);
  });
  timer_ = loop_.after(machine_.timeout_ns(), [this] { time_out(); });
}

void Prober::collect() {
  char buffer[4096];
  ssize_t n;
  while ((n = read(output_.get(), buffer, sizeof buffer)) > 0)
    result_.output.append(
        buffer, std::min(static_cast<size_t>(n), HealthMachine::kMaxOutputBytes - result_.output.size()));
  if (n == 0) {
    loop_.forget(output_.get());
    output_.reset();
  }
}

// With all that it started, as far as that stayed in its session's first group.
void Prober::time_out() {
  loop_.forget(probe_->pidfd());
  kill(-probe_->pid(), SIGKILL);
  probe_->kill();
  probe_->wait();
  end(-1, fmt::format("Health check exceeded timeout ({})", format_duration(machine_.timeout_ns())));
}

void Prober::end(int exit_code, std::string_view note) {
  loop_.cancel(timer_);
  if (output_) collect();
  if (output_) {
    loop_.forget(output_.get());
    output_.reset();
  }
  probe_.reset();
  result_.finished_ns = clock_.now_ns();
  result_.exit_code = exit_code;
  if (!note.empty())
    result_.output = std::string(note) + (result_.output.empty() ? "" : ": " + result_.output);
  result_.output = to_valid_utf8(result_.output).substr(0, HealthMachine::kMaxOutputBytes);
  result_.output = to_valid_utf8(result_.output);
  machine_.take(std::move(result_));
  write_down();
  wait_for_next();
}

}  // namespace corten::container
