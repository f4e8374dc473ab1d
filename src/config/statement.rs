//! Is this a single SQL statement? A second one could end the read-only transaction in which a check runs, so it is
//! refused before anything is sent.

/// One SQL statement as it is sent to the server, without the semicolon at its end; as `Err` what is wrong with it.
pub(super) fn statement(text: &str) -> Result<String, &'static str> {
    let text = text.trim_start().trim_end_matches(|c: char| c == ';' || c.is_whitespace());
    if text.is_empty() {
        return Err("has no SQL");
    }
    // The wire protocol ends a query at the first NUL byte.
    if text.contains('\0') {
        return Err("holds a NUL character");
    }
    if has_semicolon(text) {
        return Err("has more than one statement");
    }
    Ok(text.to_owned())
}

/// Whether a semicolon stands outside of quotes and comments (PostgreSQL manual, section 4.1, "Lexical Structure").
fn has_semicolon(text: &str) -> bool {
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = match c {
            ';' => return true,
            '\'' => after_quoted(rest, '\'', ends_with_escape_prefix(text, rest)),
            '"' => after_quoted(rest, '"', false),
            '$' => after_dollar_quoted(text, rest),
            '-' if rest.starts_with("--") => rest.find('\n').map_or("", |end| &rest[end..]),
            '/' if rest.starts_with("/*") => after_comment(rest),
            _ => &rest[c.len_utf8()..],
        };
    }
    false
}

/// Whether the quote at the beginning of `rest` is that of an `E'…'` string, in which a backslash escapes.
fn ends_with_escape_prefix(text: &str, rest: &str) -> bool {
    let mut before = text[..text.len() - rest.len()].chars().rev();
    matches!(before.next(), Some('e' | 'E')) && !before.next().is_some_and(is_word)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// What follows a quoted text. A doubled quote ends it and begins the next, which comes to the same.
fn after_quoted(rest: &str, quote: char, escapes: bool) -> &str {
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == '\\' && escapes {
            chars.next();
        } else if c == quote {
            return &rest[at + 1..];
        }
    }
    ""
}

/// What follows `$tag$ … $tag$`; a single `$`, as in `$1` or in a name, is nothing special.
fn after_dollar_quoted<'a>(text: &str, rest: &'a str) -> &'a str {
    let in_name = text[..text.len() - rest.len()].chars().next_back().is_some_and(is_word);
    let Some(end) = rest[1..].find('$').map(|at| at + 2).filter(|_| !in_name) else { return &rest[1..] };
    let tag = &rest[..end];
    let inner = &tag[1..tag.len() - 1];
    if inner.starts_with(|c: char| c.is_ascii_digit()) || !inner.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return &rest[1..];
    }
    rest[end..].find(tag).map_or("", |at| &rest[end + at + tag.len()..])
}

/// What follows a block comment; these nest.
fn after_comment(mut rest: &str) -> &str {
    let mut depth = 0;
    loop {
        if let Some(inner) = rest.strip_prefix("/*") {
            depth += 1;
            rest = inner;
        } else if let Some(outer) = rest.strip_prefix("*/") {
            depth -= 1;
            rest = outer;
            if depth == 0 {
                return rest;
            }
        } else {
            let Some(c) = rest.chars().next() else { return rest };
            rest = &rest[c.len_utf8()..];
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_statement_is_taken_and_two_are_refused() {
        for text in [
            "SELECT 1",
            "SELECT 1;",
            " SELECT 1 ; ; ",
            "SELECT 'a;b' = \"a;b\"",
            "SELECT 'it''s; fine'",
            r"SELECT E'\'; fine'",
            "SELECT 1 -- a; comment",
            "SELECT 1 /* a; /* nested; */ one; */ + 1",
            "SELECT name'; DROP TABLE t; SELECT '",
            "SELECT $$a;b$$ || $t$;$$;$t$",
            "SELECT count(*) > 0 FROM t WHERE größe = 'ä;'",
        ] {
            assert!(statement(text).is_ok(), "{text}");
        }
        for text in [
            "",
            " ; ",
            "SELECT 1; SELECT 2",
            "COMMIT; CREATE TABLE t (a int); COMMIT",
            r"SELECT 'a\'; DROP TABLE t; --'",
            "SELECT 'a'; SELECT 'b'",
            "SELECT 1 -- comment\n; SELECT 2",
            "SELECT 1 /* */; SELECT 2",
            "SELECT $$a$$; SELECT 2",
            "SELECT a$1$; SELECT 2 -- $1$",
            "SELECT 1\0",
        ] {
            assert!(statement(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r#"[a-zE'"$;/*\\\n ä-]{0,40}"#) {
            let _ = statement(&text);
        }
    }
}
