//! A value that is a secret by its name: `JWT_SECRET = "…"`, `os.getenv("JWT_SECRET", "…")`, `jwt-secret: …`.

use super::super::placeholder::{is_marked, is_placeholder, looks_random};
use super::SecretKind;

/// Names of the key that signs tokens: any value is a secret, however simple.
const SIGNING: [&str; 5] = ["JWT_SECRET", "JWT_SECRET_KEY", "JWT_SIGNING_KEY", "JWT_KEY", "SECRET_KEY"];
/// Parts of a name that suggest a secret.
const ASKING: [&str; 8] = ["SECRET", "TOKEN", "PASSWORD", "PASSWD", "PWD", "KEY", "APIKEY", "CREDENTIALS"];
/// Parts of a name that say that the key is for everybody, and what ends the name of a key's number.
const FOR_EVERYBODY: [&str; 2] = ["PUBLIC", "PUBLISHABLE"];
const KEY_NUMBER: [&str; 2] = ["KEY", "ID"];
/// Those that suggest a password, which a person has chosen.
const PASSWORDS: [&str; 3] = ["PASSWORD", "PASSWD", "PWD"];
/// Functions that look a variable up, with a default as second argument, besides all that name the environment (`getenv`,
/// `get_env`): a dictionary's, decouple's, environs'.
const LOOKUPS: [&str; 5] = ["get", "setdefault", "config", "str", "pop"];
/// Calls that leave their argument as it is: pydantic's (a field's first argument is its default), Starlette's.
const WRAPPERS: [&str; 6] = ["Field", "SecretStr", "SecretBytes", "Secret", "str", "bytes"];
/// At most so many calls within calls are followed.
const DEEPEST: usize = 3;

/// A generated key is at least this long; a person's password is shorter.
const SHORTEST_KEY: usize = 16;
pub(super) const SHORTEST_PASSWORD: usize = 8;
/// Unquoted words for no secret, as YAML, JSON and INI files have them.
const NO_VALUES: [&str; 5] = ["null", "none", "~", "true", "false"];
/// What a tag, an alias and an anchor of YAML begin with.
const REFERENCES: [char; 3] = ['!', '*', '&'];
/// How far before its value a name may be, and how long a value may be.
const FARTHEST: usize = 120;
const LONGEST: usize = 256;

/// What a value is to the name before it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The name is set to it.
    Value,
    /// It counts where nothing is set: a placeholder passes.
    Default,
    /// It may be anything, a version or part of a sentence: it counts only if it looks random.
    Unclear,
}

/// The end of a call or a bracket that this line leaves open, with what precedes it; empty if it leaves none open.
pub(super) fn left_open(before: &str, line: &str) -> String {
    let code = line.split(" #").next().unwrap_or(line).trim_end();
    if !code.ends_with(['(', ',']) {
        return String::new();
    }
    tail(&format!("{before}\n{}", tail(code))).to_owned()
}

/// The first value in a line that is a secret by its name. `before` is what the lines before it leave open.
pub(super) fn assigned(before: &str, line: &str, python: bool) -> Option<SecretKind> {
    let dockerfile = line.trim_start().strip_prefix("ENV ").and_then(|rest| rest.trim_start().split_once(' '));
    if let Some((name, rest)) = dockerfile
        && let Some((value, _)) = value(rest.trim_start(), false)
        && let Some(kind) = given(name, value, Role::Value)
    {
        return Some(kind);
    }
    let joined = format!("{before}\n{line}");
    let (text, begins) = if before.is_empty() { (line, 0) } else { (joined.as_str(), before.len() + 1) };
    let mut from = 0;
    while let Some(at) = text[from..].find(['=', ':', ',']).map(|at| from + at) {
        from = at + 1;
        let Some((name, role)) = name_before(text, at, python) else { continue };
        let rest = if python { unwrapped(&text[from..]) } else { text[from..].trim_start() };
        let Some((value, end)) = value(rest, python) else { continue };
        let is_here = text.len() - rest.len() >= begins;
        let is_unclear = !python && text.as_bytes()[at] == b':' && is_unclear(text, rest, end);
        let role = if is_unclear { Role::Unclear } else { role };
        if let Some(kind) = given(name, value, role).filter(|_| is_here) {
            return Some(kind);
        }
        // Signs within the value are part of it.
        from = text.len() - rest.len() + end;
    }
    if !python {
        return None;
    }
    // `os.getenv("JWT_SECRET") or "…"`, `os.environ["JWT_SECRET"] if … else "…"`.
    [") or ", " else "].into_iter().find_map(|word| {
        let (before, after) = line.split_once(word)?;
        // What is looked up, not the condition.
        let before = if word == " else " { before.rsplit_once(" if ")?.0 } else { before };
        let name = identifiers(tail(before)).find(|name| asks(name).is_some())?;
        let rest = unwrapped(after);
        let (value, end) = value(rest, python)?;
        // `… or "x" in y`, `… or "x" == y`.
        let more = rest.get(end + 1..).unwrap_or_default().trim_start();
        let is_compared = more.starts_with(|c: char| c.is_ascii_alphabetic() || "=!<>".contains(c));
        given(name, value, Role::Default).filter(|_| !is_compared)
    })
}

/// Whether an unquoted value after a colon is a reference, or part of a comment, a message or a sentence:
/// `# JWT_SECRET: required`, `echo "JWT_SECRET: missing"`.
fn is_unclear(line: &str, rest: &str, end: usize) -> bool {
    let more = rest[end..].trim_start();
    let is_quoted = rest.starts_with(['"', '\'']);
    let goes_on = !more.is_empty() && !more.starts_with(['#', ',', '}', ']']);
    let is_text = line.trim_start().starts_with('#') || goes_on || rest[..end].contains(['"', '\'']);
    !is_quoted && (is_text || rest.starts_with(REFERENCES))
}

