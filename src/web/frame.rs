//! What stands around every page: head, navigation, search, who is looking, and the page of an error.

use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use crate::api::dto::Problem;
use crate::web::assets::{ICON_FILE, SCRIPT, STYLE_SHEET};
use crate::web::visitor::{SAID_COOKIE, Visitor};

/// The rooms of the interface: path, name, and the role that it needs.
const ROOMS: [(&str, &str, Needs); 9] = [
    ("/", "Overview", Needs::Nothing),
    ("/workloads", "Workloads", Needs::Nothing),
    ("/cron", "Cron and jobs", Needs::Nothing),
    ("/nodes", "Nodes", Needs::Nothing),
    ("/recommendations", "Recommendations", Needs::Nothing),
    ("/decisions", "Decisions", Needs::Nothing),
    ("/reports", "Reports", Needs::Report),
    ("/backtest", "Backtest", Needs::Nothing),
    ("/engine", "Engine", Needs::Nothing),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    Report,
}

/// What a page says of itself.
pub(super) struct Sheet<'a> {
    /// Its title.
    pub(super) title: &'a str,
    /// The room that it is in.
    pub(super) room: &'a str,
    /// What the API says of the same.
    pub(super) json: Option<&'a str>,
    /// The workload that it is about: only that one's events bring it up to date at once.
    pub(super) about: Option<&'a str>,
}

/// A page of the interface.
pub(super) struct Page(Markup, bool);

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        // What was said once is not said again.
        let forget = format!("{SAID_COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
        let page = Html(self.0.into_string());
        if self.1 { ([(header::SET_COOKIE, forget)], page).into_response() } else { page.into_response() }
    }
}

/// Puts the frame around the body of a page.
pub(super) fn page(visitor: &Visitor, sheet: &Sheet<'_>, body: &Markup) -> Page {
    let markup = html! {
        (DOCTYPE)
        html lang="en" data-theme=[visitor.theme] {
            (head(sheet.title))
            body data-about=[sheet.about] data-live-page {
                a.skip href="#main" { "Skip to the page" }
                (top(visitor, sheet))
                main #main {
                    @if let Some(said) = &visitor.said { p.said role="status" { (said) } }
                    header.title {
                        h1 { (sheet.title) }
                        @if let Some(json) = sheet.json { (json_link(json)) }
                    }
                    (body)
                }
                (foot(visitor))
            }
        }
    };
    Page(markup, visitor.said.is_some())
}

/// A link to what the API says of a thing.
pub(super) fn json_link(path: &str) -> Markup {
    html! { a.json href=(path) title=(format!("The same from the API: {path}")) { "JSON" } }
}

fn head(title: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (title) " - Loadline" }
            link rel="icon" type="image/svg+xml" href=(ICON_FILE.path);
            link rel="stylesheet" href=(STYLE_SHEET.path);
            script src=(SCRIPT.path) defer {}
        }
    }
}

fn top(visitor: &Visitor, sheet: &Sheet<'_>) -> Markup {
    let shown = ROOMS.iter().filter(|(_, _, needs)| *needs == Needs::Nothing || visitor.may_report());
    html! {
        header.top {
            a.brand href="/" { "Loadline" }
            form.search role="search" action="/search" {
                input type="search" name="q" placeholder="Search ( / )" aria-label="Search" autocomplete="off";
            }
            button.theme.script type="button" hidden title="Light or dark" aria-label="Light or dark" { "◐" }
            (who(visitor))
        }
        nav aria-label="Rooms" {
            @for (path, name, _) in shown {
                a href=(path) aria-current=[(*path == sheet.room).then_some("page")] { (name) }
            }
        }
        dialog #palette aria-label="Search" {
            form.search role="search" action="/search" {
                input type="search" name="q" placeholder="A workload, a task, a node, a page, or: scale web, freeze deploys" aria-label="Search"
                    autocomplete="off";
            }
            div.results {}
            p.quiet { kbd { "↑" } kbd { "↓" } " choose, " kbd { "Enter" } " opens, " kbd { "Esc" } " closes" }
        }
    }
}

fn who(visitor: &Visitor) -> Markup {
    let who = &visitor.who;
    html! {
        @if who.tokens_required {
            form.who method="post" action="/logout" {
                input type="hidden" name="csrf" value=(visitor.csrf);
                span title=(format!("{}{}", who.role, team_of(visitor))) { (who.name) " " small { (who.role) } }
                button.plain type="submit" { "Log out" }
            }
        } @else {
            span.who title="No token was made: everybody on this machine is an operator" { "this machine" }
        }
    }
}

fn team_of(visitor: &Visitor) -> String {
    visitor.who.team.as_ref().map(|team| format!(" of team {team}")).unwrap_or_default()
}

fn foot(visitor: &Visitor) -> Markup {
    let now = visitor.now.to_zoned(visitor.zone.clone());
    let name = visitor.zone.iana_name().unwrap_or("UTC");
    html! {
        footer {
            span { "Times are in " b { (name) } " (" (now.strftime("%Z, UTC%:z")) ")." }
            span #freshness aria-live="off" {}
            a href="/v1/openapi.json" { "API" }
        }
    }
}

/// A page without navigation: log-in and errors.
pub(super) fn bare(title: &str, body: &Markup) -> Html<String> {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            (head(title))
            body.bare { main #main { a.brand href="/" { "Loadline" } (body) } }
        }
    };
    Html(markup.into_string())
}

/// The page of an error.
pub(super) fn failure(problem: &Problem) -> Html<String> {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let title = match status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST => {
            "Nothing was changed"
        }
        StatusCode::TOO_MANY_REQUESTS => "Too many calls",
        _ => "The engine could not answer",
    };
    bare(
        title,
        &html! {
            h1 { (title) }
            p role="alert" { (problem.detail) }
            @if !problem.errors.is_empty() { ul { @for error in &problem.errors { li { (error) } } } }
            p.quiet { "Status " (problem.status) ". Go back with your browser, or to the " a href="/" { "overview" } "." }
        },
    )
}
