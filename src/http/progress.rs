//! What a connection is doing: whether an answer is being made, whether one is being sent, and whether it gets on.
//!
//! Only notes it; what follows for the connection is the accept loop's business.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{self, Poll},
};

use hyper::body::{Body, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::seats::{Seat, Seats};

/// What a connection is doing.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) seat: Arc<Seat>,
    /// Requests whose answer is not there yet.
    answering: AtomicU64,
    /// Answers whose body has not been taken in whole.
    sending: AtomicU64,
    /// Whether bytes wait for the client to read what it has.
    blocked: AtomicBool,
    /// Grows with every answer, and with every part of one that the client's side takes.
    moves: AtomicU64,
}

impl Progress {
    pub(super) fn new(seats: &Arc<Seats>) -> Self {
        Self {
            seat: Arc::new(Seat::new(seats)),
            answering: AtomicU64::default(),
            sending: AtomicU64::default(),
            blocked: AtomicBool::default(),
            moves: AtomicU64::default(),
        }
    }

    pub(super) fn is_answering(&self) -> bool {
        self.answering.load(Ordering::Relaxed) > 0
    }

    pub(super) fn is_idle(&self) -> bool {
        let sending = self.sending.load(Ordering::Relaxed) > 0 || self.blocked.load(Ordering::Relaxed);
        !self.is_answering() && !sending
    }

    pub(super) fn moves(&self) -> u64 {
        self.moves.load(Ordering::Relaxed)
    }

    pub(super) fn wrote<T>(&self, written: Poll<T>) -> Poll<T> {
        let was_blocked = self.blocked.swap(written.is_pending(), Ordering::Relaxed);
        if written.is_ready() {
            self.moves.fetch_add(1, Ordering::Relaxed);
            if was_blocked && !self.is_answering() {
                // Whoever takes a part has not waited since before it.
                self.seat.work();
            }
        }
        self.settle();
        written
    }

    /// Whose turn it is once no answer is in the making: the client's, where nothing is left to be sent, or where it
    /// doesn't take what is.
    fn settle(&self) {
        if self.is_answering() {
            return;
        }
        if self.sending.load(Ordering::Relaxed) == 0 || self.blocked.load(Ordering::Relaxed) {
            self.seat.wait();
        } else {
            self.seat.work();
        }
    }
}

/// Counts a request as under way for as long as it lives.
pub(super) struct UnderWay(Arc<Progress>);

impl UnderWay {
    pub(super) fn new(progress: &Arc<Progress>) -> Self {
        progress.answering.fetch_add(1, Ordering::Relaxed);
        progress.seat.work();
        Self(Arc::clone(progress))
    }

    /// The answer is there; now it is sent.
    pub(super) fn answered(self) -> Sending {
        self.0.sending.fetch_add(1, Ordering::Relaxed);
        Sending(Arc::clone(&self.0))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.answering.fetch_sub(1, Ordering::Relaxed);
        self.0.moves.fetch_add(1, Ordering::Relaxed);
        self.0.settle();
    }
}

/// Counts an answer as being sent for as long as it lives.
pub(super) struct Sending(Arc<Progress>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.sending.fetch_sub(1, Ordering::Relaxed);
        self.0.settle();
    }
}

/// The body of an answer, until hyper has taken all of it.
pub(super) struct SentBody<B> {
    pub(super) body: B,
    pub(super) _sending: Sending,
}

impl<B: Body + Unpin> Body for SentBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Notes whether what is written gets on: a long answer takes its time, and only a client that reads nothing stalls.
pub(super) struct WatchedStream {
    pub(super) stream: TcpStream,
    pub(super) progress: Arc<Progress>,
}

impl AsyncRead for WatchedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.progress.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.progress.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn it_is_the_clients_turn_when_all_is_sent_or_nothing_is_taken() {
        let seats = Arc::new(Seats::default());
        let progress = Arc::new(Progress::new(&seats));
        let waits = || progress.seat.waits_since().is_some();
        assert!(waits());
        let under_way = UnderWay::new(&progress);
        let _ = progress.wrote(Poll::<()>::Pending);
        assert!(!waits(), "an answer is being made");
        let sending = under_way.answered();
        assert!(waits(), "the last one is not taken");
        let _ = progress.wrote(Poll::Ready(()));
        assert!(!waits());
        let _ = progress.wrote(Poll::<()>::Pending);
        assert!(waits());
        drop(sending);
        assert!(waits());
        drop(UnderWay::new(&progress));
        assert!(waits(), "given up without an answer");
    }

    #[test]
    fn whoever_takes_a_part_of_an_answer_waits_anew() {
        let seats = Arc::new(Seats::default());
        let [slow, idle] = [(); 2].map(|()| Arc::new(Progress::new(&seats)));
        let _sending = UnderWay::new(&slow).answered();
        let _ = slow.wrote(Poll::<()>::Pending);
        drop(UnderWay::new(&idle));
        let _ = slow.wrote(Poll::Ready(()));
        let _ = slow.wrote(Poll::<()>::Pending);
        seats.dismiss_oldest();
        assert!(idle.seat.dismissed().now_or_never().is_some());
        assert!(slow.seat.dismissed().now_or_never().is_none());
    }
}
