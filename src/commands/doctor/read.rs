//! The readers: a file's bytes → what it means. They judge nothing; each takes linear time.

pub(super) mod command;
pub(super) mod dockerfile;
pub(super) mod files;
pub(super) mod ignored;
pub(super) mod installed;
pub(super) mod layout;
mod lock;
pub(super) mod placeholder;
mod procfile;
pub(super) mod python;
mod railway;
pub(super) mod requirement;
pub(super) mod secret;
pub(super) mod server;
pub(super) mod shell;
pub(super) mod start;
pub(super) mod url;

/// Runs every reader over one file, as if it were of every kind. Returns how many things they found.
#[cfg(any(test, fuzzing))]
pub(super) fn every_reader(bytes: &[u8]) -> usize {
    let text = String::from_utf8_lossy(bytes);
    let forms = [
        dockerfile::Form::Shell(text.to_string()),
        dockerfile::Form::Exec(text.split(' ').map(shell::Word::literal).collect()),
    ];
    let script =
        |_: &str, _: &[shell::Word]| Some((String::new(), text.to_string())).filter(|(_, text)| text.len() < 2000);
    let started: Vec<_> = forms.iter().flat_map(|form| command::started(form, Vec::new(), &script)).collect();
    let servers = started.iter().filter(|started| match started {
        command::Started::Program(launch) => server::read(launch).is_some(),
        _ => false,
    });
    let image = dockerfile::read(&text);
    let requirements = requirement::read(bytes).map_or(0, |lines| lines.len());
    servers.count()
        + usize::from(shell::is_simple(&text))
        + image.map_or(0, |image| image.sources("/app/main.py").len())
        + usize::from(procfile::read(&text).is_ok())
        + usize::from(railway::toml(&text).is_ok())
        + usize::from(python::binding(&text, "app") != python::Binding::Missing)
        + secret::lines(&text, true, &[]).len()
        + secret::lines(&text, false, &["known-to-us-4711".into()]).len()
        + requirements
        + lock::packages(&text).len()
        + url::Url::read(&text).keys.len()
        + usize::from(url::is_template(&text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pieces of texts that the readers look for.
    const PIECES: [&str; 40] = [
        "web: ",
        "FROM ",
        "COPY ",
        "ENV A=",
        "CMD [",
        "WORKDIR ",
        "RUN <<E\n",
        "\"",
        "'",
        "\"\"\"",
        "$PORT",
        "${PORT:-8}",
        "$(",
        "\\",
        "\n",
        "\r\n",
        "\0",
        "é",
        "://",
        "@",
        "=",
        ":",
        ",",
        "[",
        "]",
        "{",
        "}",
        "(",
        ")",
        "#",
        "sh -c ",
        "uvicorn ",
        "sidepulse run -- ",
        "JWT_SECRET",
        "a==1",
        " @ ",
        "app = FastAPI(",
        "from x import (",
        "[[package]]\nname = \"",
        "--from=0 ",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// Whatever a file contains, reading it ends.
        #[test]
        fn anything_can_be_read(
            pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..24),
            bytes in prop::collection::vec(any::<u8>(), 0..8),
            times in 1_usize..20,
        ) {
            let piece = [pieces.concat().as_bytes(), &bytes].concat();
            every_reader(&piece.repeat(times));
        }
    }
}
