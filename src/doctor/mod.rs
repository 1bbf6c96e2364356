//! Looks at everything that a seller needs, one thing after the other, and says what is wrong and what to do about
//! it. Nothing is changed: not the store, not the market.

use std::fmt::{self, Display};
use std::path::Path;

use serde::Serialize;
use xbr_core::Signer as _;

use crate::config::{Config, ConfigError, Environment, Secrets};

mod interface;
mod local;
mod market;
mod router;

/// What was found, in the order in which it was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Diagnosis {
    /// A line for each thing.
    pub checks: Vec<Check>,
}

/// A thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What it is.
    pub name: &'static str,
    /// How it is.
    pub outcome: Outcome,
    /// What was seen.
    pub detail: String,
    /// What to do, when there is something to do.
    pub advice: Option<String>,
}

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// The seller works all the same, for now.
    Warning,
    /// The seller does not work.
    Failed,
    /// It cannot be looked at, because of what failed before it.
    Skipped,
}

impl Diagnosis {
    /// How many checks failed.
    pub fn failed(&self) -> usize {
        self.checks.iter().filter(|check| check.outcome == Outcome::Failed).count()
    }

    fn ok(&mut self, name: &'static str, detail: impl Display) {
        self.note(name, Outcome::Ok, detail, None);
    }

    fn warn(&mut self, name: &'static str, detail: impl Display, advice: &str) {
        self.note(name, Outcome::Warning, detail, Some(advice));
    }

    fn fail(&mut self, name: &'static str, detail: impl Display, advice: &str) {
        self.note(name, Outcome::Failed, detail, Some(advice));
    }

    fn skip(&mut self, names: &[&'static str], because: &str) {
        for name in names {
            self.note(name, Outcome::Skipped, because, None);
        }
    }

    fn note(&mut self, name: &'static str, outcome: Outcome, detail: impl Display, advice: Option<&str>) {
        let (detail, advice) = (detail.to_string(), advice.map(str::to_owned));
        self.checks.push(Check { name, outcome, detail, advice });
    }
}

impl Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match self.outcome {
            Outcome::Ok => "ok",
            Outcome::Warning => "warning",
            Outcome::Failed => "FAILED",
            Outcome::Skipped => "skipped",
        };
        // What has several lines stands below the first.
        let detail = self.detail.replace('\n', "\n                         ");
        write!(f, "{outcome:<8} {:<15} {detail}", self.name)?;
        match &self.advice {
            Some(advice) => write!(f, "\n                         -> {advice}"),
            None => Ok(()),
        }
    }
}

/// Looks at everything.
pub async fn examine(path: &Path, environment: &Environment) -> Diagnosis {
    let mut found = Diagnosis::default();
    let Some(config) = configuration(path, environment, &mut found) else {
        let because = "the configuration cannot be read";
        local::skip(&mut found, because);
        interface::skip(&mut found, because);
        market::skip(&mut found, because);
        return found;
    };
    let (secrets, http_token) = Config::load_secrets(path, environment);
    let secrets = key_files(secrets, &mut found);
    let store = match &secrets {
        Some(secrets) => local::store(&config, secrets, &mut found),
        None => {
            local::skip(&mut found, "the key files cannot be read");
            None
        }
    };
    local::disk(&config, &mut found);
    let delegate = secrets.as_ref().map(|secrets| secrets.delegate.address());
    interface::examine(&config, http_token, delegate, &mut found).await;
    market::examine(&config, secrets, store.as_ref(), &mut found).await;
    found
}

fn configuration(path: &Path, environment: &Environment, found: &mut Diagnosis) -> Option<Config> {
    let name = "configuration";
    let advice = "correct what is named; xbr-seller config check tells when it is right";
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            found.fail(name, format_args!("cannot read {}: {error}", path.display()), "correct --config");
            return None;
        }
    };
    match Config::parse(path, &text, environment) {
        Ok(config) => {
            found.ok(name, format_args!("{}, {} APIs", path.display(), config.apis.len()));
            Some(config)
        }
        Err(error) => {
            found.fail(name, error, advice);
            None
        }
    }
}

fn key_files(secrets: Result<Secrets, ConfigError>, found: &mut Diagnosis) -> Option<Secrets> {
    match secrets {
        Ok(secrets) => {
            found.ok("key files", format_args!("the seller is {}", secrets.delegate.address()));
            Some(secrets)
        }
        Err(error) => {
            found.fail("key files", error, "correct what is named; keys come back from your copies only");
            None
        }
    }
}
