// What only one request at a time does, by a key: others that want the same wait.
#pragma once
#include <mutex>
#include <string>
#include <utility>

#include "registry/server/service.h"

namespace corten::registry::serving {

class Service::Flight {
 public:
  Flight(Service& service, std::string key) : service_(service), key_(std::move(key)) {
    std::unique_lock lock(service_.flights_mutex_);
    service_.landed_.wait(lock, [&] { return !service_.flights_.contains(key_); });
    service_.flights_.insert(key_);
  }
  ~Flight() {
    {
      std::lock_guard lock(service_.flights_mutex_);
      service_.flights_.erase(key_);
    }
    service_.landed_.notify_all();
  }
  Flight(const Flight&) = delete;

 private:
  Service& service_;
  const std::string key_;
};

}  // namespace corten::registry::serving
