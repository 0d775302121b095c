//! The further ways to bind, each in a file of its own: what it looks for in a message, and its guard.
//!
//! The code is the ground that all fall back on and is not among them (`rules/codes.rs`). All end in the same rules:
//! `rules/joining.rs` says who may be bound, `ledger.rs` binds. A new way is a file here and a line in [`all`].

use super::rules::{Case, Known};
use crate::policy::Ways;

pub(crate) mod card;
pub(crate) mod link;
pub(crate) mod staff;
pub(crate) mod unionid;
pub(crate) mod window;

/// A way, as far as messages bring it about.
pub(crate) struct Way<K: Known> {
    /// Whether the operator has switched it on.
    pub(crate) is_on: fn(&Ways) -> bool,
    /// Whether it looks at messages, too, by which something was decided already.
    pub(crate) hears_all: bool,
    /// Looks at a message.
    pub(crate) hear: fn(&mut Case<'_, K>) -> Result<(), K::Error>,
}

/// The ways in the order in which they look at a message. `staff` begins at an employee's and hears only where the
/// customer is.
pub(crate) fn all<K: Known>() -> [Way<K>; 5] {
    [
        Way { is_on: |ways| ways.link, hears_all: false, hear: link::hear },
        Way { is_on: |ways| ways.unionid, hears_all: false, hear: unionid::hear },
        Way { is_on: |ways| ways.window, hears_all: true, hear: window::hear },
        Way { is_on: |ways| ways.card, hears_all: false, hear: card::hear },
        Way { is_on: |ways| ways.staff, hears_all: true, hear: staff::hear },
    ]
}
