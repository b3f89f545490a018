//! `/v1/tasks/ID/environment`: what a task is started with. Values of secrets are not read, and what looks like
//! one although it was written as plain text is not shown.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::ApiState;
use crate::api::dto::Problem;
use crate::api::extract::At;
use crate::api::tasks::find;
use crate::domain::workload::{EnvValue, SecretRef};

/// Parts of names that people give to secrets, in capitals.
const SECRET_NAMES: [&str; 10] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "CREDENTIAL",
    "API_KEY",
    "APIKEY",
    "ACCESS_KEY",
    "PRIVATE_KEY",
];

/// What a task is started with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EnvironmentDto {
    /// Whether it is known; it is not once the workload is gone.
    pub known: bool,
    /// Program and arguments.
    pub command: Vec<String>,
    /// The folder that it starts in; the task's own where absent.
    pub working_dir: Option<String>,
    /// The user that it runs as; the engine's where absent.
    pub user: Option<String>,
    /// Variables of its spec and its run, and the ports that it was given. Beside them each task has PATH, HOME
    /// and LANG of the engine.
    pub variables: Vec<VariableDto>,
}

/// A variable of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VariableDto {
    /// Its name.
    pub name: String,
    /// Its value; absent where it is hidden.
    pub value: Option<String>,
    /// Why it is hidden, in words.
    pub hidden: Option<String>,
}

impl VariableDto {
    fn of(name: &str, value: &EnvValue) -> Self {
        let (value, hidden) = match value {
            EnvValue::Secret(SecretRef::File(_)) => (None, Some("a secret: read from a file at the start")),
            EnvValue::Secret(SecretRef::Env(_)) => {
                (None, Some("a secret: read from the engine at the start"))
            }
            EnvValue::Plain(text) if looks_secret(name, text) => (
                None,
                Some("looks like a secret: `secret_file` or `secret_env` would keep it out of the spec"),
            ),
            EnvValue::Plain(text) => (Some(text.clone()), None),
        };
        Self { name: name.to_owned(), value, hidden: hidden.map(str::to_owned) }
    }
}

/// Whether a plain value is better not shown: by its name, or because it is an address with a password in it.
fn looks_secret(name: &str, value: &str) -> bool {
    let name = name.to_uppercase().replace('-', "_");
    let authority =
        value.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let has_password = authority
        .and_then(|authority| authority.rsplit_once('@'))
        .is_some_and(|(user, _)| user.contains(':'));
    has_password || value.contains("-----BEGIN") || SECRET_NAMES.iter().any(|part| name.contains(part))
}

/// What a task is started with; secrets are named and not shown.
#[utoipa::path(get, path = "/v1/tasks/{id}/environment", tag = "tasks", security(("token" = ["read"])),
    params(("id" = String, Path, description = "The task")),
    responses((status = 200, description = "Command and environment", body = EnvironmentDto)))]
pub(super) async fn environment(
    State(api): State<ApiState>,
    At(id): At<String>,
) -> Result<Json<EnvironmentDto>, Problem> {
    let task = find(&api, &api.control.view().await, &id).await?;
    let Some(template) = api.control.template(&task).await else {
        return Ok(Json(EnvironmentDto::default()));
    };
    let ports = task.ports.iter().map(|(name, number)| VariableDto {
        name: format!("PORT_{}", name.to_uppercase().replace('-', "_")),
        value: Some(number.to_string()),
        hidden: None,
    });
    let own = template.env.iter().map(|(name, value)| VariableDto::of(name, value));
    let mut variables: Vec<VariableDto> = ports.chain(own).collect();
    variables.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(Json(EnvironmentDto {
        known: true,
        command: template.command.clone(),
        working_dir: template.working_dir.as_ref().map(|folder| folder.display().to_string()),
        user: template.user.clone(),
        variables,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_have_no_value_whatever_they_are_written_as() {
        let shown = |name: &str, value: EnvValue| VariableDto::of(name, &value).value;
        let plain = |text: &str| EnvValue::Plain(text.to_owned());
        assert_eq!(shown("A", EnvValue::Secret(SecretRef::Env("B".to_owned()))), None);
        assert_eq!(shown("A", EnvValue::Secret(SecretRef::File("/b".into()))), None);
        for (name, value) in [
            ("DB_PASSWORD", "x"),
            ("github-token", "x"),
            ("AwsSecretKey", "x"),
            ("DATABASE", "postgres://app:pw@db:5432/shop"),
            ("CERT", "-----BEGIN PRIVATE KEY-----"),
        ] {
            assert_eq!(shown(name, plain(value)), None, "{name}");
        }
        for (name, value) in [("LANG", "C"), ("BACK", "http://db:5432/a@b:c"), ("FRONT", "http://me@db/")] {
            assert_eq!(shown(name, plain(value)).as_deref(), Some(value), "{name}");
        }
    }
}
