//! Python's words, as far as it takes to know which string goes to which name. Broken code gives fewer words, no fault.

/// One word of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// A string's content without its quotes, escapes as written.
    pub(super) text: String,
    /// Where it begins, from 1 on.
    pub(super) line: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Identifiers, keywords, numbers.
    Name,
    /// A string; `formatted` is an f-string, whose braces are filled in elsewhere.
    Text {
        formatted: bool,
    },
    Operator,
}

/// Words up to a line's end that no bracket spans.
pub(super) struct Statement {
    pub(super) tokens: Vec<Token>,
    /// It stands in a comment: it does nothing, but who reads the file reads it.
    pub(super) commented: bool,
}

/// The statements of a file.
pub(super) fn statements(source: &str) -> Vec<Statement> {
    let mut reader = Reader { rest: source, line: 1, depth: 0, done: Vec::new(), open: Vec::new() };
    while reader.step() {}
    reader.finish();
    reader.done
}

/// The code alone, without blanks and comments, every string in double quotes: fit for `contains`.
pub(super) fn code(source: &str) -> String {
    let statements = statements(source).into_iter().filter(|statement| !statement.commented);
    statements.flat_map(|statement| statement.tokens).map(|token| token.shown()).collect()
}

impl Token {
    fn shown(&self) -> String {
        match self.kind {
            Kind::Text { .. } => format!("\"{}\"", self.text),
            Kind::Name | Kind::Operator => self.text.clone(),
        }
    }

    pub(super) fn is(&self, operator: &str) -> bool {
        self.kind == Kind::Operator && self.text == operator
    }
}

struct Reader<'a> {
    rest: &'a str,
    line: u32,
    /// Open brackets: a line's end within them ends no statement.
    depth: usize,
    done: Vec<Statement>,
    open: Vec<Token>,
}

impl Reader<'_> {
    /// Reads one word or blank; false at the end.
    fn step(&mut self) -> bool {
        let Some(first) = self.rest.chars().next() else { return false };
        match first {
            '\n' => {
                self.take(1);
                if self.depth == 0 {
                    self.finish();
                }
            }
            '\\' if self.rest.starts_with("\\\n") || self.rest.starts_with("\\\r\n") => {
                self.take(self.rest.find('\n').map_or(1, |end| end + 1));
            }
            '#' => self.comment(),
            '"' | '\'' => self.string(false),
            c if c.is_alphanumeric() || c == '_' => self.name(),
            c if c.is_whitespace() => self.take(c.len_utf8()),
            c => self.operator(c),
        }
        true
    }

    fn take(&mut self, bytes: usize) {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += u32::try_from(taken.matches('\n').count()).unwrap_or(0);
        self.rest = rest;
    }

    fn push(&mut self, kind: Kind, text: &str, line: u32) {
        self.open.push(Token { kind, text: text.to_owned(), line });
    }

    fn finish(&mut self) {
        if !self.open.is_empty() {
            self.done.push(Statement { tokens: std::mem::take(&mut self.open), commented: false });
        }
    }

    fn comment(&mut self) {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        let text = self.rest[1..end].trim_start_matches('#');
        let mut inner = Reader { rest: text, line: self.line, depth: 1, done: Vec::new(), open: Vec::new() };
        while inner.step() {}
        inner.finish();
        self.done.extend(inner.done.into_iter().map(|statement| Statement { commented: true, ..statement }));
        self.take(end);
    }

    fn name(&mut self) {
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let name = &self.rest[..end];
        let is_prefix = name.len() <= 2 && name.chars().all(|c| "rbfuRBFU".contains(c));
        if is_prefix && self.rest[end..].starts_with(['"', '\'']) {
            let formatted = name.contains(['f', 'F']);
            self.take(end);
            return self.string(formatted);
        }
        self.push(Kind::Name, name, self.line);
        self.take(end);
    }

    fn string(&mut self, formatted: bool) {
        let quote = &self.rest[..1];
        let triple = quote.repeat(3);
        let fence = if self.rest.starts_with(&triple) { triple.as_str() } else { quote };
        let body = &self.rest[fence.len()..];
        let mut end = 0;
        let closed = loop {
            let rest = &body[end..];
            match rest.chars().next() {
                None => break false,
                Some(_) if rest.starts_with(fence) => break true,
                // A string that nobody closed ends with its line: the next one is no part of it.
                Some('\n') if fence.len() == 1 => break false,
                Some('\\') => end += 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
                Some(c) => end += c.len_utf8(),
            }
        };
        let line = self.line;
        let whole = fence.len() + end + if closed { fence.len() } else { 0 };
        self.push(Kind::Text { formatted }, &body[..end], line);
        self.take(whole);
    }

    fn operator(&mut self, c: char) {
        match c {
            '(' | '[' | '{' => self.depth += 1,
            ')' | ']' | '}' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        let double = ["==", "!=", "<=", ">=", ":=", "->"].into_iter().find(|double| self.rest.starts_with(double));
        let text = double.map_or_else(|| c.to_string(), str::to_owned);
        self.push(Kind::Operator, &text, self.line);
        self.take(text.len());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(source: &str) -> Vec<String> {
        statements(source).iter().map(|s| s.tokens.iter().map(Token::shown).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn statements_end_where_pythons_do() {
        let rows: [(&str, &[&str]); 6] = [
            ("A = 'x'\nB: str = \"y\"\n", &["A = \"x\"", "B : str = \"y\""]),
            ("a(\n 'x',\n b)\nc", &["a ( \"x\" , b )", "c"]),
            ("a = \\\n 'x'", &["a = \"x\""]),
            ("a = 1  # b = 'c'\n", &["b = \"c\"", "a = 1"]),
            ("'''one\n\"two\"'''\nf'x{y}' == rb'\\'z'", &["\"one\n\"two\"\"", "\"x{y}\" == \"\\'z\""]),
            ("a = 'open\nb = 'x'", &["a = \"open\"", "b = \"x\""]),
        ];
        for (source, expected) in rows {
            assert_eq!(shown(source), expected, "{source}");
        }
    }

    #[test]
    fn code_has_neither_comments_nor_blanks() {
        assert_eq!(code("a( allow = ['*'] ) # sslmode\nb\n"), "a(allow=[\"*\"])b");
    }

    #[test]
    fn lines_are_counted_through_strings_and_continuations() {
        let found = statements("'''a\nb'''\nx = \\\n  'y'\n");
        assert_eq!(found[1].tokens.iter().map(|t| t.line).collect::<Vec<_>>(), [3, 3, 4]);
    }

    proptest! {
        /// Whatever stands in a file, reading it ends.
        #[test]
        fn anything_can_be_read(source in "[ -~\\né'\"#\\\\(){}]{0,200}") {
            let _ = (statements(&source), code(&source));
        }
    }
}
