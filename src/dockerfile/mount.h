// RUN --mount and --device: comma-separated key=value lists, whose values may hold variables.
//
// Source: Dockerfile reference "RUN --mount"; BuildKit frontend/dockerfile/instructions/commands_runmount.go
// and commands_rundevice.go as measured.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dockerfile/ast.h"

namespace corten::dockerfile {

// Expands one value; may throw Error. process_word() with the stage's environment.
using Expander = std::function<std::string(std::string_view)>;

enum class MountType { kBind, kCache, kTmpfs, kSecret, kSsh };
enum class CacheSharing { kShared, kPrivate, kLocked };

struct Mount {
  MountType type = MountType::kBind;
  std::string target;  // as given, perhaps relative or ""; joined with WORKDIR by the one who runs it
  std::string source;  // bind, cache: a path in `from`; secret: an id
  std::optional<std::string> from;  // stage, named context or image; never expanded
  bool read_only = false;           // the type's default is applied: bind, secret, ssh are read-only
  std::string id;                   // cache, secret, ssh; "" takes the type's default
  CacheSharing sharing = CacheSharing::kShared;
  std::optional<uint32_t> mode;
  std::optional<uint32_t> uid;
  std::optional<uint32_t> gid;
  uint64_t size_bytes = 0;         // tmpfs; 0: no limit
  bool required = false;           // secret, ssh
  std::optional<std::string> env;  // secret: the variable that holds it
  SourceSpan span;
  bool operator==(const Mount&) const = default;
};

std::string_view mount_type_name(MountType type);  // "bind"

// Throws Error(kInvalid) with the word's span. Keys are read in order: `required` must stand behind
// `type=secret`.
Mount parse_mount(const Word& csv, const Expander& expand);

// What is checked of every mount when the file is parsed, also in stages that are not built: the list's form,
// and that `from` holds no variable.
void check_mount_syntax(const Word& csv);

struct Device {
  std::string name;
  bool required = true;
  SourceSpan span;
};

// `NAME[,required[=bool]]` or `name=NAME,...`. Throws Error(kInvalid).
Device parse_device(const Word& csv);

// The fields of one line of RFC 4180 CSV, as Go's encoding/csv reads it. Throws Error(kInvalid).
std::vector<std::string> split_csv(std::string_view line);

}  // namespace corten::dockerfile
