#include "build/why.h"

#include <algorithm>
#include <map>

#include <fmt/core.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"

namespace corten::build {

namespace {

constexpr size_t kMostDifferences = 40;
constexpr size_t kLongestValue = 120;

// Names whose values are never shown: those that BuildKit's SecretsUsedInArgOrEnv finds, and more rather than
// fewer.
bool may_be_secret(std::string_view name) {
  std::string lower = to_lower(name);
  for (std::string_view word : {"auth", "credential", "key", "pass", "pword", "secret", "token", "cookie"})
    if (lower.find(word) != std::string::npos) return true;
  return false;
}

// An address may have a password in it.
bool may_be_address(std::string_view value) {
  return value.find("://") != std::string_view::npos && value.find('@') != std::string_view::npos;
}

// A text that fits a line; of two long ones the part in which they differ.
std::pair<std::string, std::string> shown_pair(std::string_view before, std::string_view after) {
  size_t same = 0;
  while (same < before.size() && same < after.size() && before[same] == after[same]) same++;
  size_t from = std::max(before.size(), after.size()) > kLongestValue && same > kLongestValue / 3
                    ? same - kLongestValue / 3
                    : 0;
  auto cut = [&](std::string_view text) {
    std::string part(text.substr(from, kLongestValue));
    if (from + part.size() < text.size()) part += "...";
    if (from) part = "..." + part;
    return quote(part);
  };
  return {cut(before), cut(after)};
}

std::string value_text(const Json& value) {
  return value.is_string() ? value.as_string() : value.dump();
}

class Comparer {
 public:
  Comparer(const Json& before, const Json& after, const CompareLists& lists, size_t& more)
      : before_(before), after_(after), lists_(lists), more_(more) {}

  std::vector<Difference> run() {
    std::vector<std::string> names;
    for (const Json* record : {&after_, &before_})
      for (const auto& [name, value] : record->as_object())
        if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    for (const std::string& name : names) {
      const Json* a = before_.find(name);
      const Json* b = after_.find(name);
      static const Json kNothing;
      if (!a) a = &kNothing;
      if (!b) b = &kNothing;
      if (*a == *b || name == "beside") continue;
      member(name, *a, *b);
    }
    secrets();
    return std::move(found_);
  }

 private:
  void add(std::string input, std::string name, std::string field, std::string before = {},
           std::string after = {}) {
    if (found_.size() >= kMostDifferences) {
      more_++;
      return;
    }
    found_.push_back(
        {std::move(input), std::move(name), std::move(field), std::move(before), std::move(after)});
  }

  void member(const std::string& name, const Json& a, const Json& b) {
    if (name == "below") return below();
    if (name == "newest_below") {
      // Follows from what lies below; of a --link step it is all that is known of it.
      if (after_.find("below")) return;
      return below();
    }
    if (name == "content") return content(a, b, place_of(nullptr));
    if (name == "environment") return variables(a, b);
    if (name == "mounts") return mounts(a, b);
    if (name == "files" || name == "scripts") return heredocs(a, b);
    if (name == "command") return value("command", command_text(a), command_text(b));
    static const std::map<std::string, std::string, std::less<>> kNames = {
        {"owner", "--chown"},     {"mode", "--chmod"},        {"exclude", "--exclude"},
        {"parents", "--parents"}, {"link", "--link"},         {"unpack", "--unpack"},
        {"hosts", "--add-host"},  {"ulimits", "--ulimit"},    {"shm", "--shm-size"},
        {"network", "--network"}, {"insecure", "--security"}, {"timestamps", "--timestamps"}};
    auto known = kNames.find(name);
    value(known == kNames.end() ? name : known->second, value_text(a), value_text(b), a.is_null(),
          b.is_null());
  }

  void value(std::string input, const std::string& a, const std::string& b, bool was_absent = false,
             bool is_absent = false) {
    auto [before, after] = shown_pair(a, b);
    add(std::move(input), "",
        was_absent  ? "added"
        : is_absent ? "removed"
                    : "",
        was_absent ? "" : before, is_absent ? "" : after);
  }

  static std::string command_text(const Json& command) {
    if (!command.is_array()) return value_text(command);
    std::vector<std::string> words;
    for (const Json& word : command.as_array()) words.push_back(value_text(word));
    if (words.size() == 3 && words[1] == "-c") return words[2];
    return join(words, " ");
  }

  // The base image, or the step below: what came out of it.
  void below() {
    const Json* a = beside(before_, "base");
    const Json* b = beside(after_, "base");
    std::string before_image = a ? a->get_string("image") : "", after_image = b ? b->get_string("image") : "";
    if (a && b && !after_image.empty() && !before_image.empty()) {
      auto shown = [](const Json& base) {
        std::string digest = base.get_string("digest");
        return digest.size() > 19 ? digest.substr(0, 19) : digest;
      };
      std::string before = shown(*a), after = shown(*b);
      if (before_image != after_image)
        before = before_image + " " + before, after = after_image + " " + after;
      // An image may be the same and its layers' times not: what it stands on was made on another day.
      if (before == after) return add("base image", after_image, "times");
      return add("base image", before_image == after_image ? after_image : "", "", before, after);
    }
    if (b && b->find("step")) return add("step below", b->get_string("step"), "result");
    add("base", "", "", before_image, after_image);
  }

