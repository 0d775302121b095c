//! kfbind ties WeChat mini-program users (`openid`) to the customers of a WeCom customer-service account
//! (`external_userid`).
//!
//! The crate is the outside half: everything that speaks a wire format. The inside, rules and store, is the member
//! crate `actors`.

pub mod sim;
pub mod wecom;
