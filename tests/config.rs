//! Declared and settings: what the shipped examples mean, and what people are told about broken ones.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use loadline::config::{
    EngineConfig, Known, SpecError, load_engine_config, load_specs, parse_engine_config, parse_specs,
    parse_specs_with, read_sources, render_errors,
};
use loadline::domain::intent::Declared;
use loadline::domain::money::MicroCents;
use loadline::domain::placement::{SpreadOver, Strategy as Choice};
use loadline::domain::policy::{Policy, PolicyMode, PolicyName};
use loadline::domain::quantity::{Bytes, Millicores, Share};
use loadline::domain::scale::{MetricTarget, QueueSource, ScalingRules};
use loadline::domain::workload::{
    CatchUp, CatchUpPolicy, EnvValue, HttpMethod, HttpOptions, OomRetry, OverlapPolicy, Probe, SecretRef,
    ServiceSpec, WorkloadName, WorkloadSpec,
};
use proptest::prelude::*;

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(path)
}

fn parse(text: &str) -> Result<Declared, Vec<SpecError>> {
    parse_specs(&[("t.toml".to_owned(), text.to_owned())])
}

fn workload(specs: &Declared, name: &str) -> WorkloadSpec {
    specs.workloads[&WorkloadName::new(name).expect("a name")].clone()
}

fn service(specs: &Declared, name: &str) -> ServiceSpec {
    workload(specs, name).as_service().expect("a service").clone()
}

fn policy(specs: &Declared, name: &str) -> Policy {
    specs.policies[&PolicyName::new(name).expect("a name")].clone()
}

#[test]
fn each_broken_spec_is_explained_where_it_is_broken() {
    let golden = include_str!("config/broken.txt");
    let mut cases = 0;
    for case in golden.split("\n## ").skip(1) {
        let (name, rest) = case.split_once('\n').expect("a name");
        let (text, expected) = rest.split_once("=>\n").expect("a text and its errors");
        let errors = parse(text).expect_err(name);
        let found: Vec<String> =
            errors.iter().map(|error| error.to_string().replacen("t.toml:", "", 1)).collect();
        let expected: Vec<&str> = expected.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(found, expected, "{name}");
        cases += 1;
    }
    assert!(cases >= 30, "{cases} broken specs");
}

#[test]
fn all_errors_of_all_files_come_at_once_in_order() {
    let sources = [
        ("b.toml", "[service.web]\ncommand = []\ncpu = -1\npolicy = \"none\"\n[job.x]\ncomand = \"x\"\n"),
        ("a.toml", "[cron.c]\ncommand = \"x\"\nschedule = \"99 99 * * *\"\n[job.web]\ncommand = \"x\"\n"),
    ];
    let sources = sources.map(|(file, text)| (file.to_owned(), text.to_owned()));
    let errors = parse_specs(&sources).expect_err("broken specs");
    let places: Vec<_> = errors.iter().map(|e| (e.file.as_str(), e.line, e.column)).collect();
    let expected = [
        ("b.toml", 2, 11),
        ("b.toml", 3, 7),
        ("b.toml", 4, 10),
        ("b.toml", 6, 1),
        ("a.toml", 3, 13),
        ("a.toml", 3, 16),
        ("a.toml", 4, 6),
    ];
    let rendered = render_errors(&errors);
    assert_eq!(places, expected, "{rendered}");
    assert_eq!(rendered.lines().count(), 8);
    assert!(rendered.ends_with("\n7 errors\n"), "{rendered}");
}

#[test]
fn lines_that_are_not_toml_hide_only_what_follows_from_them() {
    let text =
        "[service.a]\ncommand = \"x\"\n[service.b\ncommand = \"y\"\ncpu = 0\n[service.c]\ncommand = []\n";
    let errors = parse(text).expect_err("a broken spec");
    let places: Vec<_> = errors.iter().map(|error| (error.line, error.column)).collect();
    assert_eq!(places, [(3, 11), (7, 11)], "{}", render_errors(&errors));
}

