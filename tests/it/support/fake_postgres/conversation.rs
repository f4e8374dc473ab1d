//! One connection from accept to its end, as its behaviour says.

use std::io;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use socket2::Socket;
use tokio::net::TcpStream;

use super::answers::{BOOL, INT4, facts, statements, table};
use super::behaviour::{At, Auth, Behaviour, Fault, ServerError};
use super::messages::{self, Wire, strings};
use super::scram::{self, Scram};
use super::{House, PASSWORD};

const PROTOCOL_3: u32 = 3 << 16;
const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
/// The first byte of a TLS record that holds a handshake.
const TLS_HANDSHAKE: u8 = 22;

/// What only the sidecar requests.
const FACTS: [&str; 3] = ["pg_postmaster_start_time", "pg_is_in_recovery", "default_transaction_read_only"];

/// Whether a statement is one that the sidecar adds to the user's.
fn is_ours(statement: &str) -> bool {
    ["BEGIN", "SET ", "ROLLBACK", "COMMIT"].iter().any(|word| statement.starts_with(word))
        || FACTS.iter().any(|fact| statement.contains(fact))
}

/// How a conversation ends; an error of the stream is a client that went away.
enum End {
    Close,
    Hold,
    Reset,
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> End {
        End::Close
    }
}

type Step<T> = Result<T, End>;

/// Plays the behaviour to the client until one of them ends the connection.
pub(super) async fn converse(stream: TcpStream, socket: Arc<Socket>, behaviour: Arc<Behaviour>, house: Arc<House>) {
    let _ = stream.set_nodelay(true);
    let first = Wire { stream: Box::new(tokio::io::empty()), pace: None };
    let mut conversation =
        Conversation { behaviour, house, wire: first, encrypted: false, ready: false, status: b'I', session: 0 };
    if let Err(end) = conversation.run(stream).await {
        conversation.end(end, socket).await;
    }
}

struct Conversation {
    behaviour: Arc<Behaviour>,
    house: Arc<House>,
    wire: Wire,
    encrypted: bool,
    /// The login is over: messages have tags, and errors need not be the end.
    ready: bool,
    /// Of the transaction: `I` none, `T` open, `E` failed.
    status: u8,
    /// Its place among the logins.
    session: usize,
}

impl Conversation {
    async fn run(&mut self, stream: TcpStream) -> Step<()> {
        let mut first = [0];
        // Only a client that speaks first shows which protocol it speaks.
        let silent = matches!(self.behaviour.fault, Some((At::Accept, _)));
        let direct = !silent && stream.peek(&mut first).await? == 1 && first[0] == TLS_HANDSHAKE;
        self.wire.stream = Box::new(stream);
        self.reach(At::Accept).await?;
        if direct {
            self.house.counts().direct_tls += 1;
            self.encrypt().await?;
        }
        let user = self.startup().await?;
        self.reach(At::Startup).await?;
        let last = self.authenticate(&user).await?;
        self.login(last).await?;
        loop {
            match self.wire.read_message().await? {
                (b'Q', body) => self.query(&strings(&body).next().unwrap_or_default()).await?,
                (b'X', _) => {
                    self.house.counts().terminates += 1;
                    return Err(End::Close);
                }
                (b'S', _) => {
                    let error = ServerError::new("ERROR", "0A000", "this server knows simple queries only");
                    self.wire.send(&[messages::error(&error), messages::ready(b'I')].concat()).await?;
                }
                _ => {}
            }
        }
    }

