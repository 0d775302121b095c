//! The inside of kfbind: actors, rules and store. No HTTP, no XML, no cryptography, and no crate that brings them.
//!
//! Read in this order: [`messages`] (the whole conversation, with a drawing), [`system`] (who starts, watches and
//! stops whom, and what the outside may hold), then one file per actor.

pub mod ids;
pub mod policy;
pub mod ports;

pub mod handles;
pub mod heap;
pub mod messages;
pub mod system;
pub mod tally;

mod alarm;
mod backoff;
mod beside;
mod callback;
mod durability;
mod kf_sync;
mod notifier;
mod registry;
mod texts;
mod webhooks;

pub use registry::archive;
pub use registry::{COMMIT_TARGET, RegistryOptions, StoreError};

#[cfg(any(test, feature = "testing"))]
pub mod testing;
