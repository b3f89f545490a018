//! Log-in by token, and log-out.

use std::net::SocketAddr;

use axum::Form;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use maud::html;
use serde::Deserialize;

use crate::api::answers::WhoAmI;
use crate::web::backend::{Asker, Failure};
use crate::web::visitor::is_ours;
use crate::web::{Web, frame};

/// Where to go afterwards.
#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    next: String,
}

/// A token that is shown.
#[derive(Deserialize)]
pub(super) struct Shown {
    token: String,
    #[serde(default)]
    next: String,
}

/// A wish to leave.
#[derive(Deserialize)]
pub(super) struct Leaving {
    #[serde(default)]
    csrf: String,
}

/// A path of this engine: never another's, whatever somebody wrote into a link.
pub(super) fn local(next: &str) -> &str {
    let foreign = !next.starts_with('/') || next[1..].starts_with(['/', '\\']);
    if foreign || next.contains(|c: char| c.is_control()) { "/" } else { next }
}

/// The page that asks for a token.
pub(super) async fn show(Query(wanted): Query<Wanted>) -> Html<String> {
    form(local(&wanted.next), None)
}

fn form(next: &str, wrong: Option<&str>) -> Html<String> {
    frame::bare(
        "Log in",
        &html! {
            h1 { "Log in" }
            @if let Some(wrong) = wrong { p.wrong role="alert" { (wrong) } }
            form.login method="post" action="/login" {
                input type="hidden" name="next" value=(next);
                label for="token" { "Your token" }
                input #token type="password" name="token" required autocomplete="current-password" autofocus;
                button type="submit" { "Log in" }
            }
            p.quiet { "A token begins with " code { "ll_" } ". An operator makes one with "
                code { "loadline token create" } "." }
        },
    )
}

/// Looks at a token, and remembers the browser where it is valid.
pub(super) async fn enter(
    State(web): State<Web>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Form(shown): Form<Shown>,
) -> Response {
    let next = local(&shown.next);
    // Nobody is logged in by another's page, into an account that is not theirs.
    if let Err(failure) = is_ours(&headers, "-", "-") {
        return failure.into_response();
    }
    let secret = shown.token.trim();
    let asker = Asker::new(Some(secret), &headers, Some(address));
    match asker.get::<WhoAmI>(&web.api, "/v1/whoami").await {
        Ok(_) => match web.sessions.begin(secret.to_owned()) {
            Some(cookie) => ([(header::SET_COOKIE, cookie)], Redirect::to(next)).into_response(),
            None => Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "This machine has no randomness.")
                .into_response(),
        },
        Err(failure) => {
            let status = StatusCode::from_u16(failure.status()).unwrap_or(StatusCode::UNAUTHORIZED);
            (status, form(next, Some(failure.detail()))).into_response()
        }
    }
}

/// Forgets the browser.
pub(super) async fn leave(
    State(web): State<Web>,
    headers: HeaderMap,
    Form(leaving): Form<Leaving>,
) -> Result<Response, Failure> {
    let session = web.sessions.find(&headers);
    is_ours(&headers, &web.sessions.csrf(session.as_ref()), &leaving.csrf)?;
    let cookie = web.sessions.end(&headers);
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/login")).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_nowhere_else() {
        assert_eq!(local("/workloads?q=a"), "/workloads?q=a");
        for foreign in ["", "https://evil.example", "//evil.example", "/\\evil.example", "/a\nb"] {
            assert_eq!(local(foreign), "/", "{foreign:?}");
        }
    }
}
