//! The `fleet` binary.

fn main() {}
