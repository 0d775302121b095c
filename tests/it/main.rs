//! Tests of the whole service from outside: HTTP on one side, the simulated WeCom on the other, a real store between.
//!
//! One binary with a module for each thing that is promised. The service runs in the test's process with a clock that
//! is moved by hand, except where a process must be killed or its command line is the thing tested.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::float_cmp,
    reason = "tests fail by panicking"
)]

mod accounts; // several accounts, each with its own cursor; whose store it is
mod admin_bindings; // bindings that the back end makes and ends
mod admin_erase; // people whom the back end has forgotten
mod admin_events; // the audit trail
mod admin_sessions; // sessions that the back end makes
mod admin_stats; // counts by day and way
mod bad_input; // bodies, texts and parameters that nobody should send
mod binding_rules; // rules 1 to 4 and 9 of binding: lives of codes, one to one, undoing
mod broken_stores; // a full disk, and directories that can't be used
mod callback_delivery; // what callbacks bring about: one look
mod callback_verify; // the echo, and refusing what isn't WeCom's
mod check_online; // what each console was not told is found and named
mod codes; // getting a code: shape, again, too often, none
#[path = "../campaigns/connections.rs"]
mod connections; // a crowd of idle and slow connections; the campaigns have a larger one
mod dashboards; // the metrics that deploy/ names
mod demo; // the two-phone page's server
mod edge_forward; // callbacks for other programs on the same app
mod edge_ops; // operators on an address of their own
mod edge_tls; // HTTPS by the service itself, and certificates that change
mod fsync; // every durable answer after an fsync, by the kernel's own word
mod hostile; // bytes that nobody should send: floods, garbage, bodies without an end
mod hostile_callers; // guessing, replaying, forging, enumerating
mod hostile_connections; // a crowd of connections, while customers go on binding
mod hostile_secrets; // no secret in any output
mod lifecycle; // old stores, newer ones, backups under load, imports that are cut off
mod limits; // rules 6 and 7: wrong codes lock, codes grow
mod login_session; // logging in, and what a session is good for
mod long_poll; // waiting for a change
mod notify; // what is told to whoever started the process; its version
mod openapi; // the description of the routes, against the routes
mod outages; // WeCom away, wrong, slow, throttling
mod paging; // pages, cursors, messages that can't be read
mod process; // the binary: environment, exit codes, kills
mod progress; // how far long work has come
#[path = "../campaigns/receiver.rs"]
mod receiver; // a business back end in any mood; the campaigns have it, too
mod recognition; // rule 5: what counts as a code, and what is answered
mod replies; // rule 10: answers in the chat, once, and those that WeCom refuses
mod stopping; // an orderly stop
mod support; // the service, the simulator, the client, waiting
mod ways_card; // a card in the chat, and whoever opens it
mod ways_crash; // kills between the steps of a way
mod ways_handover; // talk that reaches a person
mod ways_link; // the ticket in the kf link
mod ways_questions; // asking before a typed code binds; the subscribe message
mod ways_staff; // employees: their login, their cards, the codes that are read out to them
mod ways_unionid; // the same person on both sides
mod ways_window;
mod webhooks; // what the business back end is told, and what becomes of what it does not take // one who announced the chat, one who came
