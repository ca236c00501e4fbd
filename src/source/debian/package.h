// A Debian package file (deb(5)): its control data and its files, and how several become one root file system
// without any program being run.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "archive/source.h"
#include "source/debian/recipe.h"
#include "store/layer_builder.h"
#include "store/store.h"

namespace corten::source::debian {

// What is in a package. A value; the contents of its files lie in the store.
struct Package {
  std::string control;    // the paragraph
  std::string md5sums;    // "" when it has none
  store::Manifest files;  // as the archive has them; every entry has its own time
};

// Reads the package's bytes. Error(kCorrupt) for what is no package, kInvalid for names that leave it or
// pretend to be marks of layers, kUnsupported for device nodes; more than 16 GiB of files is Error(kCorrupt).
Package read_package(archive::ByteSource& deb, std::string_view name, store::Contents& contents);

// The same for a package whose bytes are in the store; done once for each package, since the result is kept.
Package load_package(const LockedPackage& package, store::Store& store);

// Places a package's files as dpkg does: links to directories are followed, directories that are there stay
// as they are, other things are replaced. `wanted` chooses by path; nothing chooses all.
void place_package(const Package& package, store::LayerBuilder& into,
                   const std::function<bool(const RootfsPath&)>& wanted = {});

// /bin, /sbin, /lib and where the architecture has them /lib64 as links into /usr.
void make_merged_usr(std::string_view architecture, store::LayerBuilder& into);

}  // namespace corten::source::debian
