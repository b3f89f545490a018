//! Who may call, how often, and until when: the tokens in memory as the store has them, and the bounds.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use jiff::{SignedDuration, Timestamp};
use subtle::{Choice, ConstantTimeEq};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::api::answers::{NewTokenDto, TokenDto};
use crate::api::caller::Caller;
use crate::api::dto::{Changed, Problem};
use crate::api::idempotency::UnderWay;
use crate::api::requests::TokenRequest;
use crate::api::secret;
use crate::config::ApiLimits;
use crate::ports::access::{AnswerLog, AuditLog, Role, Token, TokenStore};
use crate::ports::store::StoreError;

/// The last use of a token is written down this often at most.
const USED_INTERVAL: SignedDuration = SignedDuration::from_mins(10);
/// Rates that are remembered before the idle ones are dropped.
const RATES_MAX: usize = 10_000;

/// Whose rate is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum RateKey {
    /// A token's.
    Token(u64),
    /// An address's, where no token was shown.
    Address(IpAddr),
}

/// Who may call, how often, and until when.
pub struct Access {
    tokens: RwLock<Vec<Token>>,
    store: Arc<dyn TokenStore>,
    rates: DefaultKeyedRateLimiter<RateKey>,
    pub(super) audit: Arc<dyn AuditLog>,
    pub(super) answers: Arc<dyn AnswerLog>,
    pub(super) under_way: UnderWay,
    pub(super) streams: Arc<Semaphore>,
    turn: Semaphore,
    pub(super) closing: CancellationToken,
    pub(super) limits: ApiLimits,
    pub(super) metrics_open: bool,
}

