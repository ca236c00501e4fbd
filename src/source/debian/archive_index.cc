#include "source/debian/archive_index.h"

#include <fcntl.h>

#include <algorithm>

#include "archive/compression.h"
#include "base/beneath.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"
#include "base/subprocess.h"
#include "base/temp_dir.h"
#include "source/debian/control.h"

namespace corten::source::debian {

namespace {

constexpr size_t kMaxReleaseBytes = 16 << 20;
constexpr uint64_t kMaxPackagesBytes = 512 << 20;
constexpr size_t kMaxKeyringBytes = 16 << 20;
constexpr const char* kDebianKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg";

// ASCII armour (RFC 4880, 6.2) taken off, since gpgv reads binary keyrings only; several blocks become one
// keyring.
std::string without_armour(std::string_view text, std::string_view name) {
  std::string keys, block;
  enum { kOutside, kHeaders, kBody } state = kOutside;
  for (const std::string& raw : split(text, '\n')) {
    std::string_view line = trim(raw);
    if (line.starts_with("-----BEGIN PGP")) {
      state = kHeaders;
      block.clear();
    } else if (line.starts_with("-----END PGP")) {
      auto bytes = base64_decode(block);
      if (!bytes) fail(ErrorCode::kInvalid, "keyring {}: malformed armour", name);
      keys += *bytes;
      state = kOutside;
    } else if (state == kHeaders && line.empty()) {
      state = kBody;
    } else if (state == kBody && !line.starts_with('=')) {
      block += line;
    }
  }
  if (keys.empty()) fail(ErrorCode::kInvalid, "keyring {}: it holds no key", name);
  return keys;
}

// Gives the path of a binary keyring, made in `place` when the given one is none.
std::string binary_keyring(std::string_view keyring, const TempDir& place) {
  std::string text(keyring), name = "Signed-By";
  if (!keyring.starts_with("-----BEGIN")) {
    name = keyring.empty() ? kDebianKeyring : std::string(keyring);
    if (!path_exists(name))
      throw Error(ErrorCode::kNotFound, fmt::format("keyring {}: not there", name))
          .with_hint("install debian-archive-keyring, which holds the keys that sign Debian's archive");
    text = read_file(name, kMaxKeyringBytes);
    if (!std::string_view(text).starts_with("-----BEGIN")) return name;
  }
  std::string path = place / "keyring.gpg";
  write_file_atomic(path, without_armour(text, name));
  return path;
}

std::string read_plain_file(const std::string& path) {
  return read_file(path, kMaxReleaseBytes);
}

// "Sat, 21 Nov 2026 02:11:10 UTC"
std::optional<int64_t> parse_release_date(std::string_view text) {
  static constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
  std::vector<std::string> words = split_words(text);
  if (words.size() < 5 || words[2].size() != 3) return std::nullopt;
  size_t month = kMonths.find(words[2]);
  auto day = parse_int(words[1]), year = parse_int(words[3]);
  if (month == std::string_view::npos || !day || !year) return std::nullopt;
  std::string time = words[4].size() == 7 ? "0" + words[4] : words[4];
  return parse_rfc3339(fmt::format("{:04}-{:02}-{:02}T{}Z", *year, month / 3 + 1, *day, time));
}

void check_age(const ReleaseFile& release, std::string_view name, const Progress& progress) {
  auto end = release.valid_until.empty() ? std::nullopt : parse_release_date(release.valid_until);
  if (end && *end < SystemClock().now_s())
    progress(fmt::format("warning: {}: valid until {}: the mirror is behind, or holds fixes back", name,
                         release.valid_until));
}

// The Packages file, from the store or the archive.
UniqueFd open_packages(const ArchiveSuite& source, const ReleaseFile& release, const std::string& path,
                       const ReleaseFile::Item& item, http::Client& http, store::Store& store,
                       const Progress& progress) {
  if (store.contents().has(item.digest)) return store.contents().open(item.digest);
  std::string base = source.uri + "/dists/" + source.suite + "/";
  size_t slash = path.rfind('/');
  std::string by_hash = base + path.substr(0, slash) + "/by-hash/SHA256/" + item.digest.hex();
  auto fetch = [&](const std::string& url) {
    http.with_retries([&] {
      http::Response response = http.open(url);
      archive::VerifyingSource verified(*response.body, item.digest, item.size, url);
      store.contents().add_stream(verified);
    });
  };
  progress(fmt::format("fetching {} {} ({})", source.suite, path, human_size(item.size)));
  if (!release.has_by_hash) {
    fetch(base + path);
  } else {
    try {
      fetch(by_hash);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kNotFound) throw;
      fetch(base + path);  // mirrors that do not carry by-hash
    }
  }
  return store.contents().open(item.digest);
}

}  // namespace

