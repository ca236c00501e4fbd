#include "report/findings.h"

#include <algorithm>
#include <map>

#include "base/digest.h"
#include "base/json.h"
#include "base/strings.h"
#include "report/printable_json.h"

namespace corten::report {

namespace {

int line_of(const Finding& finding) {
  return std::max(1, finding.place.line);
}
int column_of(const Finding& finding) {
  return std::max(1, finding.place.column);
}

// hadolint's default.
std::string tty(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& f : findings)
    text += fmt::format("{}:{} {} {}: {}\n", printable(f.place.file), line_of(f), f.rule, level_name(f.level),
                        printable(f.message));
  return text;
}

std::string gnu(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& f : findings)
    text += fmt::format("{}:{}:{}: {}: {} [{}]\n", printable(f.place.file), line_of(f), column_of(f),
                        f.level == Level::kError ? "error" : "warning", printable(f.message), f.rule);
  return text;
}

std::string json(const std::vector<Finding>& findings) {
  Json list = Json::array();
  for (const Finding& f : findings)
    list.push_back(Json::object({{"code", f.rule},
                                 {"column", column_of(f)},
                                 {"file", f.place.file},
                                 {"level", level_name(f.level)},
                                 {"line", line_of(f)},
                                 {"message", f.message}}));
  return printable_json(list.dump()) + "\n";
}

