//! The TCP sockets of this network namespace, as the Linux kernel reports them: which exist, and which have just ended.
//! Both come over NETLINK_SOCK_DIAG (sock_diag(7)), which needs no privileges: any process may request a dump, and
//! `net/core/sock_diag.c` opens the destroy groups to all (`NL_CFG_F_NONROOT_RECV`).
//!
//! The kernel leaves out what is not wanted: a dump names the database's port, and a socket filter drops the ends of
//! other connections before they wake this process. So a busy web server costs nothing here.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NlasIterator, Parseable};
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponseBuffer, InetResponseHeader, SocketId, StateFlags,
};
use netlink_packet_sock_diag::{SOCK_DIAG_BY_FAMILY, SockDiagMessage};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{AsyncSocket, Socket, SocketAddr as NetlinkAddress, TokioSocket};
use socket2::{SockFilter, SockRef};
use tokio::time::Instant;

use super::activity::{EndedSocket, ListedSocket};

/// `SKNLGRP_INET_TCP_DESTROY` and `SKNLGRP_INET6_TCP_DESTROY` (`linux/sock_diag.h`).
const DESTROY_GROUPS: [u32; 2] = [1, 3];
/// For the ends of connections, about 2 KiB each. The kernel limits it to `net.core.rmem_max`.
const EVENT_BUFFER: i32 = 1 << 20;
/// The kernel sends a dump in parts of at most this size (`netlink_recvmsg`).
const PART: usize = 32 * 1024;
/// `struct nlmsghdr`, and the types of message that end a dump (`linux/netlink.h`).
const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// `INET_DIAG_INFO` (`linux/inet_diag.h`): a `struct tcp_info`, as long as this kernel has it.
const INET_DIAG_INFO: u16 = 2;
/// `tcpi_last_data_recv` (`linux/tcp.h`): milliseconds since data was last received, or since the connection was made.
const LAST_DATA_RECV: std::ops::Range<usize> = 52..56;
/// `tcpi_bytes_received` (`linux/tcp.h`, since Linux 4.1): bytes received, and one for the end.
const BYTES_RECEIVED: std::ops::Range<usize> = 128..136;
/// TCP_ESTABLISHED (`net/tcp_states.h`).
const ESTABLISHED: u8 = 1;
/// The position of `idiag_dport` in a message: behind the header, family, state, timer, retransmits and source port.
const DESTINATION_PORT: u32 = HEADER as u32 + 6;
/// `ENOBUFS`: messages were dropped, because the buffer was full.
const NO_ROOM: i32 = 105;

/// Every TCP socket of this network namespace that is connected to `port`, on whichever host.
///
/// # Errors
/// If the kernel has no socket diagnostics, or does not let this process use them.
pub(super) fn sockets(port: u16) -> io::Result<Vec<ListedSocket>> {
    let mut found = Vec::new();
    let mut part = Vec::with_capacity(PART);
    for family in [AF_INET, AF_INET6] {
        // A new socket each time: no dump inherits an error of the one before.
        let socket = Socket::new(NETLINK_SOCK_DIAG)?;
        // The kernel makes each part during the call: there is nothing that a wait could be for.
        socket.set_non_blocking(true)?;
        socket.send_to(&request(family, port), &NetlinkAddress::new(0, 0), 0)?;
        while receive_part(&socket, &mut part, &mut found)? {}
    }
    Ok(found)
}

fn request(family: u8, port: u16) -> Vec<u8> {
    let mut socket_id = if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() };
    socket_id.destination_port = port;
    // All that have been connected, but for TIME_WAIT, which is no longer a whole socket.
    let states = StateFlags::ESTABLISHED
        | StateFlags::FIN_WAIT1
        | StateFlags::FIN_WAIT2
        | StateFlags::CLOSE_WAIT
        | StateFlags::LAST_ACK
        | StateFlags::CLOSING;
    let ask = InetRequest { family, protocol: IPPROTO_TCP, extensions: ExtensionFlags::INFO, states, socket_id };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(ask).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Reads one part of a dump. False: it was the last one.
fn receive_part(socket: &Socket, part: &mut Vec<u8>, found: &mut Vec<ListedSocket>) -> io::Result<bool> {
    part.clear();
    socket.recv(part, 0)?;
    for message in messages(part) {
        match message? {
            (kind @ (NLMSG_DONE | NLMSG_ERROR), body) => return end(kind, body).map(|()| false),
            (_, body) => {
                let (header, info) = read(body)?;
                let established = header.state == ESTABLISHED;
                // One that is closing need not have it.
                let quiet_for = info.quiet_for.or((!established).then_some(Duration::MAX)).ok_or_else(garbled)?;
                found.push(ListedSocket {
                    cookie: cookie(&header),
                    peer: peer(&header),
                    established,
                    quiet_for,
                    received: info.received,
                });
            }
        }
    }
    Ok(true)
}

/// The last message carries an errno, negative, or 0. A kernel without `tcp_diag` says so in NLMSG_DONE.
fn end(kind: u16, body: &[u8]) -> io::Result<()> {
    match body.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
        Some(code) if code < 0 => Err(io::Error::from_raw_os_error(-code)),
        _ if kind == NLMSG_ERROR => Err(garbled()),
        _ => Ok(()),
    }
}

/// The ends of connections as the kernel multicasts them, whichever side closes or resets. Only one kind is missed: a
/// client that resets with SO_LINGER 0 has forgotten its peer by then (`tcp_disconnect`), but no driver does that.
pub(super) struct EndedSockets {
    socket: TokioSocket,
    port: u16,
}

