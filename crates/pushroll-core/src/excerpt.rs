//! Cutting somebody else's text to a length that fits into a message: an error must not carry megabytes of input.

/// How much of a bad text its error quotes, in characters.
pub const QUOTED_CHARACTERS: usize = 120;

/// At most so many characters of `text`, with an ellipsis where something was cut.
pub fn excerpt(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
