//! Which lines of a file contain a secret? Each line is read once, whatever the language: a name that suggests a secret,
//! with a value; a URL with a password; a token by its vendor's prefix.

use super::placeholder::{is_marked, is_placeholder, is_word, looks_random};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecretKind {
    /// One of this environment's secrets.
    Known,
    /// A URL with its password.
    Url,
    /// An access token or a private key.
    Token,
    /// The key that signs tokens, with any value.
    SigningKey,
    /// What looks random, with a name that suggests a secret.
    Assigned,
}

/// Names of the key that signs tokens: any value is a secret, however simple.
const SIGNING: [&str; 5] = ["JWT_SECRET", "JWT_SECRET_KEY", "JWT_SIGNING_KEY", "JWT_KEY", "SECRET_KEY"];
/// Parts of a name that suggest a secret.
const ASKING: [&str; 8] = ["SECRET", "TOKEN", "PASSWORD", "PASSWD", "PWD", "KEY", "APIKEY", "CREDENTIALS"];
/// Those that suggest a password, which a person has chosen.
const PASSWORDS: [&str; 3] = ["PASSWORD", "PASSWD", "PWD"];
/// Functions that look a variable up, with a default as second argument, besides all whose names say so (`getenv`,
/// `environ.get`, `get_secret`): a dictionary's, decouple's, environs'.
const LOOKUPS: [&str; 4] = ["setdefault", "config", "str", "pop"];
/// Calls that leave their argument as it is: pydantic's (a field's first argument is its default), Starlette's.
const WRAPPERS: [&str; 6] = ["Field", "SecretStr", "SecretBytes", "Secret", "str", "bytes"];
/// At most so many calls within calls are followed.
const DEEPEST: usize = 3;

/// A generated key is at least this long; a person's password is shorter.
const SHORTEST_KEY: usize = 16;
const SHORTEST_PASSWORD: usize = 8;
/// How far before its value a name may be, and how long a value may be.
const FARTHEST: usize = 120;
const LONGEST: usize = 256;

/// Parts of hosts in examples.
const NO_HOSTS: [&str; 6] = ["example", "xxx", "...", "<", "{", "$"];
/// Prefixes by which vendors mark their tokens, and how many characters follow at least.
const TOKENS: [(&str, usize); 13] = [
    ("npg_", 10),
    ("napi_", 20),
    ("ghp_", 30),
    ("gho_", 30),
    ("ghs_", 30),
    ("github_pat_", 30),
    ("glpat-", 16),
    ("sk_live_", 16),
    ("rk_live_", 16),
    ("sk-", 32),
    ("xoxb-", 20),
    ("AKIA", 16),
    ("AIza", 30),
];
/// `npg_` and ten characters.
const SHORTEST_TOKEN: usize = 14;
/// A random password of this length is a secret even for hosts where passwords for development are usual.
const SHORTEST_RANDOM_PASSWORD: usize = 12;

/// The lines that contain a secret, each once, and which kind. `python`: values are quoted, and anything else is code.
/// `known` are the environment's secrets.
pub(crate) fn lines(text: &str, python: bool, known: &[String]) -> Vec<(u32, SecretKind)> {
    let mut found = Vec::new();
    // Open brackets of an example: what an API's documentation shows is not a secret.
    let mut example = 0;
    let mut before = String::new();
    for (number, line) in (1..).zip(text.lines()) {
        let is_example = example > 0 || line.as_bytes().windows(7).any(|part| part.eq_ignore_ascii_case(b"example"));
        example = if is_example { open_brackets(line, example) } else { 0 };
        let kind = if known.iter().any(|secret| line.contains(secret)) {
            Some(SecretKind::Known)
        } else if has_url_password(line) {
            Some(SecretKind::Url)
        } else if has_keyword_password(line) {
            Some(SecretKind::Assigned)
        } else if has_token(line) {
            Some(SecretKind::Token)
        } else if is_example {
            None
        } else {
            assigned(&before, line, python)
        };
        found.extend(kind.map(|kind| (number, kind)));
        if python {
            before = left_open(&before, line);
        }
    }
    found
}

/// Brackets that are open at the line's end.
fn open_brackets(line: &str, before: usize) -> usize {
    let opened = line.matches(['{', '[', '(']).count();
    (before + opened).saturating_sub(line.matches(['}', ']', ')']).count())
}

