#include "dockerfile/production_rules.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <utility>

#include "base/strings.h"
#include "dockerfile/stages.h"
#include "oci/reference.h"

namespace corten::dockerfile {

namespace {

using Words = std::vector<std::string>;

// A script's simple commands, each as its words: enough of the shell to see which programs are called.
std::vector<Words> commands_of(std::string_view script) {
  std::vector<Words> commands(1);
  std::string word;
  bool in_word = false;
  char quote = 0;
  auto end_word = [&] {
    if (in_word) commands.back().push_back(std::exchange(word, {}));
    in_word = false;
  };
  for (size_t i = 0; i < script.size(); i++) {
    char c = script[i];
    if (quote) {
      if (c == quote)
        quote = 0;
      else
        word += c;
    } else if (c == '\'' || c == '"') {
      quote = c;
      in_word = true;
    } else if (c == '\\' && i + 1 < script.size()) {
      if (script[++i] != '\n') word += script[i], in_word = true;
    } else if (std::string_view(";|&\n()").find(c) != std::string_view::npos) {
      end_word();
      if (!commands.back().empty()) commands.emplace_back();
    } else if (c == ' ' || c == '\t' || c == '\r') {
      end_word();
    } else {
      word += c;
      in_word = true;
    }
  }
  end_word();
  return commands;
}

bool has(const Words& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// The operands behind a subcommand; nothing when the program is not called so.
std::optional<Words> operands(const Words& command, const std::set<std::string, std::less<>>& programs,
                              std::string_view subcommand) {
  auto program = std::find_if(command.begin(), command.end(),
                              [&](const std::string& word) { return programs.contains(word); });
  if (program == command.end()) return std::nullopt;
  auto verb = std::find(program, command.end(), subcommand);
  if (verb == command.end()) return std::nullopt;
  return Words(verb + 1, command.end());
}

bool looks_secret(std::string_view path) {
  std::string name(path.substr(path.rfind('/') + 1));
  static const std::set<std::string, std::less<>> kNames = {
      ".env",    "id_rsa",           "id_dsa",      "id_ecdsa",   "id_ed25519", ".netrc",  ".npmrc",
      ".pypirc", ".git-credentials", "credentials", "kubeconfig", ".pgpass",    "htpasswd"};
  return kNames.contains(name) || name.ends_with(".pem") || name.ends_with(".key") ||
         name.ends_with(".p12") || name.ends_with(".pfx") ||
         (name.starts_with(".env.") && !name.ends_with(".example"));
}

// Values that are secrets by their form.
bool holds_secret(std::string_view text) {
  if (text.find("PRIVATE KEY-----") != std::string_view::npos) return true;
  for (std::string_view mark : {"AKIA", "ghp_", "gho_", "github_pat_", "glpat-", "xoxb-", "sk_live_"}) {
    size_t at = text.find(mark);
    if (at == std::string_view::npos) continue;
    size_t length = 0;
    while (at + mark.size() + length < text.size() &&
           (isalnum(static_cast<unsigned char>(text[at + mark.size() + length])) ||
            text[at + mark.size() + length] == '_'))
      length++;
    if (length >= 16) return true;
  }
  return false;
}

class Rules {
 public:
  Rules(const Dockerfile& file, std::string_view text, const ProductionOptions& options)
      : file_(file), options_(options) {
    for (const std::string& line : split(text, '\n'))
      if (std::string_view trimmed = trim(line); trimmed.starts_with('#'))
        read_ignores(trim(trimmed.substr(1)), "hadolint global ignore=", global_ignores_);
  }

  std::vector<ProductionFinding> run() {
    for (size_t i = 0; i < file_.stages.size(); i++) check_stage(i);
    check_last_stage();
    std::stable_sort(found_.begin(), found_.end(),
                     [](const auto& a, const auto& b) { return a.span.line < b.span.line; });
    return std::move(found_);
  }

 private:
  static void read_ignores(std::string_view comment, std::string_view mark, std::set<std::string>& rules) {
    if (!comment.starts_with(mark)) return;
    for (const std::string& rule : split(comment.substr(mark.size()), ','))
      rules.insert(split(trim(rule), ' ').front());
  }

  void report(std::string_view rule, Severity severity, const Instruction& at, std::string message) {
    std::set<std::string> ignored = global_ignores_;
    for (const std::string& comment : at.comments) read_ignores(comment, "hadolint ignore=", ignored);
    if (!ignored.contains(std::string(rule)))
      found_.push_back({std::string(rule), severity, std::move(message), at.span});
  }

  void check_stage(size_t index) {
    check_base(index);
    bool lists_removed = false, lists_made = false;
    const Instruction* apt = nullptr;
    for (const Command& command : file_.stages[index].commands) {
      const Instruction& at = instruction_of(command);
      if (auto* run = std::get_if<Run>(&command)) {
        check_run(*run);
        std::string script = script_of(*run);
        bool is_mounted = std::any_of(run->mounts.begin(), run->mounts.end(), [](const Word& mount) {
          return mount.text.find("/var/lib/apt") != std::string::npos;
        });
        for (const Words& words : commands_of(script))
          if (operands(words, {"apt-get", "apt"}, "update") && !is_mounted) lists_made = true, apt = &at;
        if (script.find("/var/lib/apt/lists") != std::string::npos && script.find("rm") != std::string::npos)
          lists_removed = true;
        if (lists_made && !lists_removed && apt == &at)
          report("DL3009", Severity::kInfo, at,
                 "Delete the apt lists (/var/lib/apt/lists) after installing something");
        lists_made = lists_removed = false;
      } else if (auto* add = std::get_if<Add>(&command)) {
        check_transfer(*add);
        bool is_plain = std::any_of(add->sources.begin(), add->sources.end(), [](const Word& source) {
          const std::string& text = source.text;
          bool is_remote = text.find("://") != std::string::npos || text.starts_with("git@");
          for (std::string_view end : {".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".Z", ".lz", ".lzma"})
            if (text.ends_with(end)) return false;
          return !is_remote && text.find('$') == std::string::npos;
        });
        if (is_plain) report("DL3020", Severity::kError, at, "Use COPY instead of ADD for files and folders");
      } else if (auto* copy = std::get_if<Copy>(&command)) {
        if (!copy->from) check_transfer(*copy);
      } else if (auto* env = std::get_if<Env>(&command)) {
        for (const KeyValue& entry : env->entries) check_value(at, entry.value.text);
      } else if (auto* arg = std::get_if<Arg>(&command)) {
        for (const ArgDeclaration& entry : arg->entries)
          if (entry.value) check_value(at, entry.value->text);
      }
    }
  }

  void check_value(const Instruction& at, std::string_view text) {
    if (holds_secret(text))
      report("CT1005", Severity::kError, at,
             "A secret stands in the Dockerfile: anyone who has the image can read it. Hand it in with RUN "
             "--mount=type=secret");
  }

  void check_base(size_t index) {
    const From& from = file_.stages[index].from;
    const std::string& image = from.image.text;
    if (image == "scratch" || find_base_stage(file_.stages, image, index)) return;
    std::string known = image;
    if (image.find('$') != std::string::npos) return;  // the build knows, the file does not
    auto reference = oci::Reference::try_parse(known);
    if (!reference) return;
    bool has_digest = image.find('@') != std::string::npos;
    if (!has_digest && reference->tag().empty())
      report("DL3006", Severity::kWarning, from, "Always tag the version of an image explicitly");
    if (!has_digest && reference->tag() == "latest")
      report("DL3007", Severity::kWarning, from,
             "Using latest is prone to errors if the image will ever update. Pin the version explicitly to a "
             "release tag");
    if (!has_digest && !reference->tag().empty() && reference->tag() != "latest")
      report("CT1002", Severity::kInfo, from,
             fmt::format("The base {} is not pinned by digest: another build may stand on another image",
                         image));
    if (!options_.trusted_registries.empty() && !is_trusted(reference->registry()))
      report("DL3026", Severity::kError, from, "Use only an allowed registry in the FROM image");
  }

  bool is_trusted(std::string_view registry) const {
    for (const std::string& trusted : options_.trusted_registries) {
      if (trusted == "*" || trusted == registry) return true;
      if (trusted.starts_with("*.") && registry.ends_with(std::string_view(trusted).substr(1))) return true;
    }
    return false;
  }

  void check_transfer(const Transfer& transfer) {
    for (const Word& source : transfer.sources) {
      if (looks_secret(source.text))
        report("CT1004", Severity::kError, transfer,
               fmt::format("{} looks like a secret, and would stay in a layer. Use RUN --mount=type=secret",
                           quote(source.text)));
      bool is_all = source.text == "." || source.text == "./" || source.text == "/";
      if (is_all && !options_.has_ignore_file)
        report("CT1003", Severity::kWarning, transfer,
               "The whole context is copied and there is no .dockerignore: version control, build output and "
               "secrets come along");
    }
  }

  static std::string script_of(const Run& run) {
    std::string script = join(run.command.args, " ");
    for (const Heredoc& heredoc : run.heredocs) script += "\n" + heredoc.content;
    return script;
  }

  void check_run(const Run& run) {
    std::string script = script_of(run);
    check_value(run, script);
    auto mounts = [&](std::string_view path) {
      return std::any_of(run.mounts.begin(), run.mounts.end(),
                         [&](const Word& mount) { return mount.text.find(path) != std::string::npos; });
    };
    std::set<std::string> told;
    auto once = [&](std::string_view rule, Severity severity, std::string message) {
      if (told.insert(std::string(rule)).second) report(rule, severity, run, std::move(message));
    };
    for (const Words& words : commands_of(script)) {
      if (!words.empty() && words[0] == "sudo")
        once("DL3004", Severity::kError,
             "Do not use sudo as it leads to unpredictable behavior. Use a tool like gosu to enforce root");
      if (auto list = operands(words, {"apt-get", "apt"}, "install")) {
        bool is_unpinned = std::any_of(list->begin(), list->end(), [](const std::string& package) {
          return !package.starts_with('-') && package.find_first_of("=/$") == std::string::npos &&
                 !package.ends_with(".deb");
        });
        if (is_unpinned)
          once("DL3008", Severity::kWarning,
               "Pin versions in apt get install. Instead of `apt-get install <package>` use `apt-get install "
               "<package>=<version>`");
        if (!has(words, "--no-install-recommends") &&
            script.find("APT::Install-Recommends") == std::string::npos)
          once("DL3015", Severity::kInfo,
               "Avoid additional packages by specifying `--no-install-recommends`");
      }
      if (auto list = operands(words, {"apk"}, "add")) {
        bool skips = false, is_unpinned = false;
        for (const std::string& package : *list) {
          if (std::exchange(skips, package == "-t" || package == "--virtual")) continue;
          is_unpinned |= !package.starts_with('-') && !skips &&
                         package.find_first_of("=<>~@$") == std::string::npos && !package.ends_with(".apk");
        }
        if (is_unpinned)
          once("DL3018", Severity::kWarning,
               "Pin versions in apk add. Instead of `apk add <package>` use `apk add <package>=<version>`");
        if (!has(words, "--no-cache") && !mounts("/var/cache/apk") && !mounts("/etc/apk/cache"))
          once(
              "DL3019", Severity::kInfo,
              "Use the `--no-cache` switch to avoid the need to use `--update` and remove `/var/cache/apk/*` "
              "when done installing packages");
      }
      if (operands(words, {"pip", "pip3", "pip2"}, "install") && !has(words, "--no-cache-dir") &&
          !mounts(".cache/pip"))
        once("DL3042", Severity::kWarning,
             "Avoid use of cache directory with pip. Use `pip install --no-cache-dir <package>`");
      for (const auto& [program, verb, clean] :
           std::initializer_list<std::array<std::string_view, 3>>{{"yum", "install", "yum clean all"},
                                                                  {"dnf", "install", "dnf clean all"},
                                                                  {"zypper", "install", "zypper clean"}})
        if (operands(words, {std::string(program)}, verb) && script.find(clean) == std::string::npos) {
          constexpr std::string_view kRules[] = {"DL3032", "DL3040", "DL3036"};
          size_t index = program == "yum" ? 0 : program == "dnf" ? 1 : 2;
          once(kRules[index], Severity::kWarning,
               fmt::format("`{}` missing after {} command.", clean, program));
        }
    }
  }

  // The stage that is shipped: who runs it, and how anybody knows that it lives.
  void check_last_stage() {
    if (file_.stages.empty()) return;
    const User* user = nullptr;
    bool has_healthcheck = false, runs_something = false;
    size_t index = file_.stages.size() - 1;
    for (std::optional<size_t> at = index; at;) {
      const Stage& stage = file_.stages[*at];
      for (auto command = stage.commands.rbegin(); command != stage.commands.rend(); ++command) {
        if (auto* found = std::get_if<User>(&*command); found && !user) user = found;
        has_healthcheck |= std::holds_alternative<Healthcheck>(*command);
        runs_something |=
            std::holds_alternative<Cmd>(*command) || std::holds_alternative<Entrypoint>(*command);
      }
      at = find_base_stage(file_.stages, stage.from.image.text, *at);
      runs_something |= !at && stage.from.image.text != "scratch";  // the base brings a command
    }
    const From& last = file_.stages[index].from;
    if (user) {
      std::string name = split(user->user.text, ':').front();
      if (name == "root" || name == "0")
        report("DL3002", Severity::kWarning, *user, "Last USER should not be root");
    } else if (runs_something) {
      report("CT1001", Severity::kWarning, last,
             "The image runs as root unless its base says otherwise: set USER in the last stage");
    }
    if (runs_something && !has_healthcheck)
      report("DL3057", Severity::kInfo, last, "`HEALTHCHECK` instruction missing.");
  }

  const Dockerfile& file_;
  const ProductionOptions& options_;
  std::set<std::string> global_ignores_;
  std::vector<ProductionFinding> found_;
};

}  // namespace

std::vector<ProductionFinding> check_for_production(const Dockerfile& file, std::string_view text,
                                                    const ProductionOptions& options) {
  return Rules(file, text, options).run();
}

}  // namespace corten::dockerfile
