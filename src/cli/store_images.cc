#include "cli/store_images.h"

#include <sys/stat.h>

#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "base/subprocess.h"
#include "oci/reference.h"

namespace corten::cli {

namespace {

constexpr size_t kMostFound = 1000;

std::string run_ourselves(const std::vector<std::string>& words) {
  std::vector<std::string> argv{"/proc/self/exe"};
  argv.insert(argv.end(), words.begin(), words.end());
  const SubprocessResult result = run_subprocess(argv, {.max_output_bytes = 64 << 20});
  if (result.exit_code != 0)
    fail(ErrorCode::kFailed, "corten {} ended with {}: {}", words.front(), result.exit_code,
         trim(result.error_output));
  return std::string(trim(result.output));
}

}  // namespace

StoreImages::StoreImages(std::string store) : store_(std::move(store)) {}

// Changes whenever the store's index does: its file, and the log of what is not in it yet.
std::string StoreImages::stamp() const {
  std::string text;
  for (const char* name : {"/index.db", "/index.db-wal"}) {
    struct stat status {};
    if (stat((store_ + name).c_str(), &status) != 0) continue;
    text += fmt::format("{} {} {}.{};", status.st_ino, status.st_size, status.st_mtim.tv_sec,
                        status.st_mtim.tv_nsec);
  }
  return text;
}

// "localhost:5000/page:v1" for a server that is called so, else "page:v1", as Docker Hub's names are kept.
StoreImages::Found StoreImages::look(const std::string& host, const std::string& repository,
                                     const std::string& tag) {
  const std::string now = stamp();
  if (now.empty()) return {};
  if (now != stamp_ || found_.size() >= kMostFound) {
    found_.clear();
    stamp_ = now;
  }
  const std::string key = host + "/" + repository + ":" + tag;
  if (const auto known = found_.find(key); known != found_.end()) return known->second;
  Found& found = found_[key];
  for (const std::string& text : {key, "docker.io/" + repository + ":" + tag}) {
    const std::optional<oci::Reference> name = oci::Reference::try_parse(text);
    if (!name || name->tag() != tag) continue;
    const std::string said = run_ourselves({"images", "-q", "--no-trunc", name->to_string()});
    const std::string id = said.substr(0, said.find('\n'));
    if (id.empty()) continue;
    found = {name->to_string(), id};
    break;
  }
  return found;
}

std::string StoreImages::find(const std::string& host, const std::string& repository,
                              const std::string& tag) {
  return look(host, repository, tag).id;
}

void StoreImages::write_layout(const std::string& host, const std::string& repository, const std::string& tag,
                               const std::string& directory) {
  const Found found = look(host, repository, tag);
  if (found.id.empty()) fail(ErrorCode::kNotFound, "{}:{} is not in the store any more", repository, tag);
  run_ourselves({"save", "--format", "oci-dir", "-o", directory, found.name});
}

StoreImages::Names StoreImages::list(const std::string& host) {
  std::lock_guard lock(list_mutex_);
  const std::string now = stamp();
  if (now.empty()) return {};
  if (now != list_stamp_) {
    names_.clear();
    for (const std::string& line : split(run_ourselves({"images", "--format", "json"}), '\n')) {
      if (line.empty()) continue;
      const Json row = Json::parse(line);
      const auto name = oci::Reference::try_parse(row.get_string("Repository") + ":" + row.get_string("Tag"));
      if (name) names_.push_back(*name);  // but for those without a name
    }
    list_stamp_ = now;
  }
  Names names;
  for (const oci::Reference& name : names_) {
    if (name.registry() == host)
      names[name.repository()].insert(name.tag());
    else if (name.registry() == "docker.io")
      names[name.repository_only().familiar()].insert(name.tag());
  }
  return names;
}

}  // namespace corten::cli
