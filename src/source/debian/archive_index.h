// A suite's index as its archive signs it: InRelease, checked by gpgv, and the Packages file that it vouches
// for.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "http/client.h"
#include "source/debian/apt_sources.h"
#include "source/debian/recipe.h"
#include "store/store.h"

namespace corten::source::debian {

// Told what is being done, one line each, for people.
using Progress = std::function<void(std::string_view)>;

struct ReleaseFile {
  std::string origin, codename, suite, date, valid_until;
  bool has_by_hash = false;
  struct Item {
    Digest digest;
    uint64_t size = 0;
  };
  std::map<std::string, Item, std::less<>> files;  // the SHA256 section
};

// A Release file without its signature. Error(kInvalid).
ReleaseFile parse_release(std::string_view text, std::string_view name);

// The text of a clear-signed file that a key of the keyring (a file, armoured or not, or an armoured text;
// "": Debian's) has signed. Error(kPermission) when none has, or a signature is bad; Error(kNotFound) names a
// missing gpgv or keyring.
std::string verify_clear_signed(std::string_view signed_text, std::string_view keyring,
                                std::string_view name);

struct ArchiveIndex {
  ArchiveSuite source;
  LockedRelease release;
  std::string packages;  // the text of Packages
};

// Fetches and verifies; the Packages file is cached by digest in the store. Empty when an optional suite is
// not there, or the archive is not Debian's.
std::optional<ArchiveIndex> fetch_index(const ArchiveSuite& source, std::string_view architecture,
                                        http::Client& http, store::Store& store, const Progress& progress);

}  // namespace corten::source::debian
