//! What every call goes through: who calls, whether that caller may, how often, how much, how long; and
//! the audit log of every write. The rules are the ones that the description tells (`openapi`), so a
//! route cannot be reached unless it says who may.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::api::access::{RateKey, address_key};
use crate::api::caller::Caller;
use crate::api::dto::Problem;
use crate::api::openapi::{Rule, Rules};
use crate::api::{ApiState, USER_HEADER, idempotency, origin};
use crate::ports::access::{AuditEntry, Role};

/// A call that takes longer is given up.
const CALL_TIME_MAX: Duration = Duration::from_mins(1);
/// The longest address.
const URI_BYTES_MAX: usize = 8 << 10;
/// The longest message and path that are kept in the audit log, in characters.
const AUDIT_TEXT_MAX: usize = 1_000;
/// Names the call in answers, logs and the audit log.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the gate knows.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) api: ApiState,
    pub(super) rules: Arc<Rules>,
}

/// A call as the audit log names it.
struct Call {
    id: String,
    address: SocketAddr,
    method: Method,
    path: String,
    caller: Option<Caller>,
    message: String,
}

impl Call {
    fn of(request: &Request) -> Self {
        let mut random = [0; 8];
        // An id that is not random names the call less well, and does no harm.
        let _ = getrandom::fill(&mut random);
        let address = request.extensions().get::<ConnectInfo<SocketAddr>>();
        Self {
            id: hex::encode(random),
            address: address.map_or_else(|| (Ipv4Addr::UNSPECIFIED, 0).into(), |info| info.0),
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            caller: None,
            message: String::new(),
        }
    }

    fn writes(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS)
    }
}

/// Lets a call through, or answers why not.
pub(super) async fn gate(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let mut call = Call::of(&request);
    let answered = gate.answer(&mut call, request, next).await;
    let mut response = answered.unwrap_or_else(IntoResponse::into_response);
    if call.writes() && response.status() != StatusCode::TOO_MANY_REQUESTS {
        gate.write_down(&call, response.status()).await;
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::try_from(&call.id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if response.status() == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer realm=\"loadline\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    }
    response
}

impl Gate {
    async fn answer(&self, call: &mut Call, request: Request, next: Next) -> Result<Response, Problem> {
        self.measure(&request)?;
        let rule = self.rule(&request);
        let caller = self.identify(call, request.headers(), rule)?;
        call.caller.clone_from(&caller);
        if let Some(rule) = rule {
            admit(call, rule, request.uri().query())?;
        }
        if !call.writes() {
            let mut request = request;
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            return in_time(next.run(request)).await;
        }
        let (mut parts, body) = request.into_parts();
        let body = self.read(body).await?;
        call.message = message(&body, parts.uri.query());
        let Some(caller) = caller else {
            return in_time(next.run(Request::from_parts(parts, Body::from(body)))).await;
        };
        let Some(keyed) = idempotency::keyed(&parts, &body, &caller)? else {
            parts.extensions.insert(caller);
            return in_time(next.run(Request::from_parts(parts, Body::from(body)))).await;
        };
        let now = self.api.clock.now();
        idempotency::once(&self.api.access, keyed, now, |request| {
            parts.extensions.insert(Caller { request: Some(request), ..caller });
            in_time(next.run(Request::from_parts(parts, Body::from(body))))
        })
        .await
    }

    /// Refuses what is too long. (The body is measured while it is read.)
    fn measure(&self, request: &Request) -> Result<(), Problem> {
        let length = request.uri().path_and_query().map_or(0, |uri| uri.as_str().len());
        if length > URI_BYTES_MAX {
            let detail = format!("the address has {length} bytes, at most {URI_BYTES_MAX} are read");
            return Err(Problem::new(StatusCode::URI_TOO_LONG, detail));
        }
        let sizes = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
        let (bytes, most) = (sizes.sum::<usize>(), self.api.access.limits.header_bytes);
        if bytes > most {
            let detail = format!("the headers have {bytes} bytes, at most {most} are read");
            return Err(Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, detail));
        }
        Ok(())
    }

    /// The rule of the route that the request is for; none where there is no such route.
    fn rule(&self, request: &Request) -> Option<&Rule> {
        let path = request.extensions().get::<MatchedPath>()?.as_str();
        let method = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
        self.rules.get(&(method.to_string(), path.to_owned()))
    }

    /// Tells who calls; nobody where the route is open to all. Too many calls are refused here, those
    /// without a valid token by their address.
    fn identify(
        &self,
        call: &Call,
        headers: &HeaderMap,
        rule: Option<&Rule>,
    ) -> Result<Option<Caller>, Problem> {
        let (access, now) = (&self.api.access, self.api.clock.now());
        let open = rule.is_some_and(|rule| rule.open || (access.metrics_open && call.path == "/metrics"));
        if let Some(shown) = headers.get(header::AUTHORIZATION) {
            let secret = shown.to_str().ok().and_then(bearer);
            let Some(token) = secret.and_then(|secret| access.authenticate(secret, now)) else {
                self.count(&address_key(call.address))?;
                let detail = "this token is not known, or no longer valid";
                return Err(Problem::new(StatusCode::UNAUTHORIZED, detail));
            };
            self.count(&RateKey::Token(token.id))?;
            if access.used(token.id, now) {
                let access = Arc::clone(access);
                tokio::task::spawn_blocking(move || access.write_use(token.id, now));
            }
            return Ok(Some(Caller {
                name: token.made.name,
                role: token.made.role,
                team: token.made.team,
                token: Some(token.id),
                address: call.address,
                request: None,
            }));
        }
        self.count(&address_key(call.address))?;
        if access.tokens_required() {
            if open {
                return Ok(None);
            }
            let detail = "this call needs a token: send `Authorization: Bearer ll_...` \
                (the command line: `--token` or LOADLINE_TOKEN)";
            return Err(Problem::new(StatusCode::UNAUTHORIZED, detail));
        }
        origin::check(headers, call.writes())?;
        let name = headers.get(USER_HEADER).and_then(|value| value.to_str().ok());
        let name = name.filter(|name| !name.is_empty()).unwrap_or("unknown");
        Ok(Some(Caller {
            name: name.chars().take(63).collect(),
            role: Role::Operator,
            team: None,
            token: None,
            address: call.address,
            request: None,
        }))
    }

    fn count(&self, key: &RateKey) -> Result<(), Problem> {
        self.api.access.count(key).map_err(|wait| Problem {
            retry_after: Some(wait.as_secs() + 1),
            ..Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many calls: wait a little")
        })
    }

    /// Reads a body, bounded in size and time.
    async fn read(&self, body: Body) -> Result<Bytes, Problem> {
        let limits = &self.api.access.limits;
        let collected = Limited::new(body, limits.body_bytes).collect();
        match tokio::time::timeout(limits.body_timeout.unsigned_abs(), collected).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let detail = format!("the body has more than {} bytes", limits.body_bytes);
                Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail))
            }
            Ok(Err(error)) => Err(Problem::bad_request(format!("the body cannot be read: {error}"))),
            Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
        }
    }

    /// Adds a write to the audit log. What was done stays done where that fails.
    async fn write_down(&self, call: &Call, status: StatusCode) {
        let cut = |text: &str| text.chars().take(AUDIT_TEXT_MAX).collect::<String>();
        let entry = AuditEntry {
            at: self.api.clock.now(),
            by: call.caller.as_ref().map(|caller| caller.name.clone()),
            role: call.caller.as_ref().map(|caller| caller.role),
            address: call.address.ip().to_string(),
            method: call.method.to_string(),
            path: cut(&call.path),
            status: status.as_u16(),
            message: cut(&call.message),
            request_id: call.id.clone(),
        };
        let log = Arc::clone(&self.api.access.audit);
        if let Err(problem) = self.api.access.write(move || log.audit(&entry)).await {
            tracing::error!(
                why = problem.detail,
                path = call.path,
                id = call.id,
                "a write could not be put into the audit log"
            );
        }
    }
}

