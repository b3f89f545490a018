//! What forms ask for, carried out by the API as their sender: the API decides who may. Every form carries
//! what only our pages know; one that does not is refused before anything is read from it.

use axum::Form;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use crate::api::client::encoded;
use crate::web::Web;
use crate::web::backend::Failure;
use crate::web::login::local;
use crate::web::visitor::{SAID_COOKIE, Visitor, is_ours};

/// The longest sentence that is said once.
const SAID_MAX: usize = 600;

/// The fields of a form, in order.
struct Fields(Vec<(String, String)>);

impl Fields {
    fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value.trim())
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        let text = self.get(name);
        if text.is_empty() {
            return Ok(None);
        }
        let wrong = || refused(format!("`{text}` is no number that `{name}` can be."));
        text.parse().map(Some).map_err(|_| wrong())
    }
}

fn refused(detail: String) -> Failure {
    Failure::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

/// A call of the API.
struct Call {
    method: Method,
    path: String,
    body: Option<Value>,
}

impl Call {
    fn post(path: String, body: Value) -> Self {
        Self { method: Method::POST, path, body: Some(body) }
    }

    fn put(path: String, body: Value) -> Self {
        Self { method: Method::PUT, path, body: Some(body) }
    }

    /// One whose words stand in the query.
    fn delete(path: &str, message: &str) -> Self {
        Self { method: Method::DELETE, path: format!("{path}?message={}", encoded(message)), body: None }
    }
}

/// Carries out what a form asks for.
pub(super) async fn act(
    State(_): State<Web>,
    visitor: Visitor,
    headers: HeaderMap,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<Response, Failure> {
    let fields = Fields(fields);
    is_ours(&headers, &visitor.csrf, fields.get("csrf"))?;
    if fields.get("message").is_empty() {
        return Err(refused("Say why, in a few words: it stands in the record beside your name.".to_owned()));
    }
    let mut said = Vec::new();
    let calls = calls(&visitor, &fields)?;
    let many = calls.len() > 1;
    for call in calls {
        match visitor.send((call.method, &call.path), call.body.as_ref()).await {
            Ok(answer) => said.push(told(&answer)),
            // Of many, one that is refused does not hold up the others, nor hides what was done.
            Err(failure) if many => said.push(format!("Not done: {}", failure.detail())),
            Err(failure) => return Err(failure),
        }
    }
    let said = if said.is_empty() { "Nothing was chosen.".to_owned() } else { said.join(" ") };
    let said: String = said.chars().take(SAID_MAX).collect();
    let cookie = format!("{SAID_COOKIE}={}; Path=/; Max-Age=60; HttpOnly; SameSite=Strict", encoded(&said));
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(local(fields.get("next")))).into_response())
}

/// Gives a star or takes it back. It is the visitor's own and changes nothing for anybody else: it needs no reason,
/// and every role has it.
pub(super) async fn star(
    State(_): State<Web>,
    visitor: Visitor,
    headers: HeaderMap,
    Form(fields): Form<Vec<(String, String)>>,
) -> Result<Response, Failure> {
    let fields = Fields(fields);
    is_ours(&headers, &visitor.csrf, fields.get("csrf"))?;
    for (button, method) in [("star", Method::PUT), ("unstar", Method::DELETE)] {
        for name in fields.all(button) {
            visitor.send((method.clone(), &format!("/v1/stars/{}", encoded(name))), None).await?;
        }
    }
    Ok(Redirect::to(local(fields.get("next"))).into_response())
}

