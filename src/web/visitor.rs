//! Who looks at a page: by which right, in which zone and theme, and what is said to them once.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::accounting::bill::report::BillReport;
use crate::accounting::report::Report;
use crate::api::answers::WhoAmI;
use crate::web::backend::{Asker, Failure};
use crate::web::made_reports::MadeReports;
use crate::web::{Web, cookies, sessions};

/// Set by the page's script, read here.
const ZONE_COOKIE: &str = "loadline_zone";
const THEME_COOKIE: &str = "loadline_theme";
/// What is said once, after something was done.
pub(super) const SAID_COOKIE: &str = "loadline_said";

/// Who looks at a page.
pub(super) struct Visitor {
    web: Web,
    asker: Asker,
    /// Who that is to the engine.
    pub(super) who: WhoAmI,
    /// What forms carry.
    pub(super) csrf: String,
    /// The zone of times.
    pub(super) zone: TimeZone,
    /// `light` or `dark`, where the visitor chose.
    pub(super) theme: Option<&'static str>,
    /// Workloads with a star, once `with_stars` has asked.
    stars: Vec<String>,
    /// What is said once.
    pub(super) said: Option<String>,
    /// Path and query of the page.
    pub(super) path: String,
    /// The time.
    pub(super) now: Timestamp,
}

impl Visitor {
    /// Reads what is at a path of the API.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.asker.get(&self.web.api, path).await.map_err(|failure| failure.wanting(&self.path))
    }

    /// Reads a page of a list, and the address of the next one.
    pub(super) async fn page<T: DeserializeOwned>(&self, path: &str) -> Result<(T, Option<String>), Failure> {
        self.asker.page(&self.web.api, path).await.map_err(|failure| failure.wanting(&self.path))
    }

    /// Reads a bill of the API; none where it is still being made.
    pub(super) async fn bill(&self, path: &str) -> Result<Option<Arc<BillReport>>, Failure> {
        self.made(&self.web.bills, path, path).await
    }

    /// Reads a report of requests of the API; none where it is still being made. Windows that end now have another
    /// path at each look: `name` tells that it is the same one.
    pub(super) async fn requests(&self, name: &str, path: &str) -> Result<Option<Arc<Report>>, Failure> {
        self.made(&self.web.requests, name, path).await
    }

    async fn made<T: DeserializeOwned + Send + Sync + 'static>(
        &self,
        reports: &MadeReports<T>,
        name: &str,
        path: &str,
    ) -> Result<Option<Arc<T>>, Failure> {
        if !self.may_report() {
            // The API refuses it in its own words; what others had made is not shown.
            return self.get(path).await.map(|report| Some(Arc::new(report)));
        }
        let (asker, api) = (self.asker.clone(), self.web.api.clone());
        let asked = path.to_owned();
        let make = async move { asker.get(&api, &asked).await };
        reports.get(name, self.now, make).await.map_err(|failure| failure.wanting(&self.path))
    }

    /// Asks for a change.
    pub(super) async fn send(&self, call: (Method, &str), body: Option<&Value>) -> Result<Value, Failure> {
        self.asker.send(&self.web.api, call, body).await
    }

    /// Whether buttons that change a team's workloads are of use to this visitor.
    pub(super) fn may_change(&self, team: Option<&str>) -> bool {
        self.may_operate()
            || (self.who.role == "developer" && team.is_some() && team == self.who.team.as_deref())
    }

    /// Whether buttons that change nodes, freezes and the like are.
    pub(super) fn may_operate(&self) -> bool {
        self.who.role == "operator"
    }

    /// Whether reports are.
    pub(super) fn may_report(&self) -> bool {
        self.who.role != "viewer"
    }

    /// The same, knowing which workloads have a star of this visitor's.
    pub(super) async fn with_stars(mut self) -> Result<Self, Failure> {
        self.stars = self.get("/v1/stars").await?;
        Ok(self)
    }

    /// Whether a workload has a star.
    pub(super) fn has_star(&self, workload: &str) -> bool {
        self.stars.iter().any(|star| star == workload)
    }
}

impl FromRequestParts<Web> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Response> {
        let headers = &parts.headers;
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let session = web.sessions.find(headers);
        if session.is_none() && parts.method == Method::GET && comes_from_elsewhere(headers) {
            return Err(again(&path));
        }
        let address = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
        let asker = Asker::new(session.as_ref().map(|session| session.secret.as_str()), headers, address);
        let who: WhoAmI = match asker.get(&web.api, "/v1/whoami").await {
            Ok(who) => who,
            Err(failure) => return Err(failure.wanting(&path).into_response()),
        };
        let zone = cookies::read(headers, ZONE_COOKIE).and_then(|zone| TimeZone::get(&zone).ok());
        let theme = cookies::read(headers, THEME_COOKIE);
        Ok(Self {
            asker,
            who,
            csrf: web.sessions.csrf(session.as_ref()),
            zone: zone.unwrap_or(TimeZone::UTC),
            theme: ["light", "dark"].into_iter().find(|known| theme.as_deref() == Some(known)),
            stars: Vec::new(),
            said: cookies::read(headers, SAID_COOKIE).filter(|said| !said.is_empty()),
            path,
            now: web.clock.now(),
            web: web.clone(),
        })
    }
}

/// Whether a link of another site led here: then the browser held the session's cookie back.
fn comes_from_elsewhere(headers: &HeaderMap) -> bool {
    headers.get(HeaderName::from_static("sec-fetch-site")).is_some_and(|site| site == "cross-site")
}

/// Has the browser ask again, by itself and with its cookies.
fn again(path: &str) -> Response {
    let page = maud::html! {
        (maud::DOCTYPE)
        html { head { meta charset="utf-8"; meta http-equiv="refresh" content=(format!("0;url={path}")); }
            body { a href=(path) { "Go on" } } }
    };
    Html(page.into_string()).into_response()
}

/// Whether a form was sent by a page of ours: by what the browser says of it, and by what it carries.
pub(super) fn is_ours(headers: &HeaderMap, expected: &str, sent: &str) -> Result<(), Failure> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let site = text(HeaderName::from_static("sec-fetch-site"));
    let foreign_site = site.is_some_and(|site| !matches!(site, "same-origin" | "none"));
    let origin = text(header::ORIGIN).map(|origin| origin.split_once("://").map(|(_, host)| host));
    let foreign_origin = origin.is_some_and(|origin| origin != text(header::HOST));
    if foreign_site || foreign_origin || !sessions::same(expected, sent) {
        let detail = "This form was not sent by a page of this engine, or the page is older than your \
            log-in. Go back, load the page again and repeat it.";
        return Err(Failure::new(StatusCode::FORBIDDEN, detail));
    }
    Ok(())
}
