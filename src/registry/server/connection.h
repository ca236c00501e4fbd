// One client's connection: requests are read one after the other, given to the service, answered. Included by
// connection.cc and server.cc alone, since it shows Asio.
#pragma once
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "registry/server/channel.h"
#include "registry/server/server.h"

namespace corten::registry::serving {

class Connection;

// A thread's own.
struct Loop {
  boost::asio::io_context context{1};
  std::vector<char> buffer = std::vector<char>(128 << 10);
  std::unordered_set<std::shared_ptr<Connection>> connections;
  bool is_ending = false;
};

// All functions are called on its loop's thread.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Loop& loop, boost::asio::ip::tcp::socket socket, std::unique_ptr<Channel> channel,
             Service& service, const ServerLimits& limits, std::string peer, std::shared_ptr<void> slot);
  ~Connection();
  void start();
  // Closes it when a limit of time has passed.
  void check_time(int64_t now_ns);
  // The server ends: closes it when it is idle, else after its answer.
  void end();
  void close();

 private:
  enum class State {
    kIdle,
    kHead,
    kBody,
    kWaiting,
    kAnswering,
    kStarving,  // in the midst of an answer whose bytes still come from elsewhere
    kLingering,
    kClosed
  };
  struct Parsing;  // the parser of Beast, and the call

  void wait(bool for_write);
  void on_ready();
  void read_more();
  void take(std::string_view bytes);
  // Gives how many were of use; `needs_more`: the rest is to come again, with what follows.
  size_t parse(std::string_view bytes, bool& needs_more);
  void begin_request();
  // Asks the service; `again`: it has looked at the credentials meanwhile.
  void begin_call(bool again);
  void go_on_prepared();
  // After a part of a request was taken: ends it, or refuses the rest.
  void settle();
  void record(unsigned status);
  void take_body(std::string_view bytes);
  void end_request();
  void refuse_malformed(unsigned status, std::string_view words);
  Reply reply();
  void answer(Answer answer);
  void write_more();
  // What may be sent of the file now; nothing when it waits for that, or the connection was closed.
  std::optional<size_t> file_step();
  void go_on_fed();
  void finish_answer();
  void enter(State state);
  bool is_reading() const { return state_ <= State::kBody; }

  Loop& loop_;
  boost::asio::ip::tcp::socket socket_;
  std::unique_ptr<Channel> channel_;
  Service& service_;
  const ServerLimits& limits_;
  const std::string peer_;
  const std::shared_ptr<void> slot_;  // of the limit on connections

  State state_ = State::kIdle;
  std::unique_ptr<Parsing> parsing_;
  std::string pending_;  // read, not parsed
  std::string out_;      // to be written, from out_at_
  size_t out_at_ = 0;
  std::optional<FileBody> file_;
  std::optional<Answer> early_;  // the answer to a request whose body still comes
  uint64_t dropped_ = 0;         // bytes of that body
  bool is_last_ = false;         // closed after the answer
  bool is_head_ = false;
  bool is_taking_ = false;
  bool expects_word_ = false;  // the client waits for "100 Continue"
  bool is_waiting_ = false;
  int64_t since_ns_ = 0;  // of the state, or of the window
  uint64_t window_ = 0;   // bytes that went through since
};

}  // namespace corten::registry::serving
