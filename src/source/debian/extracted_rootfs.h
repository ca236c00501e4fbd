// Root file systems that are extracted and never configured: the distroless and busybox variants. No program
// of the image is run, so they can be made on any machine, for any architecture, and without privileges.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "source/debian/package.h"

namespace corten::source::debian {

// The packages' files, without manuals; /var/lib/dpkg/status.d for scanners; accounts (root, nobody, nonroot
// with id 65532), /tmp, homes; the certificate bundle when there are certificates; for busybox its applets
// and Alpine's adduser and addgroup. `packages` and `lock.packages` go together.
store::Manifest make_extracted_rootfs(const Lock& lock, const std::vector<Package>& packages,
                                      store::Contents& contents);

// The names of busybox's applets, from the table in its binary. Error(kCorrupt) when there is none.
std::vector<std::string> busybox_applets(std::string_view binary);

}  // namespace corten::source::debian
