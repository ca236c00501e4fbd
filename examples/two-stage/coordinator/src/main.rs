//! coordinator MODE: tells backends which shards are theirs.
use shared::{health, http, setting};

fn main() -> std::io::Result<()> {
    let mode = std::env::args().nth(1).unwrap_or_else(|| "local".to_string());
    let port = setting("COORDINATOR_PORT", "8083").parse().expect("COORDINATOR_PORT is a number");
    let backend = format!("{}:{}", setting("BACKEND_HOST", "0.0.0.0"), setting("BACKEND_PORT", "8082"));
    println!("coordinator in mode {}", mode);
    http::end_on_signals();
    http::serve("0.0.0.0", port, move |path| match path {
        "/health" => Some(health("coordinator")),
        "/backends" => Some(format!("[\"{}\"]", backend)),
        _ => None,
    })
}