/// The end of a call or a bracket that this line leaves open, with what precedes it; empty if it leaves none open.
fn left_open(before: &str, line: &str) -> String {
    let code = line.split(" #").next().unwrap_or(line).trim_end();
    if !code.ends_with(['(', ',']) {
        return String::new();
    }
    tail(&format!("{before}\n{}", tail(code))).to_owned()
}

/// The first value in a line that is a secret by its name. `before` is what the lines before it leave open.
fn assigned(before: &str, line: &str, python: bool) -> Option<SecretKind> {
    let dockerfile = line.trim_start().strip_prefix("ENV ").and_then(|rest| rest.trim_start().split_once(' '));
    if let Some((name, rest)) = dockerfile
        && let Some((value, _)) = value(rest.trim_start(), false)
        && let Some(kind) = given(name, value, false)
    {
        return Some(kind);
    }
    let joined = format!("{before}\n{line}");
    let (text, begins) = if before.is_empty() { (line, 0) } else { (joined.as_str(), before.len() + 1) };
    let mut from = 0;
    while let Some(at) = text[from..].find(['=', ':', ',']).map(|at| from + at) {
        from = at + 1;
        let Some((name, default)) = name_before(text, at, python) else { continue };
        let rest = if python { unwrapped(&text[from..]) } else { text[from..].trim_start() };
        let Some((value, end)) = value(rest, python) else { continue };
        let is_here = text.len() - rest.len() >= begins;
        if let Some(kind) = given(name, value, default).filter(|_| is_here) {
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
        let name = identifiers(tail(before)).find(|name| asks(name).is_some())?;
        given(name, value(unwrapped(after), python)?.0, true)
    })
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

/// The name for the value after the sign at `at`, and whether that value is only a default.
fn name_before(line: &str, at: usize, python: bool) -> Option<(&str, bool)> {
    // Most signs do not follow a name.
    let follows = |c: &u8| c.is_ascii_alphanumeric() || b"_-\"'] \t".contains(c);
    line.as_bytes()[..at].last().filter(|c| follows(c))?;
    let before = tail(&line[..at]);
    if line.as_bytes()[at] == b',' {
        // `getenv("NAME", "…")`.
        let (call, name) = before.trim_end().strip_suffix(['"', '\''])?.rsplit_once(['"', '\''])?;
        let callee = identifiers(call.trim_end().strip_suffix('(')?).next()?;
        let lower = callee.to_ascii_lowercase();
        let is_lookup = LOOKUPS.contains(&callee) || lower.contains("get") || lower.contains("env");
        return (is_lookup && asks(name).is_some()).then_some((name, true));
    }
    let statement = before.rsplit(['(', ',', ';', '{', '}']).next().unwrap_or(before);
    // `NAME: str | None = "…"`.
    let target = if python { statement.split(':').next().unwrap_or(statement) } else { statement };
    let name = identifiers(target).next()?;
    let found = match name {
        "default" | "fallback" => identifiers(before).find(|name| asks(name).is_some()).map(|name| (name, true)),
        _ => asks(name).map(|_| (name, false)),
    };
    // `${NAME:-default}` is a shell's, which reads the name and does not set it.
    found.filter(|_| before.rfind("${").is_none_or(|open| before[open..].contains('}')))
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
        _ => rest.split([' ', '\t', ',', ';']).next().map(|value| (value, value.len())),
    }
}

/// The kind of secret that a name and its value are.
fn given(name: &str, value: &str, default: bool) -> Option<SecretKind> {
    let is_signing = SIGNING.contains(&name.to_ascii_uppercase().as_str());
    let is_placeholder = if default { is_placeholder(value) } else { is_marked(value) };
    if is_signing && !is_placeholder && is_bare(value) {
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
    if has(&PASSWORDS) { Some(SHORTEST_PASSWORD) } else { has(&ASKING).then_some(SHORTEST_KEY) }
}

/// Whether it is a plain value, not a reference to a variable, a call, or a sentence.
fn is_bare(value: &str) -> bool {
    !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || "(){}[]$".contains(c))
}