ReleaseFile parse_release(std::string_view text, std::string_view name) {
  ReleaseFile release;
  bool is_first = true;
  parse_paragraphs(text, name, [&](const Paragraph& p) {
    if (!std::exchange(is_first, false)) return;
    release.origin = p.get("Origin");
    release.codename = p.get("Codename");
    release.suite = p.get("Suite");
    release.date = p.get("Date");
    release.valid_until = p.get("Valid-Until");
    release.has_by_hash = p.is_yes("Acquire-By-Hash");
    for (const std::string& line : split(p.get("SHA256"), '\n')) {
      std::vector<std::string> words = split_words(line);
      if (words.empty()) continue;
      auto size = words.size() == 3 ? parse_int(words[1]) : std::nullopt;
      auto digest = Digest::try_parse("sha256:" + words[0]);
      if (!size || *size < 0 || !digest)
        fail(ErrorCode::kInvalid, "{}: malformed SHA256 line {}", name, quote(line));
      if (is_archive_path(words[2])) release.files[words[2]] = {*digest, static_cast<uint64_t>(*size)};
    }
  });
  if (release.date.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 ,:+-") !=
      std::string::npos)
    fail(ErrorCode::kInvalid, "{}: malformed date {}", name, quote(release.date));
  if (release.files.empty()) fail(ErrorCode::kInvalid, "{}: it has no SHA256 section", name);
  return release;
}

std::string verify_clear_signed(std::string_view signed_text, std::string_view keyring,
                                std::string_view name) {
  if (find_program("gpgv").empty())
    throw Error(ErrorCode::kNotFound, "gpgv: program not found")
        .with_hint("install gpgv: it checks the archive's signature");
  TempDir place = TempDir::make(getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", "corten-gpgv-");
  std::string keys = binary_keyring(keyring, place);
  write_file_atomic(place / "signed", signed_text);
  SubprocessResult result =
      run_subprocess({"gpgv", "--homedir", place.path(), "--keyring", keys, "--status-fd", "1", "--output",
                      place / "text", place / "signed"});
  bool is_good = false;
  for (const std::string& line : split(result.output, '\n')) {
    if (line.starts_with("[GNUPG:] GOODSIG ")) is_good = true;
    // A key that we do not have is no failure as long as another one that we have has signed; a wrong
    // signature is.
    if (line.starts_with("[GNUPG:] BADSIG "))
      fail(ErrorCode::kPermission, "{}: its signature does not fit its text", name);
  }
  if (!is_good)
    throw Error(ErrorCode::kPermission, fmt::format("{}: not signed by a key of the keyring", name))
        .with_hint("gpgv says: " + std::string(trim(printable(result.error_output))));
  return read_plain_file(place / "text");
}

std::optional<ArchiveIndex> fetch_index(const ArchiveSuite& source, std::string_view architecture,
                                        http::Client& http, store::Store& store, const Progress& progress) {
  std::string url = source.uri + "/dists/" + source.suite + "/InRelease";
  std::string in_release;
  try {
    in_release = http.get(url, kMaxReleaseBytes);
  } catch (const Error& error) {
    if (source.is_optional &&
        (error.code() == ErrorCode::kNotFound || error.code() == ErrorCode::kPermission))
      return std::nullopt;  // 404, 403
    throw;
  }
  ReleaseFile release = parse_release(verify_clear_signed(in_release, source.keyring, url), url);
  if (release.origin != "Debian") {
    progress(fmt::format("{}: left out: its origin is {}, not Debian", url, quote(release.origin)));
    return std::nullopt;
  }
  // An archive that answers with another suite's file, however well signed, gives other packages than were
  // asked for.
  if (release.codename != source.suite && release.suite != source.suite)
    fail(ErrorCode::kPermission, "{}: it is signed for {} ({}), not for {}", url, release.codename,
         release.suite, source.suite);
  check_age(release, url, progress);

  for (std::string_view ending : {".xz", ".gz", ""}) {
    std::string path = fmt::format("main/binary-{}/Packages{}", architecture, ending);
    auto item = release.files.find(path);
    if (item == release.files.end()) continue;
    UniqueFd fd = open_packages(source, release, path, item->second, http, store, progress);
    archive::FdSource from(fd.get(), path);
    auto expanded = archive::open_decompressor(from);
    ArchiveIndex index;
    index.source = source;
    index.release = {source.suite, release.date, Digest::of(in_release)};
    index.packages = archive::read_rest(*expanded, kMaxPackagesBytes);
    return index;
  }
  fail(ErrorCode::kNotFound, "{}: it has no packages for architecture {}", url, architecture);
}

}  // namespace corten::source::debian
