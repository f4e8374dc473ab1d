//! The rule about secrets in files: whoever has the repository has them, and so has its history for ever.

use super::Finding;
use super::backend::{Backend, File};
use super::environment::Environment;
use super::literal::{has_token, has_url_password, is_marked, is_placeholder, looks_random};
use super::python::{self, Kind, Statement, Token};

/// More lines than this say nothing new.
const MOST: usize = 20;
/// A key that a machine made; a person's password is shorter.
const SHORTEST_KEY: usize = 16;
const SHORTEST_PASSWORD: usize = 8;
/// Words between a name and its value: `api_key: SecretStr | None = Field(default=` has eleven.
const FARTHEST: usize = 12;

/// Names for the key that signs tokens: any value of one is a secret, however simple.
const SIGNING: [&str; 5] = ["JWT_SECRET", "JWT_SECRET_KEY", "JWT_SIGNING_KEY", "JWT_KEY", "SECRET_KEY"];
/// Parts of a name that ask for a secret.
const ASKING: [&str; 8] = ["SECRET", "TOKEN", "PASSWORD", "PASSWD", "PWD", "KEY", "APIKEY", "CREDENTIALS"];
/// Those among them that ask for what a person thinks up.
const PASSWORDS: [&str; 3] = ["PASSWORD", "PASSWD", "PWD"];

/// What is asked for a variable, with a default as the second argument: os's, a dictionary's, decouple's, environs'.
const LOOKUPS: [&str; 6] = ["getenv", "get", "setdefault", "config", "env", "str"];

const KNOWN: &str = "the value of one of this environment's secrets stands here";
const URL: &str = "a URL with its password stands here";
const TOKEN: &str = "an access token or a private key stands here";
const LITERAL: &str = "the key that signs tokens stands here";
const ASSIGNED: &str = "what looks like a secret stands here";
const REMEDY: &str = "read it from the environment (os.environ), delete it here, and replace it with a new one: the \
                      repository's history keeps this one";

/// No file holds a secret: the place is told, never what stands there.
pub(super) fn judge(environment: &Environment<'_>, backend: &Backend) -> Vec<Finding> {
    let known = environment.secrets();
    let files = || backend.python.iter().chain(&backend.configuration);
    let found: Vec<Finding> = files()
        .flat_map(|file| lines(file, &known).into_iter().map(move |(line, what)| (file, line, what)))
        .map(|(file, line, what)| Finding::error(what, REMEDY).at(&file.name, line))
        .take(MOST)
        .collect();
    if found.is_empty() {
        return vec![Finding::ok(format!("no secret stands in the {} files that were read", files().count()))];
    }
    found
}

/// The lines of a file that hold a secret, and of which kind; each once.
fn lines(file: &File, known: &[String]) -> Vec<(u32, &'static str)> {
    let mut found: Vec<(u32, &'static str)> = Vec::new();
    for (number, line) in (1..).zip(file.text.lines()) {
        let what = if known.iter().any(|secret| line.contains(secret)) {
            KNOWN
        } else if has_url_password(line) {
            URL
        } else if has_token(line) {
            TOKEN
        } else {
            continue;
        };
        found.push((number, what));
    }
    if file.code.is_empty() {
        let text = (1..).zip(file.text.lines());
        found.extend(
            text.filter_map(|(number, line)| Some((number, assignments(line).find_map(|(n, v)| given(&n, v))?))),
        );
    } else {
        found.extend(python::statements(&file.text).iter().flat_map(in_statement));
    }
    found.sort_by_key(|(line, _)| *line);
    found.dedup_by_key(|(line, _)| *line);
    found
}

/// A value that is given to a name in a file of settings.
fn given(name: &str, value: &str) -> Option<&'static str> {
    if SIGNING.contains(&name.to_ascii_uppercase().as_str()) && !is_placeholder(value) && is_bare(value) {
        return Some(LITERAL);
    }
    asks(name).filter(|shortest| looks_random(value, *shortest)).map(|_| ASSIGNED)
}

/// How long a secret for this name is at least; `None` where the name asks for none.
fn asks(name: &str) -> Option<usize> {
    let upper = name.to_ascii_uppercase();
    let parts: Vec<&str> = upper.split(['_', '-']).collect();
    // `jwtSecret`, `dbpassword`.
    let has = |words: &[&str]| words.iter().any(|word| parts.contains(word) || word.len() > 3 && upper.ends_with(word));
    if has(&PASSWORDS) { Some(SHORTEST_PASSWORD) } else { has(&ASKING).then_some(SHORTEST_KEY) }
}

/// A value as such: no reference to a variable, a call, or a sentence.
fn is_bare(value: &str) -> bool {
    !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || "(){}[]$".contains(c))
}

