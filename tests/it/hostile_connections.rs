//! A crowd of connections, while customers go on binding. The large one is a campaign; this one fits every machine.

use std::path::PathBuf;

use crate::connections::{Crowd, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "the memory is to be read off")]
async fn customers_bind_through_a_crowd_of_idle_and_slow_connections() {
    let crowd = Crowd {
        binary: PathBuf::from(env!("CARGO_BIN_EXE_kfbind")),
        idle: 1_000,
        slow: 100,
        seconds: 12,
        bindings: 20,
    };
    let outcome = run(&crowd).await.unwrap();
    println!("{outcome}");
    assert!(outcome.bindings >= 20);
    assert!(outcome.ended > 1_000, "nobody may sit for longer than the time-outs: {outcome}");
    // 16 KiB are what a connection may buffer; these have sent next to nothing.
    assert!(outcome.with_kib < outcome.before_kib + 64 * 1024, "{outcome}");
}
