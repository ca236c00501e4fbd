//! A small HTTP/1.1 server on the standard library alone: GET answers JSON.
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const MAX_HEAD_BYTES: u64 = 16 << 10;

/// Serves until a signal ends the process. `answer` gets a path, and gives a body or None for 404.
pub fn serve<F>(host: &str, port: u16, answer: F) -> io::Result<()>
where
    F: Fn(&str) -> Option<String> + Send + Sync + 'static,
{
    let listener = TcpListener::bind((host, port))?;
    println!("listening on {}:{}", host, port);
    let answer = Arc::new(answer);
    for stream in listener.incoming().flatten() {
        let answer = Arc::clone(&answer);
        thread::spawn(move || {
            if let Err(error) = converse(stream, answer.as_ref()) {
                eprintln!("connection: {}", error);
            }
        });
    }
    Ok(())
}

fn converse<F: Fn(&str) -> Option<String>>(mut stream: TcpStream, answer: &F) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut head = BufReader::new(stream.try_clone()?).take(MAX_HEAD_BYTES);
    let mut first = String::new();
    head.read_line(&mut first)?;
    let mut line = String::new();
    while head.read_line(&mut line)? > 0 && !line.trim().is_empty() {
        line.clear();
    }
    let path = first.split_whitespace().nth(1).unwrap_or("/");
    let (status, body) = match answer(path) {
        Some(body) => ("200 OK", body),
        None => ("404 Not Found", "{}".to_string()),
    };
    write!(stream, "HTTP/1.1 {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}", status, body.len(), body)
}

extern "C" {
    fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
    fn _exit(status: i32) -> !;
}

extern "C" fn end(_: i32) {
    unsafe { _exit(0) }
}

/// The first process of a container gets no default action for signals.
pub fn end_on_signals() {
    unsafe {
        signal(15, end);
        signal(2, end);
    }
}
