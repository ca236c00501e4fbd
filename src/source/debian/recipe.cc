#include "source/debian/recipe.h"

#include <yaml-cpp/yaml.h>

#include "base/error.h"
#include "base/strings.h"
#include "base/suggest.h"
#include "http/url.h"
#include "source/debian/control.h"

namespace corten::source::debian {

namespace {

constexpr size_t kMaxRecipeBytes = 1 << 20;

const std::vector<std::string> kKeys = {"name",    "suite",   "mirror",     "architecture", "variant",
                                        "include", "env",     "labels",     "entrypoint",   "cmd",
                                        "user",    "workdir", "size_budget"};
const std::vector<std::string> kVariants = {"minbase", "distroless", "busybox"};

const std::vector<std::pair<std::string, oci::Platform>> kPlatforms = {
    {"amd64", {"linux", "amd64", "", "", {}}},       {"arm64", {"linux", "arm64", "", "", {}}},
    {"armhf", {"linux", "arm", "v7", "", {}}},       {"armel", {"linux", "arm", "v5", "", {}}},
    {"i386", {"linux", "386", "", "", {}}},          {"ppc64el", {"linux", "ppc64le", "", "", {}}},
    {"s390x", {"linux", "s390x", "", "", {}}},       {"riscv64", {"linux", "riscv64", "", "", {}}},
    {"mips64el", {"linux", "mips64le", "", "", {}}},
};

class RecipeReader {
 public:
  RecipeReader(std::string_view text, std::string_view file) : file_(file) {
    if (text.size() > kMaxRecipeBytes)
      fail(ErrorCode::kInvalid, "{}: larger than {} bytes", file, kMaxRecipeBytes);
    try {
      root_ = YAML::Load(std::string(text));
    } catch (const YAML::Exception& error) {
      throw Error(ErrorCode::kInvalid, error.msg).with_span(span(error.mark));
    }
  }

  Recipe read() {
    if (!root_.IsMap()) refuse(root_, "a recipe is a map: 'variant: minbase' and the like");
    Recipe recipe;
    for (const auto& member : root_) {
      std::string key = scalar(member.first, "a key");
      try {
        take(key, member.second, recipe);
      } catch (Error& error) {
        if (!error.span()) error.set_span(span(member.second.Mark()));
        throw;
      }
    }
    if (recipe.architecture.empty()) recipe.architecture = debian_architecture(oci::host_platform());
    check_recipe(recipe);
    return recipe;
  }

 private:
  SourceSpan span(const YAML::Mark& mark) const {
    return {.file = file_, .line = mark.line + 1, .column = mark.column + 1};
  }
  [[noreturn]] void refuse(const YAML::Node& node, const std::string& message) const {
    throw Error(ErrorCode::kInvalid, message).with_span(span(node.Mark()));
  }

  std::string scalar(const YAML::Node& node, std::string_view what) const {
    if (!node.IsScalar()) refuse(node, fmt::format("{}: expected a text", what));
    return node.Scalar();
  }
  std::vector<std::string> list(const YAML::Node& node, std::string_view what) const {
    if (node.IsNull()) return {};
    if (!node.IsSequence()) refuse(node, fmt::format("{}: expected a list", what));
    std::vector<std::string> items;
    for (const YAML::Node& item : node) items.push_back(scalar(item, what));
    return items;
  }
  std::vector<std::pair<std::string, std::string>> pairs(const YAML::Node& node,
                                                         std::string_view what) const {
    std::vector<std::pair<std::string, std::string>> items;
    if (node.IsMap())
      for (const auto& item : node) items.emplace_back(scalar(item.first, what), scalar(item.second, what));
    else
      for (const std::string& item : list(node, what)) {
        size_t equals = item.find('=');
        if (equals == std::string::npos || equals == 0)
          refuse(node, fmt::format("{}: {} is not NAME=VALUE", what, quote(item)));
        items.emplace_back(item.substr(0, equals), item.substr(equals + 1));
      }
    return items;
  }

  void take(const std::string& key, const YAML::Node& value, Recipe& recipe) const {
    if (key == "name")
      recipe.name = scalar(value, key);
    else if (key == "suite")
      recipe.suite = scalar(value, key);
    else if (key == "mirror")
      recipe.mirrors = value.IsScalar() ? std::vector{value.Scalar()} : list(value, key);
    else if (key == "architecture")
      recipe.architecture = scalar(value, key);
    else if (key == "variant")
      recipe.variant = parse_variant(scalar(value, key));
    else if (key == "include")
      recipe.include = list(value, key);
    else if (key == "env")
      recipe.env = pairs(value, key);
    else if (key == "labels")
      for (auto& [name, text] : pairs(value, key)) recipe.labels[name] = text;
    else if (key == "entrypoint")
      recipe.entrypoint = list(value, key);
    else if (key == "cmd")
      recipe.cmd = list(value, key);
    else if (key == "user")
      recipe.user = scalar(value, key);
    else if (key == "workdir")
      recipe.working_dir = scalar(value, key);
    else if (key == "size_budget") {
      recipe.size_budget = parse_size(scalar(value, key));
      if (!recipe.size_budget)
        refuse(value, fmt::format("size_budget: {} is no size (7MB, 512k)", quote(value.Scalar())));
    } else {
      fail(ErrorCode::kInvalid, "unknown key {}{}", quote(key), did_you_mean(key, kKeys));
    }
  }

  std::string file_;
  YAML::Node root_;
};

}  // namespace

std::string_view variant_name(Variant variant) {
  return kVariants[static_cast<size_t>(variant)];
}

Variant parse_variant(std::string_view name) {
  for (size_t i = 0; i < kVariants.size(); i++)
    if (kVariants[i] == name) return static_cast<Variant>(i);
  fail(ErrorCode::kInvalid, "variant {}: there are minbase, distroless and busybox{}", quote(name),
       did_you_mean(name, kVariants));
}

Recipe parse_recipe(std::string_view text, std::string_view file_name) {
  return RecipeReader(text, file_name).read();
}

void check_recipe(const Recipe& recipe) {
  if (!is_suite(recipe.suite))
    fail(ErrorCode::kInvalid, "suite {}: not a name of a suite", quote(recipe.suite));
  platform_of(recipe.architecture);
  for (const std::string& mirror : recipe.mirrors) http::parse_url(mirror);
  for (const std::string& item : recipe.include) {
    size_t equals = item.find('=');
    if (!is_package_name(item.substr(0, equals)) ||
        (equals != std::string::npos && !is_package_version(item.substr(equals + 1))))
      fail(ErrorCode::kInvalid, "include {}: expected NAME or NAME=VERSION of a Debian package", quote(item));
  }
}

std::string debian_architecture(const oci::Platform& platform) {
  for (const auto& [name, known] : kPlatforms)
    if (known == platform.normalized()) return name;
  fail(ErrorCode::kUnsupported, "platform {}: Debian has no architecture for it", platform.format());
}

oci::Platform platform_of(std::string_view architecture) {
  std::vector<std::string> names;
  for (const auto& [name, platform] : kPlatforms) {
    if (name == architecture) return platform;
    names.push_back(name);
  }
  fail(ErrorCode::kUnsupported, "architecture {}: not one of Debian's{}", quote(architecture),
       did_you_mean(architecture, names));
}

}  // namespace corten::source::debian