/// What is inside brackets, or inside a call that leaves it as it is.
fn unwrapped(text: &str) -> &str {
    let mut rest = text.trim_start();
    for _ in 0..DEEPEST {
        let Some(open) = rest.bytes().take(FARTHEST).position(|byte| byte == b'(') else { break };
        let callee = rest[..open].rsplit('.').next().unwrap_or_default();
        if !callee.is_empty() && !WRAPPERS.contains(&callee) {
            break;
        }
        rest = rest[open + 1..].trim_start();
    }
    rest
}

/// The name for the value after the sign at `at`, and what that value is to it.
fn name_before(line: &str, at: usize, python: bool) -> Option<(&str, Role)> {
    // Most signs do not follow a name.
    let follows = |c: &u8| c.is_ascii_alphanumeric() || b"_-\"'] \t".contains(c);
    line.as_bytes()[..at].last().filter(|c| follows(c))?;
    let before = tail(&line[..at]);
    if line.as_bytes()[at] == b',' {
        // `getenv("NAME", "…")`.
        let (call, name) = before.trim_end().strip_suffix(['"', '\''])?.rsplit_once(['"', '\''])?;
        let callee = identifiers(call.trim_end().strip_suffix('(')?).next()?;
        let lower = callee.to_ascii_lowercase();
        let role = match LOOKUPS.contains(&callee) || lower.contains("env") {
            true => Role::Default,
            // `get_secret("NAME", "latest")`: a vault's, whose second argument may be a version.
            false if lower.contains("get") => Role::Unclear,
            false => return None,
        };
        return asks(name).map(|_| (name, role));
    }
    let statement = before.rsplit(['(', ',', ';', '{', '}']).next().unwrap_or(before);
    // `NAME: str | None = "…"`.
    let target = if python { statement.split(':').next().unwrap_or(statement) } else { statement };
    let name = identifiers(target).next()?;
    let found = match name {
        "default" | "fallback" => {
            identifiers(before).find(|name| asks(name).is_some()).map(|name| (name, Role::Default))
        }
        _ => asks(name).map(|_| (name, Role::Value)),
    };
    // A shell's `${NAME:-default}` and `"$NAME" = value` read the name and do not set it.
    let is_read = |name: &str| before.rsplit_once(name).is_some_and(|(before, _)| before.ends_with('$'));
    found.filter(|(name, _)| before.rfind("${").is_none_or(|open| before[open..].contains('}')) && !is_read(name))
}

/// The names in a text, the last one first.
fn identifiers(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    text.rsplit(move |c| !is_part(c)).filter(|name| !name.is_empty())
}

/// The end of a text, of limited length.
fn tail(text: &str) -> &str {
    let from = text.len().saturating_sub(FARTHEST);
    let from = (from..).find(|at| text.is_char_boundary(*at)).unwrap_or(from);
    &text[from..]
}

/// The value that begins here, of limited length, and where it ends: in quotes or, unless `python`, up to a blank or comma.
fn value(rest: &str, python: bool) -> Option<(&str, usize)> {
    let end = (0..=LONGEST.min(rest.len())).rev().find(|at| rest.is_char_boundary(*at)).unwrap_or(0);
    let rest = &rest[..end];
    let prefix = usize::from(python && rest.starts_with(['r', 'b', 'u']));
    match rest[prefix..].chars().next()? {
        quote @ ('"' | '\'') => {
            let value = rest[prefix + 1..].split(quote).next()?;
            Some((value, prefix + 1 + value.len()))
        }
        _ if python => None,
        first => {
            let value = rest.split([' ', '\t', ',', ';']).next()?;
            // A shell puts a command's output in place of backquotes.
            let is_none = first == '`' || NO_VALUES.contains(&value.to_ascii_lowercase().as_str());
            (!is_none).then_some((value, value.len()))
        }
    }
}

/// The kind of secret that a name and its value are.
fn given(name: &str, value: &str, role: Role) -> Option<SecretKind> {
    let is_signing = SIGNING.contains(&name.to_ascii_uppercase().as_str());
    let passes = match role {
        Role::Value => is_marked(value),
        Role::Default => is_placeholder(value),
        Role::Unclear => true,
    };
    if is_signing && !passes && is_bare(value) {
        return Some(SecretKind::SigningKey);
    }
    asks(name).filter(|shortest| looks_random(value, *shortest)).map(|_| SecretKind::Assigned)
}

/// How long a secret with this name is at least; `None` if the name does not suggest one.
fn asks(name: &str) -> Option<usize> {
    let upper = name.to_ascii_uppercase();
    let parts: Vec<&str> = upper.split(['_', '-']).collect();
    // `jwtSecret`, `dbpassword`.
    let has = |words: &[&str]| words.iter().any(|word| parts.contains(word) || word.len() > 3 && upper.ends_with(word));
    if parts.iter().any(|part| FOR_EVERYBODY.contains(part)) || parts.ends_with(&KEY_NUMBER) {
        return None;
    }
    if has(&PASSWORDS) { Some(SHORTEST_PASSWORD) } else { has(&ASKING).then_some(SHORTEST_KEY) }
}

/// Whether it is a plain value, not a reference to a variable, a call, or a sentence.
pub(super) fn is_bare(value: &str) -> bool {
    !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || "(){}[]$".contains(c))
}