/// `NAME=value`, `NAME: "value"` and `ENV NAME value`, as many as there are in a line.
fn assignments(line: &str) -> impl Iterator<Item = (String, &str)> {
    let dockerfile = line.trim_start().strip_prefix("ENV ").and_then(|rest| rest.trim_start().split_once(' '));
    let signs = line.match_indices(['=', ':']).filter_map(|(at, _)| {
        let before = line[..at].trim_end().trim_end_matches(['"', '\'']);
        let start = before.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_').len();
        Some((before[start..].to_owned(), value(line[at + 1..].trim_start()))).filter(|(name, _)| {
            // `${NAME:-default}` is a shell's: the name is read there, not written.
            !name.is_empty() && !before[..start].ends_with("${")
        })
    });
    dockerfile.map(|(name, rest)| (name.to_owned(), value(rest.trim_start()))).into_iter().chain(signs)
}

fn value(rest: &str) -> &str {
    match rest.chars().next() {
        Some(quote @ ('"' | '\'')) => rest[1..].split(quote).next().unwrap_or_default(),
        _ => rest.split([' ', '\t', ',', ';']).next().unwrap_or_default(),
    }
}

/// The strings of a statement that are secrets: by the name that they are given to, or by that and their looks.
fn in_statement(statement: &Statement) -> Vec<(u32, &'static str)> {
    let tokens = &statement.tokens;
    let strings = tokens.iter().enumerate().filter(|(_, token)| token.kind == Kind::Text { formatted: false });
    let found = strings.filter_map(|(at, token)| {
        if is_signing_key(&tokens[..at], &token.text) {
            return Some((token.line, LITERAL));
        }
        let shortest = owner(&tokens[..at])?;
        looks_random(&token.text, shortest).then_some((token.line, ASSIGNED))
    });
    found.collect()
}

/// How long a secret is at least that stands behind these words; `None` where nothing among them asks for one. What
/// stands before a comma owns what follows it only as a default: `getenv("TOKEN", "…")`, `config("TOKEN", default="…")`.
fn owner(before: &[Token]) -> Option<usize> {
    let (last, name) = (before.last()?, before.len().checked_sub(2).map(|at| &before[at]));
    let is_default = last.is(",") || last.is("=") && name.is_some_and(|name| name.text == "default");
    let own = before.iter().rev().take(FARTHEST).take_while(|token| is_default || !token.is(","));
    own.filter_map(named).find_map(asks)
}

/// A name, or a string that could be one: `"JWT_SECRET"` in `os.getenv("JWT_SECRET", …)`.
fn named(token: &Token) -> Option<&str> {
    let is_name = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    (token.kind != Kind::Operator && is_name(&token.text)).then_some(token.text.as_str())
}