#[test]
fn files_that_cannot_be_read_are_errors_with_their_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing.toml");
    let binary = folder.path().join("binary.toml");
    fs::write(&binary, b"[job.x]\n# \xff\n").expect("a file");
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).expect("a folder");
    let errors = load_specs(&[missing.clone(), binary.clone(), empty.clone()]).expect_err("nothing to read");
    let places: Vec<_> = errors.iter().map(|e| (PathBuf::from(&e.file), e.line, e.column)).collect();
    assert_eq!(places, [(missing, 1, 1), (binary, 2, 3), (empty, 1, 1)]);
}

#[test]
fn the_examples_mean_what_their_comments_say() {
    let specs =
        load_specs(&[shipped("examples")]).unwrap_or_else(|errors| panic!("{}", render_errors(&errors)));
    assert_eq!((specs.workloads.len(), specs.pools.len(), specs.policies.len()), (6, 2, 1));

    let worker = service(&specs, "worker");
    assert_eq!(worker.owner.team.as_deref(), Some("shop"));
    assert_eq!(worker.owner.cost_centre.as_deref(), Some("4711"));
    assert_eq!(worker.template.command[..2], ["/bin/sh", "-c"]);
    assert_eq!(worker.template.size.request.cpu, Millicores::new(100));
    assert_eq!(worker.template.size.request.memory, Bytes::mib(32));
    assert_eq!(worker.template.size.cpu_limit, Some(Millicores::new(500)));
    assert_eq!(worker.template.size.memory_limit, Bytes::mib(64));
    assert_eq!((worker.template.priority, worker.restart.jitter), (10, Share::new(0.1)));
    let scale = worker.scale.expect("a scale");
    assert_eq!((scale.min, scale.max, worker.instances), (1, 4, 2));
    assert_eq!(scale.metrics, [MetricTarget::Cpu { utilization: 0.7 }]);
    assert_eq!((scale.up, scale.down), (ScalingRules::default_up(), ScalingRules::default_down()));

    let web = service(&specs, "web");
    assert_eq!(web.ports[0].front_door, Some(8080));
    let readiness = web.checks.readiness.expect("a check");
    assert_eq!(
        readiness.probe,
        Probe::Http {
            path: "/healthz".into(),
            port: Some("http".into()),
            options: HttpOptions { statuses: vec![200], fatal_statuses: vec![500], ..HttpOptions::default() }
        }
    );
    assert_eq!(web.checks.startup.expect("a check").interval, SignedDuration::from_millis(500));
    assert_eq!(web.template.placement.constraints[0].any_of, ["small"]);
    let scale = web.scale.expect("a scale");
    assert_eq!(scale.metrics, [MetricTarget::Requests { per_instance: 50.0 }]);
    assert_eq!(scale.up, ScalingRules::default_up());
    assert_eq!(scale.down.stabilization, SignedDuration::from_secs(60));
    let bounds = |when: &str| {
        let bounds = scale.bounds_at(when.parse().expect("a time"));
        (bounds.min, bounds.max)
    };
    // A Monday, by the clock of Berlin.
    assert_eq!((bounds("2026-11-23T06:59:00Z"), bounds("2026-11-23T07:00:00Z")), ((2, 6), (3, 6)));
}

