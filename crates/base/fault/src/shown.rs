/// As much of a foreign text as an error shows: `chars_max` characters, `…` where it was cut.
///
/// What a terminal or a log's reader would obey instead of showing it stands as an escape: control characters, and
/// those that are invisible or turn the direction of writing. Whoever writes an error that quotes what came from
/// outside takes it through here.
///
/// ```
/// assert_eq!(signet_fault::shown("prod", 64), "prod");
/// assert_eq!(signet_fault::shown("a\u{1b}[2Jb", 64), "a\\u{1b}[2Jb");
/// assert_eq!(signet_fault::shown("abcdef", 3), "abc…");
/// ```
#[must_use]
pub fn shown(text: &str, chars_max: usize) -> String {
    let mut shown = String::new();
    let mut chars = text.chars();
    for c in chars.by_ref().take(chars_max) {
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if is_obeyed(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            // Soft hyphen; zero-width and directional marks; line separators; directional embeddings and isolates;
            // the byte order mark; interlinear annotations; tags.
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn what_a_terminal_would_obey_is_escaped_and_letters_of_any_script_are_not() {
        assert_eq!(
            shown("zürich ürünü 東京 'x' \"y\" \\", 64),
            "zürich ürünü 東京 'x' \"y\" \\"
        );
        assert_eq!(shown("a\nb\tc\r", 64), "a\\nb\\tc\\r");
        assert_eq!(shown("\u{9b}2J\u{202e}gpj", 64), "\\u{9b}2J\\u{202e}gpj");
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(shown("東京都", 3), "東京都");
        assert_eq!(shown("東京都", 2), "東京…");
        assert_eq!(shown("", 0), "");
    }
}