  static const Json* beside(const Json& record, std::string_view name) {
    const Json* notes = record.find("beside");
    return notes ? notes->find(name) : nullptr;
  }

  // In no key, so never the reason; but worth knowing.
  void secrets() {
    const Json* a = beside(before_, "secrets");
    const Json* b = beside(after_, "secrets");
    if (!a || !b || !b->is_object()) return;
    for (const auto& [id, digest] : b->as_object())
      if (const Json* old = a->find(id); old && !(*old == digest))
        add("secret", id, "content (not in the key)");
  }

  std::string place_of(const Json* mount) const {
    const Json* from = beside(after_, "from");
    if (mount) {
      const Json* places = beside(after_, "mounts_from");
      from = places ? places->find(mount->get_string("target")) : nullptr;
    }
    return from && from->is_string() ? from->as_string() : "source";
  }

  void content(const Json& a, const Json& b, const std::string& place) {
    if (a.is_string() && b.is_string()) {
      auto known = lists_(Digest::from_hex(a.as_string()), Digest::from_hex(b.as_string()), place, more_);
      if (known && !known->empty()) {
        for (Difference& d : *known)
          add(std::move(d.input), std::move(d.name), std::move(d.field), std::move(d.before),
              std::move(d.after));
        return;
      }
    }
    add("files of the " + place, "", "content");
  }

  void variables(const Json& a, const Json& b) {
    auto read = [](const Json& list) {
      std::map<std::string, std::string> values;
      if (list.is_array())
        for (const Json& item : list.as_array()) {
          std::string text = value_text(item);
          size_t equals = text.find('=');
          values[text.substr(0, equals)] = equals == std::string::npos ? "" : text.substr(equals + 1);
        }
      return values;
    };
    std::map<std::string, std::string> before = read(a), after = read(b);
    for (const auto& [name, text] : after) {
      auto old = before.find(name);
      bool is_hidden =
          may_be_secret(name) || may_be_address(text) || (old != before.end() && may_be_address(old->second));
      if (old == before.end())
        add("variable", name, "added", "", is_hidden ? "" : shown_pair("", text).second);
      else if (old->second != text && is_hidden)
        add("variable", name, "value");
      else if (old->second != text) {
        auto [was, is] = shown_pair(old->second, text);
        add("variable", name, "", was, is);
      }
    }
    for (const auto& [name, text] : before)
      if (!after.contains(name)) add("variable", name, "removed");
    if (before == after) add("variables", "", "order");
  }

  void mounts(const Json& a, const Json& b) {
    static const Json::Array kNone;
    const Json::Array& before = a.is_array() ? a.as_array() : kNone;
    const Json::Array& after = b.is_array() ? b.as_array() : kNone;
    auto of_target = [](const Json::Array& list, const std::string& target) -> const Json* {
      for (const Json& mount : list)
        if (mount.get_string("target") == target) return &mount;
      return nullptr;
    };
    size_t had = found_.size();
    for (const Json& mount : after) {
      std::string target = mount.get_string("target");
      const Json* old = of_target(before, target);
      if (!old)
        add("mount", target, "added");
      else if (!(*old == mount))
        one_mount(target, *old, mount);
    }
    for (const Json& mount : before)
      if (!of_target(after, mount.get_string("target"))) add("mount", mount.get_string("target"), "removed");
    if (found_.size() == had) add("mounts", "", "order");
  }

  void one_mount(const std::string& target, const Json& a, const Json& b) {
    for (const auto& [name, now] : b.as_object()) {
      const Json* old = a.find(name);
      if (old && *old == now) continue;
      if (name == "content" && old)
        content(*old, now, place_of(&b));
      else
        add("mount", target, name, old ? value_text(*old) : "", value_text(now));
    }
    for (const auto& [name, old] : a.as_object())
      if (!b.find(name)) add("mount", target, name, value_text(old), "");
  }

  void heredocs(const Json& a, const Json& b) {
    std::map<std::string, std::string> before, after;
    for (auto [list, to] : {std::pair(&a, &before), std::pair(&b, &after)})
      if (list->is_array())
        for (const Json& file : list->as_array())
          (*to)[file.get_string("name")] = file.get_string("content").substr(0, 12);
    for (const auto& [name, digest] : after) {
      auto old = before.find(name);
      if (old == before.end())
        add("heredoc", name, "added");
      else if (old->second != digest)
        add("heredoc", name, "content", old->second, digest);
    }
    for (const auto& [name, digest] : before)
      if (!after.contains(name)) add("heredoc", name, "removed");
  }

