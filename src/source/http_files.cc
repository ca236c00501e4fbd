#include "source/http_files.h"

#include <sys/stat.h>

#include <fmt/core.h>

#include "archive/compression.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "base/wait_lock.h"
#include "http/date.h"

namespace corten::source {

namespace {

// A strong one stands for bytes (RFC 9110, 8.8.1); under a weak one they may differ.
bool is_strong(std::string_view etag) {
  return !etag.empty() && !etag.starts_with("W/");
}

// Tells how much of a body has come.
class CountedSource : public archive::ByteSource {
 public:
  using Count = std::function<void(uint64_t current, uint64_t total)>;
  CountedSource(archive::ByteSource& from, uint64_t total, const Count& count)
      : from_(from), total_(total), count_(count) {}
  size_t read(void* data, size_t size) override {
    size_t got = from_.read(data, size);
    seen_ += got;
    if (got && count_) count_(seen_, total_);
    return got;
  }

 private:
  archive::ByteSource& from_;
  uint64_t total_, seen_ = 0;
  const Count& count_;
};

uint64_t size_of(const std::string& path) {
  struct stat st;
  if (stat(path.c_str(), &st) != 0) fail_errno("stat {}", path);
  return static_cast<uint64_t>(st.st_size);
}

std::string without_query(const std::string& shown) {
  return shown.substr(0, shown.find('?'));
}

// Header fields go into an index and back to the server; a server that sends a megabyte is not humoured.
std::string short_field(const std::string& value) {
  return value.size() <= 1024 ? value : "";
}

}  // namespace

std::string http_file_name(std::string_view url) {
  std::string_view path = url.substr(0, url.find_first_of("?#"));
  size_t host = path.find("://");
  size_t begin = host == path.npos ? path.npos : path.find('/', host + 3);
  std::string name = begin == path.npos ? "" : http::percent_decode(path.substr(begin));
  while (name.ends_with('/')) name.pop_back();
  name = name.substr(name.rfind('/') == std::string::npos ? 0 : name.rfind('/') + 1);
  if (name.empty() || name == ".") return "__unnamed__";
  if (name == "..") return "download";
  for (char c : name)
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) return "download";
  return name.size() <= 255 ? name : "download";
}

HttpFiles::HttpFiles(store::Store& store, http::ClientOptions options, HttpAccess access)
    : store_(store),
      cancellation_(options.cancellation),
      client_(std::move(options)),
      access_(std::move(access)) {}

std::optional<HttpFiles::Known> HttpFiles::recall(const Digest& key) {
  auto action = store_.find_action(key);
  if (!action) return std::nullopt;
  auto manifest = store_.layers().load(action->layer.id);
  if (manifest->entries().size() != 1) return std::nullopt;
  const store::Entry& entry = manifest->entries().front();
  if (entry.size > 0 && !store_.contents().has(entry.content)) return std::nullopt;
  Json record = Json::parse(action->record);
  Known known;
  known.file.content = entry.content;
  known.file.size = entry.size;
  known.etag = record.get_string("etag");
  known.last_modified = record.get_string("last_modified");
  known.file.modified = http::parse_date(known.last_modified, SystemClock().now_s());
  return known;
}

// As an action whose layer holds the file: so the contents are kept for as long as the cache is.
void HttpFiles::remember(const Digest& key, const std::string& shown, const Known& known) {
  store::Entry entry;
  entry.path = RootfsPath("file");
  entry.mode = 0600;
  entry.size = known.file.size;
  entry.content = known.file.content;
  Json record = Json::object({{"step", "http"},
                              {"address", without_query(shown)},
                              {"content", known.file.content.hex()},
                              {"etag", known.etag},
                              {"last_modified", known.last_modified}});
  store_.record_action({key, "exact", {store_.layers().save(store::Manifest({entry})), 0}, record.dump()});
}

