// Where packages come from: the machine's apt sources (sources.list(5)), or mirrors that were given.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/path.h"

namespace corten::source::debian {

// One suite of one archive. `keyring` is a file, or the text of an armoured key; "": Debian's own keyring.
struct ArchiveSuite {
  std::string uri;  // without a slash at the end
  std::string suite;
  std::string keyring;
  bool is_optional = false;  // it need not be there (updates of a suite that has none)
  bool operator==(const ArchiveSuite&) const = default;
};

// `deb` entries in the one-line style and in deb822 style with component main, in their order. Entries that
// are disabled, of other types, flat (suite ends in /) or fetched otherwise than by http, https, file or copy
// are left out; malformed ones are Error(kInvalid) "FILE:LINE: ...".
std::vector<ArchiveSuite> parse_sources_list(std::string_view text, std::string_view file);
std::vector<ArchiveSuite> parse_deb822_sources(std::string_view text, std::string_view file);

// sources.list, sources.list.d/*.list and *.sources below `etc_apt` ("/etc/apt"), by name. Missing files are
// fine.
std::vector<ArchiveSuite> read_apt_sources(const HostPath& etc_apt);

// Those that serve `suite`, its -updates and its -security; for one that none serves, the archives of the
// others, where it may be. With mirrors only these: the suite must be there, updates and security may be.
std::vector<ArchiveSuite> choose_sources(const std::vector<ArchiveSuite>& apt, std::string_view suite,
                                         const std::vector<std::string>& mirrors);

}  // namespace corten::source::debian
