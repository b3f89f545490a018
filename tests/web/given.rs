//! An engine with workloads, for visitors with and without tokens.

use loadline::api::client::{Client, ClientOptions};
use loadline::api::requests::TokenRequest;

use crate::harness::{Engine, Place};

pub(super) struct Given {
    pub(super) engine: Engine,
    pub(super) place: Place,
    pub(super) base: String,
}

impl Given {
    /// Starts an engine there that stops its tasks at the end, with the specs.
    pub(super) async fn start(mut place: Place, specs: &str) -> Self {
        place.stops_tasks = true;
        let engine = place.start();
        engine.apply(specs).await.expect("valid specs");
        let base = engine.client.address().to_owned();
        Self { engine, place, base }
    }

    pub(super) fn client(&self, secret: Option<&str>) -> Client {
        let token = secret.map(str::to_owned);
        let options = ClientOptions { address: self.base.clone(), token, ..ClientOptions::default() };
        Client::connect(options).expect("a client")
    }

    /// A token of a role; from the first one on every visitor needs one.
    pub(super) async fn token(&self, by: Option<&str>, name: &str, role: &str, team: Option<&str>) -> String {
        let request = TokenRequest {
            name: name.to_owned(),
            role: role.to_owned(),
            team: team.map(str::to_owned),
            ..TokenRequest::default()
        };
        self.client(by).create_token(&request).await.expect("a token").secret
    }

    pub(super) fn end(self) {
        self.engine.end();
        drop(self.place);
    }
}
