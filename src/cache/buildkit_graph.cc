#include "cache/buildkit_graph.h"

#include <algorithm>
#include <set>

#include <fmt/core.h>

#include "base/error.h"
#include "base/path.h"
#include "base/strings.h"

namespace corten::cache {

namespace {

constexpr std::string_view kRootMount = "/";

// As Go's encoder writes it, which escapes what HTML would. Protocol buffers take UTF-8 alone.
std::string go_text(const Json& json) {
  std::string text = json.dump({.indent = 0, .sort_keys = false, .escape_html = true});
  if (!is_valid_utf8(text)) fail(ErrorCode::kInvalid, "an operation of BuildKit's has to be UTF-8");
  return text;
}

Digest digest_of(const Json& json) {
  return Digest::of(go_text(json));
}

// What Go leaves out when it is the zero value.
void set_some(Json& json, std::string_view name, const std::string& value) {
  if (!value.empty()) json.set(name, value);
}
void set_some(Json& json, std::string_view name, int64_t value) {
  if (value != 0) json.set(name, value);
}
void set_if(Json& json, std::string_view name, bool value) {
  if (value) json.set(name, true);
}

std::string joined(const std::vector<std::string>& parts) {
  return join(parts, std::string_view("\0", 1));
}

std::string base_name(const std::string& clean) {
  return clean == "/" ? clean : std::string(clean.substr(clean.rfind('/') + 1));
}

// Each once, and none that lies in another of them.
std::vector<std::string> without_covered(const std::vector<std::string>& paths) {
  if (paths.size() <= 1) return paths;
  const std::set<std::string> all(paths.begin(), paths.end());
  std::vector<std::string> kept;
  for (const std::string& path : all) {
    const bool is_covered = std::any_of(all.begin(), all.end(), [&](const std::string& other) {
      return other != path && path.starts_with(other.ends_with('/') ? other : other + "/");
    });
    if (!is_covered) kept.push_back(path);
  }
  return kept;
}

// Of a process: a mount of everything is read without following links.
std::vector<BuildkitPath> mounted_paths(const std::vector<std::string>& selectors) {
  std::vector<BuildkitPath> paths;
  for (const std::string& path : without_covered(selectors)) {
    if (path == "/") return {};
    paths.push_back({path, true});
  }
  return paths;
}

std::vector<BuildkitPath> copied_paths(const std::vector<BuildkitPath>& selectors) {
  std::vector<std::string> plain, following;
  std::vector<BuildkitPath> paths;
  for (const BuildkitPath& one : selectors)
    if (!one.is_filtered()) (one.follows_links ? following : plain).push_back(one.path);
  for (std::string& path : without_covered(plain)) paths.push_back({std::move(path)});
  for (std::string& path : without_covered(following)) paths.push_back({std::move(path), true});
  for (const BuildkitPath& one : selectors)
    if (one.is_filtered()) paths.push_back(one);
  std::stable_sort(paths.begin(), paths.end(),
                   [](const BuildkitPath& a, const BuildkitPath& b) { return a.path < b.path; });
  return paths;
}

// A decimal number as Go's ParseInt(s, 10, 32) takes it without a sign; one with a sign is refused.
std::optional<uint32_t> user_id(const std::string& text) {
  if (text == "root") return 0;
  if (text.empty()) return std::nullopt;
  if (text[0] == '+' || text[0] == '-') fail(ErrorCode::kUnsupported, "an id with a sign");
  uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<uint64_t>(c - '0');
    if (value > INT32_MAX) return std::nullopt;
  }
  return static_cast<uint32_t>(value);
}

Json user_json(const std::string& text, int base) {
  const auto id = user_id(text);
  Json user = Json::object();
  if (id || text.empty()) {
    set_some(user, "byId", static_cast<int64_t>(id.value_or(0)));
  } else {
    Json name = Json::object({{"name", text}});
    set_some(name, "input", base);
    user.set("byName", std::move(name));
  }
  return Json::object({{"User", std::move(user)}});
}

void set_owner(Json& json, const std::optional<BuildkitOwner>& owner, int base) {
  if (!owner) return;
  Json both = Json::object();
  if (owner->user) both.set("user", user_json(*owner->user, base));
  if (owner->group) both.set("group", user_json(*owner->group, base));
  json.set("owner", std::move(both));
}

// Inputs in the order in which they are met, each once.
class Inputs {
 public:
  int index_of(BuildkitNodeId node) {
    if (node == kNoBuildkitNode) return -1;
    for (size_t i = 0; i < list_.size(); i++)
      if (list_[i].node == node) return static_cast<int>(i);
    list_.push_back({node, "", std::nullopt});
    return static_cast<int>(list_.size()) - 1;
  }
  size_t size() const { return list_.size(); }
  BuildkitInput& operator[](int index) { return list_[static_cast<size_t>(index)]; }
  std::vector<BuildkitInput> take() { return std::move(list_); }

