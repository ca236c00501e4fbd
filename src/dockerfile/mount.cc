#include "dockerfile/mount.h"

#include <algorithm>
#include <iterator>

#include "base/strings.h"
#include "base/suggest.h"

namespace corten::dockerfile {

namespace {

const std::vector<std::string> kTypes = {"bind", "cache", "tmpfs", "secret", "ssh"};
const std::vector<std::string> kSharings = {"shared", "private", "locked"};
const std::vector<std::string> kKeys = {
    "type", "from", "source", "target", "readonly",    "id", "sharing", "required",  "size", "mode",
    "uid",  "gid",  "src",    "dst",    "destination", "ro", "rw",      "readwrite", "env"};

bool parse_bool(std::string_view key, std::string_view value) {
  static constexpr std::string_view kTrue[] = {"1", "t", "T", "true", "TRUE", "True"};
  static constexpr std::string_view kFalse[] = {"0", "f", "F", "false", "FALSE", "False"};
  if (std::find(std::begin(kTrue), std::end(kTrue), value) != std::end(kTrue)) return true;
  if (std::find(std::begin(kFalse), std::end(kFalse), value) != std::end(kFalse)) return false;
  fail(ErrorCode::kInvalid, "invalid value for {}: {}", key, value);
}

uint32_t parse_number(std::string_view key, std::string_view value, bool is_octal) {
  std::optional<uint64_t> number;
  bool has_sign = !value.empty() && (value[0] == '-' || value[0] == '+');
  if (is_octal)
    number = parse_octal(value);
  else if (auto decimal = parse_int(value); decimal && *decimal >= 0)
    number = static_cast<uint64_t>(*decimal);
  if (!number || has_sign || *number > UINT32_MAX)
    fail(ErrorCode::kInvalid, "invalid value {} for {}", value, key);
  return static_cast<uint32_t>(*number);
}

class MountParser {
 public:
  explicit MountParser(const Expander& expand) : expand_(expand) {}

  Mount parse(const Word& csv) {
    for (const std::string& field : split_csv(csv.text)) read_field(field);
    check();
    if (read_only_)
      mount_.read_only = *read_only_;
    else
      mount_.read_only = mount_.type != MountType::kCache && mount_.type != MountType::kTmpfs;
    mount_.span = csv.span;
    return std::move(mount_);
  }

 private:
  std::string_view type() const { return mount_type_name(mount_.type); }

  void read_field(const std::string& field) {
    size_t equals = field.find('=');
    std::string key = to_lower(field.substr(0, equals));
    if (equals == std::string::npos) return read_bare(key, field);
    std::string text = field.substr(equals + 1);
    std::string value = key == "from" ? text : expand_(text);
    read_value(key, value, field);
  }

  void read_bare(const std::string& key, const std::string& field) {
    if (key == "readonly" || key == "ro")
      read_only_ = true;
    else if (key == "readwrite" || key == "rw")
      read_only_ = false;
    else if (key == "required")
      set_required(true);
    else
      fail(ErrorCode::kInvalid, "invalid field '{}' must be a key=value pair", field);
  }

  [[noreturn]] void fail_key(std::string_view key) const {
    fail(ErrorCode::kInvalid, "unexpected key '{}' for mount type '{}'", key, type());
  }

  void set_required(bool value) {
    if (mount_.type != MountType::kSecret && mount_.type != MountType::kSsh) fail_key("required");
    mount_.required = value;
  }

  void read_value(const std::string& key, const std::string& value, const std::string& field) {
    if (key == "type")
      set_type(value);
    else if (key == "from")
      mount_.from = value;
    else if (key == "source" || key == "src")
      mount_.source = value;
    else if (key == "target" || key == "dst" || key == "destination")
      mount_.target = value;
    else if (key == "readonly" || key == "ro")
      read_only_ = parse_bool(key, value);
    else if (key == "readwrite" || key == "rw")
      read_only_ = !parse_bool(key, value);
    else if (key == "required")
      set_required(parse_bool(key, value));
    else if (key == "size")
      set_size(value);
    else if (key == "id")
      mount_.id = value;
    else if (key == "sharing")
      set_sharing(value);
    else if (key == "mode")
      mount_.mode = parse_number(key, value, true);
    else if (key == "uid")
      mount_.uid = parse_number(key, value, false);
    else if (key == "gid")
      mount_.gid = parse_number(key, value, false);
    else if (key == "env")
      mount_.env = value;
    else
      fail(ErrorCode::kInvalid, "unexpected key '{}' in '{}'{}", key, field, did_you_mean(key, kKeys));
  }

  void set_type(const std::string& value) {
    auto found = std::find(kTypes.begin(), kTypes.end(), to_lower(value));
    if (found == kTypes.end())
      fail(ErrorCode::kInvalid, "unsupported mount type {}{}", quote(value), did_you_mean(value, kTypes));
    mount_.type = static_cast<MountType>(found - kTypes.begin());
  }

