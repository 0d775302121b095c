//! A tiny HTTP server for tests: answers what a closure says and keeps what it was asked.
//!
//! One request per connection. It is not the simulator, which plays WeCom; this one plays a wire.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Method, path and query.
    pub(crate) line: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Seen {
    /// The last part of the path.
    pub(crate) fn call(&self) -> &str {
        let path = self.line.split_once(' ').map_or("", |(_, target)| target);
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        path.rsplit_once('/').map_or(path, |(_, call)| call)
    }
}

/// What to answer.
#[derive(Clone, Debug)]
pub(crate) enum Play {
    /// These bytes, whole.
    Raw(Vec<u8>),
    /// Nothing, until the other side gives up.
    Silence,
}

impl Play {
    pub(crate) fn json(body: &str) -> Self {
        Self::with_status("200 OK", &[], body)
    }

    pub(crate) fn with_status(status: &str, headers: &[&str], body: &str) -> Self {
        let mut text =
            format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        for header in headers {
            text.push_str(header);
            text.push_str("\r\n");
        }
        Self::Raw((text + "\r\n" + body).into_bytes())
    }
}

pub(crate) struct Loopback {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Loopback {
    pub(crate) async fn start(play: impl Fn(&Seen) -> Play + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (kept, play) = (Arc::clone(&seen), Arc::new(play));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, play) = (Arc::clone(&kept), Arc::clone(&play));
                tokio::spawn(async move { serve(stream, &kept, play.as_ref()).await });
            }
        });
        Self { address, seen }
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How often a call was made.
    pub(crate) fn count(&self, call: &str) -> usize {
        self.seen().iter().filter(|seen| seen.call() == call).count()
    }
}

async fn serve(mut stream: TcpStream, kept: &Mutex<Vec<Seen>>, play: &(impl Fn(&Seen) -> Play + ?Sized)) {
    let mut bytes = Vec::new();
    let Some(seen) = read_request(&mut stream, &mut bytes).await else { return };
    kept.lock().unwrap().push(seen.clone());
    match play(&seen) {
        Play::Raw(answer) => {
            // The other side may have gone: that is its business.
            drop(stream.write_all(&answer).await);
            drop(stream.shutdown().await);
        }
        Play::Silence => while matches!(stream.read(&mut [0; 64]).await, Ok(1..)) {},
    }
}

async fn read_request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<Seen> {
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = head
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .map_or(0, |(_, length)| length.trim().parse().unwrap());
            if bytes.len() >= end + 4 + length {
                let body = String::from_utf8_lossy(&bytes[end + 4..]).into_owned();
                let line = head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
                return Some(Seen { line, head, body });
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(length @ 1..) => bytes.extend_from_slice(&chunk[..length]),
            _ => return None,
        }
    }
}
