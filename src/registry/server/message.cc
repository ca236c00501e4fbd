#include "registry/server/message.h"

#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"

namespace corten::registry::serving {

std::string_view RequestHead::field(std::string_view name) const {
  for (const auto& [key, value] : fields)
    if (iequals(key, name)) return value;
  return {};
}

Answer json_answer(std::string body, std::string_view content_type) {
  return {200, {{"Content-Type", std::string(content_type)}}, std::move(body)};
}

Answer refuse(unsigned status, std::string_view code, std::string_view message, std::string_view detail) {
  Json error = Json::object({{"code", code}, {"message", message}});
  if (!detail.empty()) error.set("detail", printable(detail));
  Answer answer = json_answer(Json::object({{"errors", Json(Json::Array{error})}}).dump());
  answer.status = status;
  return answer;
}

}  // namespace corten::registry::serving