std::string xml(std::string_view text) {
  std::string out;
  for (char c : printable(text)) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string checkstyle(const std::vector<Finding>& findings) {
  std::string text = "<?xml version='1.0' encoding='UTF-8'?>\n<checkstyle version='4.3'>\n";
  std::string open;
  bool is_open = false;
  for (const Finding& f : findings) {
    if (!is_open || open != f.place.file) {
      if (is_open) text += "</file>\n";
      text += fmt::format("<file name='{}'>\n", xml(f.place.file));
      open = f.place.file;
      is_open = true;
    }
    text += fmt::format("<error line='{}' column='{}' severity='{}' message='{}' source='{}'/>\n", line_of(f),
                        column_of(f), f.level == Level::kStyle ? "ignore" : level_name(f.level),
                        xml(f.message), xml(f.rule));
  }
  if (is_open) text += "</file>\n";
  return text + "</checkstyle>\n";
}

// Code Climate has one object a line, ended by NUL bytes; GitLab takes an array with fingerprints.
std::string code_climate(const std::vector<Finding>& findings, bool is_gitlab) {
  Json list = Json::array();
  std::string text;
  for (const Finding& f : findings) {
    static const std::map<Level, std::string> kSeverity = {{Level::kError, "blocker"},
                                                           {Level::kWarning, "major"},
                                                           {Level::kInfo, "info"},
                                                           {Level::kStyle, "minor"}};
    int end = std::max(line_of(f), f.place.end_line);
    Json one = Json::object(
        {{"type", "issue"},
         {"check_name", f.rule},
         {"description", f.message},
         {"categories", Json(Json::Array{Json("Bug Risk")})},
         {"location", Json::object({{"path", f.place.file},
                                    {"lines", Json::object({{"begin", line_of(f)}, {"end", end}})}})},
         {"severity", kSeverity.at(f.level)}});
    if (!is_gitlab) {
      text += printable_json(one.dump()) + std::string(1, '\0') + "\n";
      continue;
    }
    one.set("fingerprint",
            Digest::of(f.rule + "\n" + f.place.file + "\n" + std::to_string(line_of(f)) + "\n" + f.message)
                .hex()
                .substr(0, 40));
    list.push_back(std::move(one));
  }
  return is_gitlab ? printable_json(list.dump()) + "\n" : text;
}

// Source: sarif-2.1.0 (OASIS). Levels of SARIF: error, warning, note.
std::string sarif(const std::vector<Finding>& findings) {
  Json rules = Json::array(), results = Json::array();
  std::map<std::string, int64_t> indexes;
  for (const Finding& f : findings) {
    if (!indexes.contains(f.rule)) {
      indexes[f.rule] = static_cast<int64_t>(rules.size());
      Json rule = Json::object({{"id", f.rule}, {"name", f.rule}});
      rule.set("shortDescription", Json::object({{"text", f.detail.empty() ? f.message : f.detail}}));
      if (!f.url.empty()) rule.set("helpUri", f.url);
      rules.push_back(std::move(rule));
    }
    Json region = Json::object({{"startLine", line_of(f)}});
    if (f.place.column > 0) region.set("startColumn", f.place.column);
    if (f.place.end_line > f.place.line) region.set("endLine", f.place.end_line);
    if (f.place.end_column > 0) region.set("endColumn", f.place.end_column);
    Json location = Json::object(
        {{"physicalLocation", Json::object({{"artifactLocation", Json::object({{"uri", f.place.file}})},
                                            {"region", std::move(region)}})}});
    const char* level = f.level == Level::kError ? "error" : f.level == Level::kWarning ? "warning" : "note";
    results.push_back(Json::object({{"ruleId", f.rule},
                                    {"ruleIndex", indexes[f.rule]},
                                    {"level", level},
                                    {"message", Json::object({{"text", f.message}})},
                                    {"locations", Json(Json::Array{std::move(location)})}}));
  }
  Json driver = Json::object({{"name", "corten"}, {"rules", std::move(rules)}});
  Json run = Json::object({{"tool", Json::object({{"driver", std::move(driver)}})},
                           {"columnKind", "utf16CodeUnits"},
                           {"results", std::move(results)}});
  Json log = Json::object({{"$schema", "https://json.schemastore.org/sarif-2.1.0.json"},
                           {"version", "2.1.0"},
                           {"runs", Json(Json::Array{std::move(run)})}});
  return printable_json(log.dump({.indent = 2})) + "\n";
}

std::string github_text(std::string_view text, bool is_property) {
  std::string out;
  for (char c : text) {
    if (c == '%')
      out += "%25";
    else if (c == '\r')
      out += "%0D";
    else if (c == '\n')
      out += "%0A";
    else if (is_property && c == ':')
      out += "%3A";
    else if (is_property && c == ',')
      out += "%2C";
    else
      out += c;
  }
  return printable(out);
}

std::string github(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& f : findings)
    text += fmt::format("::{} file={},line={},endLine={},col={},title={}::{}\n",
                        f.level == Level::kError     ? "error"
                        : f.level == Level::kWarning ? "warning"
                                                     : "notice",
                        github_text(f.place.file, true), line_of(f), std::max(line_of(f), f.place.end_line),
                        column_of(f), github_text(f.rule, true), github_text(f.message, false));
  return text;
}

}  // namespace

std::string_view level_name(Level level) {
  constexpr std::string_view kNames[] = {"error", "warning", "info", "style"};
  return kNames[static_cast<size_t>(level)];
}

std::optional<Level> parse_level(std::string_view text) {
  for (Level level : {Level::kError, Level::kWarning, Level::kInfo, Level::kStyle})
    if (text == level_name(level)) return level;
  return std::nullopt;
}

std::string format_findings(std::string_view format, const std::vector<Finding>& findings) {
  if (format == "tty" || format.empty()) return tty(findings);
  if (format == "gnu") return gnu(findings);
  if (format == "json") return json(findings);
  if (format == "checkstyle") return checkstyle(findings);
  if (format == "codeclimate") return code_climate(findings, false);
  if (format == "gitlab_codeclimate") return code_climate(findings, true);
  if (format == "sarif") return sarif(findings);
  if (format == "github") return github(findings);
  throw Error(ErrorCode::kUsage, fmt::format("unknown format {}", quote(format)))
      .with_hint("it is one of tty, gnu, json, checkstyle, codeclimate, gitlab_codeclimate, sarif, github");
}

}  // namespace corten::report
