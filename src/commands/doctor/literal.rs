//! Does a text look like a secret, or like what people write where one belongs?

/// What marks a value as one to be replaced.
const MARKS: [&str; 22] = [
    "change-me",
    "change_me",
    "changeme",
    "change-this",
    "change_this",
    "changethis",
    "placeholder",
    "example",
    "your-",
    "your_",
    "yourpassword",
    "yoursecret",
    "replace",
    "dummy",
    "insecure",
    "not-a-secret",
    "notasecret",
    "xxx",
    "***",
    "...",
    "…",
    "<",
];
/// What a value for development begins with, before a character that is no letter.
const STAGES: [&str; 10] = ["dev", "development", "test", "testing", "local", "ci", "fake", "sample", "demo", "dummy"];
/// Whole values that stand for any.
const WORDS: [&str; 22] = [
    "password",
    "passwd",
    "pass",
    "pwd",
    "pw",
    "p",
    "secret",
    "token",
    "key",
    "user",
    "username",
    "u",
    "postgres",
    "admin",
    "root",
    "app",
    "test",
    "dev",
    "local",
    "none",
    "null",
    "mypassword",
];
/// Hosts that a password for development goes to, or that are no hosts.
const NO_HOSTS: [&str; 6] = ["example", "xxx", "...", "<", "{", "$"];
/// Prefixes by which their makers mark tokens, and how many characters follow at least.
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

/// Shorter values stand in files by chance.
const SHORTEST_DISTINCTIVE: usize = 12;
/// From here on, characters in disorder are a secret even where passwords for development are usual.
const SHORTEST_RANDOM_PASSWORD: usize = 12;
/// Beside each other in disorder: what 16 random characters have nearly always, and words never.
const FEWEST_DIFFERENT: usize = 6;

/// It says itself that it is to be replaced, or is a name, or is filled in elsewhere.
pub(super) fn is_marked(value: &str) -> bool {
    let value = value.trim();
    let lower = value.to_lowercase();
    let mut characters = value.chars();
    let first = characters.next();
    let is_stage = STAGES
        .iter()
        .any(|stage| lower.strip_prefix(stage).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric())));
    let is_name = value.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let is_filled_in = value.starts_with(['$', '%']) || value.contains(['{', '}']);
    value.is_empty()
        || characters.all(|c| Some(c) == first)
        || MARKS.iter().any(|mark| lower.contains(mark))
        || is_stage
        || is_name
        || is_filled_in
}

/// That, or a word that stands for any.
pub(super) fn is_placeholder(value: &str) -> bool {
    is_marked(value) || WORDS.contains(&value.trim().to_lowercase().as_str())
}

/// Long and particular enough that a file which holds it holds it as a secret.
pub(super) fn is_distinctive(value: &str) -> bool {
    value.chars().count() >= SHORTEST_DISTINCTIVE && !is_placeholder(value)
}

/// At least so many characters, without blanks, that are no words, path, or URL.
pub(super) fn looks_random(value: &str, shortest: usize) -> bool {
    let mut different: Vec<char> = value.chars().collect();
    different.sort_unstable();
    different.dedup();
    value.chars().count() >= shortest
        && different.len() >= FEWEST_DIFFERENT
        && value.chars().all(|c| c.is_ascii_graphic())
        && !value.contains("://")
        && !value.contains('\\')
        && !value.starts_with(['/', '.', '~'])
        && !is_placeholder(value)
        && !value.split(['-', '_', '.', ':', '/', ',', '+', '=']).all(is_word)
}

/// Words alone, as in a package's name.
pub(super) fn is_wordy(name: &str) -> bool {
    name.split(['-', '_', '.']).all(is_word)
}

/// `token`, `HS256`, `v2`, `2026`: letters, then at most four digits, or digits alone.
fn is_word(part: &str) -> bool {
    let letters = part.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = part.len() - letters.len();
    letters.chars().all(|c| c.is_ascii_alphabetic()) && (digits <= 4 || letters.is_empty() && digits <= 12)
}

/// A URL in the text carries a password, or a token in place of one, that looks real.
pub(super) fn has_url_password(text: &str) -> bool {
    text.match_indices("://").any(|(at, _)| {
        let has_scheme = text[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
        let rest = &text[at + 3..];
        let rest = &rest[..rest.find(|c: char| c.is_whitespace() || "\"'`".contains(c)).unwrap_or(rest.len())];
        has_scheme && is_password_before_host(rest)
    })
}

fn is_password_before_host(rest: &str) -> bool {
    let authority = rest.split('/').next().unwrap_or(rest);
    // An unescaped slash in the password: what counts is that somebody wrote it here.
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

/// An access token by its maker's prefix, a JWT, or a private key in PEM form.
pub(super) fn has_token(text: &str) -> bool {
    if text.contains("-----BEGIN") && text.contains("PRIVATE KEY-----") {
        return true;
    }
    text.split(|c: char| !(c.is_ascii_alphanumeric() || "_-.".contains(c))).any(|word| {
        let known = |(prefix, more): &(&str, usize)| {
            word.strip_prefix(prefix)
                .is_some_and(|rest| rest.len() >= *more && !rest.split(['-', '_', '.']).all(is_word))
        };
        let is_jwt = word.starts_with("eyJ") && word.split('.').count() == 3 && word.len() >= 60;
        !is_marked(word) && (TOKENS.iter().any(known) || is_jwt)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_where_a_secret_belongs() {
        for value in [
            "",
            "change-me",
            "CHANGE_ME_PLEASE_32_CHARACTERS",
            "dev-secret",
            "dev",
            "your-secret-here",
            "<jwt>",
            "xxxxxxxx",
            "aaaaaaaa",
            "JWT_SECRET",
            "${JWT_SECRET}",
            "{password}",
            "$TOKEN",
            "test_key_1",
            "example-key",
        ] {
            assert!(is_marked(value), "{value}");
        }
        for value in ["hunter2", "correct horse", "device-4711", "9f86d081884c7d659a2feaa0c55ad015", "supersecret"] {
            assert!(!is_marked(value), "{value}");
        }
    }

    #[test]
    fn what_looks_random() {
        for value in
            ["9f86d081884c7d659a2feaa0c55ad015", "Zk3xPq9vLw2nRt7bYm5c", "a8Kd-92jf_LsP0xQ7t", "Tr0ub4dor&3xyzabc"]
        {
            assert!(looks_random(value, 16), "{value}");
        }
        for value in [
            "short1",
            "X-Internal-Token-V2",
            "application/json; charset",
            "https://a.example/9f86d081884c",
            "/a/b9c8d7e6f5a4b3c2",
            "sha256_password_hash",
            "invalid_token_type_2",
            "dev-9f86d081884c7d659a2f",
            "access_token_expire_minutes",
        ] {
            assert!(!looks_random(value, 16), "{value}");
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
    fn tokens_by_their_makers_prefix() {
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
}
