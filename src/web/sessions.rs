//! Who is logged in with a browser: a random name in a cookie stands for the token, which the browser does
//! not keep. Sessions live in memory: after a restart of the engine people log in again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use subtle::ConstantTimeEq;

use crate::web::cookies;

/// A session that is not used for so long ends.
const IDLE_MAX: Duration = Duration::from_hours(12);
/// Sessions at a time; the one that was not used for longest makes room.
const SESSIONS_MAX: usize = 10_000;

/// Somebody who is logged in.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// The token.
    pub(super) secret: String,
    /// What each form carries, which no page of another origin can know.
    pub(super) csrf: String,
    used_at: Instant,
}

/// Everybody who is logged in.
pub(super) struct Sessions {
    open: Mutex<HashMap<String, Session>>,
    /// For forms where nobody need log in.
    csrf: String,
    name: String,
    secure: bool,
}

impl Sessions {
    /// Browsers keep cookies by host, not by port: the port is in the name, so that two engines of one
    /// machine do not log each other's visitors out.
    pub(super) fn new(port: u16, secure: bool) -> Self {
        let name = format!("loadline_session_{port}");
        Self { open: Mutex::default(), csrf: random().unwrap_or_default(), name, secure }
    }

    /// Who is logged in with the browser that sends these headers.
    pub(super) fn find(&self, headers: &HeaderMap) -> Option<Session> {
        let name = cookies::read(headers, &self.name)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let session = open.get_mut(&name).filter(|session| session.used_at.elapsed() < IDLE_MAX)?;
        session.used_at = Instant::now();
        Some(session.clone())
    }

    /// Logs somebody in; tells the cookie. None where the machine has no randomness.
    pub(super) fn begin(&self, secret: String) -> Option<String> {
        let (name, csrf) = (random()?, random()?);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, session| session.used_at.elapsed() < IDLE_MAX);
        if open.len() >= SESSIONS_MAX {
            let oldest = open.iter().min_by_key(|(_, session)| session.used_at).map(|(name, _)| name.clone());
            oldest.and_then(|name| open.remove(&name));
        }
        let cookie = self.cookie(&name, IDLE_MAX.as_secs());
        open.insert(name, Session { secret, csrf, used_at: Instant::now() });
        Some(cookie)
    }

    /// Logs the browser out that sends these headers; tells the cookie that takes the other's place.
    pub(super) fn end(&self, headers: &HeaderMap) -> String {
        if let Some(name) = cookies::read(headers, &self.name) {
            self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
        }
        self.cookie("", 0)
    }

    /// What the forms of a visitor carry.
    pub(super) fn csrf(&self, session: Option<&Session>) -> String {
        session.map_or_else(|| self.csrf.clone(), |session| session.csrf.clone())
    }

    fn cookie(&self, value: &str, seconds: u64) -> String {
        let secure = if self.secure { "; Secure" } else { "" };
        format!("{}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}", self.name)
    }
}

/// Whether a form carried what it must.
pub(super) fn same(expected: &str, sent: &str) -> bool {
    !expected.is_empty() && bool::from(expected.as_bytes().ct_eq(sent.as_bytes()))
}

/// 256 random bits.
fn random() -> Option<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).ok()?;
    Some(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sending(cookie: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let pair = cookie.split(';').next().unwrap_or_default();
        headers.insert(axum::http::header::COOKIE, pair.parse().expect("a value"));
        headers
    }

    #[test]
    fn a_session_is_found_by_its_cookie_until_it_ends() {
        let sessions = Sessions::new(7070, true);
        let cookie = sessions.begin("ll_a".to_owned()).expect("a cookie");
        for part in ["HttpOnly", "SameSite=Strict", "Secure", "Path=/"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        assert!(!cookie.contains("ll_a"), "the token stays here");
        let found = sessions.find(&sending(&cookie)).expect("a session");
        assert_eq!(found.secret, "ll_a");
        assert_ne!(sessions.csrf(Some(&found)), sessions.csrf(None));
        assert!(Sessions::new(7071, true).find(&sending(&cookie)).is_none());
        assert!(sessions.end(&sending(&cookie)).contains("Max-Age=0"));
        assert!(sessions.find(&sending(&cookie)).is_none());
    }

    #[test]
    fn an_empty_secret_matches_nothing() {
        assert!(same("ab", "ab") && !same("ab", "abc") && !same("", ""));
    }
}