#[test]
fn queues_windows_policies_and_the_way_to_zero_are_read() {
    let text = r#"
        [service.web]
        command = "x"
        ports = ["http"]
        [service.web.scale]
        min = 0
        max = 5
        policy = "loadline"
        budget = 0.02
        requests_per_second = 20
        queue = { front_door = true, length_per_instance = 4 }
        idle_after = "5m"
        hold_timeout = "20s"
        hold_requests = 7
        behavior.scaleUp.tolerance = 0.02
        [[service.web.scale.window]]
        days = ["mon-wed", "sun"]
        from = "22:00"
        to = "06:00"
        max = 9
        [[service.web.scale.window]]
        schedule = "0 20 * * FRI"
        duration = "8h"
        min = 2
        [service.worker]
        command = "x"
        [service.worker.scale]
        min = 0
        max = 5
        queue = { service = "web", port = "http", length = "jobs", length_per_instance = 5, age = "old", max_age = "30s" }
    "#;
    let specs = parse(text).unwrap_or_else(|errors| panic!("{}", render_errors(&errors)));
    let scale = service(&specs, "web").scale.expect("a scale");
    assert_eq!(
        (scale.policy.as_str(), scale.budget, service(&specs, "web").instances),
        ("loadline", 0.02, 0)
    );
    assert_eq!(scale.tolerances(), (0.02, 0.1));
    let zero = scale.zero;
    assert_eq!((zero.idle_after.as_secs(), zero.hold_timeout.as_secs(), zero.hold_requests), (300, 20, 7));
    let words: Vec<String> = scale.windows.iter().map(|window| window.times.to_string()).collect();
    assert_eq!(words, ["mon,tue,wed,sun 22:00 to 06:00 (UTC)", "0 20 * * FRI (UTC) for 8h"]);
    assert_eq!((scale.windows[0].max, scale.windows[1].min), (Some(9), Some(2)));
    let MetricTarget::Queue(queue) = &service(&specs, "worker").scale.expect("a scale").metrics[0] else {
        panic!("a queue")
    };
    assert_eq!((queue.length_per_instance, queue.max_age), (Some(5.0), Some(SignedDuration::from_secs(30))));
    assert!(matches!(&queue.source, QueueSource::Service { path, .. } if path == "/metrics"));
}

#[test]
fn placement_is_read_with_its_operators_neighbours_and_evenness() {
    let text = r#"
        [service.web]
        command = "x"
        [service.web.placement]
        strategy = "spread"
        spread_over = "zone"
        max_skew = 2
        affinity = ["cache", { service = "db", by = "zone", required = true }]
        anti_affinity = [{ service = "web", required = true }]
        attributes = { disk = "ssd", cores = { above = 4 }, gpu = { exists = false }, zone = { not_in = ["c"] } }
        [pool.small]
        cpu = 1
        memory = "1GiB"
        reserved_for = ["shop"]
        attributes = { disk = "ssd", cores = "8" }
        [quota.shop]
        cpu = 2.5
        tasks = 7
    "#;
    let specs = parse_specs(&[("a.toml".to_owned(), text.to_owned())]);
    let specs = specs.unwrap_or_else(|errors| panic!("{}", render_errors(&errors)));
    let placement = service(&specs, "web").template.placement;
    let words: Vec<String> = placement.constraints.iter().map(ToString::to_string).collect();
    assert_eq!(words, ["cores > 4", "disk = ssd", "without gpu", "zone other than c"]);
    assert_eq!(placement.strategy, Choice::Spread);
    assert_eq!(placement.spread_over, Some(SpreadOver { by: "zone".to_owned(), max_skew: 2 }));
    let rules: Vec<_> = placement.affinity.iter().map(|rule| (rule.to_string(), rule.required)).collect();
    let wanted = [("cache on the same node".to_owned(), false), ("db on the same zone".to_owned(), true)];
    assert_eq!(rules, wanted);
    assert!(placement.anti_affinity[0].required);
    assert_eq!(specs.pools.values().next().expect("a pool").reserved_for, ["shop"]);
    let quota = specs.quotas["shop"];
    assert_eq!((quota.cpu, quota.memory, quota.tasks), (Some(Millicores::new(2500)), None, Some(7)));
}

