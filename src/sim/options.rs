//! What a simulator is started with. The defaults are obviously fake, so that none of them can pass for a real one.

use std::{sync::Arc, time::Duration};

use serde::Serialize;

/// The only source of time in the simulator: milliseconds since the Unix epoch.
pub type SimClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Where the default clock stands still: 2025-06-15T12:00:00Z, in milliseconds.
pub const DEFAULT_NOW_MS: u64 = 1_749_988_800_000;

/// The corp, its app, its mini program and how the simulator behaves; change it later with `Sim::switch`.
#[derive(Clone)]
pub struct SimOptions {
    /// The loopback port to listen on; 0 picks a free one.
    pub port: u16,
    /// The time. By default it stands still at [`DEFAULT_NOW_MS`]: pass the clock of the service under test.
    pub clock: SimClock,
    /// What all ids, tokens and random bytes grow from.
    pub seed: u64,
    /// `corpid`.
    pub corp_id: String,
    /// The app's secret.
    pub secret: String,
    /// The secret of the second app, the one that the WeCom mini program is linked to.
    pub staff_secret: String,
    /// The callback's Token.
    pub token: String,
    /// The callback's `EncodingAESKey`, 43 characters; the default has surplus bits set, as real ones have.
    pub encoding_aes_key: String,
    /// The mini program's `appid`.
    pub app_id: String,
    /// The mini program's `AppSecret`.
    pub app_secret: String,
    /// The kf accounts, in the order in which `account/list` shows them.
    pub accounts: Vec<SimAccount>,
    /// Whether each new message rings by itself.
    pub callback_mode: CallbackMode,
    /// How long a callback waits for its answer (WeCom: 5 s), in real time.
    pub callback_timeout: Duration,
    /// The wait before each of the three retries of a callback (WeCom: not documented), in real time.
    pub callback_retry_wait: Duration,
    /// How many wrong secrets within an hour ban the caller for an hour.
    pub wrong_secrets_max: usize,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self {
            port: 0,
            clock: Arc::new(|| DEFAULT_NOW_MS),
            seed: 1,
            corp_id: "wwFAKEcorp00000001".into(),
            secret: "fake-app-secret-fake-app-secret-fake-app-se".into(),
            staff_secret: "fake-staff-secret-fake-staff-secret-fake-st".into(),
            token: "FAKEcallbackTOKEN".into(),
            encoding_aes_key: "fakeFAKEfakeFAKEfakeFAKEfakeFAKEfakeFAKEfal".into(),
            app_id: "wxFAKEapp000000001".into(),
            app_secret: "fake0app0secret0fake0app0secret0".into(),
            accounts: vec![SimAccount {
                open_kfid: "wkFAKEaccountAAAAAAAAAAAAAAAAAAA".into(),
                name: "客服一号".into(),
                api_managed: true,
            }],
            callback_mode: CallbackMode::Auto,
            callback_timeout: Duration::from_secs(5),
            callback_retry_wait: Duration::from_millis(20),
            wrong_secrets_max: 5,
        }
    }
}

/// A kf account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimAccount {
    /// Its id, `wk…`.
    pub open_kfid: String,
    /// Its name in the console.
    pub name: String,
    /// Whether the app manages it: only then are there callbacks, messages to pull and leave to send.
    pub api_managed: bool,
}

/// Whether a new message on an API-managed account rings by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackMode {
    /// Every message and event is followed by a callback.
    Auto,
    /// Only `Sim::push_callback` and its like send any.
    Manual,
}

/// Someone who receives customers of an account (`kf/servicer/list`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Servicer {
    /// A member of the corp.
    Member {
        /// Who.
        userid: String,
        /// 0 receiving, 1 stopped.
        status: u8,
        /// 0 stopped, 1 suspended; only said of those who don't receive.
        #[serde(skip_serializing_if = "Option::is_none")]
        stop_type: Option<u8>,
    },
    /// A whole department.
    Department {
        /// Which.
        department_id: u64,
    },
}

impl Servicer {
    /// A member who is receiving.
    pub fn receiving(userid: impl Into<String>) -> Self {
        Self::Member { userid: userid.into(), status: 0, stop_type: None }
    }

    /// A member who has stopped receiving.
    pub fn stopped(userid: impl Into<String>) -> Self {
        Self::Member { userid: userid.into(), status: 1, stop_type: Some(0) }
    }
}
