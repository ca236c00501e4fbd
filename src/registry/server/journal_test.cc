#include "registry/server/journal.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>

#include "base/beneath.h"
#include "base/error.h"
#include "base/temp_dir.h"

namespace corten::registry::serving {
namespace {

const std::string kTag = "repositories/a/_tags/v1";

std::string read_back(Tree& tree, const std::string& path) {
  return tree.read(path, 1 << 20).value_or("(none)");
}

// The journal's files as they are on the disk now: what a machine that loses its power has of them.
void copy_journal(const std::string& from, const std::string& to) {
  make_directories_on_host(to + "/journal");
  for (const char* name : {"/journal/0", "/journal/1"}) write_file_atomic(to + name, read_file(from + name));
  write_file_atomic(to + "/format", read_file(from + "/format"));
}

TEST(RegistryJournal, ChangesInTheirOrder) {
  const TempDir directory = TempDir::for_test();
  Tree tree(directory / "r");
  Journal journal(tree);
  journal.commit_now({Change::put(kTag, "one"), Change::put(kTag, "two")});
  EXPECT_EQ(read_back(tree, kTag), "two");
  journal.commit_now({Change::remove(kTag), Change::remove("repositories/b/_tags/none")});
  EXPECT_EQ(read_back(tree, kTag), "(none)");
  tree.put("repositories/a/_uploads/x", "bytes");
  journal.commit_now({Change::move("repositories/a/_uploads/x", "blobs/sha256/ab/abc")});
  EXPECT_EQ(read_back(tree, "blobs/sha256/ab/abc"), "bytes");
  EXPECT_FALSE(tree.exists("repositories/a/_uploads/x"));
}

// Only the journal's files survive, none of the tree: all that was acknowledged comes back.
TEST(RegistryJournal, EverythingComesBackFromTheJournal) {
  const TempDir directory = TempDir::for_test();
  {
    Tree tree(directory / "r");
    Journal journal(tree);
    for (int i = 0; i < 50; i++)
      journal.commit_now({Change::put(fmt::format("repositories/a/_tags/t{}", i), std::to_string(i)),
                          Change::put(kTag, std::to_string(i))});
    journal.commit_now({Change::remove("repositories/a/_tags/t7")});
    copy_journal(directory / "r", directory / "crashed");
  }
  Tree tree(directory / "crashed");
  Journal journal(tree);
  EXPECT_EQ(tree.names("repositories/a/_tags").size(), 50u);
  EXPECT_EQ(read_back(tree, kTag), "49");
  EXPECT_EQ(read_back(tree, "repositories/a/_tags/t31"), "31");
  EXPECT_FALSE(tree.exists("repositories/a/_tags/t7"));
}

// A record that was being written when the machine stopped does not count, nor what lies behind it.
TEST(RegistryJournal, ATornRecordEndsIt) {
  const TempDir directory = TempDir::for_test();
  const Change first = Change::put(kTag, "first"), second = Change::put(kTag, "second");
  const std::string good = encode_record(5, {&first});
  for (const size_t broken : {size_t{0}, size_t{5}, size_t{9}, good.size() - 1}) {
    std::string torn = encode_record(5, {&second});
    torn[broken % torn.size()] = static_cast<char>(torn[broken % torn.size()] ^ 1);
    const std::string name = fmt::format("r{}", broken);
    { Tree made(directory / name); }
    write_file_atomic(directory / name + "/journal/0", good + torn + good);
    Tree tree(directory / name);
    Journal journal(tree);
    EXPECT_EQ(read_back(tree, kTag), "first") << broken;
  }
}

// The older generation first, and of a file only the records of its first one's.
TEST(RegistryJournal, Generations) {
  const TempDir directory = TempDir::for_test();
  const Change older = Change::put(kTag, "older"), newer = Change::put(kTag, "newer"),
               oldest = Change::put(kTag, "oldest");
  { Tree made(directory / "r"); }
  write_file_atomic(directory / "r/journal/0", encode_record(9, {&newer}) + encode_record(7, {&oldest}));
  write_file_atomic(directory / "r/journal/1", encode_record(8, {&older}));
  Tree tree(directory / "r");
  Journal journal(tree);
  EXPECT_EQ(read_back(tree, kTag), "newer");
}

TEST(RegistryJournal, ItsFilesAreUsedInTurn) {
  const TempDir directory = TempDir::for_test();
  const std::string big(10'000, 'b');
  {
    Tree tree(directory / "r");
    Journal journal(tree, {.max_file_bytes = 64 << 10});
    for (int i = 0; i < 100; i++)
      journal.commit_now({Change::put(fmt::format("repositories/a/_tags/t{}", i), big + std::to_string(i))});
    copy_journal(directory / "r", directory / "crashed");
    EXPECT_LT(read_file(directory / "r/journal/0").size(), size_t{2} << 20);
  }
  EXPECT_EQ(read_file(directory / "r/journal/0").size(), 0u)
      << "an orderly end leaves nothing to be made again";
  EXPECT_EQ(read_file(directory / "r/journal/1").size(), 0u);
  // The last ones are there; the first were in the synced tree, which the copy has not.
  Tree tree(directory / "crashed");
  Journal journal(tree, {.max_file_bytes = 64 << 10});
  for (const char* last : {"95", "96", "97", "98", "99"})
    EXPECT_TRUE(read_back(tree, fmt::format("repositories/a/_tags/t{}", last)) == big + last) << last;
  EXPECT_FALSE(tree.exists("repositories/a/_tags/t1"));
}

TEST(RegistryJournal, ManyAtOnce) {
  const TempDir directory = TempDir::for_test();
  Tree tree(directory / "r");
  std::atomic<int> done = 0;
  {
    Journal journal(tree);
    for (int i = 0; i < 2000; i++)
      journal.commit({Change::put(fmt::format("repositories/a/_tags/t{}", i), "x")},
                     [&](std::exception_ptr failure) {
                       if (!failure) done++;
                     });
  }
  EXPECT_EQ(done, 2000) << "its end waits for all";
  EXPECT_EQ(tree.names("repositories/a/_tags").size(), 2000u);
}

// What is still to be written at the end may fill both files, and more.
TEST(RegistryJournal, AnEndWithMuchToWrite) {
  const TempDir directory = TempDir::for_test();
  Tree tree(directory / "r");
  {
    Journal journal(tree, {.max_file_bytes = 1 << 10});
    for (int i = 0; i < 4000; i++)
      journal.commit({Change::put(fmt::format("repositories/a/_tags/t{}", i % 50), std::to_string(i))},
                     [](const std::exception_ptr& failure) { EXPECT_FALSE(failure); });
  }
  EXPECT_EQ(read_back(tree, "repositories/a/_tags/t49"), "3999");
}

TEST(RegistryJournal, RemovedIfUnused) {
  const TempDir directory = TempDir::for_test();
  Tree tree(directory / "r");
  tree.set_mark_after(0);
  Journal journal(tree);
  const std::string old_path = "blobs/sha256/aa/old", used_path = "blobs/sha256/aa/used";
  journal.commit_now({Change::put(old_path, "x"), Change::put(used_path, "x")});
  for (const std::string& path : {old_path, used_path}) {
    const timespec times[2] = {{1000, 0}, {1000, 0}};
    ASSERT_EQ(utimensat(tree.root(), path.c_str(), times, 0), 0);
  }
  EXPECT_TRUE(tree.use(used_path));
  journal.commit_now({Change::remove_if_unused(old_path, 2000), Change::remove_if_unused(used_path, 2000)});
  EXPECT_FALSE(tree.exists(old_path));
  EXPECT_TRUE(tree.exists(used_path));
  EXPECT_FALSE(tree.use(old_path));
}

// One failure is one request's: the others are told of theirs.
TEST(RegistryJournal, AChangeThatCannotBeMade) {
  const TempDir directory = TempDir::for_test();
  Tree tree(directory / "r");
  Journal journal(tree);
  journal.commit_now({Change::put("repositories/a/_tags", "a file where a directory must be")});
  EXPECT_THROW(journal.commit_now({Change::put(kTag, "x")}), Error);
  journal.commit_now({Change::put("repositories/b/_tags/v1", "x")});
  EXPECT_EQ(read_back(tree, "repositories/b/_tags/v1"), "x");
}

// What is written down is made as soon as the tree takes it, unless something newer is there by then.
TEST(RegistryJournal, WhatCouldNotBeMadeIsMadeLater) {
  const TempDir directory = TempDir::for_test();
  const std::string blocked = "repositories/a/_tags", manifest = "repositories/c/_manifests/sha256/aa",
                    late = "repositories/c/_tags/late";
  {
    Tree tree(directory / "r");
    Journal journal(tree, {.max_file_bytes = 64 << 10});
    journal.commit_now({Change::put(blocked, "a file where a directory must be")});
    EXPECT_THROW(
        journal.commit_now({Change::put(manifest, "m"), Change::put(kTag, "x"), Change::put(late, "l")}),
        Error);
    EXPECT_EQ(read_back(tree, manifest), "m");
    EXPECT_EQ(read_back(tree, late), "(none)") << "none after the one that could not be made";
    EXPECT_THROW(journal.commit_now({Change::put("repositories/a/_tags/v2", "older")}), Error);
    EXPECT_THROW(journal.commit_now({Change::put("repositories/a/_tags/v2", "newer")}), Error);
    // The files are used in turn meanwhile: it is not forgotten.
    for (int i = 0; i < 100; i++)
      journal.commit_now({Change::put(fmt::format("repositories/b/_tags/t{}", i), std::string(10'000, 'b'))});
    copy_journal(directory / "r", directory / "crashed");
    EXPECT_THROW(journal.settle(), Error);
    ASSERT_EQ(unlinkat(tree.root(), blocked.c_str(), 0), 0);
    journal.settle();
    EXPECT_EQ(read_back(tree, kTag), "x");
    EXPECT_EQ(read_back(tree, late), "l");
    EXPECT_EQ(read_back(tree, "repositories/a/_tags/v2"), "newer");
  }
  EXPECT_EQ(read_file(directory / "r/journal/0").size(), 0u);
  Tree tree(directory / "crashed");
  Journal journal(tree);
  EXPECT_EQ(read_back(tree, kTag), "x");
  EXPECT_EQ(read_back(tree, late), "l");
  EXPECT_EQ(read_back(tree, "repositories/a/_tags/v2"), "newer");
}

TEST(RegistryJournal, AnEndWithSomethingUnmadeLeavesTheJournal) {
  const TempDir directory = TempDir::for_test();
  const std::string blocked = "repositories/a/_tags";
  {
    Tree tree(directory / "r");
    Journal journal(tree);
    journal.commit_now({Change::put(blocked, "a file where a directory must be")});
    EXPECT_THROW(journal.commit_now({Change::put(kTag, "x")}), Error);
  }
  ASSERT_EQ(unlink((directory / "r/" + blocked).c_str()), 0);
  Tree tree(directory / "r");
  EXPECT_THROW(Journal journal(tree), Error) << "its first change makes the file again";
}

TEST(RegistryJournal, RecordsComeBackAsTheyWere) {
  const Change put = Change::put("blobs/sha256/aa/x", std::string("\0\n\xff", 3)),
               remove = Change::remove(kTag),
               move = Change::move("repositories/a/_uploads/u", "blobs/sha256/aa/x");
  const std::string bytes = encode_record(77, {&put, &remove, &move});
  const std::optional<Record> record = decode_record(bytes + "more");
  ASSERT_TRUE(record);
  EXPECT_EQ(record->generation, 77u);
  EXPECT_EQ(record->size, bytes.size());
  EXPECT_EQ(record->changes, (std::vector<Change>{put, remove, move}));
  for (const char* path : {"../x", "/etc/passwd", "blobs/../../x", "format", "blobs/", "blobs/.."}) {
    const Change bad = Change::put(path, "x");
    EXPECT_FALSE(decode_record(encode_record(1, {&bad}))) << path;
  }
}

}  // namespace
}  // namespace corten::registry::serving
