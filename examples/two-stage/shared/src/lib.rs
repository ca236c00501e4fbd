//! What backend and coordinator share: settings from the environment, and where a cell of the colony belongs.
use std::env;
use std::hash::Hasher;

pub mod http;

pub fn setting(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_string())
}

/// The shard that a cell belongs to; its name as it stands in an address: "a%20b" is "a b".
pub fn shard_of(cell: &str, shards: u64) -> u64 {
    let mut hash = fnv::FnvHasher::default();
    hash.write(&percent_encoding::percent_decode_str(cell).collect::<Vec<u8>>());
    hash.finish() % shards.max(1)
}

pub fn health(service: &str) -> String {
    format!("{{\"service\":\"{}\",\"status\":\"ok\",\"version\":\"{}\"}}", service, setting("BUILD_VERSION", "unknown"))
}