/// What the API says that it did.
fn told(answer: &Value) -> String {
    if let (Some(id), Some(phase)) = (answer["id"].as_u64(), answer["phase"].as_str()) {
        return format!("Done: backtest {id} is {phase}.");
    }
    let changes = answer["changes"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let changes: Vec<&str> = changes.collect();
    match (changes.is_empty(), answer["decision"].as_u64()) {
        (false, _) => format!("Done: {}.", changes.join("; ")),
        (true, Some(decision)) => format!("Decision {decision} is carried out."),
        (true, None) => "It was so already.".to_owned(),
    }
}

fn calls(visitor: &Visitor, fields: &Fields) -> Result<Vec<Call>, Failure> {
    let does = fields.get("do");
    let Some(verb) = does.strip_prefix("bulk-") else { return one(visitor, fields).map(|call| vec![call]) };
    let body = match verb {
        "size-policy" => own_policy(fields)?,
        "apply" | "restart" | "resume" => json!({ "message": fields.get("message") }),
        "pause" | "dismiss" => lasting(fields)?,
        "scale" => scale(fields)?,
        "schedule" => scheduled(visitor, fields)?,
        _ => return Err(refused(format!("`{does}` is nothing that can be done here."))),
    };
    let path = |name: &str| match verb {
        "restart" => format!("/v1/workloads/{}/bounce", encoded(name)),
        "pause" | "resume" | "scale" | "size-policy" => format!("/v1/workloads/{}/{verb}", encoded(name)),
        _ => format!("/v1/recommendations/{}/{verb}", encoded(name)),
    };
    let method = if verb == "size-policy" { Method::PUT } else { Method::POST };
    let call = |name| Call { method: method.clone(), path: path(name), body: Some(body.clone()) };
    // Names may be ticked, or written into one field.
    Ok(fields.all("workload").flat_map(str::split_whitespace).map(call).collect())
}

/// When advice is applied: at a time by the reader's clock, or with the next rollout where none is said.
fn scheduled(visitor: &Visitor, fields: &Fields) -> Result<Value, Failure> {
    let (at, message) = (fields.get("at"), fields.get("message"));
    if at.is_empty() {
        return Ok(json!({ "next_rollout": true, "message": message }));
    }
    let civil = at.parse::<jiff::civil::DateTime>().ok();
    let instant = civil.and_then(|civil| visitor.zone.to_timestamp(civil).ok());
    let instant = instant.ok_or_else(|| refused(format!("`{at}` is no time that `at` can be.")))?;
    Ok(json!({ "at": instant, "message": message }))
}

fn one(visitor: &Visitor, fields: &Fields) -> Result<Call, Failure> {
    let (does, subject, message) = (fields.get("do"), fields.get("subject"), fields.get("message"));
    let name = encoded(subject);
    let said = json!({ "message": message });
    let workload = |verb: &str, body| Call::post(format!("/v1/workloads/{name}/{verb}"), body);
    Ok(match does {
        "scale" => workload("scale", scale(fields)?),
        "restart" => workload("bounce", said),
        "pause" => workload("pause", lasting(fields)?),
        "resume" => workload("resume", said),
        "rollback" => workload("rollback", json!({"to": fields.number::<u64>("to")?, "message": message})),
        "advance" => workload("rollout/advance", said),
        "abort" => workload("rollout/abort", said),
        "run" => workload("run", run(fields)),
        "cancel-run" => match subject.rsplit_once('@') {
            Some((of, at)) => {
                Call::post(format!("/v1/workloads/{}/runs/{}/cancel", encoded(of), encoded(at)), said)
            }
            None => return Err(refused(format!("`{subject}` is no run that can be cancelled."))),
        },
        "resize" => workload("resize", resize(fields)?),
        "stop-task" => Call::post(format!("/v1/tasks/{name}/stop"), said),
        "drain" => Call::post(format!("/v1/nodes/{name}/drain"), lasting(fields)?),
        "activate" => Call::post(format!("/v1/nodes/{name}/activate"), said),
        "approve" => Call::post(format!("/v1/decisions/{name}/approve"), said),
        "undo" => match subject.split_once('/') {
            Some((kind, of)) => {
                Call::delete(&format!("/v1/actions/{}/{}", encoded(kind), encoded(of)), message)
            }
            None => return Err(refused(format!("`{subject}` is nothing that can be undone."))),
        },
        "freeze" => Call::put(format!("/v1/freezes/{name}"), lasting(fields)?),
        "backtest" => Call::post("/v1/backtests".to_owned(), backtest(visitor, fields)?),
        "cancel-backtest" => Call::delete(&format!("/v1/backtests/{name}"), message),
        "size-policy" => {
            let body = json!({ "policy": fields.get("policy"), "message": message });
            Call::put("/v1/size-policies".to_owned(), body)
        }
        "unfreeze" => Call::delete(&format!("/v1/freezes/{name}"), message),
        _ => return Err(refused(format!("`{does}` is nothing that can be done here."))),
    })
}

fn scale(fields: &Fields) -> Result<Value, Failure> {
    let Some(count) = fields.number::<u32>("count")? else {
        return Err(refused("Say how many instances are wanted.".to_owned()));
    };
    let mut body = lasting(fields)?;
    body["count"] = count.into();
    body["acknowledged"] = (!fields.get("acknowledged").is_empty()).into();
    Ok(body)
}

/// A policy for some workloads, maybe for a while.
fn own_policy(fields: &Fields) -> Result<Value, Failure> {
    let mut body = lasting(fields)?;
    body["policy"] = fields.get("policy").into();
    Ok(body)
}

fn lasting(fields: &Fields) -> Result<Value, Failure> {
    Ok(json!({ "message": fields.get("message"), "for_seconds": fields.number::<u64>("for")? }))
}

/// Another size of a task: what is not said stays.
fn resize(fields: &Fields) -> Result<Value, Failure> {
    Ok(json!({
        "cpu": fields.number::<f64>("cpu")?,
        "memory": fields.number::<u64>("memory")?,
        "cpu_limit": fields.number::<f64>("cpu_limit")?,
        "memory_limit": fields.number::<u64>("memory_limit")?,
        "message": fields.get("message"),
    }))
}

/// A run with other arguments, where some were given: a line each.
fn run(fields: &Fields) -> Value {
    let mut body = Map::new();
    body.insert("message".to_owned(), fields.get("message").into());
    let lines: Vec<&str> = fields.get("args").lines().filter(|line| !line.is_empty()).collect();
    if !lines.is_empty() {
        body.insert("args".to_owned(), lines.into());
    }
    Value::Object(body)
}

/// What is to be replayed: what was ticked, and what was written beside it.
fn backtest(visitor: &Visitor, fields: &Fields) -> Result<Value, Failure> {
    let both = |ticked, written| {
        let ticked = fields.all(ticked).map(str::trim).filter(|name| !name.is_empty());
        let written = fields.get(written).split_whitespace();
        ticked.chain(written).map(str::to_owned).collect::<Vec<String>>()
    };
    let hours = fields.number::<i64>("hours")?.map(SignedDuration::from_hours);
    let from = hours.and_then(|span| visitor.now.checked_sub(span).ok());
    Ok(json!({
        "workloads": both("workload", "workloads"),
        "policies": both("policy", "policies"),
        "from": from.map(|from| from.to_string()),
        "step_seconds": fields.number::<i64>("step")?,
        "no_sweep": fields.get("sweep").is_empty(),
        "message": fields.get("message"),
    }))
}