HttpFiles::Known HttpFiles::ask(const std::string& url, const Digest& key, const Options& options) {
  http::Url parsed = http::parse_url(url);
  std::optional<Known> known = recall(key);
  http::Request request{url, {}, false};
  if (known && !known->etag.empty()) request.fields.emplace_back("If-None-Match", known->etag);
  if (known && known->etag.empty() && !known->last_modified.empty())
    request.fields.emplace_back("If-Modified-Since", known->last_modified);
  request.is_conditional = !request.fields.empty();
  if (access_.secret) {
    if (auto token = access_.secret("HTTP_AUTH_TOKEN_" + parsed.host))
      request.fields.emplace_back("Authorization", "Bearer " + std::string(trim(*token)));
    else if (auto header = access_.secret("HTTP_AUTH_HEADER_" + parsed.host))
      request.fields.emplace_back("Authorization", std::string(trim(*header)));
  }
  if (options.note) options.note("fetching " + printable(parsed.shown()));
  Known found;
  client_.with_retries([&] {
    http::Response response = client_.open(request);
    bool is_same = known && response.status == 200 && is_strong(known->etag) && response.etag == known->etag;
    if (response.status == 304 || is_same) {
      found = *known;
      return;
    }
    if (response.size && *response.size > access_.max_bytes)
      throw Error(ErrorCode::kInvalid, fmt::format("{}: {} bytes are more than the limit of {}", response.url,
                                                   *response.size, access_.max_bytes))
          .with_hint("CORTEN_MAX_DOWNLOAD sets it: CORTEN_MAX_DOWNLOAD=20GB");
    CountedSource counted(*response.body, response.size.value_or(0), options.progress);
    // Some servers compress although we asked for the bytes as they are.
    std::unique_ptr<archive::ByteSource> expanded;
    if (iequals(response.content_encoding, "gzip") || iequals(response.content_encoding, "x-gzip"))
      expanded = archive::open_decompressor(counted, archive::Compression::kGzip);
    archive::LimitedSource body(expanded ? *expanded : counted, access_.max_bytes, response.url);
    store::Contents::Added added = [&] {
      try {
        return store_.contents().add_stream(body);
      } catch (Error& error) {
        if (error.code() == ErrorCode::kCorrupt)
          error.set_hint("CORTEN_MAX_DOWNLOAD sets the limit: CORTEN_MAX_DOWNLOAD=20GB");
        throw;
      }
    }();
    found.file.content = added.digest;
    found.file.size = added.size;
    found.etag = short_field(response.etag);
    found.last_modified = short_field(response.last_modified);
    found.file.modified = http::parse_date(found.last_modified, SystemClock().now_s());
  });
  if (!known || known->file.content != found.file.content || known->etag != found.etag ||
      known->last_modified != found.last_modified)
    remember(key, parsed.shown(), found);
  return found;
}

HttpFile HttpFiles::fetch(const std::string& url, const Options& options) {
  http::Url parsed = http::parse_url(url);
  if (parsed.is_file()) fail(ErrorCode::kInvalid, "{}: not an http address", quote(url));
  Digest key = Digest::of("corten-http-1\n" + url);
  auto expect = [&](const HttpFile& file) {
    if (options.checksum && file.content != *options.checksum)
      throw Error(ErrorCode::kCorrupt,
                  fmt::format("digest mismatch for {}: {} (expected: {})", parsed.shown(),
                              file.content.to_string(), options.checksum->to_string()))
          .with_hint("the file has changed, or the checksum is another file's");
    return file;
  };
  if (options.checksum && !options.needs_time && store_.contents().has(*options.checksum))
    return {*options.checksum, size_of(store_.contents().path(*options.checksum)), std::nullopt};
  FileLock lock;
  std::string lock_path = store_.lock_path("http-" + key.hex());
  if (!FileLock::try_exclusive(lock_path, lock)) {
    if (options.note) options.note("waiting for another build that fetches " + parsed.shown());
    lock = wait_for_lock(lock_path, cancellation_);
  }
  {
    std::lock_guard guard(mutex_);
    if (auto known = asked_.find(url); known != asked_.end()) return expect(known->second.file);
  }
  if (options.checksum)
    if (auto known = recall(key); known && known->file.content == *options.checksum) return known->file;
  Known found = ask(url, key, options);
  std::lock_guard guard(mutex_);
  asked_[url] = found;
  return expect(found.file);
}

}  // namespace corten::source
