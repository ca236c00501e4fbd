#include "build/journal.h"

#include <fcntl.h>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"

namespace corten::build {

static constexpr size_t kMaxJournalBytes = 256 << 20;

JournalStep::Place JournalStep::place() const {
  size_t end = name.find("] ");
  Place whole{"", 0, name};
  if (!name.starts_with('[') || end == std::string::npos) return whole;
  std::string_view inside = std::string_view(name).substr(1, end - 1);
  size_t blank = inside.rfind(' ');
  std::string_view numbers = blank == std::string_view::npos ? inside : inside.substr(blank + 1);
  auto number = parse_int(numbers.substr(0, numbers.find('/')));
  if (!number) return whole;
  return {std::string(inside.substr(0, blank == std::string_view::npos ? 0 : blank)),
          static_cast<int>(*number), name.substr(end + 2)};
}

Json JournalStep::to_json() const {
  Json json = Json::object({{"step", id}, {"name", name}, {"line", line}, {"state", state}});
  if (!key.empty()) json.set("key", key);
  json.set("started_ns", started_ns);
  json.set("duration_ns", duration_ns);
  if (peak_bytes) json.set("peak_bytes", peak_bytes);
  if (processor_ns) json.set("processor_ns", processor_ns);
  if (!error.empty()) json.set("error", error);
  if (miss) json.set("why", miss->to_json());
  if (!record.is_null()) json.set("record", record);
  return json;
}

JournalStep JournalStep::from_json(const Json& json) {
  JournalStep step;
  step.id = static_cast<int>(json.get_int("step"));
  step.name = json.get_string("name");
  step.line = static_cast<int>(json.get_int("line"));
  step.state = json.get_string("state");
  step.key = json.get_string("key");
  step.started_ns = json.get_int("started_ns");
  step.duration_ns = json.get_int("duration_ns");
  step.peak_bytes = static_cast<uint64_t>(json.get_int("peak_bytes"));
  step.processor_ns = json.get_int("processor_ns");
  step.error = json.get_string("error");
  if (const Json* why = json.find("why")) step.miss = Miss::from_json(*why);
  if (const Json* record = json.find("record"); record && record->is_object()) {
    record->get_string("step");  // of the right type, or the line cannot be read
    step.record = *record;
  }
  return step;
}

Journal::Journal(const std::string& file)
    : file_(file), fd_(open_file(file, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600)) {}

void Journal::add(const JournalStep& step) {
  std::string line = step.to_json().dump() + "\n";
  std::lock_guard lock(mutex_);
  write_fully(fd_.get(), line, file_);
}

std::vector<JournalStep> read_journal(const std::string& file) {
  std::vector<JournalStep> steps;
  if (!path_exists(file)) return steps;
  std::string text = read_file(file, kMaxJournalBytes);
  for (const std::string& line : split(text, '\n')) {
    if (line.empty()) continue;
    try {
      steps.push_back(JournalStep::from_json(Json::parse(line)));
    } catch (const Error&) {
      // The last line of a build that was killed, or a name that is no UTF-8.
    }
  }
  return steps;
}

}  // namespace corten::build
