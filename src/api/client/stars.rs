//! The client's calls about stars.

use crate::api::client::{Client, ClientError, encoded};
use crate::api::dto::Changed;

impl Client {
    /// The workloads that the caller starred.
    pub async fn stars(&self) -> Result<Vec<String>, ClientError> {
        self.get("/v1/stars").await
    }

    /// Stars a workload.
    pub async fn star(&self, workload: &str) -> Result<Changed, ClientError> {
        self.put(&format!("/v1/stars/{}", encoded(workload)), &serde_json::json!({})).await
    }

    /// Takes a star back.
    pub async fn unstar(&self, workload: &str) -> Result<Changed, ClientError> {
        self.delete(&format!("/v1/stars/{}", encoded(workload))).await
    }
}
