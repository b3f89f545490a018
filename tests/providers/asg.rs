//! EC2 Auto Scaling groups against moto's server: what `conformance` does not show.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use loadline::adapters::ec2_asg::{AsgConfig, AsgProvider};
use loadline::domain::workload::SecretRef;
use loadline::ports::machines::{FailureKind, MachineProvider};

use crate::machine::{free_port, until};
use crate::providers::parts::venv;

/// Makes a launch configuration and a group; by AWS's own Python, so that ours is not checked by itself.
const SET_UP: &str = r#"
import sys, boto3
endpoint, group, most = sys.argv[1:]
client = boto3.client("autoscaling", endpoint_url=endpoint, region_name="us-east-1",
                      aws_access_key_id="testing", aws_secret_access_key="testing")
client.create_launch_configuration(LaunchConfigurationName="small", ImageId="ami-12c6146b", InstanceType="t3.micro")
client.create_auto_scaling_group(AutoScalingGroupName=group, LaunchConfigurationName="small", MinSize=0,
                                 MaxSize=int(most), DesiredCapacity=0, AvailabilityZones=["us-east-1a"])
"#;

/// moto's server as a process on loopback, with one group.
pub(crate) struct Moto {
    server: Child,
    address: SocketAddr,
    keys: tempfile::TempDir,
}

impl Moto {
    /// Starts it; none where it cannot be had, which is told.
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    pub(crate) fn start(group: &str, most: u32) -> Option<Self> {
        let Some(programs) = venv("moto-venv", &["moto[server]==5.2.5"]) else {
            eprintln!("SKIPPED: moto cannot be had here (it needs python3 with venv, and PyPI)");
            return None;
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let server = Command::new(programs.join("moto_server"))
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto's server");
        let keys = tempfile::tempdir().expect("a folder");
        std::fs::write(keys.path().join("secret"), "testing\n").expect("a key");
        let moto = Self { server, address, keys };
        until("moto listens", || TcpStream::connect(address).is_ok());
        let set_up = Command::new(programs.join("python"))
            .args(["-c", SET_UP, &moto.endpoint(), group, &most.to_string()])
            .output()
            .expect("python");
        assert!(set_up.status.success(), "{}", String::from_utf8_lossy(&set_up.stderr));
        Some(moto)
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    fn config(&self, group: &str) -> AsgConfig {
        let secret = SecretRef::File(self.keys.path().join("secret"));
        AsgConfig {
            groups: vec![group.to_owned()],
            region: Some("us-east-1".to_owned()),
            profile: None,
            endpoint: Some(self.endpoint()),
            keys: Some((secret.clone(), secret)),
            timeout: Duration::from_secs(30),
        }
    }

    pub(crate) async fn provider(&self, group: &str) -> AsgProvider {
        AsgProvider::new(&self.config(group)).await.expect("keys")
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_the_settings_do_not_name_is_not_touched() {
    let Some(moto) = Moto::start("theirs", 3) else { return };
    let provider = moto.provider("ours").await;
    assert_eq!(provider.groups().await.expect("an answer"), [], "theirs is none of ours");
    for error in [
        provider.look("theirs").await.map(drop).expect_err("theirs"),
        provider.grow("theirs", 1).await.expect_err("theirs"),
        provider.terminate("theirs", "i-1").await.expect_err("theirs"),
    ] {
        assert_eq!(error.kind, FailureKind::Refused);
        assert!(error.message.contains("not one of those that the settings name"), "{error}");
    }
    let error = provider.look("ours").await.expect_err("it is not there");
    assert!(error.message.contains("there is no Auto Scaling group ours"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_answer_is_unavailable_within_the_time_limit() {
    let Some(moto) = Moto::start("workers", 3) else { return };
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", silent.local_addr().expect("its address"));
    let config = AsgConfig {
        endpoint: Some(endpoint),
        timeout: Duration::from_millis(1_500),
        ..moto.config("workers")
    };
    let provider = AsgProvider::new(&config).await.expect("keys");
    let asked = tokio::time::timeout(Duration::from_secs(20), provider.look("workers")).await;
    let error = asked.expect("in time").expect_err("nobody answers");
    assert_eq!(error.kind, FailureKind::Unavailable, "{error}");
    assert!(!error.message.contains("testing"), "{error}");
}

#[tokio::test]
async fn keys_that_cannot_be_read_are_told_by_their_reference() {
    let none = SecretRef::Env("LOADLINE_TEST_NO_SUCH_KEY".to_owned());
    let config = AsgConfig {
        groups: vec!["workers".to_owned()],
        region: Some("us-east-1".to_owned()),
        profile: None,
        endpoint: None,
        keys: Some((none.clone(), none)),
        timeout: Duration::from_secs(5),
    };
    let error = AsgProvider::new(&config).await.expect_err("no keys");
    assert!(error.message.contains("has no LOADLINE_TEST_NO_SUCH_KEY"), "{error}");
}
