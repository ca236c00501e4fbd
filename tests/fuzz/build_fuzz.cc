// The records that builds leave for later ones. They are ours, but a disk, a crash or another version wrote
// them.
#include "base/json.h"
#include "base/temp_dir.h"
#include "base/unique_fd.h"
#include "build/cache_memory.h"
#include "build/journal.h"
#include "build/read_list.h"
#include "build/why.h"
#include "fuzz/fuzz.h"

namespace corten::fuzz {

using namespace corten::build;

namespace {
std::string with_digest(std::string bytes) {
  Digest sum = Digest::of(bytes);
  return bytes.append(reinterpret_cast<const char*>(sum.bytes().data()), 32);
}

std::string manifest() {
  std::vector<store::Entry> entries;
  for (const char* path : {"a", "a/b", "c"}) {
    store::Entry e;
    e.path = RootfsPath(path);
    e.type = entries.empty() ? store::EntryType::kDirectory : store::EntryType::kFile;
    e.mode = 0644;
    e.time_ns = -5;
    e.xattrs["security.capability"] = "x";
    entries.push_back(e);
  }
  return store::Manifest(std::move(entries)).serialize();
}
}  // namespace

// What is read of two lists can be compared; a list does not differ from itself.
FUZZ_TARGET(read_list, manifest(), manifest().substr(0, 40)) {
  auto whole = [](std::string_view bytes) { return with_digest("corten-list-1\n" + std::string(bytes)); };
  auto read = parse_list(whole(input));
  if (!read) return;
  size_t more = 0;
  REQUIRE(compare_lists(*read, *read, "context", 10, more).empty() && more == 0);
  static const ReadList other = *parse_list(whole(manifest()));
  REQUIRE(compare_lists(*read, other, "context", 3, more).size() <= 3);
}

// A line of a journal, the two records of a step beside each other: what `why` says of them may be shown.
FUZZ_TARGET(
    journal_step,
    R"({"step":1,"name":"[build 2/5] RUN make","line":3,"state":"done","key":"00","started_ns":5,"duration_ns":7,"why":{"reason":"input","differences":[{"input":"variable","name":"A","field":"","before":"1","after":"2"}],"more":1},"record":{"step":"run","command":["a"],"env":{"A":"1"},"mounts":[{"target":"/c"}]}})",
    R"({"step":2,"name":"[2/2] COPY a b","record":{"step":"copy","files":"sha256:00","base":"x"},"error":"e"})") {
  tolerate({ErrorCode::kInvalid}, [&] {
    JournalStep step = JournalStep::from_json(Json::parse(input));
    JournalStep again = JournalStep::from_json(Json::parse(step.to_json().dump()));
    REQUIRE(again.to_json() == step.to_json());
    JournalStep::Place place = step.place();
    REQUIRE(place.text.size() <= step.name.size());
    if (step.miss) miss_text(*step.miss, 1'000'000'000);
    size_t more = 0;
    CompareLists none = [](const Digest&, const Digest&, std::string_view, size_t&) {
      return std::optional<std::vector<Difference>>();
    };
    REQUIRE(compare_records(step.record, step.record, none, more).empty());
    static const Json kOther = Json::parse(R"({"step":"run","command":["b"],"env":{"A":"2"},"mounts":[]})");
    for (const Difference& difference : compare_records(step.record, kOther, none, more))
      difference_text(difference);
    for (const Difference& difference : compare_records(kOther, step.record, none, more))
      difference_text(difference);
    without_secrets(step.record, [](std::string_view) { return std::string("d"); });
  });
}

// The record of a cache mount, with its digest mended: whatever it says, times go on and never back.
FUZZ_TARGET(cache_memory, std::string("corten-seen-1\n\1\0\0\0\0\0\0\0\0", 23),
            "corten-seen-1\n\1" + std::string("\5\0\0\0\0\0\0\0", 8) + std::string("\1\0\0\0a", 5) +
                std::string(32, 'd') + std::string("\5\0\0\0\0\0\0\0", 8)) {
  static TempDir place = TempDir::make("/tmp", "fuzz-");
  write_file_atomic(place / "seen", with_digest(std::string(input)), 0600);
  SeenPaths paths = {{RootfsPath("a"), Digest::of("x")}, {RootfsPath("b/c"), Digest::of("y")}};
  SeenTimes first = CacheMemory(place.path()).begin(paths, false, 1'000'000'000'000);
  for (const auto& [path, time] : first) REQUIRE(paths.contains(path) && time != 0);
  REQUIRE(CacheMemory(place.path()).begin(paths, false, 1'000'000'000'000) == first);
}

}  // namespace corten::fuzz
