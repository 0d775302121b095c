//! One connection of the crowd: what it does until the service ends it, and what it is answered.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::LOOK_EVERY;

/// Between the bytes of a slow one.
const BYTE_EVERY: Duration = Duration::from_secs(1);
/// A connection that is older is one that the kernel dropped from its queue without telling us.
const LOST_AFTER: Duration = Duration::from_mins(1);
/// How an answer begins: its version, a space, its status.
const STATUS_LINE_BYTES: usize = 12;

/// What all connections of the crowd share.
#[derive(Debug, Default)]
pub(super) struct Sitting {
    pub(super) over: AtomicBool,
    /// How often the service ended a connection, by what it did and the status of its answer (0 = there was none).
    ended: Mutex<BTreeMap<(Habit, u16), usize>>,
}

impl Sitting {
    /// How many connections the service ended.
    pub(super) fn ended(&self) -> usize {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    /// Those that were answered otherwise than they should be.
    pub(super) fn surprises(&self) -> Vec<((Habit, u16), usize)> {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let surprises = ended.iter().filter(|((habit, status), _)| !habit.answers().contains(status));
        surprises.map(|(what, count)| (*what, *count)).collect()
    }
}

/// What a connection does until the service ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Habit {
    /// Never sends anything.
    Silent,
    /// Asks once, and stays.
    OneRequest,
    /// Sends a head by the byte.
    SlowHead,
    /// Sends a head, and then a body by the byte.
    SlowBody,
}

impl Habit {
    /// The statuses of the answers that it should get (0 = none).
    fn answers(self) -> &'static [u16] {
        match self {
            Self::Silent | Self::SlowHead => &[0],
            Self::OneRequest => &[200],
            Self::SlowBody => &[400],
        }
    }
}

/// Sits there, and comes again when it is shown the door.
pub(super) async fn sit(sitting: &Sitting, source: Ipv4Addr, service: SocketAddr, habit: Habit) {
    while !sitting.over.load(Ordering::Relaxed) {
        match open(source, service).await {
            Ok(stream) => {
                let mut answer = Vec::new();
                // Whatever ends it, an answer, a close or a reset: it was the service.
                if timeout(LOST_AFTER, behave(stream, habit, &mut answer)).await.is_ok() {
                    let mut ended = sitting.ended.lock().unwrap_or_else(PoisonError::into_inner);
                    *ended.entry((habit, status(&answer))).or_default() += 1;
                }
            }
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

async fn open(source: Ipv4Addr, service: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    // Else thousands of ports that have just been left would be out of reach for a minute.
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((source, 0)))?;
    socket.connect(service).await
}

/// The status of an answer; 0 where there is none.
fn status(answer: &[u8]) -> u16 {
    let line = answer.strip_prefix(b"HTTP/1.1 ").and_then(|rest| std::str::from_utf8(rest).ok());
    line.and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// Keeps the beginning of what it is answered.
async fn behave(mut stream: TcpStream, habit: Habit, answer: &mut Vec<u8>) -> std::io::Result<()> {
    let (at_once, slowly): (&[u8], &[u8]) = match habit {
        Habit::Silent => (b"", b""),
        Habit::OneRequest => (b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n", b""),
        Habit::SlowHead => (b"", b"POST /api/login HTTP/1.1\r\nhost: a-very-long-name.example\r\nx-more: "),
        Habit::SlowBody => (
            b"POST /api/login HTTP/1.1\r\nhost: x\r\ncontent-length: 60000\r\n\r\n",
            b"{\"code\":\"one byte after the other, and never the last one of them all",
        ),
    };
    stream.write_all(at_once).await?;
    let (mut answers, mut requests) = stream.split();
    let mut buffer = [0; 512];
    let mut rest = slowly.iter().cycle().take(if slowly.is_empty() { 0 } else { usize::MAX });
    loop {
        match timeout(BYTE_EVERY, answers.read(&mut buffer)).await {
            Ok(Ok(0)) => return Ok(()),
            Ok(read) => {
                let read = buffer.iter().take(read?);
                answer.extend(read.take(STATUS_LINE_BYTES - answer.len()));
            }
            Err(_) => {
                if let Some(byte) = rest.next() {
                    requests.write_all(&[*byte]).await?;
                }
            }
        }
    }
}