/// Refuses callers whose role the route does not name, and parameters that it does not have.
fn admit(call: &Call, rule: &Rule, query: Option<&str>) -> Result<(), Problem> {
    if let Some(caller) = &call.caller
        && !rule.open
        && !rule.roles.contains(&caller.role)
    {
        let names: Vec<&str> = rule.roles.iter().map(|role| role.as_str()).collect();
        let detail =
            format!("{} ({}) may not do this: it is for {}", caller.name, caller.role, names.join(", "));
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    for name in pairs.filter_map(|pair| pair.split('=').next()) {
        if !rule.parameters.contains(name) {
            let known: Vec<&str> = rule.parameters.iter().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let detail = format!("`{name}` is not a parameter of {}; there are: {known}", call.path);
            return Err(Problem::bad_request(detail));
        }
    }
    Ok(())
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, secret) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

async fn in_time(answer: impl Future<Output = Response>) -> Result<Response, Problem> {
    tokio::time::timeout(CALL_TIME_MAX, answer).await.map_err(|_| {
        let detail = format!("no answer within {} s", CALL_TIME_MAX.as_secs());
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })
}

/// The caller's words about why, wherever they stand.
fn message(body: &[u8], query: Option<&str>) -> String {
    #[derive(Default, serde::Deserialize)]
    struct Message {
        #[serde(default)]
        message: String,
    }
    let said: Message = serde_json::from_slice(body).unwrap_or_default();
    if !said.message.is_empty() {
        return said.message;
    }
    let address: Option<axum::http::Uri> = query.and_then(|query| format!("/?{query}").parse().ok());
    let said = address.and_then(|uri| axum::extract::Query::<Message>::try_from_uri(&uri).ok());
    said.map(|said| said.0.message).unwrap_or_default()
}