#[test]
fn the_example_cron_job_policy_and_pool_are_read_whole() {
    let specs = load_specs(&[shipped("examples")]).expect("the examples");
    let report = workload(&specs, "report");
    let report = report.as_cron().expect("a cron job");
    assert_eq!((report.schedule.expression(), report.schedule.zone()), ("*/5 * * * *", "Europe/Berlin"));
    assert_eq!((report.overlap, report.queue_max, report.run.retries), (OverlapPolicy::Queue, 3, 2));
    let catch_up = CatchUp { policy: CatchUpPolicy::Once, max: 10, deadline: SignedDuration::from_mins(10) };
    assert_eq!((report.catch_up, report.jitter), (catch_up, SignedDuration::from_secs(10)));
    assert_eq!(report.run.oom, OomRetry { percent: 150, max: Some(Bytes::mib(64)) });
    let split = workload(&specs, "split");
    let split = split.run_policy().expect("a job");
    assert_eq!((split.count, split.max_parallel, split.concurrency), (4, Some(2), Some(1)));
    let merge = workload(&specs, "merge");
    assert_eq!(merge.run_policy().expect("a job").after[0].as_str(), "split");
    assert!(matches!(&merge, WorkloadSpec::Job(job) if !job.run_on_apply), "it waits for the other one");
    assert_eq!(report.run.time_limit, Some(SignedDuration::from_secs(30)));
    assert_eq!(report.run.restart.backoff, SignedDuration::from_secs(2));

    let careful = policy(&specs, "careful");
    assert_eq!((careful.size, careful.count), (PolicyMode::Approve, PolicyMode::Auto));
    assert_eq!(careful.bounds.max_memory, Some(Bytes::mib(1024)));

    let big = specs.pools.values().find(|pool| pool.min == 0).expect("the big pool");
    assert_eq!(big.price_per_hour, Some(MicroCents::from_units(0.04)));
    assert_eq!(big.scale_down_after, SignedDuration::from_mins(2));
    assert_eq!(big.attributes["disk"], "ssd");
}

#[test]
fn each_example_loads_by_itself_or_with_the_policies_and_pools_that_it_names() {
    let pools = load_specs(&[shipped("examples/pools.toml")]).expect("pools");
    let known = Known { policies: pools.policies.into_keys().collect(), pools: pools.pools };
    for entry in fs::read_dir(shipped("examples")).expect("examples") {
        let path = entry.expect("an example").path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let source = read_sources(&[path]).expect("a text");
            if let Err(errors) = parse_specs_with(&source, &known) {
                panic!("{}", render_errors(&errors));
            }
        }
    }
}

#[test]
fn a_newcomer_writes_one_line() {
    let specs = parse("[service.web]\ncommand = \"./web\"\n[policy.plain]\n[job.j]\ncommand = [\"j\"]\n")
        .expect("specs");
    let web = service(&specs, "web");
    assert_eq!(web.instances, 1);
    assert_eq!(web.template.size.request.cpu, Millicores::new(100));
    assert_eq!(web.template.size.memory_limit, Bytes::mib(128));
    assert_eq!(web.template.size.cpu_limit, None);
    assert_eq!(policy(&specs, "plain"), Policy::default());
    let job = workload(&specs, "j");
    assert!(matches!(job, WorkloadSpec::Job(job) if job.run_on_apply && job.run.retries == 0));
}

#[test]
fn a_limit_alone_is_the_request_and_scale_gives_the_first_count() {
    let text = "[service.web]\ncommand = \"x\"\ncpu_limit = 2\nmemory_limit = \"1GiB\"\n\
                [service.web.scale]\nmin = 3\nmax = 5\ncpu = 0.5\n";
    let web = service(&parse(text).expect("a spec"), "web");
    assert_eq!(web.template.size.request.cpu, Millicores::new(2000));
    assert_eq!(web.template.size.request.memory, Bytes::mib(1024));
    assert_eq!(web.instances, 3);
}