 private:
  std::vector<BuildkitInput> list_;
};

void set_platform(Json& json, const oci::Platform& platform) {
  json.set("OS", platform.os);
  json.set("Arch", platform.architecture);
  set_some(json, "Variant", platform.variant);
  set_some(json, "OSVersion", platform.os_version);
}

// A cache mount's name counts only in the form that BuildKit gives a mount without one.
bool has_usual_id(const BuildkitMount& mount) {
  if (mount.sharing != 0) return false;
  if (mount.cache_id == mount.target) return true;
  const size_t slash = mount.cache_id.find('/');
  return slash != std::string::npos && mount.cache_id.substr(slash + 1) == mount.target;
}

Json mount_json(const BuildkitMount& mount, int input, int output) {
  Json json = Json::object();
  set_some(json, "input", input);
  json.set("dest", mount.target);
  set_some(json, "output", output);
  set_if(json, "readonly", mount.is_read_only);
  set_some(json, "mountType", static_cast<int64_t>(mount.kind));
  if (mount.kind == BuildkitMount::Kind::kTmpfs) {
    Json options = Json::object();
    set_some(options, "size", static_cast<int64_t>(mount.size));
    json.set("TmpfsOpt", std::move(options));
  }
  if (mount.kind == BuildkitMount::Kind::kCache) {
    Json options = Json::object();
    if (has_usual_id(mount)) set_some(options, "ID", mount.cache_id);
    json.set("cacheOpt", std::move(options));
  }
  return json;
}

Json secret_json(const BuildkitSecret& secret) {
  constexpr int kSecret = 1;
  Json options = Json::object();
  set_some(options, "ID", secret.id);
  set_some(options, "uid", secret.uid);
  set_some(options, "gid", secret.gid);
  set_some(options, "mode", secret.mode);
  set_if(options, "optional", secret.is_optional);
  Json json = Json::object({{"input", -1}});
  set_some(json, "dest", *secret.target);
  json.set("mountType", kSecret);
  json.set("secretOpt", std::move(options));
  return json;
}

Json variable_json(const BuildkitSecret& secret) {
  Json json = Json::object();
  set_some(json, "ID", secret.id);
  set_some(json, "name", *secret.variable);
  set_if(json, "optional", secret.is_optional);
  return json;
}

}  // namespace

bool is_buildkit_pattern(std::string_view text) {
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] == '\\')
      i++;
    else if (text[i] == '*' || text[i] == '?' || text[i] == '[')
      return true;
  }
  return false;
}

Digest buildkit_record_digest(const Digest& operation, int index) {
  return Digest::of(fmt::format("{}@{}", operation.to_string(), index));
}

BuildkitNodeId BuildkitGraph::add(BuildkitNode node) {
  std::string name;
  for (const Digest& digest : node.digests) name += digest.hex() + " ";
  for (const BuildkitInput& input : node.inputs) {
    name += fmt::format("\n{} {}", input.node, input.selector);
    for (const BuildkitPath& path : input.content.value_or(std::vector<BuildkitPath>()))
      name +=
          fmt::format("\n- {} {} {}", path.path, join(path.includes, "\n+ "), join(path.excludes, "\n! "));
  }
  auto [known, is_new] = known_.emplace(std::move(name), static_cast<BuildkitNodeId>(nodes_.size()));
  if (is_new) nodes_.push_back(std::move(node));
  return known->second;
}

BuildkitNodeId BuildkitGraph::add_nameless(const std::string& name) {
  auto [known, is_new] = known_.emplace("context " + name, static_cast<BuildkitNodeId>(nodes_.size()));
  if (is_new) nodes_.emplace_back();
  return known->second;
}

BuildkitNodeId BuildkitGraph::add_unknown() {
  nodes_.emplace_back();
  return static_cast<BuildkitNodeId>(nodes_.size()) - 1;
}