  const Json& before_;
  const Json& after_;
  const CompareLists& lists_;
  size_t& more_;
  std::vector<Difference> found_;
};

constexpr std::string_view kReasons[] = {"input", "first", "no-cache", "failed-before", "forgotten"};

}  // namespace

Json Miss::to_json() const {
  Json json = Json::object({{"reason", kReasons[static_cast<int>(reason)]}});
  Json list = Json::array();
  for (const Difference& d : differences) {
    Json item = Json::object({{"input", d.input}});
    for (const auto& [name, text] : {std::pair("name", &d.name), std::pair("field", &d.field),
                                     std::pair("before", &d.before), std::pair("after", &d.after)})
      if (!text->empty()) item.set(name, *text);
    list.push_back(std::move(item));
  }
  if (list.size()) json.set("differences", std::move(list));
  if (more) json.set("more", static_cast<int64_t>(more));
  if (!build.empty()) json.set("build", build);
  if (!step.empty()) json.set("step", step);
  if (when_ns) json.set("when_ns", when_ns);
  return json;
}

Miss Miss::from_json(const Json& json) {
  Miss miss;
  std::string reason = json.get_string("reason");
  for (size_t i = 0; i < std::size(kReasons); i++)
    if (reason == kReasons[i]) miss.reason = static_cast<Reason>(i);
  if (const Json* list = json.find("differences"))
    for (const Json& item : list->as_array())
      miss.differences.push_back({item.get_string("input"), item.get_string("name"), item.get_string("field"),
                                  item.get_string("before"), item.get_string("after")});
  miss.more = static_cast<size_t>(json.get_int("more"));
  miss.build = json.get_string("build");
  miss.step = json.get_string("step");
  miss.when_ns = json.get_int("when_ns");
  return miss;
}

std::vector<Difference> compare_records(const Json& before, const Json& after, const CompareLists& lists,
                                        size_t& more) {
  return Comparer(before, after, lists, more).run();
}

Json without_secrets(Json record, const std::function<std::string(std::string_view)>& digest) {
  const Json* environment = record.find("environment");
  if (!environment || !environment->is_array()) return record;
  Json kept = Json::array();
  for (const Json& item : environment->as_array()) {
    std::string text = value_text(item);
    size_t equals = text.find('=');
    if (equals != std::string::npos && equals + 1 < text.size() &&
        (may_be_secret(text.substr(0, equals)) || may_be_address(text.substr(equals + 1))))
      text.replace(equals + 1, std::string::npos, digest(text.substr(equals + 1)));
    kept.push_back(std::move(text));
  }
  record.set("environment", std::move(kept));
  return record;
}

size_t equal_members(const Json& a, const Json& b) {
  size_t count = 0;
  for (const auto& [name, value] : a.as_object()) {
    const Json* other = b.find(name);
    if (other && *other == value) count++;
  }
  return count;
}

std::string difference_text(const Difference& d) {
  std::string subject = d.input;
  if (!d.name.empty()) subject += " " + d.name;
  if (d.field == "added" || d.field == "removed") {
    std::string text = fmt::format("{} was {}", subject, d.field);
    const std::string& value = d.field == "added" ? d.after : d.before;
    return value.empty() ? text : fmt::format("{}: {}", text, value);
  }
  if (!d.field.empty()) subject += ": " + d.field;
  if (d.before.empty() && d.after.empty()) return subject + " changed";
  return fmt::format("{} was {}, is {}", subject, d.before.empty() ? "nothing" : d.before,
                     d.after.empty() ? "nothing" : d.after);
}

std::string miss_text(const Miss& miss, int64_t now_ns) {
  std::string when =
      miss.when_ns
          ? fmt::format("{} ago", human_duration(std::max<int64_t>(0, now_ns - miss.when_ns) / 1'000'000'000))
          : "before";
  when = to_lower(when.substr(0, 1)) + when.substr(1);
  switch (miss.reason) {
    case Miss::Reason::kFirst:
      return "";
    case Miss::Reason::kNoCache:
      return "not cached: --no-cache";
    case Miss::Reason::kFailedBefore:
      return fmt::format("not cached: with the same inputs it gave nothing {} (build {})", when, miss.build);
    case Miss::Reason::kForgotten:
      return fmt::format("not cached: the result of {} is no longer in the store", when);
    case Miss::Reason::kInput:
      break;
  }
  if (miss.differences.empty()) return "not cached: another version of Corten makes other keys";
  std::string text = "not cached: " + difference_text(miss.differences.front());
  if (size_t more = miss.differences.size() - 1 + miss.more) text += fmt::format(", and {} more", more);
  return fmt::format("{} (last run {})", text, when);
}

}  // namespace corten::build
