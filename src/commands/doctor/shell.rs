//! A shell's command line → its words, and whether the shell would expand `$PORT` in them.

/// One word, quotes removed. `$PORT` stands in it as written, expanded or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    /// The shell replaces a `$PORT` or `${PORT…}` in it.
    pub(super) expands_port: bool,
}

/// The simple commands of a command line: what stands between `&&`, `||`, `;`, `|`, `&`, brackets and line ends.
pub(super) fn commands(line: &str) -> Vec<Vec<Word>> {
    let mut reader = Reader { rest: line, word: None, command: Vec::new(), done: Vec::new() };
    while reader.step() {}
    reader.end_command();
    reader.done
}

struct Reader<'a> {
    rest: &'a str,
    word: Option<Word>,
    command: Vec<Word>,
    done: Vec<Vec<Word>>,
}

impl Reader<'_> {
    /// Reads one character or quoted piece; false at the end.
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
        if let Some(c) = self.rest.chars().next() {
            self.word().text.push(c);
            self.take(c.len_utf8());
        }
    }

    /// Notes a `$PORT` that begins here and that this shell would replace.
    fn dollar(&mut self) {
        let name = self.rest.strip_prefix("${PORT").or_else(|| self.rest.strip_prefix("$PORT"));
        if name.is_some_and(|after| !after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')) {
            self.word().expands_port = true;
        }
    }

    fn word(&mut self) -> &mut Word {
        self.word.get_or_insert_with(|| Word { text: String::new(), expands_port: false })
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

    /// Words in brackets, with `!` behind one in which the port is expanded.
    fn shown(line: &str) -> String {
        let word = |w: &Word| format!("[{}]{}", w.text, if w.expands_port { "!" } else { "" });
        commands(line).iter().map(|c| c.iter().map(word).collect::<String>()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn words_are_those_of_a_shell() {
        for (line, expected) in [
            ("a --port $PORT", "[a][--port][$PORT]!"),
            ("a --port '$PORT' \"$PORT\" \\$PORT", "[a][--port][$PORT][$PORT]![$PORT]"),
            ("a ${PORT} ${PORT:-8000} $PORTAL ${PORTS}", "[a][${PORT}]![${PORT:-8000}]![$PORTAL][${PORTS}]"),
            ("cd 'x y' && exec b; c & d # e", "[cd][x y] [exec][b] [c] [d]"),
            ("sh -c \"a \\$PORT \\\"b\\\"\" ''", "[sh][-c][a $PORT \"b\"][]"),
            ("sh -c 'open $PORT", "[sh][-c][open $PORT]"),
        ] {
            assert_eq!(shown(line), expected, "{line}");
        }
    }

    proptest! {
        /// Whatever stands in a Procfile, reading it ends.
        #[test]
        fn anything_can_be_read(line in "[ -~\\né'\"$\\\\]{0,120}") {
            let _ = commands(&line);
        }
    }
}
