#include "source/git_reference.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/path.h"
#include "base/strings.h"
#include "http/url.h"

namespace corten::source {

namespace {

constexpr std::string_view kHex = "0123456789abcdefABCDEF";

std::string lower_scheme(std::string_view text) {
  size_t end = text.find("://");
  if (end == std::string_view::npos || end == 0) return "";
  std::string scheme = to_lower(text.substr(0, end));
  bool is_word = std::all_of(scheme.begin(), scheme.end(),
                             [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); });
  return is_word ? scheme : "";
}

bool is_fetched(std::string_view scheme, bool files) {
  return scheme == "http" || scheme == "https" || scheme == "ssh" || scheme == "git" ||
         (files && scheme == "file");
}

// "user@host:path", nothing else before the colon; gives where the host begins.
std::optional<size_t> scp_host(std::string_view text) {
  auto all_of = [](std::string_view part, std::string_view more) {
    return !part.empty() && std::all_of(part.begin(), part.end(), [&](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             more.find(c) != std::string_view::npos;
    });
  };
  size_t at = text.find('@'), colon = text.find(':');
  if (at == std::string_view::npos || colon == std::string_view::npos || colon < at) return std::nullopt;
  if (!all_of(text.substr(0, at), "-_") || !all_of(text.substr(at + 1, colon - at - 1), "-."))
    return std::nullopt;
  return at + 1;
}

// strconv.ParseBool
std::optional<bool> parse_bool(std::string_view text) {
  for (std::string_view yes : {"1", "t", "T", "true", "TRUE", "True"})
    if (text == yes) return true;
  for (std::string_view no : {"0", "f", "F", "false", "FALSE", "False"})
    if (text == no) return false;
  return std::nullopt;
}

std::string shown(std::string_view address) {
  return quote(http::without_credentials(std::string(address)));
}

void refuse_dash(std::string_view what, std::string_view text) {
  if (text.starts_with('-')) fail(ErrorCode::kInvalid, "invalid git {} {}", what, quote(text));
}

void refuse_control(std::string_view text) {
  for (char c : text)
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f)
      fail(ErrorCode::kInvalid, "git address {}: it holds a control character", shown(text));
}

// The address itself: scheme, host and what git is given.
GitReference parse_address(std::string_view text) {
  GitReference git;
  refuse_control(text);
  git.scheme = lower_scheme(text);
  if (git.scheme.empty()) {
    size_t host = *scp_host(text);
    git.scheme = "ssh";
    git.remote = text;
    git.host = to_lower(text.substr(host, text.find(':') - host));
    refuse_dash("address", text);
    refuse_dash("host", git.host);
    refuse_dash("path", text.substr(text.find(':') + 1));
    return git;
  }
  std::string_view rest = text.substr(text.find("://") + 3);
  if (git.scheme == "file") {
    if (!rest.starts_with('/'))
      fail(ErrorCode::kInvalid, "git address {}: its path is not absolute", quote(text));
    git.remote = "file://" + std::string(rest);
    return git;
  }
  std::string_view authority = rest.substr(0, rest.find('/'));
  std::string_view path = rest.substr(authority.size());
  std::string_view user;
  if (size_t at = authority.rfind('@'); at != std::string_view::npos) {
    user = authority.substr(0, at);
    authority.remove_prefix(at + 1);
  }
  if (authority.empty()) fail(ErrorCode::kInvalid, "git address {}: it has no host", shown(text));
  git.host = to_lower(authority);
  refuse_dash("host", git.host);
  bool is_http = git.scheme == "http" || git.scheme == "https";
  if (is_http) {
    git.user_info = http::percent_decode(user);
    user = "";
  } else if (size_t colon = user.find(':'); colon != std::string_view::npos) {
    user = user.substr(0, colon);  // ssh has no use for a password, and it must not be shown
  }
  refuse_dash("user", user);
  git.remote = fmt::format("{}://{}{}{}{}", git.scheme, user, user.empty() ? "" : "@", authority, path);
  return git;
}

void set_once(std::string& field, std::string_view what, std::string value) {
  if (!field.empty() && field != value)
    fail(ErrorCode::kInvalid, "{} conflicts: {} vs {}", what, quote(field), quote(value));
  field = std::move(value);
}

