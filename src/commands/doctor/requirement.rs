//! One line of requirements, as pip reads it.

/// What a line of requirements asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// An option, or a path within the repository.
    Nothing,
    /// `-r FILE`.
    Include(String),
    /// `-c FILE`.
    Constraints(String),
    /// A requirement; `version` is what `==` pins it to.
    Package { name: String, version: Option<String> },
    /// A URL that names one file or commit, or that does not.
    Url { pinned: bool },
    /// None of these.
    Unreadable,
}

/// Lines with their continuations, without comments and blank ones; the number is that of the first.
pub(super) fn logical_lines(text: &str) -> Vec<(u32, String)> {
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

pub(super) fn understand(line: &str) -> Line {
    let argument = |names: [&str; 2]| {
        names.into_iter().find_map(|name| {
            let rest = line.strip_prefix(name)?;
            let is_whole = !name.starts_with("--") || rest.starts_with(['=', ' ', '\t']);
            is_whole.then(|| rest.trim_start_matches(['=', ' ', '\t']).trim().to_owned())
        })
    };
    if let Some(file) = argument(["--requirement", "-r"]) {
        return Line::Include(file);
    }
    if let Some(file) = argument(["--constraint", "-c"]) {
        return Line::Constraints(file);
    }
    let editable = argument(["--editable", "-e"]);
    if editable.is_none() && line.starts_with('-') {
        return Line::Nothing;
    }
    // `--hash=…` and other options of one requirement.
    let whole = editable.as_deref().unwrap_or(line);
    let has_hash = whole.contains("--hash");
    let bare = whole.find(" --").map_or(whole, |at| &whole[..at]).trim();
    if bare.contains("://") {
        let url = bare.split_once(" @ ").map_or(bare, |(_, url)| url).trim();
        return Line::Url { pinned: has_hash || is_pinned_url(url) };
    }
    let is_path = bare.starts_with(['.', '/']) || bare.ends_with(".whl") || bare.ends_with(".tar.gz");
    if is_path || editable.is_some() { Line::Nothing } else { package(bare) }
}

/// `name[extra]==1.2 ; marker`.
fn package(text: &str) -> Line {
    let text = text.split(';').next().unwrap_or(text).trim();
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let rest = rest.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(extras) => extras.split_once(']').map_or("[", |(_, rest)| rest),
        None => rest,
    };
    let rest = rest.trim().trim_start_matches('(').trim_end_matches(')').trim();
    let is_name = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let is_clause =
        |clause: &str| ["==", ">=", "<=", "~=", "!=", ">", "<"].iter().any(|sign| clause.trim().starts_with(sign));
    if !is_name || !(rest.is_empty() || rest.split(',').all(is_clause)) {
        return Line::Unreadable;
    }
    let pin = rest.split(',').find_map(|clause| clause.trim().strip_prefix("==").filter(|pin| !pin.contains('*')));
    let version = pin.map(|pin| pin.trim_start_matches('=').trim().to_owned()).filter(|pin| !pin.is_empty());
    // PEP 503: one spelling of a name.
    let mut name = name.to_ascii_lowercase().replace(['_', '.'], "-");
    while name.contains("--") {
        name = name.replace("--", "-");
    }
    Line::Package { name, version }
}

/// A commit by its hash, a file with its version in its name or its hash behind it.
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
            Line::Package { version, .. } => version.is_some(),
            Line::Url { pinned } => pinned,
            Line::Nothing => true,
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
        for line in ["fastapi=1.0", "two words", "[x]==1", "==1.0"] {
            assert_eq!(understand(line), Line::Unreadable, "{line}");
        }
        assert_eq!(understand("-rbase.txt"), Line::Include("base.txt".into()));
        assert_eq!(understand("--requirement=base.txt"), Line::Include("base.txt".into()));
        assert_eq!(understand("-c pins.txt"), Line::Constraints("pins.txt".into()));
    }

    #[test]
    fn lines_as_pip_reads_them() {
        let text = "# a \\\nfastapi==1 \\\n  --hash=sha256:ab\n\n  # b\nx @ https://h/x-1.zip#sha256=ab # c\r\n";
        let lines = logical_lines(text);
        assert_eq!(lines.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [2, 6]);
        assert!(lines[0].1.starts_with("fastapi==1 ") && lines[1].1.ends_with("#sha256=ab"), "{lines:?}");
    }
}
