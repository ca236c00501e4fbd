#include "source/tar_context.h"

#include "archive/compression.h"
#include "dockerfile/ignore.h"
#include "store/layer_tar.h"

namespace corten::source {

using store::Entry;

std::unique_ptr<store::Tree> without_ignored(const store::Tree& tree,
                                             const std::vector<std::string>& ignore) {
  dockerfile::IgnoreMatcher matcher(ignore);
  std::vector<Entry> kept;
  store::walk(tree, RootfsPath(), [&](const Entry& e) {
    if (!matcher.is_ignored(e.path.str())) kept.push_back(e);
  });
  store::EmptyTree nothing;
  store::LayerBuilder builder(nothing);
  for (Entry& e : kept) builder.put(std::move(e));
  return std::make_unique<store::RootfsView>(std::vector<std::shared_ptr<const store::Manifest>>{
      std::make_shared<const store::Manifest>(builder.finish())});
}

std::unique_ptr<store::Tree> read_tar_context(archive::ByteSource& from,
                                              const std::vector<std::string>& ignore, bool keep_times,
                                              store::Contents& contents) {
  auto plain = archive::open_decompressor(from);
  store::EmptyTree nothing;
  store::LayerBuilder builder(nothing);
  store::ExtractOptions options;
  options.owner = {0, 0};
  options.parent_like = store::default_root();
  store::extract_tar(*plain, options, builder, contents);
  std::vector<Entry> entries = builder.finish().entries();
  if (!keep_times)
    for (Entry& e : entries) e.time_ns.reset();
  store::RootfsView view({std::make_shared<const store::Manifest>(std::move(entries))});
  return without_ignored(view, ignore);
}

}  // namespace corten::source
