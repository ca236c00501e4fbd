#include "cli/cache_records.h"

#include <regex.h>

#include <algorithm>
#include <memory>

#include <fmt/core.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/suggest.h"
#include "report/table.h"

namespace corten::cli {

namespace {

using store::CacheRecord;
using Test = std::function<bool(const CacheRecord&)>;

struct Selector {
  std::string key, operation, value;  // operation: "", "=", "!=", "~="
};

Selector parse_selector(const std::string& text) {
  size_t at = text.find('=');
  if (at == std::string::npos) return {text, "", ""};
  bool has_mark = at > 0 && (text[at - 1] == '!' || text[at - 1] == '~');
  return {text.substr(0, at - has_mark), text.substr(at - has_mark, 1 + has_mark), text.substr(at + 1)};
}

int64_t duration_of(const Selector& selector) {
  auto ns = parse_duration(selector.value);
  if (!ns || *ns < 0 || selector.operation != "=")
    throw Error(ErrorCode::kUsage,
                fmt::format("invalid filter until{}{}", selector.operation, selector.value))
        .with_hint("until=24h: what was not used in the last 24 hours");
  return *ns / 1'000'000'000;
}

// regcomp(3) writes out what is repeated: about the size of what it makes, if everything were nested.
bool is_too_large(const std::string& pattern) {
  constexpr uint64_t kMost = 1 << 20;
  auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  uint64_t copies = 1;
  for (size_t i = 0; i < pattern.size() && copies <= kMost; i++) {
    if (pattern[i] == '\\' && i + 1 < pattern.size()) {
      if (is_digit(pattern[++i])) return true;  // what a group matched, again: takes time without end
    } else if (pattern[i] == '+') {
      copies *= 2;
    } else if (pattern[i] == '{') {
      uint64_t most = 1, number = 0;
      for (; i + 1 < pattern.size() && (is_digit(pattern[i + 1]) || pattern[i + 1] == ','); i++) {
        char c = pattern[i + 1];
        number = c == ',' ? 0 : std::min(number * 10 + static_cast<uint64_t>(c - '0'), kMost);
        most = std::max(most, number);
      }
      copies *= 1 + most;
    }
  }
  return pattern.size() > kMost || copies * pattern.size() > kMost;
}

std::function<bool(const std::string&)> matcher(const Selector& selector) {
  if (selector.operation == "=")
    return [value = selector.value](const std::string& text) { return text == value; };
  if (selector.operation == "!=")
    return [value = selector.value](const std::string& text) { return text != value; };
  if (is_too_large(selector.value))
    throw Error(ErrorCode::kUsage,
                fmt::format("invalid regular expression {}: it repeats too much", quote(selector.value)))
        .with_hint("a dozen '+', few '{N}', and no '\\1'");
  std::shared_ptr<regex_t> owned(new regex_t(), [](regex_t* compiled) {
    regfree(compiled);
    delete compiled;
  });
  if (regcomp(owned.get(), selector.value.c_str(), REG_EXTENDED | REG_NOSUB) != 0)
    throw Error(ErrorCode::kUsage, fmt::format("invalid regular expression {}", quote(selector.value)));
  return [owned](const std::string& text) { return regexec(owned.get(), text.c_str(), 0, nullptr, 0) == 0; };
}

const std::vector<std::string> kKeys = {"until",  "id",      "parents", "description", "type",      "inuse",
                                        "shared", "private", "mutable", "immutable",   "unused-for"};

Test parse_test(const std::string& text, int64_t now) {
  Selector selector = parse_selector(text);
  if (selector.key == "until" || selector.key == "unused-for")
    return [before = now - duration_of(selector)](const CacheRecord& r) { return r.used <= before; };
  auto is_mutable = [](const CacheRecord& r) { return r.kind == CacheRecord::Kind::kMount; };
  Test word;
  if (selector.key == "inuse") word = [](const CacheRecord& r) { return r.in_use; };
  if (selector.key == "shared") word = [](const CacheRecord& r) { return r.shared; };
  if (selector.key == "private") word = [](const CacheRecord& r) { return !r.shared; };
  if (selector.key == "mutable") word = is_mutable;
  if (selector.key == "immutable") word = [=](const CacheRecord& r) { return !is_mutable(r); };
  if (word) {
    bool wanted = (selector.value == "true" || selector.value == "1" || selector.operation.empty()) !=
                  (selector.operation == "!=");
    bool is_valid =
        selector.operation.empty() || ((selector.operation == "=" || selector.operation == "!=") &&
                                       (selector.value == "true" || selector.value == "1" ||
                                        selector.value == "false" || selector.value == "0"));
    if (!is_valid) throw Error(ErrorCode::kUsage, fmt::format("invalid filter {}", quote(text)));
    return [word, wanted](const CacheRecord& r) { return word(r) == wanted; };
  }
  if (selector.operation.empty() || std::find(kKeys.begin(), kKeys.end(), selector.key) == kKeys.end())
    throw Error(ErrorCode::kUsage,
                fmt::format("invalid filter {}{}", quote(text), did_you_mean(selector.key, kKeys)))
        .with_hint(
            "filters: until=24h, type=exec.cachemount, id=ID, parents=LAYER, description~=TEXT, inuse, "
            "shared, private");
  auto matches = matcher(selector);
  if (selector.key == "id") return [matches](const CacheRecord& r) { return matches(r.id); };
  if (selector.key == "parents") return [matches](const CacheRecord& r) { return matches(r.parent); };
  if (selector.key == "type") return [matches](const CacheRecord& r) { return matches(r.type); };
  return [matches](const CacheRecord& r) { return matches(r.description); };
}

std::string age(int64_t then, int64_t now) {
  return then == 0 ? "never" : report::age_text(std::max<int64_t>(0, now - then));
}

}  // namespace

std::function<bool(const CacheRecord&)> parse_cache_filters(const std::vector<std::string>& filters,
                                                            int64_t now) {
  std::vector<Test> tests;
  for (const std::string& filter : filters) tests.push_back(parse_test(filter, now));
  return [tests](const CacheRecord& record) {
    return std::all_of(tests.begin(), tests.end(), [&](const Test& test) { return test(record); });
  };
}

int64_t until_of(const std::vector<std::string>& filters, int64_t now) {
  for (const std::string& filter : filters)
    if (Selector selector = parse_selector(filter); selector.key == "until" || selector.key == "unused-for")
      return now - duration_of(selector);
  return 0;
}

bool has_other_filters(const std::vector<std::string>& filters) {
  return std::any_of(filters.begin(), filters.end(), [](const std::string& filter) {
    Selector selector = parse_selector(filter);
    return selector.key != "until" && selector.key != "unused-for";
  });
}

std::string record_sums(const std::vector<CacheRecord>& records) {
  uint64_t shared = 0, own = 0, reclaimable = 0;
  for (const CacheRecord& r : records) {
    // A directory and a blob are parts of a layer that is counted with its step, as most of an image is.
    if (r.kind == CacheRecord::Kind::kDirectory || r.kind == CacheRecord::Kind::kBlob ||
        r.kind == CacheRecord::Kind::kImage)
      continue;
    (r.shared ? shared : own) += r.bytes;
    if (!r.in_use) reclaimable += r.bytes;
  }
  return fmt::format("Shared:       {}\nPrivate:      {}\nReclaimable:  {}\nTotal:        {}\n",
                     human_size(shared), human_size(own), human_size(reclaimable), human_size(shared + own));
}

std::string record_blocks(const std::vector<CacheRecord>& records, int64_t now) {
  std::string text;
  for (const CacheRecord& r : records) {
    auto line = [&](std::string_view name, const std::string& value) {
      if (!value.empty()) text += fmt::format("{:<14}{}\n", std::string(name) + ":", printable(value));
    };
    line("ID", r.id);
    line("Parent", r.parent);
    line("Created at", r.created ? format_rfc3339(r.created) : "");
    line("Mutable", r.kind == CacheRecord::Kind::kMount ? "true" : "false");
    line("Reclaimable", r.in_use ? "false" : "true");
    line("Shared", r.shared ? "true" : "false");
    line("Size", human_size(r.bytes));
    line("Description", r.description);
    line("Sharing", r.sharing);
    line("Owner", r.owner);
    line("Path", r.path);
    line("Last used", age(r.used, now));
    line("Type", r.type);
    text += "\n";
  }
  return text;
}

std::string record_table(const std::vector<CacheRecord>& records, int64_t now) {
  report::Table table({"ID", "TYPE", "RECLAIMABLE", "SIZE", "LAST USED", "DESCRIPTION"});
  for (const CacheRecord& r : records)
    table.add({r.id.substr(0, 12), r.type, r.in_use ? "false" : "true",
               human_size(r.bytes) + (r.shared ? "*" : ""), age(r.used, now), r.description.substr(0, 60)});
  return table.text();
}

Json record_json(const CacheRecord& r) {
  Json json = Json::object({{"ID", r.id},
                            {"Type", r.type},
                            {"Description", r.description},
                            {"CreatedAt", r.created ? format_rfc3339(r.created) : ""},
                            {"LastUsedAt", r.used ? format_rfc3339(r.used) : ""},
                            {"Size", static_cast<int64_t>(r.bytes)},
                            {"Mutable", r.kind == CacheRecord::Kind::kMount},
                            {"Reclaimable", !r.in_use},
                            {"Shared", r.shared}});
  if (!r.parent.empty()) json.set("Parent", r.parent);
  if (!r.sharing.empty()) json.set("Sharing", r.sharing);
  if (!r.owner.empty()) json.set("Owner", r.owner);
  if (!r.path.empty()) json.set("Path", r.path);
  return json;
}

}  // namespace corten::cli