impl EndedSockets {
    /// Listens for the ends of connections to `port`. Needs a runtime.
    ///
    /// # Errors
    /// Where the kernel has no destroy groups, or does not let this process join them.
    pub(super) fn listen(port: u16) -> io::Result<EndedSockets> {
        let mut socket = TokioSocket::new(NETLINK_SOCK_DIAG)?;
        let inner = socket.socket_mut();
        inner.set_rx_buf_sz(EVENT_BUFFER)?;
        inner.bind_auto()?;
        // Without the filter it works as well, but costs more.
        let _ = SockRef::from(&*inner).attach_filter(&only(port));
        for group in DESTROY_GROUPS {
            inner.add_membership(group)?;
        }
        Ok(EndedSockets { socket, port })
    }

    /// Waits until there are some, and takes them. `None`: some were lost, because they were not taken in time.
    ///
    /// # Errors
    /// Where there will be no more.
    pub(super) async fn next(&self, mut take: impl FnMut(Option<EndedSocket>)) -> io::Result<()> {
        let mut part = Vec::with_capacity(PART);
        let received = poll_fn(|context| self.socket.poll_recv(context, &mut part)).await;
        self.understand(received, &part, &mut take)?;
        self.take(take);
        Ok(())
    }

    /// Takes those that have been reported.
    pub(super) fn take(&self, mut take: impl FnMut(Option<EndedSocket>)) {
        let mut part = Vec::with_capacity(PART);
        loop {
            part.clear();
            let received = self.socket.socket_ref().recv(&mut part, 0).map(drop);
            // As a rule because there are no more.
            if self.understand(received, &part, &mut take).is_err() {
                return;
            }
        }
    }

    fn understand(
        &self,
        received: io::Result<()>,
        part: &[u8],
        take: &mut impl FnMut(Option<EndedSocket>),
    ) -> io::Result<()> {
        match received {
            Err(error) if error.raw_os_error() == Some(NO_ROOM) => take(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(()) => {
                let now = Instant::now();
                let events = messages(part).filter_map(Result::ok).filter(|(kind, _)| *kind == SOCK_DIAG_BY_FAMILY);
                for (header, info) in events.filter_map(|(_, body)| read(body).ok()) {
                    if header.socket_id.destination_port == self.port {
                        let last_data = info.quiet_for.and_then(|quiet| now.checked_sub(quiet)).unwrap_or(now);
                        take(Some(EndedSocket {
                            cookie: cookie(&header),
                            peer: peer(&header),
                            last_data,
                            received: info.received,
                        }));
                    }
                }
            }
        }
        Ok(())
    }
}

/// A classic BPF program (`linux/filter.h`): load the half-word at the destination port, keep the whole message where
/// it is this port, else nothing of it.
fn only(port: u16) -> [SockFilter; 4] {
    const LOAD_HALF_ABSOLUTE: u16 = 0x28;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    [
        SockFilter::new(LOAD_HALF_ABSOLUTE, 0, 0, DESTINATION_PORT),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, port.into()),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// The messages of one part, each as its type and body.
fn messages(mut rest: &[u8]) -> impl Iterator<Item = io::Result<(u16, &[u8])>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let next = rest.first_chunk().and_then(|length| {
            let length = u32::from_ne_bytes(*length) as usize;
            let kind = u16::from_ne_bytes([*rest.get(4)?, *rest.get(5)?]);
            let body = rest.get(HEADER..length)?;
            // Messages begin at multiples of 4.
            Some(((kind, body), rest.get(length.next_multiple_of(4)..).unwrap_or_default()))
        });
        let Some((message, behind)) = next else {
            rest = &[];
            return Some(Err(garbled()));
        };
        rest = behind;
        Some(Ok(message))
    })
}

/// What the kernel's TCP reports about a socket.
#[derive(Debug)]
struct TcpInfo {
    quiet_for: Option<Duration>,
    received: Option<u64>,
}

/// A socket and what TCP reports about it.
fn read(body: &[u8]) -> io::Result<(InetResponseHeader, TcpInfo)> {
    let header = InetResponseHeader::parse(body).map_err(|_| garbled())?;
    let attributes = body.get(size_of::<InetResponseBuffer>()..).unwrap_or_default();
    // Other attributes, which a kernel may add, are left alone.
    let info = NlasIterator::new(attributes).filter_map(Result::ok).find(|nla| nla.kind() == INET_DIAG_INFO);
    let info = info.as_ref().map_or(&[][..], |info| info.value());
    let quiet = info.get(LAST_DATA_RECV).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes);
    let received = info.get(BYTES_RECEIVED).and_then(|bytes| bytes.try_into().ok()).map(u64::from_ne_bytes);
    Ok((header, TcpInfo { quiet_for: quiet.map(|ms| Duration::from_millis(ms.into())), received }))
}

/// The kernel writes a u64 as two words, the low one first (`sock_diag_save_cookie`).
fn cookie(header: &InetResponseHeader) -> u64 {
    let [a, b, c, d, e, f, g, h] = header.socket_id.cookie;
    u64::from(u32::from_ne_bytes([a, b, c, d])) | u64::from(u32::from_ne_bytes([e, f, g, h])) << 32
}

/// A dual-stack socket shows an IPv4 peer as a mapped address.
fn peer(header: &InetResponseHeader) -> IpAddr {
    header.socket_id.destination_address.to_canonical()
}

fn garbled() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

#[cfg(test)]
mod tests;
