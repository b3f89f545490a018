//! `/v1/reports/cost`, `/v1/reports/savings` and `/v1/reports/bill`: what the nodes cost, and whom.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::accounting::bill::charge::Charge;
use crate::accounting::bill::report::{BillReport, By, report};
use crate::accounting::bill::savings::Saving;
use crate::accounting::bill::shared::Sharing;
use crate::accounting::bill::statement::Detail;
use crate::analytics::AnalyticsError;
use crate::analytics::bill_file::{read_bill, report_table};
use crate::analytics::focus::focus_table;
use crate::analytics::table::Table;
use crate::api::ApiState;
use crate::api::WARNING_HEADER;
use crate::api::bill_page;
use crate::api::bill_source::{Asked, Gathered, Span, bill_document, gather, imported, month, month_at};
use crate::api::dto::Problem;
use crate::api::extract::{Body, Params};
use crate::api::names::instant;
use crate::api::problem::chain;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(cost)).routes(routes!(savings)).routes(routes!(bill, set_bill))
}

/// The form of a report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum CostFormat {
    #[default]
    Json,
    Csv,
    Parquet,
    Focus,
    FocusParquet,
    Html,
}

/// What a report of cost is about.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct CostQuery {
    /// A month of UTC, for example `2026-11`; the current one without it and `from`.
    month: Option<String>,
    /// From this instant on, in place of a month; a full hour.
    from: Option<String>,
    /// Before this instant; now without it.
    to: Option<String>,
    /// `team`, `cost-centre`, `service`, `pool`, `workload` or `task`.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    by: By,
    /// How shared cost is split: `none`, `even`, `proportional`, or weights such as `shop=3,search=1`.
    share: Option<String>,
    /// `json`, `csv`, `parquet`, `focus`, `focus-parquet` or `html`.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    format: CostFormat,
}

impl CostQuery {
    fn window(&self, now: Timestamp) -> Result<Span, Problem> {
        let (from, to) = (instant("from", self.from.as_deref())?, instant("to", self.to.as_deref())?);
        match (&self.month, from) {
            (Some(text), None) if to.is_none() => month(text),
            (Some(_), _) => Err(Problem::bad_request("give `month`, or `from` and `to`, not both")),
            (None, None) => Ok(month_at(now)),
            (None, Some(from)) => {
                let to = to.unwrap_or(now);
                if from >= to {
                    return Err(Problem::bad_request(format!("`from` ({from}) is not before `to` ({to})")));
                }
                Ok((from, to))
            }
        }
    }
}

/// What the nodes cost, split among those who had them.
#[utoipa::path(get, path = "/v1/reports/cost", tag = "reports", operation_id = "cost_report",
    security(("token" = ["report"])), params(CostQuery),
    responses((status = 200, description = "The report in the form asked for", content(
            (serde_json::Value = "application/json"), (String = "text/csv"), (String = "text/html"),
            (Vec<u8> = "application/vnd.apache.parquet"))),
        (status = 501, description = "This build has no analytics", body = Problem,
            content_type = "application/problem+json")))]
async fn cost(State(api): State<ApiState>, Params(query): Params<CostQuery>) -> Result<Response, Problem> {
    let now = api.clock.now();
    let window = query.window(now)?;
    let sharing: Sharing = match &query.share {
        Some(text) => text.parse().map_err(|problem| Problem::bad_request(format!("`share`: {problem}")))?,
        None => Sharing::None,
    };
    let (by, format) = (query.by, query.format);
    let focus = matches!(format, CostFormat::Focus | CostFormat::FocusParquet);
    let asked = Asked { window, detail: Detail { daily: focus, nodes: focus }, tasks: by == By::Task };
    let view = api.control.view().await;
    let made = tokio::task::spawn_blocking(move || {
        let Gathered { frame, statement, savings } = gather(&api, &view, asked, now)?;
        if focus {
            return file(&focus_table(&frame, &statement), format, "focus", &frame.warnings);
        }
        let report = report(&frame, &statement, by, &sharing, savings);
        match format {
            CostFormat::Json => Ok(Json(report).into_response()),
            CostFormat::Html => Ok(page(&report)),
            _ => file(&report_table(&report), format, "cost", &report.warnings),
        }
    });
    made.await?
}

fn page(report: &BillReport) -> Response {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
        frame-ancestors 'none'";
    let headers =
        [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, policy)];
    (headers, bill_page::page(report)).into_response()
}

