#include "base/recorded_owner.h"

#include <sys/stat.h>
#include <sys/xattr.h>

#include <cerrno>

#include <fmt/core.h>

#include "base/strings.h"

namespace corten {

namespace {

std::optional<uint32_t> parse_number(std::string_view text) {
  const auto value = parse_int(text);
  if (!value || *value < 0 || *value > UINT32_MAX) return std::nullopt;
  return static_cast<uint32_t>(*value);
}

}  // namespace

std::string RecordedOwner::to_string() const {
  std::string text = fmt::format("{}:{}", uid, gid);
  if (device_type != 0)
    text += fmt::format(" {} {} {}", device_type == S_IFBLK ? 'b' : 'c', device_major, device_minor);
  return text;
}

std::optional<RecordedOwner> RecordedOwner::parse(std::string_view text) {
  const std::vector<std::string> words = split(text, ' ');
  if (words.size() != 1 && words.size() != 4) return std::nullopt;
  const std::vector<std::string> ids = split(words[0], ':');
  if (ids.size() != 2) return std::nullopt;
  const auto uid = parse_number(ids[0]), gid = parse_number(ids[1]);
  if (!uid || !gid) return std::nullopt;
  RecordedOwner owner{.uid = *uid, .gid = *gid};
  if (words.size() == 1) return owner;
  const auto major = parse_number(words[2]), minor = parse_number(words[3]);
  if ((words[1] != "b" && words[1] != "c") || !major || !minor) return std::nullopt;
  owner.device_type = words[1] == "b" ? S_IFBLK : S_IFCHR;
  owner.device_major = *major;
  owner.device_minor = *minor;
  return owner;
}

std::optional<RecordedOwner> read_recorded_owner(const char* path) {
  char text[64];
  const ssize_t size = getxattr(path, kOwnerAttribute, text, sizeof text);
  return size < 0 ? std::nullopt : RecordedOwner::parse({text, static_cast<size_t>(size)});
}

int write_recorded_owner(const char* path, const RecordedOwner& owner) {
  const std::string text = owner.to_string();
  return setxattr(path, kOwnerAttribute, text.data(), text.size(), 0) == 0 ? 0 : errno;
}

}  // namespace corten
