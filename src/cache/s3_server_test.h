// A bucket's server for tests: it checks each request's signature as Amazon does, from what came over the
// wire.
#pragma once
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <set>

#include "base/clock.h"
#include "base/digest.h"
#include "base/strings.h"
#include "http/server_test.h"
#include "http/url.h"
#include "registry/cloud/sigv4.h"

namespace corten::cache {

class S3Server {
 public:
  struct Asked {
    std::string method, host, path, query_text, body;
    std::map<std::string, std::string> fields;  // names in lower case
    registry::cloud::Pairs query;
    std::string parameter(std::string_view name) const {
      for (const auto& [key, value] : query)
        if (key == name) return value;
      return {};
    }
    bool has(std::string_view name) const {
      return std::any_of(query.begin(), query.end(), [&](const auto& pair) { return pair.first == name; });
    }
  };
  // Gives an answer of its own, or "" for the usual one.
  using Fault = std::function<std::string(const Asked&)>;

  S3Server() : server_([this](const std::string& request) { return handle(request); }) {}

  uint16_t port() const { return server_.port(); }
  std::string url() const { return server_.url(""); }
  void fail_next(int times, Fault fault) {
    for (int i = 0; i < times; i++) faults_.push_back(fault);
  }

  registry::cloud::AwsCredentials known{"AKIDEXAMPLEOFTESTS", "wJalr/secret+KEY", "", ""};
  std::string region = "eu-west-1";
  bool is_path_style = true;
  std::map<std::string, std::string> objects;  // "bucket/key"
  std::map<std::string, std::map<int, std::string>> uploads;
  std::vector<Asked> log;

  static std::string refuse(std::string_view status, std::string_view code, std::string_view message,
                            std::string_view more = "") {
    return http::answer(status,
                        fmt::format("<?xml version=\"1.0\"?><Error><Code>{}</Code><Message>{}</Message>"
                                    "<StringToSign>raw</StringToSign></Error>",
                                    code, message),
                        more);
  }

 private:
  static Asked parse(const std::string& request) {
    Asked asked;
    const size_t end = request.find("\r\n\r\n");
    asked.body = request.substr(end + 4);
    std::vector<std::string> lines = split(request.substr(0, end), '\n');
    std::vector<std::string> first = split_words(lines[0]);
    asked.method = first.at(0);
    const size_t question = first.at(1).find('?');
    asked.path = http::percent_decode(first[1].substr(0, question));
    if (question != std::string::npos) asked.query_text = first[1].substr(question + 1);
    for (const std::string& pair : split(asked.query_text, '&')) {
      if (pair.empty()) continue;
      const size_t equals = std::min(pair.find('='), pair.size());
      asked.query.emplace_back(http::percent_decode(pair.substr(0, equals)),
                               http::percent_decode(pair.substr(std::min(equals + 1, pair.size()))));
    }
    for (size_t i = 1; i < lines.size(); i++) {
      const size_t colon = lines[i].find(':');
      asked.fields[to_lower(lines[i].substr(0, colon))] = std::string(trim(lines[i].substr(colon + 1)));
    }
    asked.host = asked.fields["host"];
    return asked;
  }

  // "" when the request is signed as it should be.
  std::string check_signature(const Asked& asked) const {
    const std::string given = asked.fields.contains("authorization") ? asked.fields.at("authorization") : "";
    auto part = [&](const std::string& name) {
      const size_t at = given.find(name + "=");
      if (at == std::string::npos) return std::string();
      const size_t begin = at + name.size() + 1;
      return given.substr(begin, std::min(given.find(',', begin), given.size()) - begin);
    };
    if (part("Credential").substr(0, part("Credential").find('/')) != known.access_key)
      return refuse("403 Forbidden", "InvalidAccessKeyId", "The key does not exist.");
    registry::cloud::RequestToSign to_sign{
        .method = asked.method, .path = asked.path, .query = asked.query, .normalizes_path = false};
    std::set<std::string> names;
    for (const std::string& name : split(part("SignedHeaders"), ';')) {
      names.insert(name);
      if (asked.fields.contains(name)) to_sign.fields.emplace_back(name, asked.fields.at(name));
    }
    for (const char* needed : {"host", "x-amz-date", "x-amz-content-sha256"})
      if (!names.contains(needed)) return refuse("403 Forbidden", "AccessDenied", "unsigned fields");
    for (const auto& [name, value] : asked.fields)
      if (name.starts_with("x-amz-") && !names.contains(name))
        return refuse("403 Forbidden", "AccessDenied", "unsigned amz fields");
    const std::string& payload = asked.fields.at("x-amz-content-sha256");
    if (payload != "UNSIGNED-PAYLOAD" && payload != Digest::of(asked.body).hex())
      return refuse("400 Bad Request", "XAmzContentSHA256Mismatch", "The provided digest does not match.");
    const int64_t now = SystemClock().now_s();
    int64_t signed_at = 0;
    for (int64_t t = now - 900; t <= now + 900; t++)
      if (registry::cloud::amz_date(t) == asked.fields.at("x-amz-date")) signed_at = t;
    if (signed_at == 0) return refuse("403 Forbidden", "RequestTimeTooSkewed", "too old");
    if (!known.session_token.empty() && (!asked.fields.contains("x-amz-security-token") ||
                                         asked.fields.at("x-amz-security-token") != known.session_token))
      return refuse("400 Bad Request", "ExpiredToken", "The token has expired.");
    if (registry::cloud::authorization_field(to_sign, known, {region, "s3", signed_at}) != given)
      return refuse("403 Forbidden", "SignatureDoesNotMatch",
                    "The signature \x1b[31mdoes not match; you sent " + known.secret_key + ".");
    return {};
  }

