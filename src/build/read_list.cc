#include "build/read_list.h"

#include <algorithm>
#include <cstring>

#include <fmt/core.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"

namespace corten::build {

using store::Entry;
using store::EntryType;

static constexpr std::string_view kMagic = "corten-list-1\n";

std::string serialize_list(const Selection& selection) {
  std::vector<const Entry*> entries;
  for (const Selected& item : selection.items) {
    entries.push_back(item.entry);
    entries.insert(entries.end(), item.below.begin(), item.below.end());
  }
  auto before = [](const Entry* a, const Entry* b) { return a->path < b->path; };
  if (!std::is_sorted(entries.begin(), entries.end(), before))
    std::stable_sort(entries.begin(), entries.end(), before);
  // Of a path that was selected twice the last.
  auto same = [](const Entry* a, const Entry* b) { return a->path == b->path; };
  auto kept = std::unique(entries.rbegin(), entries.rend(), same).base();
  std::string bytes(kMagic);
  bytes += store::serialize_entries({kept, entries.end()}, {.opaque = false});
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
    for (store::ManifestCursor entries(body.substr(kMagic.size())); entries.next();) continue;
  } catch (const Error&) {
    return std::nullopt;
  }
  return ReadList{std::string(body.substr(kMagic.size()))};
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
  store::ManifestCursor a(before.manifest), b(after.manifest);
  bool has_a = a.next(), has_b = b.next();
  while (has_a || has_b) {
    auto order = !has_b   ? std::strong_ordering::less
                 : !has_a ? std::strong_ordering::greater
                          : RootfsPath::compare(a.path(), b.path());
    if (order == 0) {
      if (a.raw() != b.raw()) add(compare_entries(a.entry(), b.entry()), RootfsPath(a.path()));
    } else if (order < 0) {
      add(removed, RootfsPath(a.path()));
    } else {
      add(added, RootfsPath(b.path()));
    }
    if (order <= 0) has_a = a.next();
    if (order >= 0) has_b = b.next();
  }
  return found;
}

}  // namespace corten::build
