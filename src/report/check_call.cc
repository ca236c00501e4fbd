// `--call=check|outline|targets` as buildx prints them.
#include <algorithm>

#include "base/json.h"
#include "base/strings.h"
#include "dockerfile/excerpt.h"
#include "dockerfile/stages.h"
#include "report/findings.h"

namespace corten::report {

namespace {

Json ranges_of(const SourceSpan& span) {
  Json ranges = Json::array();
  for (int line = span.line; line <= std::max(span.line, span.end_line); line++)
    ranges.push_back(
        Json::object({{"start", Json::object({{"line", line}})}, {"end", Json::object({{"line", line}})}}));
  return ranges;
}

Json location_of(const SourceSpan& span) {
  if (span.line < 1) return Json::object();
  return Json::object({{"ranges", ranges_of(span)}});
}

std::string dump(const Json& json) {
  return json.dump({.indent = 2, .escape_html = true}) + "\n";
}

size_t width_of(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(),
                                           [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; }));
}

// As Go's text/tabwriter: every cell but the last of a row is padded to the widest of its column.
std::string columns(const std::vector<std::vector<std::string>>& rows, size_t padding) {
  std::vector<size_t> widths;
  for (const auto& row : rows)
    for (size_t i = 0; i + 1 < row.size(); i++) {
      if (i >= widths.size()) widths.push_back(0);
      widths[i] = std::max(widths[i], width_of(row[i]) + padding);
    }
  std::string text;
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); i++) {
      text += row[i];
      if (i + 1 < row.size()) text += std::string(widths[i] - width_of(row[i]), ' ');
    }
    text += "\n";
  }
  return text;
}

std::string access_table(std::string_view title, const std::vector<dockerfile::OutlineAccess>& list) {
  if (list.empty()) return {};
  std::vector<std::vector<std::string>> rows = {{std::string(title), "REQUIRED"}};
  for (const auto& access : list) rows.push_back({printable(access.name), access.required ? "true" : ""});
  return columns(rows, 3) + "\n";
}

Json access_list(const std::vector<dockerfile::OutlineAccess>& list) {
  Json all = Json::array();
  for (const auto& access : list) {
    Json one = Json::object({{"name", access.name}});
    if (access.required) one.set("required", true);
    one.set("location", location_of(access.span));
    all.push_back(std::move(one));
  }
  return all;
}

}  // namespace

std::string marked_lines(const CheckedFile& file, const SourceSpan& span) {
  std::vector<std::string> lines = split(file.text, '\n');
  int count = static_cast<int>(lines.size());
  int start = span.line, end = std::min(std::max(span.line, span.end_line), count);
  if (start < 1 || start > count) return {};
  // BuildKit's way to see something around: four lines for a single one, else two.
  int wanted = span.end_line > span.line ? 2 : 4;
  int first = start, last = end;
  for (int padded = 0; padded < wanted;) {
    if (first > 1) first--, padded++;
    if (last != count) last++, padded++;
    padded++;
  }
  std::string text = fmt::format("{}:{}\n--------------------\n", printable(file.name), start);
  for (int number = first; number <= last; number++) {
    constexpr size_t kLongestLine = 1000;
    const std::string& whole = lines[static_cast<size_t>(number - 1)];
    std::string line = printable(dockerfile::masked_credentials(whole).substr(0, kLongestLine));
    if (whole.size() > kLongestLine) line += "...";
    text += fmt::format(" {:3} | {} {}\n", number, number >= start && number <= end ? ">>>" : "   ", line);
  }
  return text + "--------------------\n";
}

std::string check_text(const CheckedFile& file, const std::vector<dockerfile::Diagnostic>& findings) {
  if (findings.empty()) return {};
  std::string text = findings.size() == 1
                         ? "Check complete, 1 warning has been found!\n"
                         : fmt::format("Check complete, {} warnings have been found!\n", findings.size());
  std::vector<const dockerfile::Diagnostic*> sorted;
  for (const auto& finding : findings) sorted.push_back(&finding);
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto* a, const auto* b) { return a->span.line < b->span.line; });
  for (const auto* finding : sorted) {
    text += "\nWARNING: " + finding->rule;
    if (!finding->url.empty()) text += " - " + finding->url;
    text += "\n" + printable(finding->message) + "\n" + marked_lines(file, finding->span);
  }
  return text;
}

