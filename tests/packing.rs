//! `loadline node-types` and `loadline plan` as people run them, and on a real list of pods beside its bound.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn loadline(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadline")).args(args).output().expect("the binary runs")
}

fn json(args: &[&str]) -> Value {
    let output = loadline(&[args, &["--output", "json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("json")
}

#[test]
fn node_types_are_filtered_and_printed() {
    let types =
        json(&["node-types", "--provider", "ec2", "--min-cpu", "2", "--max-cpu", "2", "--arch", "amd64"]);
    let types = types.as_array().expect("a list");
    assert!(types.len() >= 4);
    assert!(
        types.iter().all(|known| known["machine"]["cpu"] == 2000 && known["arch"] == "amd64"),
        "{types:?}"
    );
    let table = loadline(&["node-types", "--provider", "gce", "--max-cpu", "4", "--spot"]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains("e2-standard-4") && table.contains("spot"), "{table}");
    let none = loadline(&["node-types", "--provider", "nobody"]);
    assert!(!none.status.success());
    assert!(String::from_utf8_lossy(&none.stderr).contains("no node type is left"));
}

#[test]
fn a_plan_says_what_to_buy_what_it_costs_and_what_has_no_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("a path").to_owned()
    };
    let tasks = file("tasks.csv", "name,count,cpu,memory,away_from\nweb,6,1.5,3GiB,web\nhuge,1,500,1GiB,\n");
    let plans = json(&["plan", "--tasks", &tasks, "--provider", "ec2", "--arch", "amd64", "--bound"]);
    let plan = &plans[0];
    assert_eq!((&plan["figures"]["placed"], &plan["figures"]["unplaced"]), (&6.into(), &1.into()), "{plan}");
    assert_eq!(plan["nodes"].as_array().map(Vec::len), Some(6), "no two web tasks on one node");
    assert!(plan["figures"]["over_bound"].as_f64() >= Some(1.0), "{plan}");
    assert_eq!(plan["unplaced"][0]["name"], "huge");
    let nodes = file("nodes.csv", "name,cpu,memory\none,4,16GiB\ntwo,2,4GiB\n");
    let plans = json(&["plan", "--tasks", &tasks, "--types", "none", "--nodes", &nodes]);
    assert_eq!(plans[0]["figures"]["placed"], 2, "{plans}");
    let table = loadline(&["plan", "--tasks", &tasks, "--policy", "loadline,karpenter,cluster-autoscaler"]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(
        table.contains("karpenter: 6 of 7 tasks placed") && table.contains("large enough: huge"),
        "{table}"
    );
    let broken = loadline(&["plan", "--tasks", &file("broken.csv", "name,cpu,memory\nweb,x,1GiB\n")]);
    assert!(String::from_utf8_lossy(&broken.stderr).contains("row 1: `cpu` is `x`"));
}

/// Families that are burstable, of an earlier generation, or made for something else than CPU and memory.
const LEFT_OUT: &str =
    "t1,t2,t3,t3a,m1,m2,m3,m4,c1,c3,c4,r3,r4,i2,i3,d2,h1,x1,x1e,f1,f2,inf1,inf2,trn1,trn1n,vt1,g6f,gr6f";

/// Real lists are not in the repository: `LOADLINE_TRACES` names the folder that has them.
fn real(folder: &Path, name: &str) -> PathBuf {
    let packed =
        std::env::var_os("LOADLINE_TRACES").map(|traces| Path::new(&traces).join("inventory").join(name));
    let unpacked = folder.join(name).with_extension("");
    let bytes = std::fs::File::open(packed.expect("a folder")).expect("a list");
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(bytes), &mut text).expect("gzip");
    std::fs::write(&unpacked, text).expect("written");
    unpacked
}

#[test]
fn real_pods_cost_within_three_percent_of_the_bound_and_less_than_with_either_peer() {
    let Some(traces) = std::env::var_os("LOADLINE_TRACES") else {
        println!("skipped: LOADLINE_TRACES does not name a folder of traces");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let pods = real(folder.path(), "openb_pod_list_default.csv.gz");
    let prices = Path::new(&traces).join("prices/aws_ec2_us-east-1_ondemand.csv");
    for most in ["64", "192"] {
        let plans = json(&[
            "plan",
            "--tasks",
            pods.to_str().expect("a path"),
            "--types",
            prices.to_str().expect("a path"),
            "--arch",
            "amd64",
            "--gpu",
            "false",
            "--exclude",
            LEFT_OUT,
            "--max-cpu",
            most,
            "--cpu-and-memory-only",
            "--policy",
            "loadline,karpenter,cluster-autoscaler",
            "--bound",
            "--time-limit",
            "60s",
        ]);
        let price = |at: usize| plans[at]["figures"]["price_per_hour"].as_i64().expect("a price");
        let over = plans[0]["figures"]["over_bound"].as_f64().expect("a bound");
        println!(
            "up to {most} cores: {over}, {} and {}",
            plans[1]["figures"]["over_bound"], plans[2]["figures"]["over_bound"]
        );
        assert!((1.0..1.03).contains(&over), "up to {most}: {over}");
        assert!(
            price(0) < price(1) && price(0) < price(2),
            "up to {most}: {} {} {}",
            price(0),
            price(1),
            price(2)
        );
    }
}

#[test]
fn real_nodes_take_at_least_as_many_real_pods_as_with_either_peer() {
    if std::env::var_os("LOADLINE_TRACES").is_none() {
        println!("skipped: LOADLINE_TRACES does not name a folder of traces");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let pods = real(folder.path(), "openb_pod_list_default.csv.gz");
    let nodes = real(folder.path(), "openb_node_list_all_node.csv.gz");
    for extra in [&[][..], &["--cpu-and-memory-only"][..]] {
        let (pods, nodes) = (pods.to_str().expect("a path"), nodes.to_str().expect("a path"));
        let policies = "loadline,karpenter,cluster-autoscaler";
        let fixed = ["plan", "--tasks", pods, "--nodes", nodes, "--types", "none", "--policy", policies];
        let plans = json(&[&fixed[..], extra].concat());
        let placed: Vec<u64> =
            (0..3).map(|at| plans[at]["figures"]["placed"].as_u64().expect("a count")).collect();
        println!("{extra:?}: {placed:?}");
        assert!(placed[0] >= placed[1] && placed[0] >= placed[2], "{extra:?}: {placed:?}");
    }
}
