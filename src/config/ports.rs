//! The two ports of `run`: whether they clash, and how `$PORT` is filled in. For `run` and for `doctor`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::Config;
use super::app_target::Reach;

/// How shells and people write the variable; `${PORT:-8000}` stands in the start command that Railpack itself writes
/// (railwayapp/railpack, `core/providers/python/python.go`).
const SPELLINGS: [(&[u8], Tail); 3] =
    [(b"${PORT}", Tail::None), (b"${PORT:-", Tail::ToBrace), (b"$PORT", Tail::NoWordCharacter)];

#[derive(Clone, Copy)]
enum Tail {
    None,
    ToBrace,
    NoWordCharacter,
}

/// Where sidepulse listens and where it expects the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    /// sidepulse's own; 0 means any free one.
    pub(crate) own: u16,
    /// The app's, which `$PORT` becomes in CMD.
    pub(crate) app: u16,
    /// False if the app is asked over a Unix socket, so that the two cannot clash.
    pub(crate) over_tcp: bool,
}

impl Ports {
    pub(crate) fn of(config: &Config) -> Ports {
        let over_tcp = matches!(config.app.target.reach, Reach::Tcp { .. });
        Ports { own: config.listen.port(), app: config.child.app_port, over_tcp }
    }

    /// Both would take the same port.
    pub(crate) fn clash(self) -> bool {
        self.own == self.app && self.over_tcp
    }

    /// A port for the app that is not sidepulse's own.
    pub(crate) fn other(self) -> u16 {
        if self.own == 8000 { 8001 } else { 8000 }
    }

    /// The argument contains sidepulse's own port, which is not for CMD: a shell has filled `$PORT` in before sidepulse
    /// ran. If the port is 0 no shell can have known it.
    pub(crate) fn names_own(self, argument: &[u8]) -> bool {
        self.own != 0 && names_port(argument, self.own)
    }
}

/// Replaces a literal `$PORT`, `${PORT}` or `${PORT:-…}` by the port, also within a longer argument.
pub(crate) fn fill_in(argument: &OsStr, port: &str) -> OsString {
    let mut rest = argument.as_bytes();
    let mut filled = Vec::with_capacity(rest.len());
    while let Some((&first, others)) = rest.split_first() {
        match SPELLINGS.iter().find_map(|(head, tail)| after(rest.strip_prefix(*head)?, *tail)) {
            Some(after) => {
                filled.extend_from_slice(port.as_bytes());
                rest = after;
            }
            None => {
                filled.push(first);
                rest = others;
            }
        }
    }
    OsString::from_vec(filled)
}

/// What follows a spelling of the variable, if it is one.
fn after(rest: &[u8], tail: Tail) -> Option<&[u8]> {
    match tail {
        Tail::None => Some(rest),
        Tail::ToBrace => rest.iter().position(|byte| *byte == b'}').map(|brace| &rest[brace + 1..]),
        Tail::NoWordCharacter => rest.first().is_none_or(|byte| !is_word(*byte)).then_some(rest),
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether the argument contains the port as a number of its own: `8080`, `--port=8080`, `0.0.0.0:8080`, `-p8080`, or
/// somewhere in a shell script; not `18080`, `v1.8080` or `/srv/8080/app`.
fn names_port(argument: &[u8], port: u16) -> bool {
    let digits = port.to_string();
    let digits = digits.as_bytes();
    let joins = |byte: u8| is_word(byte) || matches!(byte, b'.' | b'-' | b'/');
    (0..argument.len()).filter(|at| argument[*at..].starts_with(digits)).any(|at| {
        let (before, after) = (&argument[..at], &argument[at + digits.len()..]);
        let short_option = matches!(before, [b'-', letter] if letter.is_ascii_alphabetic());
        let begins = before.last().is_none_or(|byte| !joins(*byte)) || short_option;
        // A sentence or a host name may end in a full stop; 8080.5 is another number.
        let ends = match after {
            [] | [b'.' | b'/'] => true,
            [b'.', next, ..] => !is_word(*next),
            [next, ..] => !is_word(*next) && *next != b'-',
        };
        begins && ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_filled_in() {
        for (argument, filled) in [
            ("$PORT", "8000"),
            ("${PORT}", "8000"),
            ("--port=$PORT", "--port=8000"),
            ("0.0.0.0:${PORT}", "0.0.0.0:8000"),
            ("exec uvicorn main:app --port $PORT --host ''", "exec uvicorn main:app --port 8000 --host ''"),
            ("$PORT$PORT/${PORT}x", "80008000/8000x"),
            ("$PORT-$PORT.", "8000-8000."),
            ("${PORT:-8080}", "8000"),
            ("$PORTAL $PORT_2 ${PORTAL} $port PORT ${PORT", "$PORTAL $PORT_2 ${PORTAL} $port PORT ${PORT"),
            ("${PORT:-8080", "${PORT:-8080"),
            ("", ""),
        ] {
            assert_eq!(fill_in(OsStr::new(argument), "8000"), filled, "{argument}");
        }
        let bytes = OsString::from_vec(b"\xff$PORT\xff".to_vec());
        assert_eq!(fill_in(&bytes, "1").as_bytes(), b"\xff1\xff", "not UTF-8 is fine");
    }

    #[test]
    fn a_port_that_an_argument_names() {
        for argument in [
            "8080",
            "--port=8080",
            "0.0.0.0:8080",
            "[::]:8080",
            "-p8080",
            "-b=:8080",
            "http://0.0.0.0:8080/x",
            "tcp://:8080",
            "exec uvicorn main:app --port 8080 --host ''",
            "PORT='8080' x",
            "18080 8080",
            "8080,8443",
        ] {
            assert!(names_port(argument.as_bytes(), 8080), "{argument}");
        }
        for argument in [
            "",
            "18080",
            "80801",
            "--port",
            "$PORT",
            "/srv/8080/app",
            "app-8080.sock",
            "v1.8080",
            "8080.5",
            "x8080",
            "8080x",
            "8080_1",
            "8080-x",
            "--x8080",
        ] {
            assert!(!names_port(argument.as_bytes(), 8080), "{argument}");
        }
    }
}
