//! What backend and coordinator share: settings from the environment, and where a cell of the colony belongs.
use std::env;

pub fn setting(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_string())
}

/// The shard that a cell belongs to.
pub fn shard_of(cell: &str, shards: u64) -> u64 {
    tinyhash::hash(cell.as_bytes()) % shards.max(1)
}

pub fn health(service: &str) -> String {
    format!("{{\"service\":\"{}\",\"status\":\"ok\",\"version\":\"{}\"}}", service, setting("BUILD_VERSION", "unknown"))
}
