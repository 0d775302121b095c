//! Tells whoever started the service that it is ready, that it is alive and that it stops: systemd's `sd_notify`.
//!
//! Datagrams of a few words to the socket that the environment names. Where there is none, or it doesn't listen, the
//! service runs all the same. What "alive" means is the caller's business.

use std::{
    convert::Infallible, future::pending, io, os::linux::net::SocketAddrExt as _, os::unix::net as std_net,
    time::Duration,
};

use tokio::{net::UnixDatagram, time::MissedTickBehavior};

use crate::config::NotifySettings;

/// So many times in the time after which silence counts as death: one late answer is no death.
const PINGS_PER_WATCHDOG: u32 = 4;

/// The one who wants to be told, or nobody.
pub struct Supervisor {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// The one whom the environment names. Wants to be called inside the async runtime.
    #[must_use]
    pub fn of(settings: &NotifySettings) -> Self {
        let socket = settings.socket.as_deref().and_then(|name| {
            connect(name)
                .inspect_err(
                    |error| tracing::warn!(%error, name, "NOTIFY_SOCKET can't be used, nobody is told"),
                )
                .ok()
        });
        Self { socket, watchdog: settings.watchdog }
    }

    /// Says that the service is ready; `status` is for people.
    pub async fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", status.replace('\n', " "))).await;
    }

    /// Says that the service has begun to stop.
    pub async fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping").await;
    }

    /// Says again and again that the service is alive, as long as that is so and somebody wants to know. Never ends.
    pub async fn watch(&self, is_alive: impl AsyncFn() -> bool) -> Infallible {
        let Some(watchdog) = self.watchdog.filter(|_| self.socket.is_some()) else { return pending().await };
        let mut pings = tokio::time::interval(watchdog / PINGS_PER_WATCHDOG);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pings.tick().await;
            if is_alive().await {
                self.tell("WATCHDOG=1").await;
            } else {
                tracing::warn!("an actor did not answer: the watchdog is not told that all is well");
            }
        }
    }

    async fn tell(&self, words: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(words.as_bytes()).await {
            tracing::warn!(%error, "NOTIFY_SOCKET takes no words");
        }
    }
}

/// A path, or with `@` a name in the kernel's abstract space.
fn connect(name: &str) -> io::Result<UnixDatagram> {
    let address = match name.strip_prefix('@') {
        Some(name) => std_net::SocketAddr::from_abstract_name(name)?,
        None if name.starts_with('/') => std_net::SocketAddr::from_pathname(name)?,
        None => return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a path nor @ and a name")),
    };
    let socket = std_net::UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    UnixDatagram::from_std(socket)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tempfile::TempDir;

    use super::*;

    struct Listener {
        socket: std_net::UnixDatagram,
        _folder: TempDir,
    }

    impl Listener {
        fn new(watchdog: Option<Duration>) -> (Self, Supervisor) {
            let folder = TempDir::with_prefix("kfbind-notify-").unwrap();
            let path = folder.path().join("s");
            let socket = std_net::UnixDatagram::bind(&path).unwrap();
            socket.set_nonblocking(true).unwrap();
            let name = path.to_str().unwrap().to_owned();
            let supervisor = Supervisor::of(&NotifySettings { socket: Some(name), watchdog });
            (Self { socket, _folder: folder }, supervisor)
        }

        fn heard(&self) -> Vec<String> {
            let mut bytes = [0; 512];
            std::iter::from_fn(|| self.socket.recv(&mut bytes).ok().map(|length| bytes[..length].to_vec()))
                .map(|words| String::from_utf8(words).unwrap())
                .collect()
        }
    }

    #[tokio::test]
    async fn readiness_and_stop_are_told_in_whole_datagrams() {
        let (listener, supervisor) = Listener::new(None);
        supervisor.ready("0.1.0\nREADY=0").await;
        supervisor.stopping().await;
        assert_eq!(listener.heard(), ["READY=1\nSTATUS=0.1.0 READY=0", "STOPPING=1\nSTATUS=stopping"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_hears_nothing_while_the_service_is_not_alive() {
        let (listener, supervisor) = Listener::new(Some(Duration::from_secs(40)));
        let alive = AtomicBool::new(true);
        let watch = supervisor.watch(async || alive.load(Ordering::Relaxed));
        let story = async {
            tokio::time::sleep(Duration::from_secs(35)).await;
            assert_eq!(listener.heard(), ["WATCHDOG=1"; 4], "at 0, 10, 20 and 30 s");
            alive.store(false, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_mins(1)).await;
            assert_eq!(listener.heard(), Vec::<String>::new());
            alive.store(true, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(10)).await;
            assert_eq!(listener.heard(), ["WATCHDOG=1"]);
        };
        tokio::select! {
            never = watch => match never {},
            () = story => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_listener_nothing_is_told_and_nothing_fails() {
        for socket in
            [None, Some("/nonexistent/socket"), Some("@"), Some("relative"), Some("@kfbind-nobody-hears")]
        {
            let settings =
                NotifySettings { socket: socket.map(str::to_owned), watchdog: Some(Duration::from_secs(1)) };
            let supervisor = Supervisor::of(&settings);
            supervisor.ready("x").await;
            let watch = supervisor.watch(async || panic!("nobody wants to know"));
            assert!(tokio::time::timeout(Duration::from_mins(1), watch).await.is_err());
            supervisor.stopping().await;
        }
    }
}
