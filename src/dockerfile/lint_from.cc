// The global arguments and the FROM lines of all stages, which BuildKit reads before anything else.
#include <algorithm>

#include "base/strings.h"
#include "dockerfile/automatic_args.h"
#include "dockerfile/lint_stages.h"
#include "dockerfile/with_span.h"
#include "oci/reference.h"

namespace corten::dockerfile {

namespace {

ArgInfo* find_info(ArgInfos& meta, const std::string& name) {
  for (auto& [key, info] : meta)
    if (key == name) return &info;
  return nullptr;
}

class FromReader {
 public:
  FromReader(const Dockerfile& file, const LintOptions& options, const oci::Platform& platform,
             ExpansionBudget& budget, Findings& findings)
      : file_(file),
        options_(options),
        platform_(platform),
        build_platform_(options.build_platform.os.empty() ? oci::host_platform() : options.build_platform),
        budget_(budget),
        findings_(findings),
        words_{.escape = file.directives.escape} {}

  FromLines run() {
    check_default_bases();
    lines_.globals = automatic();
    add_meta_args(lines_.globals, options_.build_args, &lines_.meta);
    for (const auto& [name, info] : lines_.meta) arg_names_.push_back(name);
    for (const std::string& name : lines_.globals.names()) arg_names_.push_back(name);
    lines_.stages.resize(file_.stages.size());
    for (size_t i = 0; i < lines_.stages.size(); i++) read_from(i);
    return std::move(lines_);
  }

 private:
  OrderedEnvironment automatic() const {
    OrderedEnvironment values;
    for (auto& [name, value] :
         automatic_args(file_, options_.target, build_platform_, platform_, options_.build_args))
      values.set(name, std::move(value));
    return values;
  }

  void add_meta_args(OrderedEnvironment& values, const std::map<std::string, std::string>& build_args,
                     ArgInfos* meta) {
    for (const Arg& line : file_.meta_args)
      for (const ArgDeclaration& entry : line.entries) {
        ArgInfo info{{entry.name, entry.description, "", line.span}, {}};
        std::optional<std::string> value;
        if (auto given = build_args.find(entry.name); given != build_args.end()) {
          value = given->second;
        } else if (entry.value) {
          Expansion found = with_span(line.span, [&] { return expand(entry.value->text, values, words_); });
          value = found.text;
          budget_.take(found.text.size());
          info.uses = found.matched;
          ArgInfo* earlier = meta ? find_info(*meta, entry.name) : nullptr;
          if (info.uses.erase(entry.name) && earlier) info.uses.merge(std::set(earlier->uses));
        }
        if (value) {
          values.set(entry.name, *value);
          info.told.value = *value;
        }
        if (!meta) continue;
        if (ArgInfo* earlier = find_info(*meta, entry.name))
          *earlier = std::move(info);
        else
          meta->emplace_back(entry.name, std::move(info));
      }
  }

  // With the defaults alone every FROM must name an image.
  void check_default_bases() {
    try {
      OrderedEnvironment defaults = automatic();
      add_meta_args(defaults, {}, nullptr);
      for (const Stage& stage : file_.stages) {
        const Word& image = stage.from.image;
        if (!oci::Reference::try_parse(expand(image.text, defaults, words_).text))
          findings_.add(
              "InvalidDefaultArgInFrom", stage.from.span, image.span,
              fmt::format("Default value for ARG {} results in empty or invalid base image name", image.text),
              findings_.options());
      }
    } catch (const Error&) {
      // The same error comes again, and counts, when the values are computed in earnest.
    }
  }

  void report_undeclared(const From& from, const Word& word, const Expansion& found,
                         const CheckOptions& check) {
    for (const std::string& name : found.unmatched) {
      if (std::find(arg_names_.begin(), arg_names_.end(), name) != arg_names_.end()) continue;
      std::string near = near_name(name, arg_names_);
      findings_.add("UndefinedArgInFrom", from.span, word.span,
                    fmt::format("FROM argument '{}' is not declared{}", name,
                                near.empty() ? "" : " (did you mean " + near + "?)"),
                    check);
    }
  }

  void read_from(size_t index) {
    const From& from = file_.stages[index].from;
    StageWalk& s = lines_.stages[index];
    CheckOptions check = findings_.merged(from.comments);
    Expansion image = with_span(from.span, [&] { return expand(from.image.text, lines_.globals, words_); });
    report_undeclared(from, from.image, image, check);
    if (image.text.empty())
      throw Error(ErrorCode::kInvalid, fmt::format("base name ({}) should not be blank", from.image.text))
          .with_span(from.span);
    s.image = image.text;
    s.used = image.matched;
    s.platform = platform_;
    if (from.platform) {
      Expansion platform =
          with_span(from.span, [&] { return expand(from.platform->text, lines_.globals, words_); });
      report_undeclared(from, *from.platform, platform, check);
      check_platform(from, platform, check);
      if (platform.text.empty()) {
        std::string message = fmt::format("empty platform value from expression {}", from.platform->text);
        for (const std::string& name : platform.unmatched)
          if (std::string near = near_name(name, lines_.globals.names()); !near.empty())
            message += fmt::format(" (did you mean {}?)", near);
        throw Error(ErrorCode::kInvalid, message).with_span(from.span);
      }
      try {
        s.platform = oci::parse_platform(platform.text);
      } catch (Error& error) {
        error.add_context(fmt::format("failed to parse platform {}", from.platform->text));
        error.set_span(from.span);
        throw;
      }
      s.used.insert(platform.matched.begin(), platform.matched.end());
    }
    if (auto parent = lines_.by_name.find(s.image); parent != lines_.by_name.end()) s.base = parent->second;
    if (from.name) lines_.by_name[from.name->text] = index;
  }

  void check_platform(const From& from, const Expansion& found, const CheckOptions& check) {
    const Word& word = *from.platform;
    if (found.matched == std::set<std::string>{"TARGETPLATFORM"} && found.unmatched.empty() &&
        found.text == lines_.globals.get("TARGETPLATFORM"))
      findings_.add("RedundantTargetPlatform", from.span, word.span,
                    fmt::format("Setting platform to predefined {} in FROM is redundant as this is the "
                                "default behavior",
                                word.text),
                    check);
    if (!found.matched.empty() || !found.unmatched.empty()) return;
    // A stage that is named for its platform says that this is on purpose.
    std::string name = from.name ? from.name->text : "";
    try {
      oci::Platform platform = oci::parse_platform(found.text);
      if (name.find(platform.os) != std::string::npos ||
          name.find(platform.architecture) != std::string::npos)
        return;
    } catch (const Error&) {
      return;  // an error in a moment
    }
    findings_.add("FromPlatformFlagConstDisallowed", from.span, word.span,
                  fmt::format("FROM --platform flag should not use constant value {}", quote(found.text)),
                  check);
  }

  const Dockerfile& file_;
  const LintOptions& options_;
  oci::Platform platform_, build_platform_;
  ExpansionBudget& budget_;
  Findings& findings_;
  ExpandOptions words_;
  std::vector<std::string> arg_names_;  // what FROM may name, for suggestions
  FromLines lines_;
};

}  // namespace

FromLines read_from_lines(const Dockerfile& file, const LintOptions& options, const oci::Platform& platform,
                          ExpansionBudget& budget, Findings& findings) {
  return FromReader(file, options, platform, budget, findings).run();
}

}  // namespace corten::dockerfile
