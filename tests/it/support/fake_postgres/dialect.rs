//! What a server or a pooler refuses although PostgreSQL accepts it, written from its source or documentation.

use super::behaviour::ServerError;

/// What is refused, and with which error.
#[derive(Clone, Debug)]
pub(crate) struct Dialect {
    /// Statements that contain one of these words, in lower case.
    pub(super) statements: Vec<(&'static str, ServerError)>,
    /// Messages of several statements.
    pub(super) message: Option<MessageRule>,
    /// Words of statements that fail although the answer says that they passed.
    pub(super) unsaid: Vec<&'static str>,
    /// BEGIN is accepted but has no effect: every ReadyForQuery says idle.
    pub(super) without_transactions: bool,
}

/// Which messages of several statements are refused, before any of it is run.
#[derive(Clone, Debug)]
pub(super) enum MessageRule {
    /// All.
    Any(ServerError),
    /// Those that contain SET and something else.
    MixedSet(ServerError),
    /// All, by closing the connection.
    Close,
}

fn error(code: &str, message: &str) -> ServerError {
    ServerError::new("ERROR", code, message)
}

impl Dialect {
    /// What PostgreSQL accepts.
    pub(crate) fn postgres() -> Dialect {
        Dialect { statements: Vec::new(), message: None, unsaid: Vec::new(), without_transactions: false }
    }

    /// One more statement that is refused; `word` is part of it.
    pub(crate) fn without(mut self, word: &'static str, code: &str, message: &str) -> Dialect {
        self.statements.push((word, error(code, message)));
        self
    }

    /// A statement that ends its transaction, though its answer does not say so.
    pub(crate) fn silently_without(mut self, word: &'static str) -> Dialect {
        self.unsaid.push(word);
        self
    }

    /// Amazon Aurora DSQL: the text is that of its own answer to `SET LOCAL statement_timeout`
    /// (TableProApp/TablePro#851, Lore-Hex/quill-router#672).
    pub(crate) fn dsql() -> Dialect {
        Dialect::postgres()
            .without(
                "statement_timeout",
                "0A000",
                r#"setting configuration parameter "statement_timeout" not supported"#,
            )
            .without("lock_timeout", "0A000", r#"setting configuration parameter "lock_timeout" not supported"#)
    }

    /// PgDog: `pgdog/src/frontend/router/parser/error.rs` (`MultiStatementMixedSet`), 58000 as all of the router's
    /// errors (`pgdog/src/net/messages/error_response.rs`); the session goes on, idle
    /// (`mixed_set_simple_returns_error` in its tests).
    pub(crate) fn pgdog() -> Dialect {
        let mixed = error("58000", "multi-statement queries cannot mix SET with other commands");
        Dialect { message: Some(MessageRule::MixedSet(mixed)), ..Dialect::postgres() }
    }

    /// CockroachDB has no such function (`pkg/sql/sem/tree/function_name.go`: `unknown function: %s()`, 42883).
    pub(crate) fn cockroachdb() -> Dialect {
        Dialect::postgres().without(
            "pg_postmaster_start_time",
            "42883",
            "unknown function: pg_postmaster_start_time(): function undefined",
        )
    }

    /// CrateDB accepts BEGIN and ignores it (docs, `START TRANSACTION`); `PostgresWireProtocol.java` answers a simple
    /// query statement by statement, and its ReadyForQuery says idle.
    pub(crate) fn cratedb() -> Dialect {
        let refused =
            Dialect::postgres().without("pg_is_in_recovery", "0A000", "Unknown function: pg_is_in_recovery()");
        Dialect { without_transactions: true, ..refused }
    }

    /// Buenavista, a server in front of DuckDB: `buenavista/postgres.py` (`send_error`) sends an ErrorResponse with
    /// nothing but `M`; the text is DuckDB's. Its statuses of a transaction are PostgreSQL's.
    pub(crate) fn buenavista() -> Dialect {
        let refused =
            Dialect::postgres().without("set local", "", "Not implemented Error: SET LOCAL is not implemented.");
        let statements = refused.statements.into_iter();
        let unreadable = |(word, error)| (word, ServerError { without_severity: true, ..error });
        Dialect { statements: statements.map(unreadable).collect(), ..Dialect::postgres() }
    }

    /// Redshift, which comes from PostgreSQL 8.0, and PostgreSQL before 9.3 have no `lock_timeout` (`guc.c`,
    /// `unrecognized configuration parameter "%s"`, 42704).
    pub(crate) fn without_lock_timeout() -> Dialect {
        Dialect::postgres().without("lock_timeout", "42704", r#"unrecognized configuration parameter "lock_timeout""#)
    }

    /// A grammar without transaction modes.
    pub(crate) fn without_read_only() -> Dialect {
        Dialect::postgres().without("begin read only", "42601", r#"syntax error at or near "READ""#)
    }

    /// A server that accepts one statement for each message.
    pub(crate) fn one_statement_a_message() -> Dialect {
        Dialect::postgres().one_message_refused("0A000")
    }

    /// The same, in addition to what else it refuses.
    pub(crate) fn one_message_refused(self, code: &str) -> Dialect {
        self.one_message_refused_at(code, None)
    }

    /// The same with the place of the error in the text, in characters from 1.
    pub(crate) fn one_message_refused_at(self, code: &str, position: Option<usize>) -> Dialect {
        let refused = error(code, "cannot execute multiple statements in one query");
        let refused = ServerError { position, ..refused };
        Dialect { message: Some(MessageRule::Any(refused)), ..self }
    }

    /// A server that closes the connection instead.
    pub(crate) fn closing_on_several_statements() -> Dialect {
        Dialect { message: Some(MessageRule::Close), ..Dialect::postgres() }
    }

    /// Why a message is refused as a whole: `Err` closes the connection.
    pub(super) fn refuses_message(&self, statements: &[&str]) -> Result<Option<&ServerError>, ()> {
        if statements.len() < 2 {
            return Ok(None);
        }
        let is_set = |statement: &&str| statement.to_ascii_lowercase().starts_with("set ");
        match &self.message {
            None => Ok(None),
            Some(MessageRule::Any(error)) => Ok(Some(error)),
            Some(MessageRule::MixedSet(error)) => {
                let sets = statements.iter().filter(|statement| is_set(statement)).count();
                Ok(Some(error).filter(|_| sets > 0 && sets < statements.len()))
            }
            Some(MessageRule::Close) => Err(()),
        }
    }

    /// Whether a statement fails silently.
    pub(super) fn fails_silently(&self, statement: &str) -> bool {
        let lower = statement.to_ascii_lowercase();
        self.unsaid.iter().any(|word| lower.contains(word))
    }

    /// Why a statement is refused.
    pub(super) fn refuses(&self, statement: &str) -> Option<&ServerError> {
        let lower = statement.to_ascii_lowercase();
        self.statements.iter().find(|(word, _)| lower.contains(word)).map(|(_, error)| error)
    }
}
