//! A requirements file, as pip reads it (pypa/pip, `src/pip/_internal/req/req_file.py`).

use std::borrow::Cow;

/// What a line of a requirements file asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Requirement {
    /// An option, or a path within the repository.
    Nothing,
    /// `-r FILE`.
    Include(String),
    /// `-c FILE`.
    Constraints(String),
    /// A requirement; `version` is what `==` pins it to.
    Package {
        name: String,
        extras: Vec<String>,
        version: Option<String>,
        /// It applies only to some machines.
        marked: bool,
    },
    /// A URL; pinned if it names one file or commit.
    Url { name: Option<String>, pinned: bool },
    /// `x @ file:///…`: a file on the machine that wrote it, as conda's freeze writes.
    LocalFile { name: String },
    /// Anything else, which pip refuses.
    Unreadable,
}

/// The lines with their continuations, without comments and blank lines; the number is that of the first.
///
/// # Errors
/// Why pip could not read it, as a text that follows "this file".
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<(u32, Requirement)>, &'static str> {
    let text = decoded(bytes)?;
    Ok(logical_lines(&text).into_iter().map(|(number, line)| (number, understand(&line))).collect())
}

/// Decoded by a byte order mark or a `coding:` comment in the first two lines, else as UTF-8.
fn decoded(bytes: &[u8]) -> Result<Cow<'_, str>, &'static str> {
    let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        char::decode_utf16(units)
            .collect::<Result<String, _>>()
            .map(Cow::Owned)
            .map_err(|_| "is not the UTF-16 that it says")
    };
    if let Some(bytes) = bytes.strip_prefix(&[0xff, 0xfe]) {
        return wide(bytes, u16::from_le_bytes);
    }
    if let Some(bytes) = bytes.strip_prefix(&[0xfe, 0xff]) {
        return wide(bytes, u16::from_be_bytes);
    }
    let bytes = bytes.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(bytes);
    if bytes.contains(&0) {
        return Err("is binary, not text");
    }
    let names_coding =
        |line: &&[u8]| line.starts_with(b"#") && line.windows(7).any(|part| part == b"coding:" || part == b"coding=");
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(_) if bytes.split(|b| *b == b'\n').take(2).any(|line| names_coding(&line)) => {
            Ok(String::from_utf8_lossy(bytes))
        }
        Err(_) => Err("is not UTF-8, and pip stops at it"),
    }
}

fn logical_lines(text: &str) -> Vec<(u32, String)> {
    let mut done = Vec::new();
    let mut open: Option<(u32, String)> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let (_, so_far) = open.get_or_insert_with(|| (number, String::new()));
        // As in pip, a comment cannot be continued.
        let is_comment = so_far.is_empty() && line.trim_start().starts_with('#');
        match line.strip_suffix('\\') {
            Some(more) if !is_comment => so_far.push_str(more),
            _ => {
                so_far.push_str(line);
                done.extend(open.take());
            }
        }
    }
    done.extend(open);
    let bare = done.into_iter().map(|(number, line)| (number, without_comment(&line).trim().to_owned()));
    bare.filter(|(_, line)| !line.is_empty()).collect()
}

/// A `#` begins a comment at the start or after a blank; elsewhere it is part of a URL.
fn without_comment(line: &str) -> &str {
    let begins = |at: usize| at == 0 || line[..at].ends_with(char::is_whitespace);
    line.match_indices('#').find(|(at, _)| begins(*at)).map_or(line, |(at, _)| &line[..at])
}

fn understand(line: &str) -> Requirement {
    let argument = |names: [&str; 2]| {
        names.into_iter().find_map(|name| {
            let rest = line.strip_prefix(name)?;
            let is_whole = !name.starts_with("--") || rest.starts_with(['=', ' ', '\t']);
            is_whole.then(|| rest.trim_start_matches(['=', ' ', '\t']).trim().to_owned())
        })
    };
    if let Some(file) = argument(["--requirement", "-r"]) {
        return Requirement::Include(file);
    }
    if let Some(file) = argument(["--constraint", "-c"]) {
        return Requirement::Constraints(file);
    }
    let editable = argument(["--editable", "-e"]);
    if editable.is_none() && line.starts_with('-') {
        return Requirement::Nothing;
    }
    // `--hash=…` and other options of one requirement.
    let whole = editable.as_deref().unwrap_or(line);
    let has_hash = whole.contains("--hash");
    let bare = whole.find(" --").map_or(whole, |at| &whole[..at]).trim();
    if bare.contains("://") {
        let (name, url) = match bare.split_once('@').filter(|(name, _)| !name.contains("://")) {
            Some((name, url)) => (Some(normal(name.split('[').next().unwrap_or(name).trim())), url.trim()),
            None => (None, bare),
        };
        return match name {
            Some(name) if url.starts_with("file:") => Requirement::LocalFile { name },
            name => Requirement::Url { name, pinned: has_hash || is_pinned_url(url) },
        };
    }
    let is_path = bare.starts_with(['.', '/']) || bare.ends_with(".whl") || bare.ends_with(".tar.gz");
    if is_path || editable.is_some() { Requirement::Nothing } else { package(bare) }
}

