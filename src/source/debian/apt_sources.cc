#include "source/debian/apt_sources.h"

#include <dirent.h>

#include <algorithm>

#include "base/beneath.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/unique_fd.h"
#include "source/debian/control.h"

namespace corten::source::debian {

namespace {

constexpr size_t kMaxSourcesBytes = 1 << 20;

std::string without_slash(std::string_view uri) {
  while (uri.ends_with('/')) uri.remove_suffix(1);
  return std::string(uri);
}

bool is_fetchable(std::string_view uri) {
  return uri.starts_with("http://") || uri.starts_with("https://") || uri.starts_with("file:") ||
         uri.starts_with("copy:");
}

void add(std::string_view uri, std::string_view suite, std::string_view keyring,
         std::vector<ArchiveSuite>& sources) {
  if (is_fetchable(uri) && is_suite(suite))
    sources.push_back({without_slash(uri), std::string(suite), std::string(keyring), false});
}

// Signed-By is a path, fingerprints of keys in apt's trusted ones, or a key itself, whose empty lines are
// written as dots.
std::string keyring_of(std::string_view signed_by) {
  if (signed_by.find("-----BEGIN PGP") == std::string_view::npos)
    return signed_by.starts_with('/') ? split_words(signed_by)[0] : "";
  std::string key;
  for (const std::string& line : split(signed_by, '\n'))
    key += (trim(line) == "." ? "" : std::string(trim(line))) + "\n";
  return key;
}

std::vector<std::string> names_ending(const std::string& directory, std::string_view ending) {
  std::vector<std::string> names;
  DIR* stream = opendir(directory.c_str());
  if (!stream) return names;
  while (dirent* item = readdir(stream))
    if (std::string_view(item->d_name).ends_with(ending)) names.emplace_back(item->d_name);
  closedir(stream);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

std::vector<ArchiveSuite> parse_sources_list(std::string_view text, std::string_view file) {
  std::vector<ArchiveSuite> sources;
  int number = 0;
  for (std::string line : split(text, '\n')) {
    number++;
    if (size_t comment = line.find('#'); comment != std::string::npos) line.resize(comment);
    std::string_view rest = trim(line);
    if (rest.empty()) continue;
    std::string type = split_words(rest)[0];
    rest = trim(rest.substr(type.size()));
    std::string keyring;
    if (rest.starts_with('[')) {
      size_t end = rest.find(']');
      if (end == std::string_view::npos)
        fail(ErrorCode::kInvalid, "{}:{}: the options' bracket is not closed", file, number);
      for (const std::string& option : split_words(rest.substr(1, end - 1)))
        if (option.starts_with("signed-by=")) keyring = keyring_of(std::string_view(option).substr(10));
      rest = trim(rest.substr(end + 1));
    }
    std::vector<std::string> words = split_words(rest);
    if (type != "deb") continue;
    if (words.size() < 2) fail(ErrorCode::kInvalid, "{}:{}: expected deb URI SUITE COMPONENTS", file, number);
    if (std::find(words.begin() + 2, words.end(), "main") != words.end())
      add(words[0], words[1], keyring, sources);
  }
  return sources;
}

std::vector<ArchiveSuite> parse_deb822_sources(std::string_view text, std::string_view file) {
  std::vector<ArchiveSuite> sources;
  parse_paragraphs(text, file, [&](const Paragraph& p) {
    auto has = [&](std::string_view field, std::string_view word) {
      std::vector<std::string> words = split_words(p.get(field));
      return std::find(words.begin(), words.end(), word) != words.end();
    };
    if (!has("Types", "deb") || !has("Components", "main") || iequals(p.get("Enabled"), "no")) return;
    for (const std::string& uri : split_words(p.get("URIs")))
      for (const std::string& suite : split_words(p.get("Suites")))
        add(uri, suite, keyring_of(p.get("Signed-By")), sources);
  });
  return sources;
}

std::vector<ArchiveSuite> read_apt_sources(const HostPath& etc_apt) {
  std::vector<ArchiveSuite> sources;
  auto take = [&](const std::string& path, auto parse) {
    std::vector<ArchiveSuite> more = parse(read_file(path, kMaxSourcesBytes), path);
    sources.insert(sources.end(), more.begin(), more.end());
  };
  std::string list = etc_apt.value + "/sources.list", directory = etc_apt.value + "/sources.list.d";
  if (path_exists(list)) take(list, parse_sources_list);
  for (const std::string& name : names_ending(directory, ".list"))
    take(directory + "/" + name, parse_sources_list);
  for (const std::string& name : names_ending(directory, ".sources"))
    take(directory + "/" + name, parse_deb822_sources);
  return sources;
}

std::vector<ArchiveSuite> choose_sources(const std::vector<ArchiveSuite>& apt, std::string_view suite,
                                         const std::vector<std::string>& mirrors) {
  std::string name(suite);
  bool is_rolling = name == "sid" || name == "unstable" || name == "experimental";
  std::vector<std::string> wanted = {name};
  if (!is_rolling) wanted.insert(wanted.end(), {name + "-updates", name + "-security"});

  std::vector<ArchiveSuite> chosen;
  for (const std::string& want : wanted) {
    bool is_main = want == name;
    if (!mirrors.empty()) {
      for (const std::string& mirror : mirrors)
        chosen.push_back({without_slash(mirror), want, "", !is_main || mirrors.size() > 1});
      continue;
    }
    size_t before = chosen.size();
    auto add_once = [&](const ArchiveSuite& source) {
      if (std::find(chosen.begin(), chosen.end(), source) == chosen.end()) chosen.push_back(source);
    };
    for (const ArchiveSuite& source : apt)
      if (source.suite == want) add_once(source);
    if (chosen.size() > before) continue;
    // The machine runs another release: the archives that it uses have the others too. Security updates lie
    // apart.
    for (const ArchiveSuite& source : apt)
      if (source.suite.ends_with("-security") == want.ends_with("-security"))
        add_once({source.uri, want, source.keyring, true});
  }
  return chosen;
}

}  // namespace corten::source::debian
