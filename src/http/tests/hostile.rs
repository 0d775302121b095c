//! A full house, slow senders and guessers of the admin key, with few connections and a clock that stands still.

use actors::handles::CALLS_MAX;
use futures_util::{FutureExt as _, future::join_all};

use super::*;

const SEATS: usize = 8;
const ALIVE: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

/// Whether the other side has closed, without waiting.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 1024];
    loop {
        match tokio::time::timeout(Duration::from_millis(20), stream.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => return true,
            Ok(Ok(_)) => {}
            Err(_) => return false,
        }
    }
}

#[tokio::test]
async fn in_a_full_house_whoever_waited_longest_makes_room_for_each_newcomer() {
    let habits: [&[u8]; 4] = [
        b"",
        b"GET /healthz HTT",
        b"POST /api/login HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{",
        b"GET /api/admin/bindings HTTP/1.1\r\nhost: x\r\nauthorization: Bearer wrong\r\n\r\n",
    ];
    for habit in habits {
        let server = running_with(SEATS, DEADLINE / 2).await;
        let mut sitting = Vec::new();
        for _ in 0..SEATS {
            sitting.push(server.send(habit).await);
        }
        for _ in 0..SEATS * 3 {
            let answer = to_end(&mut server.send(ALIVE).await).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer} behind {}", String::from_utf8_lossy(habit));
        }
        assert!(is_closed(sitting.first_mut().unwrap()).await, "the first one had to go");
        server.stopped().await;
    }
}

#[tokio::test]
async fn in_a_full_house_whoever_does_not_read_makes_room() {
    let server = running_with(SEATS, DEADLINE / 2).await;
    let requests = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n".repeat(4_000);
    let mut deaf = Vec::new();
    for _ in 0..SEATS {
        deaf.push(server.send(&requests).await);
    }
    for _ in 0..SEATS * 3 {
        let answer = to_end(&mut server.send(ALIVE).await).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    server.stopped().await;
}

#[tokio::test]
async fn whoever_is_worked_for_keeps_the_place() {
    let server = running_with(SEATS, DEADLINE / 2).await;
    let session = server.site.session();
    let wait = format!(
        "GET /api/binding?wait=30&since=0 HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: {session}\r\n\r\n"
    );
    let mut polls = Vec::new();
    for _ in 0..SEATS - 1 {
        polls.push(server.send(wait.as_bytes()).await);
    }
    for _ in 0..SEATS {
        let mut silent = server.send(b"").await;
        let answer = to_end(&mut server.send(ALIVE).await).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        to_end(&mut silent).await;
    }
    for poll in &mut polls {
        assert!(!is_closed(poll).await, "a long poll was closed for a newcomer");
    }
    server.site.stop.send(true).unwrap();
    for poll in &mut polls {
        let answer = to_end(poll).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[tokio::test]
async fn a_body_that_comes_by_the_byte_is_given_up() {
    let server = running(DEADLINE / 2).await;
    for path in ["/api/login", "/api/wechat-work/message?msg_signature=a&timestamp=1&nonce=1"] {
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n");
        let (mut answers, mut requests) = server.send(head.as_bytes()).await.into_split();
        tokio::time::pause();
        let begun = tokio::time::Instant::now();
        let dripping = async {
            while requests.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let mut answer = vec![0; 12];
        tokio::select! {
            read = answers.read_exact(&mut answer) => drop(read.unwrap()),
            () = dripping => panic!("closed without an answer"),
        }
        assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 400");
        assert!(begun.elapsed() < Duration::from_mins(1), "{:?}", begun.elapsed());
        tokio::time::resume();
    }
}

#[tokio::test]
async fn the_right_admin_key_is_never_held_up_by_thousands_of_wrong_ones() {
    let site = Site::new(&Options::default()).await;
    tokio::time::pause();
    let wrong = (0..5_000).map(|number| {
        let site = &site;
        async move {
            let header = format!("authorization: Bearer guess-{number}");
            site.ask("GET", "/api/admin/bindings", &[&header], "").await.status
        }
    });
    let begun = tokio::time::Instant::now();
    let mut guesses = Box::pin(join_all(wrong));
    let right = async {
        // Behind all of them.
        tokio::task::yield_now().await;
        for _ in 0..100 {
            let header = "authorization: Bearer admin-key";
            assert_eq!(site.ask("GET", "/api/admin/bindings?limit=0", &[header], "").await.status, 400);
        }
        begun.elapsed()
    };
    let waited = tokio::select! {
        biased;
        _ = &mut guesses => panic!("wrong keys were answered before the right one"),
        waited = right => waited,
    };
    assert_eq!(waited, Duration::ZERO);
    assert!(guesses.await.iter().all(|status| *status == 401));
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn whoever_hangs_up_leaves_no_more_in_the_mailboxes_than_is_allowed() {
    let site = Site::new(&Options::default()).await;
    let unbind = || site.ask_as_user("DELETE", "/api/binding", "");
    // Nothing here waits, so the actors don't get on meanwhile: what is not refused is in the mailbox.
    let refused = (0..CALLS_MAX * 2)
        .filter_map(|_| unbind().now_or_never())
        .filter(|answer| answer.status == 503)
        .count();
    assert_eq!(refused, CALLS_MAX);
    let taken_again = async {
        while unbind().await.status != 204 {
            tokio::task::yield_now().await;
        }
    };
    within(taken_again).await;
}