/// `name[extra]==1.2 ; marker`.
fn package(text: &str) -> Requirement {
    let (text, marker) = text.split_once(';').unwrap_or((text, ""));
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let rest = rest.trim_start();
    let (extras, rest) = match rest.strip_prefix('[') {
        Some(extras) => extras.split_once(']').unwrap_or((extras, "[")),
        None => ("", rest),
    };
    let rest = rest.trim().trim_start_matches('(').trim_end_matches(')').trim();
    let is_name = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let is_clause = |clause: &str| {
        let sign =
            ["===", "==", ">=", "<=", "~=", "!=", ">", "<"].iter().find_map(|sign| clause.trim().strip_prefix(sign));
        sign.is_some_and(|version| !version.trim().is_empty() && !version.trim().contains(' '))
    };
    if !is_name || !(rest.is_empty() || rest.split(',').all(is_clause)) {
        return Requirement::Unreadable;
    }
    let pin = rest.split(',').find_map(|clause| clause.trim().strip_prefix("==").filter(|pin| !pin.contains('*')));
    let version = pin.map(|pin| pin.trim_start_matches('=').trim().to_owned()).filter(|pin| !pin.is_empty());
    let extras = extras.split(',').map(str::trim).filter(|extra| !extra.is_empty()).map(normal).collect();
    Requirement::Package { name: normal(name), extras, version, marked: !marker.trim().is_empty() }
}

/// The name in the spelling of PEP 503.
fn normal(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            c => normal.push(c.to_ascii_lowercase()),
        }
    }
    normal
}

/// A commit by its hash, or a file with its version in its name or with a hash.
fn is_pinned_url(url: &str) -> bool {
    let url = url.split([' ', ';']).next().unwrap_or(url);
    let (place, fragment) = url.split_once('#').unwrap_or((url, ""));
    if ["sha256=", "sha384=", "sha512="].iter().any(|hash| fragment.contains(hash)) || url.starts_with("file:") {
        return true;
    }
    let path = place.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
    if place.split("://").next().is_some_and(|scheme| scheme.contains('+')) {
        // Seven characters are the shortest that git shows for a commit.
        let commit = path.rsplit_once('@').map_or("", |(_, commit)| commit);
        return commit.len() >= 7 && commit.bytes().all(|b| b.is_ascii_hexdigit());
    }
    let file = path.rsplit('/').next().unwrap_or(path);
    file.as_bytes().windows(2).any(|pair| matches!(pair[0], b'-' | b'v') && pair[1].is_ascii_digit())
        || file.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pinned(line: &str) -> bool {
        match understand(without_comment(line).trim()) {
            Requirement::Package { version, .. } => version.is_some(),
            Requirement::Url { pinned, .. } => pinned,
            Requirement::Nothing => true,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn what_counts_as_pinned() {
        for line in [
            "fastapi==0.165.0",
            "SQLAlchemy[asyncio] == 2.1.9  # why",
            "uvicorn[standard]==0.54.0; python_version >= '3.11'",
            "a===1.0",
            "a (==1.0)",
            "a==1.0,>=0.9",
            "a==1.0 --hash=sha256:ab --hash=sha256:cd",
            "a @ https://files.acme.com/a-1.0-py3-none-any.whl",
            "a @ https://files.acme.com/a.zip#sha256=ab",
            "git+https://github.com/acme/a.git@4f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a#egg=a",
            "./local",
            "-e .",
            "--index-url https://packages.example/simple",
        ] {
            assert!(pinned(line), "{line}");
        }
        for line in [
            "fastapi",
            "fastapi>=0.165",
            "a~=1.0",
            "a==1.*",
            "a[extra]",
            "a; python_version >= '3.11'",
            "git+https://github.com/acme/a.git",
            "a @ git+https://user@github.com/acme/a.git@main#egg=a",
            "-e git+https://github.com/acme/a.git@v1#egg=a",
            "https://github.com/acme/a/archive/main.zip",
        ] {
            assert!(!pinned(line), "{line}");
        }
        let file = Requirement::LocalFile { name: "anyio".into() };
        assert_eq!(understand("anyio @ file:///C:/ci/anyio_1644481856696/x"), file);
        for line in ["fastapi=1.0", "two words", "[x]==1", "==1.0", "a==", "a==1.0 b", "a==1.0,"] {
            assert_eq!(understand(line), Requirement::Unreadable, "{line}");
        }
        assert_eq!(understand("-rbase.txt"), Requirement::Include("base.txt".into()));
        assert_eq!(understand("--requirement=base.txt"), Requirement::Include("base.txt".into()));
        assert_eq!(understand("-c pins.txt"), Requirement::Constraints("pins.txt".into()));
    }

    #[test]
    fn encodings_that_pip_reads_and_those_that_it_does_not() {
        let wide: Vec<u8> = [0xfeff].into_iter().chain("a==1\n".encode_utf16()).flat_map(u16::to_le_bytes).collect();
        let pin = Requirement::Package { name: "a".into(), extras: vec![], version: Some("1".into()), marked: false };
        assert_eq!(read(&wide).unwrap(), [(1, pin)]);
        assert_eq!(read(b"\xef\xbb\xbfa==1").unwrap().len(), 1);
        assert_eq!(read(b"# -*- coding: latin-1 -*-\na==1 # caf\xe9\n").unwrap().len(), 1);
        assert!(read(b"a==1 # caf\xe9\n").is_err());
        assert!(read(b"\x7fELF\0\0").is_err());
    }

    #[test]
    fn lines_as_pip_reads_them() {
        let text = "# a \\\nfastapi==1 \\\n  --hash=sha256:ab\n\n  # b\nx @ https://h/x-1.zip#sha256=ab # c\r\n";
        let lines = logical_lines(text);
        assert_eq!(lines.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [2, 6]);
        assert!(lines[0].1.starts_with("fastapi==1 ") && lines[1].1.ends_with("#sha256=ab"), "{lines:?}");
    }
}
