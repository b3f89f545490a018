//! The API's own description (`OpenAPI` 3.1), generated from the handlers, and what the gate takes from
//! it: which roles may call a route, and which parameters it has.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::ports::access::Role;

/// The path of the description itself.
pub(super) const PATH: &str = "/v1/openapi.json";
/// The header that names a request, so that it can be sent again.
pub(super) const KEY_HEADER: &str = "idempotency-key";

/// Who may call a route, and with which parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rule {
    /// Nobody has to say who calls.
    pub(super) open: bool,
    /// These roles may.
    pub(super) roles: BTreeSet<Role>,
    /// The parameters of its query.
    pub(super) parameters: BTreeSet<String>,
}

/// The rule of each route, by method and path as the description has them.
pub(super) type Rules = BTreeMap<(String, String), Rule>;

/// Who may do what a route does, by the word that it is marked with.
fn roles(access: &str) -> &'static [Role] {
    match access {
        "read" => &Role::ALL,
        "report" => &[Role::Developer, Role::Operator, Role::Finance],
        "write" => &[Role::Developer, Role::Operator],
        // A word that is not known opens nothing to anybody else.
        _ => &[Role::Operator],
    }
}

/// Completes the description that the handlers make: the roles in place of the marks, the errors that
/// every route can answer with, and the headers of writes. Tells the rules that follow from it.
pub(super) fn complete(generated: &utoipa::openapi::OpenApi) -> Result<(Value, Rules), serde_json::Error> {
    let mut document = serde_json::to_value(generated)?;
    document["info"] = json!({
        "title": "Loadline",
        "version": env!("CARGO_PKG_VERSION"),
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        "description": "Services, cron jobs and jobs: their sizes, counts and nodes. \
            Errors are problem documents (RFC 9457). Lists come in pages: `Link` with `rel=\"next\"` \
            names the next one.",
    });
    document["components"]["securitySchemes"]["token"] = json!({
        "type": "http", "scheme": "bearer",
        "description": "A token such as `ll_...` (`loadline token create`). The scopes of a route are \
            the roles that may call it. On a machine where no token was ever made none is needed.",
    });
    let mut rules = Rules::new();
    if let Some(paths) = document["paths"].as_object_mut() {
        paths.insert(PATH.to_owned(), json!({"get": own_operation()}));
        for (path, methods) in paths {
            for (method, operation) in methods.as_object_mut().into_iter().flatten() {
                let rule = rule(operation);
                complete_operation(operation, method != "get", &rule);
                rules.insert((method.to_uppercase(), path.clone()), rule);
            }
        }
    }
    Ok((document, rules))
}

fn own_operation() -> Value {
    json!({
        "tags": ["engine"],
        "summary": "This description.",
        "operationId": "openapi",
        "security": [{}],
        "responses": {"200": {"description": "OpenAPI 3.1", "content": {"application/json": {"schema": {
            "type": "object"}}}}},
    })
}

fn rule(operation: &Value) -> Rule {
    let marks = operation["security"].as_array().into_iter().flatten();
    let mut rule = Rule::default();
    for mark in marks {
        match mark["token"].as_array() {
            None => rule.open = true,
            Some(words) => {
                let words = words.iter().filter_map(Value::as_str);
                rule.roles.extend(words.flat_map(|word| roles(word).iter().copied()));
            }
        }
    }
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let queried = parameters.filter(|parameter| parameter["in"] == "query");
    rule.parameters = queried.filter_map(|parameter| parameter["name"].as_str().map(str::to_owned)).collect();
    rule
}

fn complete_operation(operation: &mut Value, writes: bool, rule: &Rule) {
    if !rule.open {
        let names: Vec<&str> = rule.roles.iter().map(|role| role.as_str()).collect();
        operation["security"] = json!([{"token": names}]);
    }
    let mut errors = vec![
        (400, "The request cannot be read"),
        (403, "The caller may not do this"),
        (404, "There is no such thing"),
        (405, "The path has no such method"),
        (414, "The address is too long"),
        (429, "Too many calls: `Retry-After` says when to come again"),
        (431, "The headers are too large"),
        (500, "The engine failed"),
        (503, "The engine did not answer in time"),
    ];
    if !rule.open {
        errors.push((401, "The call needs a token that is valid"));
    }
    if writes {
        errors.extend([
            (408, "The body did not come in time"),
            (409, "It cannot be done as things stand"),
            (412, "The workload is not as `If-Match` says"),
            (413, "The body is too large"),
            (415, "The body is not JSON"),
            (422, "The body asks for something that cannot be, or the key was used for something else"),
        ]);
        let key = json!({"name": "Idempotency-Key", "in": "header", "required": false,
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            "description": "Names the request: sent again within a day, it is answered as before and \
                does nothing twice"});
        let tag = json!({"name": "If-Match", "in": "header", "required": false,
            "schema": {"type": "string"},
            "description": "The `ETag` of the workload that the caller saw"});
        if !operation["parameters"].is_array() {
            operation["parameters"] = json!([]);
        }
        if let Some(parameters) = operation["parameters"].as_array_mut() {
            parameters.extend([key, tag]);
        }
        if let Some(body) = operation["requestBody"].as_object_mut() {
            // A body whose fields are all optional need not be sent; see `extract::Body`.
            body.insert("required".to_owned(), json!(false));
        }
    }
    for (status, description) in errors {
        let name = status.to_string();
        if operation["responses"][&name].is_null() {
            operation["responses"][&name] = json!({
                "description": description,
                "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
            });
        }
    }
}
