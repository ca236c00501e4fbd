//! backend HOST PORT MODE: keeps cells of the colony.
use shared::{health, http, setting, shard_of};

fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let host = words.get(0).cloned().unwrap_or_else(|| setting("BACKEND_HOST", "0.0.0.0"));
    let port = words.get(1).cloned().unwrap_or_else(|| setting("BACKEND_PORT", "8082"));
    let port = port.parse().expect("PORT is a number");
    println!("backend in mode {}", words.get(2).map(String::as_str).unwrap_or("local"));
    http::end_on_signals();
    http::serve(&host, port, |path| match path {
        "/health" => Some(health("backend")),
        path => path.strip_prefix("/cells/").map(|cell| format!("{{\"shard\":{}}}", shard_of(cell, 16))),
    })
}
