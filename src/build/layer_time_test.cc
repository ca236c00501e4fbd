#include "build/layer_time.h"

#include <gtest/gtest.h>

#include "base/temp_dir.h"
#include "store/store.h"

namespace corten::build {

static store::Entry file(std::string_view path, std::optional<int64_t> time_ns) {
  store::Entry e;
  e.path = RootfsPath(path);
  e.mode = 0644;
  e.time_ns = time_ns;
  return e;
}

TEST(LayerTime, OneSecondAfterTheNewestBeneath) {
  constexpr int64_t kSecond = 1'000'000'000, kNow = 5000 * kSecond;
  TempDir dir = TempDir::for_test();
  store::Store store(dir / "store");
  store::LayerRef base{
      store.layers().save(store::Manifest({file("a", 1000 * kSecond + 1), file("future", 9000 * kSecond)})),
      0};
  EXPECT_EQ(newest_of_base({base}, store.layers(), kNow, 7), 1001);
  EXPECT_EQ(newest_of_base({}, store.layers(), kNow, 7), 7);
  StageRootfs rootfs;
  rootfs.newest = 1001;
  store::Manifest copied({file("b", std::nullopt)}), archive({file("c", 3000 * kSecond)});
  rootfs = with_layer(rootfs, {{copied.id(), rootfs.newest + 1}, false, false, false}, copied, kNow);
  EXPECT_EQ(rootfs.newest, 1002);
  rootfs = with_layer(rootfs, {{archive.id(), rootfs.newest + 1}, false, false, false}, archive, kNow);
  EXPECT_EQ(rootfs.newest, 3000);
}

TEST(LayerTime, LayersAboveTheLastRunTellTheirContentByTheirTime) {
  store::Manifest one({file("page", std::nullopt)}), two({file("other", std::nullopt)});
  StageRootfs rootfs;
  rootfs.layers = {{{one.id(), 100}, true, false, false},
                   {{one.id(), 200}, false, false, false},
                   {{one.id(), 201}, false, false, true},
                   {{one.id(), 202}, false, false, false},
                   {{two.id(), 203}, false, true, false}};
  EXPECT_EQ(exported_time(rootfs, 0), 100);
  EXPECT_EQ(exported_time(rootfs, 1), 200);
  EXPECT_EQ(exported_time(rootfs, 2), 201);
  EXPECT_GE(exported_time(rootfs, 3), 202);
  EXPECT_LT(exported_time(rootfs, 3), 202 + 3600);
  EXPECT_EQ(exported_time(rootfs, 4), kScratchTime);
  StageRootfs changed = rootfs;
  changed.layers[3].ref.id = two.id();
  EXPECT_NE(exported_time(changed, 3), exported_time(rootfs, 3));
}

}  // namespace corten::build
