//! A command line → its words as a shell splits them, and whether the shell expands `$PORT` in them.

/// One word, without its quotes. It contains `$PORT` as written, whether or not that is expanded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) text: String,
    /// The shell expands a `$PORT` or `${PORT…}` in it.
    pub(crate) expands_port: bool,
    /// The shell expands something else in it: another variable, or a command.
    pub(crate) expands_other: bool,
}

impl Word {
    /// A word in which nothing is expanded.
    pub(crate) fn literal(text: impl Into<String>) -> Word {
        Word { text: text.into(), ..Word::default() }
    }

    /// The last part of its path.
    pub(crate) fn program(&self) -> &str {
        self.text.rsplit('/').next().unwrap_or_default()
    }
}

/// Words that make a script more than a list of commands.
const BRANCHES: [&str; 9] = ["if", "case", "for", "while", "until", "function", "select", "{", "[["];

/// Whether the script is a list of commands, without branches, loops, functions and here-documents.
pub(crate) fn is_simple(script: &str) -> bool {
    let branches = |command: &Vec<Word>| {
        command.first().is_some_and(|word| BRANCHES.contains(&word.text.as_str()) || word.text.ends_with("()"))
    };
    !script.contains("<<") && !script.contains("()") && !commands(script).iter().any(branches)
}

/// The simple commands of a command line: what is between `&&`, `||`, `;`, `|`, `&`, parentheses and line ends.
pub(crate) fn commands(line: &str) -> Vec<Vec<Word>> {
    let mut reader = WordReader { rest: line, word: None, command: Vec::new(), done: Vec::new() };
    while reader.step() {}
    reader.end_command();
    reader.done
}

struct WordReader<'a> {
    rest: &'a str,
    word: Option<Word>,
    command: Vec<Word>,
    done: Vec<Vec<Word>>,
}

impl WordReader<'_> {
    /// Reads one character or quoted piece. False at the end.
    fn step(&mut self) -> bool {
        let Some(first) = self.rest.chars().next() else { return false };
        match first {
            '\n' | ';' | '&' | '|' | '(' | ')' => {
                self.take(1);
                self.end_command();
            }
            '#' if self.word.is_none() => self.take(self.rest.find('\n').unwrap_or(self.rest.len())),
            c if c.is_whitespace() => {
                self.take(c.len_utf8());
                self.end_word();
            }
            // `2>&1` does not end the command.
            '>' | '<' if self.rest[1..].starts_with('&') => {
                self.word().text.push_str(">&");
                self.take(2);
            }
            '\'' => {
                let body = &self.rest[1..];
                let end = body.find('\'').unwrap_or(body.len());
                self.word().text.push_str(&body[..end]);
                self.take((end + 2).min(self.rest.len()));
            }
            '"' => self.double_quoted(),
            '\\' => self.escaped(),
            c => {
                self.dollar();
                self.word().text.push(c);
                self.take(c.len_utf8());
            }
        }
        true
    }

    fn double_quoted(&mut self) {
        self.take(1);
        self.word();
        while let Some(c) = self.rest.chars().next() {
            match c {
                '"' => return self.take(1),
                '\\' if self.rest[1..].starts_with(['$', '"', '\\', '`']) => self.escaped(),
                c => {
                    self.dollar();
                    self.word().text.push(c);
                    self.take(c.len_utf8());
                }
            }
        }
    }

    fn escaped(&mut self) {
        self.take(1);
        // The line continues.
        if self.rest.starts_with('\n') {
            return self.take(1);
        }
        if let Some(c) = self.rest.chars().next() {
            self.word().text.push(c);
            self.take(c.len_utf8());
        }
    }

    /// Notes a variable or command that begins here and that the shell would expand.
    fn dollar(&mut self) {
        if self.rest.starts_with('`') {
            self.word().expands_other = true;
        }
        let Some(after) = self.rest.strip_prefix('$') else { return };
        let name = after.strip_prefix('{').unwrap_or(after);
        let continues = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.strip_prefix("PORT").is_some_and(|after| !after.starts_with(continues)) {
            self.word().expands_port = true;
        } else if name.starts_with(|c: char| continues(c) || "(@*#?!".contains(c)) {
            self.word().expands_other = true;
        }
    }

    fn word(&mut self) -> &mut Word {
        self.word.get_or_insert_with(Word::default)
    }

    fn take(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }

    fn end_word(&mut self) {
        self.command.extend(self.word.take());
    }

    fn end_command(&mut self) {
        self.end_word();
        if !self.command.is_empty() {
            self.done.push(std::mem::take(&mut self.command));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Words in brackets; after each `!` if the port is expanded, `?` if something else is.
    fn shown(line: &str) -> String {
        let sign = |w: &Word| {
            if w.expands_port {
                "!"
            } else if w.expands_other {
                "?"
            } else {
                ""
            }
        };
        let word = |w: &Word| format!("[{}]{}", w.text, sign(w));
        commands(line).iter().map(|c| c.iter().map(word).collect::<String>()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn words_are_those_of_a_shell() {
        for (line, expected) in [
            ("a --port $PORT", "[a][--port][$PORT]!"),
            ("a --port '$PORT' \"$PORT\" \\$PORT", "[a][--port][$PORT][$PORT]![$PORT]"),
            ("a ${PORT} ${PORT:-8000} $PORTAL ${PORTS}", "[a][${PORT}]![${PORT:-8000}]![$PORTAL]?[${PORTS}]?"),
            ("cd 'x y' && exec b; c & d # e", "[cd][x y] [exec][b] [c] [d]"),
            ("sh -c \"a \\$PORT \\\"b\\\"\" ''", "[sh][-c][a $PORT \"b\"][]"),
            ("sh -c 'open $PORT", "[sh][-c][open $PORT]"),
            ("a \\\n b 2>&1 \"$@\" $(c) `d` '$X' $", "[a][b][2>&1][$@]?[$]? [c] [`d`]?[$X][$]"),
        ] {
            assert_eq!(shown(line), expected, "{line}");
        }
    }

    proptest! {
        /// Whatever a Procfile contains, reading it ends.
        #[test]
        fn anything_can_be_read(line in "[ -~\\né'\"$\\\\]{0,120}") {
            let _ = commands(&line);
        }
    }
}
