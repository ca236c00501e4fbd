// The picture on a terminal, drawn ten times a second: what it shows is build_picture.cc's, how it is drawn
// screen_painter.cc's. The drawing waits for no step and no step for the drawing: a terminal that is stopped
// (Ctrl-S) stops no build.
#include <memory>
#include <mutex>

#include "base/unique_fd.h"
#include "report/build_picture.h"
#include "report/progress.h"
#include "report/ticker.h"

namespace corten::report {

namespace {

constexpr int64_t kFrameMs = 100;

class TtyProgress : public Progress {
 public:
  explicit TtyProgress(const ProgressOptions& options)
      : options_(options), picture_(options, now()), painter_(terminal_reflows()) {
    if (!options_.terminal_size) options_.terminal_size = [fd = options.fd] { return terminal_size(fd); };
    if (options_.has_ticker) ticker_ = std::make_unique<Ticker>(kFrameMs, [this] { tick(); });
  }
  ~TtyProgress() override { finish(); }

  void planned(const build::VertexInfo& vertex) override {
    std::lock_guard lock(mutex_);
    picture_.planned(vertex);
  }
  void started(int id) override {
    std::lock_guard lock(mutex_);
    picture_.started(id, now());
  }
  void output(int id, int stream, std::string_view bytes) override {
    std::lock_guard lock(mutex_);
    picture_.output(id, stream, bytes);
  }
  void note(int id, std::string_view text) override {
    std::lock_guard lock(mutex_);
    picture_.note(id, text, now());
  }
  void remark(int id, std::string_view text) override {
    std::lock_guard lock(mutex_);
    picture_.remark(id, text);
  }
  void progressed(int id, const build::Amount& amount) override {
    std::lock_guard lock(mutex_);
    picture_.progressed(id, amount, now());
  }
  void finished(int id, build::Outcome outcome, std::string_view) override {
    std::lock_guard lock(mutex_);
    picture_.finished(id, outcome, now());
  }

  void tick() override { draw(false); }
  void finish() override {
    if (is_finished_) return;
    is_finished_ = true;
    ticker_.reset();
    draw(true);
  }

 private:
  int64_t now() const { return options_.clock ? options_.clock->now_ns() : monotonic_ns(); }

  // Only by the ticker, and after it.
  void draw(bool is_last) {
    TerminalSize size = options_.terminal_size();
    if (size.rows < 2 && !is_last) return;  // no room to draw over anything
    std::vector<Row> rows;
    {
      std::lock_guard lock(mutex_);
      rows = is_last ? picture_.last_rows(now()) : picture_.rows(now(), size);
    }
    try {
      write_fully(options_.fd, painter_.frame(rows, size), "progress");
    } catch (const Error&) {
      // The terminal is gone; the build goes on.
    }
  }

  ProgressOptions options_;
  std::mutex mutex_;
  BuildPicture picture_;  // guarded by mutex_
  ScreenPainter painter_;
  bool is_finished_ = false;
  std::unique_ptr<Ticker> ticker_;
};

}  // namespace

std::unique_ptr<Progress> make_tty_progress(const ProgressOptions& options) {
  return std::make_unique<TtyProgress>(options);
}

}  // namespace corten::report
