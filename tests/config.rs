//! Specs and settings: what the shipped examples mean, and what people are told about broken ones.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use loadline::config::{
    EngineConfig, Known, SpecError, Specs, load_engine_config, load_specs, parse_engine_config, parse_specs,
    parse_specs_with, read_sources, render_errors,
};
use loadline::domain::money::MicroCents;
use loadline::domain::policy::{Policy, PolicyMode, PolicyName};
use loadline::domain::quantity::{Bytes, Millicores, Share};
use loadline::domain::scale::{MetricTarget, ScalingRules};
use loadline::domain::workload::{
    EnvValue, OverlapPolicy, Probe, SecretRef, ServiceSpec, WorkloadName, WorkloadSpec,
};
use proptest::prelude::*;

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(path)
}

fn parse(text: &str) -> Result<Specs, Vec<SpecError>> {
    parse_specs(&[("t.toml".to_owned(), text.to_owned())])
}

/// The lines of errors, without the file's name.
fn complaints(text: &str) -> Vec<String> {
    let errors = parse(text).expect_err("a broken spec");
    errors.iter().map(|error| error.to_string().replacen("t.toml:", "", 1)).collect()
}
fn raw() -> Vec<(&'static str, &'static str)> { vec![
("a misspelt key", "[service.web]\ncomand = \"./web\"\n"),
("a misspelt kind", "[srvice.web]\ncommand = \"./web\"\n"),
("no command", "[service.web]\ncpu = 0.5\n"),
("an empty command", "[service.web]\ncommand = []\n"),
("an empty command line", "[service.web]\ncommand = \"  \"\n"),
("an argument without quotes", "[service.web]\ncommand = [\"./web\", 8080]\n"),
("a negative count", "[service.web]\ncommand = \"x\"\ninstances = -1\n"),
("an absurd count", "[service.web]\ncommand = \"x\"\ninstances = 100000\n"),
("a count in quotes", "[service.web]\ncommand = \"x\"\ninstances = \"2\"\n"),
("zero memory", "[service.web]\ncommand = \"x\"\nmemory = \"0\"\n"),
("memory without a unit", "[service.web]\ncommand = \"x\"\nmemory = \"256\"\n"),
("memory with a misspelt unit", "[service.web]\ncommand = \"x\"\nmemory = \"256MIBB\"\n"),
("memory as a number", "[service.web]\ncommand = \"x\"\nmemory = 256\n"),
("cpu as Kubernetes writes it", "[service.web]\ncommand = \"x\"\ncpu = \"500m\"\n"),
("no cpu", "[service.web]\ncommand = \"x\"\ncpu = 0\n"),
("a limit below the request", "[service.web]\ncommand = \"x\"\ncpu = 0.5\ncpu_limit = 0.25\n"),
("a memory limit below the request", "[service.web]\ncommand = \"x\"\nmemory = \"64MiB\"\nmemory_limit = \"32MiB\"\n"),
("a duration without a unit", "[service.web]\ncommand = \"x\"\nstop_grace = \"10\"\n"),
("a negative duration", "[service.web]\ncommand = \"x\"\nstop_grace = \"-10s\"\n"),
("a duration that is none", "[service.web]\ncommand = \"x\"\ndrain_timeout = \"soon\"\n"),
("a duration as a number", "[service.web]\ncommand = \"x\"\ndrain_timeout = 30\n"),
("a month, which has no fixed length", "[service.web]\ncommand = \"x\"\ndrain_timeout = \"1mo\"\n"),
("a name with a capital", "[service.Web]\ncommand = \"x\"\n"),
("a name with a path in it", "[job.\"../etc\"]\ncommand = \"x\"\n"),
("an environment variable with a hyphen", "[service.web]\ncommand = \"x\"\nenv = { LOG-LEVEL = \"debug\" }\n"),
("a number as environment variable", "[service.web]\ncommand = \"x\"\nenv = { PORT = 80 }\n"),
("a secret from nowhere", "[service.web]\ncommand = \"x\"\nenv = { KEY = {} }\n"),
("a secret from two places", "[service.web]\ncommand = \"x\"\nenv = { KEY = { secret_file = \"/run/k\", secret_env = \"K\" } }\n"),
("a misspelt reference to a secret", "[service.web]\ncommand = \"x\"\nenv = { KEY = { secret_fil = \"/run/k\" } }\n"),
("a relative path in a text from nowhere", "[service.web]\ncommand = \"x\"\nworking_dir = \"data\"\n"),
("a user that cannot be", "[service.web]\ncommand = \"x\"\nuser = \"a b\"\n"),
("an unknown policy", "[service.web]\ncommand = \"x\"\npolicy = \"carefull\"\n[policy.careful]\n"),
("an unknown mode", "[policy.careful]\nsize = \"aply\"\n"),
("bounds the wrong way round", "[policy.careful]\nmin_cpu = 2\nmax_cpu = 1\n"),
("a share in percent", "[policy.careful]\nmin_change = 10\n"),
("a check of an unknown port", "[service.web]\ncommand = \"x\"\nports = [\"http\"]\nreadiness = { http = \"/\", port = \"htp\" }\n"),
("a check over http without a port", "[service.web]\ncommand = \"x\"\n[service.web.readiness]\nhttp = \"/\"\n"),
("a check that asks nothing", "[service.web]\ncommand = \"x\"\n[service.web.liveness]\ninterval = \"5s\"\n"),
("a check that asks twice", "[service.web]\ncommand = \"x\"\nports = [\"http\"]\n[service.web.liveness]\nhttp = \"/\"\ntcp = true\n"),
("a path without its slash", "[service.web]\ncommand = \"x\"\nports = [\"http\"]\n[service.web.liveness]\nhttp = \"healthz\"\n"),
("two ports of one name", "[service.web]\ncommand = \"x\"\nports = [\"http\", \"http\"]\n"),
("one front door for two services", "[service.a]\ncommand = \"x\"\nports = [{ name = \"http\", front_door = 8080 }]\n[service.b]\ncommand = \"x\"\nports = [{ name = \"http\", front_door = 8080 }]\n"),
("a port that is none", "[service.web]\ncommand = \"x\"\nports = [{ name = \"http\", front_door = 70000 }]\n"),
("scale the wrong way round", "[service.web]\ncommand = \"x\"\n[service.web.scale]\nmin = 5\nmax = 3\ncpu = 0.7\n"),
("a count outside of scale", "[service.web]\ncommand = \"x\"\ninstances = 9\n[service.web.scale]\nmax = 3\ncpu = 0.7\n"),
("scale without a maximum", "[service.web]\ncommand = \"x\"\n[service.web.scale]\ncpu = 0.7\n"),
("scale without a metric", "[service.web]\ncommand = \"x\"\n[service.web.scale]\nmax = 3\n"),
("a target in percent", "[service.web]\ncommand = \"x\"\n[service.web.scale]\nmax = 3\ncpu = 70\n"),
("requests without a port", "[service.web]\ncommand = \"x\"\n[service.web.scale]\nmax = 3\nrequests_per_second = 50\n"),
("a metric without a target", "[service.web]\ncommand = \"x\"\nports = [\"http\"]\n[service.web.scale]\nmax = 3\nmetrics = [{ prometheus = \"queue\" }]\n"),
("a misspelt behaviour", "[service.web]\ncommand = \"x\"\n[service.web.scale]\nmax = 3\ncpu = 0.7\nbehavior.scaleUpp.selectPolicy = \"Max\"\n"),
("a misspelt rule", "[service.web]\ncommand = \"x\"\n[service.web.scale]\nmax = 3\ncpu = 0.7\nbehavior.scaleUp.policies = [{ type = \"pods\", value = 4, periodSeconds = 15 }]\n"),
("a backoff above its maximum", "[service.web]\ncommand = \"x\"\nrestart = { backoff = \"10m\", backoff_max = \"1m\" }\n"),
("a rollout without surge", "[service.web]\ncommand = \"x\"\nrollout = { max_surge = 0 }\n"),
("an hour that is none", "[cron.night]\ncommand = \"x\"\nschedule = \"0 25 * * *\"\n"),
("a step as Quartz writes it", "[cron.night]\ncommand = \"x\"\nschedule = \"5/15 * * * *\"\n"),
("too few fields", "[cron.night]\ncommand = \"x\"\nschedule = \"0 2 * *\"\n"),
("a misspelt nickname", "[cron.night]\ncommand = \"x\"\nschedule = \"@dayly\"\n"),
("a day that never comes", "[cron.night]\ncommand = \"x\"\nschedule = \"0 0 30 2 *\"\n"),
("a misspelt time zone", "[cron.night]\ncommand = \"x\"\nschedule = \"@daily\"\ntime_zone = \"Europe/Berln\"\n"),
("a city without its continent", "[cron.night]\ncommand = \"x\"\nschedule = \"@daily\"\ntime_zone = \"Berlin\"\n"),
("no schedule", "[cron.night]\ncommand = \"x\"\n"),
("an unknown overlap", "[cron.night]\ncommand = \"x\"\nschedule = \"@daily\"\noverlap = \"forbit\"\n"),
("a key that other kinds have", "[job.once]\ncommand = \"x\"\nrun_on_aply = false\ninstances = 2\n"),
("a pool without memory", "[pool.small]\ncpu = 0.5\n"),
("a pool the wrong way round", "[pool.small]\ncpu = 0.5\nmemory = \"1GiB\"\nmin = 4\nmax = 2\n"),
("an attribute of a pool that is a number", "[pool.small]\ncpu = 0.5\nmemory = \"1GiB\"\nattributes = { zone = 1 }\n"),
("a pool that declares the attribute pool", "[pool.small]\ncpu = 0.5\nmemory = \"1GiB\"\nattributes = { pool = \"a\" }\n"),
("an unknown pool", "[service.web]\ncommand = \"x\"\nplacement.pool = \"smal\"\n[pool.small]\ncpu = 1\nmemory = \"1GiB\"\n"),
("an unknown attribute", "[service.web]\ncommand = \"x\"\nplacement.attributes = { dsk = \"ssd\" }\n[pool.small]\ncpu = 1\nmemory = \"1GiB\"\nattributes = { disk = \"ssd\" }\n"),
("a value that no pool has", "[service.web]\ncommand = \"x\"\nplacement.attributes = { disk = [\"sdd\", \"nvme\"] }\n[pool.small]\ncpu = 1\nmemory = \"1GiB\"\nattributes = { disk = \"ssd\" }\n"),
("no value at all", "[service.web]\ncommand = \"x\"\nplacement.attributes = { disk = [] }\n"),
("conditions that no pool meets together", "[service.web]\ncommand = \"x\"\nplacement = { pool = \"a\", attributes = { disk = \"ssd\" } }\n[pool.a]\ncpu = 1\nmemory = \"1GiB\"\n[pool.b]\ncpu = 1\nmemory = \"1GiB\"\nattributes = { disk = \"ssd\" }\n"),
("a request that fits on no node", "[service.web]\ncommand = \"x\"\ncpu = 4\n[pool.small]\ncpu = 1\nmemory = \"1GiB\"\n"),
("one name for two workloads", "[job.web]\ncommand = \"x\"\n[service.web]\ncommand = \"x\"\n"),
("a value for a table", "[service.web]\ncommand = \"x\"\nscale = 3\n"),
("a service without a name", "[service]\ncommand = \"x\"\n"),
("a key twice", "[service.web]\ncommand = \"x\"\ncpu = 1\ncpu = 2\n"),
("text without quotes", "[service.web]\ncommand = ./web\n"),
("an open string", "[service.web]\ncommand = \"./web\n"),
("an open table", "[service.web\ncommand = \"x\"\n"),
("a key without a value", "[service.web]\ncommand = \"x\"\ncpu =\n"),
("an open array", "[service.web]\ncommand = [\"x\"\n"),
] }
#[test] fn show() { for (name, text) in raw() { println!("## {name}"); match parse(text) { Ok(_) => println!("OK!!!"), Err(e) => for e in e { println!("{e}") } } } }
