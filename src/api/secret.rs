//! Makes secrets of tokens and what is kept of them.

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use crate::api::dto::Problem;
use crate::api::requests::TokenRequest;
use crate::ports::access::{NewToken, Role, SecretHash};

/// What every secret begins with, so that scanners of code and logs find it.
const PREFIX: &str = "ll_";
/// The longest name of a token.
const NAME_MAX: usize = 63;
/// The longest life of a token: ten years.
const LIFE_MAX: u64 = 10 * 365 * 24 * 3600;

/// What is kept of a secret. It is a random number of 256 bits: no salt or slow hash is needed.
pub(super) fn hash(secret: &str) -> SecretHash {
    Sha256::digest(secret.as_bytes()).into()
}

/// A token as it was asked for, with a secret of its own.
pub(super) fn new_token(
    request: &TokenRequest,
    by: &str,
    now: Timestamp,
) -> Result<(String, NewToken), Problem> {
    let role: Role = request.role.parse().map_err(Problem::unprocessable)?;
    let name = &request.name;
    let shown =
        |text: &str| !text.is_empty() && text.len() <= NAME_MAX && !text.chars().any(char::is_control);
    if !shown(name) {
        let detail = format!("`name` has 1 to {NAME_MAX} bytes and no control characters");
        return Err(Problem::unprocessable(detail));
    }
    match (role, &request.team) {
        (Role::Developer, Some(team)) if shown(team) => {}
        (Role::Developer, _) => {
            return Err(Problem::unprocessable(
                "a developer's token needs the `team` whose workloads it changes",
            ));
        }
        (_, Some(_)) => return Err(Problem::unprocessable("`team` is for the role developer only")),
        (_, None) => {}
    }
    let expires_at = match request.for_seconds {
        None => None,
        Some(seconds) if (1..=LIFE_MAX).contains(&seconds) => {
            now.checked_add(SignedDuration::from_secs(seconds.cast_signed())).ok()
        }
        Some(seconds) => {
            let detail = format!("`for_seconds` is {seconds}, expected a number from 1 to {LIFE_MAX}");
            return Err(Problem::unprocessable(detail));
        }
    };
    let secret = new_secret()?;
    let token = NewToken {
        name: name.clone(),
        role,
        team: request.team.clone(),
        hash: hash(&secret),
        created_by: by.to_owned(),
        created_at: now,
        expires_at,
    };
    Ok((secret, token))
}

fn new_secret() -> Result<String, Problem> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| Problem::internal(format!("no random numbers: {error}")))?;
    Ok(format!("{PREFIX}{}", hex::encode(random)))
}
