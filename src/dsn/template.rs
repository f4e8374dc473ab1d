//! Parts of a URL that were never filled in: a variable that nothing has expanded, a placeholder from documentation, a
//! password that a console shows as stars.

/// Whether a variable's reference stands in the text: Railway's `${{Postgres.PGPASSWORD}}`, a shell's `${PGPASSWORD}`,
/// a template engine's `{{ password }}`.
pub(super) fn has_reference(text: &str) -> bool {
    let closed = |open: &str, close: char| text.split_once(open).is_some_and(|(_, rest)| rest.contains(close));
    closed("${", '}') || closed("{{", '}')
}

/// Whether a part of the URL is nothing but a placeholder: `{host}`, `<password>`, `%(password)s`, Supabase's
/// `[YOUR-PASSWORD]`, or the stars and dots of Neon's and others' consoles.
pub(super) fn is_placeholder(part: &str) -> bool {
    let between = |open: &str, close: &str| part.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b' '))
    };
    let is_masked = |star: char| part.chars().count() >= 3 && part.chars().all(|c| c == star);
    [("{", "}"), ("<", ">"), ("%(", ")s")].iter().any(|(open, close)| between(open, close).is_some_and(is_name))
        || between("[", "]").is_some_and(|name| is_name(name) && !name.bytes().any(|b| b.is_ascii_lowercase()))
        || is_masked('*')
        || is_masked('•')
}