    /// Up to the StartupMessage; returns its user.
    async fn startup(&mut self) -> Step<String> {
        loop {
            let (code, body) = self.wire.read_startup().await?;
            match code {
                SSL_REQUEST => {
                    self.house.counts().ssl_requests += 1;
                    self.reach(At::SslRequest).await?;
                    if self.house.tls.is_none() || self.behaviour.refuse_tls {
                        self.wire.send(b"N").await?;
                    } else {
                        self.wire.send(b"S").await?;
                        self.encrypt().await?;
                    }
                }
                GSS_REQUEST => self.wire.send(b"N").await?,
                CANCEL_REQUEST => {
                    self.house.counts().cancels += 1;
                    return Err(End::Close);
                }
                PROTOCOL_3.. => {
                    let mut texts = strings(&body);
                    let pairs = std::iter::from_fn(|| Some((texts.next()?, texts.next()?)));
                    let parameters: Vec<_> = pairs.take_while(|(name, _)| !name.is_empty()).collect();
                    let user = parameters.iter().find(|(name, _)| name == "user").map(|(_, user)| user.clone());
                    self.house.counts().startups.push(parameters);
                    return Ok(user.unwrap_or_default());
                }
                _ => return Err(End::Close),
            }
        }
    }

    async fn encrypt(&mut self) -> Step<()> {
        if matches!(self.behaviour.fault, Some((At::Handshake, _))) {
            self.wire.read_some().await?;
        }
        self.reach(At::Handshake).await?;
        let house = Arc::clone(&self.house);
        let tls = house.tls.as_ref().ok_or(End::Close)?;
        let plain = mem::replace(&mut self.wire.stream, Box::new(tokio::io::empty()));
        let stream = tls.acceptor.accept(plain).await.map_err(|_| End::Close)?;
        self.wire.stream = Box::new(stream);
        self.encrypted = true;
        self.house.counts().handshakes += 1;
        Ok(())
    }

    /// Returns what is still to be sent: the end of SCRAM, and AuthenticationOk.
    async fn authenticate(&mut self, user: &str) -> Step<Vec<u8>> {
        let mut last = Vec::new();
        let right = match self.behaviour.auth {
            Auth::Trust => true,
            Auth::Scram => self.scram(self.encrypted, scram::ITERATIONS, &mut last).await?,
            Auth::ScramUnbound => self.scram(false, scram::ITERATIONS, &mut last).await?,
            Auth::ScramIterations(iterations) => self.scram(self.encrypted, iterations, &mut last).await?,
            Auth::Cleartext => {
                let given = self.ask_password(3, &[]).await?;
                self.house.counts().clear_passwords.push(given.clone());
                given == PASSWORD
            }
            Auth::Md5 => {
                let salt = *b"salt";
                self.ask_password(5, &salt).await? == scram::md5_response(user, PASSWORD, salt).unwrap_or_default()
            }
            Auth::Method(code) => {
                self.wire.send(&messages::authentication(code, &[])).await?;
                return Err(End::Hold);
            }
        };
        if matches!(self.behaviour.fault, Some((At::AuthFinal, _))) {
            self.wire.send(&mem::take(&mut last)).await?;
        }
        self.reach(At::AuthFinal).await?;
        if !right {
            let text = format!("password authentication failed for user \"{user}\"");
            return Err(self.commit(&Fault::fatal("28P01", &text)).await?);
        }
        last.extend(messages::authentication(0, &[]));
        Ok(last)
    }

