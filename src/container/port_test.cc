#include "container/port.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/error.h"
#include "container/test_image.h"

namespace corten::container {

TEST(Port, AllSpellings) {
  EXPECT_EQ(parse_ports("8000:80"), (std::vector<Port>{{"", 8000, 80, "tcp"}}));
  EXPECT_EQ(parse_ports("127.0.0.1:8000:80/udp"), (std::vector<Port>{{"127.0.0.1", 8000, 80, "udp"}}));
  EXPECT_EQ(parse_ports("80"), (std::vector<Port>{{"", 0, 80, "tcp"}}));
  EXPECT_EQ(parse_ports("127.0.0.1::80"), (std::vector<Port>{{"127.0.0.1", 0, 80, "tcp"}}));
  EXPECT_EQ(parse_ports("[::1]:8000:80"), (std::vector<Port>{{"::1", 8000, 80, "tcp"}}));
  EXPECT_EQ(parse_ports("8000-8001:90-91").size(), 2u);
  EXPECT_EQ(parse_ports("8000-8001:90-91")[1], (Port{"", 8001, 91, "tcp"}));
  for (const char* bad : {"", "x", "80:", "8000:80/sctp", "1.2.3:8000:80", "70000:80", "8000-8001:80",
                          "8000:0", "[::1:8000:80", "9-8", "-1:80", ":::"})
    EXPECT_THROW(parse_ports(bad), Error) << bad;
}

TEST(Port, OneInUseNamesItsHolder) {
  uint16_t number = free_port();
  std::vector<Listener> first = bind_ports({{"127.0.0.1", number, 80, "tcp"}});
  ASSERT_EQ(first.size(), 1u);
  try {
    bind_ports({{"127.0.0.1", number, 80, "tcp"}});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.what(),
              fmt::format("port 127.0.0.1:{}: already in use by \"test_container\" (process {})", number,
                          getpid()));
    EXPECT_NE(error.hint().find("publish on another"), std::string::npos);
  }
  std::vector<Listener> any = bind_ports({{"", 0, 80, "tcp"}});
  EXPECT_NE(any[0].port.host, 0);
}

}  // namespace corten::container
