//! stub
use crate::policy::CodeFormat;
/// stub
#[must_use]
pub fn display(_: CodeFormat, code: &str) -> String {
    code.to_owned()
}
