#include "cache/mount_recipe.h"

#include <gtest/gtest.h>

#include <functional>

#include "archive/source.h"
#include "archive/zstd_writer.h"
#include "base/error.h"

namespace corten::cache {
namespace {

using Type = MountEntry::Type;

MountChunk chunk_of(const std::string& plain) {
  return {Digest::of(plain), static_cast<uint32_t>(plain.size()),
          oci::describe(kChunkMediaType, "packed " + plain)};
}

// A directory with a file of 5 bytes, its second name and a link; a gap of 2; the record of 3.
MountRecipe recipe() {
  MountRecipe r;
  r.entries = {{.type = Type::kDirectory, .mode = 0755},
               {.type = Type::kDirectory, .path = "d", .mode = 01777, .uid = 1000, .gid = 50, .mtime_ns = -1},
               {.type = Type::kFile, .path = "d/f", .mode = 04755, .mtime_ns = 12'345'678'901, .size = 5},
               {.type = Type::kHardLink, .path = "d/g", .link = "d/f"},
               {.type = Type::kSymlink, .path = "d/l", .link = "/usr/bin/python3"},
               {.type = Type::kGap, .size = 2},
               {.type = Type::kFile, .path = "d.x"},
               {.type = Type::kSeen, .size = 3}};
  r.chunks = {chunk_of("abcde"), chunk_of("fg"), chunk_of("abc")};
  return r;
}

TEST(MountRecipe, IsReadAsItWasWritten) {
  EXPECT_EQ(parse_recipe(emit_recipe(recipe())), recipe());
  EXPECT_EQ(recipe().bytes(), 10u);
  EXPECT_EQ(known_chunks(recipe()).at(Digest::of("fg")), chunk_of("fg").blob);
  MountRecipe twice = recipe();
  twice.chunks[2] = twice.chunks[0];
  EXPECT_EQ(chunk_blobs(twice).size(), 2u);
}

TEST(MountRecipe, OneThatLiesIsRefused) {
  const std::vector<std::pair<const char*, std::function<void(MountRecipe&)>>> lies = {
      {"no entries", [](MountRecipe& r) { r.entries.clear(), r.chunks.clear(); }},
      {"not what is mounted first", [](MountRecipe& r) { r.entries.erase(r.entries.begin()); }},
      {"what is mounted is a file", [](MountRecipe& r) { r.entries[0].type = Type::kFile; }},
      {"what is mounted twice", [](MountRecipe& r) { r.entries[1].path = ""; }},
      {"absolute", [](MountRecipe& r) { r.entries[6].path = "/x"; }},
      {"upwards", [](MountRecipe& r) { r.entries[6].path = ".."; }},
      {"upwards in the middle", [](MountRecipe& r) { r.entries[2].path = "d/../f"; }},
      {"upwards below a directory", [](MountRecipe& r) { r.entries[2].path = "d/.."; }},
      {"empty component", [](MountRecipe& r) { r.entries[2].path = "d//f"; }},
      {"trailing slash", [](MountRecipe& r) { r.entries[6].path = "x/"; }},
      {"a zero byte", [](MountRecipe& r) { r.entries[6].path = std::string("x\0y", 3); }},
      {"a long name", [](MountRecipe& r) { r.entries[6].path = std::string(256, 'x'); }},
      {"a long path", [](MountRecipe& r) { r.entries[6].path = std::string(5000, 'x'); }},
      {"twice", [](MountRecipe& r) { r.entries[4].path = "d/g"; }},
      {"no order", [](MountRecipe& r) { std::swap(r.entries[1], r.entries[6]); }},
      {"below a link", [](MountRecipe& r) { r.entries[6].path = "d/l/x"; }},
      {"below a file", [](MountRecipe& r) { r.entries[3].path = "d/f/x"; }},
      {"in no directory", [](MountRecipe& r) { r.entries[6].path = "e/x"; }},
      {"hard link out", [](MountRecipe& r) { r.entries[3].link = "../../etc/shadow"; }},
      {"hard link to a later file", [](MountRecipe& r) { r.entries[3].link = "d.x"; }},
      {"hard link to a directory", [](MountRecipe& r) { r.entries[3].link = "d"; }},
      {"hard link through a link",
       [](MountRecipe& r) { r.entries[6] = {.type = Type::kHardLink, .path = "e", .link = "d/l"}; }},
      {"link to nothing", [](MountRecipe& r) { r.entries[4].link = ""; }},
      {"link with a zero byte", [](MountRecipe& r) { r.entries[4].link = std::string("a\0b", 3); }},
      {"mode", [](MountRecipe& r) { r.entries[2].mode = 010000; }},
      {"owner that is none", [](MountRecipe& r) { r.entries[2].uid = UINT32_MAX; }},
      {"group that is none", [](MountRecipe& r) { r.entries[2].gid = UINT32_MAX; }},
      {"two records", [](MountRecipe& r) { r.entries[5].type = Type::kSeen; }},
      {"more bytes than chunks", [](MountRecipe& r) { r.entries[2].size = 6; }},
      {"fewer bytes than chunks", [](MountRecipe& r) { r.chunks.push_back(chunk_of("x")); }},
      {"huge", [](MountRecipe& r) { r.entries[2].size = UINT64_MAX - 4; }},
      {"an empty chunk", [](MountRecipe& r) { r.chunks.push_back(chunk_of("")); }},
      {"a huge chunk", [](MountRecipe& r) { r.chunks[0].size = UINT32_MAX; }},
      {"a huge blob", [](MountRecipe& r) { r.chunks[0].blob.size = 100'000; }},
  };
  for (const auto& [name, lie] : lies) {
    MountRecipe bad = recipe();
    lie(bad);
    try {
      parse_recipe(emit_recipe(bad));
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << name;
    }
  }
}

TEST(MountRecipe, AnyBytesAreRefused) {
  const std::string good = emit_recipe(recipe()), body = emit_recipe_body(recipe());
  for (size_t size = 0; size < good.size(); size++) EXPECT_THROW(parse_recipe(good.substr(0, size)), Error);
  for (size_t size = 0; size < body.size(); size++)
    EXPECT_THROW(parse_recipe_body(body.substr(0, size)), Error);
  EXPECT_THROW(parse_recipe_body(body + "x"), Error);
  EXPECT_THROW(parse_recipe_body(std::string(8, '\xFF')), Error) << "counts are not believed";
  // A frame of zeros that has no end.
  archive::StringSink sink;
  sink.write("corten-mount-1\n");
  archive::ZstdWriter writer(sink);
  const std::string zeros(1 << 20, '\0');
  for (size_t i = 0; i <= kMaxRecipeBytes; i += zeros.size()) writer.write(zeros);
  writer.finish();
  EXPECT_THROW(parse_recipe(sink.bytes()), Error);
}

}  // namespace
}  // namespace corten::cache