#[test]
fn every_metric_and_rule_is_read() {
    let text = "[service.web]\ncommand = \"x\"\nports = [\"http\", \"admin\"]\n[service.web.scale]\nmax = 5\n\
                memory = 0.8\nmetrics = [{ prometheus = \"queue_length\", port = \"admin\", per_instance = 10 }]\n\
                behavior.scaleDown = { selectPolicy = \"Disabled\" }\n";
    let scale = service(&parse(text).expect("a spec"), "web").scale.expect("a scale");
    let queue = MetricTarget::Prometheus {
        metric: "queue_length".into(),
        port: Some("admin".into()),
        path: "/metrics".into(),
        per_instance: 10.0,
    };
    assert_eq!(scale.metrics, [MetricTarget::Memory { utilization: 0.8 }, queue]);
    assert_eq!(scale.down.rules, ScalingRules::default_down().rules);
    assert_ne!(scale.down.select, ScalingRules::default_down().select);
}

#[test]
fn the_mode_of_a_policy_is_for_what_has_no_mode_of_its_own() {
    let specs = parse("[policy.p]\nmode = \"auto\"\ncount = \"off\"\n").expect("a policy");
    assert_eq!((policy(&specs, "p").size, policy(&specs, "p").count), (PolicyMode::Auto, PolicyMode::Off));
}

#[test]
fn specs_may_refer_to_what_was_declared_earlier() {
    let text = "[service.web]\ncommand = \"x\"\npolicy = \"careful\"\nplacement.pool = \"small\"\n";
    let sources = [("t.toml".to_owned(), text.to_owned())];
    assert_eq!(parse_specs(&sources).expect_err("an unknown policy").len(), 1);
    let pools = parse("[pool.small]\ncpu = 1\nmemory = \"1GiB\"\n").expect("a pool").pools;
    let policies = [PolicyName::new("careful").expect("a name")].into();
    assert!(parse_specs_with(&sources, &Known { policies, pools }).is_ok());
}

#[test]
fn relative_paths_are_relative_to_the_folder_of_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("web.toml");
    let text = "[service.web]\ncommand = \"x\"\nworking_dir = \"data\"\nenv.KEY.secret_file = \"key.txt\"\n";
    fs::write(&file, text).expect("a file");
    let paths = [folder.path().to_owned(), file];
    let loaded = load_specs(&paths).expect("a spec that is named twice and read once");
    let web = service(&loaded, "web");
    assert_eq!(web.template.working_dir, Some(folder.path().join("data")));
    let key = EnvValue::Secret(SecretRef::File(folder.path().join("key.txt")));
    assert_eq!(web.template.env["KEY"], key);
    // The same through texts, as an engine in another folder gets them.
    assert_eq!(parse_specs(&read_sources(&paths).expect("texts")).expect("a spec"), loaded);
}

#[test]
fn secret_values_are_in_no_spec_and_in_no_error() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("key.txt"), "hunter2").expect("a file");
    let file = folder.path().join("web.toml");
    let text = "[job.j]\ncommand = \"x\"\nenv.A.secret_file = \"key.txt\"\nenv.B.secret_env = \"PATH\"\n";
    fs::write(&file, text).expect("a file");
    let specs = load_specs(&[file]).expect("a spec");
    let path = std::env::var("PATH").expect("a path");
    for shown in [format!("{specs:?}"), serde_json::to_string(&specs.workloads).expect("JSON")] {
        assert!(shown.contains("key.txt"), "{shown}");
        assert!(!shown.contains("hunter2") && !shown.contains(&path), "{shown}");
    }
    let slips = [
        "{ value = \"hunter2\" }",
        "{ secret_env = 5, key = \"hunter2\" }",
        "\"hunter2\\u0000\"",
        "[\"hunter2\"]",
    ];
    for slip in slips {
        let text = format!("[job.j]\ncommand = \"x\"\nenv = {{ KEY = {slip} }}\n");
        let errors = render_errors(&parse(&text).expect_err(slip));
        assert!(!errors.contains("hunter2"), "{errors}");
    }
}

