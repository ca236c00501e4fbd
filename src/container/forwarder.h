// Published ports at work: what arrives on a socket of the machine goes to 127.0.0.1 of the container's
// network.
//
// The listening sockets were bound on the machine's side before the monitor moved into the container's
// network namespace; every socket that is made afterwards belongs there. So one thread serves both sides and
// nothing is configured anywhere. The container sees 127.0.0.1 as the other end; a service that listens there
// only is reached too.
#pragma once
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "container/event_loop.h"
#include "container/port.h"

namespace corten::container {

class Forwarder {
 public:
  static constexpr size_t kMaxConnections = 1024, kMaxFlows = 256;

  // Serves until it is destroyed.
  Forwarder(std::vector<Listener> listeners, EventLoop& loop);
  ~Forwarder();
  Forwarder(const Forwarder&) = delete;

 private:
  struct Side {
    UniqueFd fd;
    std::string pending;  // to be written to it
    bool is_connecting = false, is_read_out = false, is_shut = false, is_watched = true;
  };
  struct Connection {
    Side outer, inner;
    uint16_t port = 0;
    bool tried_six = false;
  };
  struct Flow {
    UniqueFd fd;
    std::string from;  // a sockaddr
    int64_t used_ns = 0;
  };
  struct Udp {
    Listener* listener;
    std::map<std::string, Flow> flows;
  };
  using At = std::list<Connection>::iterator;

  void accept_tcp(Listener& listener);
  bool connect_inside(At connection, bool six);
  void take_event(At connection, bool is_outer, uint32_t events);
  void serve(At connection);
  bool pump(Side& from, Side& to);
  void update(At connection);
  void drop(At connection, bool reset);
  void watch_listeners(bool on);

  void receive_udp(Udp& udp);
  Flow* flow_of(Udp& udp, const std::string& from);
  void answer_udp(Udp& udp, Flow& flow);
  void sweep_flows();

  EventLoop& loop_;
  std::vector<Listener> listeners_;
  std::list<Connection> connections_;
  std::list<Udp> udp_;
  bool is_full_ = false;
  uint64_t sweep_ = 0;
};

}  // namespace corten::container
