//! The execution plane runs small programs: POST /run with numbers and + - * in reverse Polish notation.
use servicekit::{Request, Response};

fn evaluate(text: &str) -> Option<i64> {
    let mut stack = Vec::new();
    for word in text.split_whitespace() {
        let value = match word {
            "+" | "-" | "*" => {
                let (right, left): (i64, i64) = (stack.pop()?, stack.pop()?);
                match word {
                    "+" => left.checked_add(right)?,
                    "-" => left.checked_sub(right)?,
                    _ => left.checked_mul(right)?,
                }
            }
            number => number.parse().ok()?,
        };
        stack.push(value);
    }
    match stack.as_slice() {
        [result] => Some(*result),
        _ => None,
    }
}

fn handle(request: &Request) -> Response {
    if request.path != "/run" {
        return Response::error(404, "unknown path");
    }
    match std::str::from_utf8(&request.body).ok().and_then(evaluate) {
        Some(result) => Response::json(format!("{{\"result\":{}}}", result)),
        None => Response::error(400, "not a program"),
    }
}

fn main() -> std::io::Result<()> {
    servicekit::run("execution-plane", 9000, handle)
}
