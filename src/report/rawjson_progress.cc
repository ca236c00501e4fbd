// BuildKit's events, one JSON object a line (client.SolveStatus): for programs that draw their own picture.
#include <map>
#include <mutex>

#include <fmt/core.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "report/printable_json.h"
#include "report/progress.h"

namespace corten::report {

namespace {

class RawJsonProgress : public Progress {
 public:
  explicit RawJsonProgress(const ProgressOptions& options) : fd_(options.fd), source_(options.source) {}

  void planned(const build::VertexInfo& vertex) override {
    std::lock_guard lock(mutex_);
    vertices_[vertex.id].info = vertex;
    emit_vertex(vertex.id, false, "", false);
  }
  void started(int id) override {
    std::lock_guard lock(mutex_);
    vertices_[id].started = now();
    emit_vertex(id, false, "", false);
  }
  void output(int id, int stream, std::string_view bytes) override {
    std::lock_guard lock(mutex_);
    Json log = Json::object(
        {{"vertex", digest(id)}, {"stream", stream}, {"data", base64_encode(bytes)}, {"timestamp", now()}});
    emit("logs", std::move(log));
  }
  void note(int id, std::string_view text) override {
    std::lock_guard lock(mutex_);
    Vertex& v = vertices_[id];
    std::string& open = v.note;
    // What was counted under the same name has ended with its count.
    if (open != text && v.status_started.count(open)) emit_status(id, {open, 0, 0, true});
    open = text;
    if (!open.empty()) emit_status(id, {open, 0, 0, false});
  }
  // BuildKit has no word for it: a status that begins and ends at once is shown below its step.
  void remark(int id, std::string_view text) override {
    std::lock_guard lock(mutex_);
    emit_status(id, {std::string(text), 0, 0, true});
  }
  void progressed(int id, const build::Amount& amount) override {
    std::lock_guard lock(mutex_);
    emit_status(id, amount);
  }
  void finished(int id, build::Outcome outcome, std::string_view error) override {
    std::lock_guard lock(mutex_);
    emit_vertex(id, outcome == build::Outcome::kCached,
                outcome == build::Outcome::kCancelled ? "canceled" : error, true);
  }
  void warning(const build::Warning& warning) override {
    std::lock_guard lock(mutex_);
    std::string line = warning.where.line ? fmt::format(" (line {})", warning.where.line) : "";
    Json json = Json::object(
        {{"vertex", Digest::of(std::string_view("[internal] load build definition")).to_string()},
         {"level", 1},
         {"short", base64_encode(warning.message + line)}});
    if (!warning.detail.empty()) json.set("detail", Json(Json::Array{Json(base64_encode(warning.detail))}));
    if (!warning.url.empty()) json.set("url", warning.url);
    if (warning.where.line) {
      json.set("sourceInfo", Json::object({{"filename", warning.where.file},
                                           {"data", base64_encode(source_)},
                                           {"language", "Dockerfile"}}));
      Json range = Json::array();
      for (int n = warning.where.line; n <= std::max(warning.where.line, warning.where.end_line); n++)
        range.push_back(
            Json::object({{"start", Json::object({{"line", n}})}, {"end", Json::object({{"line", n}})}}));
      json.set("range", std::move(range));
    }
    emit("warnings", std::move(json));
  }

 private:
  struct Vertex {
    build::VertexInfo info;
    std::string started, note;
    std::map<std::string, std::string> status_started;
  };

  static std::string now() {
    int64_t ns = SystemClock().now_ns();
    return format_rfc3339(ns / 1'000'000'000, ns % 1'000'000'000);
  }
  // By the number alone within a build: inputs may be named before they are planned.
  std::string digest(int id) const {
    return Digest::of(fmt::format("{} {}", id, definition_.to_string())).to_string();
  }

  // VertexStatus: `current` stands always, `total` when it is known.
  void emit_status(int id, const build::Amount& amount) {
    std::string time = now();
    auto began = vertices_[id].status_started.try_emplace(amount.what, time).first;
    Json json = Json::object({{"id", amount.what}, {"vertex", digest(id)}});
    if (amount.total) json.set("total", static_cast<int64_t>(amount.total));
    json.set("current", static_cast<int64_t>(amount.current));
    json.set("timestamp", time);
    json.set("started", began->second);
    if (amount.is_complete) {
      json.set("completed", time);
      vertices_[id].status_started.erase(began);
    }
    emit("statuses", std::move(json));
  }

  void emit_vertex(int id, bool cached, std::string_view error, bool is_completed) {
    const Vertex& v = vertices_[id];
    Json json = Json::object({{"digest", digest(id)}, {"name", v.info.name}});
    Json inputs = Json::array();
    for (int input : v.info.inputs) inputs.push_back(digest(input));
    if (inputs.size()) json.set("inputs", inputs);
    if (!v.started.empty()) json.set("started", v.started);
    if (is_completed) json.set("completed", now());
    if (cached) json.set("cached", true);
    if (!error.empty()) json.set("error", std::string(error));
    emit("vertexes", std::move(json));
  }

  void emit(std::string_view kind, Json item) {
    Json list = Json::array();
    list.push_back(std::move(item));
    Json line = Json::object();
    line.set(kind, std::move(list));
    try {
      write_fully(fd_, printable_json(line.dump()) + "\n", "progress");
    } catch (const Error&) {
      // Nobody listens any more; the build goes on.
    }
  }

  int fd_;
  std::string source_;
  Digest definition_ = Digest::of(source_);
  std::mutex mutex_;
  std::map<int, Vertex> vertices_;
};

}  // namespace

std::unique_ptr<Progress> make_rawjson_progress(const ProgressOptions& options) {
  return std::make_unique<RawJsonProgress>(options);
}

}  // namespace corten::report