/// A table as a file to keep.
fn file(table: &Table, format: CostFormat, name: &str, warnings: &[String]) -> Result<Response, Problem> {
    let parquet = matches!(format, CostFormat::Parquet | CostFormat::FocusParquet);
    let made = if parquet { table.parquet() } else { table.csv() };
    let content = made.map_err(|error| {
        let status = match error {
            AnalyticsError::NotBuilt => StatusCode::NOT_IMPLEMENTED,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Problem::new(status, chain(&error))
    })?;
    let (kind, end) = if parquet {
        ("application/vnd.apache.parquet", "parquet")
    } else {
        ("text/csv; charset=utf-8", "csv")
    };
    let disposition = format!("attachment; filename=\"{name}.{end}\"");
    let headers = [(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, disposition)];
    let mut answer = (headers, content).into_response();
    for warning in warnings {
        if let Ok(warning) = HeaderValue::from_str(warning) {
            answer.headers_mut().append(WARNING_HEADER, warning);
        }
    }
    Ok(answer)
}

/// A month.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct MonthQuery {
    /// A month of UTC, for example `2026-11`; the current one without it.
    month: Option<String>,
}

impl MonthQuery {
    fn window(&self, now: Timestamp) -> Result<Span, Problem> {
        self.month.as_deref().map_or_else(|| Ok(month_at(now)), month)
    }
}

/// A month, and how old the answer may be.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct SavingsQuery {
    /// A month of UTC, for example `2026-11`; the current one without it.
    month: Option<String>,
    /// The answer may be as old as this: it is not worked out again. It is new without it.
    max_age_seconds: Option<u32>,
}

/// What applied recommendations promised to save, and what they did save.
#[utoipa::path(get, path = "/v1/reports/savings", tag = "reports", operation_id = "savings_report",
    security(("token" = ["report"])), params(SavingsQuery),
    responses((status = 200, description = "A saving an applied recommendation", body = Vec<serde_json::Value>)))]
async fn savings(
    State(api): State<ApiState>,
    Params(SavingsQuery { month, max_age_seconds }): Params<SavingsQuery>,
) -> Result<Json<Vec<Saving>>, Problem> {
    let now = api.clock.now();
    let window = MonthQuery { month }.window(now)?;
    let age = SignedDuration::from_secs(max_age_seconds.unwrap_or(0).into());
    let view = api.control.view().await;
    let made =
        tokio::task::spawn_blocking(move || crate::api::savings::savings(&api, &view, (window, age), now));
    Ok(Json(made.await??))
}

/// The bill that was imported for a month: its lines; none where prices come from the price list.
#[utoipa::path(get, path = "/v1/reports/bill", tag = "reports", operation_id = "imported_bill",
    security(("token" = ["report"])), params(MonthQuery),
    responses((status = 200, description = "Its lines", body = Vec<serde_json::Value>)))]
async fn bill(
    State(api): State<ApiState>,
    Params(query): Params<MonthQuery>,
) -> Result<Json<Vec<Charge>>, Problem> {
    let month = query.window(api.clock.now())?;
    let found = tokio::task::spawn_blocking(move || imported(&api, month));
    Ok(Json(found.await??.unwrap_or_default()))
}

/// A bill to count in place of the price list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BillRequest {
    /// Its month of UTC, for example `2026-11`.
    #[serde(default)]
    pub month: String,
    /// Its lines as CSV: `node,from,to,cost` and, if you like, `kind` (usage, discount, commitment). A line
    /// without a node is shared cost. Without lines, the price list counts again.
    #[serde(default)]
    pub csv: String,
}

/// What was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BillImported {
    /// How many lines.
    pub lines: usize,
    /// What they come to.
    pub cost_micro_cents: i64,
}

/// Takes the bill of a month in place of the price list, or goes back to the list.
#[utoipa::path(put, path = "/v1/reports/bill", tag = "reports", operation_id = "import_bill",
    security(("token" = ["operate"])), request_body = BillRequest,
    responses((status = 200, description = "It counts from now on", body = BillImported)))]
async fn set_bill(
    State(api): State<ApiState>,
    Body(request): Body<BillRequest>,
) -> Result<Json<BillImported>, Problem> {
    let window = month(&request.month)?;
    let lines = if request.csv.trim().is_empty() {
        Vec::new()
    } else {
        read_bill(&request.csv, window).map_err(|error| Problem::unprocessable(error.to_string()))?
    };
    let cost =
        lines.iter().map(|line| line.between(window.0, window.1)).sum::<crate::domain::money::MicroCents>();
    let done = BillImported { lines: lines.len(), cost_micro_cents: cost.get() };
    let content = serde_json::to_vec(&lines)
        .map_err(|error| Problem::internal(format!("cannot keep the bill: {error}")))?;
    let kept = tokio::task::spawn_blocking(move || api.events.put_document(&bill_document(window), &content));
    kept.await??;
    Ok(Json(done))
}