/// Whether a URL in the text contains a password, or a token in place of one, that looks real.
pub(crate) fn has_url_password(text: &str) -> bool {
    let mut words = text.split(|c: char| c.is_whitespace() || "\"'`".contains(c)).filter(|word| word.contains('@'));
    words.any(|word| {
        // Up to the next URL, so that a line full of `://` is read only once.
        let mut pieces = word.split("://");
        let mut before = pieces.next().unwrap_or_default();
        pieces.any(|rest| {
            let has_scheme = before.ends_with(|c: char| c.is_ascii_alphanumeric());
            before = rest;
            has_scheme && rest.contains('@') && is_password_before_host(rest)
        })
    })
}

fn is_password_before_host(rest: &str) -> bool {
    let authority = rest.split('/').next().unwrap_or(rest);
    // The password may contain an unescaped slash: it is a secret all the same.
    let Some((credentials, host)) = authority.rsplit_once('@').or_else(|| rest.rsplit_once('@')) else { return false };
    let Some((user, password)) = credentials.split_once(':') else { return looks_random(credentials, 20) };
    if is_placeholder(password) || password == user {
        return false;
    }
    let host = host.split(['/', ':', '?']).next().unwrap_or(host).to_lowercase();
    let is_far = host.contains('.') && !host.starts_with("127.") && !host.ends_with(".internal");
    let is_real = is_far && !NO_HOSTS.iter().any(|mark| host.contains(mark));
    is_real || looks_random(password, SHORTEST_RANDOM_PASSWORD)
}

/// Whether libpq's other form, `host=… user=… password=…`, contains a password that looks real.
fn has_keyword_password(line: &str) -> bool {
    let mut pieces = line.split("password=");
    let mut before = pieces.next().unwrap_or_default();
    let is_dsn = ["host=", "dbname=", "user="].iter().any(|key| line.contains(key));
    is_dsn
        && pieces.any(|rest| {
            let begins = before.ends_with(|c: char| c.is_whitespace() || "\"'".contains(c));
            before = rest;
            let value = rest.trim_start_matches('\'').split(|c: char| c.is_whitespace() || "\"'".contains(c)).next();
            begins && value.is_some_and(|value| is_bare(value) && looks_random(value, SHORTEST_PASSWORD))
        })
}

