//! kfbind ties WeChat mini-program users (`openid`) to the customers of a WeCom customer-service account
//! (`external_userid`).
//!
//! The crate is the outside half: everything that speaks a wire format. The inside, rules and store, is the member
//! crate `actors`.

pub mod app;
pub mod archive;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod forward;
pub mod http;
pub mod logging;
pub mod notify;
pub mod outgoing;
pub mod sim;
pub mod tls;
pub mod webhooks;
pub mod wechat;
pub mod wecom;
