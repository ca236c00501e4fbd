//! What the Rust services share: a small HTTP/1.1 server on the standard library alone, with /health and an orderly end.
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const MAX_HEAD_BYTES: u64 = 16 << 10;
const MAX_BODY_BYTES: usize = 1 << 20;

pub struct Request {
    pub method: String,
    pub path: String,
    pub query: String,
    pub body: Vec<u8>,
}

pub struct Response {
    pub status: u16,
    pub body: String,
}

impl Response {
    pub fn json(body: String) -> Response {
        Response { status: 200, body }
    }

    pub fn error(status: u16, text: &str) -> Response {
        Response { status, body: format!("{{\"error\":\"{}\"}}", text) }
    }
}

/// Serves until SIGTERM or SIGINT. `handle` answers every path but /health.
pub fn run<F>(name: &'static str, port: u16, handle: F) -> io::Result<()>
where
    F: Fn(&Request) -> Response + Send + Sync + 'static,
{
    end_on_signals();
    // One socket for both families where there is IPv6, else IPv4 alone.
    let listener = TcpListener::bind(("::", port)).or_else(|_| TcpListener::bind(("0.0.0.0", port)))?;
    let started = Instant::now();
    let handle = Arc::new(handle);
    println!("{} listens on port {}", name, port);
    for connection in listener.incoming() {
        let handle = Arc::clone(&handle);
        let stream = match connection {
            Ok(stream) => stream,
            Err(_) => continue,
        };
        thread::spawn(move || {
            let answer = |request: &Request| {
                if request.path == "/health" {
                    let uptime = started.elapsed().as_secs();
                    return Response::json(format!("{{\"service\":\"{}\",\"status\":\"ok\",\"uptime_s\":{}}}", name, uptime));
                }
                handle(request)
            };
            if let Err(error) = serve(stream, answer) {
                eprintln!("connection: {}", error);
            }
        });
    }
    Ok(())
}

fn serve<F: Fn(&Request) -> Response>(stream: TcpStream, answer: F) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let (head_only, response) = match read_request(&stream)? {
        Some(request) => {
            println!("{} {}", request.method, request.path);
            (request.method == "HEAD", answer(&request))
        }
        None => (false, Response::error(400, "bad request")),
    };
    let reason = match response.status {
        200 => "OK",
        404 => "Not Found",
        _ => "Bad Request",
    };
    let mut out = format!(
        "HTTP/1.1 {} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        response.status,
        reason,
        response.body.len() + 1
    );
    if !head_only {
        out.push_str(&response.body);
        out.push('\n');
    }
    let mut stream = stream;
    stream.write_all(out.as_bytes())
}

/// None for what is not a request, or is too large.
fn read_request(stream: &TcpStream) -> io::Result<Option<Request>> {
    let mut reader = BufReader::new(stream);
    let mut head = Read::by_ref(&mut reader).take(MAX_HEAD_BYTES);
    let mut line = String::new();
    head.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (method, target) = match (words.next(), words.next()) {
        (Some(method), Some(target)) => (method.to_string(), target.to_string()),
        _ => return Ok(None),
    };
    let mut length = 0;
    loop {
        let mut header = String::new();
        if head.read_line(&mut header)? == 0 {
            return Ok(None);
        }
        if header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':') {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap_or(usize::MAX);
            }
        }
    }
    if length > MAX_BODY_BYTES {
        return Ok(None);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    Ok(Some(Request { method, path: path.to_string(), query: query.to_string(), body }))
}

extern "C" {
    fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
    fn _exit(status: i32) -> !;
}

extern "C" fn end(_: i32) {
    unsafe { _exit(0) }
}

/// The first process of a container gets no default action for signals: without a handler, `stop` would wait for its time-out.
fn end_on_signals() {
    unsafe {
        signal(15, end);
        signal(2, end);
    }
}
