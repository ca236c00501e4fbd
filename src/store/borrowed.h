// What must not be lost when a command is killed in the middle of a step that runs where nothing can be
// mounted (sandbox/chroot.h): directories of the store that were moved into the step's root, and secrets that
// lie in files there.
//
// A directory: before it moves, its home and its inode are written into tmp/ID/borrowed-N of the lease. Who
// sweeps up after a dead lease first looks for that inode below tmp/ID and moves it home. By its inode, not
// by a name: the step is free to rename what is above it, and the record need not be written again while it
// moves. So at every instant it is either at home or below tmp/ID with a record.
//
// A secret: its file has a second name, in a directory tmp/ID/secrets-XXXXXX. By that it is overwritten
// afterwards, wherever the step moved it, by us or by who sweeps.
#pragma once
#include <sys/types.h>

#include <string>
#include <string_view>

namespace corten::store {

// One directory (or file), while it may be away.
class Borrowed {
 public:
  // Writes the record, durably. `temporary` is Lease::temporary(), `home` lies in the same store.
  Borrowed(const std::string& temporary, const std::string& home);
  Borrowed(const Borrowed&) = delete;
  ~Borrowed();  // take_back(), and never mind

  // Moves it home, if it is not there, from wherever it is below `temporary`; forgets the record.
  void take_back();

 private:
  std::string temporary_, record_;
};

// The directory `secrets-...` of a lease is made with this prefix (Store::temporary).
inline constexpr std::string_view kSecretsPrefix = "secrets";

// Overwrites the file (no link is followed; its first `most_bytes`) and waits until the disk has it.
void overwrite(const std::string& path, size_t most_bytes);

// For who removes tmp/ID of a dead lease, before that: moves home what was borrowed, overwrites secrets.
// False when something could not be moved: then it must stay.
bool rescue(const std::string& temporary);

}  // namespace corten::store
