// A request to a cloud's own API, and its whole answer: small, bounded, never shown.
#pragma once
#include <string>

#include "http/client.h"

namespace corten::registry::cloud {

inline constexpr size_t kMaxAnswerBytes = 8 << 20;

struct Answer {
  unsigned status = 0;
  std::string body;
  http::Fields fields;
  bool is_good() const { return status >= 200 && status < 300; }
  std::string field(std::string_view name) const;
};

// Every status is an answer; a redirect is one too, for no credential may follow it. Error(kIo) when there
// is none, Error(kInvalid) when it is too large. The query of the address is in no error: it may be a
// signature.
Answer ask(http::Client& client, http::Request request);
// The same, again after a pause when there was no answer or one of the states that pass (408, 429, 5xx).
Answer ask_again(http::Client& client, const http::Request& request);

// "a=b&c=d", escaped.
std::string form(const std::vector<std::pair<std::string, std::string>>& members);

// The text of the first element of that name, entities resolved; "" when there is none. What Amazon's older
// services answer is flat enough for it.
std::string xml_text(std::string_view xml, std::string_view element);

// The state, and what the body says of the reason: "403 DENIED: no".
std::string refusal(const Answer& answer);

}  // namespace corten::registry::cloud
