//! Is a value a placeholder, or does it look random?

/// Names are not longer.
const LONGEST_NAME: usize = 60;

/// Texts that mark a placeholder.
const MARKS: &str = "change-me change_me changeme change-this change_this changethis placeholder example yourpassword \
    yoursecret replace dummy insecure not-a-secret notasecret xxx *** ... … <";
/// Words that do so beside others, as people write them: your-secret-here, sua-chave-aqui, generate-with-openssl.
const TO_BE_REPLACED: &str = "your yours my here generate generated set insert paste put use sua seu aqui mude troque \
    altere coloque gere tu su cambia cambiar votre ici changer dein hier tua tuo qui";
/// How a value for development begins, before a character that is not a letter.
const STAGES: [&str; 10] = ["dev", "development", "test", "testing", "local", "ci", "fake", "sample", "demo", "dummy"];
/// Whole values that are placeholders.
const WORDS: &str = "password passwd pass pwd pw p secret token key user username u postgres admin root app test dev \
    local none null mypassword senha segredo secreto geheim passwort motdepasse contraseña";
/// Shorter values occur in files by chance.
const SHORTEST_DISTINCTIVE: usize = 12;
/// 16 random characters nearly always have at least this many different ones.
const FEWEST_DIFFERENT: usize = 6;

/// Whether it is marked as a placeholder, is a name, or is filled in elsewhere.
pub(crate) fn is_marked(value: &str) -> bool {
    let value = value.trim();
    let lower = value.to_lowercase();
    let mut characters = value.chars();
    let first = characters.next();
    let is_stage = STAGES
        .iter()
        .any(|stage| lower.strip_prefix(stage).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric())));
    let is_name = value.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let is_filled_in = value.starts_with(['$', '%', '[']) || value.contains(['{', '}']);
    let mut parts = lower.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty());
    let says_so =
        lower.contains(['-', '_', ' ', '.']) && parts.any(|part| TO_BE_REPLACED.split(' ').any(|word| word == part));
    value.is_empty()
        || characters.all(|c| Some(c) == first)
        || MARKS.split(' ').any(|mark| lower.contains(mark))
        || is_stage
        || is_name
        || is_filled_in
        || says_so
}

/// Whether it is marked, or is a word that people use as a placeholder.
pub(crate) fn is_placeholder(value: &str) -> bool {
    is_marked(value) || WORDS.split(' ').any(|word| word == value.trim().to_lowercase())
}

/// Whether it is so long and particular that a file does not contain it by chance.
pub(crate) fn is_distinctive(value: &str) -> bool {
    value.chars().count() >= SHORTEST_DISTINCTIVE && !is_placeholder(value)
}

/// Whether it has at least so many characters, without blanks, and is not made of words, a path, or a URL.
pub(crate) fn looks_random(value: &str, shortest: usize) -> bool {
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

/// A name from a file, as a message shows it; `otherwise` if it could be a secret that got there.
pub(crate) fn shown(name: &str, otherwise: &str) -> String {
    let fits = !name.is_empty() && name.len() <= LONGEST_NAME && name.split('/').all(is_wordy);
    if fits { name.to_owned() } else { otherwise.to_owned() }
}

/// Only words, as in a package's name.
fn is_wordy(name: &str) -> bool {
    name.split(['-', '_', '.']).all(is_word)
}

/// `token`, `HS256`, `v2`, `2026`: letters, then at most four digits, or only digits.
pub(super) fn is_word(part: &str) -> bool {
    let letters = part.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = part.len() - letters.len();
    letters.chars().all(|c| c.is_ascii_alphabetic()) && (digits <= 4 || letters.is_empty() && digits <= 12)
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
            "[password]",
            "generate-with-openssl-rand-hex-32",
            "your-32-character-key-here",
            "sua-chave-aqui",
            "tu_clave_secreta",
            "votre-clef-ici",
            "my-secret",
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
}