  void set_sharing(const std::string& value) {
    auto found = std::find(kSharings.begin(), kSharings.end(), to_lower(value));
    if (found == kSharings.end())
      fail(ErrorCode::kInvalid, "unsupported sharing value {}{}", quote(value),
           did_you_mean(value, kSharings));
    mount_.sharing = static_cast<CacheSharing>(found - kSharings.begin());
    has_sharing_ = true;
  }

  void set_size(const std::string& value) {
    if (mount_.type != MountType::kTmpfs) fail_key("size");
    auto size = parse_size(value);
    if (!size) fail(ErrorCode::kInvalid, "invalid value for size: {}", value);
    mount_.size_bytes = *size;
  }

  void check() const {
    if (mount_.type == MountType::kBind || mount_.type == MountType::kTmpfs) {
      auto refuse = [&](std::string_view key) {
        fail(ErrorCode::kInvalid, "{} not allowed for {} type mounts", key, quote(type()));
      };
      if (mount_.mode) refuse("mode");
      if (mount_.uid) refuse("uid");
      if (mount_.gid) refuse("gid");
    }
    if (mount_.type == MountType::kSecret) {
      if (mount_.from) fail(ErrorCode::kInvalid, "secret mount should not have a from");
      if (has_sharing_) fail(ErrorCode::kInvalid, "secret mount should not define sharing");
      if (mount_.source.empty() && mount_.target.empty() && mount_.id.empty())
        fail(ErrorCode::kInvalid, "invalid secret mount. one of source, target required");
      if (!mount_.source.empty() && !mount_.id.empty())
        fail(ErrorCode::kInvalid, "both source and id can't be set");
    }
    if (mount_.type == MountType::kSsh && !mount_.source.empty())
      fail(ErrorCode::kInvalid, "ssh does not support source");
    if (has_sharing_ && mount_.type != MountType::kCache)
      fail(ErrorCode::kInvalid, "invalid cache sharing set for {} mount", type());
  }

  const Expander& expand_;
  Mount mount_;
  std::optional<bool> read_only_;
  bool has_sharing_ = false;
};

template <typename F>
auto at_span(const SourceSpan& span, F parse) {
  try {
    return parse();
  } catch (Error& error) {
    error.set_span(span);
    throw;
  }
}

}  // namespace

std::string_view mount_type_name(MountType type) {
  return kTypes[static_cast<size_t>(type)];
}

Mount parse_mount(const Word& csv, const Expander& expand) {
  return at_span(csv.span, [&] { return MountParser(expand).parse(csv); });
}

void check_mount_syntax(const Word& csv) {
  at_span(csv.span, [&] {
    for (const std::string& field : split_csv(csv.text)) {
      size_t equals = field.find('=');
      if (equals == std::string::npos || to_lower(field.substr(0, equals)) != "from") continue;
      size_t dollar = field.find('$', equals);
      if (dollar != std::string::npos && dollar + 1 < field.size())
        fail(ErrorCode::kInvalid, "'from' doesn't support variable expansion, define alias stage instead");
    }
  });
}

Device parse_device(const Word& csv) {
  return at_span(csv.span, [&] {
    Device device;
    device.span = csv.span;
    bool is_first = true;
    for (const std::string& field : split_csv(csv.text)) {
      size_t equals = field.find('=');
      std::string key = to_lower(field.substr(0, equals));
      bool is_name = is_first && (equals == std::string::npos || field.find('/') < equals);
      if (is_name && key != "required") {
        device.name = field;
      } else if (key == "name" && equals != std::string::npos) {
        if (!device.name.empty()) fail(ErrorCode::kInvalid, "device name already set to {}", device.name);
        device.name = field.substr(equals + 1);
      } else if (key == "required") {
        device.required = equals == std::string::npos || parse_bool(key, field.substr(equals + 1));
      } else {
        fail(ErrorCode::kInvalid, "unexpected key '{}' in '{}'", key, field);
      }
      is_first = false;
    }
    return device;
  });
}

std::vector<std::string> split_csv(std::string_view line) {
  std::vector<std::string> fields;
  size_t at = 0;
  while (true) {
    std::string field;
    if (at < line.size() && line[at] == '"') {
      at++;
      while (true) {
        if (at >= line.size())
          fail(ErrorCode::kInvalid, "failed to parse csv: missing closing \" in quoted-field");
        if (line[at] != '"')
          field += line[at++];
        else if (at + 1 < line.size() && line[at + 1] == '"')
          field += '"', at += 2;
        else
          break;
      }
      at++;
      if (at < line.size() && line[at] != ',')
        fail(ErrorCode::kInvalid, "failed to parse csv: extraneous or missing \" in quoted-field");
    } else {
      size_t end = std::min(line.find(',', at), line.size());
      field = line.substr(at, end - at);
      if (field.find('"') != std::string::npos)
        fail(ErrorCode::kInvalid, "failed to parse csv: bare \" in non-quoted-field");
      at = end;
    }
    fields.push_back(std::move(field));
    if (at >= line.size()) return fields;
    at++;  // the comma
  }
}

}  // namespace corten::dockerfile
