#include "build/read_list.h"

#include <cstring>
#include <map>

#include <fmt/core.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"

namespace corten::build {

using store::Entry;
using store::EntryType;

static constexpr std::string_view kMagic = "corten-list-1\n";

std::string serialize_list(const Selection& selection) {
  std::map<RootfsPath, const Entry*> entries;
  auto take = [&](const Entry& e) { entries[e.path] = &e; };
  for (const Selected& item : selection.items) {
    take(*item.entry);
    for (const Entry* e : item.below) take(*e);
  }
  std::vector<Entry> list;
  for (const auto& [path, entry] : entries) {
    list.push_back(*entry);
    list.back().opaque = false;
  }
  std::string bytes(kMagic);
  bytes += store::Manifest(std::move(list)).serialize();
  Digest sum = Digest::of(bytes);
  bytes.append(reinterpret_cast<const char*>(sum.bytes().data()), sum.bytes().size());
  return bytes;
}

std::optional<ReadList> parse_list(std::string_view bytes) {
  constexpr size_t kSum = 32;
  if (!bytes.starts_with(kMagic) || bytes.size() < kMagic.size() + kSum) return std::nullopt;
  std::string_view body = bytes.substr(0, bytes.size() - kSum);
  Digest sum = Digest::of(body);
  if (std::memcmp(bytes.data() + body.size(), sum.bytes().data(), kSum) != 0) return std::nullopt;
  try {
    return ReadList{store::Manifest::parse(body.substr(kMagic.size())).entries()};
  } catch (const Error&) {
    return std::nullopt;
  }
}

static std::string_view type_name(EntryType type) {
  constexpr std::string_view kNames[] = {"file",         "directory", "symbolic link", "character device",
                                         "block device", "fifo",      "whiteout"};
  return kNames[static_cast<int>(type)];
}

// The first field in which two entries of one path differ; nothing when they are equal.
static std::optional<Difference> compare_entries(const Entry& a, const Entry& b) {
  auto differs = [](std::string field, std::string before, std::string after) {
    Difference d;
    d.field = std::move(field);
    d.before = std::move(before);
    d.after = std::move(after);
    return std::optional(d);
  };
  auto content = [](const Entry& e) {
    return fmt::format("{} ({})", e.content.short_hex(), human_size(e.size));
  };
  if (a.type != b.type)
    return differs("type", std::string(type_name(a.type)), std::string(type_name(b.type)));
  if (a.type == EntryType::kFile && a.content != b.content) return differs("content", content(a), content(b));
  if (a.link != b.link) return differs("link", a.link, b.link);
  if (a.mode != b.mode) return differs("mode", fmt::format("{:04o}", a.mode), fmt::format("{:04o}", b.mode));
  if (a.uid != b.uid || a.gid != b.gid)
    return differs("owner", fmt::format("{}:{}", a.uid, a.gid), fmt::format("{}:{}", b.uid, b.gid));
  auto time = [](const Entry& e) {
    return e.time_ns ? format_rfc3339(*e.time_ns / 1'000'000'000, *e.time_ns % 1'000'000'000) : "the layer's";
  };
  if (a.time_ns != b.time_ns) return differs("time", time(a), time(b));
  if (a.xattrs != b.xattrs) return differs("extended attributes", "", "");
  if (a.hard_link != b.hard_link) return differs("hard link", a.hard_link.str(), b.hard_link.str());
  if (a.device_major != b.device_major || a.device_minor != b.device_minor)
    return differs("device", fmt::format("{}:{}", a.device_major, a.device_minor),
                   fmt::format("{}:{}", b.device_major, b.device_minor));
  return std::nullopt;
}

std::vector<Difference> compare_lists(const ReadList& before, const ReadList& after, std::string_view place,
                                      size_t most, size_t& more) {
  std::vector<Difference> found;
  auto add = [&](std::optional<Difference> d, const RootfsPath& path) {
    if (!d) return;
    if (found.size() >= most) {
      more++;
      return;
    }
    d->input = fmt::format("{} file", place);
    d->name = path.is_root() ? "." : path.str();
    found.push_back(std::move(*d));
  };
  Difference added, removed;
  added.field = "added";
  removed.field = "removed";
  auto a = before.entries.begin(), b = after.entries.begin();
  while (a != before.entries.end() || b != after.entries.end()) {
    if (b == after.entries.end() || (a != before.entries.end() && a->path < b->path)) {
      add(removed, a->path);
      ++a;
    } else if (a == before.entries.end() || b->path < a->path) {
      add(added, b->path);
      ++b;
    } else {
      add(compare_entries(*a, *b), a->path);
      ++a, ++b;
    }
  }
  return found;
}

}  // namespace corten::build
