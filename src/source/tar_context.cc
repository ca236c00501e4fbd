#include "source/tar_context.h"

#include "archive/compression.h"
#include "store/layer_tar.h"

namespace corten::source {

using store::Entry;

std::shared_ptr<const store::Tree> read_tar_context(archive::ByteSource& from, bool keep_times,
                                                    store::Contents& contents) {
  // An archive bomb ends here, at the latest.
  constexpr uint64_t kMaxExpandedBytes = uint64_t{1} << 40;
  auto plain = archive::open_decompressor(from);
  archive::LimitedSource limited(*plain, kMaxExpandedBytes, "context");
  store::EmptyTree nothing;
  store::LayerBuilder builder(nothing);
  store::ExtractOptions options;
  options.owner = {0, 0};
  options.parent_like = store::default_root();
  store::extract_tar(limited, options, builder, contents);
  std::vector<Entry> entries = builder.finish().entries();
  if (!keep_times)
    for (Entry& e : entries) e.time_ns.reset();
  return std::make_shared<store::RootfsView>(std::vector<std::shared_ptr<const store::Manifest>>{
      std::make_shared<const store::Manifest>(std::move(entries))});
}

}  // namespace corten::source
