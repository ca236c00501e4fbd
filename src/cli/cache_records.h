// Records of the cache as people see and choose them: --filter as docker buildx prune and du have it, and the
// tables.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "store/collector.h"

namespace corten::cli {

// `key=value`, `key!=value`, `key~=regular expression`, or a bare word. Keys: until (a duration: not used
// since), id, parents, description, type; words: inuse, shared, private, mutable, immutable. All must be
// true. Error(kUsage) for others.
std::function<bool(const store::CacheRecord&)> parse_cache_filters(const std::vector<std::string>& filters,
                                                                   int64_t now);

// Of `until=DURATION` among them: the second before which something must have been used last; 0: none.
int64_t until_of(const std::vector<std::string>& filters, int64_t now);
// Whether there are filters beside until.
bool has_other_filters(const std::vector<std::string>& filters);

// One block a record, then sums, as `docker buildx du --verbose`.
std::string record_blocks(const std::vector<store::CacheRecord>& records, int64_t now);
std::string record_table(const std::vector<store::CacheRecord>& records, int64_t now);
std::string record_sums(const std::vector<store::CacheRecord>& records);
Json record_json(const store::CacheRecord& record);

}  // namespace corten::cli