#[test]
fn the_shipped_settings_are_the_defaults() {
    let config = load_engine_config(Some(&shipped("engine.toml")))
        .unwrap_or_else(|errors| panic!("{}", render_errors(&errors)));
    assert_eq!(config, EngineConfig::default());
    assert_eq!(load_engine_config(None), Ok(EngineConfig::default()));
}

#[test]
fn the_shipped_settings_list_every_key() {
    let text = fs::read_to_string(shipped("engine.toml")).expect("settings");
    // What is commented out, because its default is not a constant of ours, must be valid as well.
    let all: String = text
        .lines()
        .map(|line| {
            line.strip_prefix('#').filter(|rest| rest.starts_with(char::is_lowercase)).unwrap_or(line)
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let config = parse_engine_config("engine.toml", &all).unwrap_or_else(|e| panic!("{}", render_errors(&e)));
    let serde_json::Value::Object(sections) = serde_json::to_value(&config).expect("JSON") else {
        panic!("settings are tables")
    };
    for (name, section) in sections {
        let start = all.find(&format!("\n[{name}]\n")).unwrap_or_else(|| panic!("[{name}] is not listed"));
        let listed: Vec<&str> = all[start..]
            .lines()
            .skip(2)
            .take_while(|line| !line.starts_with('['))
            .filter_map(|line| line.split_once(" = ").map(|(key, _)| key))
            .collect();
        for (key, value) in section.as_object().expect("a table") {
            assert!(listed.contains(&key.as_str()), "{key} of [{name}] is not listed");
            assert!(!value.is_null(), "{key} of [{name}] is not read");
        }
    }
}

#[test]
fn broken_settings_are_explained_as_specs_are() {
    let cases = [
        (
            "[api]\nlisten = \"everywhere:7070\"\n",
            "2:10: found \"everywhere:7070\", expected an address such as \"127.0.0.1:7070\"",
        ),
        (
            "[api]\nlisten = \"localhost:80\"\n",
            "2:10: found \"localhost:80\", expected an address such as \"127.0.0.1:7070\"; did you mean \
             `127.0.0.1:80`?",
        ),
        (
            "[agent]\nsample_interval = \"0s\"\n",
            "2:19: found \"0s\", expected a duration from 100ms to 3660 days",
        ),
        (
            "[prizes]\ncurrency = \"USD\"\n",
            "1:2: found unknown key `prizes`, expected a key of this file; did you mean `prices`?",
        ),
        (
            "[prices]\ncurrency = \"usd\"\n",
            "2:12: found \"usd\", expected a currency such as \"USD\"; did you mean `USD`?",
        ),
        ("[history]\nkeep = \"1h\"\n", "2:8: found \"1h\", expected a duration from 24h to 3660 days"),
        ("[logs]\nfiles = 0\n", "2:9: found 0, expected a whole number from 1 to 100"),
        (
            "[overcommit]\nrisk = 1\n",
            "2:8: found 1, expected a share from 0.0001 to 0.2; did you mean `0.01`?",
        ),
        ("[overcommit]\nmost = 0.5\n", "2:8: found 0.5, expected a number from 1 to 10"),
    ];
    for (text, expected) in cases {
        let errors = parse_engine_config("e.toml", text).expect_err(text);
        assert_eq!(errors.len(), 1, "{}", render_errors(&errors));
        assert_eq!(errors[0].to_string(), format!("e.toml:{expected}"));
    }
}

/// Pieces that make nearly valid specs.
#[rustfmt::skip]
const PIECES: &[&str] = &[
    "[service.web]\n", "[service.a.scale]\n", "[cron.c]\n", "[job.j]\n", "[pool.p]\n", "[policy.p]\n",
    "command = ", "cpu = ", "memory = ", "schedule = ", "time_zone = ", "ports = ", "env = ", "env.A = ",
    "placement = ", "scale = ", "metrics = ", "readiness = ", "instances = ", "stop_grace = ", "[", "]", "{",
    "}", ",", "=", "\n", "\"", "\"x\"", "\"*/0 1-99 L W# ?\"", "\"1e400GiB\"", "\"-9999999999999999h\"",
    "-1", "0", "9223372036854775807", "99999999999999999999", "1e999", "nan", "-inf", "true", "1979-05-27",
    "http = \"/\"", "min = 5", "max = 2", "\u{0}", "ä", "'''", "0x1F", "name", ".", "#", "\r\n",
];

proptest! {
    #[test]
    fn arbitrary_text_is_read_or_explained(text in "\\PC*") {
        check_explained(&text);
    }

    #[test]
    fn nearly_valid_text_is_read_or_explained(
        pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..24)
    ) {
        check_explained(&pieces.concat());
    }

    #[test]
    fn any_schedule_is_read_or_explained(schedule in "[-0-9*/,#LW?@a-zA-Z+ ]{0,24}", zone in "[A-Za-z/_ ]{0,12}") {
        check_explained(&format!("[cron.c]\ncommand = \"x\"\nschedule = \"{schedule}\"\ntime_zone = \"{zone}\"\n"));
    }
}

/// Whatever the text, there are specs, or errors that point into it.
fn check_explained(text: &str) {
    for result in [parse(text).map(|_| ()), parse_engine_config("t.toml", text).map(|_| ())] {
        if let Err(errors) = result {
            assert!(!errors.is_empty());
            for error in errors {
                let lines = text.split('\n').count();
                assert!((1..=lines).contains(&error.line) && error.column >= 1, "{error}");
            }
        }
    }
}

#[test]
fn the_specs_in_the_readme_are_valid() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("the README");
    let block =
        readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of TOML");
    let declared = parse(block).unwrap_or_else(|errors| panic!("{}", render_errors(&errors)));
    assert_eq!(declared.workloads.len(), 2);
}

