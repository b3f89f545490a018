//! The web interface: pages made on the server from what the API answers, a style sheet and a small script.
//! Each page asks the API's own router as its visitor, so that what a role may not do is refused in one
//! place. Not here: any rule of who may do what, any figure that the API does not tell. Why it is made
//! so: `docs/decisions/014-web-interface.md`.

mod acts;
mod assets;
mod backend;
mod charted;
mod cookies;
mod forms;
mod frame;
mod login;
mod made_reports;
mod pages;
mod parts;
mod sessions;
mod visitor;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower::ServiceExt;

use crate::accounting::bill::report::BillReport;
use crate::accounting::report::Report;
use crate::ports::clock::Clock;
use crate::web::backend::Failure;
use crate::web::made_reports::MadeReports;
use crate::web::sessions::Sessions;

/// Only what comes from here is loaded, run or sent to; no script or style stands in a page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What every page needs.
#[derive(Clone)]
struct Web {
    /// The API behind its gate.
    api: Router,
    /// Who is logged in.
    sessions: Arc<Sessions>,
    /// Bills that were made lately.
    bills: Arc<MadeReports<BillReport>>,
    /// Reports of requests that were made lately.
    requests: Arc<MadeReports<Report>>,
    /// The time.
    clock: Arc<dyn Clock>,
}

/// The pages around the API, at one address. `tls`: whether that address is reached by TLS only.
pub fn router(api: Router, clock: Arc<dyn Clock>, port: u16, tls: bool) -> Router {
    let sessions = Arc::new(Sessions::new(port, tls));
    let web = Web { api, sessions, bills: Arc::default(), requests: Arc::default(), clock };
    Router::new()
        .merge(pages::routes())
        .route("/act", post(acts::act))
        .route("/star", post(acts::star))
        .route("/login", get(login::show).post(login::enter))
        .route("/logout", post(login::leave))
        .route("/assets/{file}", get(assets::serve))
        .layer(middleware::from_fn(guarded))
        .fallback(beyond)
        .with_state(web)
}

/// Puts the headers on each page that hold a browser to the policy.
async fn guarded(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    guard(&mut response);
    response
}

fn guard(response: &mut Response) {
    let headers = response.headers_mut();
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// Everything that is no page: the API, for a browser that is logged in with its token. Where there is
/// nothing either, a person gets a page that says so.
async fn beyond(State(web): State<Web>, mut request: Request) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let is_api = request.uri().path().starts_with("/v1/");
    // A session opens the API for reading only: what changes something goes through `/act`, which asks for more.
    if reads
        && !request.headers().contains_key(header::AUTHORIZATION)
        && let Some(session) = web.sessions.find(request.headers())
        && let Ok(bearer) = HeaderValue::try_from(format!("Bearer {}", session.secret))
    {
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
    }
    let accepts = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let person = reads && !is_api && accepts.is_some_and(|accepts| accepts.contains("text/html"));
    let path = request.uri().path().to_owned();
    let Ok(answer) = web.api.oneshot(request).await;
    let missing = matches!(answer.status(), StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED);
    if !(person && missing) {
        return answer;
    }
    let mut page =
        Failure::new(StatusCode::NOT_FOUND, format!("There is no page at {path}.")).into_response();
    guard(&mut page);
    page
}