std::string check_error_text(const CheckedFile& file, const Error& error) {
  std::string text = printable(error.what()) + "\n";
  if (error.span()) text += marked_lines(file, *error.span());
  return text;
}

std::string check_json(const CheckedFile& file, const std::vector<dockerfile::Diagnostic>& findings,
                       const std::optional<Error>& error) {
  Json warnings;  // null when there are none, as Go's encoder has it
  for (const auto& finding : findings) {
    Json one = Json::object({{"ruleName", finding.rule}});
    if (!finding.detail.empty()) one.set("description", finding.detail);
    if (!finding.url.empty()) one.set("url", finding.url);
    one.set("detail", finding.message);
    one.set("location", location_of(finding.span));
    warnings.push_back(std::move(one));
  }
  Json source =
      Json::object({{"filename", file.name}, {"data", base64_encode(file.text)}, {"language", "Dockerfile"}});
  Json result = Json::object({{"warnings", std::move(warnings)}, {"sources", Json(Json::Array{source})}});
  if (error)
    result.set("buildError", Json::object({{"message", error->what()},
                                           {"location", location_of(error->span().value_or(SourceSpan()))}}));
  return dump(result);
}

std::string outline_text(const dockerfile::Outline& outline) {
  std::string text;
  if (!outline.name.empty() || !outline.description.empty()) {
    std::vector<std::vector<std::string>> rows = {
        {"TARGET:", outline.name.empty() ? "(default)" : outline.name}};
    if (!outline.description.empty()) rows.push_back({"DESCRIPTION:", printable(outline.description)});
    text += columns(rows, 1) + "\n";
  }
  if (!outline.args.empty()) {
    std::vector<std::vector<std::string>> rows = {{"BUILD ARG", "VALUE", "DESCRIPTION"}};
    for (const auto& arg : outline.args)
      rows.push_back({printable(arg.name), printable(arg.value), printable(arg.description)});
    text += columns(rows, 3) + "\n";
  }
  return text + access_table("SECRET", outline.secrets) + access_table("SSH", outline.ssh);
}

std::string outline_json(const CheckedFile& file, const dockerfile::Outline& outline) {
  Json json = Json::object();
  if (!outline.name.empty()) json.set("name", outline.name);
  if (!outline.description.empty()) json.set("description", outline.description);
  Json args = Json::array();
  for (const auto& arg : outline.args) {
    Json one = Json::object({{"name", arg.name}});
    if (!arg.description.empty()) one.set("description", arg.description);
    if (!arg.value.empty()) one.set("value", arg.value);
    one.set("location", location_of(arg.span));
    args.push_back(std::move(one));
  }
  if (args.size()) json.set("args", std::move(args));
  if (!outline.secrets.empty()) json.set("secrets", access_list(outline.secrets));
  if (!outline.ssh.empty()) json.set("ssh", access_list(outline.ssh));
  json.set("sources", Json(Json::Array{Json(base64_encode(file.text))}));
  return dump(json);
}

std::string targets_text(const std::vector<dockerfile::Stage>& stages) {
  std::vector<std::vector<std::string>> rows = {{"TARGET", "DESCRIPTION"}};
  for (size_t i = 0; i < stages.size(); i++) {
    std::string name = stages[i].from.name ? stages[i].from.name->text : "";
    if (i + 1 == stages.size()) name += name.empty() ? "(default)" : " (default)";
    rows.push_back({name, printable(stages[i].description)});
  }
  return columns(rows, 1);
}

std::string targets_json(const CheckedFile& file, const std::vector<dockerfile::Stage>& stages) {
  Json targets = Json::array();
  for (size_t i = 0; i < stages.size(); i++) {
    const dockerfile::From& from = stages[i].from;
    Json one = Json::object();
    if (from.name) one.set("name", from.name->text);
    if (i + 1 == stages.size()) one.set("default", true);
    if (!stages[i].description.empty()) one.set("description", stages[i].description);
    one.set("base", from.image.text);
    if (from.platform) one.set("platform", from.platform->text);
    one.set("location", location_of(from.span));
    targets.push_back(std::move(one));
  }
  return dump(Json::object(
      {{"targets", std::move(targets)}, {"sources", Json(Json::Array{Json(base64_encode(file.text))})}}));
}

}  // namespace corten::report