void read_query(std::string_view query, GitReference& git) {
  std::map<std::string, std::string> values;
  for (const std::string& part : split(query, '&')) {
    if (part.empty()) continue;
    size_t equals = part.find('=');
    std::string key = http::percent_decode(replace_all(part.substr(0, equals), "+", " "));
    std::string value = equals == std::string::npos
                            ? ""
                            : http::percent_decode(replace_all(part.substr(equals + 1), "+", " "));
    if (!values.emplace(key, value).second)
      fail(ErrorCode::kInvalid, "query {} has multiple values", quote(key));
  }
  std::string tag, branch;
  auto flag = [](const std::string& key, const std::string& value) {
    auto yes = value.empty() ? true : parse_bool(value);
    if (!yes) fail(ErrorCode::kInvalid, "invalid {} value: {}", key, quote(value));
    return *yes;
  };
  for (const auto& [key, value] : values) {
    bool may_be_empty = key == "submodules" || key == "keep-git-dir" || key == "fetch-by-commit";
    if (value.empty() && !may_be_empty) fail(ErrorCode::kInvalid, "query {} has no value", quote(key));
    if (key == "ref") {
      set_once(git.ref, "ref", value);
    } else if (key == "tag") {
      tag = value;
    } else if (key == "branch") {
      branch = value;
    } else if (key == "subdir") {
      set_once(git.subdir, "subdir", value);
    } else if (key == "checksum" || key == "commit") {
      set_once(git.checksum, "checksum", value);
    } else if (key == "keep-git-dir") {
      git.keep_git_dir = flag(key, value);
    } else if (key == "submodules") {
      git.submodules = flag(key, value);
    } else if (key == "fetch-by-commit") {
      git.fetch_by_commit = flag(key, value);
    } else if (key == "mtime") {
      if (value != "checkout" && value != "commit")
        fail(ErrorCode::kInvalid, "invalid mtime value: {} (must be \"checkout\" or \"commit\")",
             quote(value));
      git.commit_times = value == "commit";
    } else {
      fail(ErrorCode::kInvalid, "unexpected query {}", quote(key));
    }
  }
  auto whole = [](const std::string& name, std::string_view prefix) {
    return name.starts_with(prefix) ? name : std::string(prefix) + name;
  };
  if (!tag.empty() && !branch.empty()) fail(ErrorCode::kInvalid, "branch conflicts with tag");
  if (!tag.empty()) set_once(git.ref, "ref", whole(tag, "refs/tags/"));
  if (!branch.empty()) set_once(git.ref, "ref", whole(branch, "refs/heads/"));
}

}  // namespace

std::string GitReference::shown() const {
  std::string text = remote;
  if (!ref.empty() || !subdir.empty()) text += "#" + ref;
  if (!subdir.empty()) text += ":" + subdir;
  return text;
}

bool is_commit_id(std::string_view text) {
  return (text.size() == 40 || text.size() == 64) && text.find_first_not_of(kHex) == std::string_view::npos;
}

GitReference parse_git_remote(std::string_view address) {
  std::string scheme = lower_scheme(address);
  if (scheme.empty() ? !scp_host(address) : !is_fetched(scheme, false))
    fail(ErrorCode::kInvalid, "git address {}: it is none of https, http, ssh and git", shown(address));
  return parse_address(address);
}

std::optional<GitReference> parse_git_reference(std::string_view text, const GitReferenceOptions& options) {
  if (text.starts_with("./") || text.starts_with("../")) return std::nullopt;
  std::string whole(text);
  bool like_local = whole.starts_with("github.com/");
  if (like_local) whole = "https://" + whole;
  std::string scheme = lower_scheme(whole);
  if (scheme.empty() ? !scp_host(whole) : !is_fetched(scheme, options.files)) return std::nullopt;

  std::string_view address = whole, query, fragment;
  if (size_t hash = address.find('#'); hash != std::string_view::npos) {
    fragment = address.substr(hash + 1);
    address = address.substr(0, hash);
  }
  if (size_t mark = address.find('?'); mark != std::string_view::npos) {
    query = address.substr(mark + 1);
    address = address.substr(0, mark);
  }
  // Of http only what ends in .git: anything else is a file to be downloaded.
  bool is_http = scheme == "http" || scheme == "https";
  if (is_http && !like_local && !address.ends_with(".git")) return std::nullopt;

  GitReference git = parse_address(address);
  git.like_local = like_local;
  std::string decoded = scheme.empty() ? std::string(fragment) : http::percent_decode(fragment);
  size_t colon = decoded.find(':');
  git.ref = decoded.substr(0, colon);
  if (colon != std::string::npos) git.subdir = RootfsPath(decoded.substr(colon + 1)).str();
  read_query(query, git);
  git.subdir = RootfsPath(git.subdir).str();
  refuse_control(git.ref);
  refuse_dash("ref", git.ref);
  if (!git.checksum.empty() && git.checksum.find_first_not_of(kHex) != std::string::npos)
    fail(ErrorCode::kInvalid, "invalid checksum {} for Git URL, expected hex commit hash", git.checksum);
  git.checksum = to_lower(git.checksum);
  if (is_commit_id(git.ref)) git.ref = to_lower(git.ref);
  return git;
}

}  // namespace corten::source
