// Which layer came before which: what makes a changed layer cheap. Hints only: all of it can be lost, and
// whoever uses a predecessor compares it with the layer first.
#include <time.h>

#include "store/layers.h"

namespace corten::store {

void Layers::succeed(const Digest& family, const LayerRef& layer) {
  database_.transaction([&] {
    {
      Statement last = database_.prepare("SELECT layer, time FROM lineages WHERE family=?");
      last.bind(family);
      if (last.step() && last.digest(0) != layer.id)
        database_
            .prepare("INSERT OR IGNORE INTO predecessors(layer,time,earlier,earlier_time) VALUES(?,?,?,?)")
            .bind(layer.id)
            .bind(layer.time)
            .bind(last.digest(0))
            .bind(last.integer(1))
            .run();
    }
    database_.prepare("INSERT OR REPLACE INTO lineages(family,layer,time,used) VALUES(?,?,?,?)")
        .bind(family)
        .bind(layer.id)
        .bind(layer.time)
        .bind(static_cast<int64_t>(time(nullptr)))
        .run();
  });
}

std::shared_ptr<const Manifest> Layers::latest(const Digest& family) {
  std::optional<Digest> layer;
  {
    Statement last = database_.prepare("SELECT layer FROM lineages WHERE family=?");
    last.bind(family);
    if (last.step()) layer = last.digest(0);
  }
  return layer && has(*layer) && is_whole(*layer) ? load(*layer) : nullptr;
}

std::optional<LayerRef> Layers::predecessor(const LayerRef& layer) {
  Statement row =
      database_.prepare("SELECT earlier, earlier_time FROM predecessors WHERE layer=? AND time=?");
  row.bind(layer.id).bind(layer.time);
  if (!row.step()) return std::nullopt;
  return LayerRef{row.digest(0), row.integer(1)};
}

}  // namespace corten::store