/// `JWT_SECRET = "…"`, `JWT_SECRET: str = "…"`, `["JWT_SECRET"] = "…"`, `"JWT_SECRET": "…"`; and as a default
/// `getenv("JWT_SECRET", "…")` or `getenv("JWT_SECRET") or "…"`, where a word that stands for any may be.
fn is_signing_key(before: &[Token], value: &str) -> bool {
    let signs = |token: Option<&Token>| {
        token.and_then(named).is_some_and(|name| SIGNING.contains(&name.to_ascii_uppercase().as_str()))
    };
    let from_end = |n: usize| before.len().checked_sub(n).map(|at| &before[at]);
    let is = |n: usize, text: &str| from_end(n).is_some_and(|token| token.text == text);
    let annotated = || {
        let colon = before.iter().rposition(|token| token.is(":"))?;
        let is_annotation = before[colon..]
            .iter()
            .skip(1)
            .all(|t| t.kind == Kind::Name || ["=", "[", "]", "|", "."].contains(&t.text.as_str()));
        is_annotation.then(|| colon.checked_sub(1).map(|at| &before[at])).flatten()
    };
    let assigned = is(1, "=") && (signs(from_end(2)) || is(2, "]") && signs(from_end(3)) || signs(annotated()))
        || is(1, ":") && signs(from_end(2));
    let asked = is(1, ",") && signs(from_end(2)) && is(3, "(") && LOOKUPS.iter().any(|lookup| is(4, lookup));
    let default = asked || is(1, "or") && is(2, ")") && signs(from_end(3));
    is_bare(value) && (assigned && !is_marked(value) || default && !is_placeholder(value))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn kinds(name: &str, text: &str) -> Vec<(u32, &'static str)> {
        let code = if name.ends_with(".py") { python::code(text) } else { String::new() };
        lines(
            &File { path: PathBuf::from(name), name: name.into(), text: text.into(), code },
            &["known-to-us-4711".into()],
        )
    }

    #[test]
    fn secrets_in_python() {
        let rows = [
            ("x = 1\nJWT_SECRET = \"literal\"\n", (2, LITERAL)),
            ("JWT_SECRET: str | None = 'hunter2'", (1, LITERAL)),
            ("os.environ['JWT_SECRET'] = 'hunter2'", (1, LITERAL)),
            ("config = {\n 'SECRET_KEY':\n 'hunter2'}", (3, LITERAL)),
            ("key = os.getenv('JWT_SECRET', 'supersecret')", (1, LITERAL)),
            ("key = os.getenv('JWT_SECRET') or 'supersecret'", (1, LITERAL)),
            ("key = os.getenv(\n    'STRIPE_TOKEN',\n    '9f86d081884c7d659a2feaa0c55ad015',\n)", (3, ASSIGNED)),
            ("# API_KEY = 'Zk3xPq9vLw2nRt7bYm5c'", (1, ASSIGNED)),
            ("def f(db_password='Tr0ub4dor&3'): ...", (1, ASSIGNED)),
            ("class S:\n    api_key: str = Field(default='Zk3xPq9vLw2nRt7bYm5c')", (2, ASSIGNED)),
            ("u = os.getenv('DATABASE_URL',\n 'postgresql://a:hunter2@db.acme.com/x')", (2, URL)),
            ("'''\nuse ghp_16C7e42F292c6912E7710c838347Ae178B4a\n'''", (2, TOKEN)),
            ("x = 'known-to-us-4711'", (1, KNOWN)),
        ];
        for (text, expected) in rows {
            assert_eq!(kinds("a.py", text), [expected], "{text}");
        }
    }

    #[test]
    fn what_is_no_secret_in_python() {
        for text in [
            "JWT_SECRET = os.environ['JWT_SECRET']",
            "JWT_SECRET = os.getenv('JWT_SECRET', 'change-me')",
            "JWT_SECRET = os.getenv('JWT_SECRET', 'dev-secret-not-for-production')",
            "JWT_SECRET = os.getenv('JWT_SECRET', 'secret')",
            "JWT_SECRET = os.getenv('JWT_SECRET', '')",
            "token = jwt.encode(claims, JWT_SECRET, algorithm='HS256')",
            "faults.append(f'JWT_SECRET has fewer than {MIN} characters: {NEW}')",
            "NEW_SECRET = \"python -c 'import secrets; print(secrets.token_urlsafe(48))'\"",
            "oauth = OAuth2PasswordBearer(tokenUrl='/api/v1/auth/token')",
            "api_key = APIKeyHeader(name='X-Internal-Token-V2')",
            "DATABASE_URL = os.getenv('DATABASE_URL', 'postgresql+asyncpg://user:password@localhost:5432/app')",
            "url = f'postgresql://{user}:{password}@{host}/{name}'",
            "revision = '9f86d081884c7d659a2f'",
            "('JWT_SECRET', 'SECRET_KEY')",
        ] {
            assert_eq!(kinds("a.py", text), [], "{text}");
        }
    }

    #[test]
    fn secrets_in_settings() {
        for (name, text, expected) in [
            (".env", "A=1\nexport JWT_SECRET=hunter2", (2, LITERAL)),
            ("Dockerfile", "ENV JWT_SECRET hunter2", (1, LITERAL)),
            ("Procfile", "web: JWT_SECRET=hunter2 sidepulse run", (1, LITERAL)),
            ("railway.toml", "[env]\nAPI_TOKEN = \"Zk3xPq9vLw2nRt7bYm5c\"", (2, ASSIGNED)),
            ("compose.yaml", "  POSTGRES_PASSWORD: Tr0ub4dor&3", (1, ASSIGNED)),
            ("railpack.json", "{\"env\": {\"API_KEY\": \"Zk3xPq9vLw2nRt7bYm5c\"}}", (1, ASSIGNED)),
            ("requirements.txt", "--index-url https://u:hunter2@pypi.acme.com/simple", (1, URL)),
        ] {
            assert_eq!(kinds(name, text), [expected], "{text}");
        }
        for text in [
            "JWT_SECRET=",
            "JWT_SECRET=change-me",
            "JWT_SECRET=${JWT_SECRET}",
            "  SECRET_KEY: ${SECRET_KEY:?Variable not set}",
            "POSTGRES_PASSWORD: postgres",
            "DATABASE_URL=postgresql://user:password@host/db",
            "web: sidepulse run -- uvicorn main:app --host 0.0.0.0 --port '$PORT'",
            "asyncpg==0.32.0 --hash=sha256:9f86d081884c7d659a2feaa0c55ad0159f86d081884c7d659a2feaa0c55ad015",
        ] {
            assert_eq!(kinds(".env.example", text), [], "{text}");
        }
    }
}