    /// Whether the client knows the password, and, where it claims to, the channel.
    async fn scram(&mut self, offer_binding: bool, iterations: u32, end: &mut Vec<u8>) -> Step<bool> {
        let offer: &[u8] = if offer_binding { b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0" } else { b"SCRAM-SHA-256\0\0" };
        self.wire.send(&messages::authentication(10, offer)).await?;
        let first = self.answer().await?;
        let split = first.iter().position(|&byte| byte == 0).ok_or(End::Close)?;
        self.house.counts().mechanisms.push(String::from_utf8_lossy(&first[..split]).into_owned());
        let first = String::from_utf8_lossy(first.get(split + 5..).ok_or(End::Close)?).into_owned();
        self.reach(At::SaslFirst).await?;
        let exchange = Scram::begin(&first, PASSWORD, iterations).ok_or(End::Close)?;
        self.wire.send(&messages::authentication(11, exchange.server_first().as_bytes())).await?;
        let last = self.answer().await?;
        let house = Arc::clone(&self.house);
        let end_point = house.tls.as_ref().filter(|_| offer_binding).map(|tls| &tls.end_point[..]);
        let Some(proof) = exchange.finish(&String::from_utf8_lossy(&last), end_point) else { return Ok(false) };
        end.extend(messages::authentication(12, proof.as_bytes()));
        Ok(true)
    }

    async fn ask_password(&mut self, code: u32, data: &[u8]) -> Step<String> {
        self.wire.send(&messages::authentication(code, data)).await?;
        Ok(strings(&self.answer().await?).next().unwrap_or_default())
    }

    /// The client's next part of authentication.
    async fn answer(&mut self) -> Step<Vec<u8>> {
        match self.wire.read_message().await? {
            (b'p', body) => Ok(body),
            _ => Err(End::Close),
        }
    }

    /// From the end of authentication to ReadyForQuery: a cold start is silence, then everything in one flight.
    async fn login(&mut self, last: Vec<u8>) -> Step<()> {
        tokio::time::sleep(self.behaviour.ready_after).await;
        let behaviour = Arc::clone(&self.behaviour);
        let mut flight = last;
        if let Some((At::Login, fault)) = &behaviour.fault {
            if let Fault::Error(error) = fault {
                flight.extend(messages::error(error));
                self.wire.send(&flight).await?;
                return Err(End::Close);
            }
            self.wire.send(&flight).await?;
            return Err(self.commit(fault).await?);
        }
        self.reach(At::Login).await?;
        let version = self.behaviour.server_version.clone();
        let parameters = [
            ("server_version", version.as_str()),
            ("server_encoding", "UTF8"),
            ("client_encoding", "UTF8"),
            ("DateStyle", "ISO, MDY"),
            ("integer_datetimes", "on"),
            ("standard_conforming_strings", "on"),
        ];
        flight.extend(parameters.iter().flat_map(|(name, value)| messages::parameter(name, value)));
        flight.extend(messages::backend_key());
        flight.extend(messages::ready(b'I'));
        // Counted before it is sent: a client that acts on it finds it counted.
        {
            let mut counts = self.house.counts();
            counts.logins += 1;
            counts.sessions.push(Vec::new());
            self.session = counts.sessions.len() - 1;
        }
        self.ready = true;
        Ok(self.wire.send(&flight).await?)
    }

    /// Answers one simple query, statement by statement.
    async fn query(&mut self, text: &str) -> Step<()> {
        {
            let mut counts = self.house.counts();
            counts.queries.push(text.to_owned());
            counts.sessions[self.session].push(text.to_owned());
        }
        let statements = statements(text);
        let at = match statements.as_slice() {
            // One of the sidecar's own statements, alone: not a query.
            [only] if is_ours(only) => None,
            [first, ..] if first.starts_with("BEGIN") && !FACTS.iter().any(|fact| text.contains(fact)) => {
                Some(At::SqlCheck)
            }
            // A SQL check by itself: `… true`, which no deep query of the tests contains.
            [only] if only.contains("true") => Some(At::SqlCheck),
            _ => Some(At::Query),
        };
        if let Some(at) = at
            && self.fails_query(at).await?
        {
            return Ok(());
        }
        let behaviour = Arc::clone(&self.behaviour);
        match behaviour.dialect.refuses_message(&statements) {
            Ok(None) => {}
            Ok(Some(error)) => return self.complain(error, Vec::new()).await,
            Err(()) => return Err(End::Close),
        }
        let mut reply = messages::notice("so far so good").repeat(behaviour.notices);
        for statement in statements {
            let word = statement.split_ascii_whitespace().next().unwrap_or_default().to_ascii_uppercase();
            let ends = matches!(word.as_str(), "ROLLBACK" | "COMMIT");
            if self.status == b'E' && !ends {
                let error = ServerError::new("ERROR", "25P02", "current transaction is aborted");
                return self.complain(&error, reply).await;
            }
            if let Some(error) = behaviour.dialect.refuses(statement) {
                return self.complain(error, reply).await;
            }
            match word.as_str() {
                "BEGIN" => {
                    self.status = if behaviour.dialect.without_transactions { b'I' } else { b'T' };
                    reply.extend(messages::complete("BEGIN"));
                }
                _ if ends => {
                    self.status = b'I';
                    reply.extend(messages::complete(&word));
                }
                "SET" => {
                    if behaviour.dialect.fails_silently(statement) {
                        self.status = b'E';
                    }
                    reply.extend(messages::complete("SET"));
                }
                _ if is_ours(statement) => reply.extend(facts(&behaviour, statement)),
                _ if at == Some(At::SqlCheck) => reply.extend(table(BOOL, &behaviour.sql_check_rows)),
                _ => {
                    self.wire.send(&mem::take(&mut reply)).await?;
                    if self.fails_query(At::MidQuery).await? {
                        return Ok(());
                    }
                    if let Some(error) = &behaviour.query_error {
                        return self.complain(error, reply).await;
                    }
                    reply.extend(table(INT4, &behaviour.rows));
                }
            }
        }
        reply.extend(messages::ready(self.status));
        Ok(self.wire.send(&reply).await?)
    }

    /// An error in a message: the rest of the message is not run, and a transaction has failed.
    async fn complain(&mut self, error: &ServerError, mut reply: Vec<u8>) -> Step<()> {
        if self.status == b'T' {
            self.status = b'E';
        }
        reply.extend(messages::error(error));
        reply.extend(messages::ready(self.status));
        Ok(self.wire.send(&reply).await?)
    }

    /// True when the point's fault is an error that the session survives, and the client has it.
    async fn fails_query(&mut self, at: At) -> Step<bool> {
        let behaviour = Arc::clone(&self.behaviour);
        match &behaviour.fault {
            Some((here, Fault::Error(error))) if *here == at && !error.is_fatal() => {
                self.complain(error, Vec::new()).await?;
                Ok(true)
            }
            _ => self.reach(at).await.map(|()| false),
        }
    }

    /// Reaches a point of the conversation: goes on, or commits the fault that is scripted here.
    async fn reach(&mut self, at: At) -> Step<()> {
        let behaviour = Arc::clone(&self.behaviour);
        if let Some((_, pace)) = behaviour.drip.filter(|(from, _)| *from == at) {
            self.wire.pace = Some(pace);
        }
        match &behaviour.fault {
            Some((here, fault)) if *here == at => Err(self.commit(fault).await?),
            _ => Ok(()),
        }
    }

    async fn commit(&mut self, fault: &Fault) -> Step<End> {
        match fault {
            Fault::Stall => Ok(End::Hold),
            Fault::Close => Ok(End::Close),
            Fault::Reset => Ok(End::Reset),
            Fault::Error(error) => {
                self.wire.send(&messages::error(error)).await?;
                Ok(End::Close)
            }
            Fault::Bytes(bytes) => {
                self.wire.send(bytes).await?;
                Ok(End::Hold)
            }
            Fault::EndlessRows => {
                if self.ready {
                    self.wire.send(&messages::row_description(&[("?column?", INT4)])).await?;
                }
                self.repeat(&messages::data_row(&[Some("1")])).await
            }
            Fault::EndlessNotices => self.repeat(&messages::notice("and another thing")).await,
        }
    }

    /// Sends the same for ever; the error is that the client ended it.
    async fn repeat(&mut self, message: &[u8]) -> Step<End> {
        let batch = message.repeat(64);
        loop {
            self.wire.send(&batch).await?;
        }
    }

    async fn end(mut self, end: End, socket: Arc<Socket>) {
        match end {
            End::Close => {}
            End::Reset => {
                let _ = socket.set_linger(Some(Duration::ZERO));
            }
            End::Hold if self.ready => {
                while let Ok((tag, _)) = self.wire.read_message().await {
                    self.house.counts().terminates += usize::from(tag == b'X');
                }
            }
            End::Hold => while let Ok(true) = self.wire.read_some().await {},
        }
    }
}
