//! Text from outside (a cluster, the answer of a sink), made fit for one line of a message. Pure.

/// In one line, without control characters and without characters that change the direction of the text.
pub(super) fn one_line(text: &str) -> String {
    let is_hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let visible: String = text.chars().map(|c| if is_hidden(c) { ' ' } else { c }).collect();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// One line, escaped, and at most so many bytes long; what is cut off ends with `…`.
pub(super) fn escaped(text: &str, bytes: usize, escape: fn(char) -> Option<&'static str>) -> String {
    const CUT: &str = "…";
    let mut written = String::new();
    // Where to cut if the rest does not fit.
    let mut room_until = 0;
    let mut buffer = [0; 4];
    for c in one_line(text).chars() {
        written.push_str(escape(c).unwrap_or_else(|| c.encode_utf8(&mut buffer)));
        if written.len() + CUT.len() <= bytes {
            room_until = written.len();
        }
        if written.len() > bytes {
            written.truncate(room_until);
            written.push_str(CUT);
            break;
        }
    }
    written
}

/// Text that needs no escape.
pub(super) fn shortened(text: &str, bytes: usize) -> String {
    escaped(text, bytes, |_| None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_one_line_and_is_cut_between_characters() {
        assert_eq!(one_line(" a\r\n\tb\u{0}\u{1b}[31m\u{202e}c\u{200b} "), "a b [31m c");
        let amp = |c| (c == '&').then_some("&amp;");
        assert_eq!(escaped("a&b", 7, amp), "a&amp;b");
        assert_eq!(escaped("a&b", 6, amp), "a…");
        assert_eq!(escaped("&&&&", 13, amp), "&amp;&amp;…");
        assert_eq!(shortened("üüü", 6), "üüü");
        assert_eq!(shortened("üüüü", 7), "üü…");
        for bytes in 3..20 {
            assert!(escaped("a<&ü\u{1f600}>&&&xyz", bytes, amp).len() <= bytes);
        }
    }
}
