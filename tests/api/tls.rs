//! TLS, and what is refused without it.

use loadline::api::client::{Client, ClientError, ClientOptions};
use loadline::app::tokens::StoredTokens;

use crate::api::harness::{folder, start_in, token};

#[tokio::test(flavor = "multi_thread")]
async fn tls_carries_calls_of_those_who_know_the_authority() {
    let folder = folder();
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).expect("a file");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    let data = folder.path().join("data");
    let secret = StoredTokens::open(&data)
        .expect("a store")
        .create(&token("root", "operator", None), "installer")
        .expect("a token")
        .secret;
    let settings = format!("tls = {{ cert = {cert:?}, key = {key:?} }}\n");
    // An address that other machines could reach: with a certificate and a token it is allowed.
    let app =
        start_in(&data, &format!("[api]\nlisten = \"0.0.0.0:0\"\n{settings}")).await.expect("an engine");
    let port = app.address().port();
    let options = ClientOptions {
        address: format!("https://127.0.0.1:{port}"),
        token: Some(secret),
        ca_pem: Some(made.cert.pem().into_bytes()),
        ..ClientOptions::default()
    };
    let client = Client::connect(options.clone()).expect("a client");
    assert_eq!(client.whoami().await.expect("an answer").name, "root");
    let distrustful = Client::connect(ClientOptions { ca_pem: None, ..options.clone() }).expect("a client");
    assert!(matches!(distrustful.whoami().await, Err(ClientError::Unreachable { .. })));
    let plain = Client::connect(ClientOptions { address: format!("http://127.0.0.1:{port}"), ..options });
    assert!(plain.expect("a client").whoami().await.is_err(), "plain HTTP where TLS is spoken");
    app.shutdown(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_others_reach_needs_tls_and_a_token() {
    let folder = folder();
    let data = folder.path().join("data");
    let refusal = async |settings: &str| {
        let refused = start_in(&data, settings).await.err().expect("a refusal");
        format!("{refused:#}")
    };
    let without = refusal("[api]\nlisten = \"0.0.0.0:0\"\n").await;
    assert!(without.contains("without TLS") && without.contains("0.0.0.0:0"), "{without}");
    let tls = "tls = { cert = \"/nowhere/cert.pem\", key = \"/nowhere/key.pem\" }\n";
    let tokenless = refusal(&format!("[api]\nlisten = \"0.0.0.0:0\"\n{tls}")).await;
    assert!(tokenless.contains("before there is a token"), "{tokenless}");
    let stored = StoredTokens::open(&data).expect("a store");
    stored.create(&token("root", "operator", None), "installer").expect("a token");
    assert_eq!(stored.list().len(), 1);
    drop(stored);
    let unreadable = refusal(&format!("[api]\nlisten = \"0.0.0.0:0\"\n{tls}")).await;
    assert!(unreadable.contains("/nowhere/cert.pem"), "{unreadable}");
}
