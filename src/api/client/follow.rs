//! Follows the stream of events, over lost connections and restarts of the engine.

use std::pin::Pin;
use std::time::Duration;

use eventsource_stream::Eventsource;
use futures_util::{Stream, StreamExt};
use reqwest::Method;

use crate::api::answers::EventDto;
use crate::api::client::{Client, ClientError, refusal};

/// From a lost connection to the next one.
const RECONNECT: Duration = Duration::from_secs(1);
/// A connection that is not answered by then is tried again.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// The server says something more often than this; a connection that is silent is dead.
const SILENCE_MAX: Duration = Duration::from_secs(45);

type Events = Pin<Box<dyn Stream<Item = Option<eventsource_stream::Event>> + Send>>;

/// A stream of events that begins again where it was when its connection is lost.
pub struct Follower {
    client: Client,
    after: Option<u64>,
    open: Option<Events>,
    /// Whether the engine has answered before: then it is waited for.
    reached: bool,
}

impl Client {
    /// Everything that changes after the change with this number; from now on where none is given.
    pub fn follow(&self, after: Option<u64>) -> Follower {
        Follower { client: self.clone(), after, open: None, reached: false }
    }

    /// The same, for who has already read everything up to this number: the engine was there, and one
    /// that is away by now is waited for.
    pub fn follow_on(&self, after: u64) -> Follower {
        Follower { client: self.clone(), after: Some(after), open: None, reached: true }
    }
}

impl Follower {
    /// Waits for the next event. An error means that the engine refused, or cannot be reached at first.
    pub async fn next(&mut self) -> Result<EventDto, ClientError> {
        loop {
            if self.open.is_none() {
                if self.reached {
                    self.reconnect(Duration::ZERO).await?;
                } else {
                    self.open = Some(connect(&self.client, self.after).await?);
                    self.reached = true;
                }
            }
            let Some(events) = &mut self.open else { continue };
            let next = tokio::time::timeout(SILENCE_MAX, events.next()).await;
            if let Ok(Some(Some(event))) = next {
                if let Ok(event) = serde_json::from_str::<EventDto>(&event.data) {
                    self.after = Some(event.number);
                    return Ok(event);
                }
                continue;
            }
            self.open = None;
            self.reconnect(RECONNECT).await?;
        }
    }

    /// Tries until the engine is there again, first after this pause; gives up only where it refuses.
    async fn reconnect(&mut self, mut pause: Duration) -> Result<(), ClientError> {
        loop {
            tokio::time::sleep(pause).await;
            pause = RECONNECT;
            let connected = tokio::time::timeout(CONNECT_MAX, connect(&self.client, self.after)).await;
            match connected {
                Ok(Ok(events)) => {
                    self.open = Some(events);
                    return Ok(());
                }
                // Anything else may be said by whoever has the address while the engine is away.
                Ok(Err(ClientError::Refused(problem))) if matches!(problem.status, 401 | 403) => {
                    return Err(ClientError::Refused(problem));
                }
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }
}

async fn connect(client: &Client, after: Option<u64>) -> Result<Events, ClientError> {
    let after = after.map(|number| format!("?after={number}")).unwrap_or_default();
    let request = client.request(Method::GET, &format!("/v1/events/stream{after}"));
    let response = request.send().await;
    let response =
        response.map_err(|source| ClientError::Unreachable { address: client.address.clone(), source })?;
    if !response.status().is_success() {
        return Err(refusal(response).await);
    }
    // Comments keep the connection alive and reach nobody: silence is measured on the bytes.
    let bytes = tokio_stream::StreamExt::timeout(response.bytes_stream(), SILENCE_MAX);
    let bytes = bytes.map(|item| match item {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the stream is silent".to_owned()),
    });
    Ok(Box::pin(bytes.eventsource().map(Result::ok)))
}