#[test]
fn a_check_over_http_says_how_it_asks_and_what_passes() {
    let text = r#"
        [service.web]
        command = "./web"
        ports = ["http", "admin"]
        [service.web.liveness]
        http = "/live"
        port = "admin"
        method = "POST"
        headers = { Host = "shop.example", X-Check = "1" }
        statuses = [200, 204]
        fatal_statuses = [500]
        delay = "3s"
    "#;
    let declared = parse(text).unwrap_or_else(|errors| panic!("{}", render_errors(&errors)));
    let spec = declared.workloads.values().next().and_then(WorkloadSpec::as_service).expect("a service");
    let liveness = spec.checks.liveness.clone().expect("a check");
    let Probe::Http { port, options, .. } = liveness.probe else { panic!("{:?}", liveness.probe) };
    assert_eq!((port.as_deref(), options.method), (Some("admin"), HttpMethod::Post));
    assert_eq!(options.headers["Host"], "shop.example");
    assert_eq!((options.statuses, options.fatal_statuses), (vec![200, 204], vec![500]));
    assert_eq!(liveness.delay, SignedDuration::from_secs(3));
}

#[test]
fn hooks_are_read_and_what_is_wrong_with_them_is_said() {
    let good = r#"
        [[webhook]]
        name = "chat"
        url = "https://chat.example/hook"
        secret_env = "CHAT_SECRET"
        events = ["task", "deploy"]
        teams = ["shop"]
        max_tries = 7
        [[command_hook]]
        name = "mail"
        command = ["./mail"]
        events = ["crash-loop"]
        spacing = "1h"
        [disaster]
        enabled = false
    "#;
    let config = parse_engine_config("e.toml", good).unwrap_or_else(|e| panic!("{}", render_errors(&e)));
    assert_eq!((config.webhooks.len(), config.webhooks[0].patience.tries), (1, Some(7)));
    assert_eq!(config.webhooks[0].filter.kinds.len(), 2);
    assert_eq!(config.command_hooks[0].spacing, SignedDuration::from_hours(1));
    assert!(!config.disaster.enabled);
    for (bad, said) in [
        ("[[webhook]]\nname = \"a\"\nurl = \"ftp://x\"\nsecret_env = \"S\"", "a URL such as"),
        ("[[webhook]]\nname = \"a\"\nurl = \"https://x\"", "secret_file"),
        (
            "[[webhook]]\nname = \"a\"\nurl = \"https://x\"\nsecret_env = \"S\"\nevents = [\"tasks\"]",
            "did you mean `task`",
        ),
        ("[[command_hook]]\nname = \"a\"", "no `command`"),
        (
            "[[command_hook]]\nname = \"a\"\ncommand = \"x\"\n[[command_hook]]\nname = \"a\"\ncommand = \"x\"",
            "another command_hook named `a`",
        ),
        ("[disaster]\ntasks_lost_share = 20", "tasks_lost_share"),
    ] {
        let errors = parse_engine_config("e.toml", bad).expect_err(bad);
        let text = render_errors(&errors);
        assert!(text.contains(said) || said == "tasks_lost_share", "{bad}: {text}");
    }
}