// An image is known by its manifest, or the index that led to it, and by its layers.
BuildkitNodeId BuildkitGraph::add_image(const std::vector<Digest>& manifests,
                                        const std::vector<DiffId>& diff_ids, const oci::Platform& platform) {
  if (diff_ids.empty()) return kNoBuildkitNode;
  Digest chain = diff_ids[0].digest;
  for (size_t i = 1; i < diff_ids.size(); i++)
    chain = Digest::of(chain.to_string() + " " + diff_ids[i].digest.to_string());
  std::vector<Digest> keys{chain};
  for (const Digest& manifest : manifests) {
    Json json = Json::object({{"Digest", manifest.to_string()}});
    set_platform(json, platform);
    keys.push_back(digest_of(json));
  }
  BuildkitNode node;
  for (const Digest& key : keys) node.digests.push_back(Digest::of("buildkit.source.v0:" + key.to_string()));
  return add(std::move(node));
}

BuildkitNodeId BuildkitGraph::add_exec(const BuildkitExec& exec) {
  std::vector<BuildkitMount> mounts{{.node = exec.root, .target = std::string(kRootMount), .selector = ""}};
  mounts.insert(mounts.end(), exec.mounts.begin(), exec.mounts.end());
  std::stable_sort(mounts.begin(), mounts.end(),
                   [](const BuildkitMount& a, const BuildkitMount& b) { return a.target < b.target; });
  for (size_t i = 1; i < mounts.size(); i++)
    if (mounts[i].target == mounts[i - 1].target) return add_unknown();

  Json meta = Json::object({{"args", Json(exec.args)}});
  if (!exec.environment.empty()) meta.set("env", Json(exec.environment));
  set_some(meta, "cwd", exec.directory);
  set_some(meta, "user", exec.user);
  set_some(meta, "hostname", exec.hostname);
  meta.set("removeMountStubsRecursive", true);

  Inputs inputs;
  Json mount_list = Json::array(), variables = Json::array();
  std::vector<std::vector<std::string>> selectors;
  for (const BuildkitMount& mount : mounts) {
    const bool is_root = mount.target == kRootMount;
    const int input = inputs.index_of(mount.node);
    mount_list.push_back(mount_json(mount, input, is_root ? 0 : -1));
    if (input == -1) continue;
    selectors.resize(inputs.size());
    auto& of_input = selectors[static_cast<size_t>(input)];
    of_input.push_back(RootfsPath(mount.selector).absolute());
    // What the step cannot write to may be known by what it is; of two mounts of one input the last decides.
    inputs[input].content = is_root ? std::nullopt : std::optional(std::vector<BuildkitPath>());
  }
  for (size_t i = 0; i < selectors.size(); i++) {
    BuildkitInput& input = inputs[static_cast<int>(i)];
    input.selector = Digest::of(joined(selectors[i])).to_string();
    if (input.content) input.content = mounted_paths(selectors[i]);
  }
  for (const BuildkitSecret& secret : exec.secrets) {
    if (secret.variable) variables.push_back(variable_json(secret));
    if (secret.target) mount_list.push_back(secret_json(secret));
  }
  Json process = Json::object({{"meta", std::move(meta)}});
  // The mount of the root alone is left out, as by versions that forgot all mounts.
  if (mount_list.size() > 1) process.set("mounts", std::move(mount_list));
  set_some(process, "network", exec.network);
  set_some(process, "security", exec.is_insecure ? 1 : 0);
  if (variables.size()) process.set("secretenv", std::move(variables));
  Json whole = Json::object({{"Type", "buildkit.exec.v0"}, {"Exec", std::move(process)}});
  set_platform(whole, exec.platform);
  BuildkitNode node{.digests = {digest_of(whole)}, .inputs = inputs.take(), .base = {}};
  if (exec.root != kNoBuildkitNode) node.base = 0;
  return add(std::move(node));
}

static Json mkdir_json(const BuildkitMkdir& action, int base) {
  Json json = Json::object({{"path", action.path}, {"mode", static_cast<int64_t>(action.mode)}});
  set_if(json, "makeParents", action.makes_parents);
  set_owner(json, action.owner, base);
  json.set("timestamp", -1);
  return json;
}

static Json mkfile_json(const BuildkitMkfile& action) {
  Json json = Json::object({{"path", action.path}, {"mode", static_cast<int64_t>(action.mode)}});
  set_some(json, "data", base64_encode(action.content));
  json.set("timestamp", -1);
  return json;
}

