//! The agent tells how it is doing: GET /status.
use servicekit::{Request, Response};
use std::fs;

fn load() -> String {
    fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').next().unwrap_or("").to_string()
}

fn handle(request: &Request) -> Response {
    match request.path.as_str() {
        "/status" => Response::json(format!("{{\"load\":\"{}\"}}", load())),
        _ => Response::error(404, "unknown path"),
    }
}

fn main() -> std::io::Result<()> {
    servicekit::run("agent", 9001, handle)
}