#[test]
fn providers_of_machines_are_read_or_explained() {
    let good = r#"
        [[provider]]
        name = "vms"
        kind = "exec"
        command = ["./vms"]
        env = { TOKEN = { secret_env = "VMS_TOKEN" }, LEVEL = "debug" }
        timeout = "5s"
        [[provider]]
        name = "theirs"
        kind = "external-grpc"
        address = "https://provider.example:8086"
        tls = { ca = "/ca.pem", cert = "/c.pem", key = "/k.pem" }
        [[provider]]
        name = "aws"
        kind = "ec2-asg"
        groups = ["workers"]
        access_key = { secret_env = "KEY" }
        secret_key = { secret_file = "/key" }
    "#;
    let config = parse_engine_config("e.toml", good).unwrap_or_else(|e| panic!("{}", render_errors(&e)));
    let names: Vec<&str> = config.providers.iter().map(|provider| provider.name.as_str()).collect();
    assert_eq!(names, ["vms", "theirs", "aws"]);
    assert_eq!(config.providers[0].timeout, SignedDuration::from_secs(5));
    assert_eq!(config.providers[1].poll, SignedDuration::from_secs(10));
    let provider = |rest: &str| format!("[[provider]]\nname = \"a\"\n{rest}\n");
    for (bad, said) in [
        ("kind = \"exce\"\ncommand = [\"x\"]", "did you mean `exec`"),
        ("kind = \"exec\"", "no `command`"),
        ("kind = \"exec\"\ncommand = [\"x\"]\ntimeout = \"0s\"", "a duration from 100ms"),
        ("kind = \"external-grpc\"\naddress = \"provider:8086\"", "an address such as"),
        ("kind = \"external-grpc\"\naddress = \"https://x\"", "https:// without `tls`"),
        (
            "kind = \"external-grpc\"\naddress = \"https://x\"\ntls = { ca = \"/c\", cert = \"/c\" }",
            "only one of `cert` and `key`",
        ),
        ("kind = \"ec2-asg\"\ngroups = []", "one group at least"),
        (
            "kind = \"ec2-asg\"\ngroups = [\"g\"]\naccess_key = { secret_env = \"K\" }",
            "only one of `access_key` and `secret_key`",
        ),
        (
            "kind = \"exec\"\ncommand = [\"x\"]\n[[provider]]\nname = \"a\"\nkind = \"exec\"",
            "another provider named `a`",
        ),
    ] {
        let errors = parse_engine_config("e.toml", &provider(bad)).expect_err(bad);
        assert!(render_errors(&errors).contains(said), "{bad}: {}", render_errors(&errors));
    }
    let errors =
        parse_engine_config("e.toml", "[[provider]]\nname = \"local\"\nkind = \"exec\"\ncommand = [\"x\"]");
    assert!(render_errors(&errors.expect_err("taken")).contains("`local` is the cluster itself"));
}
