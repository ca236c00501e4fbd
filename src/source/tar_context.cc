#include "source/tar_context.h"

#include "archive/compression.h"

namespace corten::source {

using store::Entry;

std::shared_ptr<const store::Tree> read_tar_context(archive::ByteSource& from, const TarContextOptions& how,
                                                    store::Contents& contents) {
  auto plain = archive::open_decompressor(from);
  store::EmptyTree nothing;
  store::LayerBuilder builder(nothing);
  store::ExtractOptions options;
  options.owner = {0, 0};
  options.name = "context";
  options.set_limit(how.max_unpacked_bytes);
  options.parent_like = store::default_root();
  store::extract_tar(*plain, options, builder, contents);
  std::vector<Entry> entries = builder.finish().entries();
  if (!how.keep_times)
    for (Entry& e : entries) e.time_ns.reset();
  return std::make_shared<store::RootfsView>(std::vector<std::shared_ptr<const store::Manifest>>{
      std::make_shared<const store::Manifest>(std::move(entries))});
}

}  // namespace corten::source