  std::string handle(const std::string& request) {
    const Asked asked = parse(request);
    log.push_back(asked);
    if (!faults_.empty()) {
      Fault fault = faults_.front();
      faults_.pop_front();
      if (std::string answer = fault(asked); !answer.empty()) return answer;
    }
    if (std::string refusal = check_signature(asked); !refusal.empty())
      return asked.method == "HEAD" ? "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n" : refusal;
    std::string name = asked.path.substr(1);
    if (!is_path_style) name = asked.host.substr(0, asked.host.find('.')) + "/" + name;
    if (!name.starts_with("bucket/"))
      return asked.method == "HEAD" ? http::answer("404 Not Found", "")
                                    : refuse("404 Not Found", "NoSuchBucket", "no such bucket");
    if (asked.method == "POST" && asked.has("uploads")) {
      const std::string id = fmt::format("id+/{}", uploads.size());
      uploads[id];
      return http::answer("200 OK", "<R><UploadId>" + id + "</UploadId></R>");
    }
    if (asked.has("uploadId")) return multipart(asked, name);
    if (asked.method == "PUT") {
      objects[name] = asked.body;
      return http::answer("200 OK", "", "ETag: \"x\"\r\n");
    }
    if (asked.method == "DELETE") {
      objects.erase(name);
      return "HTTP/1.1 204 No Content\r\n\r\n";
    }
    return get(asked, name);
  }

  std::string multipart(const Asked& asked, const std::string& name) {
    const std::string id = asked.parameter("uploadId");
    if (!uploads.contains(id)) return refuse("404 Not Found", "NoSuchUpload", "gone");
    if (asked.method == "DELETE") {
      uploads.erase(id);
      return "HTTP/1.1 204 No Content\r\n\r\n";
    }
    if (asked.method == "PUT") {
      uploads[id][std::stoi(asked.parameter("partNumber"))] = asked.body;
      return http::answer("200 OK", "", "ETag: \"" + Digest::of(asked.body).short_hex() + "\"\r\n");
    }
    std::string whole;
    for (const auto& [number, bytes] : uploads[id]) {
      const std::string part = fmt::format("<Part><PartNumber>{}</PartNumber><ETag>\"{}\"</ETag></Part>",
                                           number, Digest::of(bytes).short_hex());
      if (asked.body.find(part) == std::string::npos)
        return refuse("400 Bad Request", "InvalidPart", "a part");
      whole += bytes;
    }
    uploads.erase(id);
    objects[name] = whole;
    return http::answer("200 OK", "<CompleteMultipartUploadResult/>");
  }

  std::string get(const Asked& asked, const std::string& name) {
    auto found = objects.find(name);
    if (found == objects.end())
      return asked.method == "HEAD" ? http::answer("404 Not Found", "")
                                    : refuse("404 Not Found", "NoSuchKey", "no such key");
    const std::string& bytes = found->second;
    if (asked.method == "HEAD")
      return fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.size());
    if (!asked.fields.contains("range")) return http::answer("200 OK", bytes);
    const size_t from = std::stoul(asked.fields.at("range").substr(6));
    return http::answer(
        "206 Partial Content", bytes.substr(from),
        fmt::format("Content-Range: bytes {}-{}/{}\r\n", from, bytes.size() - 1, bytes.size()));
  }

  std::deque<Fault> faults_;
  http::Server server_;  // last: its threads end first
};

}  // namespace corten::cache
