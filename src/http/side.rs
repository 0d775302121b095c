//! Which addresses exist where: operators may have a listener of their own (`server.ops_listen`), and then their
//! routes are there alone.
//!
//! Judged before the table of routes is asked, so that a new route is on the right side without a word of its own.

/// Whom a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Everybody: there is one listener.
    All,
    /// The mini program and WeCom.
    Public,
    /// Operators and the back end.
    Ops,
}

impl Side {
    /// Whether there can be anything at this path.
    pub(crate) fn has(self, path: &str) -> bool {
        // Read as the table of routes reads it: one slash goes, and the segments must be exact.
        let mut segments = path.strip_prefix('/').unwrap_or(path).split('/');
        let of_operators = match segments.next().unwrap_or_default() {
            // Describes both sides; of no use without them.
            "openapi.json" => return true,
            "admin" | "healthz" | "metrics" | "readyz" => true,
            "api" => segments.next() == Some("admin"),
            _ => false,
        };
        match self {
            Self::All => true,
            Self::Public => !of_operators,
            Self::Ops => of_operators,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_is_on_one_side_and_on_the_only_one_there_is() {
        let of_operators = [
            "/metrics",
            "/metrics/",
            "/healthz",
            "/readyz",
            "/admin",
            "/admin/",
            "/api/admin/bindings",
            "/api/admin/bindings/o1",
            "/api/admin",
        ];
        let public = [
            "/",
            "",
            "/api/login",
            "/api/binding",
            "/api/binding/token",
            "/api/staff/login",
            "/api/wechat-work/message",
            "/api/administrators",
            "/metricsx",
            "/api",
        ];
        for (paths, side, other) in
            [(&of_operators[..], Side::Ops, Side::Public), (&public, Side::Public, Side::Ops)]
        {
            for path in paths {
                assert!(Side::All.has(path) && side.has(path) && !other.has(path), "{path}");
            }
        }
        assert!([Side::All, Side::Public, Side::Ops].iter().all(|side| side.has("/openapi.json")));
    }
}
