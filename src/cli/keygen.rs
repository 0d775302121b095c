//! `kfbind keygen`: fresh secrets as TOML, ready to paste. Stores nothing.

use std::io::Write;

use anyhow::Context as _;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

/// The longest Token that WeCom takes.
const TOKEN_CHARS: usize = 32;
/// 43 characters of base64 make the 32 bytes of an AES key, with two bits to spare.
const AES_KEY_CHARS: usize = 43;
const ADMIN_KEY_BYTES: usize = 32;
const WEBHOOK_KEY_BYTES: usize = 32;
const LETTERS_AND_DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// The letters and digits whose last two bits in base64 are zero: with one of them at the end, strict decoders take
/// the key as well.
const LAST_OF_AES_KEY: &[u8] = b"AEIMQUYcgkosw048";

/// Prints the four secrets.
pub(super) fn run(out: &mut impl Write) -> anyhow::Result<()> {
    let token = random_text(LETTERS_AND_DIGITS, TOKEN_CHARS)?;
    let aes_key =
        random_text(LETTERS_AND_DIGITS, AES_KEY_CHARS.saturating_sub(1))? + &random_text(LAST_OF_AES_KEY, 1)?;
    let mut admin_key = [0; ADMIN_KEY_BYTES];
    fill(&mut admin_key)?;
    let admin_key = URL_SAFE_NO_PAD.encode(admin_key);
    let mut webhook_key = [0; WEBHOOK_KEY_BYTES];
    fill(&mut webhook_key)?;
    let webhook_key = STANDARD.encode(webhook_key);
    write!(
        out,
        "# The first two also go into the WeCom console: 接收消息, 设置API接收, as Token and EncodingAESKey.\n\
         [wecom]\ntoken = \"{token}\"\nencoding_aes_key = \"{aes_key}\"\n\n[admin]\napi_key = \"{admin_key}\"\n\n\
         # Signs webhooks; whoever gets them checks with it. Does nothing while webhooks.url is empty.\n\
         [webhooks]\nsecret = \"whsec_{webhook_key}\"\n"
    )
    .context("could not print the keys")
}

/// Characters of the alphabet (at most 64), each as likely as the others.
fn random_text(alphabet: &[u8], length: usize) -> anyhow::Result<String> {
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let mut bytes = [0_u8; 64];
        fill(&mut bytes)?;
        // Six bits at a time; what lies beyond the alphabet is drawn again, so that no character is favoured.
        let drawn = bytes.iter().filter_map(|byte| alphabet.get(usize::from(byte & 63)));
        text.extend(drawn.take(length.saturating_sub(text.len())).map(|byte| char::from(*byte)));
    }
    Ok(text)
}

fn fill(bytes: &mut [u8]) -> anyhow::Result<()> {
    getrandom::fill(bytes).context("the operating system gave no randomness")
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD_NO_PAD;

    use super::*;
    use crate::config::{Config, Environment};

    fn printed() -> (String, toml::Table) {
        let mut out = Vec::new();
        run(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let table = toml::from_str(&text).unwrap();
        (text, table)
    }

    #[test]
    fn fresh_keys_pass_the_configurations_own_checks() {
        for _ in 0..50 {
            let (text, _) = printed();
            let environment = Environment::new([
                ("KFBIND_WECOM__CORP_ID", "ww1"),
                ("KFBIND_WECOM__SECRET", "x"),
                ("KFBIND_MINIPROGRAM__APP_ID", "wx1"),
                ("KFBIND_MINIPROGRAM__SECRET", "x"),
            ]);
            assert_eq!(Config::from_toml(&text, &environment).err(), None);
        }
    }

    #[test]
    fn the_aes_key_is_32_bytes_to_a_strict_decoder() {
        for _ in 0..200 {
            let (_, keys) = printed();
            let key = keys["wecom"]["encoding_aes_key"].as_str().unwrap();
            assert_eq!(key.len(), AES_KEY_CHARS);
            assert_eq!(STANDARD_NO_PAD.decode(key).map(|bytes| bytes.len()), Ok(32), "{key}");
        }
    }

    #[test]
    fn two_runs_have_nothing_in_common() {
        let ((_, first), (_, second)) = (printed(), printed());
        for (section, key) in
            [("wecom", "token"), ("wecom", "encoding_aes_key"), ("admin", "api_key"), ("webhooks", "secret")]
        {
            assert_ne!(first[section][key], second[section][key]);
        }
    }

    #[test]
    fn every_letter_and_digit_comes_up() {
        let text = random_text(LETTERS_AND_DIGITS, 20_000).unwrap();
        assert!(LETTERS_AND_DIGITS.iter().all(|one| text.contains(char::from(*one))));
    }
}
