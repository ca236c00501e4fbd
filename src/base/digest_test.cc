#include "base/digest.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace corten {

TEST(Digest, OfKnownBytes) {
  EXPECT_EQ(Digest::of("").to_string(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Digest::of("abc").hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256().update("a").update("bc").finish(), Digest::of("abc"));
}

TEST(Digest, ParsesOnlyItsOwnForm) {
  Digest d = Digest::of("x");
  EXPECT_EQ(Digest::parse(d.to_string()), d);
  for (std::string bad : {std::string(), std::string("sha256:"), "sha512:" + d.hex(), d.to_string() + "0",
                          std::string("sha256:") + std::string(64, 'G'), "sha256:" + std::string(64, 'A')})
    EXPECT_THROW(Digest::parse(bad), Error) << bad;
}

// RFC 4231, test cases 1 and 2.
TEST(Digest, Keyed) {
  EXPECT_EQ(keyed_digest(std::string(20, '\x0b'), "Hi There").hex(),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(keyed_digest("Jefe", "what do ya want for nothing?").hex(),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

// A hash that is kept in the middle gives the digest of the whole, wherever it was cut.
TEST(Digest, GoesOnFromASavedState) {
  std::string text;
  for (int i = 0; i < 300; i++) text += static_cast<char>(i * 7);
  for (size_t cut = 0; cut <= text.size(); cut++) {
    Sha256 first;
    first.update(std::string_view(text).substr(0, cut));
    auto second = Sha256::restore(first.save());
    ASSERT_TRUE(second) << cut;
    EXPECT_EQ(second->update(std::string_view(text).substr(cut)).finish(), Digest::of(text)) << cut;
  }
}

TEST(Digest, RestoresOnlyWhatWasSaved) {
  std::string saved = Sha256().update("some").save();
  EXPECT_FALSE(Sha256::restore(""));
  EXPECT_FALSE(Sha256::restore(saved + "x"));
  EXPECT_FALSE(Sha256::restore(saved.substr(0, saved.size() - 1)));
}

}  // namespace corten
