//! The WeCom (企业微信) wire protocol: the callback's signature and encryption, its events, and the calls we make.
//!
//! Everything here translates between bytes and the types of `actors`; nothing here decides what a message means.

pub mod api;
pub mod envelope;
pub mod event;
pub mod signature;
mod xml;
