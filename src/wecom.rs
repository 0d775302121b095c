//! The WeCom (企业微信) wire protocol: the callback's signature and encryption, its events, and the calls we make.
//!
//! Everything here translates between bytes and the types of `actors`; nothing here decides what a message means.

mod access_token;
pub mod api;
pub mod client;
mod clock_skew;
pub mod envelope;
pub mod event;
pub mod signature;
pub mod staff;
mod xml;