static Json copy_json(const BuildkitCopy& action, int base, bool has_source) {
  Json json = Json::object();
  // Of a source that is an input the selector says where in it.
  json.set("src", has_source ? base_name(action.source) : action.source);
  json.set("dest", action.destination);
  set_owner(json, action.owner, base);
  if (action.symbolic_mode.empty()) set_some(json, "mode", action.mode ? int64_t{*action.mode} : -1);
  set_if(json, "followSymlink", !action.is_plain);
  set_if(json, "dirCopyContents", !action.is_plain);
  set_if(json, "attemptUnpackDockerCompatibility", action.unpacks);
  json.set("createDestPath", true);
  set_if(json, "allowWildcard", !action.is_plain);
  set_if(json, "allowEmptyWildcard", !action.is_plain);
  json.set("timestamp", -1);
  if (!action.includes.empty()) json.set("include_patterns", Json(action.includes));
  if (!action.excludes.empty()) json.set("exclude_patterns", Json(action.excludes));
  set_some(json, "modeStr", action.symbolic_mode);
  if (!action.required.empty()) json.set("required_paths", Json(action.required));
  return json;
}

BuildkitNodeId BuildkitGraph::add_files(BuildkitNodeId base, const std::vector<BuildkitAction>& actions) {
  Inputs inputs;
  const int base_index = inputs.index_of(base);
  std::vector<int> sources;
  for (const BuildkitAction& action : actions) {
    const auto* copy = std::get_if<BuildkitCopy>(&action);
    sources.push_back(copy ? inputs.index_of(copy->from) : -1);
  }
  const int count = static_cast<int>(inputs.size());
  std::map<int, std::vector<BuildkitPath>> selectors;
  Json texts = Json::array(), indexes = Json::array();
  bool is_usual = true;
  for (size_t i = 0; i < actions.size(); i++) {
    const int number = static_cast<int>(i);
    const bool is_last = i + 1 == actions.size();
    const int input = i == 0 ? base_index : count + number - 1;
    // BuildKit leaves the usual indexes out; what it takes for usual follows its own rule.
    const int usual = i == 0 ? 0 : static_cast<int>(actions.size()) + number - 1;
    is_usual &= input == usual && (sources[i] == -1 || sources[i] == 1);
    indexes.push_back(Json(Json::Array{Json(input), Json(sources[i]), Json(is_last ? 0 : -1)}));
    Json json;
    if (const auto* mkdir = std::get_if<BuildkitMkdir>(&actions[i])) {
      json = mkdir_json(*mkdir, base_index);
    } else if (const auto* mkfile = std::get_if<BuildkitMkfile>(&actions[i])) {
      json = mkfile_json(*mkfile);
    } else {
      const auto& copy = std::get<BuildkitCopy>(actions[i]);
      json = copy_json(copy, base_index, sources[i] != -1);
      if (sources[i] != -1 && sources[i] != base_index)
        selectors[sources[i]].push_back({copy.source, !copy.is_plain,
                                         !copy.is_plain && is_buildkit_pattern(copy.source), copy.includes,
                                         copy.excludes});
    }
    texts.push_back(base64_encode(go_text(json)));
  }
  for (const auto& [index, paths] : selectors) {
    std::vector<std::string> names;
    for (const BuildkitPath& path : paths) names.push_back(path.path);
    std::sort(names.rbegin(), names.rend());
    inputs[index].selector = Digest::of(joined(names)).to_string();
    inputs[index].content = copied_paths(paths);
  }
  Json whole = Json::object({{"Type", "buildkit.file.v0"}, {"Actions", std::move(texts)}});
  if (!is_usual) whole.set("indexes", std::move(indexes));
  BuildkitNode node{.digests = {digest_of(whole)}, .inputs = inputs.take(), .base = {}};
  if (base_index != -1) node.base = static_cast<size_t>(base_index);
  return add(std::move(node));
}

BuildkitNodeId BuildkitGraph::add_merge(BuildkitNodeId lower, BuildkitNodeId upper) {
  if (lower == kNoBuildkitNode) return upper;
  Json inputs = Json::array();
  inputs.push_back(Json::object());
  inputs.push_back(Json::object({{"input", 1}}));
  const Json whole =
      Json::object({{"Type", "buildkit.merge.v0"}, {"Merge", Json::object({{"inputs", std::move(inputs)}})}});
  return add({.digests = {digest_of(whole)},
              .inputs = {{lower, "", std::nullopt}, {upper, "", std::nullopt}},
              .base = 0});
}

}  // namespace corten::cache
