#include "registry/cloud/answer.h"

#include <fmt/core.h>

#include "base/error.h"
#include "base/strings.h"
#include "registry/error_body.h"

namespace corten::registry::cloud {

namespace {

bool may_pass(unsigned status) {
  return status == 408 || status == 429 || status >= 500;
}

}  // namespace

std::string Answer::field(std::string_view name) const {
  for (const auto& [key, value] : fields)
    if (iequals(key, name)) return value;
  return {};
}

Answer ask(http::Client& client, http::Request request) {
  request.any_status = true;
  request.follows_redirects = false;
  std::string query;
  if (size_t at = request.url.find('?'); at != std::string::npos) query = request.url.substr(at);
  try {
    http::Response response = client.open(request);
    Answer answer{response.status, {}, response.fields};
    if (request.method != "HEAD") answer.body = archive::read_rest(*response.body, kMaxAnswerBytes);
    return answer;
  } catch (const Error& error) {
    if (query.size() < 2) throw;
    throw Error(error.code(), replace_all(error.what(), query, "?...")).with_hint(error.hint());
  }
}

Answer ask_again(http::Client& client, const http::Request& request) {
  Answer answer;
  try {
    client.with_retries([&] {
      answer = ask(client, request);
      if (may_pass(answer.status)) throw Error(ErrorCode::kIo, "");
    });
  } catch (const Error& error) {
    if (!may_pass(answer.status)) throw;
  }
  return answer;
}

std::string form(const std::vector<std::pair<std::string, std::string>>& members) {
  std::string text;
  for (const auto& [name, value] : members)
    text += (text.empty() ? "" : "&") + http::percent_encode(name) + "=" + http::percent_encode(value);
  return text;
}

std::string xml_text(std::string_view xml, std::string_view element) {
  std::string open = fmt::format("<{}>", element), close = fmt::format("</{}>", element);
  size_t begin = xml.find(open);
  if (begin == std::string_view::npos) return {};
  begin += open.size();
  size_t end = xml.find(close, begin);
  if (end == std::string_view::npos) return {};
  std::string text(trim(xml.substr(begin, end - begin)));
  for (auto [entity, value] : {std::pair{"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&apos;", "'"}})
    text = replace_all(text, entity, value);
  return replace_all(text, "&amp;", "&");
}

std::string refusal(const Answer& answer) {
  std::string text = error_text(answer.body);
  return text.empty() ? std::to_string(answer.status) : fmt::format("{} {}", answer.status, text);
}

}  // namespace corten::registry::cloud