/// Whether the text contains an access token with its vendor's prefix, a JWT, or a private key in PEM form.
pub(crate) fn has_token(text: &str) -> bool {
    if text.contains("-----BEGIN") && text.contains("PRIVATE KEY-----") {
        return true;
    }
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "_-.".contains(c)));
    words.filter(|word| word.len() >= SHORTEST_TOKEN).any(|word| {
        let known = |(prefix, more): &(&str, usize)| {
            word.strip_prefix(prefix)
                .is_some_and(|rest| rest.len() >= *more && !rest.split(['-', '_', '.']).all(is_word))
        };
        let is_jwt = word.starts_with("eyJ") && word.split('.').count() == 3 && word.len() >= 60;
        (TOKENS.iter().any(known) || is_jwt) && !is_marked(word)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds(text: &str, python: bool) -> Vec<(u32, SecretKind)> {
        lines(text, python, &["known-to-us-4711".into()])
    }

    #[test]
    fn secrets_in_python() {
        use SecretKind::{Assigned, Known, SigningKey, Token, Url};
        for (text, expected) in [
            ("x = 1\nJWT_SECRET = \"literal\"\n", (2, SigningKey)),
            ("JWT_SECRET: str | None = 'hunter2'", (1, SigningKey)),
            ("os.environ['JWT_SECRET'] = 'hunter2'", (1, SigningKey)),
            ("config = {'SECRET_KEY': 'hunter2'}", (1, SigningKey)),
            ("key = os.getenv('JWT_SECRET', 'supersecret')", (1, SigningKey)),
            ("key = os.getenv('JWT_SECRET') or 'supersecret'", (1, SigningKey)),
            ("k = os.environ.get('STRIPE_TOKEN', '9f86d081884c7d659a2feaa0c55ad015')", (1, Assigned)),
            ("# API_KEY = 'Zk3xPq9vLw2nRt7bYm5c'", (1, Assigned)),
            ("def f(db_password='Tr0ub4dor&3'): ...", (1, Assigned)),
            ("    api_key: str = Field(default='Zk3xPq9vLw2nRt7bYm5c')", (1, Assigned)),
            ("    api_key = config('API_KEY', default='Zk3xPq9vLw2nRt7bYm5c')", (1, Assigned)),
            (" 'postgresql://a:hunter2@db.acme.com/x')", (1, Url)),
            ("'''\nuse ghp_16C7e42F292c6912E7710c838347Ae178B4a\n'''", (2, Token)),
            ("x = 'known-to-us-4711'", (1, Known)),
            ("TOKEN = 'é é é', SECRET_KEY='hunter2'", (1, SigningKey)),
            ("key = os.getenv(\n    'JWT_SECRET', 'supersecret'\n)", (2, SigningKey)),
            ("key = os.getenv(\n    'JWT_SECRET',  # or this\n    'supersecret',\n)", (3, SigningKey)),
            ("SECRET_KEY = (\n    'hunter2'\n)", (2, SigningKey)),
            ("api_key: str = Field(\n    default='Zk3xPq9vLw2nRt7bYm5c',\n)", (2, Assigned)),
            ("    jwt_secret: str = Field('hunter2', min_length=5)", (1, SigningKey)),
            ("    jwt_secret: SecretStr = SecretStr('hunter2')", (1, SigningKey)),
            (&format!("jwt_secret: str = Field('hunter2', description='{}')", "long ".repeat(30)), (1, SigningKey)),
            ("    api_key: SecretStr = Field(default=SecretStr('Zk3xPq9vLw2nRt7bYm5c'))", (1, Assigned)),
            ("    api_key: SecretStr = Field(SecretStr('Zk3xPq9vLw2nRt7bYm5c'))", (1, Assigned)),
            ("key = os.getenv('JWT_SECRET', default='supersecret')", (1, SigningKey)),
            ("key = parser.get('app', 'jwt_secret', fallback='supersecret')", (1, SigningKey)),
            ("key = get_env('JWT_SECRET', 'supersecret')", (1, SigningKey)),
            ("p = env_or('DB_PASSWORD', 'Tr0ub4dor&3')", (1, Assigned)),
            ("key = os.environ['JWT_SECRET'] if on else 'supersecret'", (1, SigningKey)),
            ("e = create_engine('postgresql://app:hunter2@db.acme.com/app')", (1, Url)),
            ("u = os.environ.get('X', 'postgresql://u:hunter2@db.acme.com/x')", (1, Url)),
            ("c = psycopg2.connect('host=db.acme.com dbname=x user=app password=Tr0ub4dor&3')", (1, Assigned)),
            ("c = connect(\"host=localhost user=app password='Tr0ub4dor&3'\")", (1, Assigned)),
        ] {
            assert_eq!(kinds(text, true), [expected], "{text}");
        }
    }

    #[test]
    fn what_is_not_a_secret_in_python() {
        for text in [
            "JWT_SECRET = os.environ['JWT_SECRET']",
            "JWT_SECRET = os.getenv('JWT_SECRET', 'change-me')",
            "JWT_SECRET = os.getenv('JWT_SECRET', 'dev-secret-not-for-production')",
            "JWT_SECRET = os.getenv('JWT_SECRET', 'secret')",
            "JWT_SECRET = os.getenv('JWT_SECRET', 'sua-chave-aqui')",
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
            "json_schema_extra={\n  'example': {\n    'password': 'S3curePass!23',\n  }\n}",
            "password: str = Field(examples=['S3curePass!23'])",
            "JWT_SECRET = os.getenv(\n    'JWT_SECRET',\n    'change-me',\n)",
            "jwt_secret: str = Field(..., alias='JWT_SECRET')",
            "SECRET_KEY = load('jwt_key')",
            "SECRET_KEY = open('/run/secrets/x').read()",
            "SECRET_KEY = config('jwt_secret')",
            "headers = (\n    'X-Api-Key',\n    'Authorization',\n)",
            "NAMES = [\n    'JWT_SECRET',\n    'DATABASE_URL',\n]",
            "check('JWT_SECRET', 'is not set')",
            "c = connect(host=host, user=user, password=password)",
            "c = connect(f'host={host} user={user} password={password}')",
            "c = connect('host=localhost user=postgres password=postgres')",
            "c = connect(host=h, user=u, password=settings.db_password2)",
            "x = a if b else 'Zk3xPq9vLw2nRt7bYm5c'",
        ] {
            assert_eq!(kinds(text, true), [], "{text}");
        }
    }

    #[test]
    fn secrets_in_settings() {
        use SecretKind::{Assigned, SigningKey, Url};
        for (text, expected) in [
            ("A=1\nexport JWT_SECRET=hunter2", (2, SigningKey)),
            ("ENV JWT_SECRET hunter2", (1, SigningKey)),
            ("web: JWT_SECRET=hunter2 sidepulse run", (1, SigningKey)),
            ("[env]\nAPI_TOKEN = \"Zk3xPq9vLw2nRt7bYm5c\"", (2, Assigned)),
            ("  POSTGRES_PASSWORD: Tr0ub4dor&3", (1, Assigned)),
            ("{\"env\": {\"API_KEY\": \"Zk3xPq9vLw2nRt7bYm5c\"}}", (1, Assigned)),
            ("--index-url https://u:hunter2@pypi.acme.com/simple", (1, Url)),
        ] {
            assert_eq!(kinds(text, false), [expected], "{text}");
        }
        for text in [
            "JWT_SECRET=",
            "JWT_SECRET=change-me",
            "JWT_SECRET=${JWT_SECRET}",
            "JWT_SECRET=[generate with openssl]",
            "  SECRET_KEY: ${SECRET_KEY:?Variable not set}",
            "  SECRET_KEY: ${SECRET_KEY:-hunter2}",
            "POSTGRES_PASSWORD: postgres",
            "DATABASE_URL=postgresql://user:password@host/db",
            "web: sidepulse run -- uvicorn main:app --host 0.0.0.0 --port '$PORT'",
            "asyncpg==0.32.0 --hash=sha256:9f86d081884c7d659a2feaa0c55ad0159f86d081884c7d659a2feaa0c55ad015",
        ] {
            assert_eq!(kinds(text, false), [], "{text}");
        }
    }

    #[test]
    fn passwords_in_urls() {
        for text in [
            "postgresql://app:hunter2@db.acme.com/app",
            "postgresql+asyncpg://neondb_owner:npg_a1B2c3D4e5F6@ep-x-1.eu-central-1.aws.neon.tech/neondb?ssl=require",
            "url = 'postgres://app:9f86d081884c7d65@localhost/app' # local",
            "redis://default:hunter22@cache.acme.com:6379",
            "https://a8Kd92jfLsP0xQ7tZk3xPq9v@github.com/acme/private.git",
        ] {
            assert!(has_url_password(text), "{text}");
        }
        for text in [
            "postgresql://user:password@localhost:5432/app",
            "postgresql+asyncpg://USER:PASSWORD@HOST/DATABASE",
            "postgresql://postgres:postgres@db/app",
            "postgresql://postgres:secret12@localhost/app",
            "postgresql://{user}:{password}@{host}/x",
            "postgresql://app:${PGPASSWORD}@db.acme.com/app",
            "postgresql+asyncpg://postgres@localhost:5432/postgres",
            "https://medium.com/@someone:else",
            "see http://[::1]:80/",
            "postgresql://u:hunter2@db.example.com/app",
            "git+https://github.com/acme/x.git@4f9a8b7c6d5e",
        ] {
            assert!(!has_url_password(text), "{text}");
        }
    }

    #[test]
    fn tokens_by_their_vendors_prefix() {
        for text in [
            "key: ghp_16C7e42F292c6912E7710c838347Ae178B4a",
            "npg_a1B2c3D4e5F6",
            "-----BEGIN RSA PRIVATE KEY-----",
            "AKIAIOSFODNN7EXAMPL1",
        ] {
            assert!(has_token(text), "{text}");
        }
        for text in ["ghp_", "npg_xxxxxxxxxxxx", "sk-something-in-words-that-is-long-enough", "BEGIN CERTIFICATE"] {
            assert!(!has_token(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(
            pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40),
            python in any::<bool>(),
        ) {
            let _ = lines(&pieces.concat(), python, &[]);
        }
    }

    /// What leads into every branch, and characters of more than a byte.
    const PIECES: &[&str] = &[
        "JWT_SECRET",
        "api_key",
        " = ",
        "=",
        ": ",
        ",",
        "(",
        ")",
        "'",
        "\"",
        "\n",
        " #",
        "é",
        "ß…",
        "Field(",
        "SecretStr(",
        "getenv(",
        "get(",
        ") or ",
        " else ",
        "default=",
        "password=",
        "host=",
        "user=",
        "://",
        "@",
        ":",
        "${",
        "}",
        "ENV ",
        "hunter2",
        "Zk3xPq9vLw2nRt7bYm5c",
        "example",
        "[",
        "]",
        "ghp_",
        "-----BEGIN",
        " ",
        "r",
        "b",
    ];
}