impl Access {
    /// The tokens as the store has them.
    pub fn open<S: TokenStore + AuditLog + AnswerLog + 'static>(
        store: Arc<S>,
        limits: ApiLimits,
        metrics_open: bool,
    ) -> Result<Self, StoreError> {
        let per_second = NonZeroU32::new(limits.requests_per_second).unwrap_or(NonZeroU32::MIN);
        let burst = NonZeroU32::new(limits.burst).unwrap_or(NonZeroU32::MIN);
        Ok(Self {
            tokens: RwLock::new(store.tokens()?),
            rates: RateLimiter::keyed(Quota::per_second(per_second).allow_burst(burst)),
            audit: store.clone(),
            answers: store.clone(),
            store,
            under_way: UnderWay::default(),
            streams: Arc::new(Semaphore::new(limits.streams)),
            turn: Semaphore::new(1),
            closing: CancellationToken::new(),
            limits,
            metrics_open,
        })
    }

    /// Whether calls need a token: from the first one on, also when all have been revoked since.
    pub fn tokens_required(&self) -> bool {
        !self.read().is_empty()
    }

    /// Whether there is a token that is valid.
    pub fn has_valid_token(&self, now: Timestamp) -> bool {
        self.read().iter().any(|token| is_valid(token, now))
    }

    /// All tokens, those that were revoked included, without their secrets.
    pub fn list(&self) -> Vec<TokenDto> {
        self.read().iter().map(present).collect()
    }

    /// Makes a token. Its secret is in the answer and nowhere else.
    pub fn create(&self, request: &TokenRequest, by: &str, now: Timestamp) -> Result<NewTokenDto, Problem> {
        let (secret, made) = secret::new_token(request, by, now)?;
        // Held over the write, so that memory has them in the store's order, and so that there is one
        // first token.
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        if tokens.is_empty() && made.role != Role::Operator {
            return Err(Problem::unprocessable(
                "from the first token on every call needs one: make an operator's first",
            ));
        }
        let id = self.store.add_token(&made)?;
        let token = Token { id, made, last_used_at: None, revoked_at: None };
        let shown = present(&token);
        tokens.push(token);
        Ok(NewTokenDto { secret, token: shown })
    }

    /// Makes a token invalid.
    pub fn revoke(&self, id: u64, now: Timestamp) -> Result<Changed, Problem> {
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        let token = tokens.iter_mut().find(|token| token.id == id);
        let token = token.ok_or_else(|| Problem::not_found("token", &id.to_string()))?;
        let revoked = self.store.revoke_token(id, now)?;
        token.revoked_at = token.revoked_at.or(Some(now));
        let name = &token.made.name;
        Ok(Changed {
            changes: revoked.then(|| format!("token {id} of {name} is revoked")).into_iter().collect(),
        })
    }

    /// Ends every stream.
    pub fn close(&self) {
        self.closing.cancel();
    }

    /// The valid token with this secret. Every token is compared, each in constant time, so that the
    /// time taken tells nothing.
    pub(super) fn authenticate(&self, shown: &str, now: Timestamp) -> Option<Token> {
        let hash = secret::hash(shown);
        let mut found = None;
        for token in self.read().iter() {
            let same: Choice = token.made.hash.ct_eq(&hash);
            if bool::from(same) {
                found = Some(token.clone());
            }
        }
        found.filter(|token| is_valid(token, now))
    }

    /// Whether a caller who was let in would be again.
    pub(super) fn still_valid(&self, caller: &Caller, now: Timestamp) -> bool {
        match caller.token {
            None => !self.tokens_required(),
            Some(id) => self.read().iter().any(|token| token.id == id && is_valid(token, now)),
        }
    }

    /// Notes that a token was used; tells whether that is to be written down, by `write_use`.
    pub(super) fn used(&self, id: u64, now: Timestamp) -> bool {
        let recent =
            |token: &Token| token.last_used_at.is_some_and(|at| now.duration_since(at).abs() < USED_INTERVAL);
        if self.read().iter().any(|token| token.id == id && recent(token)) {
            return false;
        }
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        let found = tokens.iter_mut().find(|token| token.id == id && !recent(token));
        found.map(|token| token.last_used_at = Some(now)).is_some()
    }

    /// Writes down that a token was used. A failure is told in the log: the use itself is in the audit log.
    pub(super) fn write_use(&self, id: u64, now: Timestamp) {
        if let Err(error) = self.store.token_used(id, now) {
            tracing::warn!(token = id, %error, "cannot note the use of a token");
        }
    }

    /// Writes to the store, one call at a time. The engine commits under its lock on the world, and must
    /// not stand behind hundreds of callers there: at most one is before it.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        let _turn = self.turn.acquire().await.map_err(|error| Problem::internal(error.to_string()))?;
        Ok(tokio::task::spawn_blocking(work).await??)
    }

    /// Counts a call; the time to wait where there have been too many.
    pub(super) fn count(&self, key: &RateKey) -> Result<(), Duration> {
        if self.rates.len() > RATES_MAX {
            self.rates.retain_recent();
        }
        self.rates.check_key(key).map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Vec<Token>> {
        // A poisoned lock only means that another thread panicked; each write above is one step.
        self.tokens.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_valid(token: &Token, now: Timestamp) -> bool {
    token.revoked_at.is_none() && token.made.expires_at.is_none_or(|at| now < at)
}

/// The key of an address: one network of IPv6 counts as one address, as one customer has it.
pub(super) fn address_key(address: SocketAddr) -> RateKey {
    RateKey::Address(match address.ip() {
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_none() => {
            let bits = ip.to_bits() >> 64 << 64;
            IpAddr::V6(bits.into())
        }
        other => other,
    })
}

/// A token as it is shown.
fn present(token: &Token) -> TokenDto {
    let made = &token.made;
    TokenDto {
        id: token.id,
        name: made.name.clone(),
        role: made.role.to_string(),
        team: made.team.clone(),
        created_by: made.created_by.clone(),
        created_at: made.created_at,
        expires_at: made.expires_at,
        last_used_at: token.last_used_at,
        revoked_at: token.revoked_at,
    }
}
