//! Runs on desks, never in an image.
fn main() {
    println!("a window on shard {}", shared::shard_of("0,0", 16));
}
