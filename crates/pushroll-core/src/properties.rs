//! What must hold of any bytes from outside, whoever makes them up: `cargo test` with generated ones and the seeds of
//! `fuzz/seeds`, libFuzzer (`make fuzz`) with its own. Each `hold` panics where something does not.
//!
//! A crate of its own in `fuzz/` builds this and the pure modules alone, so it must not know anything else.

pub mod document;
pub mod envelope;
pub mod event;
pub mod reference;

/// What an error, a reason or a warning may be long: it quotes some hundred characters of the input, escaped.
const MESSAGE_BYTES_MAX: usize = 2500;

/// It says something, and does not repeat megabytes of input.
#[track_caller]
fn is_told_briefly(message: &str) {
    assert!(!message.is_empty());
    assert!(message.len() <= MESSAGE_BYTES_MAX, "{} bytes: {message:.200}...", message.len());
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Found by fuzzing, or what fuzzing starts from: each is run as the fuzzer runs it.
    #[test]
    fn they_hold_of_every_seed() {
        for (target, hold) in [
            ("document", super::document::hold as fn(&[u8])),
            ("envelope", super::envelope::hold),
            ("event", super::event::hold),
            ("reference", super::reference::hold),
        ] {
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
            let seeds: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|seed| seed.unwrap().path()).collect();
            assert!(seeds.len() >= 5, "{directory:?} has only {seeds:?}");
            for seed in seeds {
                eprintln!("{seed:?}");
                hold(&std::fs::read(seed).unwrap());
            }
        }
    }
}
