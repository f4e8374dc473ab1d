//! Text from a server or driver as one line that can be shown: without known secrets or control characters, and short.

use std::fmt;

use crate::dsn::Secret;

/// What a secret becomes.
const MASK: &str = "***";

/// The most characters that are shown: a server's message is one sentence, and the server's log has the rest.
const LIMIT: usize = 300;

/// The secrets of this process in every spelling, shared by everything that shows text from elsewhere.
pub(crate) struct Redactor {
    secrets: Vec<Vec<Spellings>>,
}

/// The ways in which one character of a secret may be written.
struct Spellings {
    exact: Vec<String>,
    /// `%C3%A9`: in upper, lower or mixed case.
    percent: String,
}

impl Redactor {
    /// For these secrets; empty ones are ignored.
    #[expect(clippy::needless_pass_by_value, reason = "the last owner of the secrets: the caller has no use for them")]
    pub(crate) fn new(secrets: Vec<Secret>) -> Redactor {
        let secrets = secrets.iter().map(Secret::expose).filter(|secret| !secret.is_empty());
        Redactor { secrets: secrets.map(|secret| secret.chars().map(Spellings::of).collect()).collect() }
    }

    /// `text` with every secret as `***`, every character that moves a cursor or reorders a line as an escape, and at
    /// most 300 characters long.
    ///
    /// A secret is found as it is, percent-encoded in whole or in part, and as Rust's `{:?}` writes it. Overlapping
    /// secrets are masked as one. The cut comes last and never divides a `***` or an escape, so no part of a secret is
    /// left at the end either.
    pub(crate) fn clean(&self, text: &str) -> String {
        let mut clean = String::new();
        let mut room = LIMIT;
        let mut hidden_until = 0;
        for (at, c) in text.char_indices() {
            let was_hidden = at < hidden_until;
            let end = self.secrets.iter().filter_map(|secret| longest_match(secret, text, at)).max();
            hidden_until = hidden_until.max(end.unwrap_or(0));
            let piece = match (was_hidden, at < hidden_until) {
                (true, _) => continue,
                (false, true) => MASK.to_owned(),
                (false, false) if is_unprintable(c) => c.escape_default().to_string(),
                (false, false) => c.to_string(),
            };
            let length = piece.chars().count();
            if length > room {
                break;
            }
            room -= length;
            clean.push_str(&piece);
        }
        clean
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

impl Spellings {
    fn of(c: char) -> Spellings {
        let mut exact = vec![c.to_string(), c.escape_debug().to_string(), c.escape_default().to_string()];
        if c == ' ' {
            // As in a query that a web framework encoded.
            exact.push("+".to_owned());
        }
        exact.sort_unstable();
        exact.dedup();
        let percent = c.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("%{byte:02X}")).collect();
        Spellings { exact, percent }
    }
}

/// Where the longest occurrence of the secret that begins at `at` ends.
///
/// Keeps the set of all ends so far, because spellings are ambiguous (`\\` is one backslash or two). With the set the time
/// is linear; trying one spelling after the other could take exponential time.
fn longest_match(secret: &[Spellings], text: &str, at: usize) -> Option<usize> {
    let mut ends = vec![at];
    for spellings in secret {
        let mut next = Vec::new();
        for rest in ends.iter().map(|&end| &text[end..]) {
            let end = text.len() - rest.len();
            next.extend(spellings.exact.iter().filter(|form| rest.starts_with(*form)).map(|form| end + form.len()));
            let encoded = rest.get(..spellings.percent.len());
            if encoded.is_some_and(|encoded| encoded.eq_ignore_ascii_case(&spellings.percent)) {
                next.push(end + spellings.percent.len());
            }
        }
        next.sort_unstable();
        next.dedup();
        if next.is_empty() {
            return None;
        }
        ends = next;
    }
    ends.into_iter().max()
}

/// Control characters (ESC, line ends), the line separators, and what reorders or hides text (Unicode's Bidi_Control,
/// zero-width characters, tags): a log line stays one line and reads as it is.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redactor(secrets: &[&str]) -> Redactor {
        Redactor::new(secrets.iter().map(|secret| Secret::new(*secret)).collect())
    }

    #[test]
    fn replaces_a_secret_however_it_is_spelled() {
        let rows = [
            ("p@ss/wörd", "auth p@ss/wörd.", "auth ***."),
            ("p@ss/wörd", "auth p%40ss%2Fw%C3%B6rd.", "auth ***."),
            ("p@ss/wörd", "auth p%40ss%2fw%c3%B6rd.", "auth ***."),
            ("p@ss/wörd", "auth %70@ss/w%c3%b6%72%64.", "auth ***."),
            ("p@ss/wörd", r"auth p@ss/w\u{f6}rd.", "auth ***."),
            ("a\u{1b}[31m\n", "x a\u{1b}[31m\n y", "x *** y"),
            ("a\u{1b}[31m\n", r"x a\u{1b}[31m\n y", "x *** y"),
            (r#"q"\t"#, r#"x "q\"\\t" y"#, r#"x "***" y"#),
            ("a b", "pw=a+b or a%20b", "pw=*** or ***"),
            ("100%", "100% 100%25 100%2525", "*** *** ***25"),
            ("", "nothing to hide", "nothing to hide"),
        ];
        for (secret, text, expected) in rows {
            assert_eq!(redactor(&[secret]).clean(text), expected, "{secret:?} in {text:?}");
        }
    }

    #[test]
    fn takes_the_longest_and_all_of_what_overlaps() {
        assert_eq!(redactor(&["pass", "password", "word"]).clean("a password, a pass, a word"), "a ***, a ***, a ***");
        assert_eq!(redactor(&["abcd", "cdef"]).clean("-abcdef-abcd-"), "-***-***-");
        assert_eq!(redactor(&["aa"]).clean("aaaaa b aa"), "*** b ***");
        assert_eq!(redactor(&["pw"]).clean("pwpw"), "******");
    }

    #[test]
    fn escapes_what_would_move_or_reorder_a_line() {
        let text = "a\r\n\tb\u{1b}[2J\u{7}\u{85}\u{2028}\u{2029}\u{202e}\u{2066}\u{200b}\u{feff}\0é😀\"\\";
        let clean = redactor(&[]).clean(text);
        assert!(!clean.contains(is_unprintable), "{clean:?}");
        let expected = r"a\r\n\tb\u{1b}[2J\u{7}\u{85}\u{2028}\u{2029}\u{202e}\u{2066}\u{200b}\u{feff}\u{0}";
        assert_eq!(clean, format!("{expected}é😀\"\\"));
    }

    #[test]
    fn cuts_at_300_characters_without_dividing_anything() {
        let known = redactor(&["s3cr3t"]);
        assert_eq!(known.clean(&"é".repeat(400)), "é".repeat(300));
        assert_eq!(known.clean(&"x".repeat(300)), "x".repeat(300));
        for before in 290..=300 {
            let clean = known.clean(&format!("{}s3cr3t", "x".repeat(before)));
            assert_eq!(clean, format!("{}{}", "x".repeat(before), if before <= 297 { "***" } else { "" }));
        }
        assert_eq!(known.clean(&format!("{}\u{1b}", "x".repeat(297))), "x".repeat(297));
        // What the cut would leave of a text full of backslashes must not take exponential time either.
        let slashes = redactor(&[&format!("{}x", "\\".repeat(40))]);
        assert_eq!(slashes.clean(&"\\".repeat(500)).len(), 300);
    }

    #[test]
    fn shows_nothing_of_itself() {
        assert_eq!(format!("{:?}", redactor(&["s3cr3t"])), "Redactor");
    }

    /// Encodes the characters that `escape` selects, in the case that it says.
    fn encode(secret: &str, escape: &[(bool, bool)]) -> String {
        let choice = escape.iter().cycle();
        let encoded = secret.chars().zip(choice).map(|(c, &(escaped, lower))| {
            let bytes = c.to_string().into_bytes().into_iter();
            match (escaped, lower) {
                (false, _) => c.to_string(),
                (true, false) => bytes.map(|b| format!("%{b:02X}")).collect(),
                (true, true) => bytes.map(|b| format!("%{b:02x}")).collect(),
            }
        });
        encoded.collect()
    }

    proptest! {
        /// No known secret gets through, wherever it stands and however it is encoded, and the text stays one line.
        #[test]
        fn no_secret_gets_through(
            tail in "[\\PC\\x00-\\x1f]{0,12}",
            parts in prop::collection::vec("[ -~\\x1b\\né\u{202e}]{0,120}", 1..6),
            escape in prop::collection::vec(any::<(bool, bool)>(), 1..20),
        ) {
            let secret = format!("Zq7Marked{tail}Hidden7qZ");
            let text = parts.join(&encode(&secret, &escape));
            let clean = redactor(&[&secret]).clean(&text);
            let pieces = ["Zq7Mark", "Marked", "Hidden", "den7qZ"];
            prop_assert!(!pieces.iter().any(|piece| clean.contains(piece)), "{}", clean);
            prop_assert!(!clean.contains(is_unprintable));
            prop_assert!(clean.chars().count() <= LIMIT);
        }

        /// Two secrets that overlap each other in the text hide each other's remains.
        #[test]
        fn any_secret_in_any_text(secrets in prop::collection::vec("[a-d]{3,5}", 0..4), text in "[a-d]{0,40}") {
            let known: Vec<&str> = secrets.iter().map(String::as_str).collect();
            let clean = redactor(&known).clean(&text);
            for secret in known {
                prop_assert!(!clean.contains(secret));
            }
        }

        /// Text without secrets is left as it is.
        #[test]
        fn harmless_text_is_left_alone(text in "[ -~é😀]{0,300}") {
            prop_assert_eq!(redactor(&["Zq7Marked7qZ"]).clean(&text), text);
        }
    }
}
