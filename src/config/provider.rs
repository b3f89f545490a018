//! Reads `[[provider]]`: where pools can get machines from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::SignedDuration;
use serde::Serialize;

use crate::config::reader::{Table, Value};
use crate::config::task::{environment, secret};
use crate::config::values::{command, duration_from, line, list, name, path, word};
use crate::domain::workload::{EnvValue, SecretRef, WorkloadName};

const TIMEOUT_DEFAULT: SignedDuration = SignedDuration::from_secs(30);
const TIMEOUT_MIN: SignedDuration = SignedDuration::from_millis(100);
/// As Cluster Autoscaler scans.
const POLL_DEFAULT: SignedDuration = SignedDuration::from_secs(10);
const POLL_MIN: SignedDuration = SignedDuration::from_millis(100);

/// `[[provider]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProviderConfig {
    /// What pools call it.
    pub name: String,
    /// What it is, and how it is reached.
    #[serde(flatten)]
    pub kind: ProviderKind,
    /// A call takes no longer.
    pub timeout: SignedDuration,
    /// From one look at a group to the next.
    pub poll: SignedDuration,
}

/// What a provider is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ProviderKind {
    /// A command with a JSON contract.
    Exec(ExecSettings),
    /// Cluster Autoscaler's external gRPC provider protocol.
    ExternalGrpc(GrpcSettings),
    /// EC2 Auto Scaling groups.
    Ec2Asg(AsgSettings),
}

/// `kind = "exec"`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExecSettings {
    /// Program and arguments.
    pub command: Vec<String>,
    /// The folder that it starts in.
    pub working_dir: Option<PathBuf>,
    /// Its environment.
    pub env: BTreeMap<String, EnvValue>,
}

/// `kind = "external-grpc"`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GrpcSettings {
    /// Where it listens.
    pub address: String,
    /// Certificates; none where it speaks plain HTTP/2.
    pub tls: Option<GrpcTlsSettings>,
}

/// Certificates as PEM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GrpcTlsSettings {
    /// Who signed the provider's.
    pub ca: PathBuf,
    /// Our own.
    pub cert: Option<PathBuf>,
    /// The key of our own.
    pub key: Option<PathBuf>,
}

/// `kind = "ec2-asg"`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AsgSettings {
    /// The groups by name.
    pub groups: Vec<String>,
    /// The region.
    pub region: Option<String>,
    /// The profile of the credentials.
    pub profile: Option<String>,
    /// Where the service listens, if not at AWS.
    pub endpoint: Option<String>,
    /// The access key and its secret.
    pub keys: Option<(SecretRef, SecretRef)>,
}

#[derive(Debug, Clone, Copy)]
enum Word {
    Exec,
    Grpc,
    Asg,
}

/// Reads one provider.
pub(super) fn provider(table: &Table<'_>) -> Option<ProviderConfig> {
    let name = table.required(&["name"], "a name such as \"vms\"", own_name);
    let words = [("exec", Word::Exec), ("external-grpc", Word::Grpc), ("ec2-asg", Word::Asg)];
    let kind = table.required(&["kind"], "\"exec\", \"external-grpc\" or \"ec2-asg\"", word(&words));
    let timeout = table.or("timeout", TIMEOUT_DEFAULT, duration_from(TIMEOUT_MIN));
    let poll = table.or("poll", POLL_DEFAULT, duration_from(POLL_MIN));
    let kind = match kind? {
        Word::Exec => exec(table).map(ProviderKind::Exec),
        Word::Grpc => grpc(table).map(ProviderKind::ExternalGrpc),
        Word::Asg => asg(table).map(ProviderKind::Ec2Asg),
    };
    Some(ProviderConfig { name: name?, kind: kind?, timeout, poll })
}

fn own_name(value: &Value<'_>) -> Option<String> {
    let text = name(WorkloadName::new)(value)?.to_string();
    if text == "local" {
        return value.refuse("another name: `local` is the cluster itself");
    }
    Some(text)
}

fn exec(table: &Table<'_>) -> Option<ExecSettings> {
    let command = table.required(&["command"], "a command such as [\"./vms\"]", command);
    let working_dir = table.optional("working_dir", path);
    let env = table.or("env", BTreeMap::new(), environment);
    Some(ExecSettings { command: command?, working_dir, env })
}

fn grpc(table: &Table<'_>) -> Option<GrpcSettings> {
    let address = table.required(&["address"], "an address such as \"http://127.0.0.1:8086\"", address);
    let tls = table.table("tls", |table| {
        let ca = table.required(&["ca"], "ca = \"ca.pem\"", path);
        let (cert, key) = (table.optional("cert", path), table.optional("key", path));
        if table.has("cert") != table.has("key") {
            let found = "only one of `cert` and `key`".to_owned();
            table.refuse_absence(&["cert", "key"], found, "both, or none");
        }
        Some(GrpcTlsSettings { ca: ca?, cert, key })
    });
    let (address, tls) = (address?, tls.flatten());
    if address.starts_with("https://") && !table.has("tls") {
        let found = "https:// without `tls`".to_owned();
        table.refuse_key("address", found, "tls = { ca = \"ca.pem\" } beside it", None);
    }
    Some(GrpcSettings { address, tls })
}

fn address(value: &Value<'_>) -> Option<String> {
    let expected = "an address such as \"http://127.0.0.1:8086\"";
    let text = value.text(expected)?;
    let parsed = reqwest::Url::parse(text).ok();
    if parsed.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
        return Some(text.to_owned());
    }
    // An address may hold a password, so what was found is not repeated.
    value.refuse_as("a text that is none".to_owned(), expected, None)
}

fn asg(table: &Table<'_>) -> Option<AsgSettings> {
    let groups = table.required(&["groups"], "the groups such as [\"workers\"]", |value| {
        let groups = list(value, "an array of groups such as [\"workers\"]", line)?;
        if groups.is_empty() {
            return value.refuse("one group at least");
        }
        Some(groups.into_iter().map(|(group, _)| group).collect())
    });
    let (region, profile) = (table.optional("region", line), table.optional("profile", line));
    let endpoint = table.optional("endpoint", address);
    let keys = (table.table("access_key", secret), table.table("secret_key", secret));
    if table.has("access_key") != table.has("secret_key") {
        let found = "only one of `access_key` and `secret_key`".to_owned();
        table.refuse_absence(&["access_key", "secret_key"], found, "both, or none");
    }
    let keys = keys.0.flatten().zip(keys.1.flatten());
    Some(AsgSettings { groups: groups?, region, profile, endpoint, keys })
}
