//! Client-side authentication: what goes into HELLO, and the answer to a CHALLENGE.
//!
//! Signing is done by the `wampproto` crate's helper for cryptosign. Secrets are wiped from memory when they
//! are dropped and never shown.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretBox, SecretString};
use thiserror::Error;
use wampproto::authenticators::authenticator::ClientAuthenticator as _;
use wampproto::authenticators::cryptosign::{CryptoSignAuthenticator, sign_cryptosign_challenge};
use xbr_core::Value;
use zeroize::Zeroizing;

use crate::message::{Dict, field};

/// Who we are, and how we prove it.
#[derive(Debug, Clone, Default)]
pub enum Auth {
    /// No proof.
    #[default]
    Anonymous,
    /// A ticket, that is a password that the router sees.
    Ticket {
        /// The name that the router knows us by.
        authid: String,
        /// The ticket.
        ticket: SecretString,
    },
    /// An Ed25519 signature over the router's challenge, without channel binding.
    Cryptosign {
        /// The name that the router knows us by; without it the router goes by the public key alone.
        authid: Option<String>,
        /// The private key.
        key: CryptosignKey,
    },
}

/// An Ed25519 key pair for cryptosign. Clones share the secret.
#[derive(Clone)]
pub struct CryptosignKey {
    seed: Arc<SecretBox<[u8; 32]>>,
    public_key: String,
}

/// Why authentication cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AuthError {
    /// The seed is not a private key.
    #[error("the seed is not an ed25519 private key")]
    InvalidKey,
    /// The router wants another method than the one offered.
    #[error("router asks for authentication by {actual:?}, {expected} was offered")]
    UnexpectedMethod {
        /// The method offered.
        expected: &'static str,
        /// The method that the router named, cut to 100 characters.
        actual: String,
    },
    /// The challenge isn't 32 bytes in hex.
    #[error("cryptosign challenge must be 32 bytes in hex")]
    InvalidChallenge,
    /// The router binds its challenge to the TLS channel, which was not asked for.
    #[error("router asks for channel binding, which was not offered")]
    ChannelBinding,
}

impl CryptosignKey {
    /// From the 32 bytes of an Ed25519 private key (the seed).
    ///
    /// # Errors
    /// [`AuthError::InvalidKey`] when they are none.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, AuthError> {
        let hex = Zeroizing::new(hex::encode(seed));
        let pair = CryptoSignAuthenticator::try_new("", &hex, HashMap::new());
        let extra = pair.map_err(|_| AuthError::InvalidKey)?.auth_extra();
        match extra.get("pubkey") {
            Some(wampproto::messages::types::Value::Str(public_key)) => {
                Ok(Self { seed: Arc::new(SecretBox::new(Box::new(*seed))), public_key: public_key.clone() })
            }
            _ => Err(AuthError::InvalidKey),
        }
    }

    /// The public key: 32 bytes, in hex.
    pub fn public_key(&self) -> &str {
        &self.public_key
    }
}

impl fmt::Debug for CryptosignKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CryptosignKey").field("public_key", &self.public_key).finish_non_exhaustive()
    }
}

impl Auth {
    /// The name of the method on the wire.
    pub const fn method(&self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Ticket { .. } => "ticket",
            Self::Cryptosign { .. } => "cryptosign",
        }
    }

    /// What HELLO says about us.
    pub(crate) fn hello_details(&self) -> Dict {
        let mut details: Dict =
            vec![("authmethods".to_owned(), Value::List(vec![Value::from(self.method())]))];
        match self {
            Self::Anonymous => {}
            Self::Ticket { authid, .. } => details.push(("authid".to_owned(), authid.as_str().into())),
            Self::Cryptosign { authid, key } => {
                details.extend(authid.iter().map(|authid| ("authid".to_owned(), authid.as_str().into())));
                let extra = [("pubkey", Value::from(key.public_key())), ("channel_binding", Value::Null)];
                details.push(("authextra".to_owned(), Value::from_iter(extra)));
            }
        }
        details
    }

    /// The signature that answers a challenge.
    pub(crate) fn answer(&self, method: &str, extra: &Dict) -> Result<Zeroizing<String>, AuthError> {
        if method != self.method() || matches!(self, Self::Anonymous) {
            let actual = method.chars().take(100).collect();
            return Err(AuthError::UnexpectedMethod { expected: self.method(), actual });
        }
        match self {
            Self::Anonymous => Err(AuthError::InvalidChallenge),
            Self::Ticket { ticket, .. } => Ok(Zeroizing::new(ticket.expose_secret().to_owned())),
            Self::Cryptosign { key, .. } => {
                if field(extra, "channel_binding").is_some_and(|binding| *binding != Value::Null) {
                    return Err(AuthError::ChannelBinding);
                }
                let challenge = field(extra, "challenge").and_then(Value::as_str).unwrap_or_default();
                // Whatever is signed here can be replayed as something else if it may have any length.
                if challenge.len() != 64 {
                    return Err(AuthError::InvalidChallenge);
                }
                sign_cryptosign_challenge(challenge, key.seed.expose_secret())
                    .map(Zeroizing::new)
                    .map_err(|_| AuthError::InvalidChallenge)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cryptosign() -> Auth {
        let mut seed = [0; 32];
        hex::decode_to_slice("4d57d97a68f555696620a6d849c0ce582568518d729eb753dc7c732de2804510", &mut seed)
            .unwrap();
        Auth::Cryptosign { authid: None, key: CryptosignKey::from_seed(&seed).unwrap() }
    }

    fn challenge(hex: &str) -> Dict {
        vec![("challenge".to_owned(), hex.into()), ("channel_binding".to_owned(), Value::Null)]
    }

    #[test]
    fn cryptosign_signs_the_challenge_as_other_implementations_verify_it() {
        let Auth::Cryptosign { key, .. } = &cryptosign() else { panic!() };
        let hex = "ab".repeat(32);
        let signed = cryptosign().answer("cryptosign", &challenge(&hex)).unwrap();
        assert_eq!(signed.len(), 192);
        assert!(signed.ends_with(&hex));
        let public_key = hex::decode(key.public_key()).unwrap();
        assert!(wampproto::authenticators::cryptosign::verify_cryptosign_signature(&signed, &public_key));
    }

    #[test]
    fn an_odd_challenge_is_not_signed() {
        for hex in ["", "zz", &"ab".repeat(31), &"ab".repeat(33), &"zz".repeat(32)] {
            let answer = cryptosign().answer("cryptosign", &challenge(hex));
            assert_eq!(answer, Err(AuthError::InvalidChallenge), "{hex}");
        }
        let bound = vec![("channel_binding".to_owned(), Value::from("tls-unique"))];
        assert_eq!(cryptosign().answer("cryptosign", &bound), Err(AuthError::ChannelBinding));
        assert!(matches!(
            cryptosign().answer("ticket", &Dict::new()),
            Err(AuthError::UnexpectedMethod { .. })
        ));
        assert!(matches!(
            Auth::Anonymous.answer("anonymous", &Dict::new()),
            Err(AuthError::UnexpectedMethod { .. })
        ));
    }

    #[test]
    fn no_secret_is_shown() {
        let ticket = Auth::Ticket { authid: "me".into(), ticket: "open sesame".to_owned().into() };
        assert!(!format!("{ticket:?}").contains("sesame"));
        assert!(!format!("{:?}", cryptosign()).contains("4d57"));
        assert_eq!(ticket.answer("ticket", &Dict::new()).unwrap().as_str(), "open sesame");
    }
}
